/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_types - what is in a store, and what one is made of.
 */
#ifndef SQL_STORE_TYPES_H
#define SQL_STORE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/notification_item.h"

enum { STORE_HASH_LEN = 16, STORE_PAGE_MAX = 1000, STORE_EPOCH_LEN = 36 };
enum { STORE_REV_MAX = 1000 }; /* entries of one rev that a sync tells */
/* Rows that a step of a bulk mark looks at; of one mark, those that devices are told one by one. */
enum { STORE_MARK_STEP = 1000, STORE_MARK_TOLD_MAX = 10000 };
enum { STORE_IDENTITY_MAX = 95, STORE_TYPES_MAX = 20, STORE_GROUPS_MAX = 1000 };
enum { STORE_PAGED_MAX = 10000 }; /* rows that numbered pages and other orders go through */
enum {
    STORE_LOOKED_MAX = 10000
}; /* rows that one request for a list, or a piece of texts, goes through */
enum { STORE_TEXTS_MAX = 100, STORE_TEXTS_CHARS = 4096 };
enum { STORE_CHANGED_UNIT_MS = 10000, STORE_CHANGED_MAX = 100000 };
enum { STORE_REASON_MAX = 320 };

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
    uint64_t unseen;
    uint64_t preference_rev; /* as STORE_POSITIONS and STORE_CHANGED tell it; 0: no preferences */
};

/* That commits were lost: what somebody had been told, and what the store says now. */
struct store_loss {
    const char *proof; /* "position", "write", "stream", "token", "witness"; NULL: none */
    uint64_t was;
    uint64_t is;
};

enum store_outcome {
    OUTCOME_STORED,
    OUTCOME_DUPLICATE, /* same key and content were stored before: `id`, `seq` are the first one's
                        */
    OUTCOME_CONFLICT, /* same key, other content: `id`, `seq` are the first one's */
    OUTCOME_COLLAPSED, /* stored in the place of an open row of its name, or of its type's digest,
                          which keeps `id`, `seq` */
    OUTCOME_SUPPRESSED, /* the user does not want its type: only the key is kept, with seq 0 */
    OUTCOME_SCHEDULED, /* kept until it is due (store_schedule.h) */
};

/* Whether the inbox has changed: there is a new row, or a row as good as new. */
static inline bool store_outcome_is_new(enum store_outcome outcome)
{
    return outcome == OUTCOME_STORED || outcome == OUTCOME_COLLAPSED;
}

/* One notification to store. Everything is checked before: sizes, UTF-8, no NUL, JSON. */
struct store_row {
    struct store_user who;
    uint8_t key_hash[STORE_HASH_LEN]; /* of (tenant, user, key): unique for ever */
    uint8_t content_hash[STORE_HASH_LEN]; /* of what was posted */
    uint8_t id[NOTIFICATION_ID_LEN]; /* proposed, of the user's slot; replaced by the first one's on
                                 a repeat */
    struct bytes type;
    struct bytes title;
    struct bytes message;
    struct bytes data;
    enum notification_priority priority;
    uint64_t created_at;
    uint64_t expires_at;
    struct bytes collapse; /* a name; empty: it is a row of its own */
    bool unwanted; /* its type, unless the user's preferences say otherwise */
    uint64_t digest_ms; /* of its type, likewise: what comes so long after the first shares its row;
                           0: none */
    uint64_t deliver_at; /* it is kept until then; 0: it is stored (store_schedule.h) */
    bool due; /* it was kept, and is stored now */
    uint64_t version; /* with `due`: of what was kept, as STORE_DUE told it */
    /* out */
    enum store_outcome outcome;
    uint64_t seq; /* 0: it was suppressed, now or the first time; STORE_SEQ_SCHEDULED */
    uint64_t rev; /* STORED, COLLAPSED: the change that made it; else the row's present rev, 0 if it
                     is gone */
    uint64_t unread; /* STORED, COLLAPSED: the user's counts after this row */
    uint64_t unseen;
    uint64_t head; /* and the inbox's seq */
    uint64_t count; /* and how many posts it stands for */
    uint64_t first_at; /* and `created_at` of the first of them */
    uint64_t till; /* and when it expires: with the last of those that a digest holds */
    struct bytes digest; /* and what it remembers of them (notification_digest.h), until
                            store_request_finish */
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

#endif
