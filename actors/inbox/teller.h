/* SPDX-License-Identifier: Apache-2.0 */
/*
 * teller - tells many users something, a bounded number in each turn, so that nobody else waits.
 *
 * Who has many to tell embeds a telling. Each that waits has its turn: TELLER_USERS users, every
 * TELLER_MS; the first ones at once where nothing waits. One per shard, of its audience.
 */
#ifndef ACTORS_INBOX_TELLER_H
#define ACTORS_INBOX_TELLER_H

#include <stdbool.h>

#include "actors/core/timer.h"
#include "codec/base/list.h"

struct shard;

enum { TELLER_USERS = 200, TELLER_MS = 5 };

/* What is told to many; in memory of who tells it. */
struct telling {
    struct list link; /* teller.tellings */
    /* Tell `most` more users at most; false: there are no more. It is in no list then, so that it
     * may be freed, or begin anew. */
    bool (*tell)(struct telling *telling, unsigned most);
    /* The shard ends, the rest is not told: free it. */
    void (*drop)(struct telling *telling);
};

struct teller {
    struct shard *shard;
    struct list tellings; /* telling.link */
    struct timer timer;
};

/* Begin and end; what was not told is dropped. */
void teller_init(struct teller *teller, struct shard *shard);
void teller_finish(struct teller *teller);

/*
 * Have it told by the teller of the shard; all at once where it has none. It may be over when this
 * returns.
 */
void teller_tell(struct shard *shard, struct telling *telling);

#endif
