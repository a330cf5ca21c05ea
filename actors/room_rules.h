/* SPDX-License-Identifier: Apache-2.0 */
/*
 * room_rules - what the type of a room says: who is told of whom, and what is remembered.
 */
#ifndef ACTORS_ROOM_RULES_H
#define ACTORS_ROOM_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a room remembers, by its type. */
struct room_memory_rules {
    uint32_t events; /* 0: nothing */
    uint32_t bytes;
    uint32_t age_ms;
    uint64_t history_ms; /* how long what is said in it is kept in the store; 0: it is not */
};

/* What rooms with a memory may take together, in one namespace. */
struct room_memory_limits {
    uint32_t age_ms; /* the longest of any type; 0: no room has a memory */
    size_t bytes;
    bool history; /* of some type what is said is kept in the store */
};

/* When and how what is sent to a room leaves, by its type. */
enum room_batching {
    ROOM_BATCHING_INHERIT,
    ROOM_BATCHING_ADAPTIVE,
    ROOM_BATCHING_ALWAYS,
    ROOM_BATCHING_OFF
};

struct room_window_rules {
    enum room_batching batching; /* INHERIT: as everywhere */
    bool batch_event; /* a window is one batch_update to Socket.IO clients, whether they asked or
                         not */
};

/* What the type of a room says. */
struct room_rules {
    uint32_t max_members; /* 0: no limit */
    bool presence; /* the others are told who comes and goes */
    uint8_t hook; /* who says whether one may join, where that is asked (hook_call.h) */
};

#endif
