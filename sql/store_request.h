/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_request - what a store is asked and answers. How requests live is said in store.h.
 */
#ifndef SQL_STORE_REQUEST_H
#define SQL_STORE_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/list.h"
#include "codec/notification_mark.h"
#include "sql/store_types.h"

struct store_port;
struct store_request;

enum store_op {
    STORE_PUT,
    STORE_MARK,
    STORE_EDIT, /* store_edit.h */
    STORE_DUE, /* these: store_schedule.h */
    STORE_RESCHEDULE,
    STORE_LIST,
    STORE_PAGE,
    STORE_TEXTS,
    STORE_ROWS,
    STORE_PICK,
    STORE_COUNTS,
    STORE_SYNC,
    STORE_GET,
    STORE_POSITIONS,
    STORE_CHANGED,
    STORE_PREFERENCE_READ,
    STORE_PREFERENCE_WRITE,
    STORE_CLAIM,
    STORE_SWEEP,
    STORE_FORGET, /* store_forget.h */
    STORE_WITNESS_RAISE,
    STORE_WITNESS_READ,
    STORE_EPOCH,
    STORE_NOTE,
    STORE_PING,
    STORE_SUMMARY, /* these: store_summary.h */
    STORE_SUMMARY_SWEEP,
    STORE_RETAIN, /* store_retention.h */
    STORE_HISTORY_ADD, /* these: store_history.h */
    STORE_HISTORY_SWEEP,
    STORE_HISTORY_LIST,
    STORE_JOB_ADD, /* these: store_job.h */
    STORE_JOB_LEASE,
    STORE_JOB_STEP,
    STORE_JOB_PAUSE,
    STORE_JOB_SWEEP,
    STORE_JOB_GET,
    STORE_JOB_LIST,
    STORE_QUEUES,
    STORE_DEVICE_PUT, /* these: store_device.h */
    STORE_DEVICE_STATE,
    STORE_DEVICE_REMOVE,
    STORE_DEVICE_LIST,
    STORE_PUSH_ARRANGE, /* these: store_push.h */
    STORE_PUSH_NOTE,
    STORE_PUSH_RECEIVED,
    STORE_PUSH_LOOK,
    STORE_AUDIENCE_POST, /* these: store_audience.h */
    STORE_AUDIENCE_SWEEP,
    STORE_POSTED,
    STORE_RETRACT,
    STORE_REVISE,
    STORE_SUBSCRIBE,
    STORE_SUBSCRIBERS,
    STORE_TOPICS,
    STORE_OP_COUNT,
};

typedef void (*store_done_fn)(struct store_request *request);

struct store_request {
    enum store_op op;
    store_done_fn done;
    /*
     * Out: 0; STATUS_UNAVAILABLE (nothing was stored: try again); STATUS_UNKNOWN (it was sent, and
     * nobody knows: try again with the same keys); STATUS_TIMEOUT (nothing was stored: another
     * transaction's lock was waited for in vain, or the statement took too long); STATUS_FENCED
     * (another owner has the partition: nothing was stored); STATUS_NOT_FOUND; STATUS_INVALID (the
     * database refused a value: the request alone is at fault).
     */
    int status;
    /* private */
    struct list link; /* a queue of the engine */
    struct store_port *port;
    void *result;
    uint64_t started_ns;
    uint32_t *lacking; /* users of the request who lack rows of posts to many: indices */
    size_t lacking_count; /* these are made first */
};

/* Store rows, all or none, those of a user in the order given; at most STORE_PAGE_MAX rows. */
struct store_put {
    struct store_request base;
    struct store_row *rows;
    size_t count;
    /*
     * With `fenced`: advance partition's position to `last_id` in the same transaction, and store
     * nothing (STATUS_FENCED) unless `token` is still the partition's. `count` may then be 0. What
     * the position says is the caller's; an empty one leaves it as it is.
     */
    bool fenced;
    uint32_t partition;
    uint64_t token;
    struct bytes last_id;
};

/*
 * Carry out a verb on some of a user's notifications: those of its `states` that are meant. Rows
 * that were deleted leave a tombstone. With ids, one rev is used for all that change, none if none
 * does.
 *
 * A bulk mark is done in steps of STORE_MARK_STEP rows at most, each a transaction with a rev of
 * its own, between which others are served. It is for what was there when it began: what has come,
 * or was changed by others, since its first step stays as it is. Other marks, edits and erasures of
 * the same user wait for it in the port; who is behind by one of more than STORE_MARK_TOLD_MAX rows
 * is told to list again. STATUS_UNKNOWN: some steps may have been done, the others are not.
 */
struct store_mark {
    struct store_request base;
    struct store_user who;
    enum notification_verb verb;
    uint32_t states; /* set of 1u << enum notification_state: notification_mark_states, or more */
    const uint8_t (
        *ids)[NOTIFICATION_ID_LEN]; /* these ids; ids of other users or unknown are ignored */
    size_t id_count;
    uint64_t up_to; /* or: every one with seq <= up_to (UINT64_MAX: all) */
    struct bytes type; /* and only of this type; empty: any */
    uint64_t if_rev; /* rows with a higher rev stay (`late`); INT64_MAX: none does */
    uint32_t late_states; /* with ids: of which rows in these too are told: as `states` */
    uint64_t at;
    uint64_t until; /* NOTIFICATION_MARK_SNOOZE */
    /* After each step but the last one, with its outputs; on the port's thread. NULL: nobody asks.
     */
    void (*stepped)(struct store_mark *mark);
    /* private: steps.c */
    struct store_mark_step {
        struct list link; /* those under way in a port */
        uint64_t above; /* rows up to it have been looked at */
        uint64_t up_to;
        uint64_t if_rev;
        bool floors; /* whoever is below its rev is to list again */
        bool begins; /* the next step says for what the mark is */
        bool others; /* the inbox was changed between steps, not only by new rows */
        bool went_on; /* it is not the first one */
        uint64_t total;
        struct store_position position; /* after the step before */
        struct notification_change *late; /* of all steps, where the caller gave if_rev */
        size_t late_count;
    } step;
    /* out, of the last step */
    struct store_position position; /* after the change */
    bool changed; /* false: nothing changed and no rev was used */
    bool prefix; /* bulk: "all up to `through`" says what this step and those before have changed */
    uint64_t through; /* bulk: rows up to it were looked at */
    uint64_t total; /* rows that all steps so far have changed */
    struct notification_change *changes; /* all that changed, all with the same rev */
    size_t change_count;
    /* What if_rev kept: id and seq; of a bulk mark of all steps, at most STORE_REV_MAX. */
    struct notification_change *late;
    size_t late_count;
};

/* Everything that changed above `rev`, oldest change first, at most `limit` changes. */
struct store_sync {
    struct store_request base;
    struct store_user who;
    uint64_t rev;
    uint32_t limit; /* 1 to STORE_PAGE_MAX */
    uint32_t max_bytes; /* of texts and data: a page ends before the rev with which there are more,
                           unless that is the first; 0: any number */
    /* out */
    struct notification_item
        *items; /* notifications whose last change is above `rev`, and that are new to it */
    size_t item_count;
    struct notification_change
        *changes; /* states of those the client already has, and rows that went */
    size_t change_count;
    uint64_t through_rev; /* everything up to here is in the answer: ask again from it */
    struct store_position position;
    bool done; /* nothing is left above through_rev */
    bool resync; /* `rev` is above the head, or older than the oldest tombstone; or the next rev has
                    more than STORE_REV_MAX entries: a list is smaller */
};

/* One notification by id. STATUS_NOT_FOUND when there is none in `tenant`. */
struct store_get {
    struct store_request base;
    struct store_user who; /* whose row it is said to be; without a user: anybody's of the tenant */
    uint8_t id[NOTIFICATION_ID_LEN];
    struct notification_item item; /* out */
};

/*
 * Where many inboxes stand: one query. What connections that read are told may be late, where they
 * lead to a standby; `current` asks the one that writes, whose server has all that was committed.
 */
struct store_positions {
    struct store_request base;
    const struct store_user *users;
    size_t count; /* at most STORE_PAGE_MAX */
    bool current;
    bool begin; /* make the inboxes that are missing: their users have come (store_audience.h) */
    struct store_position *positions; /* out: by index */
};

/*
 * Whose inboxes have changed since an earlier answer: each `next` is the `since` of the next
 * request. What is told overlaps, so that no change is missed: one that was not committed yet when
 * `next` was read is told then, however long its transaction was open. Times are the database's.
 */
struct store_changed {
    struct store_request base;
    uint64_t since; /* in STORE_CHANGED_UNIT_MS since 1970; 0: only tell `next` */
    uint32_t limit; /* 1 to STORE_CHANGED_MAX */
    /* out */
    struct store_moved {
        struct store_user who;
        struct store_position position;
    } * users;
    size_t user_count;
    uint64_t next; /* below `since` when the database's clock was set back */
    bool more; /* than `limit` have changed: the rest is not told */
};

/*
 * Become the owner of a partition: raises its token, so that whatever the previous owner sends
 * later is fenced, and remembers `owner`. A transaction it has begun is waited for, or its session
 * ended where it waits for its client.
 */
struct store_claim {
    struct store_request base;
    uint32_t partition;
    struct bytes owner;
    /* out */
    uint64_t token;
    struct bytes last_id; /* empty: never read */
};

/*
 * Expire what is due, make new again what was snoozed until now, and drop tombstones that were kept
 * for long enough, at most `limit` rows of each. Inboxes that others have locked are left for the
 * next time.
 */
struct store_sweep {
    struct store_request base;
    uint64_t now;
    uint32_t limit;
    uint64_t tombstone_ms; /* how long tombstones are kept */
    /* out: one per user and kind of change; of one user in the order of their revs */
    struct store_swept {
        struct store_user who;
        struct store_position position;
        bool news; /* rows are unread again, or have other content; else they are gone */
        bool renewed; /* with `news`: they have other content */
        struct notification_change *changes;
        size_t change_count;
    } * users;
    size_t user_count;
    bool more;
    /* For how long the first of what was due had been; of STORE_AUDIENCE_SWEEP, how long the first
     * of what was taken back or changed has waited for transactions of others; 0: nothing was. */
    uint64_t late_ms;
};

/*
 * Raise (STORE_WITNESS_RAISE) or read (STORE_WITNESS_READ) a node's own row. Raising is a
 * transaction of its own that waits for no other row: that it is answered proves that the store can
 * be written. `number` only grows; one below a number that was answered before proves that the
 * store has gone back to an earlier state. Two raises of one node do not wait for each other unless
 * both are under way.
 */
struct store_witness {
    struct store_request base;
    struct bytes node; /* whose row: any name, 1 to 255 bytes */
    uint64_t number; /* out: after the raise; read: 0 where there is no row */
};

/*
 * The store's epoch as it is now. With `from`, a new one takes its place first, unless another
 * already has: of several nodes that find the store gone back, one makes the new epoch and all are
 * told the same.
 */
struct store_renewal {
    struct store_request base; /* STORE_EPOCH */
    struct bytes from; /* STORE_EPOCH_LEN bytes; empty: only read */
    char epoch[STORE_EPOCH_LEN + 1]; /* out */
    char fresh[STORE_EPOCH_LEN + 1]; /* private */
};

#endif
