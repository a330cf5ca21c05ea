/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts tokens together part by part, right or wrong, and keys to check them with.
 */
#include "tests/unit/hub/jwt_world.h"

#include <criterion/criterion.h>

#include "codec/base64.h"
#include "hub/net/crypto.h"

static void add_part(struct builder *token, struct bytes raw)
{
    char *at = builder_reserve(token, BASE64URL_LEN(raw.len) + 1);
    cr_assert_not_null(at);
    builder_commit(token, base64url_encode(raw, at));
}

struct bytes world_forge(struct bytes key, const char *header, const char *payload)
{
    static struct builder token;
    builder_reset(&token);
    add_part(&token, bytes_str(header));
    builder_byte(&token, '.');
    add_part(&token, bytes_str(payload));
    uint8_t mac[CRYPTO_SHA256_LEN];
    crypto_hmac_sha256(key, builder_bytes(&token), mac);
    builder_byte(&token, '.');
    add_part(&token, bytes_of(mac, sizeof(mac)));
    return builder_bytes(&token);
}

struct bytes world_token(const char *payload)
{
    return world_forge(BYTES(SECRET), "{\"alg\":\"HS256\",\"typ\":\"JWT\"}", payload);
}

struct jwt_key_options world_key(void)
{
    return (struct jwt_key_options){.kind = JWT_KEY_SECRET, .material = BYTES(SECRET)};
}

struct jwt *world_jwt(const struct jwt_options *options)
{
    struct builder error = {.max = 4096};
    struct jwt *jwt = NULL;
    int status = jwt_create(options, &error, &jwt);
    cr_assert_eq(status, 0, "%.*s", (int)builder_bytes(&error).len, builder_bytes(&error).at);
    builder_reset(&error);
    return jwt;
}

struct jwt *world_jwt_with(const struct jwt_key_options *keys, size_t count)
{
    struct jwt_options options = {.keys = keys, .key_count = count, .cache_max = 16};
    return world_jwt(&options);
}

struct jwt *world_jwt_plain(void)
{
    struct jwt_key_options key = world_key();
    return world_jwt_with(&key, 1);
}

int world_check(struct jwt *jwt, struct bytes token, uint64_t now)
{
    struct claims *claims = NULL;
    int status = jwt_verify(jwt, token, now, &claims);
    cr_assert_eq(status == 0, claims != NULL);
    claims_unref(claims);
    return status;
}

struct bytes world_sign(const struct jwt_key_options *key, const char *user)
{
    static struct builder token;
    struct builder error = {.max = 4096};
    struct jwt_sign_options options = {
        .claims = {.user = bytes_str(user), .expires_at = NOW + 60}, .issued_at = NOW};
    builder_reset(&token);
    int status = jwt_sign(key, &options, &error, &token);
    cr_assert_eq(status, 0, "%.*s", (int)builder_bytes(&error).len, builder_bytes(&error).at);
    builder_reset(&error);
    return builder_bytes(&token);
}
