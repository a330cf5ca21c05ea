/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of servers, and one of slots that says which of them; both are written anew with each
 * answer of a server.
 */
#include "hub/redis/redis_map.h"

#include <string.h>

#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "hub/redis/redis_cluster_state.h"
#include "hub/redis/redis_slots.h"

/* --- servers ------------------------------------------------------------------------------- */

/* One that nobody needs any more, whose place in the table another may have. */
static struct redis_station *find_unused(const struct redis_cluster *cluster)
{
    for (size_t i = 0; i < cluster->station_count; i++) {
        struct redis_station *station = cluster->stations[i];
        if (!station->is_known && !station->is_master && station->bus == NULL) {
            return station;
        }
    }
    return NULL;
}

static struct redis_station *add_station(struct redis_cluster *cluster)
{
    if (cluster->station_count == REDIS_STATIONS_MAX) {
        /* What is held may mean to go there. */
        return list_empty(&cluster->waiting) ? find_unused(cluster) : NULL;
    }
    size_t size = (cluster->station_count + 1) * sizeof(struct redis_station *);
    struct redis_station **grown = mem_try_realloc(cluster->stations, size);
    if (grown == NULL) {
        return NULL;
    }
    struct redis_station *station = mem_alloc(sizeof(*station));
    list_init(&station->legs);
    station->number = (uint16_t)cluster->station_count;
    cluster->stations = grown;
    cluster->stations[cluster->station_count++] = station;
    return station;
}

struct redis_station *redis_map_station(
    struct redis_cluster *cluster, const struct redis_place *place)
{
    for (size_t i = 0; i < cluster->station_count; i++) {
        if (redis_place_equals(&cluster->stations[i]->place, place)) {
            return cluster->stations[i];
        }
    }
    struct redis_station *station = add_station(cluster);
    if (station != NULL) {
        station->place = *place;
        station->left_at = uv_now(cluster->bus->loop);
    }
    return station;
}

struct redis_station *redis_map_next(const struct redis_cluster *cluster, int after, bool replicas)
{
    for (size_t i = (size_t)(after + 1); i < cluster->station_count; i++) {
        struct redis_station *station = cluster->stations[i];
        if (station->is_master || (replicas && station->is_known)) {
            return station;
        }
    }
    return NULL;
}

/* --- slots --------------------------------------------------------------------------------- */

struct redis_station *redis_map_owner(const struct redis_cluster *cluster, uint32_t number)
{
    if (number == REDIS_LANE_ANY) {
        return cluster->voice;
    }
    if (number >= REDIS_LANE_STATION) {
        return cluster->stations[number - REDIS_LANE_STATION];
    }
    uint16_t owner = cluster->owners[number];
    return owner > 0 ? cluster->stations[owner - 1] : NULL;
}

void redis_map_move(struct redis_cluster *cluster, uint16_t slot, struct redis_station *station)
{
    station->is_master = true;
    cluster->owners[slot] = (uint16_t)(station->number + 1);
    redis_map_doubt(cluster);
}

void redis_map_doubt(struct redis_cluster *cluster)
{
    cluster->doubted = true;
}

/* What has no key goes by one server as long as that has slots, so that it stays in order. */
static void choose_voice(struct redis_cluster *cluster)
{
    if (cluster->voice != NULL && cluster->voice->is_master) {
        return;
    }
    uint32_t skip = (uint32_t)rand_below(&cluster->bus->rand, cluster->bus->stats.masters);
    struct redis_station *station = redis_map_next(cluster, -1, false);
    for (; skip > 0; skip--) {
        station = redis_map_next(cluster, station->number, false);
    }
    cluster->voice = station;
}

/* --- answers ------------------------------------------------------------------------------- */

/* Masters first, then who the settings name: for a cluster that has moved altogether. */
static void write_places(struct redis_cluster *cluster)
{
    struct redis_bus *bus = cluster->bus;
    const struct redis_url *url = &bus->target.url;
    size_t most = bus->stats.masters + (size_t)url->count;
    struct redis_place *places = mem_try_realloc(cluster->places, most * sizeof(*places));
    if (places == NULL) {
        return;
    }
    unsigned count = 0;
    struct redis_station *station = redis_map_next(cluster, -1, false);
    for (; station != NULL; station = redis_map_next(cluster, station->number, false)) {
        places[count++] = station->place;
    }
    memcpy(places + count, url->places, url->count * sizeof(*places));
    cluster->places = places;
    bus->places = places;
    bus->place_count = count + url->count;
}

static void forget_all(struct redis_cluster *cluster)
{
    memset(cluster->owners, 0, sizeof(cluster->owners));
    for (size_t i = 0; i < cluster->station_count; i++) {
        cluster->stations[i]->is_master = false;
        cluster->stations[i]->is_known = false;
    }
}

static void take_range(struct redis_cluster *cluster, const struct bus_reply *reply, size_t i,
    const struct redis_place *asked)
{
    struct redis_range range = redis_slots_range(reply, i);
    for (size_t server = 0; server < range.servers; server++) {
        struct redis_place place;
        struct redis_station *station = NULL;
        if (redis_slots_place(reply, i, server, asked, &place)) {
            station = redis_map_station(cluster, &place);
        }
        if (station == NULL) {
            continue;
        }
        station->is_known = true;
        if (server == 0) {
            station->is_master = true;
            for (unsigned slot = range.first; slot <= range.last; slot++) {
                cluster->owners[slot] = (uint16_t)(station->number + 1);
            }
        }
    }
}

/* Who is no master any more, since when; and the sums. */
static void count_all(struct redis_cluster *cluster)
{
    struct redis_stats *stats = &cluster->bus->stats;
    uint64_t now = uv_now(cluster->bus->loop);
    stats->masters = 0;
    stats->uncovered = 0;
    for (size_t i = 0; i < cluster->station_count; i++) {
        struct redis_station *station = cluster->stations[i];
        stats->masters += station->is_master;
        if (station->is_master || station->left_at == 0) {
            station->left_at = station->is_master ? 0 : now;
        }
    }
    for (size_t slot = 0; slot < REDIS_SLOTS; slot++) {
        stats->uncovered += cluster->owners[slot] == 0;
    }
}

static bool names_anybody(const struct bus_reply *reply, const struct redis_place *asked)
{
    struct redis_place place;
    for (size_t i = 0; i < reply->count; i++) {
        if (redis_slots_place(reply, i, 0, asked, &place)) {
            return true;
        }
    }
    return false;
}

bool redis_map_adopt(
    struct redis_cluster *cluster, const struct bus_reply *reply, const struct redis_place *asked)
{
    if (!redis_slots_are_good(reply) || !names_anybody(reply, asked)) {
        return false;
    }
    forget_all(cluster);
    for (size_t i = 0; i < reply->count; i++) {
        take_range(cluster, reply, i, asked);
    }
    count_all(cluster);
    if (cluster->bus->stats.masters == 0) {
        return false;
    }
    choose_voice(cluster);
    write_places(cluster);
    cluster->known = true;
    cluster->doubted = false;
    return true;
}

void redis_map_finish(struct redis_cluster *cluster)
{
    for (size_t i = 0; i < cluster->station_count; i++) {
        mem_free(cluster->stations[i]);
    }
    mem_free(cluster->stations);
    mem_free(cluster->places);
}
