/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_link_state - what redis_link.c and redis_work.c share; nobody else includes this.
 */
#ifndef HUB_REDIS_REDIS_LINK_STATE_H
#define HUB_REDIS_REDIS_LINK_STATE_H

#include "codec/base/map.h"
#include "hub/redis/redis_bus.h"
#include "hub/redis/redis_fifo.h"

enum { REDIS_NAME_MAX = 64 };

enum link_state { LINK_WAITING, LINK_CONNECTING, LINK_SETUP, LINK_UP, LINK_CLOSED };

enum link_use { LINK_UNUSED, LINK_FOR_COMMANDS, LINK_FOR_CHANNELS };

struct bus_link {
    struct redis_bus *bus;
    struct bus_events events;
    void *context;
    enum link_state state;
    enum link_use use;
    struct redis_conn *conn;
    struct redis_reader *reader;
    struct redis_fifo pending;
    struct redis_fifo refused; /* commands that get STATUS_UNAVAILABLE at the end of the turn */
    struct list all; /* redis_bus.links */
    struct list work; /* redis_bus.work */
    uv_timer_t timer;
    uint64_t armed_at; /* when the timer fires; 0: not armed */
    uint64_t grace_until;
    uint64_t state_deadline; /* WAITING: next attempt; CONNECTING, SETUP: giving up */
    uint64_t last_received;
    uint64_t up_since;
    uint64_t down_since; /* or when it was opened */
    bool pinged; /* on a subscribed connection: a PING is out since last_received */
    unsigned attempts; /* since the link was up for long */
    unsigned address; /* which of the host's addresses is tried */
    struct map channels;
    uint32_t subscribes_sent;
    uint32_t subscribes_seen;
    int error_status;
    char error[REDIS_WHY_MAX];
    char name[REDIS_NAME_MAX + 1];
    unsigned turn; /* which of several places is tried */
    struct redis_place place; /* of `conn` */
};

#endif
