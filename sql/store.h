/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store - the durable truth: notifications, inboxes, keys, stream positions.
 *
 * One store per process, one port per shard. A request is a struct of the caller that begins with
 * `struct store_request base`; it is submitted on a shard's port and completes exactly once, by
 * its `done` on the same shard's thread, never before store_submit returned. Inputs are
 * borrowed until then; outputs are owned by the request and freed by store_request_finish.
 * Writes commit at once when the store is idle; what arrives while a commit is under way
 * joins the next one.
 *
 * Two engines implement it with the same results: Postgres (sql/pg*.c) and SQLite (sql/sqlite*.c).
 * `seq` numbers a user's notifications, `rev` every change of the inbox, both 1, 2, 3 … without
 * holes, assigned in the transaction that stores the change; `unread` changes in it too. All times
 * are wall clock milliseconds since 1970 UTC; 0 = not set.
 */
#ifndef SQL_STORE_H
#define SQL_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/base/list.h"

struct store;
struct store_port;
struct store_request;
struct uv_loop_s;

enum { STORE_ID_LEN = 16, STORE_HASH_LEN = 16, STORE_PAGE_MAX = 1000, STORE_EPOCH_LEN = 36 };
enum { STORE_IDENTITY_MAX = 95 };
enum { STORE_CHANGED_UNIT_MS = 10000, STORE_CHANGED_MAX = 100000 };
enum { STORE_REASON_MAX = 320 };

enum store_priority { PRIORITY_LOW, PRIORITY_MEDIUM, PRIORITY_HIGH, PRIORITY_URGENT };

enum store_state {
    STATE_UNREAD,
    STATE_SEEN,
    STATE_READ,
    STATE_ARCHIVED,
    STATE_EXPIRED,
    STATE_ERASED,
};

/* Whose inbox. `tenant` is empty where tenants are off. */
struct store_user {
    struct bytes tenant;
    struct bytes user;
};

/* Where an inbox stands; all 0 for a user who never had a notification. */
struct store_position {
    uint64_t seq;
    uint64_t rev;
    uint64_t unread;
};

/* A stored notification as read back. `data` is JSON text or empty; texts are UTF-8. */
struct store_item {
    uint8_t id[STORE_ID_LEN];
    struct store_user who;
    uint64_t seq;
    uint64_t rev; /* of its last change */
    struct bytes type;
    struct bytes title;
    struct bytes message;
    struct bytes data;
    enum store_priority priority;
    enum store_state state;
    uint64_t created_at;
    uint64_t expires_at;
    uint64_t read_at;
    uint64_t seen_at;
    uint64_t archived_at;
};

/* A change of state that a device away must learn; also what remains of a row that went. */
struct store_change {
    uint8_t id[STORE_ID_LEN];
    uint64_t seq;
    uint64_t rev;
    enum store_state state;
    uint64_t at;
};

enum store_outcome {
    OUTCOME_STORED,
    OUTCOME_DUPLICATE, /* same key and content were stored before: `id`, `seq` are the first one's
                        */
    OUTCOME_CONFLICT, /* same key, other content: `id`, `seq` are the first one's */
};

/* One notification to store. Everything is checked before: sizes, UTF-8, no NUL, JSON. */
struct store_row {
    struct store_user who;
    uint8_t key_hash[STORE_HASH_LEN]; /* of (tenant, user, key): unique for ever */
    uint8_t content_hash[STORE_HASH_LEN]; /* of what was posted */
    uint8_t id[STORE_ID_LEN]; /* proposed, of the user's slot; replaced by the first one's on a
                                 repeat */
    struct bytes type;
    struct bytes title;
    struct bytes message;
    struct bytes data;
    enum store_priority priority;
    uint64_t created_at;
    uint64_t expires_at;
    /* out */
    enum store_outcome outcome;
    uint64_t seq;
    uint64_t rev; /* STORED: the change that made it; else the row's present rev, 0 if it is gone */
    uint64_t unread; /* STORED: the user's unread count after this row */
};

enum store_op {
    STORE_PUT,
    STORE_MARK,
    STORE_LIST,
    STORE_SYNC,
    STORE_GET,
    STORE_POSITIONS,
    STORE_CHANGED,
    STORE_CLAIM,
    STORE_SWEEP,
    STORE_ERASE,
    STORE_WITNESS_RAISE,
    STORE_WITNESS_READ,
    STORE_EPOCH,
    STORE_PING,
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
};

/* Store rows, all or none, in the order given; at most STORE_PAGE_MAX rows. */
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

/* Change the state of some of a user's notifications; a row never goes back to a lower state. */
struct store_mark {
    struct store_request base;
    struct store_user who;
    enum store_state state; /* STATE_SEEN, STATE_READ or STATE_ARCHIVED */
    const uint8_t (*ids)[STORE_ID_LEN]; /* these ids; ids of other users or unknown are ignored */
    size_t id_count;
    uint64_t up_to; /* or: every one with seq <= up_to (UINT64_MAX: all) */
    uint64_t at;
    /* out */
    struct store_position position; /* after the change */
    bool changed; /* false: nothing changed and no rev was used */
    struct store_change *changes; /* those that changed, all with the same rev */
    size_t change_count; /* with up_to: also complete */
};

/* A page of an inbox, newest first. */
struct store_list {
    struct store_request base;
    struct store_user who;
    uint64_t before_seq; /* only seq below this; 0: from the newest */
    uint32_t limit; /* 1 to 100 */
    uint32_t states; /* set of 1u << enum store_state; 0: all that are not archived */
    struct bytes type; /* only this type; empty: all */
    /* out */
    struct store_item *items;
    size_t count;
    uint64_t next_seq; /* pass as before_seq for the next page; 0: there is none */
    struct store_position position;
};

/* Everything that changed above `rev`, oldest change first, at most `limit` changes. */
struct store_sync {
    struct store_request base;
    struct store_user who;
    uint64_t rev;
    uint32_t limit; /* 1 to STORE_PAGE_MAX */
    /* out */
    struct store_item
        *items; /* notifications whose last change is above `rev`, and that are new to it */
    size_t item_count;
    struct store_change *changes; /* states of those the client already has, and rows that went */
    size_t change_count;
    uint64_t through_rev; /* everything up to here is in the answer: ask again from it */
    struct store_position position;
    bool done; /* nothing is left above through_rev */
    bool resync; /* `rev` is above the head, or older than the oldest tombstone */
};

/* One notification by id. STATUS_NOT_FOUND when there is none in `tenant`. */
struct store_get {
    struct store_request base;
    struct bytes tenant;
    uint8_t id[STORE_ID_LEN];
    struct store_item item; /* out */
};

/* Where many inboxes stand: one query. */
struct store_positions {
    struct store_request base;
    const struct store_user *users;
    size_t count; /* at most STORE_PAGE_MAX */
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

/* Expire what is due and drop what is past retention, at most `limit` rows. */
struct store_sweep {
    struct store_request base;
    uint64_t now;
    uint32_t limit;
    uint64_t tombstone_ms; /* how long tombstones are kept */
    /* out: one per user whose inbox changed */
    struct store_swept {
        struct store_user who;
        struct store_position position;
        struct store_change *changes;
        size_t change_count;
    } * users;
    size_t user_count;
    bool more;
};

/* Erase ids of a user, or the whole inbox when id_count is 0; tombstones stay. Outputs as mark. */
struct store_erase {
    struct store_request base;
    struct store_user who;
    const uint8_t (*ids)[STORE_ID_LEN];
    size_t id_count;
    uint64_t at;
    /* out */
    struct store_position position;
    bool changed;
    struct store_change *changes;
    size_t change_count;
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

/* A setting that all nodes of a store must share. */
struct store_shared {
    const char *name; /* "bus.partitions" */
    uint32_t value;
};

/* What a store needs to open. */
struct store_config {
    struct bytes url; /* postgres://… or sqlite:PATH */
    unsigned port_count; /* shards */
    /*
     * Postgres connections of the process, `pool_min` at once and up to `pool_max` (at least 2)
     * when reads wait. They lie on the first ports, two at least each; the other ports pass their
     * requests on to these, by slot. What both ends may be is not checked against each other: a
     * port with connections has one to write and one to read.
     */
    uint32_t pool_min;
    uint32_t pool_max;
    uint32_t slow_ms; /* slow log threshold */
    /*
     * Kept by the store when it has none; with other values it does not open (STATUS_CONFLICT),
     * unless they are to replace what it has. Read by store_open only.
     */
    const struct store_shared *shared;
    size_t shared_count;
    bool replace_shared;
    /* Run `fn(arg, cancelled)` on the thread of shard `port`; any thread may call it. */
    void (*post)(void *context, unsigned port, void (*fn)(void *arg, bool cancelled), void *arg);
    void *post_context;
};

/* Timing of one named statement. Times in microseconds. */
struct store_statement_stats {
    const char *name;
    uint64_t count;
    uint64_t slow;
    uint64_t total_us;
    uint64_t min_us;
    uint64_t max_us;
    uint64_t p50_us;
    uint64_t p95_us;
    uint64_t p99_us;
};

/* One slow statement. */
struct store_slow {
    const char *name;
    uint64_t took_us;
    uint64_t at; /* wall clock ms */
};

/*
 * Open the store: connects, runs migrations under a lock, reads the epoch. Blocks (start-up only).
 * On failure returns a negative status and writes one line for the operator, which names what to
 * mend and holds no password, into `ret_error`.
 */
MUST_CHECK int store_open(const struct store_config *config, struct store **ret_store,
    char *ret_error, size_t error_size);

/*
 * Connect once to the Postgres at `url` and change nothing. Blocks, for 5 s at most for each of its
 * hosts. STATUS_UNAVAILABLE with one line for the operator in `ret_error`, without a password.
 */
MUST_CHECK int store_probe(struct bytes url, char *ret_error, size_t error_size);

/*
 * The epoch when the store was opened: travels with every position, since positions of two epochs
 * do not compare. NUL-terminated; lives with the store.
 */
const char *store_epoch(const struct store *store);

/*
 * Which store this is, whatever its epoch: Postgres' system identifier, a slash and the name of the
 * database; for SQLite (and where the role may not ask for the identifier) a random id that was
 * made with the tables. At most STORE_IDENTITY_MAX bytes of UTF-8 without blanks or control
 * characters. Two nodes of one bus whose stores differ in it must not both run. NUL-terminated;
 * lives with the store.
 */
const char *store_identity(const struct store *store);

/* How many connections the server takes from all programs together; 0: there is no such number. */
uint32_t store_connections(const struct store *store);

/* "postgres" or "sqlite". */
const char *store_engine(const struct store *store);

/* Replace the epoch (after a restore from a backup), if nobody has since it was opened. Blocks. */
MUST_CHECK int store_new_epoch(struct store *store);

/*
 * Attach port `index` to the loop of the calling shard thread; before its first request. Postgres
 * connects in the background; requests wait in a bounded queue meanwhile (then STATUS_UNAVAILABLE).
 */
MUST_CHECK int store_port_open(
    struct store *store, unsigned index, struct uv_loop_s *loop, struct store_port **ret_port);

/* How many requests this port has refused at the bound of what may wait. Its shard's thread. */
uint64_t store_port_refused(const struct store_port *port);

/* Start a request; see the top. */
void store_submit(struct store_port *port, struct store_request *request);

/* Free the outputs of a completed request; the request's own memory stays the caller's. */
void store_request_finish(struct store_request *request);

/* What the store last achieved. Times are monotonic ms. */
struct store_health {
    uint64_t write_failed_ms; /* when the last put failed; 0: it was carried out */
    uint64_t read_failed_ms; /* when the last read failed; 0: it was answered */
    uint64_t pooled_ms; /* when a pooler that changes sessions was met last; 0: never */
    uint64_t failures; /* requests that failed so far because the database could not do them */
    char reason[STORE_REASON_MAX]; /* the engine's words for what failed last; "" for nothing */
};

/* Read it. Any thread. */
void store_get_health(const struct store *store, struct store_health *ret_health);

/*
 * The verdict of who watches the store (hub/node/store_watch.c): whether it can be written to now.
 * True until somebody says otherwise. Any thread.
 */
void store_set_writable(struct store *store, bool writable);
bool store_is_writable(const struct store *store);

/*
 * Refuse new requests and, when those under way have completed, release the port's loop handles
 * and call `closed` on the shard's thread.
 */
void store_port_close(struct store_port *port, void (*closed)(void *context), void *context);

/* Close the store after all its ports. Blocks until written. */
void store_close(struct store *store);

/* Set store_config.slow_ms for statements to come. Any thread. */
void store_set_slow(struct store *store, uint32_t slow_ms);

/* Copy statistics of up to `max` statements, or the slowest recent ones; return how many. Any
 * thread. */
size_t store_statements(
    const struct store *store, struct store_statement_stats *ret_stats, size_t max);
size_t store_slow_log(const struct store *store, struct store_slow *ret_slow, size_t max);

#endif
