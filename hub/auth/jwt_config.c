/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads keys from secrets, PEM and JWK sets, and tries each once, so that a wrong one is told at
 * the start.
 */
#include "hub/auth/jwt_config.h"

#include <errno.h>

#include "codec/base/buf.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_tree.h"
#include "hub/auth/jwt.h"
#include "hub/config/config.h"
#include "hub/net/file.h"

enum { KEY_FILE_MAX = 1 << 20, BUILT_IN_KEYS = 2 };

struct jwt_keys {
    struct jwt_options policy;
    struct jwt_key_options *options;
    struct builder *files; /* what some of them point into */
    size_t count;
    size_t max;
};

static int read_key_file(const char *path, struct builder *content, struct builder *error)
{
    content->max = KEY_FILE_MAX;
    int status = file_read(path, content);
    if (status != 0) {
        const char *reason = status == STATUS_TOO_LARGE ? "larger than 1 MiB" : strerror(errno);
        builder_printf(error, "cannot read the key file %s: %s", path, reason);
    }
    return status;
}

static bool has_private_part(const struct json_tree *jwk)
{
    return json_tree_get(jwk, "d") != NULL;
}

/* Whether the text of a PEM file, a JWK or a JWK set holds a private key: RFC 7517 section 9.3. */
static bool is_private(enum jwt_key_kind kind, struct bytes material)
{
    struct json_tree *root = NULL;
    if (kind == JWT_KEY_PEM) {
        return memmem(material.at, material.len, "PRIVATE KEY-----", 16) != NULL;
    }
    if (json_tree_parse(material, KEY_FILE_MAX, &root) != 0) {
        return false; /* told by who makes the key */
    }
    const struct json_tree *keys = json_tree_get(root, "keys");
    bool found = has_private_part(root);
    for (size_t i = 0; keys != NULL && i < json_tree_count(keys) && !found; i++) {
        found = has_private_part(json_tree_at(keys, i));
    }
    json_tree_destroy(root);
    return found;
}

static enum jwt_alg algorithm_of(int choice)
{
    switch ((enum config_algorithm)choice) {
    case ALGORITHM_HS256:
        return JWT_ALG_HS256;
    case ALGORITHM_RS256:
        return JWT_ALG_RS256;
    case ALGORITHM_PS256:
        return JWT_ALG_PS256;
    case ALGORITHM_ES256:
        return JWT_ALG_ES256;
    }
    return JWT_ALG_NONE;
}

static enum jwt_key_kind kind_of(struct bytes material)
{
    size_t skip = 0;
    while (skip < material.len && strchr(" \t\r\n", material.at[skip]) != NULL) {
        skip++;
    }
    return skip < material.len && material.at[skip] == '{' ? JWT_KEY_JWK : JWT_KEY_PEM;
}

static void add_secret(struct jwt_keys *keys, const char *secret)
{
    if (secret != NULL && secret[0] != '\0') {
        keys->options[keys->count++] = (struct jwt_key_options){
            .kind = JWT_KEY_SECRET, .material = bytes_str(secret), .alg = JWT_ALG_HS256};
    }
}

int jwt_key_from_config(const struct config_jwt_key *key, struct builder *file,
    struct builder *error, struct jwt_key_options *ret_key)
{
    struct jwt_key_options options = {
        .kind = JWT_KEY_SECRET,
        .material = bytes_str(key->secret),
        .alg = algorithm_of(key->algorithm),
        .kid = bytes_str(key->name),
        .issuer = bytes_str(key->issuer),
    };
    if (key->file[0] != '\0') {
        int status = read_key_file(key->file, file, error);
        if (status != 0) {
            return status;
        }
        options.material = builder_bytes(file);
        options.kind = kind_of(options.material);
        if (options.kind == JWT_KEY_JWK) {
            options.alg = JWT_ALG_NONE; /* each key of the set states its own */
        }
    }
    *ret_key = options;
    return 0;
}

static int add_block(struct jwt_keys *keys, const struct config_jwt_key *key, struct builder *error)
{
    size_t index = keys->count++;
    struct jwt_key_options *options = &keys->options[index];
    int status = jwt_key_from_config(key, &keys->files[index], error, options);
    if (status == 0 && options->kind != JWT_KEY_SECRET &&
        is_private(options->kind, options->material)) {
        builder_printf(error,
            "jwt_key \"%.64s\": %.300s holds a private key: a hub only needs the public one",
            key->name, key->file);
        status = STATUS_INVALID;
    }
    return status;
}

static void fill_policy(struct jwt_keys *keys, const struct config *config)
{
    keys->policy = (struct jwt_options){
        .keys = keys->options,
        .key_count = keys->count,
        .issuer = bytes_str(config->auth_issuer),
        .audience = bytes_str(config->auth_audience),
        .allow_no_exp = !config->auth_require_exp,
        .leeway_s = (uint32_t)(config->auth_leeway_ms / 1000),
        .cache_max = config->auth_cache,
    };
}

/* Make a check from the keys once, to find out whether it can be made. */
static int try_keys(const struct jwt_keys *keys, struct builder *error)
{
    struct jwt *jwt;
    int status = jwt_create(&keys->policy, error, &jwt);
    if (status == 0) {
        jwt_destroy(jwt);
    }
    return status;
}

int jwt_keys_create(const struct config *config, const char *dev_secret, struct builder *error,
    struct jwt_keys **ret_keys)
{
    struct jwt_keys *keys = mem_alloc(sizeof(*keys));
    keys->max = config->jwt_key_count + BUILT_IN_KEYS;
    keys->options = mem_alloc_array(keys->max, sizeof(*keys->options));
    keys->files = mem_alloc_array(keys->max, sizeof(*keys->files));
    int status = 0;
    add_secret(keys, config->auth_secret);
    add_secret(keys, dev_secret);
    for (size_t i = 0; i < config->jwt_key_count && status == 0; i++) {
        status = add_block(keys, &config->jwt_keys[i], error);
    }
    if (status == 0) {
        fill_policy(keys, config);
        status = try_keys(keys, error);
    }
    if (status != 0) {
        jwt_keys_destroy(keys);
        return status;
    }
    *ret_keys = keys;
    return 0;
}

void jwt_keys_destroy(struct jwt_keys *keys)
{
    if (keys == NULL) {
        return;
    }
    for (size_t i = 0; i < keys->max; i++) {
        builder_reset(&keys->files[i]);
    }
    mem_free(keys->files);
    mem_free(keys->options);
    mem_free(keys);
}

const struct jwt_options *jwt_keys_policy(const struct jwt_keys *keys)
{
    return &keys->policy;
}
