/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/jwt_config.h"

#include <errno.h>
#include <stdio.h>

#include "codec/base/buf.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/config.h"
#include "hub/hub.h"
#include "hub/jwt.h"

enum { KEY_FILE_MAX = 1 << 20, BUILT_IN_KEYS = 2 };

/* The keys of a configuration and what they point into. */
struct keys {
    struct jwt_key_options *options;
    struct builder *files;
    size_t count;
};

static int read_file(const char *path, struct builder *content)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "peal: cannot read the key file %s: %s\n", path, strerror(errno));
        return STATUS_NOT_FOUND;
    }
    content->max = KEY_FILE_MAX;
    size_t n = 1;
    while (n > 0) {
        char *at = builder_reserve(content, 4096);
        n = at != NULL ? fread(at, 1, 4096, file) : 0;
        builder_commit(content, n);
    }
    bool failed = ferror(file) != 0 || builder_failed(content);
    fclose(file);
    if (failed) {
        fprintf(stderr, "peal: cannot read the key file %s: too large or unreadable\n", path);
        return STATUS_IO;
    }
    return 0;
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

static void add_secret(struct keys *keys, const char *secret)
{
    if (secret != NULL && secret[0] != '\0') {
        keys->options[keys->count++] = (struct jwt_key_options){
            .kind = JWT_KEY_SECRET, .material = bytes_str(secret), .alg = JWT_ALG_HS256};
    }
}

static int add_block(struct keys *keys, const struct config_jwt_key *key)
{
    struct jwt_key_options *options = &keys->options[keys->count];
    struct builder *file = &keys->files[keys->count];
    *options = (struct jwt_key_options){
        .kind = JWT_KEY_SECRET,
        .material = bytes_str(key->secret),
        .alg = algorithm_of(key->algorithm),
        .kid = bytes_str(key->name),
        .issuer = bytes_str(key->issuer),
    };
    keys->count++;
    if (key->file[0] == '\0') {
        return 0;
    }
    int status = read_file(key->file, file);
    if (status != 0) {
        return status;
    }
    options->material = builder_bytes(file);
    options->kind = kind_of(options->material);
    if (options->kind == JWT_KEY_JWK) {
        options->alg = JWT_ALG_NONE; /* each key of the set states its own */
    }
    return 0;
}

static int create(const struct hub *hub, const struct keys *keys, struct jwt **ret_jwt)
{
    const struct config *config = hub->config;
    struct builder error = {0};
    struct jwt_options options = {
        .keys = keys->options,
        .key_count = keys->count,
        .issuer = bytes_str(config->auth_issuer),
        .audience = bytes_str(config->auth_audience),
        .allow_no_exp = !config->auth_require_exp,
        .leeway_s = (uint32_t)(config->auth_leeway_ms / 1000),
        .cache_max = config->auth_cache,
    };
    int status = jwt_create(&options, &error, ret_jwt);
    if (status != 0) {
        struct bytes text = builder_bytes(&error);
        fprintf(stderr, "peal: %.*s\n", (int)text.len, text.len > 0 ? text.at : "");
    }
    builder_reset(&error);
    return status;
}

int jwt_from_config(const struct hub *hub, struct jwt **ret_jwt)
{
    const struct config *config = hub->config;
    size_t max = config->jwt_key_count + BUILT_IN_KEYS;
    struct keys keys = {
        .options = mem_alloc_array(max, sizeof(*keys.options)),
        .files = mem_alloc_array(max, sizeof(*keys.files)),
    };
    int status = 0;
    add_secret(&keys, config->auth_secret);
    add_secret(&keys, hub->dev_secret);
    for (size_t i = 0; i < config->jwt_key_count && status == 0; i++) {
        status = add_block(&keys, &config->jwt_keys[i]);
    }
    if (status == 0) {
        status = create(hub, &keys, ret_jwt);
    }
    for (size_t i = 0; i < max; i++) {
        builder_reset(&keys.files[i]);
    }
    mem_free(keys.files);
    mem_free(keys.options);
    return status;
}
