/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the text of a command until it is answered, so that it can be sent to another server.
 *
 * Order of this file: the ends of an errand, lanes, sending, what a cluster answers, public.
 */
#include "hub/redis/redis_errand.h"

#include <string.h>

#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/redis_error.h"
#include "hub/redis/redis_cluster_state.h"
#include "hub/redis/redis_leg.h"
#include "hub/redis/redis_map.h"
#include "hub/redis/redis_slots.h"
#include "hub/redis/redis_text.h"

enum {
    TEXT_KEEP = 64 * 1024,
    TIMEOUT_MS = 5000,
    AGAIN_MS = 100,
    REDIRECTIONS_MAX = 16,
    LANES_MAX = 64 * 1024,
    ANSWER_SHOWN = 120,
};

enum fate { FATE_SENT, FATE_HELD, FATE_REFUSED };

static uint64_t now_of(const struct redis_cluster *cluster)
{
    return uv_now(cluster->bus->loop);
}

/* --- the ends of an errand ----------------------------------------------------------------- */

/* The route may be closed by whom it tells. */
static void finish(struct redis_errand *errand, int status, const struct bus_reply *reply)
{
    errand->route->cluster->bytes -= sizeof(*errand) + errand->len;
    if (errand->fn != NULL) {
        errand->fn(errand->context, status, reply);
    }
    mem_free(errand);
}

/* Not at once: nobody is told of what he has just asked before that returns. */
static void refuse(struct redis_errand *errand)
{
    struct redis_route *route = errand->route;
    errand->lane = NULL;
    route->cluster->bus->stats.refused++;
    list_append(&route->refused, &errand->link);
    redis_leg_settle_soon(route->cluster);
}

/* --- lanes --------------------------------------------------------------------------------- */

struct bytes redis_errand_lane_key(const void *lane)
{
    const struct redis_lane *one = lane;
    return bytes_of((const char *)&one->number, sizeof(one->number));
}

static struct redis_lane *take_lane(struct redis_route *route, uint32_t number)
{
    struct bytes key = bytes_of((const char *)&number, sizeof(number));
    struct redis_lane *lane = map_get(&route->lanes, key);
    if (lane != NULL || map_count(&route->lanes) == LANES_MAX) {
        return lane;
    }
    lane = mem_try_calloc(1, sizeof(*lane));
    if (lane == NULL) {
        return NULL;
    }
    lane->route = route;
    lane->number = number;
    list_init(&lane->held);
    list_init(&lane->waiting);
    if (!map_put(&route->lanes, lane)) {
        mem_free(lane);
        return NULL;
    }
    return lane;
}

/* Free one that nothing goes by. */
static void release_lane(struct redis_lane *lane)
{
    if (lane->flying == 0 && list_empty(&lane->held)) {
        (void)map_remove(&lane->route->lanes, redis_errand_lane_key(lane));
        list_remove(&lane->waiting);
        mem_free(lane);
    }
}

static void wait(struct redis_lane *lane)
{
    if (list_empty(&lane->waiting)) {
        list_append(&lane->route->cluster->waiting, &lane->waiting);
    }
}

/* Put an errand among those that are held, in the order in which they were asked for. */
static void hold(struct redis_errand *errand)
{
    struct list *before = errand->lane->held.prev;
    while (before != &errand->lane->held &&
           container_of(before, struct redis_errand, link)->number > errand->number) {
        before = before->prev;
    }
    list_prepend(before, &errand->link); /* as a head: behind it */
    wait(errand->lane);
}

/* --- sending ------------------------------------------------------------------------------- */

static void on_answer(void *context, int status, const struct bus_reply *reply);

static bool transmit(struct redis_errand *errand, struct redis_leg *leg)
{
    struct bytes text = bytes_of(errand->text, errand->len);
    static const char asking[] = "*1\r\n$6\r\nASKING\r\n";
    if (errand->asking && !redis_link_send(leg->to, bytes_str(asking), TIMEOUT_MS, NULL, NULL)) {
        return false;
    }
    return redis_link_send(leg->to, text, errand->timeout_ms, on_answer, errand);
}

static enum fate dispatch(struct redis_errand *errand)
{
    struct redis_lane *lane = errand->lane;
    struct redis_cluster *cluster = errand->route->cluster;
    struct redis_station *station = errand->detour;
    int trouble = 0;
    if (station == NULL) {
        station = redis_map_owner(cluster, lane->number);
    }
    if (station == NULL) {
        redis_map_doubt(cluster);
        return cluster->known ? FATE_HELD : FATE_REFUSED;
    }
    struct redis_leg *leg = redis_leg_open(lane->route, station);
    if (redis_link_is_up(leg->to)) {
        if (!transmit(errand, leg)) {
            return FATE_REFUSED;
        }
        lane->flying++;
        errand->detour = NULL;
        errand->asking = false;
        return FATE_SENT;
    }
    (void)redis_link_error(leg->to, &trouble);
    if (trouble == 0 || errand->redirected > 0) {
        return FATE_HELD; /* it connects */
    }
    redis_map_doubt(cluster);
    return FATE_REFUSED;
}

/* Send what is held, as far as that goes. */
static void go_on(struct redis_lane *lane, uint64_t now)
{
    if (lane->flying > 0 || now < lane->not_before) {
        return;
    }
    while (!list_empty(&lane->held)) {
        struct redis_errand *errand = container_of(lane->held.next, struct redis_errand, link);
        enum fate fate = dispatch(errand);
        if (fate == FATE_HELD) {
            return;
        }
        list_remove(&errand->link);
        if (fate == FATE_REFUSED) {
            refuse(errand);
        }
    }
    release_lane(lane);
}

/* --- what a cluster answers ---------------------------------------------------------------- */

/* Where an errand of a slot was sent to; that of the owner is close enough to tell a host. */
static const struct redis_place *place_of(const struct redis_errand *errand)
{
    const struct redis_station *station =
        redis_map_owner(errand->route->cluster, errand->lane->number);
    return station != NULL ? &station->place : &errand->route->cluster->bus->places[0];
}

/* MOVED or ASK; false: it leads nowhere. */
static bool redirect(struct redis_errand *errand, struct bytes answer)
{
    struct redis_cluster *cluster = errand->route->cluster;
    struct redis_place place;
    uint16_t slot;
    if (errand->redirected++ >= REDIRECTIONS_MAX ||
        !redis_slots_redirection(answer, place_of(errand), &slot, &place)) {
        return false;
    }
    struct redis_station *station = redis_map_station(cluster, &place);
    if (station == NULL) {
        return false;
    }
    errand->detour = station;
    errand->asking = answer.at[0] == 'A';
    errand->lane->not_before = 0;
    if (errand->asking) {
        cluster->bus->stats.asked++;
    } else {
        cluster->bus->stats.moved++;
        redis_map_move(cluster, slot, station);
    }
    return true;
}

static void log_again(struct redis_cluster *cluster, struct bytes answer)
{
    unsigned suppressed;
    if (!cluster->bus->options.quiet && log_allow(&cluster->log, &suppressed)) {
        log_warn("BUS-AGAIN", "a server of the Redis cluster cannot do it now, asking again",
            "answer=%s suppressed=%u",
            log_quote(bytes_of(answer.at, answer.len < ANSWER_SHOWN ? answer.len : ANSWER_SHOWN)),
            suppressed);
    }
}

/* What passes by itself; false: its time is over. */
static bool try_again(struct redis_errand *errand, struct bytes answer)
{
    struct redis_cluster *cluster = errand->route->cluster;
    uint64_t now = now_of(cluster);
    cluster->bus->stats.retried++;
    redis_map_doubt(cluster);
    log_again(cluster, answer);
    errand->lane->not_before = now + AGAIN_MS;
    return now + AGAIN_MS < errand->until;
}

/* Whether an error says nothing about the command, which is to be sent again. */
static bool is_held(struct redis_errand *errand, struct bytes answer)
{
    static const char *const passing[] = {
        "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY", "UNBLOCKED"};
    if (bytes_starts(answer, BYTES("MOVED ")) || bytes_starts(answer, BYTES("ASK "))) {
        return redirect(errand, answer);
    }
    for (size_t i = 0; i < ARRAY_LEN(passing); i++) {
        if (bytes_starts(answer, bytes_str(passing[i]))) {
            return try_again(errand, answer);
        }
    }
    return false;
}

static void on_answer(void *context, int status, const struct bus_reply *reply)
{
    struct redis_errand *errand = context;
    struct redis_lane *lane = errand->lane;
    struct redis_route *route = errand->route;
    lane->flying--;
    if (status == STATUS_CANCELLED && !route->closed) {
        status = STATUS_UNAVAILABLE; /* the server has left */
    }
    if (status == 0 && reply->type == BUS_ERROR && is_held(errand, reply->text)) {
        hold(errand);
        redis_leg_settle_soon(route->cluster);
        return;
    }
    finish(errand, status, reply);
    if (route->closed) {
        return; /* the lane went with it */
    }
    if (!list_empty(&lane->held)) {
        redis_leg_settle_soon(route->cluster);
    }
    release_lane(lane);
}

/* --- public -------------------------------------------------------------------------------- */

/* NULL: there is no memory for it, or too much is under way. */
static struct redis_errand *make(struct redis_route *route, const struct redis_order *order)
{
    struct redis_cluster *cluster = route->cluster;
    builder_clear(&cluster->text);
    redis_text_command(order->argv, order->argc, &cluster->text);
    struct bytes text = builder_bytes(&cluster->text);
    size_t size = sizeof(struct redis_errand) + text.len;
    struct redis_errand *errand = NULL;
    if (!builder_failed(&cluster->text) && size <= cluster->bus->options.send_max &&
        cluster->bytes <= cluster->bus->options.send_max - size) {
        errand = mem_try_alloc(size);
    }
    if (errand != NULL) {
        *errand = (struct redis_errand){.len = text.len};
        memcpy(errand->text, text.at, text.len);
    }
    if (text.len > TEXT_KEEP) {
        builder_reset(&cluster->text);
    }
    return errand;
}

void redis_errand_start(struct redis_route *route, uint32_t number, const struct redis_order *order,
    bus_reply_fn fn, void *context)
{
    struct redis_cluster *cluster = route->cluster;
    struct redis_lane *lane = take_lane(route, number);
    struct redis_errand *errand = lane != NULL ? make(route, order) : NULL;
    enum fate fate = FATE_REFUSED;
    if (errand == NULL) {
        errand = mem_alloc(sizeof(*errand));
    } else {
        fate = FATE_HELD;
    }
    list_init(&errand->link);
    errand->route = route;
    errand->lane = lane;
    errand->fn = fn;
    errand->context = context;
    errand->number = ++route->errands;
    errand->timeout_ms = order->timeout_ms != 0 ? order->timeout_ms : TIMEOUT_MS;
    errand->until = now_of(cluster) + errand->timeout_ms;
    cluster->bytes += sizeof(*errand) + errand->len;
    if (fate == FATE_HELD && list_empty(&lane->held)) {
        fate = dispatch(errand);
    }
    if (fate == FATE_HELD) {
        hold(errand);
    } else if (fate == FATE_REFUSED) {
        refuse(errand);
        if (lane != NULL) {
            release_lane(lane);
        }
    }
}

/* Give up what has been held for too long; who asked may close its route. */
static void expire(struct redis_lane *lane, uint64_t now)
{
    struct list *at = lane->held.next;
    while (at != &lane->held) {
        struct redis_errand *errand = container_of(at, struct redis_errand, link);
        at = at->next;
        if (now >= errand->until) {
            list_remove(&errand->link);
            refuse(errand);
        }
    }
}

void redis_errand_go_on(struct redis_cluster *cluster)
{
    uint64_t now = now_of(cluster);
    list_for_each_safe (each, following, &cluster->waiting) {
        struct redis_lane *lane = container_of(each, struct redis_lane, waiting);
        expire(lane, now);
        go_on(lane, now);
    }
}

/* Those that are refused meanwhile wait. */
void redis_errand_refuse(struct redis_route *route)
{
    struct list now;
    list_init(&now);
    list_splice(&now, &route->refused);
    for (struct list *each; (each = list_pop(&now)) != NULL;) {
        int status = route->closed ? STATUS_CANCELLED : STATUS_UNAVAILABLE;
        finish(container_of(each, struct redis_errand, link), status, NULL);
    }
}

void redis_errand_cancel(struct redis_route *route)
{
    size_t cursor = 0;
    for (struct redis_lane *lane; (lane = map_next(&route->lanes, &cursor)) != NULL;) {
        for (struct list *each; (each = list_pop(&lane->held)) != NULL;) {
            finish(container_of(each, struct redis_errand, link), STATUS_CANCELLED, NULL);
        }
        list_remove(&lane->waiting);
        mem_free(lane);
    }
    map_finish(&route->lanes);
    redis_errand_refuse(route);
}
