/* SPDX-License-Identifier: Apache-2.0 */
/*
 * series_key - what tells one series of a tenant from the others: type, name, unit and tags.
 *
 * A key is a text without control characters but SERIES_KEY_GAP, which parts what it is made of:
 * the letter of the type and the name, the unit, and each tag as `name=value`, in the order of
 * their names.
 * Names are such as Prometheus takes: `.` and `-` become `_`, and the endings that the type gets in
 * /metrics are not part of them. All functions: any thread.
 */
#ifndef HUB_SERIES_SERIES_KEY_H
#define HUB_SERIES_SERIES_KEY_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

#define SERIES_KEY_GAP '\x1f'

enum series_type { SERIES_COUNTER, SERIES_GAUGE, SERIES_TIMER, SERIES_TYPE_COUNT };

enum {
    SERIES_NAME_MAX = 64,
    SERIES_UNIT_MAX = 16,
    SERIES_TAGS_MAX = 8,
    SERIES_TAG_MAX = 32,
    SERIES_VALUE_MAX = 128,
    SERIES_KEY_MAX = 2 + SERIES_NAME_MAX + SERIES_UNIT_MAX +
                     SERIES_TAGS_MAX * (SERIES_TAG_MAX + SERIES_VALUE_MAX + 2)
};

struct series_tag {
    struct bytes name;
    struct bytes value;
};

/* What a key is made of; slices are the caller's, or of the key. */
struct series_parts {
    enum series_type type;
    struct bytes name;
    struct bytes unit; /* empty: none; that of a timer is in its value */
    struct series_tag tags[SERIES_TAGS_MAX];
    unsigned tag_count;
};

/* A key with its bytes. */
struct series_key {
    size_t len;
    char at[SERIES_KEY_MAX];
};

/*
 * Make the key of `parts`, whose tags are sorted on the way. NULL, or a static sentence of what a
 * part must be, with the field of a post that is at fault in ret_field.
 */
MUST_CHECK const char *series_key_make(
    struct series_parts *parts, struct series_key *ret_key, const char **ret_field);

/* Take a key apart; STATUS_INVALID for what series_key_make has not made. */
MUST_CHECK int series_key_split(struct bytes key, struct series_parts *ret_parts);

/* The value of a tag; empty: there is none of that name. */
struct bytes series_parts_tag(const struct series_parts *parts, const char *name);

/* The word of a type, as posts have it, and back; STATUS_INVALID for none. */
const char *series_type_name(enum series_type type);
MUST_CHECK int series_type_read(struct bytes word, enum series_type *ret_type);

#endif
