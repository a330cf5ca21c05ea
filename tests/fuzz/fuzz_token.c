/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens: no input is one; signed, any payload and any header are judged, the same each time.
 */
#include <string.h>

#include "codec/base/status.h"
#include "codec/base64.h"
#include "codec/names.h"
#include "hub/auth/jwt.h"
#include "hub/net/crypto.h"
#include "tests/fuzz/fuzz.h"

enum { NOW = 1800000000, PAYLOAD_MAX = 5000 };

static const char secret[] = "0123456789abcdef0123456789abcdef";

static struct jwt *make(void)
{
    const struct jwt_key_options key = {
        .kind = JWT_KEY_SECRET, .material = bytes_str(secret), .alg = JWT_ALG_HS256};
    const struct jwt_options options = {.keys = &key, .key_count = 1};
    struct jwt *jwt;
    CHECK(jwt_create(&options, NULL, &jwt) == 0);
    return jwt;
}

static void encode(struct bytes part, struct builder *token)
{
    char text[2 * PAYLOAD_MAX];
    builder_add(token, bytes_of(text, base64url_encode(part, text)));
}

/* A token whose header or payload is `input`, with the right signature. */
static void sign(struct bytes header, struct bytes payload, struct builder *token)
{
    uint8_t digest[CRYPTO_SHA256_LEN];
    encode(header, token);
    builder_byte(token, '.');
    encode(payload, token);
    crypto_hmac_sha256(bytes_str(secret), builder_bytes(token), digest);
    builder_byte(token, '.');
    encode(bytes_of(digest, sizeof(digest)), token);
}

static int check(struct jwt *jwt, struct bytes token)
{
    struct claims *claims;
    int status = jwt_verify(jwt, token, NOW, &claims);
    if (status == 0) {
        CHECK(names_check_user(claims_user(claims)) == 0);
        CHECK(claims->expires_at > NOW);
        claims_unref(claims);
    } else {
        CHECK(status == STATUS_UNAUTHORIZED || status == STATUS_EXPIRED ||
              status == STATUS_NOT_FOUND);
        CHECK(status == STATUS_NOT_FOUND || jwt_last_refusal(jwt)->reason != NULL);
    }
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size < PAYLOAD_MAX ? size : PAYLOAD_MAX);
    static struct jwt *jwt; /* dear to make, and keeps nothing of a token but its last refusal */
    jwt = jwt != NULL ? jwt : make();
    CHECK(check(jwt, input) != 0); /* nobody guesses a signature */
    struct builder token = {0};
    sign(BYTES("{\"alg\":\"HS256\"}"), input, &token);
    int status = check(jwt, builder_bytes(&token));
    CHECK(check(jwt, builder_bytes(&token)) == status);
    builder_clear(&token);
    sign(input, BYTES("{\"sub\":\"u\",\"exp\":1900000000}"), &token);
    status = check(jwt, builder_bytes(&token));
    CHECK(check(jwt, builder_bytes(&token)) == status);
    builder_reset(&token);
    return 0;
}
