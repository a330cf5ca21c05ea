/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shed - which clients go when memory is short: those that have the most waiting.
 */
#ifndef ACTORS_DELIVER_SHED_H
#define ACTORS_DELIVER_SHED_H

#include <stdint.h>

struct shard;

enum { SHED_MOST = 64, SHED_LEAST_BYTES = 65536 };

/*
 * End the sessions with the largest outboxes until about `bytes` waited in them: at most SHED_MOST,
 * and none with less than SHED_LEAST_BYTES. They are slow (CLOSE_SLOW) and come back. Returns how
 * many.
 */
unsigned shed_outboxes(struct shard *shard, uint64_t bytes);

#endif
