/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads the builds from the folder of an installed client, and serves them with their tags.
 */
#include "hub/node/bundles.h"

#include <errno.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/net/crypto.h"
#include "hub/net/etag.h"
#include "hub/net/file.h"
#include "hub/net/gzip.h"
#include "hub/node/node.h"

#define PREFIX "/socket.io/"

enum { FILE_MAX_BYTES = 1 << 20 };

static void handle(struct http_request *request, void *context);

#define ROW(name)                                                                                  \
    {                                                                                              \
        .method = "GET", .path = PREFIX name, .handler = handle                                    \
    }
const struct http_route bundles_routes[] = {
    ROW("socket.io.js"),
    ROW("socket.io.js.map"),
    ROW("socket.io.min.js"),
    ROW("socket.io.min.js.map"),
    ROW("socket.io.esm.min.js"),
    ROW("socket.io.esm.min.js.map"),
    ROW("socket.io.msgpack.min.js"),
    ROW("socket.io.msgpack.min.js.map"),
};
#undef ROW
enum { COUNT = ARRAY_LEN(bundles_routes) };
const size_t bundles_route_count = COUNT;

struct bundles {
    struct bundle rows[COUNT]; /* as bundles_routes */
};

/* --- loading --- */

static struct bytes keep(struct builder *content)
{
    struct bytes bytes = builder_bytes(content);
    bytes = bytes_of(mem_dup(bytes.at, bytes.len), bytes.len);
    builder_reset(content);
    return bytes;
}

static void write_etag(struct bundle *bundle)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[CRYPTO_HASH128_LEN];
    crypto_hash128(bundle->body, digest);
    char *at = bundle->etag;
    *at++ = '"';
    for (size_t i = 0; i < sizeof(digest); i++) {
        *at++ = digits[digest[i] >> 4];
        *at++ = digits[digest[i] & 15];
    }
    *at++ = '"';
    *at = '\0';
}

static void make(struct bundle *bundle, const char *name, struct builder *content)
{
    struct builder gzipped = {0};
    bundle->type = strstr(name, ".map") != NULL ? "application/json; charset=utf-8"
                                                : "application/javascript; charset=utf-8";
    bundle->body = keep(content);
    write_etag(bundle);
    if (gzip_compress(GZIP_GZIP, bundle->body, &gzipped)) {
        bundle->gzipped = keep(&gzipped);
    }
    builder_reset(&gzipped);
}

/* Load one build; STATUS_NOT_FOUND, with no error text, where the folder does not have it. */
static int load(const char *folder, const char *name, struct bundle *bundle, struct builder *error)
{
    struct builder path = {0};
    struct builder content = {.max = FILE_MAX_BYTES};
    builder_printf(&path, "%s/%s", folder, name);
    builder_byte(&path, '\0');
    int status = file_read(builder_bytes(&path).at, &content);
    if (status == 0) {
        make(bundle, name, &content);
    } else if (status == STATUS_TOO_LARGE) {
        builder_printf(error, "engine.bundles: %s/%s: larger than 1 MiB", folder, name);
    } else if (status != STATUS_NOT_FOUND) {
        builder_printf(error, "engine.bundles: %s/%s: %s", folder, name, strerror(errno));
    }
    builder_reset(&content);
    builder_reset(&path);
    return status;
}

int bundles_load(const char *folder, struct builder *error, struct bundles **ret_bundles)
{
    struct bundles *bundles = mem_alloc(sizeof(*bundles));
    size_t found = 0;
    for (size_t i = 0; i < COUNT; i++) {
        const char *name = bundles_routes[i].path + strlen(PREFIX);
        int status = load(folder, name, &bundles->rows[i], error);
        if (status != 0 && status != STATUS_NOT_FOUND) {
            bundles_destroy(bundles);
            return status;
        }
        found += status == 0;
    }
    if (found == 0) {
        builder_printf(error, "engine.bundles: %s has no socket.io.js", folder);
        bundles_destroy(bundles);
        return STATUS_NOT_FOUND;
    }
    *ret_bundles = bundles;
    return 0;
}

void bundles_destroy(struct bundles *bundles)
{
    for (size_t i = 0; bundles != NULL && i < COUNT; i++) {
        mem_free((char *)bundles->rows[i].body.at);
        mem_free((char *)bundles->rows[i].gzipped.at);
    }
    mem_free(bundles);
}

/* --- serving --- */

static const struct bundle *bundles_find(const struct bundles *bundles, struct bytes path)
{
    for (size_t i = 0; i < COUNT; i++) {
        if (bytes_eq_str(path, bundles_routes[i].path) && bundles->rows[i].body.len > 0) {
            return &bundles->rows[i];
        }
    }
    return NULL;
}

static void handle(struct http_request *request, void *context)
{
    const struct hub *hub = hub_shard_of_http(context)->hub;
    const struct bundle *bundle = bundles_find(hub->bundles, request->path);
    if (bundle == NULL) {
        http_respond_error(request, ERROR_NOT_FOUND, "engine.bundles has no such file", NULL);
        return;
    }
    struct bytes body = bundle->body;
    struct builder headers = {0};
    builder_printf(&headers, "Cache-Control: public, max-age=0\r\nETag: W/%s\r\n", bundle->etag);
    builder_str(&headers, "Vary: Accept-Encoding\r\nX-Content-Type-Options: nosniff\r\n");
    if (etag_is_known(request->head, bundle->etag)) {
        http_respond(request, 304, NULL, builder_bytes(&headers), bytes_of(NULL, 0));
    } else {
        if (bundle->gzipped.len > 0 && gzip_choose(request->head) == GZIP_GZIP) {
            builder_str(&headers, gzip_header(GZIP_GZIP));
            body = bundle->gzipped;
        }
        http_respond_lasting(request, bundle->type, builder_bytes(&headers), body);
    }
    builder_reset(&headers);
}
