/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of a check, each step only after the one before: size, three parts, header (algorithm,
 * kid; nothing else of it is used), cache, signature by a key of that algorithm, and only then the
 * claims: issuer of the key, issuer and audience of the policy, times, characters.
 *
 * HS256 is proven by OpenSSL over the token's own text, with a key prepared once; that costs less
 * than finding the token in the cache would, which is for the other algorithms, and libjose's,
 * alone.
 */
#include "hub/auth/jwt.h"

#include <jansson.h>
#include <jose/b64.h>
#include <jose/jws.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/base64.h"
#include "hub/auth/jwt_cache.h"
#include "hub/auth/jwt_claims.h"
#include "hub/net/crypto.h"

enum {
    KEYS_MAX = 64,
    LEEWAY_MAX_S = 300,
    MATERIAL_MAX = 1 << 20,
    USUAL_MAX = 4, /* headers that need not be read again */
    USUAL_LEN_MAX = 256,
};

struct key {
    enum jwt_alg alg;
    json_t *jwk;
    struct crypto_hmac *hmac; /* of HS256, else NULL */
    char *kid; /* "": none */
    char *issuer; /* "": any */
};

/* The header of a token that was accepted, as it stood there, and what reading it came to. */
struct usual {
    char *text; /* NULL: unused */
    size_t len;
    enum jwt_alg alg;
    char *kid;
};

/* What a configuration makes; replaced as a whole. */
struct settings {
    struct key keys[KEYS_MAX];
    size_t key_count;
    struct usual usual[USUAL_MAX];
    size_t usual_next; /* the one replaced next */
    struct jwt_policy policy;
};

struct jwt {
    struct settings *settings;
    struct jwt_cache *cache;
    struct jwt_stats stats;
    struct jwt_refusal refusal; /* the last one */
};

static const struct {
    const char *name;
    const char *kty;
} algs[] = {
    [JWT_ALG_NONE] = {"", ""},
    [JWT_ALG_HS256] = {"HS256", "oct"},
    [JWT_ALG_RS256] = {"RS256", "RSA"},
    [JWT_ALG_PS256] = {"PS256", "RSA"},
    [JWT_ALG_ES256] = {"ES256", "EC"},
};

static enum jwt_alg jwt_alg_parse(struct bytes name)
{
    for (size_t i = JWT_ALG_HS256; i < ARRAY_LEN(algs); i++) {
        if (bytes_eq_str(name, algs[i].name)) {
            return (enum jwt_alg)i;
        }
    }
    return JWT_ALG_NONE;
}

static struct bytes string_of(const json_t *value)
{
    return json_is_string(value) ? bytes_of(json_string_value(value), json_string_length(value))
                                 : (struct bytes){0};
}

/* --- keys ---------------------------------------------------------------------------------- */

static int refuse(struct builder *error, struct bytes kid, const char *why)
{
    int len = kid.len < 64 ? (int)kid.len : 64;
    builder_printf(error, "JWT key \"%.*s\": %s", len, len > 0 ? kid.at : "", why);
    return STATUS_INVALID;
}

/* Bytes of the base64url member `name` of a JWK; 0 when it is missing or malformed. The HMAC of
 * these bytes as key is made where `ret_hmac` asks for it. */
static size_t read_member(const json_t *jwk, const char *name, struct crypto_hmac **ret_hmac)
{
    struct bytes text = string_of(json_object_get(jwk, name));
    size_t size = 0;
    char *raw = text.len > 0 ? mem_try_alloc(BASE64_DECODED_MAX(text.len)) : NULL;
    if (raw != NULL) {
        if (base64url_decode(text, raw, BASE64_DECODED_MAX(text.len), &size) != 0) {
            size = 0;
        } else if (ret_hmac != NULL) {
            *ret_hmac = crypto_hmac_create(bytes_of(raw, size));
        }
        crypto_wipe(raw, BASE64_DECODED_MAX(text.len));
    }
    mem_free(raw);
    return size;
}

static size_t member_size(const json_t *jwk, const char *name)
{
    return read_member(jwk, name, NULL);
}

/* What is wrong with this key for its algorithm, or NULL. */
static const char *find_fault(const json_t *jwk, enum jwt_alg alg, bool allow_short)
{
    if (!bytes_eq_str(string_of(json_object_get(jwk, "kty")), algs[alg].kty)) {
        return "its type does not fit its algorithm";
    }
    switch (alg) {
    case JWT_ALG_HS256:
        if (member_size(jwk, "k") == 0) {
            return "the secret is empty or malformed";
        }
        return member_size(jwk, "k") < JWT_SECRET_MIN && !allow_short
                   ? "the secret is shorter than 32 bytes"
                   : NULL;
    case JWT_ALG_RS256:
    case JWT_ALG_PS256:
        return member_size(jwk, "n") < 256 || member_size(jwk, "e") == 0
                   ? "an RSA key needs at least 2048 bits"
                   : NULL;
    case JWT_ALG_ES256:
        return bytes_eq(string_of(json_object_get(jwk, "crv")), BYTES("P-256")) &&
                       member_size(jwk, "x") == 32 && member_size(jwk, "y") == 32
                   ? NULL
                   : "ES256 needs a key of the curve P-256";
    case JWT_ALG_NONE:
        break;
    }
    return "no algorithm";
}

/* Add a key; takes the reference to `jwk`, also on failure. */
static int add_key(struct settings *settings, json_t *jwk, const struct jwt_key_options *options,
    bool allow_short, struct builder *error)
{
    struct bytes kid = string_of(json_object_get(jwk, "kid"));
    kid = kid.len > 0 ? kid : options->kid;
    const char *fault = find_fault(jwk, options->alg, allow_short);
    if (fault == NULL && settings->key_count == KEYS_MAX) {
        fault = "more than 64 keys";
    }
    if (fault != NULL) {
        refuse(error, kid, fault);
        json_decref(jwk);
        return STATUS_INVALID;
    }
    json_object_set_new(jwk, "alg", json_string(algs[options->alg].name));
    struct crypto_hmac *hmac = NULL;
    if (options->alg == JWT_ALG_HS256) {
        CHECK(read_member(jwk, "k", &hmac) > 0);
    }
    settings->keys[settings->key_count++] = (struct key){
        .alg = options->alg,
        .jwk = jwk,
        .hmac = hmac,
        .kid = mem_dup(kid.at, kid.len),
        .issuer = mem_dup(options->issuer.at, options->issuer.len),
    };
    return 0;
}

static int add_secret(struct settings *settings, const struct jwt_key_options *options,
    bool allow_short, struct builder *error)
{
    if (options->alg != JWT_ALG_NONE && options->alg != JWT_ALG_HS256) {
        return refuse(error, options->kid, "a secret is for HS256 only");
    }
    if (memmem(options->material.at, options->material.len, "-----BEGIN ", 11) != NULL) {
        return refuse(error, options->kid, "this is a PEM key, not a secret: name its file");
    }
    struct jwt_key_options pinned = *options;
    pinned.alg = JWT_ALG_HS256;
    json_t *encoded = jose_b64_enc(options->material.at, options->material.len);
    json_t *jwk = json_pack("{s:s, s:o}", "kty", "oct", "k", encoded);
    return add_key(settings, jwk, &pinned, allow_short, error);
}

static json_t *parse_object(struct bytes text)
{
    json_t *value = json_loadb(text.at, text.len, JSON_REJECT_DUPLICATES, NULL);
    if (value != NULL && !json_is_object(value)) {
        json_decref(value);
        return NULL;
    }
    return value;
}

static int add_pem(
    struct settings *settings, const struct jwt_key_options *options, struct builder *error)
{
    struct builder text = {.max = 64 * 1024};
    enum crypto_key_kind kind = CRYPTO_KEY_RSA;
    int status = crypto_pem_to_jwk(options->material, &text, &kind);
    if (status != 0) {
        builder_reset(&text);
        return refuse(error, options->kid,
            status == STATUS_DENIED        ? "the PEM key is encrypted"
            : status == STATUS_UNSUPPORTED ? "only RSA of 2048 to 8192 bits and EC P-256 work"
                                           : "no PEM key in the file");
    }
    struct jwt_key_options pinned = *options;
    if (pinned.alg == JWT_ALG_NONE && kind == CRYPTO_KEY_EC_P256) {
        pinned.alg = JWT_ALG_ES256;
    }
    json_t *jwk = parse_object(builder_bytes(&text));
    CHECK(jwk != NULL);
    builder_reset(&text);
    if (pinned.alg == JWT_ALG_NONE) {
        json_decref(jwk);
        return refuse(error, options->kid, "say which algorithm it is for: RS256 or PS256");
    }
    return add_key(settings, jwk, &pinned, false, error);
}

/* Add one JWK; one for another purpose (use "enc", an algorithm we do not have) is passed over. */
static int add_jwk(struct settings *settings, json_t *jwk, const struct jwt_key_options *options,
    bool allow_short, struct builder *error)
{
    struct bytes kid = string_of(json_object_get(jwk, "kid"));
    const json_t *use = json_object_get(jwk, "use");
    if (use != NULL && !bytes_eq(string_of(use), BYTES("sig"))) {
        return 0;
    }
    struct bytes name = string_of(json_object_get(jwk, "alg"));
    if (name.len == 0) {
        return refuse(error, kid, "a JWK needs its \"alg\"");
    }
    struct jwt_key_options pinned = *options;
    pinned.alg = jwt_alg_parse(name);
    if (pinned.alg == JWT_ALG_NONE) {
        return 0;
    }
    if (options->alg != JWT_ALG_NONE && options->alg != pinned.alg) {
        return refuse(error, kid, "its \"alg\" is not the configured algorithm");
    }
    return add_key(settings, json_deep_copy(jwk), &pinned, allow_short, error);
}

static int add_jwks(struct settings *settings, const struct jwt_key_options *options,
    bool allow_short, struct builder *error)
{
    json_t *root = parse_object(options->material);
    if (root == NULL) {
        return refuse(error, options->kid, "not a JWK or JWK set (JSON)");
    }
    size_t before = settings->key_count;
    int status = 0;
    json_t *keys = json_object_get(root, "keys");
    if (keys == NULL) {
        status = add_jwk(settings, root, options, allow_short, error);
    }
    for (size_t i = 0; i < json_array_size(keys) && status == 0; i++) {
        status = add_jwk(settings, json_array_get(keys, i), options, allow_short, error);
    }
    json_decref(root);
    if (status == 0 && settings->key_count == before) {
        status = refuse(error, options->kid, "no key in it that can verify tokens");
    }
    return status;
}

static int add_configured(struct settings *settings, const struct jwt_key_options *options,
    bool allow_short, struct builder *error)
{
    if (options->material.len > MATERIAL_MAX) {
        return refuse(error, options->kid, "larger than 1 MiB");
    }
    switch (options->kind) {
    case JWT_KEY_SECRET:
        return add_secret(settings, options, allow_short, error);
    case JWT_KEY_PEM:
        return add_pem(settings, options, error);
    case JWT_KEY_JWK:
        return add_jwks(settings, options, allow_short, error);
    }
    return refuse(error, options->kid, "of no known kind");
}

/* --- settings ------------------------------------------------------------------------------ */

static void destroy_settings(struct settings *settings)
{
    if (settings == NULL) {
        return;
    }
    for (size_t i = 0; i < settings->key_count; i++) {
        json_decref(settings->keys[i].jwk);
        crypto_hmac_destroy(settings->keys[i].hmac);
        mem_free(settings->keys[i].kid);
        mem_free(settings->keys[i].issuer);
    }
    for (size_t i = 0; i < USUAL_MAX; i++) {
        mem_free(settings->usual[i].text);
        mem_free(settings->usual[i].kid);
    }
    jwt_policy_finish(&settings->policy);
    mem_free(settings);
}

static int make_settings(
    const struct jwt_options *options, struct builder *error, struct settings **ret_settings)
{
    if (options->leeway_s > LEEWAY_MAX_S) {
        builder_str(error, "the leeway for token times is at most 300 seconds");
        return STATUS_INVALID;
    }
    struct settings *settings = mem_alloc(sizeof(*settings));
    jwt_policy_init(&settings->policy, options);
    int status = 0;
    for (size_t i = 0; i < options->key_count && status == 0; i++) {
        status = add_configured(settings, &options->keys[i], options->allow_short_secret, error);
    }
    if (status == 0 && settings->key_count == 0) {
        builder_str(
            error, "no key to verify tokens with: set auth.secret (JWT_SECRET) or a jwt_key block");
        status = STATUS_INVALID;
    }
    if (status != 0) {
        destroy_settings(settings);
        return status;
    }
    *ret_settings = settings;
    return 0;
}

int jwt_create(const struct jwt_options *options, struct builder *error, struct jwt **ret_jwt)
{
    struct settings *settings = NULL;
    int status = make_settings(options, error, &settings);
    if (status != 0) {
        return status;
    }
    struct jwt *jwt = mem_alloc(sizeof(*jwt));
    jwt->settings = settings;
    jwt->cache = jwt_cache_create(options->cache_max);
    *ret_jwt = jwt;
    return 0;
}

void jwt_destroy(struct jwt *jwt)
{
    if (jwt != NULL) {
        destroy_settings(jwt->settings);
        jwt_cache_destroy(jwt->cache);
        mem_free(jwt);
    }
}

int jwt_reload(struct jwt *jwt, const struct jwt_options *options, struct builder *error)
{
    struct settings *settings = NULL;
    int status = make_settings(options, error, &settings);
    if (status != 0) {
        return status;
    }
    destroy_settings(jwt->settings);
    jwt->settings = settings;
    jwt_cache_destroy(jwt->cache);
    jwt->cache = jwt_cache_create(options->cache_max);
    return 0;
}

const struct jwt_stats *jwt_counts(const struct jwt *jwt)
{
    return &jwt->stats;
}

struct jwt_stats jwt_get_stats(const struct jwt *jwt)
{
    struct jwt_stats stats = jwt->stats;
    stats.cached = jwt_cache_count(jwt->cache);
    stats.cache_bytes = jwt_cache_bytes(jwt->cache);
    stats.keys = jwt->settings->key_count;
    return stats;
}

/* --- the signed text ----------------------------------------------------------------------- */

struct parts {
    struct bytes header;
    struct bytes payload;
    struct bytes signature;
};

/* Cut "a.b.c"; false when there are not exactly three parts, all with content. */
static bool split(struct bytes token, struct parts *ret_parts)
{
    const char *first = memchr(token.at, '.', token.len);
    if (first == NULL) {
        return false;
    }
    struct bytes rest = bytes_skip(token, (size_t)(first - token.at) + 1);
    const char *second = rest.len > 0 ? memchr(rest.at, '.', rest.len) : NULL;
    if (second == NULL) {
        return false;
    }
    ret_parts->header = bytes_of(token.at, (size_t)(first - token.at));
    ret_parts->payload = bytes_of(rest.at, (size_t)(second - rest.at));
    ret_parts->signature = bytes_skip(rest, ret_parts->payload.len + 1);
    return ret_parts->header.len > 0 && ret_parts->payload.len > 0 &&
           ret_parts->signature.len > 0 &&
           memchr(ret_parts->signature.at, '.', ret_parts->signature.len) == NULL;
}

/* The JSON object that `part` is the base64url of, or NULL. */
static json_t *decode_object(struct bytes part)
{
    char raw[JWT_TOKEN_MAX];
    size_t len = 0;
    if (base64url_decode(part, raw, sizeof(raw), &len) != 0) {
        return NULL;
    }
    return parse_object(bytes_of(raw, len));
}

struct header {
    enum jwt_alg alg;
    struct bytes kid; /* empty: none; inside `json`, or of a usual header */
    json_t *json; /* NULL: the header is a usual one */
};

static bool find_usual(
    const struct settings *settings, struct bytes part, struct header *ret_header)
{
    for (size_t i = 0; i < USUAL_MAX; i++) {
        const struct usual *usual = &settings->usual[i];
        if (usual->text != NULL && bytes_eq(bytes_of(usual->text, usual->len), part)) {
            *ret_header = (struct header){.alg = usual->alg, .kid = bytes_str(usual->kid)};
            return true;
        }
    }
    return false;
}

/* Remember the header of a token that was accepted: only who has a key can fill these places. */
static void keep_usual(struct settings *settings, struct bytes part, const struct header *header)
{
    if (header->json == NULL || part.len > USUAL_LEN_MAX) {
        return;
    }
    struct usual *usual = &settings->usual[settings->usual_next];
    settings->usual_next = (settings->usual_next + 1) % USUAL_MAX;
    mem_free(usual->text);
    mem_free(usual->kid);
    *usual = (struct usual){
        .text = mem_dup(part.at, part.len),
        .len = part.len,
        .alg = header->alg,
        .kid = mem_dup(header->kid.at, header->kid.len),
    };
}

/* What is wrong with a header, or NULL. */
static const char *find_header_fault(const json_t *json)
{
    const json_t *kid = json_object_get(json, "kid");
    if (json == NULL) {
        return "its header is no JSON object";
    }
    if (jwt_alg_parse(string_of(json_object_get(json, "alg"))) == JWT_ALG_NONE) {
        return "its alg is none of HS256, RS256, PS256, ES256";
    }
    if (json_object_get(json, "crit") != NULL || json_object_get(json, "b64") != NULL) {
        return "its header has crit or b64";
    }
    return kid != NULL && !json_is_string(kid) ? "its kid is no text" : NULL;
}

static bool read_header(struct jwt *jwt, struct bytes part, struct header *ret_header)
{
    if (find_usual(jwt->settings, part, ret_header)) {
        return true;
    }
    json_t *json = decode_object(part);
    const json_t *kid = json_object_get(json, "kid");
    enum jwt_alg alg = jwt_alg_parse(string_of(json_object_get(json, "alg")));
    jwt->refusal.reason = find_header_fault(json);
    if (jwt->refusal.reason != NULL) {
        json_decref(json);
        return false;
    }
    *ret_header = (struct header){.alg = alg, .kid = string_of(kid), .json = json};
    return true;
}

static bool may_verify(const struct key *key, const struct header *header)
{
    return key->alg == header->alg &&
           (key->kid[0] == '\0' || header->kid.len == 0 || bytes_eq_str(header->kid, key->kid));
}

/* The signature of `signed_text` (RFC 7515 5.2: both parts and the dot between) by HMAC. */
static bool verify_hmac(struct bytes signed_text, struct bytes signature, struct crypto_hmac *hmac)
{
    uint8_t right[CRYPTO_SHA256_LEN];
    char given[CRYPTO_SHA256_LEN];
    size_t len = 0;
    if (base64url_decode(signature, given, sizeof(given), &len) != 0 || len != sizeof(right)) {
        return false;
    }
    crypto_hmac_run(hmac, signed_text, right);
    return crypto_equal(given, right, sizeof(right));
}

static bool verify_signature(const struct parts *parts, const struct key *key)
{
    if (key->hmac != NULL) {
        size_t len = parts->header.len + 1 + parts->payload.len;
        return verify_hmac(bytes_of(parts->header.at, len), parts->signature, key->hmac);
    }
    json_t *jws = json_pack("{s:s%, s:s%, s:s%}", "protected", parts->header.at, parts->header.len,
        "payload", parts->payload.at, parts->payload.len, "signature", parts->signature.at,
        parts->signature.len);
    char raw[JWT_TOKEN_MAX];
    size_t raw_len = 0;
    bool right = jws != NULL &&
                 base64url_decode(parts->signature, raw, sizeof(raw), &raw_len) == 0 &&
                 jose_jws_ver(NULL, jws, NULL, key->jwk, false);
    json_decref(jws);
    return right;
}

/* --- verify -------------------------------------------------------------------------------- */

/* Find a key that proves the token, and only then look at the payload. */
static int prove(struct jwt *jwt, const struct parts *parts, const struct header *header,
    uint64_t now_s, struct claims **ret_claims)
{
    const struct settings *settings = jwt->settings;
    char payload[JWT_TOKEN_MAX];
    size_t len = 0;
    if (base64url_decode(parts->payload, payload, sizeof(payload), &len) != 0) {
        jwt->refusal.reason = "its claims are no base64url";
        return STATUS_UNAUTHORIZED;
    }
    int status = STATUS_UNAUTHORIZED;
    bool proven = false;
    jwt->refusal.reason = "no key has its alg and kid";
    for (size_t i = 0; i < settings->key_count && status == STATUS_UNAUTHORIZED; i++) {
        const struct key *key = &settings->keys[i];
        if (!may_verify(key, header)) {
            continue;
        }
        jwt->stats.verified++;
        if (verify_signature(parts, key)) {
            proven = true;
            status = jwt_claims_read(&settings->policy, bytes_str(key->issuer),
                bytes_of(payload, len), now_s, &jwt->refusal, ret_claims);
        } else if (!proven) {
            jwt->refusal.reason = "its signature is not by a key of the hub";
        }
    }
    return status;
}

static int verify_cached(struct jwt *jwt, const uint8_t *digest, struct claims *claims,
    uint64_t now_s, struct claims **ret_claims)
{
    if (jwt_claims_expired(&jwt->settings->policy, claims->expires_at, now_s)) {
        jwt->refusal.reason = "exp has passed";
        jwt->refusal.user = jwt_shown(claims_user(claims), jwt->refusal.user_at);
        jwt_cache_remove(jwt->cache, digest); /* the claims are gone with it */
        return STATUS_EXPIRED;
    }
    jwt->stats.cache_hits++;
    *ret_claims = claims_ref(claims);
    return 0;
}

/* The same as prove, unless the cache knows the token: for signatures that cost more than that. */
static int prove_once(struct jwt *jwt, struct bytes token, const struct parts *parts,
    const struct header *header, uint64_t now_s, struct claims **ret_claims)
{
    uint8_t digest[CRYPTO_SHA256_LEN];
    crypto_sha256(token, digest);
    struct claims *cached = jwt_cache_get(jwt->cache, digest);
    if (cached != NULL) {
        return verify_cached(jwt, digest, cached, now_s, ret_claims);
    }
    int status = prove(jwt, parts, header, now_s, ret_claims);
    if (status == 0) {
        jwt_cache_put(jwt->cache, digest, *ret_claims);
    }
    return status;
}

static int verify_text(
    struct jwt *jwt, struct bytes token, uint64_t now_s, struct claims **ret_claims)
{
    struct parts parts;
    struct header header;
    if (!split(token, &parts)) {
        jwt->refusal.reason = "it is no token: three parts with dots between";
        return STATUS_UNAUTHORIZED;
    }
    if (!read_header(jwt, parts.header, &header)) {
        return STATUS_UNAUTHORIZED;
    }
    jwt->refusal.kid = jwt_shown(header.kid, jwt->refusal.kid_at);
    int status = header.alg == JWT_ALG_HS256
                     ? prove(jwt, &parts, &header, now_s, ret_claims)
                     : prove_once(jwt, token, &parts, &header, now_s, ret_claims);
    if (status == 0) {
        keep_usual(jwt->settings, parts.header, &header);
    }
    json_decref(header.json);
    return status;
}

int jwt_verify(struct jwt *jwt, struct bytes token, uint64_t now_s, struct claims **ret_claims)
{
    if (token.len == 0) {
        return STATUS_NOT_FOUND;
    }
    jwt->refusal.kid.len = 0;
    jwt->refusal.user.len = 0;
    jwt->refusal.reason = "it is longer than 8192 bytes";
    int status = token.len <= JWT_TOKEN_MAX ? verify_text(jwt, token, now_s, ret_claims)
                                            : STATUS_UNAUTHORIZED;
    jwt->stats.refused += status != 0 ? 1 : 0;
    return status;
}

const struct jwt_refusal *jwt_last_refusal(const struct jwt *jwt)
{
    return &jwt->refusal;
}

/* --- sign ---------------------------------------------------------------------------------- */

static void set_text(json_t *object, const char *name, struct bytes text)
{
    if (text.len > 0) {
        json_object_set_new(object, name, json_stringn(text.at, text.len));
    }
}

static bool sign(const struct key *key, struct bytes payload, struct builder *token)
{
    json_t *header = json_pack("{s:s, s:s}", "alg", algs[key->alg].name, "typ", "JWT");
    set_text(header, "kid", bytes_str(key->kid));
    json_t *jws = json_pack("{s:o}", "payload", jose_b64_enc(payload.at, payload.len));
    json_t *frame = json_pack("{s:o}", "protected", header);
    bool done = jose_jws_sig(NULL, jws, frame, key->jwk);
    if (done) {
        builder_add(token, string_of(json_object_get(jws, "protected")));
        builder_byte(token, '.');
        builder_add(token, string_of(json_object_get(jws, "payload")));
        builder_byte(token, '.');
        builder_add(token, string_of(json_object_get(jws, "signature")));
    }
    json_decref(frame);
    json_decref(jws);
    return done && !builder_failed(token);
}

int jwt_sign(const struct jwt_key_options *key, const struct jwt_sign_options *options,
    struct builder *error, struct builder *token)
{
    struct settings *settings = NULL;
    struct jwt_options only = {.keys = key, .key_count = 1, .allow_short_secret = true};
    int status = make_settings(&only, error, &settings);
    if (status != 0) {
        return status;
    }
    struct builder payload = {.max = JWT_TOKEN_MAX};
    jwt_claims_write(options, &payload);
    if (builder_failed(&payload)) {
        builder_str(error, "the claims are too long for a token");
        status = STATUS_INVALID;
    } else if (!sign(&settings->keys[0], builder_bytes(&payload), token)) {
        status = refuse(error, bytes_str(settings->keys[0].kid), "it cannot sign: no private key");
    }
    builder_reset(&payload);
    destroy_settings(settings);
    return status;
}
