/* SPDX-License-Identifier: Apache-2.0 */
/*
 * actor - what an actor is: a behaviour, a mailbox, a name; one message at a time.
 *
 * An actor's struct begins with `struct actor actor`. It is made, run and destroyed on one
 * shard's thread. It stops itself with actor_stop: from then on its ref is stale, its key is
 * free, what is in its mailbox is dropped, and `destroy` is called when the current handler (or
 * spawn, or posted function) has returned; outside of one, in a timer's function for example,
 * before actor_stop returns. Only messages that were sent by name are not dropped then: they
 * wait for the next one of that name, which those that create make, so that a JOIN is not lost to
 * a room that was just about to go.
 */
#ifndef ACTORS_CORE_ACTOR_H
#define ACTORS_CORE_ACTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/core/msg.h"
#include "actors/core/ref.h"
#include "codec/base/list.h"

struct actor;
struct sched;

typedef void (*actor_handler_fn)(struct actor *actor, struct msg *msg);

/* What all actors of one kind share. Static storage; `id` indexes the registries of a shard. */
struct behaviour {
    const char *name; /* "room" */
    uint16_t id; /* below BEHAVIOUR_MAX, unique in the program */
    uint16_t handler_count;
    const actor_handler_fn *handlers; /* by msg_kind.index */
    uint32_t shed_bound; /* SHED messages a mailbox holds before the oldest go; 0: none at all */

    /* Return the key of an actor that is known by name; NULL for those that are not. */
    struct bytes (*key_of)(const void *actor);

    /*
     * Make and start (actor_start) the actor `key`, because a message that creates it has
     * arrived; NULL or a returned NULL drops the message, after `unborn` was told.
     */
    struct actor *(*spawn)(struct sched *sched, struct bytes key);

    /*
     * There was no memory for the actor that `msg` was to create: answer who waits for it. NULL:
     * nobody does. The message is dropped afterwards.
     */
    void (*unborn)(struct sched *sched, struct msg *msg);

    /* Free the actor's memory. Its timers must be cancelled and its links removed here or before.
     */
    void (*destroy)(struct actor *actor);
};

enum { BEHAVIOUR_MAX = 16 };

struct actor {
    const struct behaviour *behaviour;
    struct sched *sched;
    struct actor_ref self;
    /* private */
    struct msg *last; /* mailbox: a ring, the oldest comes after the last */
    struct list run; /* sched.run_queue or .stopped */
    uint32_t queued;
    uint32_t shed_queued : 24;
    uint32_t flags : 8;
};

/*
 * Give `actor` a name on `sched` and let it receive; when its behaviour has key_of, it must hold
 * its key already, and no other actor of the behaviour on this shard may have the same. False: no
 * memory for its place; it was not started, and is the caller's to free.
 */
MUST_CHECK bool actor_start(
    struct actor *actor, const struct behaviour *behaviour, struct sched *sched);

/* Stop the actor; see above. Calling it again before it is destroyed does nothing. */
void actor_stop(struct actor *actor);

/* Return the live actor of `behaviour` with `key` on `sched`'s shard, or NULL. Same thread only. */
struct actor *actor_find(struct sched *sched, const struct behaviour *behaviour, struct bytes key);

/* Return the live actor named by `ref` if it lives on `sched`'s shard, else NULL. */
struct actor *actor_get(struct sched *sched, struct actor_ref ref);

#endif
