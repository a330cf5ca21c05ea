/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protocol - makes of one table everything that an actor's protocol consists of.
 *
 * The table is in <actor>_proto.h, behind the structs of the messages and before the functions
 * that send them:
 *
 *                   kind     name     lane     reach         payload               what it asks
 *     #define ROOM_PROTOCOL(X, A, a)                                                           \
 *         X(A, a, JOIN,    join,    CONTROL, CREATES(key), PLAIN,               "add a member")  \
 *         X(A, a, TELL,    tell,    SHED,    NAMED(key),   OWNS(event_unref(msg->event)), "…")  \
 *         X(A, a, LEAVE,   leave,   CONTROL, REF,          PLAIN,               "forget a member")
 *     PROTOCOL_DECLARE(ROOM, room)
 *
 * lane     CONTROL, NORMAL, SHED: see enum lane.
 * reach    REF: by ref only. NAMED(key): by name too, which is the member `key`, a struct buf that
 *          the message owns. CREATES(key): the same, and spawns the actor. NAMED_AS(name) and
 *          CREATES_AS(name): the name is this expression over `msg`, a struct bytes.
 * payload  OWNS(statements): what frees, besides the key, what `msg` owns. PLAIN: nothing does.
 *
 * PROTOCOL_DECLARE makes of it `enum room_kind {ROOM_JOIN, … ROOM_KIND_COUNT}`, declares the
 * tables `room_kinds` and `room_behaviour`, and defines for each row
 *     struct room_join *room_join_new(void);    a zeroed message, to be filled and sent
 * room.c says, once struct room is known,
 *     PROTOCOL_DEFINE(ROOM, room)
 *     const struct behaviour room_behaviour = {PROTOCOL_BEHAVIOUR(ROOM, room), .id = …, …};
 * and defines, in the order of the table,
 *     static void on_join(struct room *room, struct room_join *msg);
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
#include "codec/base/buf.h"

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
        return msg_create(sizeof(struct a##_##kind_name), &a##_kinds[A##_##KIND]);                 \
    }

#define PROTOCOL_FUNCTIONS_(A, a, KIND, kind_name, lane_, reach, payload, text)                    \
    static void on_##kind_name(struct a *a, struct a##_##kind_name *msg);                          \
    static void handle_##kind_name##_(struct actor *actor, struct msg *msg)                        \
    {                                                                                              \
        on_##kind_name((struct a *)(void *)actor, (struct a##_##kind_name *)(void *)msg);          \
    }                                                                                              \
    static void drop_##kind_name##_(struct msg *base)                                              \
    {                                                                                              \
        struct a##_##kind_name *msg = (struct a##_##kind_name *)(void *)base;                      \
        (void)msg;                                                                                 \
        PROTOCOL_FREE_##reach;                                                                     \
        PROTOCOL_DROP_##payload;                                                                   \
    }                                                                                              \
    static struct bytes key_##kind_name##_(const struct msg *base) {                               \
        const struct a##_##kind_name *msg = (const struct a##_##kind_name *)(const void *)base;    \
        (void)msg;                                                                                 \
        return PROTOCOL_KEY_##reach;                                                               \
    }

#define PROTOCOL_HANDLER_(A, a, KIND, kind_name, lane_, reach, payload, text) handle_##kind_name##_,

#define PROTOCOL_KIND_(A, a, KIND, kind_name, lane_, reach, payload, text)                         \
    {.name = #a "." #kind_name,                                                                    \
        .behaviour = &a##_behaviour,                                                               \
        .index = A##_##KIND,                                                                       \
        .lane = LANE_##lane_,                                                                      \
        .creates = PROTOCOL_CREATES_##reach,                                                       \
        .key = PROTOCOL_IS_NAMED_##reach ? key_##kind_name##_ : NULL,                              \
        .drop =                                                                                    \
            PROTOCOL_OWNS_KEY_##reach || PROTOCOL_OWNS_##payload ? drop_##kind_name##_ : NULL},

/* What each word of the column `reach` means. */

#define PROTOCOL_KEY_REF bytes_of(NULL, 0)
#define PROTOCOL_KEY_NAMED(member) buf_bytes(msg->member)
#define PROTOCOL_KEY_CREATES(member) buf_bytes(msg->member)
#define PROTOCOL_KEY_NAMED_AS(name) name
#define PROTOCOL_KEY_CREATES_AS(name) name

#define PROTOCOL_FREE_REF
#define PROTOCOL_FREE_NAMED(member) buf_unref(msg->member)
#define PROTOCOL_FREE_CREATES(member) buf_unref(msg->member)
#define PROTOCOL_FREE_NAMED_AS(name)
#define PROTOCOL_FREE_CREATES_AS(name)

#define PROTOCOL_IS_NAMED_REF 0
#define PROTOCOL_IS_NAMED_NAMED(member) 1
#define PROTOCOL_IS_NAMED_CREATES(member) 1
#define PROTOCOL_IS_NAMED_NAMED_AS(name) 1
#define PROTOCOL_IS_NAMED_CREATES_AS(name) 1

#define PROTOCOL_CREATES_REF 0
#define PROTOCOL_CREATES_NAMED(member) 0
#define PROTOCOL_CREATES_CREATES(member) 1
#define PROTOCOL_CREATES_NAMED_AS(name) 0
#define PROTOCOL_CREATES_CREATES_AS(name) 1

#define PROTOCOL_OWNS_KEY_REF 0
#define PROTOCOL_OWNS_KEY_NAMED(member) 1
#define PROTOCOL_OWNS_KEY_CREATES(member) 1
#define PROTOCOL_OWNS_KEY_NAMED_AS(name) 0
#define PROTOCOL_OWNS_KEY_CREATES_AS(name) 0

/* And of the column `payload`. */

#define PROTOCOL_DROP_PLAIN
#define PROTOCOL_DROP_OWNS(...) __VA_ARGS__

#define PROTOCOL_OWNS_PLAIN 0
#define PROTOCOL_OWNS_OWNS(...) 1

#endif
