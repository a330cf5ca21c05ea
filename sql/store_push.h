/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_push - what a store is asked about handing notifications over to devices. How requests live
 * is said in store.h.
 *
 * Nothing is written where a notification is stored. An inbox whose user has devices has a position
 * of its own, beside `rev`, up to which hand-offs were arranged: a job for each new row and device,
 * in the transaction that moves the position. Whoever arranges looks at the inboxes that have
 * changed, as store_changed does, so what was committed is arranged, whoever died meanwhile.
 *
 * What was sent is noted under the lock of that position, and so is what is arranged of rows that
 * were read since: of a row that is sent and read at the same time, either the note tells that it
 * was read, or a job clears it.
 */
#ifndef SQL_STORE_PUSH_H
#define SQL_STORE_PUSH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sql/store_device.h"
#include "sql/store_request.h"

/* Some stand in the statements as numbers. */
enum {
    STORE_PUSH_LOOK_MAX = 1000, /* inboxes that a step looks at */
    STORE_PUSH_USERS_MAX = 100, /* of these, arranged in a step */
    STORE_PUSH_ROWS_MAX = 100, /* new rows of a user in a step; of one rev all */
    STORE_PUSH_CLEAR_MAX = 50, /* rows that a job clears */
};
#define STORE_PUSH_KEEP_MS ((uint64_t)604800000) /* what became of hand-offs is kept so long */
#define STORE_PUSH_QUEUE "push" /* of jobs without tenant and user, who stand in the payload */

/* Where to go on among inboxes of users with devices; all 0: at the beginning. */
struct store_push_place {
    uint64_t changed_at; /* in STORE_CHANGED_UNIT_MS since 1970 */
    uint32_t slot;
    struct bytes tenant;
    struct bytes user;
};

/*
 * Arrange hand-offs: a step over the inboxes that have changed since `from`, or of `who` alone
 * where it names a user.
 */
struct store_push_arrange {
    struct store_request base; /* STORE_PUSH_ARRANGE */
    struct store_user who;
    struct store_push_place from;
    uint64_t after_ms; /* a job is due so long behind now */
    /* out */
    uint64_t jobs; /* that were made */
    uint64_t clears; /* and of those that clear, due at once */
    struct store_push_place next; /* where the next step goes on, with `more` */
    bool more;
    uint64_t held_at; /* changed_at of the first inbox that others had locked; 0: none */
    uint64_t begin; /* what a step from the beginning may take as `from.changed_at` later */
};

/* How the push of a row to a device stands. */
enum store_push_state {
    PUSH_STATE_NONE,
    PUSH_STATE_SHOWN, /* it was sent, and is to be cleared when the row is read */
    PUSH_STATE_FAILED,
    PUSH_STATE_CLEARED, /* the row was read since, and it is cleared, or about to be */
};

/*
 * STORE_PUSH_LOOK: all that is to be known of one row, and one device of its user. From
 * connections that read: what a standby does not know yet, STORE_PUSH_NOTE tells.
 */
struct store_push_look {
    struct store_request base;
    struct store_user who;
    uint8_t id[NOTIFICATION_ID_LEN]; /* of the row; none of the user's: has_row is false */
    uint8_t device_id[NOTIFICATION_ID_LEN];
    uint64_t recent_ms; /* `recent` is of so long; 0: nothing is counted */
    /* out */
    bool has_row;
    struct notification_item item;
    bool has_device;
    struct store_device device;
    struct store_position position;
    struct bytes preferences; /* what the user prefers; empty: says nothing */
    uint64_t received; /* the highest seq that a client of the user has */
    enum store_push_state state;
    uint64_t recent; /* pushes of the row's type to the device within recent_ms; to 1,000 */
    uint64_t now;
};

/* STORE_PUSH_NOTE: what became of a push. */
struct store_push_note {
    struct store_request base;
    struct store_user who;
    uint8_t id[NOTIFICATION_ID_LEN];
    uint8_t device_id[NOTIFICATION_ID_LEN];
    uint64_t rev; /* of the row, as it was sent */
    struct bytes type;
    bool failed;
    struct bytes error; /* where it failed */
    /* out */
    bool closed; /* it was sent, but the row was read or is gone meanwhile: clear it */
    uint64_t unread; /* as it is now */
};

/* STORE_PUSH_RECEIVED: a client of the user has all up to `seq`. */
struct store_push_received {
    struct store_request base;
    struct store_user who;
    uint64_t seq;
    bool known; /* out: false: the user has no device, nothing was kept */
};

#endif
