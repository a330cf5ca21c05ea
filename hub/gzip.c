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

bool gzip_accepted(const struct http1_request *head)
{
    struct bytes list;
    size_t cursor = 0;
    bool any = false;
    while (http1_header_next(head, "Accept-Encoding", &cursor, &list)) {
        struct bytes element;
        while (http1_list_next(&list, &element)) {
            const char *semicolon = element.len > 0 ? memchr(element.at, ';', element.len) : NULL;
            size_t name_len = semicolon != NULL ? (size_t)(semicolon - element.at) : element.len;
            struct bytes name = trim(bytes_of(element.at, name_len));
            bool taken = semicolon == NULL || !is_weightless(bytes_skip(element, name_len + 1));
            if (bytes_eq_nocase(name, BYTES("gzip")) || bytes_eq_nocase(name, BYTES("x-gzip"))) {
                return taken;
            }
            any = any || (bytes_eq(name, BYTES("*")) && taken);
        }
    }
    return any;
}

bool gzip_compress(struct bytes data, struct builder *out)
{
    z_stream stream = {0};
    char *at = data.len <= UINT32_MAX ? builder_reserve(out, data.len) : NULL;
    if (!at || deflateInit2(&stream, LEVEL, Z_DEFLATED, WINDOW_BITS + GZIP_HEAD, MEMORY_LEVEL,
                   Z_DEFAULT_STRATEGY) != Z_OK) {
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
