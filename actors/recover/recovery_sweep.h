/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recovery_sweep - records whose lease has ended are deleted; private to actors/.
 *
 * All leases are in one sorted set, by when they end. Who enters its own is told of one that has
 * ended, which nobody else is told of for a minute, and deletes the records in that one's list,
 * some at a time: the next when the last were deleted.
 */
#ifndef ACTORS_RECOVER_RECOVERY_SWEEP_H
#define ACTORS_RECOVER_RECOVERY_SWEEP_H

#include <stdint.h>

#include "actors/bus.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct recovery_sweep;
struct shard;

/* Delete the record KEYS[1] if ARGV[1] is in it: another one may have it by now. Quotes in the
 * texts of a record are escaped, so a quoted name and value stand nowhere else. */
#define RECOVERY_DROP_SCRIPT                                                                       \
    "local at=redis.call('get',KEYS[1]) "                                                          \
    "if at and string.find(at,ARGV[1],1,true) then return redis.call('del',KEYS[1]) end return 0"

/* A sweep on `sender`, which is closed before the sweep is destroyed. */
MUST_CHECK struct recovery_sweep *recovery_sweep_create(
    const struct shard *shard, struct bus_link *sender);
void recovery_sweep_destroy(struct recovery_sweep *sweep);

/* Enter the lease `name` for `lifetime_ms` from now, and sweep one that has ended, if there is. */
void recovery_sweep_enter(struct recovery_sweep *sweep, struct bytes name, uint64_t lifetime_ms);

#endif
