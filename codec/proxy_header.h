/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_header - the binary header with which a proxy begins a connection that it passes on (PROXY
 * protocol, version 2, section 2.2 of its specification).
 */
#ifndef CODEC_PROXY_HEADER_H
#define CODEC_PROXY_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum {
    PROXY_HEADER_FIXED = 16, /* bytes of every header */
    PROXY_HEADER_REST_MAX = 2048, /* that may follow: addresses and what proxies add to them */
    PROXY_HEADER_ADDRESSES = 36, /* of these, the first that are looked at */
};

/* Whose connection it is. */
struct proxy_source {
    bool known; /* false: the proxy's own, or of no family of the internet */
    uint8_t address[16]; /* IPv4 as IPv4 in IPv6 */
    uint16_t port;
};

/*
 * Read the PROXY_HEADER_FIXED bytes at `at` and hand out how many follow. STATUS_INVALID: they are
 * no header of version 2, or one of a command that is none; STATUS_TOO_LARGE: more than
 * PROXY_HEADER_REST_MAX follow. Pure, as the next.
 */
MUST_CHECK int proxy_header_begin(const uint8_t at[PROXY_HEADER_FIXED], size_t *ret_rest);

/*
 * Read the source of a header that has been begun; `rest` is what follows, of which the first
 * PROXY_HEADER_ADDRESSES bytes are enough. STATUS_INVALID: the addresses of its family are not all
 * there. What is behind them (TLVs, also a checksum) is not looked at.
 */
MUST_CHECK int proxy_header_source(
    const uint8_t at[PROXY_HEADER_FIXED], struct bytes rest, struct proxy_source *ret_source);

#endif
