/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers are judged before they are used: a key of ours may have been written by anybody.
 */
#include "actors/presence/presence_view.h"

#include "actors/bus.h"
#include "actors/order/bus_origin.h"
#include "actors/shard.h"
#include "codec/base/map.h"
#include "codec/base/status.h"

enum { HEAD = 3, FIELDS = 5 }; /* of an answer, and of a place in it */

struct place {
    struct bytes name;
    int64_t left_ms;
    uint64_t version;
    uint64_t connections;
    struct bytes node;
};

static bool read_place(const struct bus_reply *reply, size_t at, struct place *ret_place)
{
    struct bus_reply *const *items = reply->items + at;
    if (items[0]->type != BUS_STRING || items[1]->type != BUS_INTEGER ||
        items[2]->type != BUS_INTEGER || items[3]->type != BUS_INTEGER ||
        items[4]->type != BUS_STRING || items[2]->integer < 0 || items[3]->integer < 0) {
        return false;
    }
    *ret_place = (struct place){
        .name = items[0]->text,
        .left_ms = items[1]->integer,
        .version = (uint64_t)items[2]->integer,
        .connections = (uint64_t)items[3]->integer,
        .node = items[4]->text,
    };
    return true;
}

/* Whether the node of the place at `at` has one before that counts. */
static bool is_known(const struct bus_reply *reply, size_t at, struct bytes node)
{
    for (size_t i = HEAD; i < at; i += FIELDS) {
        struct place place;
        if (read_place(reply, i, &place) && place.left_ms > 0 && bytes_eq(place.node, node)) {
            return true;
        }
    }
    return false;
}

static bool comes_before(struct bytes a, struct bytes b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len > 0 ? memcmp(a.at, b.at, len) : 0;
    return order < 0 || (order == 0 && a.len < b.len);
}

static bool is_head(const struct bus_reply *reply)
{
    return reply->type == BUS_ARRAY && reply->count > 0 && reply->items[0]->type == BUS_INTEGER;
}

int presence_view_read(struct shard *shard, struct bytes place, const struct bus_reply *reply,
    struct presence_view *ret_view, struct builder *ended)
{
    if (!is_head(reply)) {
        return STATUS_INVALID;
    }
    if (reply->items[0]->integer == 0) {
        return STATUS_NOT_FOUND;
    }
    if (reply->count < HEAD || (reply->count - HEAD) % FIELDS != 0 ||
        reply->count > HEAD + FIELDS * PRESENCE_PLACES_MAX ||
        reply->items[1]->type != BUS_INTEGER || reply->items[1]->integer < 0 ||
        reply->items[2]->type != BUS_INTEGER || reply->items[2]->integer < 0) {
        return STATUS_INVALID;
    }
    struct presence_view view = {.users = (uint64_t)reply->items[1]->integer,
        .changes = (uint64_t)reply->items[2]->integer,
        .sweeps = true};
    for (size_t i = HEAD; i < reply->count; i += FIELDS) {
        struct place other;
        if (!read_place(reply, i, &other)) {
            return STATUS_INVALID;
        }
        if (other.left_ms <= 0) {
            view.ended++;
            builder_add(ended, other.name);
            builder_byte(ended, ',');
        } else if (bus_origin_is_ours(
                       shard, "presence", bytes_str(shard->config->epoch), other.version)) {
            view.connections += other.connections;
            view.places += hash_unseeded(other.name);
            view.nodes += !is_known(reply, i, other.node);
            view.sweeps = view.sweeps && !comes_before(other.name, place);
        }
    }
    *ret_view = view;
    return 0;
}

/* The most that a place of the node at `at` or behind says, or 0: one before has said so. */
static int read_node(const struct bus_reply *reply, size_t at, uint64_t *ret_connections)
{
    const struct bus_reply *node = reply->items[at];
    uint64_t most = 0;
    for (size_t i = 0; i < reply->count; i += 2) {
        const struct bus_reply *name = reply->items[i];
        const struct bus_reply *number = reply->items[i + 1];
        if (name->type != BUS_STRING || number->type != BUS_INTEGER || number->integer < 0) {
            return STATUS_INVALID;
        }
        if (bytes_eq(name->text, node->text)) {
            if (i < at) {
                most = 0;
                break;
            }
            most = (uint64_t)number->integer > most ? (uint64_t)number->integer : most;
        }
    }
    *ret_connections = most;
    return 0;
}

int presence_view_read_user(const struct bus_reply *reply, struct bytes own,
    uint64_t *ret_connections, struct builder *nodes)
{
    uint64_t sum = 0;
    if (reply->type == BUS_NIL) {
        *ret_connections = 0;
        return 0;
    }
    if (reply->type != BUS_ARRAY || reply->count % 2 != 0 ||
        reply->count > 2 * PRESENCE_PLACES_MAX) {
        return STATUS_INVALID;
    }
    for (size_t i = 0; i < reply->count; i += 2) {
        uint64_t connections;
        if (read_node(reply, i, &connections) != 0) {
            return STATUS_INVALID;
        }
        if (connections > 0 && !bytes_eq(reply->items[i]->text, own)) {
            sum += connections;
            if (nodes != NULL) {
                builder_add(nodes, reply->items[i]->text);
                builder_byte(nodes, '\n');
            }
        }
    }
    *ret_connections = sum;
    return 0;
}
