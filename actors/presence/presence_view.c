/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers are judged before they are used: a key of ours may have been written by anybody.
 */
#include "actors/presence/presence_view.h"

#include "actors/bus.h"
#include "actors/deliver/owner.h"
#include "actors/order/bus_origin.h"
#include "actors/presence/presence_scripts.h"
#include "actors/shard.h"
#include "codec/base/status.h"
#include "codec/bus_version.h"

enum { HEAD = 6, FIELDS = 3 }; /* of an answer, and of a version in it */

static bool is_number(const struct bus_reply *reply)
{
    return reply->type == BUS_INTEGER && reply->integer >= 0;
}

/* Whether these are names of places, each followed by a comma. */
static bool are_places(struct bytes names)
{
    enum { EACH = PRESENCE_SHARD_DIGITS + PRESENCE_TERM_DIGITS + 1 };
    bool good = names.len % EACH == 0 && names.len <= (size_t)PRESENCE_SWEEP_PLACES * EACH;
    for (size_t i = 0; good && i < names.len; i++) {
        char c = names.at[i];
        bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        good = i % EACH == EACH - 1 ? c == ',' : digit;
    }
    return good;
}

static bool is_view(const struct bus_reply *reply)
{
    bool good = reply->count >= HEAD && (reply->count - HEAD) % FIELDS == 0 &&
                reply->count <= HEAD + FIELDS * PRESENCE_VERSIONS;
    for (size_t i = 1; good && i < reply->count; i++) {
        const struct bus_reply *item = reply->items[i];
        good = i == HEAD - 1 ? item->type == BUS_STRING && are_places(item->text) : is_number(item);
    }
    return good;
}

/*
 * Whether places that say this version count. Those of the next one are of a node that was alone
 * when it wrote them: it writes them anew within a second, for us, and nobody is to be told.
 */
static bool counts(struct shard *shard, const struct bus_reply *version)
{
    return version->integer != (int64_t)bus_version + 1 &&
           bus_origin_is_ours(
               shard, "presence", bytes_str(shard->config->epoch), (uint64_t)version->integer);
}

int presence_view_read(struct shard *shard, const struct bus_reply *reply,
    struct presence_view *ret_view, struct builder *ended)
{
    enum { LOST, GOOD, FULL };
    if (reply->type != BUS_ARRAY || reply->count == 0 || !is_number(reply->items[0])) {
        return STATUS_INVALID;
    }
    if (reply->items[0]->integer != GOOD) {
        return reply->items[0]->integer == FULL ? STATUS_TOO_LARGE : STATUS_NOT_FOUND;
    }
    if (!is_view(reply)) {
        return STATUS_INVALID;
    }
    struct presence_view view = {.users = (uint64_t)reply->items[1]->integer,
        .changes = (uint64_t)reply->items[2]->integer,
        .ended = (uint64_t)reply->items[3]->integer,
        .places = (uint64_t)reply->items[4]->integer};
    for (size_t i = HEAD; i < reply->count; i += FIELDS) {
        if (counts(shard, reply->items[i])) {
            view.nodes += (uint64_t)reply->items[i + 1]->integer;
            view.connections += (uint64_t)reply->items[i + 2]->integer;
        }
    }
    builder_add(ended, reply->items[HEAD - 1]->text);
    *ret_view = view;
    return 0;
}

enum { EACH = 3 }; /* of a place of a user */

/* The most that a place of the node at `at` or behind says, or 0: one before has said so. */
static uint64_t read_node(const struct bus_reply *reply, size_t at)
{
    const struct bus_reply *node = reply->items[at];
    uint64_t most = 0;
    for (size_t i = 0; i < reply->count; i += EACH) {
        if (bytes_eq(reply->items[i]->text, node->text)) {
            if (i < at) {
                return 0;
            }
            uint64_t number = (uint64_t)reply->items[i + 1]->integer;
            most = number > most ? number : most;
        }
    }
    return most;
}

static bool are_holders(const struct bus_reply *reply)
{
    bool good = reply->type == BUS_ARRAY && reply->count % EACH == 0 &&
                reply->count <= EACH * PRESENCE_NODES_MAX;
    for (size_t i = 0; good && i < reply->count; i += EACH) {
        good = reply->items[i]->type == BUS_STRING && is_number(reply->items[i + 1]) &&
               is_number(reply->items[i + 2]) && reply->items[i + 2]->integer <= OWNER_HIDDEN;
    }
    return good;
}

int presence_view_read_user(const struct bus_reply *reply, struct bytes own,
    struct presence_others *ret_others, struct builder *nodes)
{
    struct presence_others others = {0};
    if (reply->type != BUS_NIL && !are_holders(reply)) {
        return STATUS_INVALID;
    }
    for (size_t i = 0; reply->type != BUS_NIL && i < reply->count; i += EACH) {
        if (bytes_eq(reply->items[i]->text, own)) {
            continue;
        }
        uint64_t connections = read_node(reply, i);
        uint8_t shown = (uint8_t)reply->items[i + 2]->integer;
        others.connections += connections;
        others.shown = shown > others.shown ? shown : others.shown;
        if (connections > 0 && nodes != NULL) {
            builder_add(nodes, reply->items[i]->text);
            builder_byte(nodes, '\n');
        }
    }
    *ret_others = others;
    return 0;
}
