/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signature, version and command, family and protocol, length; then the addresses.
 */
#include "codec/proxy_header.h"

#include <string.h>

#include "codec/base/status.h"

enum {
    SIGNATURE_LEN = 12,
    COMMAND_AT = 12,
    FAMILY_AT = 13,
    LENGTH_AT = 14,
    LOCAL = 0x20, /* version 2 in the upper half */
    PROXY = 0x21,
    TCP_V4 = 0x11,
    TCP_V6 = 0x21,
    V4_LEN = 4,
    V6_LEN = 16,
    PORT_LEN = 2,
};

static unsigned read_u16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

int proxy_header_begin(const uint8_t at[PROXY_HEADER_FIXED], size_t *ret_rest)
{
    if (memcmp(at, "\r\n\r\n\0\r\nQUIT\n", SIGNATURE_LEN) != 0 ||
        (at[COMMAND_AT] != LOCAL && at[COMMAND_AT] != PROXY)) {
        return STATUS_INVALID;
    }
    *ret_rest = read_u16(at + LENGTH_AT);
    return *ret_rest <= PROXY_HEADER_REST_MAX ? 0 : STATUS_TOO_LARGE;
}

/* Both addresses, then both ports: those of the source are the first of each. */
static int read_source(struct bytes rest, size_t len, struct proxy_source *source)
{
    if (rest.len < 2 * (len + PORT_LEN)) {
        return STATUS_INVALID;
    }
    const uint8_t *at = (const uint8_t *)rest.at;
    if (len == V4_LEN) {
        memset(source->address + V6_LEN - V4_LEN - 2, 0xff, 2);
    }
    memcpy(source->address + V6_LEN - len, at, len);
    source->port = (uint16_t)read_u16(at + 2 * len);
    source->known = true;
    return 0;
}

int proxy_header_source(
    const uint8_t at[PROXY_HEADER_FIXED], struct bytes rest, struct proxy_source *ret_source)
{
    *ret_source = (struct proxy_source){0};
    if (at[COMMAND_AT] == LOCAL) {
        return 0;
    }
    switch (at[FAMILY_AT]) {
    case TCP_V4:
        return read_source(rest, V4_LEN, ret_source);
    case TCP_V6:
        return read_source(rest, V6_LEN, ret_source);
    default:
        return 0;
    }
}
