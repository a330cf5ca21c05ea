/* SPDX-License-Identifier: Apache-2.0 */
/*
 * harness - a store with ports on loops of the test, driven until a request has completed.
 */
#ifndef TESTS_UNIT_SQL_HARNESS_H
#define TESTS_UNIT_SQL_HARNESS_H

#include <pthread.h>
#include <stdbool.h>
#include <uv.h>

#include "codec/base/rand.h"
#include "sql/store.h"

enum { HARNESS_SHARDS = 4, HARNESS_SHARDS_MAX = 8, URL_MAX = 256 };

struct shard {
    uv_loop_t loop;
    uv_async_t wake;
    pthread_mutex_t lock;
    struct posted *first; /* what to run on the loop's thread */
    struct posted **last;
    struct store_port *port;
    bool closed;
};

struct harness {
    struct store *store;
    struct shard shards[HARNESS_SHARDS_MAX];
    unsigned count; /* of them: HARNESS_SHARDS, unless it was opened with others */
};

/* Make the URL of a new, empty store of the engine named "sqlite" or "postgres". */
void harness_url(const char *engine, char ret_url[URL_MAX]);

/* Open the store, failing the test when it cannot be opened. */
void harness_open(struct harness *harness, const char *url);

/* The same with fewer or more connections to Postgres: harness_open has two for each shard. */
void harness_open_pool(struct harness *harness, const char *url, uint32_t least, uint32_t most);

/* The same with another number of ports, at most HARNESS_SHARDS_MAX. */
void harness_open_ports(struct harness *harness, const char *url, unsigned count);

/* Close ports and store. */
void harness_close(struct harness *harness);

/* Submit on the port of `shard` and run its loop until completed; returns the status. */
int harness_run(struct harness *harness, unsigned shard, struct store_request *request);

/* Whether neither the last put nor the last read failed. */
bool harness_is_healthy(const struct store *store);

/* Run the loop of `shard` until `*flag` is true. */
void harness_wait(struct harness *harness, unsigned shard, const bool *flag);

/* A `done` that counts, and the wait for `count` of them on the loop of `shard`. */
void harness_done(struct store_request *request);
void harness_wait_all(struct harness *harness, unsigned shard, unsigned count);

/* A `closed` that sets the bool it is given. */
void harness_closed(void *context);

/* The user `name` without tenant. */
struct store_user user_of(const char *name);

/* A row for `who` whose key and content follow from the numbers; the id is new. */
struct store_row row_of(struct store_user who, uint64_t key, uint64_t content);

/* Make the row `who`'s, with a new id of its slot. */
void give_row(struct store_row *row, struct store_user who);

/* Store one row, failing the test on any status but 0; outputs are in *row. */
void put_row(struct harness *harness, struct store_row *row);

/* The position of one user. */
struct store_position position_of(struct harness *harness, struct store_user who);

/* Expect where an inbox stands. */
void expect_position(
    struct harness *harness, struct store_user who, uint64_t seq, uint64_t rev, uint64_t unread);

/* A mark of `who` as with ids; the caller adds ids or up_to, and what else it wants. */
struct store_mark mark_of(struct store_user who, enum notification_verb verb, uint64_t at);

/* Mark one row at 50, until 1000 where the verb has a time; it is one change. */
void mark_row(struct harness *harness, const struct store_row *row, enum notification_verb verb);

/* The same that deletes all there is; the caller may add ids. */
struct store_mark erase_of(struct store_user who, uint64_t at);

#endif
