/* SPDX-License-Identifier: Apache-2.0 */
/* What the check of tokens remembers: tokens of public keys, and headers. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/auth/jwt_cache.h"
#include "hub/net/crypto.h"
#include "tests/support/test_keys.h"
#include "tests/unit/hub/jwt_world.h"

TestSuite(jwt_cache, .timeout = 60);

/* --- cache --------------------------------------------------------------------------------- */

/* A check of tokens that public_token signs. */
static struct jwt *make_public(size_t cache_max, struct jwt_key_options *ret_signer)
{
    static struct test_key ec;
    test_key_make(TEST_KEY_P256, &ec);
    *ret_signer = (struct jwt_key_options){
        .kind = JWT_KEY_PEM, .material = bytes_str(ec.secret), .alg = JWT_ALG_ES256};
    const struct jwt_key_options key = {
        .kind = JWT_KEY_PEM, .material = bytes_str(ec.open), .alg = JWT_ALG_ES256};
    const struct jwt_options options = {.keys = &key, .key_count = 1, .cache_max = cache_max};
    return world_jwt(&options);
}

Test(jwt_cache, verifies_a_token_of_a_public_key_once_until_it_expires)
{
    struct jwt_key_options signer;
    struct jwt *jwt = make_public(16, &signer);
    struct bytes token = world_sign(&signer, "u"); /* good until NOW + 60 */
    for (int i = 0; i < 5; i++) {
        struct claims *claims = NULL;
        cr_assert_eq(jwt_verify(jwt, token, NOW + (uint64_t)i, &claims), 0);
        cr_expect(bytes_eq_str(claims_user(claims), "u"));
        claims_unref(claims);
    }
    cr_expect_eq(jwt_get_stats(jwt).verified, 1);
    cr_expect_eq(jwt_get_stats(jwt).cache_hits, 4);
    for (int i = 0; i < 2; i++) { /* what the cache knew, then what it has forgotten */
        cr_expect_eq(world_check(jwt, token, NOW + 100), STATUS_EXPIRED);
        cr_expect(bytes_eq_str(jwt_last_refusal(jwt)->user, "u"));
    }
    cr_expect_eq(jwt_get_stats(jwt).cached, 0);
    jwt_destroy(jwt);
}

Test(jwt_cache, keeps_the_public_keys_tokens_used_last)
{
    struct jwt_key_options signer;
    struct jwt *jwt = make_public(16, &signer);
    struct builder first = {.max = JWT_TOKEN_MAX};
    builder_add(&first, world_sign(&signer, "u0"));
    for (int i = 0; i < 40; i++) {
        char user[8];
        snprintf(user, sizeof(user), "u%d", i);
        cr_assert_eq(
            world_check(jwt, i == 0 ? builder_bytes(&first) : world_sign(&signer, user), NOW), 0);
        cr_assert_eq(world_check(jwt, builder_bytes(&first), NOW), 0);
    }
    struct jwt_stats stats = jwt_get_stats(jwt);
    cr_expect_eq(stats.cached, 16);
    cr_expect_eq(stats.verified, 40, "u0 is asked for again and again and stays");
    jwt_destroy(jwt);
    jwt = make_public(0, &signer);
    struct bytes token = world_sign(&signer, "u");
    cr_assert_eq(world_check(jwt, token, NOW), 0);
    cr_assert_eq(world_check(jwt, token, NOW), 0);
    cr_expect_eq(jwt_get_stats(jwt).verified, 2);
    builder_reset(&first);
    jwt_destroy(jwt);
}

/* Whoever shows tokens decides how many are kept: without memory none is, and nothing ends. */
Test(jwt_cache, without_memory_a_token_is_verified_again)
{
    const uint8_t digest[CRYPTO_SHA256_LEN] = {1};
    struct jwt_key_options signer;
    struct jwt *jwt = make_public(0, &signer);
    struct jwt_cache *cache = jwt_cache_create(4);
    struct claims *claims = NULL;
    cr_assert_eq(jwt_verify(jwt, world_sign(&signer, "u"), NOW, &claims), 0);
    mem_refuse(true);
    jwt_cache_put(cache, digest, claims);
    mem_refuse(false);
    cr_expect_eq(jwt_cache_count(cache), 0);
    cr_expect_null(jwt_cache_get(cache, digest));
    jwt_cache_put(cache, digest, claims);
    cr_expect_eq(jwt_cache_get(cache, digest), claims);
    claims_unref(claims);
    jwt_cache_destroy(cache);
    jwt_destroy(jwt);
}

Test(jwt_cache, proves_tokens_of_a_secret_each_time)
{
    struct jwt *jwt = world_jwt_plain();
    struct bytes token = world_token("{\"sub\":\"u\",\"exp\":1800000100,\"rooms\":[\"r\"]}");
    for (int i = 0; i < 5; i++) {
        struct claims *claims = NULL;
        cr_assert_eq(jwt_verify(jwt, token, NOW + (uint64_t)i, &claims), 0);
        cr_expect(claims_list_room(claims, BYTES("r")));
        claims_unref(claims);
    }
    cr_expect_eq(jwt_get_stats(jwt).verified, 5);
    cr_expect_eq(jwt_get_stats(jwt).cached, 0);
    cr_expect_eq(world_check(jwt, token, NOW + 100), STATUS_EXPIRED);
    jwt_destroy(jwt);
}

/* --- headers that were read before ---------------------------------------------------------- */

Test(jwt_cache, a_header_it_knows_is_no_proof)
{
    static struct test_key rsa;
    test_key_make(TEST_KEY_RSA, &rsa);
    const struct jwt_key_options keys[] = {
        {.kind = JWT_KEY_SECRET, .material = BYTES(AAA), .kid = BYTES("a")},
        {.kind = JWT_KEY_SECRET, .material = BYTES(BBB), .kid = BYTES("b")},
        {.kind = JWT_KEY_PEM, .material = bytes_str(rsa.open), .alg = JWT_ALG_RS256},
    };
    static const struct {
        const char *header;
        int of_a, of_b;
    } headers[] = {
        {"{\"alg\":\"HS256\"}", 0, 0},
        {"{\"alg\":\"HS256\",\"kid\":\"a\"}", 0, STATUS_UNAUTHORIZED},
        {"{\"alg\":\"HS256\",\"kid\":\"b\"}", STATUS_UNAUTHORIZED, 0},
        {"{\"alg\":\"HS256\",\"kid\":\"c\"}", STATUS_UNAUTHORIZED, STATUS_UNAUTHORIZED},
        {"{\"alg\":\"HS256\",\"typ\":\"JWT\"}", 0, 0},
        {"{\"typ\":\"JWT\",\"alg\":\"HS256\"}", 0, 0},
        {"{\"alg\":\"RS256\"}", STATUS_UNAUTHORIZED, STATUS_UNAUTHORIZED},
        {"{\"alg\":\"none\"}", STATUS_UNAUTHORIZED, STATUS_UNAUTHORIZED},
    };
    static const char payload[] = "{\"sub\":\"u\",\"exp\":1800000100}";
    struct jwt *jwt = world_jwt_with(keys, ARRAY_LEN(keys));
    for (size_t i = 0; i < 5 * ARRAY_LEN(headers); i++) { /* more of them than are kept */
        size_t n = i % ARRAY_LEN(headers);
        const char *header = headers[n].header;
        cr_expect_eq(world_check(jwt, world_forge(BYTES(AAA), header, payload), NOW),
            headers[n].of_a, "%s, round %zu", header, i);
        cr_expect_eq(world_check(jwt, world_forge(BYTES(BBB), header, payload), NOW),
            headers[n].of_b, "%s, round %zu", header, i);
        cr_expect_eq(
            world_check(jwt, world_forge(BYTES(CCC), header, payload), NOW), STATUS_UNAUTHORIZED);
        cr_expect_eq(world_check(jwt, world_forge(bytes_str(rsa.open), header, payload), NOW),
            STATUS_UNAUTHORIZED, "%s, round %zu", header, i);
    }
    jwt_destroy(jwt);
}

Test(jwt_cache, knows_no_header_of_a_token_that_was_refused)
{
    struct jwt *jwt = world_jwt_plain();
    cr_expect_eq(world_check(jwt, world_token("{\"sub\":\"u\",\"exp\":1800000100}"), NOW), 0);
    for (int i = 0; i < 20; i++) {
        char header[100];
        snprintf(header, sizeof(header), "{\"alg\":\"HS256\",\"kid\":\"%d\",\"kid\":\"\"}", i % 2);
        cr_expect_eq(
            world_check(
                jwt, world_forge(BYTES(SECRET), header, "{\"sub\":\"u\",\"exp\":1800000100}"), NOW),
            STATUS_UNAUTHORIZED, "a name twice");
        cr_expect_eq(world_check(jwt,
                         world_forge(BYTES(OTHER_SECRET), "{\"alg\":\"HS256\"}",
                             "{\"sub\":\"u\",\"exp\":1800000100}"),
                         NOW),
            STATUS_UNAUTHORIZED);
    }
    jwt_destroy(jwt);
}
