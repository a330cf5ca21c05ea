/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An actor for tests of the runtime: it writes down what it is told, and does what the message
 * says.
 */
#include <stdatomic.h>
#include <stdio.h>

#include "codec/base/mem.h"
#include "tests/support/pupil_proto.h"

enum { BEHAVIOUR_PUPIL = 15 };

struct pupil {
    struct actor actor;
    char name[PUPIL_NAME_MAX];
};

/* Relaxed: read when the threads that change it have ended. */
static atomic_long payloads;

static void drop_chalk(char *chalk)
{
    mem_free(chalk);
    atomic_fetch_sub_explicit(&payloads, 1, memory_order_relaxed);
}

PROTOCOL_DEFINE(PUPIL, pupil)

long pupil_payloads(void)
{
    return atomic_load_explicit(&payloads, memory_order_relaxed);
}

static struct pupil_record *record_of(struct pupil *pupil)
{
    return sched_user(pupil->actor.sched);
}

static void record(struct pupil *pupil, uint64_t number)
{
    struct pupil_record *record = record_of(pupil);
    CHECK(record->count < PUPIL_RECORD_MAX);
    record->numbers[record->count++] = number;
}

/* --- NOTE --- */

static void on_note(struct pupil *pupil, struct pupil_note *msg)
{
    record(pupil, msg->number);
}

static struct pupil_note *make_note(const char *name, uint64_t number)
{
    struct pupil_note *msg = pupil_note_new();
    msg->number = number;
    msg->payload = mem_dup("chalk", 5);
    atomic_fetch_add_explicit(&payloads, 1, memory_order_relaxed);
    snprintf(msg->name, sizeof(msg->name), "%s", name);
    return msg;
}

void pupil_note(struct sched *from, struct actor_ref to, uint64_t number)
{
    msg_send(from, to, make_note("", number));
}

void pupil_note_named(struct sched *from, unsigned shard, const char *name, uint64_t number)
{
    msg_send_named(from, shard, make_note(name, number));
}

void pupil_note_foreign(struct actor_system *system, struct actor_ref to, uint64_t number)
{
    msg_send_foreign(system, to, make_note("", number));
}

/* --- HINT --- */

static void on_hint(struct pupil *pupil, struct pupil_hint *msg)
{
    record(pupil, msg->number);
}

void pupil_hint(struct sched *from, struct actor_ref to, uint64_t number)
{
    struct pupil_hint *msg = pupil_hint_new();
    msg->number = number;
    msg_send(from, to, msg);
}

void pupil_hint_named(struct sched *from, unsigned shard, const char *name, uint64_t number)
{
    struct pupil_hint *msg = pupil_hint_new();
    msg->number = number;
    snprintf(msg->name, sizeof(msg->name), "%s", name);
    msg_send_named(from, shard, msg);
}

/* --- VISIT --- */

static void on_visit(struct pupil *pupil, struct pupil_visit *msg)
{
    record(pupil, msg->number);
    actor_stop(&pupil->actor);
}

void pupil_visit_named(struct sched *from, unsigned shard, const char *name, uint64_t number)
{
    struct pupil_visit *msg = pupil_visit_new();
    msg->number = number;
    snprintf(msg->name, sizeof(msg->name), "%s", name);
    msg_send_named(from, shard, msg);
}

/* --- CALL --- */

static void on_call(struct pupil *pupil, struct pupil_call *msg)
{
    msg->fn(&pupil->actor, msg->arg);
}

void pupil_call(
    struct sched *from, struct actor_ref to, void (*fn)(struct actor *self, void *arg), void *arg)
{
    struct pupil_call *msg = pupil_call_new();
    msg->fn = fn;
    msg->arg = arg;
    msg_send(from, to, msg);
}

/* --- life --- */

static struct bytes pupil_key(const void *actor)
{
    const struct pupil *pupil = actor;
    return bytes_str(pupil->name);
}

static struct actor *pupil_spawn(struct sched *sched, struct bytes key)
{
    struct pupil_record *record = sched_user(sched);
    if (record->refuse_spawn) {
        return NULL;
    }
    record->spawned++;
    char name[PUPIL_NAME_MAX];
    snprintf(name, sizeof(name), "%.*s", (int)key.len, key.at);
    return pupil_start(sched, name);
}

static void pupil_destroy(struct actor *actor)
{
    struct pupil *pupil = container_of(actor, struct pupil, actor);
    struct pupil_record *record = record_of(pupil);
    if (record != NULL) {
        record->destroyed++;
    }
    mem_free(pupil);
}

const struct behaviour pupil_behaviour = {
    PROTOCOL_BEHAVIOUR(PUPIL, pupil),
    .id = BEHAVIOUR_PUPIL,
    .shed_bound = PUPIL_SHED_BOUND,
    .key_of = pupil_key,
    .spawn = pupil_spawn,
    .destroy = pupil_destroy,
};

struct actor *pupil_start(struct sched *sched, const char *name)
{
    struct pupil *pupil = mem_alloc(sizeof(*pupil));
    snprintf(pupil->name, sizeof(pupil->name), "%s", name);
    CHECK(actor_start(&pupil->actor, &pupil_behaviour, sched));
    return &pupil->actor;
}
