/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protocol - makes of one table everything that an actor's protocol consists of.
 *
 * The table is in <actor>_proto.h, behind the structs of the messages and before the functions
 * that send them:
 *
 *                   kind     name     lane     reach    payload  what it asks
 *     #define ROOM_PROTOCOL(X, A, a)                                              \
 *         X(A, a, JOIN,    join,    CONTROL, CREATES, OWNS,    "add a member")    \
 *         X(A, a, PUBLISH, publish, SHED,    NAMED,   OWNS,    "fan an event out") \
 *         X(A, a, LEAVE,   leave,   CONTROL, REF,     PLAIN,   "forget a member")
 *     PROTOCOL_DECLARE(ROOM, room)
 *
 * lane     CONTROL, NORMAL, SHED: see enum lane.
 * reach    REF: by ref only. NAMED: by name too. CREATES: by name, which spawns the actor.
 * payload  OWNS: the message owns something that must be freed. PLAIN: it does not.
 *
 * PROTOCOL_DECLARE makes of it `enum room_kind {ROOM_JOIN, … ROOM_KIND_COUNT}`, declares the
 * tables `room_kinds` and `room_behaviour`, and defines for each row
 *     struct room_join *room_join_new(void);    a zeroed message, to be filled and sent
 * room.c says, once struct room is known,
 *     PROTOCOL_DEFINE(ROOM, room)
 *     const struct behaviour room_behaviour = {PROTOCOL_BEHAVIOUR(ROOM, room), .id = …, …};
 * and defines, in the order of the table,
 *     static void on_join(struct room *room, struct room_join *msg);
 *     static void drop_join(struct room_join *msg);    for OWNS: frees the payload, not `msg`
 *     static struct bytes key_join(const struct room_join *msg);    for NAMED and CREATES
 * One that is missing does not compile, nor does one that no row asks for.
 *
 * What the names imply is checked: `struct room` begins with `struct actor actor`, and
 * `struct room_join` with `struct msg base`.
 */
#ifndef ACTORS_CORE_PROTOCOL_H
#define ACTORS_CORE_PROTOCOL_H

#include <stddef.h>

#include "actors/core/actor.h"
#include "actors/core/msg.h"

/* For <actor>_proto.h: the enum, the tables' names and the constructors. No semicolon behind. */
#define PROTOCOL_DECLARE(A, a)                                                                     \
    enum a##_kind{A##_PROTOCOL(PROTOCOL_ENUMERATOR_, A, a) A##_KIND_COUNT};                        \
    extern const struct msg_kind a##_kinds[A##_KIND_COUNT];                                        \
    extern const struct behaviour a##_behaviour;                                                   \
    A##_PROTOCOL(PROTOCOL_CONSTRUCTOR_, A, a)

/* For <actor>.c: the prototypes that the rows imply, and the tables. No semicolon behind. */
#define PROTOCOL_DEFINE(A, a)                                                                      \
    _Static_assert(offsetof(struct a, actor) == 0, "an actor begins with struct actor actor");     \
    A##_PROTOCOL(PROTOCOL_FUNCTIONS_, A, a) static const actor_handler_fn a##_handlers[] = {       \
        A##_PROTOCOL(PROTOCOL_HANDLER_, A, a)};                                                    \
    const struct msg_kind a##_kinds[A##_KIND_COUNT] = {A##_PROTOCOL(PROTOCOL_KIND_, A, a)};

/* The members of the actor's struct behaviour that follow from the table. */
#define PROTOCOL_BEHAVIOUR(A, a)                                                                   \
    .name = #a, .handler_count = A##_KIND_COUNT, .handlers = a##_handlers

/* From here on: what becomes of one row. Only for the macros above. */

#define PROTOCOL_ENUMERATOR_(A, a, KIND, kind_name, lane_, reach, payload, text) A##_##KIND,

#define PROTOCOL_CONSTRUCTOR_(A, a, KIND, kind_name, lane_, reach, payload, text)                  \
    MUST_CHECK static inline struct a##_##kind_name *a##_##kind_name##_new(void)                   \
    {                                                                                              \
        _Static_assert(                                                                            \
            offsetof(struct a##_##kind_name, base) == 0, "a message begins with struct msg base"); \
        return msg_new(sizeof(struct a##_##kind_name), &a##_kinds[A##_##KIND]);                    \
    }

#define PROTOCOL_FUNCTIONS_(A, a, KIND, kind_name, lane_, reach, payload, text)                    \
    static void on_##kind_name(struct a *a, struct a##_##kind_name *msg);                          \
    static void handle_##kind_name##_(struct actor *actor, struct msg *msg)                        \
    {                                                                                              \
        on_##kind_name((struct a *)(void *)actor, (struct a##_##kind_name *)(void *)msg);          \
    }                                                                                              \
    PROTOCOL_DROP_##payload##_(a, kind_name) PROTOCOL_KEY_##reach##_(a, kind_name)

#define PROTOCOL_DROP_PLAIN_(a, kind_name)
#define PROTOCOL_DROP_OWNS_(a, kind_name)                                                          \
    static void drop_##kind_name(struct a##_##kind_name *msg);                                     \
    static void drop_##kind_name##_(struct msg *msg)                                               \
    {                                                                                              \
        drop_##kind_name((struct a##_##kind_name *)(void *)msg);                                   \
    }

#define PROTOCOL_KEY_REF_(a, kind_name)
#define PROTOCOL_KEY_NAMED_(a, kind_name)                                                          \
    static struct bytes key_##kind_name(const struct a##_##kind_name *msg);                        \
    static struct bytes key_##kind_name##_(const struct msg *msg) {                                \
        return key_##kind_name((const struct a##_##kind_name *)(const void *)msg);                 \
    }
#define PROTOCOL_KEY_CREATES_(a, kind_name) PROTOCOL_KEY_NAMED_(a, kind_name)

#define PROTOCOL_HANDLER_(A, a, KIND, kind_name, lane_, reach, payload, text) handle_##kind_name##_,

#define PROTOCOL_KIND_(A, a, KIND, kind_name, lane_, reach, payload, text)                         \
    {.name = #a "." #kind_name,                                                                    \
        .behaviour = &a##_behaviour,                                                               \
        .index = A##_##KIND,                                                                       \
        .lane = LANE_##lane_,                                                                      \
        PROTOCOL_REACH_##reach##_(kind_name) PROTOCOL_PAYLOAD_##payload##_(kind_name)},

#define PROTOCOL_REACH_REF_(kind_name)
#define PROTOCOL_REACH_NAMED_(kind_name) .key = key_##kind_name##_,
#define PROTOCOL_REACH_CREATES_(kind_name) .key = key_##kind_name##_, .creates = 1,
#define PROTOCOL_PAYLOAD_PLAIN_(kind_name)
#define PROTOCOL_PAYLOAD_OWNS_(kind_name) .drop = drop_##kind_name##_,

#endif
