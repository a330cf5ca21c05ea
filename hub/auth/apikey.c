/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads API keys from the settings, and compares what a backend shows in constant time.
 */
#include "hub/auth/apikey.h"

#include <stdatomic.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/net/crypto.h"

/* Of a mark, where the key stands in its set; the rest is the set's serial. */
enum { PLACE_BITS = 24 };

/* What is looked up: the digest of the secret, so that its length and bytes decide no timing. */
struct secret {
    struct apikey key; /* first */
    uint8_t digest[CRYPTO_SHA256_LEN];
};

struct apikey_set {
    uint64_t serial; /* of the process; from 1 on */
    size_t count;
    struct secret secrets[];
};

#define SCOPE(word, scope)                                                                         \
    {                                                                                              \
        word, scope, "This needs a key with the scope " word                                       \
    }

static const struct {
    const char *word;
    unsigned scope;
    const char *needs;
} scopes[] = {
    SCOPE("publish", APIKEY_PUBLISH),
    SCOPE("read", APIKEY_READ),
    SCOPE("write", APIKEY_WRITE),
    SCOPE("values", APIKEY_VALUES),
    SCOPE("jobs", APIKEY_JOBS),
    SCOPE("metrics", APIKEY_METRICS),
    SCOPE("viewer", APIKEY_VIEWER),
    SCOPE("admin", APIKEY_ADMIN),
};

const char *apikey_needs(unsigned wanted)
{
    size_t i = 0;
    while (i + 1 < ARRAY_LEN(scopes) && (scopes[i].scope & wanted) == 0) {
        i++;
    }
    return scopes[i].needs;
}

static int refuse(struct builder *error, struct bytes name, const char *why)
{
    int len = name.len < 64 ? (int)name.len : 64;
    builder_printf(error, "API key \"%.*s\": %s", len, len > 0 ? name.at : "", why);
    return STATUS_INVALID;
}

/* The scopes of the words; 0 when there is none or one is unknown. */
static unsigned parse_scopes(const char *const *words, size_t count)
{
    unsigned found = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned scope = 0;
        for (size_t j = 0; j < ARRAY_LEN(scopes); j++) {
            scope |= strcmp(words[i], scopes[j].word) == 0 ? scopes[j].scope : 0;
        }
        if (scope == 0) {
            return 0;
        }
        found |= scope;
    }
    return found;
}

static struct bytes keep(struct bytes text)
{
    return bytes_of(mem_dup(text.at != NULL ? text.at : "", text.len), text.len);
}

static int add(struct apikey_set *set, const struct apikey_options *options, struct builder *error)
{
    unsigned granted = parse_scopes(options->scopes, options->scope_count);
    uint8_t digest[CRYPTO_SHA256_LEN];
    if (options->name.len == 0) {
        return refuse(error, options->name, "it has no name");
    }
    if (options->key.len < APIKEY_MIN || options->key.len > APIKEY_MAX) {
        return refuse(error, options->name, "a key has 16 to 1024 bytes");
    }
    if (granted == 0) {
        return refuse(error, options->name,
            "its scopes are some of publish, read, write, values, jobs, metrics, viewer, admin");
    }
    crypto_sha256(options->key, digest);
    for (size_t i = 0; i < set->count; i++) {
        if (bytes_eq(set->secrets[i].key.name, options->name)) {
            return refuse(error, options->name, "the name is there twice");
        }
        if (crypto_equal(set->secrets[i].digest, digest, sizeof(digest))) {
            return refuse(error, options->name, "another name has the same key");
        }
    }
    struct secret *secret = &set->secrets[set->count++];
    secret->key = (struct apikey){
        .name = keep(options->name), .tenant = keep(options->tenant), .scopes = granted};
    memcpy(secret->digest, digest, sizeof(digest));
    return 0;
}

int apikey_set_create(const struct apikey_options *keys, size_t count, struct builder *error,
    struct apikey_set **ret_set)
{
    static _Atomic(uint64_t) serials;
    CHECK(count < 1U << PLACE_BITS); /* a file of settings is smaller */
    struct apikey_set *set = mem_alloc(sizeof(*set) + count * sizeof(struct secret));
    set->serial = atomic_fetch_add_explicit(&serials, 1, memory_order_relaxed) + 1;
    for (size_t i = 0; i < count; i++) {
        int status = add(set, &keys[i], error);
        if (status != 0) {
            apikey_set_destroy(set);
            return status;
        }
    }
    *ret_set = set;
    return 0;
}

void apikey_set_destroy(struct apikey_set *set)
{
    if (set == NULL) {
        return;
    }
    for (size_t i = 0; i < set->count; i++) {
        mem_free((char *)set->secrets[i].key.name.at);
        mem_free((char *)set->secrets[i].key.tenant.at);
    }
    mem_free(set);
}

const struct apikey *apikey_find(const struct apikey_set *set, struct bytes secret)
{
    if (secret.len < APIKEY_MIN || secret.len > APIKEY_MAX) {
        return NULL;
    }
    uint8_t digest[CRYPTO_SHA256_LEN];
    crypto_sha256(secret, digest);
    const struct apikey *found = NULL;
    for (size_t i = 0; i < set->count; i++) {
        if (crypto_equal(set->secrets[i].digest, digest, sizeof(digest))) {
            found = &set->secrets[i].key; /* and go on: every lookup takes the same time */
        }
    }
    return found;
}

uint64_t apikey_mark(const struct apikey_set *set, const struct apikey *key)
{
    const struct secret *secret = (const struct secret *)(const void *)key;
    return set->serial << PLACE_BITS | (uint64_t)(secret - set->secrets);
}

const struct apikey *apikey_recall(const struct apikey_set *set, uint64_t mark)
{
    size_t place = mark & ((1U << PLACE_BITS) - 1);
    return mark >> PLACE_BITS == set->serial && place < set->count ? &set->secrets[place].key
                                                                   : NULL;
}

/* b64token of RFC 6750 2.1, the '=' at the end included. */
static bool is_token_byte(unsigned char byte)
{
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
           (byte >= '0' && byte <= '9') || (byte != 0 && strchr("-._~+/=", byte) != NULL);
}

int apikey_parse_bearer(struct bytes header, struct bytes *ret_token)
{
    static const size_t scheme_len = 6;
    if (header.len < scheme_len ||
        !bytes_eq_nocase(bytes_of(header.at, scheme_len), BYTES("Bearer")) ||
        (header.len > scheme_len && header.at[scheme_len] != ' ')) {
        return STATUS_NOT_FOUND;
    }
    struct bytes token = bytes_skip(header, scheme_len);
    while (token.len > 0 && token.at[0] == ' ') {
        token = bytes_skip(token, 1);
    }
    for (size_t i = 0; i < token.len; i++) {
        if (!is_token_byte((unsigned char)token.at[i])) {
            return STATUS_INVALID;
        }
    }
    if (token.len == 0) {
        return STATUS_INVALID;
    }
    *ret_token = token;
    return 0;
}
