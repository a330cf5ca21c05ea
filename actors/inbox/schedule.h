/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schedule - delivers what was posted for later, when it is due.
 *
 * One per node, on shard 0. What is kept (sql/store_schedule.h) is divided into parts by slot; each
 * part has a lease in Redis, so that one node looks for what is due in it. That saves work and is
 * all it does: what must not be done twice is fenced by the row that is taken away in the
 * transaction that stores. So who has not been told for 5 s that another node holds a part looks
 * too: without Redis everything is delivered all the same. Whether something is due is a matter of
 * the database's clock.
 */
#ifndef ACTORS_INBOX_SCHEDULE_H
#define ACTORS_INBOX_SCHEDULE_H

struct schedule;
struct shard;

/* Begin on shard 0: claims parts, looks for what is due. Sets shard->schedule. */
void schedule_start(struct shard *shard);

/*
 * End: what is being stored is the last. The leases are given back. shard->schedule is NULL when
 * nothing of it is left.
 */
void schedule_stop(struct shard *shard);

#endif
