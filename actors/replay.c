/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries are a ring in the order of their numbers, which have gaps where an event was volatile.
 * Order of this file: life, dropping, adding, reading, offsets.
 */
#include "actors/replay.h"

#include "actors/broadcast.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"

enum {
    SLOTS = 8192, /* of names whose events were dropped */
    FIRST_ROOM = 64,
    NAME_LEN = 8,
    SID_LEN = 20,
    PACKET_BYTES = 64, /* around an event on the wire, its offset included */
};

_Static_assert((SLOTS & (SLOTS - 1)) == 0, "slots are chosen by bits");
_Static_assert(NAME_LEN + 1 + 20 <= REPLAY_OFFSET_MAX, "an offset fits");

struct entry {
    uint64_t number;
    uint64_t at_ms;
    struct broadcast *broadcast; /* NULL: a direct event */
    struct event *event;
    char sid[SID_LEN]; /* of a direct event */
};

struct replay {
    struct replay_limits limits;
    uint64_t last;
    struct entry *entries;
    uint32_t room; /* 0 or a power of two */
    uint32_t head;
    uint32_t count;
    size_t bytes;
    uint64_t dropped_all; /* the last number dropped that was for everyone */
    uint64_t dropped[SLOTS]; /* the same by name */
    char name[NAME_LEN]; /* tells the offsets of this log from others */
};

/* Life. */

struct replay *replay_create(const struct replay_limits *limits)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.";
    struct replay *replay = mem_alloc(sizeof(*replay));
    uint8_t random[NAME_LEN];
    rand_secret(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++) {
        replay->name[i] = alphabet[random[i] & 63];
    }
    replay->limits = *limits;
    return replay;
}

static struct entry *entry_at(const struct replay *replay, uint32_t index)
{
    return &replay->entries[(replay->head + index) & (replay->room - 1)];
}

static void release(const struct entry *entry)
{
    if (entry->broadcast != NULL) {
        broadcast_unref(entry->broadcast);
    } else {
        event_unref(entry->event);
    }
}

void replay_destroy(struct replay *replay)
{
    if (replay == NULL) {
        return;
    }
    for (uint32_t i = 0; i < replay->count; i++) {
        release(entry_at(replay, i));
    }
    mem_free(replay->entries);
    mem_free(replay);
}

uint64_t replay_last(const struct replay *replay)
{
    return replay->last;
}

bool replay_is_empty(const struct replay *replay)
{
    return replay->count == 0;
}

/* Dropping. */

static size_t weight(const struct entry *entry)
{
    const struct event *event = entry->event;
    size_t bytes = sizeof(*entry) + event->data.len;
    for (unsigned i = 0; event->attachments != NULL && i < event->attachment_count; i++) {
        bytes += buf_bytes(event->attachments[i]).len;
    }
    return bytes;
}

static uint64_t *slot_of(const struct replay *replay, struct bytes name)
{
    return (uint64_t *)&replay->dropped[hash_bytes(name) & (SLOTS - 1)];
}

/* Remember for whom the entry was. */
static void note_dropped(struct replay *replay, const struct entry *entry)
{
    const struct broadcast *broadcast = entry->broadcast;
    if (broadcast == NULL) {
        *slot_of(replay, bytes_of(entry->sid, SID_LEN)) = entry->number;
    } else if (broadcast->room_count == 0) {
        replay->dropped_all = entry->number;
    } else {
        for (uint32_t i = 0; i < broadcast->room_count; i++) {
            *slot_of(replay, broadcast_rooms(broadcast)[i]) = entry->number;
        }
    }
}

static void drop_first(struct replay *replay)
{
    struct entry *first = entry_at(replay, 0);
    note_dropped(replay, first);
    replay->bytes -= weight(first);
    release(first);
    replay->head = (replay->head + 1) & (replay->room - 1);
    replay->count--;
}

void replay_expire(struct replay *replay, uint64_t now_ms)
{
    while (replay->count > 0 && entry_at(replay, 0)->at_ms + replay->limits.age_ms <= now_ms) {
        drop_first(replay);
    }
}

/* Adding. */

static void grow(struct replay *replay)
{
    uint32_t room = replay->room > 0 ? replay->room * 2 : FIRST_ROOM;
    struct entry *entries = mem_alloc_array(room, sizeof(*entries));
    for (uint32_t i = 0; i < replay->count; i++) {
        entries[i] = *entry_at(replay, i);
    }
    mem_free(replay->entries);
    replay->entries = entries;
    replay->room = room;
    replay->head = 0;
}

/* Keep `entry`, which owns a reference; the oldest go. */
static void keep(struct replay *replay, const struct entry *entry)
{
    replay_expire(replay, entry->at_ms);
    if (replay->count == replay->room) {
        grow(replay);
    }
    *entry_at(replay, replay->count++) = *entry;
    replay->bytes += weight(entry);
    while (replay->bytes > replay->limits.bytes || replay->count > replay->limits.events) {
        drop_first(replay);
    }
}

uint64_t replay_add(struct replay *replay, struct broadcast *broadcast, uint64_t now_ms)
{
    uint64_t number = ++replay->last;
    if (!(broadcast->event->flags & EVENT_VOLATILE)) {
        struct entry entry = {.number = number,
            .at_ms = now_ms,
            .broadcast = broadcast_ref(broadcast),
            .event = broadcast->event};
        keep(replay, &entry);
    }
    return number;
}

uint64_t replay_add_direct(
    struct replay *replay, struct bytes sid, struct event *event, uint64_t now_ms)
{
    CHECK(sid.len == SID_LEN);
    uint64_t number = ++replay->last;
    struct entry entry = {.number = number, .at_ms = now_ms, .event = event_ref(event)};
    memcpy(entry.sid, sid.at, SID_LEN);
    keep(replay, &entry);
    return number;
}

/* Reading. */

static bool goes_by(const struct replay_reader *reader, struct bytes name, uint64_t number)
{
    if (bytes_eq(name, reader->sid) || bytes_eq(name, reader->user)) {
        return true;
    }
    for (uint32_t i = 0; i < reader->stay_count; i++) {
        const struct stay *stay = &reader->stays[i];
        if (stay->from < number && number <= stay->to && bytes_eq(stay->name, name)) {
            return true;
        }
    }
    return false;
}

static bool is_for(const struct entry *entry, const struct replay_reader *reader)
{
    const struct broadcast *broadcast = entry->broadcast;
    if (broadcast == NULL) {
        return bytes_eq(bytes_of(entry->sid, SID_LEN), reader->sid);
    }
    for (uint32_t i = 0; i < broadcast->except_count; i++) {
        if (goes_by(reader, broadcast_except(broadcast)[i], entry->number)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < broadcast->room_count; i++) {
        if (goes_by(reader, broadcast_rooms(broadcast)[i], entry->number)) {
            return true;
        }
    }
    return broadcast->room_count == 0;
}

/* The index of the first entry above `number`. */
static uint32_t find_above(const struct replay *replay, uint64_t number)
{
    uint32_t low = 0;
    uint32_t high = replay->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (entry_at(replay, middle)->number > number) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

const struct event *replay_next(
    const struct replay *replay, const struct replay_reader *reader, uint64_t *number)
{
    for (uint32_t i = find_above(replay, *number); i < replay->count; i++) {
        const struct entry *entry = entry_at(replay, i);
        if (is_for(entry, reader)) {
            *number = entry->number;
            return entry->event;
        }
    }
    return NULL;
}

/* Whether an event that was for this name may have been dropped. */
static bool may_lack(const struct replay *replay, struct bytes name, uint64_t after)
{
    return *slot_of(replay, name) > after;
}

static bool lacks_any(const struct replay *replay, const struct replay_reader *reader)
{
    uint64_t after = reader->after;
    if (replay->dropped_all > after || may_lack(replay, reader->sid, after) ||
        may_lack(replay, reader->user, after)) {
        return true;
    }
    for (uint32_t i = 0; i < reader->stay_count; i++) {
        const struct stay *stay = &reader->stays[i];
        uint64_t from = stay->from > after ? stay->from : after;
        if (stay->to > after && may_lack(replay, stay->name, from)) {
            return true;
        }
    }
    return false;
}

bool replay_is_whole(
    const struct replay *replay, const struct replay_reader *reader, size_t max_bytes)
{
    if (lacks_any(replay, reader)) {
        return false;
    }
    size_t bytes = 0;
    uint64_t number = reader->after;
    const struct event *event;
    while (bytes <= max_bytes && (event = replay_next(replay, reader, &number)) != NULL) {
        struct entry entry = {.event = (struct event *)(uintptr_t)event};
        bytes += weight(&entry) + PACKET_BYTES;
    }
    return bytes <= max_bytes;
}

/* Offsets: the log's name, '-', the number. */

struct bytes replay_write_offset(const struct replay *replay, uint64_t number, char *at)
{
    struct builder text = {.max = REPLAY_OFFSET_MAX};
    builder_add(&text, bytes_of(replay->name, NAME_LEN));
    builder_byte(&text, '-');
    builder_u64(&text, number);
    size_t len = builder_bytes(&text).len;
    memcpy(at, builder_bytes(&text).at, len);
    builder_reset(&text);
    return bytes_of(at, len);
}

int replay_read_offset(const struct replay *replay, struct bytes offset, uint64_t *ret_number)
{
    struct bytes name = bytes_of(replay->name, NAME_LEN);
    uint64_t number;
    if (!bytes_starts(offset, name) || offset.len <= NAME_LEN || offset.at[NAME_LEN] != '-' ||
        bytes_to_u64(bytes_skip(offset, NAME_LEN + 1), replay->last, &number) != 0) {
        return STATUS_NOT_FOUND;
    }
    *ret_number = number;
    return 0;
}
