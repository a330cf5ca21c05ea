/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_bus - actors/bus.h and the server behind it, for several nodes under one seed.
 *
 * A command is carried out by the server in one moment, its reply arrives in a later one; each link
 * has its own queues in both directions, and the seed decides which moves next. So confirmations
 * are late, links overtake each other, and order holds on each link alone. A link may drop: what
 * was under way is carried out or not, and answered UNAVAILABLE; messages are lost; it comes back
 * and subscribes again. The server knows what the actors use: pub/sub, streams, the two
 * scripts of leases (actors/lease.c), the records of recovery, values (fake_values.h), and who is
 * online (fake_presence.h).
 */
#ifndef TESTS_SUPPORT_FAKE_BUS_H
#define TESTS_SUPPORT_FAKE_BUS_H

#include "actors/bus.h"
#include "codec/base/rand.h"
#include "tests/support/fake_data.h"
#include "tests/support/fake_presence.h"
#include "tests/support/fake_values.h"

struct fake_redis;

/* Make a server without data. `now(context)` is its clock in ms; choices follow from `seed`. */
struct fake_redis *fake_redis_create(uint64_t seed, uint64_t (*now)(void *context), void *context);

/* Destroy it with its buses; all links must have been closed. */
void fake_redis_destroy(struct fake_redis *redis);

/*
 * The bus of one shard of node number `node`. `enter(context)` is called before each callback: the
 * test then acts on the shard's thread.
 */
struct bus *fake_redis_bus(
    struct fake_redis *redis, unsigned node, void (*enter)(void *context), void *context);

/* Carry out one command, or deliver one thing to a link; false when nothing can move now. */
bool fake_redis_step(struct fake_redis *redis);

/* Drop the links of `node` (each with a chance of one in `one_in`); they return by themselves. */
void fake_redis_drop(struct fake_redis *redis, unsigned node, unsigned one_in);

/* Whether links of `node` can come (back) up; with false, none is up behind the next drop. */
void fake_redis_reach(struct fake_redis *redis, unsigned node, bool reachable);

/* Let nothing move on the links of `node`, as if its process were stopped; or again. */
void fake_redis_freeze(struct fake_redis *redis, unsigned node, bool frozen);

/* One message in `one_in` is lost on its way to a subscriber, though the link is up; 0: none. */
void fake_redis_lose(struct fake_redis *redis, unsigned one_in);

/* Let a link now and then be slow, for up to `steps` of the others; 0: never. */
void fake_redis_set_lag(struct fake_redis *redis, unsigned steps);

/* Its streams. */
struct fake_data *fake_redis_data(struct fake_redis *redis);

/* PUBLISH by somebody else, now. */
void fake_redis_publish(struct fake_redis *redis, struct bytes channel, struct bytes payload);

/* The number of links open, and of channels subscribed on them. */
size_t fake_redis_links(const struct fake_redis *redis);
size_t fake_redis_channels(const struct fake_redis *redis);

/* What it has of values. */
struct fake_values *fake_redis_values(struct fake_redis *redis);

/* And of who is online. */
struct fake_presence *fake_redis_presence(struct fake_redis *redis);

#endif
