/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recovery_lease - what the records of one recovery count by, however many they are; private to
 * actors/.
 *
 * A record of a socket that is connected names its lease, and has no end of its own: it counts as
 * long as the lease's key is there. That key lasts for recovery.age longer than the lease, which is
 * renewed each third of that age; its value says how far all clients have come, so no record is
 * written again because time has passed. When something that was sent to Redis may not have been
 * carried out, or Redis has lost the key, the lease takes another name, and every record is written
 * once more, under that one. What is left under a name that has ended is deleted by whoever finds
 * it (recovery_sweep.c).
 */
#ifndef ACTORS_RECOVER_RECOVERY_LEASE_H
#define ACTORS_RECOVER_RECOVERY_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/bus.h"
#include "actors/recover/replay.h"
#include "actors/wire_name.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/base/list.h"

struct recovery_lease;
struct shard;

enum { RECOVERY_LEASE_NAME_LEN = WIRE_SID_LEN, RECOVERY_TICK_MS = 1000 /* between ticks */ };

/* A connected socket, as its lease sees it. */
struct recovery_member {
    struct list link; /* of the lease; who ends takes it out */
    struct replay_at acked; /* the client has had everything up to here */
};

struct recovery_lease_options {
    struct shard *shard;
    struct bus_link *sender; /* serves commands, and is closed before the lease is destroyed */
    const struct replay *replay; /* the log that its members read */
    struct bytes nsp; /* for the log; must outlive the lease */
    void (*rewrite)(struct recovery_member *member); /* write this one's record, in this turn */
};

/* A lease that Redis does not know yet. */
MUST_CHECK struct recovery_lease *recovery_lease_create(
    const struct recovery_lease_options *options);

/* Free it; its key runs out by itself. NULL is allowed. */
void recovery_lease_destroy(struct recovery_lease *lease);

/* `sender` is up. */
void recovery_lease_on_up(struct recovery_lease *lease, uint64_t now_ms);

/* RECOVERY_TICK_MS have passed, now is `now_ms`: look at some members, renew what is due. */
void recovery_lease_tick(struct recovery_lease *lease, uint64_t now_ms);

/* `member` is connected now. */
void recovery_lease_enter(struct recovery_lease *lease, struct recovery_member *member);

/* The name, which records have. */
struct bytes recovery_lease_name(const struct recovery_lease *lease);

/* Which of its names that is: 1, 2, 3 … */
uint32_t recovery_lease_term(const struct recovery_lease *lease);

/* The number of the round that is under way, which the record of a connected socket has. */
uint64_t recovery_lease_round(const struct recovery_lease *lease);

/* A bus_reply_fn: what was written did perhaps not arrive; `context` is the lease. */
void recovery_lease_on_written(void *context, int status, const struct bus_reply *reply);

/*
 * How far the client of a record had come: `ret_at` is what the lease's `value` says if that is
 * about a record of `round`. False: it is not, or is no value.
 */
MUST_CHECK bool recovery_lease_read(struct bytes value, uint64_t round, struct replay_at *ret_at);

#endif
