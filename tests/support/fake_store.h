/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_store - sql/store.h in memory, for tests of actors: a random order of commits and answers,
 * and failures on demand.
 *
 * Every request is carried out in one moment and answered in a later one, both chosen by the seed:
 * writes of one port in their order, reads whenever. A request that fails STATUS_UNAVAILABLE may
 * have been carried out, as with a database whose answer was lost. Links instead of libsql. It does
 * what actors ask for: put, mark, sync, list, positions, claim, posted; and what was snoozed comes
 * back.
 */
#ifndef TESTS_SUPPORT_FAKE_STORE_H
#define TESTS_SUPPORT_FAKE_STORE_H

#include "codec/base/rand.h"
#include "sql/store_schedule.h"
#include "tests/support/fake_inbox.h"

struct fake_store;
struct sched;

/* Make an empty store whose choices follow from `seed`. */
struct fake_store *fake_store_create(uint64_t seed);

/* Destroy it and its ports; requests under way are answered first, as cancelled by UNAVAILABLE. */
void fake_store_destroy(struct fake_store *store);

/*
 * A port of the store. `enter(context)` is called before each answer: the test then acts on the
 * port's thread.
 */
struct store_port *fake_store_port(
    struct fake_store *store, void (*enter)(void *context), void *context);

/* Carry out or answer one request; false when there is none that can. */
bool fake_store_step(struct fake_store *store);

/* One request in `one_in` fails STATUS_UNAVAILABLE; 0: none, 1: all (the store is away). */
void fake_store_set_failures(struct fake_store *store, unsigned one_in);

/* All that `port` is asked fails and is not carried out, which whoever watches has noticed. */
void fake_store_cut(struct store_port *port, bool cut);

/* What stands for the store in a shard that has `port`: store_is_writable is all that it is for. */
struct store *fake_store_root(struct store_port *port);

/* Rows with this message are refused: the put that has one gets STATUS_INVALID. */
void fake_store_refuse(struct fake_store *store, const char *message);

/* The last commit of the inbox of `key` is lost. */
void fake_store_forget(struct fake_store *store, const char *key);

/* What the position of a stream has moved is lost, and with `token` its last claim. */
void fake_store_forget_stream(struct fake_store *store, uint32_t partition, bool token);

/* About a store that loses commits, or is read elsewhere. */
struct fake_loss {
    unsigned
        told; /* how often somebody proved it; who does so where nothing was forgotten aborts */
    uint64_t sessions; /* for writing: another one may be with another server */
    bool late; /* positions are those of a standby that is behind, unless they are to be current */
};

/* Read it, or set it. */
struct fake_loss *fake_store_loss(struct fake_store *store);

/* More inboxes have changed than a request may list, from now on. */
void fake_store_flood(struct fake_store *store);

/*
 * What is answered to STORE_POSTED; nobody may ask before that. What it makes is one allocation,
 * base.result.
 */
void fake_store_set_posted(struct fake_store *store, int (*answer)(struct store_posted *request));

/* The same for STORE_DUE. */
void fake_store_set_due(struct fake_store *store, int (*answer)(struct store_due *request));

/* The same for STORE_TOPICS, which is answered with none before that. */
void fake_store_set_topics(struct fake_store *store, int (*answer)(struct store_topics *request));

/* The same for requests about jobs. */
void fake_store_set_jobs(struct fake_store *store, int (*answer)(struct store_request *request));

/* The same for what clients have received; without it nobody has a device. */
void fake_store_set_received(
    struct fake_store *store, int (*answer)(struct store_push_received *request));

/* The same for those about devices. */
void fake_store_set_devices(struct fake_store *store, int (*answer)(struct store_devices *request));

/* The same for requests about what was said in rooms; else nothing is kept, and all is well. */
void fake_store_set_history(struct fake_store *store, int (*answer)(struct store_request *request));

/* How many jobs were added, with this payload; NULL: with any. Without a hook each key adds one. */
size_t fake_store_jobs(const struct fake_store *store, const char *payload);

/* Requests of `port` are neither carried out nor answered until told otherwise. */
void fake_store_hold(struct store_port *port, bool hold);

/* Answer all that `port` was asked, as a process that ends: carried out or not. */
void fake_store_drain(struct store_port *port);

/* Another build has written a user's preferences: any text. */
void fake_store_set_preferences(struct fake_store *store, const char *user, const char *text);

/* The inbox of `key`, or NULL when nothing was ever stored. */
const struct fake_inbox *fake_store_inbox(const struct fake_store *store, const char *key);

/* Store one notification now, as a backend on another node would; returns its row. */
struct store_row fake_store_post(struct fake_store *store, const char *key, const char *message);

/* What was snoozed is new again, as another node would find it; how many rows. */
size_t fake_store_wake(struct fake_store *store, const char *key);

/* Requests that were submitted and not answered yet. */
size_t fake_store_waiting(const struct fake_store *store);

/* How many puts were refused by their token. */
uint64_t fake_store_fenced(const struct fake_store *store);

#endif
