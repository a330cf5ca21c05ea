/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens: each claim, each reason for refusal, the policy and the keys.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/status.h"
#include "hub/auth/jwt.h"
#include "tests/support/test_keys.h"
#include "tests/unit/hub/jwt_world.h"

TestSuite(jwt, .timeout = 60);

/* --- helpers ------------------------------------------------------------------------------- */

static void expect_create_fails(const struct jwt_key_options *keys, size_t count, const char *word)
{
    struct jwt_options options = {.keys = keys, .key_count = count};
    struct builder error = {.max = 4096};
    struct jwt *jwt = NULL;
    int status = jwt_create(&options, &error, &jwt);
    cr_expect_eq(status, STATUS_INVALID, "%s: %s", word, status_name(status));
    struct bytes text = builder_bytes(&error);
    cr_expect_not_null(text.len > 0 ? memmem(text.at, text.len, word, strlen(word)) : NULL,
        "\"%s\" in \"%.*s\"", word, (int)text.len, text.at);
    builder_reset(&error);
}

/* --- tokens -------------------------------------------------------------------------------- */

Test(jwt, reads_all_claims)
{
    static const struct bytes extra[] = {{.at = "projects", .len = 8}, {.at = "plan", .len = 4}};
    struct jwt_key_options key = world_key();
    struct jwt_options options = {
        .keys = &key, .key_count = 1, .extra_claims = extra, .extra_count = 2};
    struct jwt *jwt = world_jwt(&options);
    struct claims *claims = NULL;
    cr_assert_eq(
        jwt_verify(jwt,
            world_token(
                "{\"sub\":\"u-1\",\"userId\":\"no\",\"role\":\"admin\",\"name\":\"Ada \\u00e9\","
                "\"tenant\":\"acme\",\"exp\":1800000001,\"nbf\":1800000000,\"iss\":\"me\","
                "\"rooms\":[\"project:1\",\"customer:*\"],\"projects\":[\"1\",2,\"3\"],"
                "\"plan\":\"gold\",\"other\":{\"a\":[1]}}"),
            NOW, &claims),
        0);
    cr_expect(bytes_eq_str(claims_user(claims), "u-1"));
    cr_expect(bytes_eq_str(claims_role(claims), "admin"));
    cr_expect(bytes_eq_str(claims_name(claims), "Ada \xc3\xa9"));
    cr_expect(bytes_eq_str(claims_tenant(claims), "acme"));
    cr_expect(bytes_eq_str(claims_issuer(claims), "me"));
    cr_expect_eq(claims->expires_at, NOW + 1);
    cr_assert_eq(claims->room_count, 2);
    cr_expect(claims_list_room(claims, BYTES("project:1")));
    cr_expect_not(claims_list_room(claims, BYTES("project:12")));
    cr_expect(claims_list_room(claims, BYTES("customer:9")));
    cr_expect_eq(claims->extra_count, 3);
    cr_expect(claims_have(claims, BYTES("projects"), BYTES("3")));
    cr_expect(claims_have(claims, BYTES("plan"), BYTES("gold")));
    cr_expect_not(claims_have(claims, BYTES("plan"), BYTES("3")));
    claims_unref(claims);
    jwt_destroy(jwt);
}

/* What the operator is told, and that claims are shown only of tokens whose signature is right. */
Test(jwt, says_why_it_refuses)
{
#define GOOD_EXP "\"exp\":1800000100"
    static const char hs[] = "{\"alg\":\"HS256\",\"kid\":\"k1\"}";
    static const struct {
        const char *secret;
        const char *header;
        const char *payload;
        const char *reason;
        const char *user;
    } cases[] = {
        {SECRET, hs, "{\"sub\":\"u\"}", "exp is missing", "u"},
        {SECRET, hs, "{\"sub\":\"u\",\"exp\":1}", "exp has passed", "u"},
        {SECRET, hs, "{\"sub\":\"u\",\"exp\":\"1\"}", "exp is no time in seconds", "u"},
        {SECRET, hs, "{\"sub\":\"u\",\"nbf\":1900000000," GOOD_EXP "}", "nbf is in the future",
            "u"},
        {SECRET, hs, "{" GOOD_EXP "}", "sub (or userId) is missing", ""},
        {SECRET, hs, "{\"sub\":\"a/b\"," GOOD_EXP "}", "sub is no user id", "a/b"},
        {SECRET, hs, "{\"sub\":\"u\",\"tenant\":\"a/b\"," GOOD_EXP "}", "tenant", "u"},
        {SECRET, hs, "{\"sub\":\"u\",\"rooms\":7," GOOD_EXP "}", "rooms", "u"},
        {SECRET, hs, "[]", "the claims are no JSON object", ""},
        {SECRET, hs, "nonsense", "the claims are no JSON", ""},
        {OTHER_SECRET, hs, "{\"sub\":\"canary\"," GOOD_EXP "}", "its signature is not by a key",
            ""},
        {SECRET, "{\"alg\":\"none\"}", "{\"sub\":\"canary\"}", "its alg is none of HS256", ""},
        {SECRET, "{\"alg\":\"RS256\"}", "{\"sub\":\"canary\"}", "no key has its alg and kid", ""},
        {SECRET, "{\"alg\":\"HS256\",\"crit\":[]}", "{\"sub\":\"canary\"}", "crit or b64", ""},
        {SECRET, "{\"alg\":\"HS256\",\"kid\":7}", "{\"sub\":\"canary\"}", "its kid is no text", ""},
        {SECRET, "[]", "{\"sub\":\"canary\"}", "its header is no JSON object", ""},
    };
    struct jwt *jwt = world_jwt_plain();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bytes token =
            world_forge(bytes_str(cases[i].secret), cases[i].header, cases[i].payload);
        cr_expect_neq(world_check(jwt, token, NOW), 0, "case %zu", i);
        const struct jwt_refusal *refusal = jwt_last_refusal(jwt);
        cr_expect_not_null(
            strstr(refusal->reason, cases[i].reason), "case %zu: %s", i, refusal->reason);
        cr_expect(bytes_eq_str(refusal->user, cases[i].user), "case %zu: user", i);
        cr_expect(
            bytes_eq_str(refusal->kid, cases[i].header == hs ? "k1" : ""), "case %zu: kid", i);
    }
    (void)world_check(jwt, BYTES("nonsense"), NOW);
    cr_expect_not_null(strstr(jwt_last_refusal(jwt)->reason, "it is no token"));
    cr_expect_eq(jwt_last_refusal(jwt)->kid.len, 0);
    jwt_destroy(jwt);
    const struct jwt_key_options key = world_key();
    const struct jwt_options options = {
        .keys = &key, .key_count = 1, .issuer = BYTES("me"), .audience = BYTES("you")};
    jwt = world_jwt(&options);
    static const char *const origins[][2] = {
        {"{\"sub\":\"u\"," GOOD_EXP "}", "iss is missing"},
        {"{\"sub\":\"u\",\"iss\":\"x\"," GOOD_EXP "}", "iss is another one"},
        {"{\"sub\":\"u\",\"iss\":\"me\"," GOOD_EXP "}", "aud is missing"},
        {"{\"sub\":\"u\",\"iss\":\"me\",\"aud\":[\"x\"]," GOOD_EXP "}", "aud is another one"},
    };
    for (size_t i = 0; i < ARRAY_LEN(origins); i++) {
        (void)world_check(jwt, world_token(origins[i][0]), NOW);
        const char *reason = jwt_last_refusal(jwt)->reason;
        cr_expect_not_null(strstr(reason, origins[i][1]), "%s: %s", origins[i][0], reason);
    }
    jwt_destroy(jwt);
}

Test(jwt, judges_payloads)
{
#define EXP "\"exp\":1800000100"
    static const struct {
        const char *payload;
        int status;
    } cases[] = {
        {"{\"sub\":\"u\"," EXP "}", 0},
        {"{\"userId\":\"u\"," EXP "}", 0},
        {"{\"userId\":42," EXP "}", 0},
        {"{\"sub\":-9223372036854775808," EXP "}", 0},
        {"{\"sub\":\"u\",\"companyId\":7," EXP "}", 0},
        {"{\"sub\":\"u\",\"tenant\":null,\"rooms\":null," EXP "}", 0},
        {"{\"sub\":\"u\",\"rooms\":[\"*\"]," EXP "}", 0},
        {"{\"sub\":\"u\",\"role\":[\"admin\"],\"name\":7," EXP "}", 0},
        {"{\"sub\":\"u\",\"exp\":1800000000.5}", STATUS_EXPIRED},
        {"{\"sub\":\"u\",\"exp\":1800000001.5}", 0},
        /* times */
        {"{\"sub\":\"u\",\"exp\":1800000001}", 0},
        {"{\"sub\":\"u\",\"exp\":1800000000}", STATUS_EXPIRED},
        {"{\"sub\":\"u\",\"exp\":1799999999}", STATUS_EXPIRED},
        {"{\"sub\":\"u\",\"exp\":0}", STATUS_EXPIRED},
        {"{\"sub\":\"u\",\"nbf\":1800000001," EXP "}", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"u\",\"nbf\":1800000001,\"exp\":1}", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"u\"}", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"u\",\"exp\":null}", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"u\",\"exp\":\"1800000100\"}", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"u\",\"exp\":-1}", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"u\",\"exp\":1e300}", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"u\",\"exp\":9223372036854775807}", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"u\",\"exp\":99999999999999999999}", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"u\",\"nbf\":true," EXP "}", STATUS_UNAUTHORIZED},
        /* users and rooms */
        {"{" EXP "}", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"\"," EXP "}", STATUS_UNAUTHORIZED},
        {"{\"sub\":null," EXP "}", STATUS_UNAUTHORIZED},
        {"{\"sub\":null,\"userId\":\"u\"," EXP "}", 0},
        {"{\"sub\":\"u\",\"tenant\":null," EXP "}", 0},
        {"{\"sub\":true,\"userId\":\"u\"," EXP "}", STATUS_UNAUTHORIZED},
        {"{\"sub\":[\"u\"]," EXP "}", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"a/b\"," EXP "}", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"a\\nb\"," EXP "}", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"a\\u0000b\"," EXP "}", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"a\\u0085b\"," EXP "}", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"u\",\"tenant\":\"a/b\"," EXP "}", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"u\",\"tenant\":{}," EXP "}", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"u\",\"iss\":7," EXP "}", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"u\",\"rooms\":\"a\"," EXP "}", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"u\",\"rooms\":[7]," EXP "}", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"u\",\"rooms\":[\"a/b\"]," EXP "}", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"u\",\"rooms\":[\"\"]," EXP "}", STATUS_UNAUTHORIZED},
        /* no object, or not one that means one thing */
        {"[]", STATUS_UNAUTHORIZED},
        {"\"u\"", STATUS_UNAUTHORIZED},
        {"", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"u\",\"sub\":\"v\"," EXP "}", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"u\"," EXP "} x", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"\xff\"," EXP "}", STATUS_UNAUTHORIZED},
        {"{\"sub\":\"\\ud800\"," EXP "}", STATUS_UNAUTHORIZED},
    };
    struct jwt *jwt = world_jwt_plain();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int status = world_check(jwt, world_token(cases[i].payload), NOW);
        cr_expect_eq(status, cases[i].status, "%s: %s", cases[i].payload, status_name(status));
    }
    char payload[400];
    for (size_t len = 127; len <= 129; len++) {
        memset(payload, 'u', sizeof(payload));
        memcpy(payload, "{\"sub\":\"", 8);
        snprintf(payload + 8 + len, sizeof(payload) - 8 - len, "\"," EXP "}");
        int expected = len <= 128 ? 0 : STATUS_UNAUTHORIZED;
        cr_expect_eq(world_check(jwt, world_token(payload), NOW), expected, "%zu", len);
    }
    jwt_destroy(jwt);
}

Test(jwt, refuses_headers_that_are_not_a_plain_known_algorithm)
{
    static const char *const headers[] = {
        "{\"alg\":\"none\"}",
        "{\"alg\":\"None\"}",
        "{\"alg\":\"\"}",
        "{\"alg\":null}",
        "{\"alg\":[\"HS256\"]}",
        "{\"alg\":\"hs256\"}",
        "{\"alg\":\"HS384\"}",
        "{\"alg\":\"RS256\"}",
        "{\"alg\":\"ES256\"}",
        "{\"alg\":\"HS256 \"}",
        "{}",
        "[]",
        "",
        "{\"alg\":\"HS256\"",
        "{\"alg\":\"HS256\",\"alg\":\"none\"}",
        "{\"alg\":\"HS256\",\"crit\":[\"exp\"]}",
        "{\"alg\":\"HS256\",\"crit\":[]}",
        "{\"alg\":\"HS256\",\"b64\":false}",
        "{\"alg\":\"HS256\",\"kid\":7}",
        "{\"alg\":\"HS256\",\"kid\":null}",
    };
    static const char payload[] = "{\"sub\":\"u\",\"exp\":1800000100}";
    struct jwt *jwt = world_jwt_plain();
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        int status = world_check(jwt, world_forge(BYTES(SECRET), headers[i], payload), NOW);
        cr_expect_eq(status, STATUS_UNAUTHORIZED, "%s: %s", headers[i], status_name(status));
    }
    /* what is in the header besides is not looked at, and nothing is fetched */
    static const char *const harmless[] = {
        "{\"alg\":\"HS256\",\"jku\":\"http://127.0.0.1:1/\",\"x5u\":\"file:///etc/passwd\"}",
        "{\"alg\":\"HS256\",\"kid\":\"../../../etc/passwd\"}",
        "{\"alg\":\"HS256\",\"kid\":\"' OR 1=1 --\"}",
        "{\"alg\":\"HS256\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AAAA\"}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(harmless); i++) {
        cr_expect_eq(world_check(jwt, world_forge(BYTES(SECRET), harmless[i], payload), NOW), 0,
            "%s", harmless[i]);
        cr_expect_eq(world_check(jwt, world_forge(BYTES("AAAA"), harmless[i], payload), NOW),
            STATUS_UNAUTHORIZED, "%s", harmless[i]);
    }
    jwt_destroy(jwt);
}

Test(jwt, tells_missing_wrong_and_expired_apart)
{
    struct jwt *jwt = world_jwt_plain();
    cr_expect_eq(world_check(jwt, BYTES(""), NOW), STATUS_NOT_FOUND);
    static const char *const broken[] = {
        "a", ".", "..", "a.b", "a.b.c.d", "a..c", ".b.c", "a.b.", "a b.c.d", "\xff.\xff.\xff"};
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        cr_expect_eq(
            world_check(jwt, bytes_str(broken[i]), NOW), STATUS_UNAUTHORIZED, "%s", broken[i]);
    }
    static const char expired[] = "{\"sub\":\"u\",\"exp\":1700000000}";
    cr_expect_eq(world_check(jwt, world_token(expired), NOW), STATUS_EXPIRED);
    cr_expect_eq(
        world_check(jwt, world_forge(BYTES(OTHER_SECRET), "{\"alg\":\"HS256\"}", expired), NOW),
        STATUS_UNAUTHORIZED, "an expired token of somebody else is just wrong");
    cr_expect_eq(jwt_get_stats(jwt).refused, 2 + ARRAY_LEN(broken));
    jwt_destroy(jwt);
}

Test(jwt, refuses_a_token_with_any_byte_changed)
{
    struct jwt *jwt = world_jwt_plain();
    char token[512];
    struct bytes right = world_token("{\"sub\":\"u\",\"exp\":1800000100}");
    cr_assert_eq(world_check(jwt, right, NOW), 0);
    for (size_t i = 0; i < right.len; i++) {
        static const char others[] = "A9_-.=+ ";
        for (size_t j = 0; j < sizeof(others); j++) {
            memcpy(token, right.at, right.len);
            if (token[i] == others[j]) {
                continue;
            }
            token[i] = others[j];
            cr_expect_eq(world_check(jwt, bytes_of(token, right.len), NOW), STATUS_UNAUTHORIZED,
                "byte %zu changed to %d", i, others[j]);
        }
        cr_expect_eq(world_check(jwt, bytes_of(right.at, i), NOW),
            i == 0 ? STATUS_NOT_FOUND : STATUS_UNAUTHORIZED, "cut at %zu", i);
    }
    memcpy(token, right.at, right.len);
    token[right.len] = '=';
    cr_expect_eq(world_check(jwt, bytes_of(token, right.len + 1), NOW), STATUS_UNAUTHORIZED);
    jwt_destroy(jwt);
}

Test(jwt, bounds_the_size_before_anything_else)
{
    struct jwt *jwt = world_jwt_plain();
    char *payload = malloc(10000);
    for (size_t pad = 6000; pad <= 6100; pad += 1) {
        int head = snprintf(payload, 100, "{\"sub\":\"u\",\"exp\":1800000100,\"pad\":\"");
        memset(payload + head, 'p', pad);
        memcpy(payload + head + pad, "\"}", 3);
        struct bytes token = world_token(payload);
        int expected = token.len <= JWT_TOKEN_MAX ? 0 : STATUS_UNAUTHORIZED;
        cr_expect_eq(world_check(jwt, token, NOW), expected, "%zu bytes", token.len);
    }
    free(payload);
    jwt_destroy(jwt);
}

Test(jwt, applies_issuer_audience_leeway_and_missing_exp)
{
    static const struct {
        struct jwt_options options;
        const char *payload;
        int status;
    } cases[] = {
        {{.issuer = {"me", 2}}, "\"iss\":\"me\",\"exp\":1800000100", 0},
        {{.issuer = {"me", 2}}, "\"iss\":\"you\",\"exp\":1800000100", STATUS_UNAUTHORIZED},
        {{.issuer = {"me", 2}}, "\"exp\":1800000100", STATUS_UNAUTHORIZED},
        {{.issuer = {"me", 2}}, "\"iss\":\"you\",\"exp\":1", STATUS_UNAUTHORIZED},
        {{.audience = {"app", 3}}, "\"aud\":\"app\",\"exp\":1800000100", 0},
        {{.audience = {"app", 3}}, "\"aud\":[\"x\",\"app\"],\"exp\":1800000100", 0},
        {{.audience = {"app", 3}}, "\"aud\":[\"x\"],\"exp\":1800000100", STATUS_UNAUTHORIZED},
        {{.audience = {"app", 3}}, "\"aud\":\"App\",\"exp\":1800000100", STATUS_UNAUTHORIZED},
        {{.audience = {"app", 3}}, "\"aud\":{\"app\":\"app\"},\"exp\":1800000100",
            STATUS_UNAUTHORIZED},
        {{.audience = {"app", 3}}, "\"exp\":1800000100", STATUS_UNAUTHORIZED},
        {{.leeway_s = 10}, "\"exp\":1799999991", 0},
        {{.leeway_s = 10}, "\"exp\":1799999990", STATUS_EXPIRED},
        {{.leeway_s = 10}, "\"nbf\":1800000010,\"exp\":1800000100", 0},
        {{.leeway_s = 10}, "\"nbf\":1800000011,\"exp\":1800000100", STATUS_UNAUTHORIZED},
        {{.allow_no_exp = true}, "\"a\":1", 0},
        {{.allow_no_exp = true}, "\"exp\":1", STATUS_EXPIRED},
        {{.allow_no_exp = true}, "\"exp\":\"x\"", STATUS_UNAUTHORIZED},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct jwt_key_options key = world_key();
        struct jwt_options options = cases[i].options;
        options.keys = &key;
        options.key_count = 1;
        struct jwt *jwt = world_jwt(&options);
        char payload[200];
        snprintf(payload, sizeof(payload), "{\"sub\":\"u\",%s}", cases[i].payload);
        int status = world_check(jwt, world_token(payload), NOW);
        cr_expect_eq(status, cases[i].status, "case %zu %s: %s", i, payload, status_name(status));
        jwt_destroy(jwt);
    }
}

/* --- keys ---------------------------------------------------------------------------------- */

Test(jwt, pins_each_key_to_its_algorithm)
{
    static struct test_key rsa;
    static struct test_key ec;
    static struct test_key stranger;
    test_key_make(TEST_KEY_RSA, &rsa);
    test_key_make(TEST_KEY_P256, &ec);
    test_key_make(TEST_KEY_P256, &stranger);
    const struct jwt_key_options signers[] = {
        world_key(),
        {.kind = JWT_KEY_PEM, .material = bytes_str(rsa.secret), .alg = JWT_ALG_RS256},
        {.kind = JWT_KEY_PEM, .material = bytes_str(rsa.secret), .alg = JWT_ALG_PS256},
        {.kind = JWT_KEY_PEM, .material = bytes_str(ec.secret), .alg = JWT_ALG_ES256},
        {.kind = JWT_KEY_PEM, .material = bytes_str(stranger.secret)},
    };
    const struct jwt_key_options verifiers[] = {
        world_key(),
        {.kind = JWT_KEY_PEM, .material = bytes_str(rsa.open), .alg = JWT_ALG_RS256},
        {.kind = JWT_KEY_PEM, .material = bytes_str(rsa.certificate), .alg = JWT_ALG_PS256},
        {.kind = JWT_KEY_PEM, .material = bytes_str(ec.open)},
    };
    for (size_t i = 0; i < ARRAY_LEN(signers); i++) {
        for (size_t j = 0; j < ARRAY_LEN(verifiers); j++) {
            struct jwt *jwt = world_jwt_with(&verifiers[j], 1);
            int status = world_check(jwt, world_sign(&signers[i], "u"), NOW);
            cr_expect_eq(status, i == j ? 0 : STATUS_UNAUTHORIZED, "signer %zu, verifier %zu: %s",
                i, j, status_name(status));
            jwt_destroy(jwt);
        }
        struct jwt *all = world_jwt_with(verifiers, ARRAY_LEN(verifiers));
        cr_expect_eq(world_check(all, world_sign(&signers[i], "u"), NOW),
            i < ARRAY_LEN(verifiers) ? 0 : STATUS_UNAUTHORIZED, "signer %zu", i);
        jwt_destroy(all);
    }
}

Test(jwt, is_not_confused_by_a_public_key_used_as_secret)
{
    static struct test_key rsa;
    test_key_make(TEST_KEY_RSA, &rsa);
    const struct jwt_key_options key = {
        .kind = JWT_KEY_PEM, .material = bytes_str(rsa.open), .alg = JWT_ALG_RS256};
    static const char payload[] = "{\"sub\":\"u\",\"exp\":1800000100}";
    struct jwt *jwt = world_jwt_with(&key, 1);
    struct bytes pem = bytes_str(rsa.open);
    cr_expect_eq(world_check(jwt, world_forge(pem, "{\"alg\":\"HS256\"}", payload), NOW),
        STATUS_UNAUTHORIZED);
    cr_expect_eq(world_check(jwt, world_forge(pem, "{\"alg\":\"RS256\"}", payload), NOW),
        STATUS_UNAUTHORIZED);
    pem.len--; /* without the line feed */
    cr_expect_eq(world_check(jwt, world_forge(pem, "{\"alg\":\"HS256\"}", payload), NOW),
        STATUS_UNAUTHORIZED);
    jwt_destroy(jwt);
    const struct jwt_key_options mistaken = {.kind = JWT_KEY_SECRET, .material = pem};
    expect_create_fails(&mistaken, 1, "PEM");
}

/* A JWK set of secrets: the n-th key is thirty-two times the n-th letter. */
static const char jwks[] =
    "{\"keys\":["
    "{\"kty\":\"oct\",\"kid\":\"a\",\"alg\":\"HS256\","
    "\"k\":\"YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE\"},"
    "{\"kty\":\"oct\",\"kid\":\"b\",\"alg\":\"HS256\",\"use\":\"sig\","
    "\"k\":\"YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI\"},"
    "{\"kty\":\"oct\",\"kid\":\"c\",\"alg\":\"HS256\",\"use\":\"enc\","
    "\"k\":\"Y2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2M\"},"
    "{\"kty\":\"OKP\",\"kid\":\"d\",\"alg\":\"EdDSA\",\"crv\":\"Ed25519\",\"x\":\"AA\"}]}";

Test(jwt, looks_keys_up_by_kid)
{
    static const char payload[] = "{\"sub\":\"u\",\"exp\":1800000100}";
    static const struct {
        const char *secret;
        const char *header;
        int status;
    } cases[] = {
        {AAA, "{\"alg\":\"HS256\",\"kid\":\"a\"}", 0},
        {BBB, "{\"alg\":\"HS256\",\"kid\":\"b\"}", 0},
        {AAA, "{\"alg\":\"HS256\",\"kid\":\"b\"}", STATUS_UNAUTHORIZED},
        {AAA, "{\"alg\":\"HS256\",\"kid\":\"z\"}", STATUS_UNAUTHORIZED},
        {AAA, "{\"alg\":\"HS256\"}", 0},
        {BBB, "{\"alg\":\"HS256\"}", 0},
        {CCC, "{\"alg\":\"HS256\",\"kid\":\"c\"}", STATUS_UNAUTHORIZED},
    };
    const struct jwt_key_options key = {.kind = JWT_KEY_JWK, .material = bytes_str(jwks)};
    struct jwt *jwt = world_jwt_with(&key, 1);
    cr_expect_eq(jwt_get_stats(jwt).keys, 2);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int status = world_check(
            jwt, world_forge(bytes_str(cases[i].secret), cases[i].header, payload), NOW);
        cr_expect_eq(status, cases[i].status, "case %zu: %s", i, status_name(status));
    }
    jwt_destroy(jwt);
}

Test(jwt, binds_keys_to_their_issuer)
{
    const struct jwt_key_options keys[] = {
        {.kind = JWT_KEY_SECRET, .material = BYTES(AAA), .kid = BYTES("k"), .issuer = BYTES("one")},
        {.kind = JWT_KEY_SECRET, .material = BYTES(BBB), .kid = BYTES("k"), .issuer = BYTES("two")},
    };
    static const char header[] = "{\"alg\":\"HS256\",\"kid\":\"k\"}";
    static const char one[] = "{\"sub\":\"u\",\"iss\":\"one\",\"exp\":1800000100}";
    static const char two[] = "{\"sub\":\"u\",\"iss\":\"two\",\"exp\":1800000100}";
    static const char old_one[] = "{\"sub\":\"u\",\"iss\":\"one\",\"exp\":1}";
    struct jwt *jwt = world_jwt_with(keys, 2);
    cr_expect_eq(world_check(jwt, world_forge(BYTES(AAA), header, one), NOW), 0);
    cr_expect_eq(world_check(jwt, world_forge(BYTES(BBB), header, two), NOW), 0);
    cr_expect_eq(world_check(jwt, world_forge(BYTES(AAA), header, two), NOW), STATUS_UNAUTHORIZED);
    cr_expect_eq(world_check(jwt, world_forge(BYTES(BBB), header, one), NOW), STATUS_UNAUTHORIZED);
    cr_expect_eq(world_check(jwt, world_forge(BYTES(AAA), header, old_one), NOW), STATUS_EXPIRED);
    cr_expect_eq(
        world_check(jwt, world_forge(BYTES(BBB), header, old_one), NOW), STATUS_UNAUTHORIZED);
    jwt_destroy(jwt);
}

Test(jwt, refuses_keys_that_are_not_safe)
{
    static struct test_key rsa;
    static struct test_key ec;
    static struct test_key weak;
    test_key_make(TEST_KEY_RSA, &rsa);
    test_key_make(TEST_KEY_P256, &ec);
    test_key_make(TEST_KEY_RSA_1024, &weak);
    static const char no_alg[] = "{\"kty\":\"oct\",\"kid\":\"x\",\"k\":\"" AAA AAA "\"}";
    static const char other_alg[] =
        "{\"kty\":\"oct\",\"kid\":\"x\",\"alg\":\"RS256\",\"k\":\"" AAA AAA "\"}";
    const struct {
        struct jwt_key_options key;
        const char *word;
    } cases[] = {
        {{.kind = JWT_KEY_SECRET, .material = BYTES("")}, "empty"},
        {{.kind = JWT_KEY_SECRET, .material = BYTES("0123456789abcdef0123456789abcde")}, "32"},
        {{.kind = JWT_KEY_SECRET, .material = BYTES(SECRET), .alg = JWT_ALG_RS256}, "HS256"},
        {{.kind = JWT_KEY_PEM, .material = bytes_str(rsa.open)}, "RS256 or PS256"},
        {{.kind = JWT_KEY_PEM, .material = bytes_str(rsa.open), .alg = JWT_ALG_HS256}, "fit"},
        {{.kind = JWT_KEY_PEM, .material = bytes_str(rsa.open), .alg = JWT_ALG_ES256}, "fit"},
        {{.kind = JWT_KEY_PEM, .material = bytes_str(ec.open), .alg = JWT_ALG_RS256}, "fit"},
        {{.kind = JWT_KEY_PEM, .material = bytes_str(weak.open), .alg = JWT_ALG_RS256}, "2048"},
        {{.kind = JWT_KEY_PEM, .material = bytes_str(rsa.locked), .alg = JWT_ALG_RS256},
            "encrypted"},
        {{.kind = JWT_KEY_PEM, .material = BYTES("no key"), .alg = JWT_ALG_RS256}, "no PEM"},
        {{.kind = JWT_KEY_JWK, .material = BYTES("{\"keys\":[]}")}, "no key in it"},
        {{.kind = JWT_KEY_JWK, .material = BYTES("[]")}, "not a JWK"},
        {{.kind = JWT_KEY_JWK, .material = BYTES("{\"keys\":[7]}")}, "alg"},
        {{.kind = JWT_KEY_JWK, .material = bytes_str(no_alg)}, "alg"},
        {{.kind = JWT_KEY_JWK, .material = bytes_str(other_alg)}, "fit"},
        {{.kind = JWT_KEY_JWK, .material = bytes_str(jwks), .alg = JWT_ALG_RS256}, "configured"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        expect_create_fails(&cases[i].key, 1, cases[i].word);
    }
    expect_create_fails(NULL, 0, "no key");
    struct jwt_key_options many[65];
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        many[i] = world_key();
    }
    expect_create_fails(many, ARRAY_LEN(many), "64");
    const struct jwt_key_options shorter = {.kind = JWT_KEY_SECRET, .material = BYTES("dev")};
    struct jwt_options options = {.keys = &shorter, .key_count = 1, .allow_short_secret = true};
    jwt_destroy(world_jwt(&options));
}

Test(jwt, swaps_keys_only_when_the_new_ones_are_good)
{
    static const char header[] = "{\"alg\":\"HS256\"}";
    static const char payload[] = "{\"sub\":\"u\",\"exp\":1800000100}";
    const struct jwt_key_options old = {.kind = JWT_KEY_SECRET, .material = BYTES(AAA)};
    const struct jwt_key_options bad = {.kind = JWT_KEY_JWK, .material = BYTES("{\"keys\":[}")};
    const struct jwt_key_options new = {.kind = JWT_KEY_SECRET, .material = BYTES(BBB)};
    struct builder error = {.max = 4096};
    struct jwt *jwt = world_jwt_with(&old, 1);
    cr_expect_eq(world_check(jwt, world_forge(BYTES(AAA), header, payload), NOW), 0);
    struct jwt_options options = {.keys = &bad, .key_count = 1};
    cr_expect_eq(jwt_reload(jwt, &options, &error), STATUS_INVALID);
    cr_expect_eq(world_check(jwt, world_forge(BYTES(AAA), header, payload), NOW), 0);
    options.keys = &new;
    cr_expect_eq(jwt_reload(jwt, &options, &error), 0);
    cr_expect_eq(world_check(jwt, world_forge(BYTES(AAA), header, payload), NOW),
        STATUS_UNAUTHORIZED, "a cached token of a key that is gone");
    cr_expect_eq(world_check(jwt, world_forge(BYTES(BBB), header, payload), NOW), 0);
    builder_reset(&error);
    jwt_destroy(jwt);
}

/* --- signing ------------------------------------------------------------------------------- */

Test(jwt, signs_what_it_verifies)
{
    static const struct bytes rooms[] = {{.at = "project:1", .len = 9}, {.at = "c:*", .len = 3}};
    struct jwt_key_options key = world_key();
    key.kid = BYTES("main");
    struct jwt_sign_options sign = {
        .claims = {.user = BYTES("a \"b\" \xc3\xa9"),
            .role = BYTES("admin"),
            .name = BYTES("A\tB"),
            .tenant = BYTES("acme"),
            .issuer = BYTES("me"),
            .expires_at = NOW + 5,
            .rooms = rooms,
            .room_count = 2},
        .audience = BYTES("app"),
        .issued_at = NOW,
    };
    struct builder error = {.max = 4096};
    struct builder token = {.max = JWT_TOKEN_MAX};
    cr_assert_eq(jwt_sign(&key, &sign, &error, &token), 0);
    struct jwt_options options = {
        .keys = &key, .key_count = 1, .issuer = BYTES("me"), .audience = BYTES("app")};
    struct jwt *jwt = world_jwt(&options);
    struct claims *claims = NULL;
    cr_assert_eq(jwt_verify(jwt, builder_bytes(&token), NOW, &claims), 0);
    cr_expect(bytes_eq(claims_user(claims), sign.claims.user));
    cr_expect(bytes_eq(claims_name(claims), sign.claims.name));
    cr_expect(bytes_eq(claims_tenant(claims), sign.claims.tenant));
    cr_expect_eq(claims->expires_at, NOW + 5);
    cr_expect_eq(claims->room_count, 2);
    claims_unref(claims);
    jwt_destroy(jwt);
    builder_reset(&token);

    static struct test_key rsa;
    test_key_make(TEST_KEY_RSA, &rsa);
    struct jwt_key_options open = {
        .kind = JWT_KEY_PEM, .material = bytes_str(rsa.open), .alg = JWT_ALG_RS256};
    cr_expect_eq(jwt_sign(&open, &sign, &error, &token), STATUS_INVALID);
    builder_reset(&token);
    builder_reset(&error);
}
