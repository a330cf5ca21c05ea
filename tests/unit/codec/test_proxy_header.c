/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of the PROXY protocol, version 2: whose connection it says it is.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/proxy_header.h"

TestSuite(proxy_header, .timeout = 60);

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4 "\xc6\x33\x64\x07\x7f\x00\x00\x01\xd4\x31\x0b\xb8" /* 198.51.100.7:54321 */
#define V6                                                                                         \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\xd4\x31\x0b\xb8"
#define MAPPED "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc6\x33\x64\x07"

#define TEXT(literal)                                                                              \
    {                                                                                              \
        .at = (literal), .len = sizeof(literal) - 1                                                \
    }

struct row {
    struct bytes text;
    int status; /* of the first step that fails */
    const char *address; /* 16 bytes; NULL: not known */
};

/* Both steps over `text`; STATUS_AGAIN: more is needed. */
static int read_header(struct bytes text, struct proxy_source *ret_source)
{
    const uint8_t *at = (const uint8_t *)text.at;
    size_t rest;
    *ret_source = (struct proxy_source){0};
    if (text.len < PROXY_HEADER_FIXED) {
        return STATUS_AGAIN;
    }
    int status = proxy_header_begin(at, &rest);
    if (status != 0 || text.len - PROXY_HEADER_FIXED < rest) {
        return status != 0 ? status : STATUS_AGAIN;
    }
    size_t looked = rest < PROXY_HEADER_ADDRESSES ? rest : PROXY_HEADER_ADDRESSES;
    return proxy_header_source(at, bytes_of(text.at + PROXY_HEADER_FIXED, looked), ret_source);
}

static const struct row rows[] = {
    {TEXT(SIGNATURE "\x21\x11\x00\x0c" V4), 0, MAPPED},
    {TEXT(SIGNATURE "\x21\x11\x00\x13" V4 "\x04\x00\x04"
                    "abcd"),
        0, MAPPED}, /* a TLV */
    {TEXT(SIGNATURE "\x21\x21\x00\x24" V6), 0, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09"},
    {TEXT(SIGNATURE "\x20\x00\x00\x00"), 0, NULL}, /* LOCAL */
    {TEXT(SIGNATURE "\x20\x11\x00\x0c" V4), 0, NULL}, /* LOCAL: what it says is not looked at */
    {TEXT(SIGNATURE "\x21\x00\x00\x00"), 0, NULL}, /* UNSPEC */
    {TEXT(SIGNATURE "\x21\x12\x00\x0c" V4), 0, NULL}, /* datagrams */
    {TEXT(SIGNATURE "\x21\x31\x00\x02xy"), 0, NULL}, /* a unix socket */
    {TEXT(SIGNATURE "\x21\x11\x00\x0b" V4), STATUS_INVALID, NULL}, /* a byte less than it takes */
    {TEXT(SIGNATURE "\x21\x21\x00\x23" V6), STATUS_INVALID, NULL},
    {TEXT(SIGNATURE "\x21\x21\x00\x0c" V4), STATUS_INVALID, NULL},
    {TEXT(SIGNATURE "\x11\x11\x00\x0c" V4), STATUS_INVALID, NULL}, /* version 1 */
    {TEXT(SIGNATURE "\x22\x11\x00\x0c" V4), STATUS_INVALID, NULL}, /* no command */
    {TEXT("\r\n\r\n\0\r\nQUIT\r\x21\x11\x00\x0c" V4), STATUS_INVALID, NULL},
    {TEXT("PROXY TCP4 198.51.100.7 127.0.0.1 54321 3000\r\n"), STATUS_INVALID, NULL},
    {TEXT("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), STATUS_INVALID, NULL},
    {TEXT(SIGNATURE "\x21\x11\x08\x01" V4), STATUS_TOO_LARGE, NULL},
    {TEXT(SIGNATURE "\x20\x00\xff\xff"), STATUS_TOO_LARGE, NULL},
};

Test(proxy_header, says_whose_connection_it_is)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct proxy_source source;
        cr_expect_eq(read_header(rows[i].text, &source), rows[i].status, "row %zu", i);
        cr_expect_eq(source.known, rows[i].address != NULL, "row %zu", i);
        if (source.known && rows[i].address != NULL) {
            cr_expect_arr_eq(source.address, rows[i].address, 16, "row %zu", i);
            cr_expect_eq(source.port, 54321, "row %zu", i);
        }
    }
}

Test(proxy_header, is_not_judged_before_it_is_there)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t len = 0; len < rows[i].text.len; len++) {
            struct proxy_source source;
            int status = read_header(bytes_of(rows[i].text.at, len), &source);
            cr_expect(len >= PROXY_HEADER_FIXED || status == STATUS_AGAIN, "row %zu", i);
            cr_expect(!source.known || rows[i].address != NULL, "row %zu, %zu bytes", i, len);
        }
    }
}

Test(proxy_header, takes_any_bytes)
{
    struct rand rand;
    rand_init(&rand, 7);
    for (unsigned i = 0; i < 100000; i++) {
        uint8_t at[PROXY_HEADER_FIXED + PROXY_HEADER_ADDRESSES];
        for (size_t j = 0; j < sizeof(at); j++) {
            at[j] = (uint8_t)rand_u64(&rand);
        }
        if (i % 2 == 0) {
            memcpy(at, SIGNATURE "\x21", 13);
        }
        struct proxy_source source;
        int status = read_header(bytes_of((const char *)at, sizeof(at)), &source);
        cr_expect(status == 0 || !source.known);
    }
}
