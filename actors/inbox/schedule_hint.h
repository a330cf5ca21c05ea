/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schedule_hint - tells who delivers (schedule.h) that something was kept.
 */
#ifndef ACTORS_INBOX_SCHEDULE_HINT_H
#define ACTORS_INBOX_SCHEDULE_HINT_H

#include <stdint.h>

struct shard;

/* Something was kept until `deliver_at`: it may be due before what is known. Any shard's thread. */
void schedule_hint(struct shard *shard, uint64_t deliver_at);

#endif
