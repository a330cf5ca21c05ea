/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_bus - what redis.c and redis_link.c share; nobody else includes this.
 */
#ifndef HUB_REDIS_REDIS_BUS_H
#define HUB_REDIS_REDIS_BUS_H

#include <uv.h>

#include "actors/bus.h"
#include "codec/base/list.h"
#include "codec/base/rand.h"
#include "hub/redis/redis_conn.h"
#include "hub/redis/redis_login.h"
#include "hub/redis/redis_options.h"
#include "hub/redis/redis_target.h"

struct redis_bus {
    struct bus bus; /* first */
    uv_loop_t *loop;
    struct redis_target target;
    struct redis_master *master; /* behind sentinels: who follows it; NULL: the target says it */
    bool master_known;
    bool master_doubted; /* who is there is none */
    struct redis_place master_place; /* once it is known */
    char master_fault[REDIS_WHY_MAX]; /* why it is not */
    int master_status; /* of that */
    struct redis_cluster *cluster; /* NULL: it is none */
    const struct redis_place *places; /* where servers are: of the target, or of a cluster */
    unsigned place_count;
    unsigned first_turn; /* which of them is tried first */
    struct redis_outage own_outage;
    struct redis_options options; /* without zeros; its target is not used */
    struct redis_stats stats;
    struct rand rand; /* jitter */
    struct list links; /* bus_link.all */
    struct bus_link *probe; /* the one that asks for a server that is away; NULL: none is */
    uint64_t outage_since; /* 0: none */
    struct list work; /* bus_link.work: something to send or to answer at the end of the turn */
    uv_idle_t idle; /* active while `work` is not empty */
    unsigned handles; /* uv handles that are not closed yet */
    redis_closed_fn on_closed;
    void *closed_context;
    bool closing;
    struct redis_input *input; /* `own_input`, or that of another bus which outlives this one */
    struct redis_input *own_input; /* NULL: it is another's */
};

/* Count one handle less, and free a closing bus with the last one. */
void redis_bus_release(struct redis_bus *bus);

/* The operations of actors/bus.h on a link, except `open`, whose bus is of the concrete type.
 */
MUST_CHECK struct bus_link *redis_link_open(
    struct redis_bus *bus, const char *name, const struct bus_events *events, void *context);
void redis_link_close(struct bus_link *link);
bool redis_link_is_up(const struct bus_link *link);
void redis_link_command(struct bus_link *link, const struct bytes *argv, size_t argc,
    uint32_t timeout_ms, bus_reply_fn fn, void *context);
/* Send one command as redis_text_command wrote it. False: the link is down, or has no room; nothing
 * will come. */
MUST_CHECK bool redis_link_send(
    struct bus_link *link, struct bytes text, uint32_t timeout_ms, bus_reply_fn fn, void *context);
MUST_CHECK bool redis_link_subscribe(struct bus_link *link, struct bytes channel, bool quiet);
void redis_link_unsubscribe(struct bus_link *link, struct bytes channel);

/* Connect those anew that are connected elsewhere than bus->master_place, and those that wait for
 * it. */
void redis_link_follow(struct redis_bus *bus);

/* Give the connection up, for the next of several places. Nothing while there is none. */
void redis_link_drop(struct bus_link *link, const char *why);

/* Why the link is down, for people ("" while unknown), and the status of that. */
const char *redis_link_error(const struct bus_link *link, int *ret_status);

#endif
