/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Web Push by the example of RFC 8291, section 5, and keys of P-256.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "codec/base/status.h"
#include "codec/base64.h"
#include "hub/net/crypto_p256.h"
#include "hub/push/web_push.h"

TestSuite(web_push, .timeout = 30);

static void decode(const char *text, uint8_t *at, size_t len)
{
    size_t got = 0;
    cr_assert_eq(base64url_decode(bytes_str(text), (char *)at, len, &got), 0);
    cr_assert_eq(got, len);
}

static struct crypto_p256 *key_of(const char *text)
{
    uint8_t scalar[CRYPTO_SCALAR_LEN];
    decode(text, scalar, sizeof(scalar));
    return crypto_p256_read(scalar);
}

static struct device browser(void)
{
    struct device device = {.platform = DEVICE_WEB};
    decode(
        "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        device.point, sizeof(device.point));
    decode("BTBZMqHH6r4Tts7J_aSIgg", device.secret, sizeof(device.secret));
    return device;
}

static const char sender[] = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw";

Test(web_push, the_example_of_rfc_8291_comes_out)
{
    static const char wanted[] =
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmY"
        "WAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexS"
        "gSxsj_Qulcy4a-fN";
    struct crypto_p256 *key = key_of(sender);
    struct device device = browser();
    struct builder out = {0};
    uint8_t salt[WEB_PUSH_SALT_LEN];
    char text[sizeof(wanted)];
    decode("DGv6ra1nlYgDCS1FRnbzlw", salt, sizeof(salt));
    struct bytes plain = BYTES("When I grow up, I want to be a watermelon");
    cr_assert_eq(web_push_seal(key, salt, &device, plain, &out), 0);
    cr_assert_eq(BASE64URL_LEN(builder_bytes(&out).len), sizeof(wanted) - 1);
    size_t len = base64url_encode(builder_bytes(&out), text);
    cr_expect(bytes_eq_str(bytes_of(text, len), wanted), "%.*s", (int)len, text);
    builder_reset(&out);
    crypto_p256_destroy(key);
}

Test(web_push, the_largest_message_is_as_large_as_every_service_takes)
{
    static char plain[WEB_PUSH_PLAIN_MAX];
    struct crypto_p256 *key = crypto_p256_generate();
    struct device device = browser();
    struct builder out = {0};
    uint8_t salt[WEB_PUSH_SALT_LEN] = {0};
    memset(plain, 'x', sizeof(plain));
    cr_assert_eq(web_push_seal(key, salt, &device, bytes_of(plain, sizeof(plain)), &out), 0);
    cr_expect_eq(builder_bytes(&out).len, WEB_PUSH_BODY_MAX);
    builder_reset(&out);
    crypto_p256_destroy(key);
}

Test(web_push, a_point_that_is_not_on_the_curve_is_refused)
{
    struct crypto_p256 *key = crypto_p256_generate();
    struct device device = browser();
    struct builder out = {0};
    uint8_t salt[WEB_PUSH_SALT_LEN] = {0};
    device.point[64] ^= 1;
    cr_expect_eq(web_push_seal(key, salt, &device, BYTES("x"), &out), STATUS_INVALID);
    cr_expect_eq(builder_bytes(&out).len, 0);
    builder_reset(&out);
    crypto_p256_destroy(key);
}

Test(web_push, who_sends_is_said_with_the_origin_of_the_service)
{
    struct crypto_p256 *key = key_of(sender);
    struct builder out = {0};
    char claims[256];
    size_t len = 0;
    web_push_authorize(
        key, BYTES("https://push.example:444/x?y"), BYTES("mailto:a@b"), 1453523768, &out);
    struct bytes text = builder_bytes(&out);
    static const char head[] = "vapid t=eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.";
    static const char tail[] =
        ", k=BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS"
        "6TlzAC8wEqKK6PBru3jl7A8";
    cr_assert(bytes_starts(text, BYTES(head)));
    cr_expect(bytes_eq_str(bytes_skip(text, text.len - (sizeof(tail) - 1)), tail));
    struct bytes rest = bytes_skip(text, sizeof(head) - 1);
    const char *dot = memchr(rest.at, '.', rest.len);
    cr_assert_not_null(dot);
    struct bytes encoded = bytes_of(rest.at, (size_t)(dot - rest.at));
    cr_assert_eq(base64url_decode(encoded, claims, sizeof(claims), &len), 0);
    cr_expect(
        bytes_eq_str(bytes_of(claims, len),
            "{\"aud\":\"https://push.example:444\",\"exp\":1453523768,\"sub\":\"mailto:a@b\"}"),
        "%.*s", (int)len, claims);
    cr_expect_eq(rest.len - encoded.len - 1 - (sizeof(tail) - 1), BASE64URL_LEN(64));
    builder_reset(&out);
    crypto_p256_destroy(key);
}

Test(web_push, both_sides_agree)
{
    struct crypto_p256 *one = crypto_p256_generate();
    struct crypto_p256 *two = crypto_p256_generate();
    uint8_t points[2][CRYPTO_POINT_LEN];
    uint8_t secrets[2][CRYPTO_SCALAR_LEN];
    uint8_t scalar[CRYPTO_SCALAR_LEN];
    crypto_p256_get_point(one, points[0]);
    crypto_p256_get_point(two, points[1]);
    cr_assert_eq(crypto_p256_agree(one, points[1], secrets[0]), 0);
    cr_assert_eq(crypto_p256_agree(two, points[0], secrets[1]), 0);
    cr_expect_eq(memcmp(secrets[0], secrets[1], CRYPTO_SCALAR_LEN), 0);
    crypto_p256_get_scalar(one, scalar);
    struct crypto_p256 *again = crypto_p256_read(scalar);
    crypto_p256_get_point(again, points[1]);
    cr_expect_eq(memcmp(points[0], points[1], CRYPTO_POINT_LEN), 0);
    crypto_p256_destroy(one);
    crypto_p256_destroy(two);
    crypto_p256_destroy(again);
}

Test(web_push, numbers_that_are_no_keys_are_refused)
{
    uint8_t scalar[CRYPTO_SCALAR_LEN] = {0};
    cr_expect_null(crypto_p256_read(scalar));
    memset(scalar, 0xff, sizeof(scalar));
    cr_expect_null(crypto_p256_read(scalar));
}
