/* SPDX-License-Identifier: Apache-2.0 */
/*
 * url - the parts of URLs and of "host:port" (RFC 3986 section 3), cut and not judged.
 *
 * What a scheme, a host or a path may look like differs by who asks: a setting, an Origin, a
 * Forwarded header. Those judge the parts; where the parts begin and end is known here alone.
 * Nothing is decoded (query.h) or copied. All functions: any thread.
 */
#ifndef CODEC_URL_H
#define CODEC_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

/* Slices of the text that was split; what is not there is empty. */
struct url {
    struct bytes scheme; /* in front of "://" */
    struct bytes userinfo; /* in front of the last '@' of the authority */
    struct bytes host; /* with its port, see url_split_host */
    struct bytes path; /* with its slash */
    struct bytes query; /* behind '?' */
    struct bytes fragment; /* behind '#' */
    bool has_userinfo;
    bool has_query;
    bool has_fragment;
};

struct url_host {
    struct bytes name; /* a name or an address, without brackets */
    struct bytes port; /* behind the colon */
    bool has_port; /* there is a colon; the port may be empty */
    bool is_bracketed;
};

/* Split scheme://[userinfo@]host[path][?query][#fragment]; STATUS_INVALID without "://". */
MUST_CHECK int url_split(struct bytes text, struct url *ret_url);

/*
 * Split host, host:port, [address] or [address]:port. Text with several colons and no brackets is
 * an IPv6 address without port. STATUS_INVALID for a bracket without its other, and for anything
 * but a port behind the brackets.
 */
MUST_CHECK int url_split_host(struct bytes text, struct url_host *ret_host);

/* The port, 1 to 65535, or `otherwise` where there is none; STATUS_INVALID for another one. */
MUST_CHECK int url_port(const struct url_host *host, uint16_t otherwise, uint16_t *ret_port);

#endif
