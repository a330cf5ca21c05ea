/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One allocation holds a broadcast with its names; whoever drops the last reference, on any shard,
 * frees it.
 */
#include "actors/deliver/broadcast.h"

#include "codec/base/mem.h"

static size_t total_len(const struct bytes *names, uint32_t count)
{
    size_t len = 0;
    for (uint32_t i = 0; i < count; i++) {
        len += names[i].len;
    }
    return len;
}

/* Copy names behind the struct; returns where the next text goes. */
static char *copy_names(struct bytes *to, char *at, const struct bytes *names, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (names[i].len > 0) {
            memcpy(at, names[i].at, names[i].len);
        }
        to[i] = bytes_of(at, names[i].len);
        at += names[i].len;
    }
    return at;
}

struct broadcast *broadcast_new(struct event *event, const struct bytes *rooms, uint32_t room_count,
    const struct bytes *except, uint32_t except_count)
{
    CHECK(room_count <= BROADCAST_NAMES_MAX && except_count <= BROADCAST_NAMES_MAX);
    size_t count = (size_t)room_count + except_count;
    size_t texts = total_len(rooms, room_count) + total_len(except, except_count);
    struct broadcast *broadcast = NULL;
    if (event != NULL) {
        broadcast = mem_try_calloc(1, sizeof(*broadcast) + count * sizeof(struct bytes) + texts);
    }
    if (broadcast == NULL) {
        event_unref(event);
        return NULL;
    }
    atomic_init(&broadcast->refs, 1);
    broadcast->event = event;
    broadcast->room_count = room_count;
    broadcast->except_count = except_count;
    char *at = (char *)(broadcast->names + count);
    at = copy_names(broadcast->names, at, rooms, room_count);
    copy_names(broadcast->names + room_count, at, except, except_count);
    return broadcast;
}

void broadcast_names_init(struct broadcast_names *names, uint32_t max)
{
    *names = (struct broadcast_names){.max = max};
    names->names = mem_try_calloc((size_t)max + 1, sizeof(*names->names));
}

void broadcast_names_add(struct broadcast_names *names, struct bytes name)
{
    CHECK(names->count < names->max);
    if (names->names != NULL) {
        names->names[names->count].len = name.len;
        builder_add(&names->texts, name);
    }
    names->count++;
}

struct broadcast *broadcast_from_names(
    struct event *event, struct broadcast_names *names, uint32_t room_count)
{
    struct broadcast *broadcast = NULL;
    bool good = names->names != NULL && !builder_failed(&names->texts);
    struct bytes texts = builder_bytes(&names->texts);
    for (uint32_t i = 0; good && i < names->count; i++) {
        names->names[i].at = texts.at;
        texts = bytes_skip(texts, names->names[i].len);
    }
    if (good) {
        broadcast = broadcast_new(
            event, names->names, room_count, names->names + room_count, names->count - room_count);
    } else {
        event_unref(event);
    }
    builder_reset(&names->texts);
    mem_free(names->names);
    return broadcast;
}

bool broadcast_keep(struct broadcast *broadcast, struct bytes name, uint64_t until_ms, bool removes)
{
    struct broadcast_retain *retain = mem_try_calloc(1, sizeof(*retain) + name.len);
    if (retain == NULL) {
        return false;
    }
    retain->until_ms = until_ms;
    retain->removes = removes;
    retain->name_len = (uint32_t)name.len;
    memcpy(retain->name_at, name.at, name.len);
    broadcast->retain = retain;
    return true;
}

struct broadcast *broadcast_ref(struct broadcast *broadcast)
{
    /* Relaxed: the caller holds a reference, so nothing has to be ordered before. */
    atomic_fetch_add_explicit(&broadcast->refs, 1, memory_order_relaxed);
    return broadcast;
}

void broadcast_unref(struct broadcast *broadcast)
{
    /* Every holder's reads happen before the free: release by each, acquire by the last. */
    if (broadcast == NULL ||
        atomic_fetch_sub_explicit(&broadcast->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    event_unref(broadcast->event);
    mem_free(broadcast->retain);
    mem_free(broadcast);
}
