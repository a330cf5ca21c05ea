/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pupil - an actor for tests of the runtime: it keeps a record of what it was told.
 *
 * Known by name; lives wherever a test starts it or sends a message that creates it. What it
 * records goes to the struct pupil_record that the test has set as sched_user.
 */
#ifndef TESTS_SUPPORT_PUPIL_PROTO_H
#define TESTS_SUPPORT_PUPIL_PROTO_H

#include "actors/core/protocol.h"
#include "actors/core/sched.h"

enum { PUPIL_RECORD_MAX = 200000, PUPIL_NAME_MAX = 16, PUPIL_SHED_BOUND = 10 };

/* What the pupils of a shard have done; owned by the test. */
struct pupil_record {
    unsigned count;
    unsigned destroyed;
    unsigned spawned;
    bool refuse_spawn;
    uint64_t numbers[PUPIL_RECORD_MAX]; /* of NOTE and HINT, in the order of handling */
};

/* Payloads alive: every one made must be freed once. Any thread. */
long pupil_payloads(void);

struct pupil_note {
    struct msg base;
    uint64_t number;
    char *payload; /* owned */
    char name[PUPIL_NAME_MAX];
};

struct pupil_hint {
    struct msg base;
    uint64_t number;
    char name[PUPIL_NAME_MAX];
};

struct pupil_visit {
    struct msg base;
    uint64_t number;
    char name[PUPIL_NAME_MAX];
};

struct pupil_call {
    struct msg base;
    void (*fn)(struct actor *self, void *arg); /* called by the handler */
    void *arg; /* borrowed */
};

#define PUPIL_PROTOCOL(X, A, a)                                                                    \
    X(A, a, NOTE, note, NORMAL, CREATES_AS(bytes_str(msg->name)), OWNS(drop_chalk(msg->payload)),  \
        "record a number; by name, come to life for it")                                           \
    X(A, a, HINT, hint, SHED, NAMED_AS(bytes_str(msg->name)), PLAIN,                               \
        "record a number, unless there are too many")                                              \
    X(A, a, VISIT, visit, CONTROL, CREATES_AS(bytes_str(msg->name)), PLAIN,                        \
        "come to life, record a number, and stop")                                                 \
    X(A, a, CALL, call, CONTROL, REF, PLAIN, "call a function")

PROTOCOL_DECLARE(PUPIL, pupil)

/* Start a pupil called `name` on `sched`. */
struct actor *pupil_start(struct sched *sched, const char *name);

/* Send to a pupil by ref. */
void pupil_note(struct sched *from, struct actor_ref to, uint64_t number);
void pupil_hint(struct sched *from, struct actor_ref to, uint64_t number);
void pupil_call(
    struct sched *from, struct actor_ref to, void (*fn)(struct actor *self, void *arg), void *arg);

/* Send to the pupil called `name` on `shard`. */
void pupil_note_named(struct sched *from, unsigned shard, const char *name, uint64_t number);
void pupil_hint_named(struct sched *from, unsigned shard, const char *name, uint64_t number);
void pupil_visit_named(struct sched *from, unsigned shard, const char *name, uint64_t number);

/* Send a NOTE from a thread that is no shard. */
void pupil_note_foreign(struct actor_system *system, struct actor_ref to, uint64_t number);

#endif
