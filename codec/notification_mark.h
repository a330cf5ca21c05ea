/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notification_mark - what a user may do to notifications that are there: the verbs, what they
 * change, and how callers name the rows.
 *
 * A row's state follows from its times: snoozed until one, else archived, read, seen, unread.
 */
#ifndef CODEC_NOTIFICATION_MARK_H
#define CODEC_NOTIFICATION_MARK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/notification_item.h"

enum { NOTIFICATION_MARK_IDS_MAX = 1000, NOTIFICATION_MARK_TYPE_MAX = 256 };

/* In statements as numbers (sql/pg.def): the order stays. */
enum notification_verb {
    NOTIFICATION_MARK_SEEN, /* no way back */
    NOTIFICATION_MARK_READ, /* counts as seen too */
    NOTIFICATION_MARK_UNREAD, /* back to seen */
    NOTIFICATION_MARK_ARCHIVE, /* out of the list */
    NOTIFICATION_MARK_UNARCHIVE, /* back as it was */
    NOTIFICATION_MARK_SNOOZE, /* out of list and counters until a time; also another time */
    NOTIFICATION_MARK_WAKE, /* ends that: new again */
    NOTIFICATION_MARK_DELETE,
    NOTIFICATION_VERB_COUNT,
};

#define NOTIFICATION_OPEN_STATES (1u << NOTIFICATION_UNREAD | 1u << NOTIFICATION_SEEN)
#define NOTIFICATION_LISTED_STATES (NOTIFICATION_OPEN_STATES | 1u << NOTIFICATION_READ)
#define NOTIFICATION_ALL_STATES                                                                    \
    (NOTIFICATION_LISTED_STATES | 1u << NOTIFICATION_ARCHIVED | 1u << NOTIFICATION_SNOOZED)

/*
 * The states that a verb changes, as a set of 1u << enum notification_state: of rows that are named
 * one by one, or (`bulk`) of all there are, which leaves alone what is not in the list.
 */
uint32_t notification_mark_states(enum notification_verb verb, bool bulk);

/*
 * The states in which a row that is named, and has changed since ifRev, tells that the verb is
 * lost: those above, and those from which it would not come to what was meant. What is read already
 * has not lost a read; nor has what is archived, which is no longer unread.
 */
uint32_t notification_mark_late_states(enum notification_verb verb);

/*
 * Whether "every one up to a seq" says what a bulk call has changed: those states come from no
 * other verb. Else the ids must be told.
 */
bool notification_mark_tells_up_to(enum notification_verb verb);

/* Change an item, whose state is one of those above, at the time `at`. Revs are the caller's. */
void notification_mark_apply(
    struct notification_item *item, enum notification_verb verb, uint64_t at, uint64_t until);

/* What a caller wants marked. */
struct notification_marking {
    enum notification_verb verb;
    uint8_t (*ids)[NOTIFICATION_ID_LEN]; /* NULL: a bulk call */
    size_t id_count;
    uint64_t up_to; /* bulk: UINT64_MAX for all */
    uint64_t if_rev; /* only rows that have not changed since; INT64_MAX: all */
    uint64_t until; /* NOTIFICATION_MARK_SNOOZE: epoch ms */
    size_t type_len;
    char type[NOTIFICATION_MARK_TYPE_MAX]; /* bulk: only this type; empty: any */
};

/* What is wrong with one. */
struct notification_marking_fault {
    char field[64 + 1]; /* empty: the argument as a whole */
    const char *message; /* what is allowed; static */
};

/*
 * Read an id, [ids], {ids}, {id}, {upTo} or {all: true, type?}, with `ifRev`, and `until` where
 * `verb` is NOTIFICATION_MARK_SNOOZE (null: the verb becomes WAKE). `argument` is one JSON value.
 * With `all` the verb is for every row: only `type` and `ifRev` may be said, or nothing (an empty
 * slice, null, {}). `now` is epoch ms; `until` lies ahead of it by at most 400 days.
 *
 * STATUS_INVALID; STATUS_NOT_FOUND (no member has that name); STATUS_TOO_LARGE (more than
 * NOTIFICATION_MARK_IDS_MAX ids); STATUS_NOMEM (for the ids; nothing is at fault). Finish with
 * notification_marking_finish after success.
 */
MUST_CHECK int notification_marking_parse(enum notification_verb verb, bool all,
    struct bytes argument, uint64_t now, struct notification_marking *ret_marking,
    struct notification_marking_fault *ret_fault);

void notification_marking_finish(struct notification_marking *marking);

/* What a marking has done. */
struct notification_marked {
    uint64_t rev;
    uint64_t unread;
    uint64_t unseen;
    bool bulk; /* `changed` is a number, not ids */
    const struct notification_change *changes;
    size_t change_count;
    const struct notification_change *late; /* rows that have changed since ifRev, and stay */
    size_t late_count;
};

/* The answer: {ok, rev, unread, unseen, changed, conflict?}. Failure is the builder's. */
void notification_json_marked(const struct notification_marked *marked, struct builder *out);

#endif
