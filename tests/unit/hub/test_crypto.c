/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests, HMAC and keys beside published vectors.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/status.h"
#include "codec/json_tree.h"
#include "hub/net/crypto.h"
#include "tests/support/test_keys.h"

TestSuite(crypto, .timeout = 60);

static void expect_hex(const uint8_t *digest, size_t len, const char *hex, const char *what)
{
    char text[129];
    for (size_t i = 0; i < len; i++) {
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    }
    cr_expect_str_eq(text, hex, "%s: %s", what, text);
}

Test(crypto, digests_match_the_published_vectors)
{
    uint8_t digest[32];
    crypto_sha1(BYTES("abc"), digest); /* FIPS 180-4 examples */
    expect_hex(digest, 20, "a9993e364706816aba3e25717850c26c9cd0d89d", "sha1 abc");
    crypto_sha1(BYTES(""), digest);
    expect_hex(digest, 20, "da39a3ee5e6b4b0d3255bfef95601890afd80709", "sha1 of nothing");
    crypto_sha256(BYTES("abc"), digest);
    expect_hex(digest, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha256 abc");
    crypto_sha256((struct bytes){0}, digest);
    expect_hex(digest, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "sha256 of nothing");
    crypto_hash128(BYTES("abc"), digest);
    expect_hex(digest, 16, "ba7816bf8f01cfea414140de5dae2223", "hash128 abc");
}

Test(crypto, hmac_matches_rfc_4231)
{
    static const char data[] = "what do ya want for nothing?";
    uint8_t digest[32];
    crypto_hmac_sha256(BYTES("Jefe"), BYTES(data), digest);
    expect_hex(
        digest, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", "case 2");
    char key[131];
    memset(key, 0xaa, sizeof(key));
    crypto_hmac_sha256(bytes_of(key, sizeof(key)),
        BYTES("Test Using Larger Than Block-Size Key - Hash Key First"), digest);
    expect_hex(
        digest, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54", "case 6");
    crypto_hmac_sha256((struct bytes){0}, (struct bytes){0}, digest);
    expect_hex(digest, 32, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad",
        "empty key and content");
}

static void expect_hkdf(struct bytes secret, struct bytes salt, struct bytes info, size_t len,
    const char *hex, const char *what)
{
    uint8_t key[82];
    char text[2 * sizeof(key) + 1];
    crypto_hkdf_sha256(secret, salt, info, key, len);
    for (size_t i = 0; i < len; i++) {
        snprintf(text + 2 * i, 3, "%02x", key[i]);
    }
    cr_expect_str_eq(text, hex, "%s: %s", what, text);
}

Test(crypto, hkdf_matches_rfc_5869)
{
    char secret[80];
    char salt[80];
    char info[80];
    for (size_t i = 0; i < sizeof(secret); i++) {
        secret[i] = (char)i;
        salt[i] = (char)(0x60 + i);
        info[i] = (char)(0xb0 + i);
    }
    expect_hkdf(bytes_of(secret, 80), bytes_of(salt, 80), bytes_of(info, 80), 82,
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c6"
        "5e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        "A.2");
    memset(secret, 0x0b, 22);
    expect_hkdf(bytes_of(secret, 22), (struct bytes){0}, (struct bytes){0}, 42,
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        "A.3");
}

Test(crypto, a_prepared_hmac_is_the_same_every_time)
{
    char long_key[131];
    memset(long_key, 0xaa, sizeof(long_key));
    const struct bytes keys[] = {BYTES("Jefe"), bytes_of(long_key, sizeof(long_key)), {0}};
    char content[300];
    memset(content, 'c', sizeof(content));
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct crypto_hmac *hmac = crypto_hmac_create(keys[i]);
        for (size_t len = 0; len <= sizeof(content); len += 37) {
            uint8_t once[32];
            uint8_t prepared[32];
            crypto_hmac_sha256(keys[i], bytes_of(content, len), once);
            crypto_hmac_run(hmac, bytes_of(content, len), prepared);
            cr_expect_arr_eq(prepared, once, sizeof(once), "key %zu, %zu bytes", i, len);
        }
        crypto_hmac_destroy(hmac);
    }
    crypto_hmac_destroy(NULL);
}

Test(crypto, compares_and_wipes)
{
    char secret[] = "secret";
    cr_expect(crypto_equal(secret, "secret", 6));
    cr_expect_not(crypto_equal(secret, "secreT", 6));
    cr_expect(crypto_equal(secret, "other", 0));
    crypto_wipe(secret, sizeof(secret));
    for (size_t i = 0; i < sizeof(secret); i++) {
        cr_expect_eq(secret[i], 0);
    }
}

static void expect_jwk(const char *pem, enum crypto_key_kind kind, bool private)
{
    struct builder text = {.max = 65536};
    enum crypto_key_kind found;
    struct json_tree *jwk = NULL;
    cr_assert_eq(crypto_pem_to_jwk(bytes_str(pem), &text, &found), 0);
    cr_expect_eq(found, kind);
    cr_assert_eq(json_tree_parse(builder_bytes(&text), 65536, &jwk), 0);
    static const char *const rsa[] = {"n", "e", "d", "p", "q", "dp", "dq", "qi"};
    static const char *const ec[] = {"x", "y", "d"};
    bool is_rsa = kind == CRYPTO_KEY_RSA;
    for (size_t i = 0; i < (is_rsa ? ARRAY_LEN(rsa) : ARRAY_LEN(ec)); i++) {
        const char *name = is_rsa ? rsa[i] : ec[i];
        bool expected = i < 2 || private;
        cr_expect_eq(json_tree_get(jwk, name) != NULL, expected, "%s", name);
    }
    json_tree_destroy(jwk);
    builder_reset(&text);
}

static void expect_refused(const char *pem, int expected)
{
    struct builder text = {.max = 65536};
    enum crypto_key_kind found;
    builder_str(&text, "kept");
    int status = crypto_pem_to_jwk(bytes_str(pem), &text, &found);
    cr_expect_eq(status, expected, "%s for %.40s", status_name(status), pem);
    cr_expect(bytes_eq(builder_bytes(&text), BYTES("kept")));
    builder_reset(&text);
}

Test(crypto, turns_pem_into_jwk)
{
    static struct test_key key;
    test_key_make(TEST_KEY_RSA, &key);
    expect_jwk(key.open, CRYPTO_KEY_RSA, false);
    expect_jwk(key.secret, CRYPTO_KEY_RSA, true);
    expect_jwk(key.certificate, CRYPTO_KEY_RSA, false);
    expect_refused(key.locked, STATUS_DENIED);
    for (int i = 0; i < 50; i++) { /* coordinates with leading zeros are among them, mostly */
        test_key_make(TEST_KEY_P256, &key);
        expect_jwk(key.open, CRYPTO_KEY_EC_P256, false);
        expect_jwk(key.secret, CRYPTO_KEY_EC_P256, true);
    }
    expect_jwk(key.certificate, CRYPTO_KEY_EC_P256, false);
}

Test(crypto, refuses_other_keys_and_text)
{
    static struct test_key key;
    test_key_make(TEST_KEY_RSA_1024, &key);
    expect_refused(key.open, STATUS_UNSUPPORTED);
    test_key_make(TEST_KEY_P384, &key);
    expect_refused(key.open, STATUS_UNSUPPORTED);
    test_key_make(TEST_KEY_ED25519, &key);
    expect_refused(key.open, STATUS_UNSUPPORTED);
    expect_refused("", STATUS_INVALID);
    expect_refused("just a secret", STATUS_INVALID);
    expect_refused("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", STATUS_INVALID);
    test_key_make(TEST_KEY_P256, &key);
    key.open[strlen(key.open) / 2] = '\0';
    expect_refused(key.open, STATUS_INVALID);
}
