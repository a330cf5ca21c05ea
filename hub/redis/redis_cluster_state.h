/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_cluster_state - what the files of the bus over a cluster share; nobody else includes this.
 *
 *     redis_map ◀─ redis_leg ◀─ redis_errand ◀─ redis_route ◀─ redis_fan ◀─ redis_cluster
 *
 * Actors see routes, which stand for links. A route for commands has a leg, a link of its own, to
 * each server that it was sent to; one for channels has a link to any server. Each server has a
 * plain bus with one place (redis_station.bus), so that an outage of one is one of its links alone.
 */
#ifndef HUB_REDIS_REDIS_CLUSTER_STATE_H
#define HUB_REDIS_REDIS_CLUSTER_STATE_H

#include <uv.h>

#include "codec/base/list.h"
#include "codec/base/log.h"
#include "codec/base/map.h"
#include "codec/redis_keys.h"
#include "hub/redis/redis_bus.h"
#include "hub/redis/redis_link_state.h"

enum {
    REDIS_STATIONS_MAX = 4096,
    /* What a lane is for: a slot, any server, or the server with this number and its own. */
    REDIS_LANE_ANY = REDIS_SLOTS,
    REDIS_LANE_STATION = REDIS_SLOTS + 1,
};

/* A server of the cluster. */
struct redis_station {
    struct redis_place place;
    uint16_t number; /* its place in redis_cluster.stations */
    bool is_master; /* of slots, by what is known */
    bool is_known; /* it is in the last answer */
    uint64_t left_at; /* when it was no master any more */
    struct redis_bus *bus; /* NULL: nobody has sent anything there */
    struct list legs; /* redis_leg.at_station */
};

struct redis_cluster {
    struct redis_bus *bus; /* that actors have: links of channels, and the asker */
    struct redis_station **stations;
    size_t station_count;
    uint16_t owners[REDIS_SLOTS]; /* number of the master + 1; 0: nobody is it */
    struct redis_station *voice; /* who carries out what has no key; NULL: nobody yet */
    struct redis_place *places; /* masters, and who the settings name: where channels may be */
    bool known; /* there was an answer */
    bool doubted; /* it is to be asked for again at once */
    char fault[REDIS_WHY_MAX]; /* why there is none */
    int fault_status;
    struct list routes; /* redis_route.all */
    struct list gone; /* the same of those that are closed: their memory goes in a later turn */
    struct list waiting; /* redis_lane.waiting: with something that is held */
    size_t bytes; /* of all errands */
    struct builder text; /* of one command */
    uv_timer_t ticker;
    uv_timer_t soon;
    uv_timer_cb on_soon;
    unsigned handles; /* of these two and of buses, not closed yet */
    struct bus_link *asker;
    bool waits; /* the asker, for an answer */
    uint64_t asked_at;
    struct log_limit log;
    bool closing;
};

/* Stands for a link of actors. */
struct redis_route {
    struct list all; /* redis_cluster.routes, or gone */
    struct redis_cluster *cluster;
    struct bus_events events;
    void *context;
    enum link_use use;
    bool up; /* as was told, unless it is for channels */
    bool closed;
    struct bus_link *home; /* for channels */
    struct list legs; /* redis_leg.link */
    struct map lanes; /* redis_lane, by number */
    struct list refused; /* redis_errand.link: answered in a turn of their own */
    uint64_t errands; /* so far */
    char name[REDIS_NAME_MAX + 1];
};

/* A link of a route to a server. */
struct redis_leg {
    struct list link; /* redis_route.legs */
    struct list at_station; /* redis_station.legs */
    struct redis_route *route;
    struct redis_station *station;
    struct bus_link *to;
    bool lost; /* it was up, and is not */
};

/* What must stay in order: the commands of a route for one slot, or for one server. */
struct redis_lane {
    struct redis_route *route;
    uint32_t number; /* a slot, or REDIS_LANE_… */
    size_t flying; /* sent, not answered */
    struct list held; /* redis_errand.link, by redis_errand.number */
    struct list waiting; /* redis_cluster.waiting, while something is held */
    uint64_t not_before; /* when what is held may be sent */
};

/* A command, until it is answered. */
struct redis_errand {
    struct list link; /* redis_lane.held, or redis_route.refused */
    struct redis_route *route;
    struct redis_lane *lane; /* NULL: refused */
    bus_reply_fn fn; /* may be NULL */
    void *context;
    uint64_t number;
    uint64_t until; /* it is held no longer than this */
    uint32_t timeout_ms;
    unsigned redirected; /* how often */
    struct redis_station *detour; /* where the next attempt goes, instead of to the owner */
    bool asking; /* with ASKING before it */
    size_t len;
    char text[];
};

#endif
