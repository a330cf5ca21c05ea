/* SPDX-License-Identifier: Apache-2.0 */
/*
 * token_command - `peal token`: print a token signed with a configured key.
 */
#include <stdio.h>
#include <string.h>

#include "codec/base/buf.h"
#include "codec/base/clock.h"
#include "codec/base/log.h"
#include "codec/base/status.h"
#include "codec/claims.h"
#include "codec/names.h"
#include "hub/auth/jwt.h"
#include "hub/auth/jwt_config.h"
#include "hub/cli/cli.h"
#include "hub/cli/cli_refuse.h"
#include "hub/config/config.h"

enum { TTL_DEFAULT_S = 3600, TTL_MAX_S = 366 * 24 * 3600, ROOMS_MAX = 64 };

struct request {
    struct jwt_sign_options sign;
    struct bytes rooms[ROOMS_MAX];
    uint64_t ttl_s;
    const char *kid; /* NULL: auth.secret, or the first jwt_key */
    const char *check; /* a token to explain instead; NULL: none */
};

static int complain(const char *what, const char *about)
{
    fprintf(stderr, "peal token: %s %s\n", what, log_quote(bytes_str(about)));
    return 2;
}

/* "90", "90s", "15m", "1h", "7d". */
static bool parse_ttl(const char *text, uint64_t *ret_s)
{
    struct bytes digits = bytes_str(text);
    uint64_t unit = 1;
    char last = digits.len > 0 ? digits.at[digits.len - 1] : '\0';
    if (last == 's' || last == 'm' || last == 'h' || last == 'd') {
        unit = last == 's' ? 1 : last == 'm' ? 60 : last == 'h' ? 3600 : 86400;
        digits.len--;
    }
    uint64_t count = 0;
    if (bytes_to_u64(digits, TTL_MAX_S / unit, &count) != 0 || count == 0) {
        return false;
    }
    *ret_s = count * unit;
    return true;
}

/* Split "a,b,c" into room names. */
static bool parse_rooms(const char *text, struct request *request)
{
    struct bytes rest = bytes_str(text);
    size_t count = 0;
    for (bool more = true; more; count++) {
        const char *comma = rest.len > 0 ? memchr(rest.at, ',', rest.len) : NULL;
        size_t len = comma != NULL ? (size_t)(comma - rest.at) : rest.len;
        if (count == ROOMS_MAX || names_check_room(bytes_of(rest.at, len)) != 0) {
            return false;
        }
        request->rooms[count] = bytes_of(rest.at, len);
        more = comma != NULL;
        rest = more ? bytes_skip(rest, len + 1) : rest;
    }
    request->sign.claims.rooms = request->rooms;
    request->sign.claims.room_count = count;
    return true;
}

/* What may follow each flag. */
static const struct flag {
    const char *name;
    const char *allowed;
} flags[] = {
    {"--user", "a user id: 1 to 128 bytes without / and control characters"},
    {"--tenant", "a tenant: 1 to 128 bytes without / and control characters"},
    {"--role", "a text of at most 128 bytes"},
    {"--name", "a text of at most 256 bytes"},
    {"--rooms", "up to 64 rooms with commas between: each 1 to 200 bytes without / and control "
                "characters"},
    {"--ttl", "a time from 1s to 366d: a number with s, m, h or d behind it, seconds without"},
    {"--check", "a token"},
    {"--key", "the name of a jwt_key"},
};

static bool parse_argument(const char *name, const char *value, struct request *request)
{
    struct claims_fields *claims = &request->sign.claims;
    struct bytes text = bytes_str(value);
    if (strcmp(name, "--user") == 0) {
        claims->user = text;
        return names_check_user(text) == 0;
    }
    if (strcmp(name, "--tenant") == 0) {
        claims->tenant = text;
        return names_check_tenant(text) == 0;
    }
    if (strcmp(name, "--role") == 0) {
        claims->role = text;
        return text.len <= NAMES_USER_MAX;
    }
    if (strcmp(name, "--name") == 0) {
        claims->name = text;
        return text.len <= 2 * NAMES_USER_MAX;
    }
    if (strcmp(name, "--rooms") == 0) {
        return parse_rooms(value, request);
    }
    if (strcmp(name, "--ttl") == 0) {
        return parse_ttl(value, &request->ttl_s);
    }
    const char **to = strcmp(name, "--check") == 0 ? &request->check : &request->kid;
    *to = value;
    return true;
}

static int parse_arguments(int argc, char **argv, struct request *request)
{
    for (int i = 0; i < argc; i += 2) {
        const struct flag *flag = flags;
        while (flag < flags + ARRAY_LEN(flags) && strcmp(argv[i], flag->name) != 0) {
            flag++;
        }
        if (flag == flags + ARRAY_LEN(flags)) {
            return cli_refuse_argument("token", argv + i);
        }
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (value == NULL || !parse_argument(flag->name, value, request)) {
            return cli_refuse_value("token", flag->name, value, flag->allowed);
        }
    }
    return request->sign.claims.user.len > 0 || request->check != NULL
               ? 0
               : complain("say who it is for:", "--user ID");
}

static const struct config_jwt_key *find_key(const struct config *config, const char *kid)
{
    for (size_t i = 0; i < config->jwt_key_count; i++) {
        if (kid == NULL || strcmp(config->jwt_keys[i].name, kid) == 0) {
            return &config->jwt_keys[i];
        }
    }
    return NULL;
}

/* The key to sign with; its file, if it has one, is read into `file`. */
static bool choose_key(const struct config *config, const char *kid, struct builder *file,
    struct jwt_key_options *ret_key)
{
    if (kid == NULL && config->auth_secret[0] != '\0') {
        *ret_key = (struct jwt_key_options){
            .kind = JWT_KEY_SECRET, .material = bytes_str(config->auth_secret)};
        return true;
    }
    const struct config_jwt_key *key = find_key(config, kid);
    if (key == NULL) {
        if (kid != NULL) {
            complain("there is no such key:", kid);
        } else {
            fprintf(stderr, "peal token: no key to sign with: set auth.secret (JWT_SECRET) as the "
                            "hub has it\n");
        }
        return false;
    }
    struct builder error = {0};
    int status = jwt_key_from_config(key, file, &error, ret_key);
    if (status != 0) {
        builder_byte(&error, '\0');
        complain("the key cannot be used:", builder_bytes(&error).at);
    }
    builder_reset(&error);
    return status == 0;
}

static int print_token(const struct jwt_key_options *key, const struct jwt_sign_options *sign)
{
    struct builder error = {.max = 4096};
    struct builder token = {.max = JWT_TOKEN_MAX};
    int status = jwt_sign(key, sign, &error, &token);
    struct bytes text = builder_bytes(status == 0 ? &token : &error);
    if (status == 0) {
        builder_byte(&token, '\n');
        text = builder_bytes(&token);
        status = fwrite(text.at, 1, text.len, stdout) == text.len && fflush(stdout) == 0 ? 0 : -1;
    } else {
        fprintf(stderr, "peal token: %.*s\n", (int)text.len, text.len > 0 ? text.at : "");
    }
    builder_reset(&error);
    builder_reset(&token);
    return status == 0 ? 0 : 1;
}

static void print_pair(const char *name, struct bytes value)
{
    if (value.len > 0) {
        printf("  %-9s%s\n", name, log_quote(value));
    }
}

static void print_claims(const struct claims *claims, uint64_t now_s)
{
    printf("accepted\n");
    print_pair("user", claims_user(claims));
    print_pair("role", claims_role(claims));
    print_pair("name", claims_name(claims));
    print_pair("tenant", claims_tenant(claims));
    if (claims->expires_at == 0) {
        printf("  %-9snever\n", "expires");
    } else {
        printf("  %-9sin %llu s\n", "expires",
            (unsigned long long)(claims->expires_at > now_s ? claims->expires_at - now_s : 0));
    }
}

static int explain(struct jwt *jwt, struct bytes token)
{
    uint64_t now_s = clock_wall_ms() / 1000;
    struct claims *claims;
    if (jwt_verify(jwt, token, now_s, &claims) == 0) {
        print_claims(claims, now_s);
        claims_unref(claims);
        return 0;
    }
    const struct jwt_refusal *refusal = jwt_last_refusal(jwt);
    printf("refused: %s\n", refusal->reason);
    print_pair("kid", refusal->kid);
    print_pair("user", refusal->user);
    return 1;
}

/* Say whether a hub with these settings accepts the token, and if not, why. */
static int check_token(const struct config *config, const char *text)
{
    struct builder error = {.max = 4096};
    struct jwt_keys *keys;
    struct jwt *jwt = NULL;
    int code = 1;
    int status = jwt_keys_create(config, NULL, &error, &keys);
    if (status == 0) {
        status = jwt_create(jwt_keys_policy(keys), &error, &jwt);
        jwt_keys_destroy(keys);
    }
    if (status == 0) {
        code = explain(jwt, bytes_str(text));
    } else {
        struct bytes why = builder_bytes(&error);
        fprintf(stderr, "peal token: %.*s\n", (int)why.len, why.len > 0 ? why.at : "");
    }
    jwt_destroy(jwt);
    builder_reset(&error);
    return code;
}

int command_token(const struct config *config, int argc, char **argv)
{
    struct request request = {.ttl_s = TTL_DEFAULT_S};
    int code = parse_arguments(argc, argv, &request);
    if (code != 0) {
        return code;
    }
    if (request.check != NULL) {
        return check_token(config, request.check);
    }
    struct jwt_key_options key;
    struct builder file = {0};
    code = 1;
    if (choose_key(config, request.kid, &file, &key)) {
        const char *issuer = config->auth_issuer;
        request.sign.issued_at = clock_wall_ms() / 1000;
        request.sign.claims.expires_at = request.sign.issued_at + request.ttl_s;
        request.sign.claims.issuer = key.issuer.len > 0 ? key.issuer : bytes_str(issuer);
        request.sign.audience = bytes_str(config->auth_audience);
        code = print_token(&key, &request.sign);
    }
    builder_reset(&file);
    return code;
}
