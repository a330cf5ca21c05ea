/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mp - MessagePack: a guarded reader that never allocates, packing, and the way to JSON and back.
 *
 * Reading is by walking: a container's announced count is believed only as far as bytes are left
 * for it, so a five-byte bomb is refused at its head. Everything here is constant in stack.
 */
#ifndef CODEC_MP_H
#define CODEC_MP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/depth.h"

enum { MP_DEPTH_MAX = DEPTH_WIRE, MP_EXT_TIMESTAMP = -1 };

enum mp_type {
    MP_NIL,
    MP_BOOL,
    MP_UINT, /* not negative, in `number.u` */
    MP_INT, /* negative, in `number.i` */
    MP_FLOAT,
    MP_STR, /* in `bytes`; not checked for UTF-8 */
    MP_BIN,
    MP_EXT, /* in `bytes`, its type in `ext` */
    MP_ARRAY, /* `count` values follow */
    MP_MAP, /* `count` pairs follow */
};

/* One value, or the head of a container. `bytes` points into what is read. */
struct mp_value {
    enum mp_type type;
    int8_t ext;
    bool boolean;
    uint32_t count;
    union {
        uint64_t u;
        int64_t i;
        double f;
    } number;
    struct bytes bytes;
};

/* What is left to read; `{.rest = data}` begins. */
struct mp_reader {
    struct bytes rest;
};

/*
 * Read the next value or container head. STATUS_INVALID when the bytes end inside it, a count
 * cannot fit in what is left, or the type byte is reserved (0xc1); the reader then stays.
 */
MUST_CHECK int mp_next(struct mp_reader *reader, struct mp_value *ret_value);

/* Step over one whole value, nesting at most `max_depth` containers (at most MP_DEPTH_MAX). */
MUST_CHECK int mp_skip(struct mp_reader *reader, unsigned max_depth);

/* Like mp_skip, giving the bytes of the value. */
MUST_CHECK int mp_slice(struct mp_reader *reader, unsigned max_depth, struct bytes *ret_value);

/*
 * Read a container head of the given type and nothing else; STATUS_INVALID for another type.
 */
MUST_CHECK int mp_array(struct mp_reader *reader, uint32_t *ret_count);
MUST_CHECK int mp_map(struct mp_reader *reader, uint32_t *ret_pairs);

/* Read one value of a given kind; STATUS_INVALID for another (mp_str takes no bin). */
MUST_CHECK int mp_str(struct mp_reader *reader, struct bytes *ret_str);
MUST_CHECK int mp_bin(struct mp_reader *reader, struct bytes *ret_bin);
MUST_CHECK int mp_u64(struct mp_reader *reader, uint64_t *ret_value);

/* What mp_check found. */
struct mp_summary {
    uint32_t bins; /* values of type bin */
    uint32_t depth; /* deepest nesting of containers */
};

/*
 * Check that `data` is exactly one well-formed value, all of its strings UTF-8 and its map keys
 * scalars. STATUS_INVALID, STATUS_UTF8; STATUS_TOO_LARGE when nested deeper than `max_depth`.
 * `ret_summary` may be NULL.
 */
MUST_CHECK int mp_check(struct bytes data, unsigned max_depth, struct mp_summary *ret_summary);

/* Append one value in its shortest form. Failure is the builder's (builder_failed). */
void mp_pack_nil(struct builder *out);
void mp_pack_bool(struct builder *out, bool value);
void mp_pack_u64(struct builder *out, uint64_t value);
void mp_pack_i64(struct builder *out, int64_t value);
void mp_pack_float(struct builder *out, double value);
void mp_pack_str(struct builder *out, struct bytes str);
void mp_pack_bin(struct builder *out, struct bytes bin);

/* Append the head of a string; `len` bytes of it follow. */
void mp_pack_str_head(struct builder *out, uint32_t len);

/* Append a container's head; `count` values, or pairs, follow. */
void mp_pack_array(struct builder *out, uint32_t count);
void mp_pack_map(struct builder *out, uint32_t pairs);

/*
 * The instant that an ext stands for, in milliseconds: a timestamp (ext -1), or ext 0 of eight
 * bytes; false for another ext.
 */
bool mp_instant(const struct mp_value *ext, int64_t *ret_ms);

/* Where mp_to_json puts the bins it leaves placeholders for. */
struct mp_bins {
    struct bytes *at; /* room for `max` */
    uint32_t max;
    uint32_t count;
};

/*
 * Append one value that mp_check accepted as compact JSON text.
 *
 * bin becomes a Socket.IO placeholder and a slice in `bins` (depth-first order), or base64 text
 * where `bins` is NULL. Timestamps (ext -1, and ext 0 of eight bytes: milliseconds) become ISO 8601
 * text, other ext null. NaN and infinities become null, integers keep all digits. Keys that are
 * no strings become their text. STATUS_TOO_LARGE when bins or the builder overflow,
 * STATUS_INVALID and STATUS_UTF8 for what mp_check would have refused.
 */
MUST_CHECK int mp_to_json(struct bytes value, struct mp_bins *bins, struct builder *out);

/* The same for `count` values one after the other, with commas between (`a,b`). */
MUST_CHECK int mp_to_json_elements(
    struct bytes values, uint32_t count, struct mp_bins *bins, struct builder *out);

/*
 * Append one JSON value (strict; depth at most MP_DEPTH_MAX) as MessagePack. Integers that fit in
 * 64 bits stay integers, other numbers become float64. With `attachment_count` > 0 an object whose
 * `_placeholder` is true becomes the bin number `num`. STATUS_INVALID, STATUS_UTF8,
 * STATUS_TOO_LARGE (depth or builder).
 */
MUST_CHECK int mp_from_json(struct bytes json, struct buf *const *attachments,
    unsigned attachment_count, struct builder *out);

/*
 * Append the elements of a JSON array that was checked (`a,b`, as an event holds them) as
 * MessagePack values. Returns their count, or a status as above.
 */
MUST_CHECK int mp_from_json_elements(struct bytes elements, struct buf *const *attachments,
    unsigned attachment_count, struct builder *out);

#endif
