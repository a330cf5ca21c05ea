/* SPDX-License-Identifier: Apache-2.0 */
/*
 * preferences - what users want of their notifications: when it is quiet, and what becomes of each
 * type.
 *
 * A user's own preferences, and the configuration's for everybody, are both a struct preferences.
 * Times are ms since 1970; one zone that is NULL is UTC.
 */
#ifndef CODEC_PREFERENCES_H
#define CODEC_PREFERENCES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct zone;

enum {
    PREFERENCES_TYPES_MAX = 100,
    PREFERENCES_NAME_MAX = 64, /* of a type, as in a post */
    PREFERENCES_BYTES_MAX = 65536, /* of the JSON text */
    PREFERENCES_DEPTH = 5,
    PREFERENCES_COUNT_MAX = 1000, /* of a limit */
    PREFERENCES_FIELD_MAX = 160,
};

/* Not said: what stands behind it holds, the configuration, then on. */
enum preferences_switch { PREFERENCES_UNSAID, PREFERENCES_OFF, PREFERENCES_ON };

/* What becomes of the notifications of a type. */
struct preferences_type {
    struct bytes name;
    uint8_t inbox; /* enum preferences_switch */
    uint8_t push; /* likewise */
    bool has_digest; /* said, also that there is none */
    bool has_limit; /* likewise */
    uint64_t digest_ms; /* 0: none */
    uint64_t limit_ms;
    uint32_t limit_count; /* 0: none */
};

struct preferences {
    struct bytes timezone; /* empty: not said */
    const struct zone *zone; /* that of its name */
    uint64_t mute_until; /* 0: not muted */
    bool has_quiet;
    uint16_t quiet_from; /* minutes since midnight, local time */
    uint16_t quiet_to;
    uint8_t quiet_days; /* on which it begins: bit 0 is Monday */
    size_t type_count;
    struct preferences_type types[]; /* behind them, the texts */
};

/* Where zones are known by name; UTC is, everywhere. */
struct preferences_zones {
    bool (*find)(void *context, struct bytes name, const struct zone **ret_zone);
    void *context;
};

/* What is wrong, and what is allowed there. */
struct preferences_fault {
    char field[PREFERENCES_FIELD_MAX + 1]; /* "types.comment.digest"; empty: all of it */
    const char *message; /* static */
};

/*
 * Make preferences from a JSON object. What else an answer has (`effective`, `rev`, `ok`) is passed
 * over. STATUS_INVALID, STATUS_TOO_LARGE (of PREFERENCES_BYTES_MAX), STATUS_NOMEM, each with what
 * is wrong.
 */
MUST_CHECK int preferences_parse(struct bytes json, const struct preferences_zones *zones,
    struct preferences **ret_preferences, struct preferences_fault *ret_fault);

/*
 * The same of what preferences_store wrote; a zone that is not known any more is none, and so are
 * all where `zones` is NULL.
 */
MUST_CHECK int preferences_load(struct bytes stored, const struct preferences_zones *zones,
    struct preferences **ret_preferences);

/* Free them; NULL is allowed. */
void preferences_destroy(struct preferences *preferences);

/* How much memory they take; 0 for NULL. */
size_t preferences_size(const struct preferences *preferences);

/* Write the text that a store keeps: durations in ms. */
void preferences_store(const struct preferences *preferences, struct builder *out);

/*
 * Write what a user is answered, the members of an object that is open: what `own` says, what holds
 * of each type that either of the two names (NULL: says nothing), and `rev`.
 */
void preferences_answer(const struct preferences *own, const struct preferences *defaults,
    uint64_t rev, struct builder *out);

/* What holds of a type: what is not said by `own` (NULL: nothing is) is what `defaults` say. */
void preferences_of_type(const struct preferences *own, const struct preferences *defaults,
    struct bytes type, struct preferences_type *ret_type);

/* Whether a user wants notifications of a type in the inbox: `usual` where `own` does not say. */
bool preferences_want(const struct preferences *own, struct bytes type, bool usual);

/* For how long after the first one a type's posts share its row, ms, 0: they do not; likewise. */
uint64_t preferences_digest(const struct preferences *own, struct bytes type, uint64_t usual);

/* Whether a user wants no sound at `now_ms`; clocks are those of `defaults` where none are said. */
bool preferences_are_quiet(
    const struct preferences *own, const struct preferences *defaults, uint64_t now_ms);

#endif
