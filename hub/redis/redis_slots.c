/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes ranges, servers and redirections apart; nothing a server says is taken without a look.
 */
#include "hub/redis/redis_slots.h"

#include <string.h>

#include "codec/redis_keys.h"

enum { SERVERS_AT = 2 }; /* in a range, behind its first and last slot */

static bool is_slot(const struct bus_reply *reply)
{
    return reply->type == BUS_INTEGER && reply->integer >= 0 && reply->integer < REDIS_SLOTS;
}

static bool is_server(const struct bus_reply *reply)
{
    return reply->type == BUS_ARRAY && reply->count >= 2 &&
           (reply->items[0]->type == BUS_STRING || reply->items[0]->type == BUS_NIL) &&
           reply->items[1]->type == BUS_INTEGER;
}

static bool is_range(const struct bus_reply *reply)
{
    if (reply->type != BUS_ARRAY || reply->count <= SERVERS_AT || !is_slot(reply->items[0]) ||
        !is_slot(reply->items[1]) || reply->items[1]->integer < reply->items[0]->integer) {
        return false;
    }
    for (size_t i = SERVERS_AT; i < reply->count; i++) {
        if (!is_server(reply->items[i])) {
            return false;
        }
    }
    return true;
}

bool redis_slots_are_good(const struct bus_reply *reply)
{
    for (size_t i = 0; reply->type == BUS_ARRAY && i < reply->count; i++) {
        if (!is_range(reply->items[i])) {
            return false;
        }
    }
    return reply->type == BUS_ARRAY;
}

struct redis_range redis_slots_range(const struct bus_reply *reply, size_t i)
{
    const struct bus_reply *range = reply->items[i];
    return (struct redis_range){
        .first = (uint16_t)range->items[0]->integer,
        .last = (uint16_t)range->items[1]->integer,
        .servers = range->count - SERVERS_AT,
    };
}

/* A host as servers tell it: none is that of `asked`, "?" is one that nobody has set. */
static bool read_place(struct bytes host, uint64_t port, const struct redis_place *asked,
    struct redis_place *ret_place)
{
    struct redis_place place = {.port = (uint16_t)port};
    if (port == 0 || port > UINT16_MAX || host.len >= sizeof(place.host) ||
        bytes_eq(host, BYTES("?"))) {
        return false;
    }
    if (host.len == 0) {
        memcpy(place.host, asked->host, sizeof(place.host));
    } else {
        memcpy(place.host, host.at, host.len);
    }
    *ret_place = place;
    return true;
}

bool redis_slots_place(const struct bus_reply *reply, size_t i, size_t server,
    const struct redis_place *asked, struct redis_place *ret_place)
{
    const struct bus_reply *one = reply->items[i]->items[SERVERS_AT + server];
    int64_t port = one->items[1]->integer;
    return read_place(one->items[0]->text, port > 0 ? (uint64_t)port : 0, asked, ret_place);
}

static struct bytes take_word(struct bytes *text)
{
    const char *blank = text->len > 0 ? memchr(text->at, ' ', text->len) : NULL;
    struct bytes word = bytes_of(text->at, blank != NULL ? (size_t)(blank - text->at) : text->len);
    *text = bytes_skip(*text, blank != NULL ? word.len + 1 : word.len);
    return word;
}

bool redis_slots_redirection(struct bytes error, const struct redis_place *asked,
    uint16_t *ret_slot, struct redis_place *ret_place)
{
    uint64_t slot;
    uint64_t port;
    struct bytes word = take_word(&error);
    if ((!bytes_eq(word, BYTES("MOVED")) && !bytes_eq(word, BYTES("ASK"))) ||
        bytes_to_u64(take_word(&error), REDIS_SLOTS - 1, &slot) != 0) {
        return false;
    }
    struct bytes place = take_word(&error);
    const char *colon = place.len > 0 ? memrchr(place.at, ':', place.len) : NULL;
    if (colon == NULL) {
        return false;
    }
    size_t host = (size_t)(colon - place.at);
    if (bytes_to_u64(bytes_skip(place, host + 1), UINT16_MAX, &port) != 0 ||
        !read_place(bytes_of(place.at, host), port, asked, ret_place)) {
        return false;
    }
    *ret_slot = (uint16_t)slot;
    return true;
}
