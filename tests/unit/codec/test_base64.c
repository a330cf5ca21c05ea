/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Base64 in both alphabets: known pairs, strictness, and random bytes there and back.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/base64.h"

TestSuite(base64, .timeout = 60);

/* RFC 4648 section 10. */
static const struct {
    const char *data;
    const char *standard;
    const char *url;
} pairs[] = {
    {"", "", ""},
    {"f", "Zg==", "Zg"},
    {"fo", "Zm8=", "Zm8"},
    {"foo", "Zm9v", "Zm9v"},
    {"foob", "Zm9vYg==", "Zm9vYg"},
    {"fooba", "Zm9vYmE=", "Zm9vYmE"},
    {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
    {"\xfb\xff\xbf", "+/+/", "-_-_"},
};

Test(base64, encodes_and_decodes_the_known_pairs)
{
    char at[64];
    size_t len;
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct bytes data = bytes_str(pairs[i].data);
        len = base64_encode(data, at);
        cr_expect(bytes_eq_str(bytes_of(at, len), pairs[i].standard), "%s", pairs[i].standard);
        cr_expect_eq(len, BASE64_LEN(data.len));
        cr_expect_eq(base64_decode(bytes_of(at, len), at, sizeof(at), &len), 0, "in place");
        cr_expect(bytes_eq(bytes_of(at, len), data), "%s", pairs[i].standard);
        len = base64url_encode(data, at);
        cr_expect(bytes_eq_str(bytes_of(at, len), pairs[i].url), "%s", pairs[i].url);
        cr_expect_eq(len, BASE64URL_LEN(data.len));
        cr_expect_eq(base64url_decode(bytes_of(at, len), at, sizeof(at), &len), 0);
        cr_expect(bytes_eq(bytes_of(at, len), data), "%s", pairs[i].url);
    }
}

Test(base64, refuses_everything_else)
{
    static const char *const standard[] = {"Z", "Zg", "Zg=", "Zm9", "Zg===", "=",
        "====", "Z===", "Zg==Zg==", "Zm=v", "Zh==", "Zm9=", "Zm9v ", " Zm9v", "Zm\n9v", "Zm-_",
        "Zm9v\xff\xff\xff\xff"};
    static const char *const url[] = {"Z", "Zg==", "Zh", "Zm9", "Zm8=", "+/+/", "Zm9vY", "Z g"};
    char at[64];
    size_t len;
    for (size_t i = 0; i < ARRAY_LEN(standard); i++) {
        int status = base64_decode(bytes_str(standard[i]), at, sizeof(at), &len);
        cr_expect_eq(status, STATUS_INVALID, "%s", standard[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(url); i++) {
        int status = base64url_decode(bytes_str(url[i]), at, sizeof(at), &len);
        cr_expect_eq(status, STATUS_INVALID, "%s", url[i]);
    }
}

/* The six bits of `byte` in an alphabet, or -1. */
static int place_of(int byte, const char *alphabet)
{
    const char *at = byte != 0 ? strchr(alphabet, byte) : NULL;
    return at != NULL ? (int)(at - alphabet) : -1;
}

typedef int (*decode_fn)(struct bytes text, char *at, size_t cap, size_t *ret_len);

static void expect_alphabet(decode_fn decode, const char *letters, const char *last_two)
{
    char alphabet[65];
    snprintf(alphabet, sizeof(alphabet), "%s%s", letters, last_two);
    for (int byte = 0; byte < 256; byte++) {
        int place = place_of(byte, alphabet);
        char text[4] = {'A', 'A', 'A', (char)byte}; /* the six bits behind eighteen of zeros */
        char out[3] = {1, 1, 1};
        size_t len = 0;
        bool taken = byte != '=' && decode(bytes_of(text, 4), out, sizeof(out), &len) == 0;
        cr_expect_eq(taken, place >= 0, "byte %d of ...%s", byte, last_two);
        cr_expect(!taken || out[2] == place, "byte %d of ...%s", byte, last_two);
    }
}

Test(base64, knows_every_byte_of_both_alphabets)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    expect_alphabet(base64_decode, letters, "+/");
    expect_alphabet(base64url_decode, letters, "-_");
}

Test(base64, stops_at_the_capacity)
{
    char at[4] = "abc";
    size_t len;
    cr_expect_eq(base64_decode(BYTES("Zm9v"), at, 2, &len), STATUS_TOO_LARGE);
    cr_expect_str_eq(at, "abc", "nothing is written");
    cr_expect_eq(base64_decode(BYTES("Zm8="), at, 2, &len), 0);
    cr_expect_eq(len, 2);
}

Test(base64, round_trips_random_bytes_of_every_length)
{
    struct rand rand;
    rand_init(&rand, 7);
    for (size_t n = 0; n < 300; n++) {
        char data[300];
        char text[BASE64_LEN(300)];
        char back[300];
        size_t len;
        for (size_t i = 0; i < n; i++) {
            data[i] = (char)rand_below(&rand, 256);
        }
        cr_assert_eq(
            base64_decode(bytes_of(text, base64_encode(bytes_of(data, n), text)), back, n, &len),
            0);
        cr_assert(bytes_eq(bytes_of(back, len), bytes_of(data, n)));
        cr_assert_eq(base64url_decode(
                         bytes_of(text, base64url_encode(bytes_of(data, n), text)), back, n, &len),
            0);
        cr_assert(bytes_eq(bytes_of(back, len), bytes_of(data, n)));
    }
}
