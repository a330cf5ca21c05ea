/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes one answer of several, and a cursor that also says at which server it is.
 */
#include "hub/redis/redis_fan.h"

#include <stdio.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/redis/redis_cluster_state.h"
#include "hub/redis/redis_errand.h"
#include "hub/redis/redis_map.h"

enum { ERROR_SHOWN = 120, CHANNELS_MAX = 8, SCAN_ARGS_MAX = 10, CURSOR_MAX = 32 };

struct fan {
    bus_reply_fn fn;
    void *context;
    size_t waiting;
    bool done; /* it was answered */
    bool sums; /* numbers of subscribers */
    int status; /* the last that was no answer */
    char error[ERROR_SHOWN + 1];
    int64_t numbers[CHANNELS_MAX];
};

static void answer(struct fan *fan, int status, const struct bus_reply *reply)
{
    if (!fan->done && fan->fn != NULL) {
        fan->done = true;
        fan->fn(fan->context, status, reply);
    }
}

/* Channels and their numbers, one after the other. */
static bool add_numbers(struct fan *fan, const struct bus_reply *reply)
{
    if (reply->type != BUS_ARRAY || reply->count % 2 != 0 || reply->count > 2 * CHANNELS_MAX) {
        return false;
    }
    for (size_t i = 0; i < reply->count; i += 2) {
        if (reply->items[i + 1]->type != BUS_INTEGER) {
            return false;
        }
        fan->numbers[i / 2] += reply->items[i + 1]->integer;
    }
    return true;
}

static void answer_numbers(struct fan *fan, const struct bus_reply *reply)
{
    struct bus_reply numbers[CHANNELS_MAX];
    struct bus_reply *items[2 * CHANNELS_MAX];
    for (size_t i = 0; i < reply->count; i += 2) {
        numbers[i / 2] = (struct bus_reply){.type = BUS_INTEGER, .integer = fan->numbers[i / 2]};
        items[i] = reply->items[i];
        items[i + 1] = &numbers[i / 2];
    }
    const struct bus_reply sum = {.type = BUS_ARRAY, .count = reply->count, .items = items};
    answer(fan, 0, &sum);
}

static void answer_last(struct fan *fan, const struct bus_reply *reply)
{
    if (fan->status != 0) {
        answer(fan, fan->status, NULL);
    } else if (fan->error[0] != '\0') {
        const struct bus_reply error = {.type = BUS_ERROR, .text = bytes_str(fan->error)};
        answer(fan, 0, &error);
    } else if (fan->sums) {
        answer_numbers(fan, reply);
    } else {
        answer(fan, 0, reply);
    }
}

static void on_part(void *context, int status, const struct bus_reply *reply)
{
    struct fan *fan = context;
    fan->waiting--;
    if (status != 0) {
        fan->status = status;
    } else if (reply->type == BUS_ERROR) {
        size_t len = reply->text.len < ERROR_SHOWN ? reply->text.len : ERROR_SHOWN;
        snprintf(fan->error, sizeof(fan->error), "%.*s", (int)len, reply->text.at);
    } else if (fan->sums && !add_numbers(fan, reply)) {
        snprintf(fan->error, sizeof(fan->error), "ERR an answer of the wrong type");
    } else if (!fan->sums && reply->type == BUS_ARRAY && reply->count > 0) {
        answer(fan, 0, reply);
    }
    if (fan->waiting == 0) {
        answer_last(fan, reply);
        mem_free(fan);
    }
}

static unsigned send_each(struct redis_route *route, const struct redis_order *order, bool replicas,
    bus_reply_fn fn, void *context)
{
    const struct redis_cluster *cluster = route->cluster;
    unsigned count = 0;
    struct redis_station *station = redis_map_next(cluster, -1, replicas);
    for (; station != NULL; station = redis_map_next(cluster, station->number, replicas)) {
        redis_errand_start(route, REDIS_LANE_STATION + station->number, order, fn, context);
        count++;
    }
    if (count == 0) { /* the cluster is not known: it is refused */
        redis_errand_start(route, REDIS_LANE_ANY, order, fn, context);
        count++;
    }
    return count;
}

unsigned redis_fan_each(
    struct redis_route *route, const struct redis_order *order, bus_reply_fn fn, void *context)
{
    return send_each(route, order, false, fn, context);
}

/* Answers come in later turns, when all have been sent. */
void redis_fan_start(struct redis_route *route, const struct redis_order *order, bool replicas,
    bus_reply_fn fn, void *context)
{
    struct fan *fan = mem_alloc(sizeof(*fan));
    fan->fn = fn;
    fan->context = context;
    fan->sums = order->argc > 1 && bytes_eq_str(order->argv[0], "PUBSUB") &&
                memmem(order->argv[1].at, order->argv[1].len, "NUMSUB", strlen("NUMSUB")) != NULL;
    fan->waiting = send_each(route, order, replicas, on_part, fan);
}

/* --- scanning ------------------------------------------------------------------------------ */

struct scan {
    const struct redis_cluster *cluster;
    bus_reply_fn fn;
    void *context;
    struct redis_station *station;
};

/* "<server>-<cursor>", or "0" behind the last server. */
static void write_cursor(const struct scan *scan, struct bytes cursor, char ret_text[CURSOR_MAX])
{
    const struct redis_station *next = scan->station;
    if (bytes_eq(cursor, BYTES("0"))) {
        next = redis_map_next(scan->cluster, scan->station->number, false);
    }
    if (next == NULL) {
        snprintf(ret_text, CURSOR_MAX, "0");
    } else {
        snprintf(ret_text, CURSOR_MAX, "%u-%.*s", next->number,
            cursor.len < 20 ? (int)cursor.len : 20, cursor.at);
    }
}

static void on_scanned(void *context, int status, const struct bus_reply *reply)
{
    struct scan *scan = context;
    bool good = status == 0 && reply->type == BUS_ARRAY && reply->count == 2 &&
                reply->items[0]->type == BUS_STRING;
    char text[CURSOR_MAX] = "";
    if (good) {
        write_cursor(scan, reply->items[0]->text, text);
    }
    struct bus_reply cursor = {.type = BUS_STRING, .text = bytes_str(text)};
    struct bus_reply *items[] = {&cursor, good ? reply->items[1] : NULL};
    const struct bus_reply page = {.type = BUS_ARRAY, .count = ARRAY_LEN(items), .items = items};
    if (scan->fn != NULL) {
        scan->fn(scan->context, status, good ? &page : reply);
    }
    mem_free(scan);
}

/* The server that a cursor names, and the cursor there; NULL: there is no such server. */
static struct redis_station *read_cursor(
    const struct redis_cluster *cluster, struct bytes text, struct bytes *ret_cursor)
{
    uint64_t number;
    const char *dash = text.len > 0 ? memchr(text.at, '-', text.len) : NULL;
    size_t len = dash != NULL ? (size_t)(dash - text.at) : 0;
    *ret_cursor = dash != NULL ? bytes_skip(text, len + 1) : BYTES("0");
    if (dash == NULL) {
        return redis_map_next(cluster, -1, false);
    }
    if (cluster->station_count == 0 ||
        bytes_to_u64(bytes_of(text.at, len), cluster->station_count - 1, &number) != 0) {
        return NULL;
    }
    return cluster->stations[number];
}

void redis_fan_scan(
    struct redis_route *route, const struct redis_order *order, bus_reply_fn fn, void *context)
{
    struct bytes argv[SCAN_ARGS_MAX];
    CHECK(order->argc > 1 && order->argc <= SCAN_ARGS_MAX);
    memcpy(argv, order->argv, order->argc * sizeof(*argv));
    const struct redis_order changed = {argv, order->argc, order->timeout_ms};
    struct redis_station *station = read_cursor(route->cluster, order->argv[1], &argv[1]);
    if (station == NULL) {
        redis_errand_start(route, REDIS_LANE_ANY, &changed, fn, context);
        return;
    }
    struct scan *scan = mem_alloc(sizeof(*scan));
    *scan = (struct scan){route->cluster, fn, context, station};
    redis_errand_start(route, REDIS_LANE_STATION + station->number, &changed, on_scanned, scan);
}
