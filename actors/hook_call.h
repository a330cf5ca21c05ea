/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hook_call - what actors ask a backend, which hub/ does for them (hub/hooks).
 */
#ifndef ACTORS_HOOK_CALL_H
#define ACTORS_HOOK_CALL_H

#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/list.h"

struct hook_asker;
struct hook_call;
struct identity;
struct shard;

/* Not a hook: events go into a stream of Redis (events.to: out). */
enum { HOOK_OUT = 255 };

enum hook_kind {
    HOOK_JOIN, /* whether a user may join a room */
    HOOK_EVENT, /* what a client's event comes to */
    HOOK_WARM /* a user comes: values that it will ask for may be put; no answer is needed */
};

/* What is asked; all of it is borrowed for the call of hook_ask_fn. */
struct hook_question {
    enum hook_kind kind;
    unsigned hook; /* which one, as the settings of this turn number them */
    const struct identity *who;
    struct bytes nsp;
    struct bytes name; /* of the room, or of the event, as clients name them; of WARM empty */
    struct bytes args; /* of the event: JSON `a,b`, as in struct event */
    struct bytes socket; /* of the event: whose it is */
};

/* The backend has answered, or will not. On the shard that asked, exactly once. */
typedef void (*hook_done_fn)(struct hook_call *call);

/* Embedded by who asks, and there until `done`. */
struct hook_call {
    hook_done_fn done;
    int status; /* 0: yes; STATUS_DENIED: no; STATUS_UNAVAILABLE: it is not known;
                   STATUS_TIMEOUT: of HOOK_OUT, nobody has said it in time */
    struct bytes result; /* of an event: JSON, or empty; borrowed for `done` */
    /* private */
    struct list link;
    struct hook_asker *asker;
};

/*
 * Ask. STATUS_AGAIN: `done` is called in a later turn, within the hook's timeout and a quarter of a
 * second; else it is not: the answer is known (0, STATUS_DENIED), or cannot be had
 * (STATUS_UNAVAILABLE; STATUS_RATE_LIMITED: too many questions of this user are open).
 */
typedef int (*hook_ask_fn)(
    struct shard *shard, const struct hook_question *question, struct hook_call *call);

#endif
