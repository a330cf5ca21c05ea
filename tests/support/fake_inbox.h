/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_inbox - one user's inbox in memory: what the requests of sql/store.h do to it. Of
 * fake_store.
 */
#ifndef TESTS_SUPPORT_FAKE_INBOX_H
#define TESTS_SUPPORT_FAKE_INBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sql/store.h"

enum { FAKE_WALL_MS = 1700000000 };

/* A stored notification. */
struct fake_row {
    struct notification_item item; /* its texts are owned */
    uint64_t whole_rev; /* of the last change after which a device needs all of it */
    bool gone; /* item.state says how */
    uint8_t key_hash[STORE_HASH_LEN];
    uint8_t content_hash[STORE_HASH_LEN];
};

/* The key of a post that joined a digest, which is a row of another key. */
struct fake_joined {
    uint8_t key_hash[STORE_HASH_LEN];
    uint8_t content_hash[STORE_HASH_LEN];
    size_t row; /* index */
};

struct fake_inbox {
    char key[300]; /* tenant/user, or user */
    struct store_position position;
    char *preferences; /* NULL: none */
    bool hidden;
    uint64_t changed_at; /* a number that rises with each change of the store */
    struct fake_row *rows; /* by seq */
    size_t count;
    size_t cap;
    struct fake_joined *joined;
    size_t joined_count;
};

/* What a sync makes: base.result, to be freed with both. */
struct fake_sync {
    struct notification_item *items;
    struct notification_change *changes;
};

/*
 * Store a row; false: it is a repeat. Where it has a digest_ms it joins the newest digest of its
 * type that is open, of whatever age; `digest` is the inbox's, until its next row.
 */
bool fake_inbox_put(struct fake_inbox *inbox, struct store_row *row);

/* Carry out a mark. */
void fake_inbox_mark(struct fake_inbox *inbox, struct store_mark *request);

/* What is snoozed is new again, whatever the time; how many rows. */
size_t fake_inbox_wake(struct fake_inbox *inbox);

/* Answer a read. */
void fake_inbox_sync(struct fake_inbox *inbox, struct store_sync *request);
void fake_inbox_list(struct fake_inbox *inbox, struct store_list *request);

/* Free the rows. */
void fake_inbox_finish(struct fake_inbox *inbox);

#endif
