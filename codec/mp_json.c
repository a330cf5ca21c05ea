/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mp_json - MessagePack to JSON text and back, in one pass and without a tree.
 *
 * Recursion is bounded by MP_DEPTH_MAX. The JSON side walks text by its own cursor, because the
 * heads of MessagePack need counts that are known only behind the last element: a head is
 * inserted in front of what it counts, which costs a move only above 15 elements.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/base/status.h"
#include "codec/base64.h"
#include "codec/iso_time.h"
#include "codec/json_scan.h"
#include "codec/mp.h"
#include "codec/utf8.h"

/* To JSON. */

struct to_json {
    struct mp_reader reader;
    struct mp_bins *bins;
    struct builder *out;
};

static int write_value(struct to_json *to, unsigned depth);

static void write_float(struct builder *out, double value)
{
    if (!isfinite(value)) {
        builder_str(out, "null");
        return;
    }
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        /* Exact: it must read back as the same number. NOLINTNEXTLINE */
        if (digits == 17 || strtod(text, NULL) == value) {
            break;
        }
    }
    builder_str(out, text);
}

static void write_base64(struct builder *out, struct bytes bin)
{
    builder_byte(out, '"');
    char *at = builder_reserve(out, BASE64_LEN(bin.len));
    if (at != NULL) {
        builder_commit(out, base64_encode(bin, at));
    }
    builder_byte(out, '"');
}

static int write_bin(struct to_json *to, struct bytes bin)
{
    if (to->bins == NULL) {
        write_base64(to->out, bin);
        return 0;
    }
    if (to->bins->count >= to->bins->max) {
        return STATUS_TOO_LARGE;
    }
    builder_str(to->out, "{\"_placeholder\":true,\"num\":");
    builder_u64(to->out, to->bins->count);
    builder_byte(to->out, '}');
    to->bins->at[to->bins->count++] = bin;
    return 0;
}

static uint64_t big_endian(struct bytes bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        value = value << 8 | (uint8_t)bytes.at[i];
    }
    return value;
}

bool mp_instant(const struct mp_value *ext, int64_t *ret_ms)
{
    struct bytes at = ext->bytes;
    if (ext->ext == 0 && at.len == 8) {
        *ret_ms = (int64_t)big_endian(at);
        return true;
    }
    if (ext->ext != MP_EXT_TIMESTAMP) {
        return false;
    }
    int64_t seconds;
    uint64_t nanoseconds = 0;
    if (at.len == 4) {
        seconds = (int64_t)big_endian(at);
    } else if (at.len == 8) {
        uint64_t both = big_endian(at);
        seconds = (int64_t)(both & ((UINT64_C(1) << 34) - 1));
        nanoseconds = both >> 34;
    } else if (at.len == 12) {
        nanoseconds = big_endian(bytes_of(at.at, 4));
        seconds = (int64_t)big_endian(bytes_skip(at, 4));
    } else {
        return false;
    }
    if (nanoseconds > 999999999 || seconds > ISO_TIME_MAX / 1000 ||
        seconds < -ISO_TIME_MAX / 1000) {
        return false;
    }
    *ret_ms = seconds * 1000 + (int64_t)(nanoseconds / 1000000);
    return true;
}

static void write_ext(struct builder *out, const struct mp_value *ext)
{
    int64_t ms;
    if (!mp_instant(ext, &ms) || ms > ISO_TIME_MAX || ms < -ISO_TIME_MAX) {
        builder_str(out, "null");
        return;
    }
    builder_byte(out, '"');
    if (iso_time_write(ms, out) < 0) {
        CHECK(!"the range was checked");
    }
    builder_byte(out, '"');
}

static int write_string(struct builder *out, struct bytes text)
{
    if (!utf8_valid(text)) {
        return STATUS_UTF8;
    }
    json_scan_write_string(out, text);
    return 0;
}

static int write_scalar(struct to_json *to, const struct mp_value *value)
{
    switch (value->type) {
    case MP_NIL:
        builder_str(to->out, "null");
        return 0;
    case MP_BOOL:
        builder_str(to->out, value->boolean ? "true" : "false");
        return 0;
    case MP_UINT:
        builder_u64(to->out, value->number.u);
        return 0;
    case MP_INT:
        builder_i64(to->out, value->number.i);
        return 0;
    case MP_FLOAT:
        write_float(to->out, value->number.f);
        return 0;
    case MP_STR:
        return write_string(to->out, value->bytes);
    case MP_BIN:
        return write_bin(to, value->bytes);
    case MP_EXT:
        write_ext(to->out, value);
        return 0;
    case MP_ARRAY:
    case MP_MAP:
        break;
    }
    return STATUS_INVALID;
}

/* A key: JSON knows strings only. */
static int write_key(struct to_json *to)
{
    struct mp_value key;
    int status = mp_next(&to->reader, &key);
    if (status < 0) {
        return status;
    }
    if (key.type == MP_EXT) {
        return STATUS_INVALID;
    }
    if (key.type == MP_BIN) {
        write_base64(to->out, key.bytes);
        return 0;
    }
    if (key.type == MP_STR) {
        return write_string(to->out, key.bytes);
    }
    builder_byte(to->out, '"');
    status = write_scalar(to, &key);
    builder_byte(to->out, '"');
    return status;
}

static int write_container(struct to_json *to, const struct mp_value *head, unsigned depth)
{
    bool map = head->type == MP_MAP;
    builder_byte(to->out, map ? '{' : '[');
    for (uint32_t i = 0; i < head->count; i++) {
        if (i > 0) {
            builder_byte(to->out, ',');
        }
        if (map) {
            int status = write_key(to);
            if (status < 0) {
                return status;
            }
            builder_byte(to->out, ':');
        }
        int status = write_value(to, depth);
        if (status < 0) {
            return status;
        }
    }
    builder_byte(to->out, map ? '}' : ']');
    return builder_status(to->out);
}

static int write_value(struct to_json *to, unsigned depth)
{
    struct mp_value value;
    int status = mp_next(&to->reader, &value);
    if (status < 0) {
        return status;
    }
    if (value.type != MP_ARRAY && value.type != MP_MAP) {
        return write_scalar(to, &value);
    }
    return depth == 0 ? STATUS_TOO_LARGE : write_container(to, &value, depth - 1);
}

int mp_to_json(struct bytes value, struct mp_bins *bins, struct builder *out)
{
    return mp_to_json_elements(value, 1, bins, out);
}

int mp_to_json_elements(
    struct bytes values, uint32_t count, struct mp_bins *bins, struct builder *out)
{
    struct to_json to = {.reader = {.rest = values}, .bins = bins, .out = out};
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) {
            builder_byte(out, ',');
        }
        int status = write_value(&to, MP_DEPTH_MAX);
        if (status < 0) {
            return status;
        }
    }
    if (to.reader.rest.len > 0) {
        return STATUS_INVALID;
    }
    return builder_status(out);
}

/* From JSON. */

struct from_json {
    const char *at;
    const char *end;
    struct buf *const *attachments;
    unsigned attachment_count;
    struct builder *out;
};

static int pack_value(struct from_json *from, unsigned depth);

static void skip_blanks(struct from_json *from)
{
    while (from->at < from->end &&
           (*from->at == ' ' || *from->at == '\n' || *from->at == '\t' || *from->at == '\r')) {
        from->at++;
    }
}

/* The next byte that is no blank, or 0 at the end. */
static char peek(struct from_json *from)
{
    skip_blanks(from);
    return from->at < from->end ? *from->at : 0;
}

static size_t length(const struct builder *out)
{
    return builder_bytes(out).len;
}

/*
 * Put in front of what stands behind `start` the head that `pack` writes for `count`. `hole` bytes
 * at `start` are kept free for it.
 */
static void insert_head(struct builder *out, size_t start, size_t hole,
    void (*pack)(struct builder *out, uint32_t count), uint32_t count)
{
    size_t end = length(out);
    pack(out, count);
    if (builder_failed(out)) {
        return;
    }
    char head[8];
    size_t head_len = length(out) - end;
    CHECK(head_len <= sizeof(head) && head_len >= hole);
    memcpy(head, builder_bytes(out).at + end, head_len);
    builder_truncate(out, end);
    char *tail = builder_reserve(out, head_len - hole);
    if (tail == NULL) {
        return;
    }
    char *at = tail - (end - start);
    if (head_len > hole) {
        memmove(at + head_len, at + hole, end - start - hole);
    }
    memcpy(at, head, head_len);
    builder_commit(out, head_len - hole);
}

static int hex4(struct from_json *from, uint32_t *ret_unit)
{
    uint32_t unit = 0;
    if (from->end - from->at < 4) {
        return STATUS_INVALID;
    }
    for (int i = 0; i < 4; i++) {
        char c = *from->at++;
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                : 16;
        if (digit == 16) {
            return STATUS_INVALID;
        }
        unit = unit << 4 | digit;
    }
    *ret_unit = unit;
    return 0;
}

/* Append the character of a `\u` escape; half a surrogate pair becomes U+FFFD. */
static int add_escaped_unit(struct from_json *from)
{
    uint32_t unit;
    int status = hex4(from, &unit);
    if (status < 0) {
        return status;
    }
    uint32_t point = unit;
    if (unit >= 0xd800 && unit <= 0xdfff) {
        point = 0xfffd;
        struct from_json ahead = *from;
        uint32_t low;
        if (unit < 0xdc00 && from->end - from->at > 2 && memcmp(from->at, "\\u", 2) == 0) {
            ahead.at += 2;
            if (hex4(&ahead, &low) == 0 && low >= 0xdc00 && low <= 0xdfff) {
                point = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                from->at = ahead.at;
            }
        }
    }
    char utf8[UTF8_MAX_LEN];
    builder_add(from->out, bytes_of(utf8, utf8_put(point, utf8)));
    return 0;
}

static int add_escape(struct from_json *from)
{
    static const char escapes[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    if (from->at >= from->end) {
        return STATUS_INVALID;
    }
    char c = *from->at++;
    if (c == 'u') {
        return add_escaped_unit(from);
    }
    const char *found = c == 0 ? NULL : strchr(escapes, c);
    if (found == NULL) {
        return STATUS_INVALID;
    }
    builder_byte(from->out, meanings[found - escapes]);
    return 0;
}

/* A string; `ret_raw` gets it with its quotes. */
static int pack_string(struct from_json *from, struct bytes *ret_raw)
{
    const char *start = from->at++;
    size_t begin = length(from->out);
    for (;;) {
        const char *run = from->at;
        while (from->at < from->end && *from->at != '"' && *from->at != '\\') {
            from->at++;
        }
        if (from->at >= from->end) {
            return STATUS_INVALID;
        }
        struct bytes plain = bytes_of(run, (size_t)(from->at - run));
        bool last = *from->at++ == '"';
        if (last && length(from->out) == begin) {
            mp_pack_str(from->out, plain); /* no escapes: nothing has to move */
            break;
        }
        builder_add(from->out, plain);
        if (last) {
            uint32_t len = (uint32_t)(length(from->out) - begin);
            insert_head(from->out, begin, 0, mp_pack_str_head, len);
            break;
        }
        int status = add_escape(from);
        if (status < 0) {
            return status;
        }
    }
    *ret_raw = bytes_of(start, (size_t)(from->at - start));
    return 0;
}

static bool is_number_char(char c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/* A number that is no 64-bit integer. strtod needs a NUL behind it: borrow room from the builder.
 */
static int pack_real(struct builder *out, struct bytes text)
{
    char *copy = builder_reserve(out, text.len + 1);
    if (copy == NULL) {
        return builder_status(out);
    }
    memcpy(copy, text.at, text.len);
    copy[text.len] = 0;
    char *end;
    double value = strtod(copy, &end);
    if (end != copy + text.len) {
        return STATUS_INVALID;
    }
    mp_pack_float(out, value);
    return 0;
}

static int pack_number(struct from_json *from, struct bytes *ret_raw)
{
    const char *start = from->at;
    while (from->at < from->end && is_number_char(*from->at)) {
        from->at++;
    }
    struct bytes text = bytes_of(start, (size_t)(from->at - start));
    if (text.len == 0) {
        return STATUS_INVALID;
    }
    *ret_raw = text;
    uint64_t positive;
    int64_t negative;
    if (json_scan_u64(text, &positive) == 0) {
        mp_pack_u64(from->out, positive);
        return 0;
    }
    /* "-0" stays a negative zero, which only a float can be. */
    if (json_scan_i64(text, &negative) == 0 && negative != 0) {
        mp_pack_i64(from->out, negative);
        return 0;
    }
    return pack_real(from->out, text);
}

static int pack_word(struct from_json *from, struct bytes *ret_raw)
{
    const struct bytes words[] = {BYTES("null"), BYTES("false"), BYTES("true")};
    struct bytes rest = bytes_of(from->at, (size_t)(from->end - from->at));
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (bytes_starts(rest, words[i])) {
            from->at += words[i].len;
            *ret_raw = words[i];
            if (i == 0) {
                mp_pack_nil(from->out);
            } else {
                mp_pack_bool(from->out, i == 2);
            }
            return 0;
        }
    }
    return STATUS_INVALID;
}

static int pack_scalar(struct from_json *from, struct bytes *ret_raw)
{
    char c = peek(from);
    if (c == '"') {
        return pack_string(from, ret_raw);
    }
    return c == '-' || (c >= '0' && c <= '9') ? pack_number(from, ret_raw)
                                              : pack_word(from, ret_raw);
}

/* Step over a comma, unless the container ends here: 1 more, 0 end, or a status. */
static int more(struct from_json *from, bool first, char close)
{
    char c = peek(from);
    if (c == close) {
        from->at++;
        return 0;
    }
    if (first) {
        return 1;
    }
    if (c != ',') {
        return STATUS_INVALID;
    }
    from->at++;
    return 1;
}

static int pack_array(struct from_json *from, unsigned depth)
{
    size_t start = length(from->out);
    builder_byte(from->out, 0);
    from->at++;
    uint32_t count = 0;
    for (;;) {
        int status = more(from, count == 0, ']');
        if (status > 0) {
            status = pack_value(from, depth);
        } else if (status == 0) {
            break;
        }
        if (status < 0) {
            return status;
        }
        count++;
    }
    insert_head(from->out, start, 1, mp_pack_array, count);
    return 0;
}

/* What tells a Socket.IO placeholder from another object. */
struct placeholder {
    bool marked;
    bool numbered;
    uint64_t number;
};

static void note_member(struct placeholder *placeholder, struct bytes key, struct bytes scalar)
{
    if (json_scan_string_eq(key, BYTES("_placeholder"))) {
        placeholder->marked = bytes_eq(scalar, BYTES("true"));
    } else if (json_scan_string_eq(key, BYTES("num"))) {
        placeholder->numbered = json_scan_u64(scalar, &placeholder->number) == 0;
    }
}

static int pack_member(struct from_json *from, unsigned depth, struct placeholder *placeholder)
{
    struct bytes key;
    if (peek(from) != '"') {
        return STATUS_INVALID;
    }
    int status = pack_string(from, &key);
    if (status < 0) {
        return status;
    }
    if (peek(from) != ':') {
        return STATUS_INVALID;
    }
    from->at++;
    char c = peek(from);
    struct bytes scalar = {0};
    status = c == '[' || c == '{' ? pack_value(from, depth) : pack_scalar(from, &scalar);
    if (status == 0 && from->attachment_count > 0) {
        note_member(placeholder, key, scalar);
    }
    return status;
}

static int pack_object(struct from_json *from, unsigned depth)
{
    size_t start = length(from->out);
    builder_byte(from->out, 0);
    from->at++;
    struct placeholder placeholder = {0};
    uint32_t count = 0;
    for (;;) {
        int status = more(from, count == 0, '}');
        if (status > 0) {
            status = pack_member(from, depth, &placeholder);
        } else if (status == 0) {
            break;
        }
        if (status < 0) {
            return status;
        }
        count++;
    }
    if (placeholder.marked && placeholder.numbered && placeholder.number < from->attachment_count &&
        !builder_failed(from->out)) {
        builder_truncate(from->out, start);
        mp_pack_bin(from->out, buf_bytes(from->attachments[placeholder.number]));
        return 0;
    }
    insert_head(from->out, start, 1, mp_pack_map, count);
    return 0;
}

static int pack_value(struct from_json *from, unsigned depth)
{
    char c = peek(from);
    if (builder_failed(from->out)) {
        return builder_status(from->out);
    }
    if (c != '[' && c != '{') {
        struct bytes raw;
        return pack_scalar(from, &raw);
    }
    if (depth == 0) {
        return STATUS_TOO_LARGE;
    }
    return c == '[' ? pack_array(from, depth - 1) : pack_object(from, depth - 1);
}

int mp_from_json(struct bytes json, struct buf *const *attachments, unsigned attachment_count,
    struct builder *out)
{
    struct bytes value;
    int status = json_scan_text(json, MP_DEPTH_MAX, &value, NULL);
    if (status < 0) {
        return status;
    }
    struct from_json from = {
        .at = value.at,
        .end = value.at + value.len,
        .attachments = attachments,
        .attachment_count = attachment_count,
        .out = out,
    };
    status = pack_value(&from, MP_DEPTH_MAX);
    return status == 0 ? builder_status(out) : status;
}

int mp_from_json_elements(struct bytes elements, struct buf *const *attachments,
    unsigned attachment_count, struct builder *out)
{
    struct from_json from = {
        .at = elements.at,
        .end = elements.at + elements.len,
        .attachments = attachments,
        .attachment_count = attachment_count,
        .out = out,
    };
    int count = 0;
    while (peek(&from) != 0) {
        if (count > 0 && *from.at++ != ',') {
            return STATUS_INVALID;
        }
        int status = pack_value(&from, MP_DEPTH_MAX);
        if (status < 0) {
            return status;
        }
        count++;
    }
    return builder_failed(out) ? builder_status(out) : count;
}
