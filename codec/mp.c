/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mp - MessagePack by walking (https://msgpack.org, format specification of 2013).
 *
 * The order: reading, checking, packing (msgpack-c writes the bytes). To and from JSON: mp_json.c.
 */
#include "codec/mp.h"

#include <msgpack/pack.h>

#include "codec/base/status.h"
#include "codec/utf8.h"

static uint64_t big_endian(const uint8_t *at, size_t len)
{
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

/* Take `len` bytes as the payload of `value`. */
static int take(struct bytes *rest, uint64_t len, struct mp_value *value)
{
    if (len > rest->len) {
        return STATUS_INVALID;
    }
    value->bytes = bytes_of(rest->at, (size_t)len);
    *rest = bytes_skip(*rest, (size_t)len);
    return 0;
}

/* Take a big-endian number of `width` bytes. */
static int take_number(struct bytes *rest, size_t width, uint64_t *ret_number)
{
    if (width > rest->len) {
        return STATUS_INVALID;
    }
    *ret_number = big_endian((const uint8_t *)rest->at, width);
    *rest = bytes_skip(*rest, width);
    return 0;
}

/* Every element takes at least one byte, so a larger count is a lie. */
static int count_items(struct bytes rest, uint64_t count, struct mp_value *value)
{
    uint64_t least = value->type == MP_MAP ? count * 2 : count;
    if (least > rest.len) {
        return STATUS_INVALID;
    }
    value->count = (uint32_t)count;
    return 0;
}

static void set_signed(struct mp_value *value, int64_t number)
{
    if (number >= 0) {
        value->type = MP_UINT;
        value->number.u = (uint64_t)number;
    } else {
        value->type = MP_INT;
        value->number.i = number;
    }
}

/* uint 8 to 64 (0xcc–0xcf) and int 8 to 64 (0xd0–0xd3). */
static int next_integer(struct bytes *rest, uint8_t head, struct mp_value *value)
{
    size_t width = (size_t)1 << (head & 3);
    uint64_t number;
    int status = take_number(rest, width, &number);
    if (status < 0) {
        return status;
    }
    if (head < 0xd0) {
        value->type = MP_UINT;
        value->number.u = number;
        return 0;
    }
    unsigned unused = 64 - 8 * (unsigned)width;
    set_signed(value, (int64_t)(number << unused) >> unused);
    return 0;
}

/* float 32 (0xca) and float 64 (0xcb). */
static int next_float(struct bytes *rest, uint8_t head, struct mp_value *value)
{
    uint64_t bits;
    int status = take_number(rest, head == 0xca ? 4 : 8, &bits);
    if (status < 0) {
        return status;
    }
    value->type = MP_FLOAT;
    if (head == 0xca) {
        uint32_t bits32 = (uint32_t)bits;
        float narrow;
        memcpy(&narrow, &bits32, sizeof(narrow));
        value->number.f = (double)narrow;
    } else {
        memcpy(&value->number.f, &bits, sizeof(bits));
    }
    return 0;
}

/* ext 8 to 32 (0xc7–0xc9), fixext 1 to 16 (0xd4–0xd8). */
static int next_ext(struct bytes *rest, uint8_t head, struct mp_value *value)
{
    uint64_t len = 0;
    if (head >= 0xd4) {
        len = UINT64_C(1) << (head - 0xd4);
    } else {
        int status = take_number(rest, (size_t)1 << (head - 0xc7), &len);
        if (status < 0) {
            return status;
        }
    }
    uint64_t type;
    int status = take_number(rest, 1, &type);
    if (status < 0) {
        return status;
    }
    value->type = MP_EXT;
    value->ext = (int8_t)type;
    return take(rest, len, value);
}

/* str 8 to 32 (0xd9–0xdb), bin 8 to 32 (0xc4–0xc6): a length, then the bytes. */
static int next_sized(struct bytes *rest, enum mp_type type, unsigned power, struct mp_value *value)
{
    uint64_t len;
    int status = take_number(rest, (size_t)1 << power, &len);
    if (status < 0) {
        return status;
    }
    value->type = type;
    return take(rest, len, value);
}

/* array 16, 32 (0xdc, 0xdd), map 16, 32 (0xde, 0xdf). */
static int next_container(struct bytes *rest, uint8_t head, struct mp_value *value)
{
    uint64_t count;
    int status = take_number(rest, head & 1 ? 4 : 2, &count);
    if (status < 0) {
        return status;
    }
    value->type = head < 0xde ? MP_ARRAY : MP_MAP;
    return count_items(*rest, count, value);
}

/* Heads whose first byte holds the value or the length. */
static int next_fix(struct bytes *rest, uint8_t head, struct mp_value *value)
{
    if (head < 0x80) {
        value->type = MP_UINT;
        value->number.u = head;
        return 0;
    }
    if (head >= 0xe0) {
        value->type = MP_INT;
        value->number.i = (int8_t)head;
        return 0;
    }
    if (head >= 0xa0) {
        value->type = MP_STR;
        return take(rest, head & 0x1f, value);
    }
    value->type = head < 0x90 ? MP_MAP : MP_ARRAY;
    return count_items(*rest, head & 0x0f, value);
}

static int next_headed(struct bytes *rest, uint8_t head, struct mp_value *value)
{
    switch (head) {
    case 0xc0:
        value->type = MP_NIL;
        return 0;
    case 0xc2:
    case 0xc3:
        value->type = MP_BOOL;
        value->boolean = head == 0xc3;
        return 0;
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return next_sized(rest, MP_BIN, head - 0xc4, value);
    case 0xca:
    case 0xcb:
        return next_float(rest, head, value);
    case 0xd9:
    case 0xda:
    case 0xdb:
        return next_sized(rest, MP_STR, head - 0xd9, value);
    case 0xdc:
    case 0xdd:
    case 0xde:
    case 0xdf:
        return next_container(rest, head, value);
    case 0xc1:
        return STATUS_INVALID;
    default:
        return head >= 0xcc && head <= 0xd3 ? next_integer(rest, head, value)
                                            : next_ext(rest, head, value);
    }
}

int mp_next(struct mp_reader *reader, struct mp_value *ret_value)
{
    struct bytes rest = reader->rest;
    if (rest.len == 0) {
        return STATUS_INVALID;
    }
    uint8_t head = (uint8_t)rest.at[0];
    rest = bytes_skip(rest, 1);
    struct mp_value value = {0};
    bool fix = head < 0xc0 || head >= 0xe0;
    int status = fix ? next_fix(&rest, head, &value) : next_headed(&rest, head, &value);
    if (status < 0) {
        return status;
    }
    reader->rest = rest;
    *ret_value = value;
    return 0;
}

/* A walk over one whole value with the counts of the containers it is inside of. */
struct walk {
    unsigned depth;
    unsigned max_depth;
    struct {
        uint64_t left; /* values still to come */
        bool map;
    } open[MP_DEPTH_MAX];
};

/* Note that `value` was read: open a container, close those that are complete. */
static int walk_step(struct walk *walk, const struct mp_value *value)
{
    if (walk->depth > 0) {
        walk->open[walk->depth - 1].left--;
    }
    if (value->type == MP_ARRAY || value->type == MP_MAP) {
        if (walk->depth >= walk->max_depth) {
            return STATUS_TOO_LARGE;
        }
        walk->open[walk->depth].map = value->type == MP_MAP;
        walk->open[walk->depth].left = (uint64_t)value->count << walk->open[walk->depth].map;
        walk->depth++;
    }
    return 0;
}

static void walk_close(struct walk *walk)
{
    while (walk->depth > 0 && walk->open[walk->depth - 1].left == 0) {
        walk->depth--;
    }
}

static unsigned depth_limit(unsigned max_depth)
{
    return max_depth < MP_DEPTH_MAX ? max_depth : MP_DEPTH_MAX;
}

int mp_skip(struct mp_reader *reader, unsigned max_depth)
{
    struct walk walk = {.max_depth = depth_limit(max_depth)};
    struct mp_reader inner = *reader;
    do {
        struct mp_value value;
        int status = mp_next(&inner, &value);
        if (status == 0) {
            status = walk_step(&walk, &value);
        }
        if (status < 0) {
            return status;
        }
        walk_close(&walk);
    } while (walk.depth > 0);
    *reader = inner;
    return 0;
}

int mp_slice(struct mp_reader *reader, unsigned max_depth, struct bytes *ret_value)
{
    const char *start = reader->rest.at;
    int status = mp_skip(reader, max_depth);
    if (status == 0) {
        *ret_value = bytes_of(start, (size_t)(reader->rest.at - start));
    }
    return status;
}

static int next_of(struct mp_reader *reader, enum mp_type type, struct mp_value *ret_value)
{
    struct mp_reader inner = *reader;
    int status = mp_next(&inner, ret_value);
    if (status < 0 || ret_value->type != type) {
        return STATUS_INVALID;
    }
    *reader = inner;
    return 0;
}

int mp_array(struct mp_reader *reader, uint32_t *ret_count)
{
    struct mp_value value;
    int status = next_of(reader, MP_ARRAY, &value);
    if (status == 0) {
        *ret_count = value.count;
    }
    return status;
}

int mp_map(struct mp_reader *reader, uint32_t *ret_pairs)
{
    struct mp_value value;
    int status = next_of(reader, MP_MAP, &value);
    if (status == 0) {
        *ret_pairs = value.count;
    }
    return status;
}

int mp_str(struct mp_reader *reader, struct bytes *ret_str)
{
    struct mp_value value;
    int status = next_of(reader, MP_STR, &value);
    if (status == 0) {
        *ret_str = value.bytes;
    }
    return status;
}

int mp_bin(struct mp_reader *reader, struct bytes *ret_bin)
{
    struct mp_value value;
    int status = next_of(reader, MP_BIN, &value);
    if (status == 0) {
        *ret_bin = value.bytes;
    }
    return status;
}

int mp_u64(struct mp_reader *reader, uint64_t *ret_value)
{
    struct mp_value value;
    int status = next_of(reader, MP_UINT, &value);
    if (status == 0) {
        *ret_value = value.number.u;
    }
    return status;
}

/* Whether the next value is the key of a map. */
static bool at_key(const struct walk *walk)
{
    return walk->depth > 0 && walk->open[walk->depth - 1].map &&
           walk->open[walk->depth - 1].left % 2 == 0;
}

static int check_value(const struct mp_value *value, bool key)
{
    if (value->type == MP_STR && !utf8_valid(value->bytes)) {
        return STATUS_UTF8;
    }
    bool scalar = value->type != MP_ARRAY && value->type != MP_MAP && value->type != MP_EXT;
    return key && !scalar ? STATUS_INVALID : 0;
}

int mp_check(struct bytes data, unsigned max_depth, struct mp_summary *ret_summary)
{
    struct walk walk = {.max_depth = depth_limit(max_depth)};
    struct mp_reader reader = {.rest = data};
    struct mp_summary summary = {0};
    do {
        bool key = at_key(&walk);
        struct mp_value value;
        int status = mp_next(&reader, &value);
        status = status < 0 ? status : check_value(&value, key);
        status = status < 0 ? status : walk_step(&walk, &value);
        if (status < 0) {
            return status;
        }
        /* The bin of a key becomes text, not an attachment. */
        summary.bins += value.type == MP_BIN && !key;
        summary.depth = walk.depth > summary.depth ? walk.depth : summary.depth;
        walk_close(&walk);
    } while (walk.depth > 0);
    if (reader.rest.len > 0) {
        return STATUS_INVALID;
    }
    if (ret_summary != NULL) {
        *ret_summary = summary;
    }
    return 0;
}

static int pack_write(void *data, const char *at, size_t len)
{
    struct builder *out = data;
    builder_add(out, bytes_of(at, len));
    return 0;
}

static msgpack_packer packer(struct builder *out)
{
    return (msgpack_packer){.data = out, .callback = pack_write};
}

void mp_pack_nil(struct builder *out)
{
    msgpack_packer pk = packer(out);
    msgpack_pack_nil(&pk);
}

void mp_pack_bool(struct builder *out, bool value)
{
    msgpack_packer pk = packer(out);
    (void)(value ? msgpack_pack_true(&pk) : msgpack_pack_false(&pk));
}

void mp_pack_u64(struct builder *out, uint64_t value)
{
    msgpack_packer pk = packer(out);
    msgpack_pack_uint64(&pk, value);
}

void mp_pack_i64(struct builder *out, int64_t value)
{
    msgpack_packer pk = packer(out);
    msgpack_pack_int64(&pk, value);
}

void mp_pack_float(struct builder *out, double value)
{
    msgpack_packer pk = packer(out);
    msgpack_pack_double(&pk, value);
}

void mp_pack_str(struct builder *out, struct bytes str)
{
    msgpack_packer pk = packer(out);
    msgpack_pack_str(&pk, str.len);
    builder_add(out, str);
}

void mp_pack_str_head(struct builder *out, uint32_t len)
{
    msgpack_packer pk = packer(out);
    msgpack_pack_str(&pk, len);
}

void mp_pack_bin(struct builder *out, struct bytes bin)
{
    msgpack_packer pk = packer(out);
    msgpack_pack_bin(&pk, bin.len);
    builder_add(out, bin);
}

void mp_pack_array(struct builder *out, uint32_t count)
{
    msgpack_packer pk = packer(out);
    msgpack_pack_array(&pk, count);
}

void mp_pack_map(struct builder *out, uint32_t pairs)
{
    msgpack_packer pk = packer(out);
    msgpack_pack_map(&pk, pairs);
}
