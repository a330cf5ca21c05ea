/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chooses a coding that the client takes, compresses answers, whole or in pieces, and expands
 * bodies within a size and a ratio.
 */
#include "hub/net/gzip.h"

#include <string.h>
#include <zlib.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/http1.h"

enum {
    LEVEL = 5,
    WINDOW_BITS = 15,
    GZIP_HEAD = 16, /* zlib: write, or want, gzip's */
    MEMORY_LEVEL = 8,
    PIECE = 64 << 10,
    GROWTH = 8 << 10,
    RATIO_MAX = 100,
    RATIO_FREE = 64 << 10,
};

/* Whether the parameters of a coding are a weight of 0: "q=0", "q=0.000". */
static bool is_weightless(struct bytes parameters)
{
    struct bytes weight = bytes_trim(parameters, " \t");
    if (weight.len < 3 || (weight.at[0] | 0x20) != 'q' || weight.at[1] != '=') {
        return false;
    }
    for (size_t i = 2; i < weight.len; i++) {
        if (weight.at[i] != '0' && weight.at[i] != '.') {
            return false;
        }
    }
    return true;
}

/* What the element of an Accept-Encoding list is about. */
static enum gzip_coding coding_of(struct bytes name)
{
    if (bytes_eq_nocase(name, BYTES("gzip")) || bytes_eq_nocase(name, BYTES("x-gzip"))) {
        return GZIP_GZIP;
    }
    return bytes_eq_nocase(name, BYTES("deflate")) ? GZIP_DEFLATE : GZIP_NONE;
}

enum gzip_coding gzip_choose(const struct http1_request *head)
{
    struct bytes list;
    size_t cursor = 0;
    bool any = false;
    bool named[] = {[GZIP_GZIP] = false, [GZIP_DEFLATE] = false};
    bool taken[] = {[GZIP_GZIP] = false, [GZIP_DEFLATE] = false};
    while (http1_header_next(head, "Accept-Encoding", &cursor, &list)) {
        struct bytes element;
        while (http1_list_next(&list, &element)) {
            const char *semicolon = element.len > 0 ? memchr(element.at, ';', element.len) : NULL;
            size_t name_len = semicolon != NULL ? (size_t)(semicolon - element.at) : element.len;
            struct bytes name = bytes_trim(bytes_of(element.at, name_len), " \t");
            bool wanted = semicolon == NULL || !is_weightless(bytes_skip(element, name_len + 1));
            enum gzip_coding coding = coding_of(name);
            taken[coding] = taken[coding] || (wanted && !named[coding]);
            named[coding] = true;
            any = any || (bytes_eq(name, BYTES("*")) && wanted);
        }
    }
    if (taken[GZIP_GZIP] || (any && !named[GZIP_GZIP])) {
        return GZIP_GZIP;
    }
    return taken[GZIP_DEFLATE] ? GZIP_DEFLATE : GZIP_NONE;
}

const char *gzip_header(enum gzip_coding coding)
{
    return coding == GZIP_GZIP ? "Content-Encoding: gzip\r\n" : "Content-Encoding: deflate\r\n";
}

bool gzip_compress(enum gzip_coding coding, struct bytes data, struct builder *out)
{
    z_stream stream = {0};
    bool wanted = coding != GZIP_NONE && data.len <= UINT32_MAX;
    char *at = wanted ? builder_reserve(out, data.len) : NULL;
    int bits = WINDOW_BITS + (coding == GZIP_GZIP ? GZIP_HEAD : 0);
    if (!at ||
        deflateInit2(&stream, LEVEL, Z_DEFLATED, bits, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) {
        return false;
    }
    stream.next_in = (Bytef *)(uintptr_t)data.at;
    stream.avail_in = (uInt)data.len;
    stream.next_out = (Bytef *)at;
    stream.avail_out = (uInt)data.len;
    bool done = deflate(&stream, Z_FINISH) == Z_STREAM_END;
    builder_commit(out, done ? (size_t)stream.total_out : 0);
    deflateEnd(&stream);
    return done;
}

struct gzip_stream {
    z_stream zlib;
};

struct gzip_stream *gzip_stream_create(enum gzip_coding coding)
{
    struct gzip_stream *stream = coding != GZIP_NONE ? mem_try_calloc(1, sizeof(*stream)) : NULL;
    int bits = WINDOW_BITS + (coding == GZIP_GZIP ? GZIP_HEAD : 0);
    if (stream != NULL && deflateInit2(&stream->zlib, LEVEL, Z_DEFLATED, bits, MEMORY_LEVEL,
                              Z_DEFAULT_STRATEGY) != Z_OK) {
        mem_free(stream);
        return NULL;
    }
    return stream;
}

void gzip_stream_destroy(struct gzip_stream *stream)
{
    if (stream != NULL) {
        deflateEnd(&stream->zlib);
        mem_free(stream);
    }
}

bool gzip_stream_add(struct gzip_stream *stream, struct bytes data, bool last, struct builder *out)
{
    z_stream *zlib = &stream->zlib;
    int result;
    zlib->next_in = (Bytef *)(uintptr_t)data.at;
    zlib->avail_in = (uInt)data.len;
    do {
        char *at = builder_reserve(out, GROWTH);
        if (at == NULL) {
            return false;
        }
        zlib->next_out = (Bytef *)at;
        zlib->avail_out = GROWTH;
        result = deflate(zlib, last ? Z_FINISH : Z_SYNC_FLUSH);
        builder_commit(out, GROWTH - zlib->avail_out);
    } while (zlib->avail_out == 0);
    /* Z_BUF_ERROR: all was out already */
    return last ? result == Z_STREAM_END : result == Z_OK || result == Z_BUF_ERROR;
}

/* How much `data` may become. */
static size_t bound_of(struct bytes data, size_t max)
{
    size_t most = data.len < SIZE_MAX / RATIO_MAX ? data.len * RATIO_MAX : SIZE_MAX;
    most = most > RATIO_FREE ? most : RATIO_FREE;
    return most < max ? most : max;
}

/* Expand the next piece; 1: there is more, 0: all is there, or a status. */
static int expand_piece(z_stream *stream, size_t most, struct builder *out)
{
    char *at = builder_reserve(out, PIECE);
    if (at == NULL) {
        return STATUS_NOMEM;
    }
    stream->next_out = (Bytef *)at;
    stream->avail_out = PIECE;
    int result = inflate(stream, Z_NO_FLUSH);
    size_t made = PIECE - stream->avail_out;
    if (builder_bytes(out).len + made > most) {
        return STATUS_TOO_LARGE;
    }
    builder_commit(out, made);
    if (result == Z_STREAM_END && stream->avail_in > 0) {
        return inflateReset(stream) == Z_OK ? 1 : STATUS_INVALID; /* another member */
    }
    if (result == Z_STREAM_END) {
        return 0;
    }
    if (result == Z_MEM_ERROR) {
        return STATUS_NOMEM;
    }
    return result == Z_OK && (stream->avail_in > 0 || stream->avail_out == 0) ? 1 : STATUS_INVALID;
}

int gzip_expand(struct bytes data, size_t max, struct builder *out)
{
    z_stream stream = {0};
    if (data.len == 0 || data.len > UINT32_MAX) {
        return STATUS_INVALID;
    }
    if (inflateInit2(&stream, WINDOW_BITS + GZIP_HEAD) != Z_OK) {
        return STATUS_NOMEM;
    }
    struct builder text = {.max = max + PIECE};
    size_t most = bound_of(data, max);
    stream.next_in = (Bytef *)(uintptr_t)data.at;
    stream.avail_in = (uInt)data.len;
    int status = 1;
    while (status == 1) {
        status = expand_piece(&stream, most, &text);
    }
    inflateEnd(&stream);
    if (status == 0) {
        builder_add(out, builder_bytes(&text));
        status = builder_status(out);
    }
    builder_reset(&text);
    return status;
}
