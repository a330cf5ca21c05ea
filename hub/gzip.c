/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/gzip.h"

#include <string.h>
#include <zlib.h>

#include "codec/http1.h"

enum { LEVEL = 5, WINDOW_BITS = 15, GZIP_HEAD = 16 /* zlib: write gzip's */, MEMORY_LEVEL = 8 };

static struct bytes trim(struct bytes text)
{
    while (text.len > 0 && (text.at[0] == ' ' || text.at[0] == '\t')) {
        text = bytes_skip(text, 1);
    }
    while (text.len > 0 && (text.at[text.len - 1] == ' ' || text.at[text.len - 1] == '\t')) {
        text.len--;
    }
    return text;
}

/* Whether the parameters of a coding are a weight of 0: "q=0", "q=0.000". */
static bool is_weightless(struct bytes parameters)
{
    struct bytes weight = trim(parameters);
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
            struct bytes name = trim(bytes_of(element.at, name_len));
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
