/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_master - follows the master that the sentinels of a bus name.
 *
 * It asks one sentinel after the other, and goes on asking the one that answers; another connection
 * hears of failovers (+switch-master). A sentinel that was away and names an older master (by its
 * configuration epoch) is not believed while the one there was is in use.
 */
#ifndef HUB_REDIS_REDIS_MASTER_H
#define HUB_REDIS_REDIS_MASTER_H

#include "codec/base/check.h"

struct redis_bus;
struct redis_master;
struct tls_context;

/* Begin to follow, for `bus`, whose target names sentinels: redis_bus.master_… says what is known,
 * and redis_link_follow is called when that changes. */
MUST_CHECK struct redis_master *redis_master_open(struct redis_bus *bus);

/* As redis_set_tls, for the sentinels. */
void redis_master_set_tls(struct redis_master *master, struct tls_context *tls);

/* End, in a later turn; a handle of the bus until then. */
void redis_master_close(struct redis_master *master);

#endif
