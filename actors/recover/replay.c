/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries are a ring in the order of their numbers, which have gaps where an event was volatile.
 * Order of this file: life, dropping, adding, reading, places in the stream, offsets.
 */
#include "actors/recover/replay.h"

#include "actors/deliver/broadcast.h"
#include "actors/wire_name.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"

enum {
    SLOTS = 4096, /* of names whose events were dropped */
    FIRST_NAMED = 64, /* slots of names whose events are here, at first */
    FIRST_ROOM = 64,
    FIRST_NUMBERS = 4,
    PACKET_BYTES = 64, /* around an event on the wire, its offset included */
};

_Static_assert((SLOTS & (SLOTS - 1)) == 0, "slots are chosen by bits");
_Static_assert(REPLAY_NAME_LEN + 3 * (1 + 20) <= REPLAY_OFFSET_MAX, "an offset fits");

struct entry {
    struct replay_at at;
    bool streamed; /* it came by the stream */
    uint64_t at_ms;
    struct broadcast *broadcast; /* NULL: a direct event */
    struct event *event;
    char sid[WIRE_SID_LEN]; /* of a direct event */
};

/* Numbers of entries, rising: those that were for the names of one slot. */
struct index {
    uint64_t *numbers;
    uint32_t room; /* 0 or a power of two */
    uint32_t head;
    uint32_t count;
};

struct replay {
    struct replay_limits limits;
    struct replay_at last;
    struct stream_id floor; /* the stream is known behind it */
    struct entry *entries;
    uint32_t room; /* 0 or a power of two */
    uint32_t head;
    uint32_t count;
    size_t bytes;
    struct replay_at dropped_all; /* the last event dropped that was for everyone */
    struct replay_at dropped[SLOTS]; /* the same by name */
    struct index everyone; /* entries that name nobody */
    struct index *named; /* the others, by each name: who comes back looks at its own only */
    uint32_t named_room; /* a power of two; at least as many as there are entries */
    uint64_t looked; /* entries that readers have looked at */
    char name[REPLAY_NAME_LEN]; /* tells the offsets of this log from others */
};

/* Life. */

struct replay *replay_create(const struct replay_limits *limits)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.";
    struct replay *replay = mem_alloc(sizeof(*replay));
    uint8_t random[REPLAY_NAME_LEN];
    rand_secret(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++) {
        replay->name[i] = alphabet[random[i] & 63];
    }
    replay->limits = *limits;
    replay->named = mem_alloc_array(FIRST_NAMED, sizeof(*replay->named));
    replay->named_room = FIRST_NAMED;
    replay->floor = (struct stream_id){.ms = UINT64_MAX};
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

static void free_named(struct index *named, uint32_t room)
{
    for (uint32_t i = 0; i < room; i++) {
        mem_free(named[i].numbers);
    }
    mem_free(named);
}

void replay_destroy(struct replay *replay)
{
    if (replay == NULL) {
        return;
    }
    for (uint32_t i = 0; i < replay->count; i++) {
        release(entry_at(replay, i));
    }
    free_named(replay->named, replay->named_room);
    mem_free(replay->everyone.numbers);
    mem_free(replay->entries);
    mem_free(replay);
}

uint64_t replay_looked(const struct replay *replay)
{
    return replay->looked;
}

struct replay_at replay_last(const struct replay *replay)
{
    return replay->last;
}

struct bytes replay_name(const struct replay *replay)
{
    return bytes_of(replay->name, REPLAY_NAME_LEN);
}

bool replay_is_empty(const struct replay *replay)
{
    return replay->count == 0;
}

/* Finding by name. */

static uint64_t number_at(const struct index *index, uint32_t i)
{
    return index->numbers[(index->head + i) & (index->room - 1)];
}

/* False: no memory; it is as it was. */
static bool index_add(struct index *index, uint64_t number)
{
    if (index->count > 0 && number_at(index, index->count - 1) == number) {
        return true; /* two names of an event in one slot */
    }
    if (index->count == index->room) {
        uint32_t room = index->room > 0 ? index->room * 2 : FIRST_NUMBERS;
        uint64_t *numbers = mem_try_calloc(room, sizeof(*numbers));
        if (numbers == NULL) {
            return false;
        }
        for (uint32_t i = 0; i < index->count; i++) {
            numbers[i] = number_at(index, i);
        }
        mem_free(index->numbers);
        index->numbers = numbers;
        index->room = room;
        index->head = 0;
    }
    index->numbers[(index->head + index->count++) & (index->room - 1)] = number;
    return true;
}

/* Forget the oldest, if it is `number`; an index without numbers has no memory. Never fails. */
static bool index_drop(struct index *index, uint64_t number)
{
    if (index->count > 0 && number_at(index, 0) == number) {
        index->head = (index->head + 1) & (index->room - 1);
        index->count--;
    }
    if (index->count == 0) {
        mem_free(index->numbers);
        *index = (struct index){0};
    }
    return true;
}

/* The first number above `number`; UINT64_MAX: there is none. */
static uint64_t index_above(const struct index *index, uint64_t number)
{
    uint32_t low = 0;
    uint32_t high = index->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (number_at(index, middle) > number) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low < index->count ? number_at(index, low) : UINT64_MAX;
}

static struct index *index_of(const struct replay *replay, struct bytes name)
{
    return (struct index *)(uintptr_t)&replay->named[hash_bytes(name) & (replay->named_room - 1)];
}

/* Add the entry to the index of each of its names, or take it out of them; false: to some only. */
static bool note_names(
    struct replay *replay, const struct entry *entry, bool (*note)(struct index *, uint64_t))
{
    const struct broadcast *broadcast = entry->broadcast;
    if (broadcast == NULL) {
        return note(index_of(replay, bytes_of(entry->sid, WIRE_SID_LEN)), entry->at.number);
    }
    if (broadcast->room_count == 0) {
        return note(&replay->everyone, entry->at.number);
    }
    bool good = true;
    for (uint32_t i = 0; i < broadcast->room_count && good; i++) {
        good = note(index_of(replay, broadcast_rooms(broadcast)[i]), entry->at.number);
    }
    return good;
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

static struct replay_at *slot_of(const struct replay *replay, struct bytes name)
{
    return (struct replay_at *)&replay->dropped[hash_bytes(name) & (SLOTS - 1)];
}

/* Something up to `at` that was for everyone is not here; what is dropped may be older than that.
 */
static void note_gap(struct replay *replay, struct replay_at at)
{
    if (at.number > replay->dropped_all.number) {
        replay->dropped_all = at;
    }
}

/* Remember for whom the entry was. */
static void note_dropped(struct replay *replay, const struct entry *entry)
{
    const struct broadcast *broadcast = entry->broadcast;
    if (broadcast == NULL) {
        *slot_of(replay, bytes_of(entry->sid, WIRE_SID_LEN)) = entry->at;
    } else if (broadcast->room_count == 0) {
        note_gap(replay, entry->at);
    } else {
        for (uint32_t i = 0; i < broadcast->room_count; i++) {
            *slot_of(replay, broadcast_rooms(broadcast)[i]) = entry->at;
        }
    }
}

static void drop_first(struct replay *replay)
{
    struct entry *first = entry_at(replay, 0);
    note_dropped(replay, first);
    (void)note_names(replay, first, index_drop);
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

void replay_stream_from(struct replay *replay, struct stream_id from)
{
    bool begins = replay->floor.ms == UINT64_MAX;
    replay->floor = from;
    /* What is missing has a number of its own: who had the last event has not had it. */
    replay->last.number += begins ? 0 : 1;
    note_gap(replay, replay->last);
}

/* Adding. Without memory the oldest go before their time: what is kept is for those who may come.
 */

/* Room for one more entry, in the place of the oldest if need be; false: there is none at all. */
static bool have_room(struct replay *replay)
{
    if (replay->count < replay->room) {
        return true;
    }
    uint32_t room = replay->room > 0 ? replay->room * 2 : FIRST_ROOM;
    struct entry *entries = mem_try_calloc(room, sizeof(*entries));
    if (entries == NULL && replay->count > 0) {
        drop_first(replay);
    }
    if (entries == NULL) {
        return replay->room > 0;
    }
    for (uint32_t i = 0; i < replay->count; i++) {
        entries[i] = *entry_at(replay, i);
    }
    mem_free(replay->entries);
    replay->entries = entries;
    replay->room = room;
    replay->head = 0;
    return true;
}

static bool names_somebody(const struct entry *entry)
{
    return entry->broadcast == NULL || entry->broadcast->room_count > 0;
}

/* Twice as many slots of names, so that few names share one however many there are; as before where
 * there is no memory. */
static void grow_named(struct replay *replay)
{
    uint32_t room = replay->named_room;
    struct index *before = replay->named;
    struct index *named = mem_try_calloc((size_t)room * 2, sizeof(*named));
    if (named == NULL) {
        return;
    }
    replay->named = named;
    replay->named_room = room * 2;
    bool good = true;
    for (uint32_t i = 0; i < replay->count && good; i++) {
        const struct entry *entry = entry_at(replay, i);
        good = !names_somebody(entry) || note_names(replay, entry, index_add);
    }
    if (good) {
        free_named(before, room);
        return;
    }
    free_named(named, room * 2);
    replay->named = before;
    replay->named_room = room;
}

/* Keep `entry`, which owns a reference; the oldest go. */
static void keep(struct replay *replay, const struct entry *entry)
{
    replay_expire(replay, entry->at_ms);
    if (!have_room(replay)) {
        note_dropped(replay, entry);
        release(entry);
        return;
    }
    if (replay->count >= replay->named_room) {
        grow_named(replay);
    }
    *entry_at(replay, replay->count++) = *entry;
    replay->bytes += weight(entry);
    bool found = note_names(replay, entry, index_add);
    while (replay->count > 0 && (!found || replay->bytes > replay->limits.bytes ||
                                    replay->count > replay->limits.events)) {
        drop_first(replay); /* all of them, where one would not be found */
    }
}

void replay_number(struct replay *replay, const struct broadcast *broadcast)
{
    replay->last.number++;
    if (broadcast->stream.ms > 0) {
        replay->last.stream = broadcast->stream;
    }
}

uint64_t replay_add(struct replay *replay, struct broadcast *broadcast, uint64_t now_ms)
{
    bool streamed = broadcast->stream.ms > 0;
    replay_number(replay, broadcast);
    uint64_t number = replay->last.number;
    if (!(broadcast->event->flags & EVENT_VOLATILE)) {
        struct entry entry = {.at = replay->last,
            .streamed = streamed,
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
    CHECK(sid.len == WIRE_SID_LEN);
    uint64_t number = ++replay->last.number;
    struct entry entry = {.at = replay->last, .at_ms = now_ms, .event = event_ref(event)};
    memcpy(entry.sid, sid.at, WIRE_SID_LEN);
    keep(replay, &entry);
    return number;
}

/* Reading. */

static bool goes_by(const struct replay_reader *reader, struct bytes name, uint64_t number)
{
    if (bytes_eq(name, reader->sid) || bytes_eq(name, reader->user)) {
        return true;
    }
    for (uint32_t i = 0; i < reader->span_count; i++) {
        const struct room_span *span = &reader->spans[i];
        bool here = span->from.number < number && (!span->over || number <= span->to.number);
        if (here && bytes_eq(span->name, name)) {
            return true;
        }
    }
    return false;
}

static bool is_for(const struct entry *entry, const struct replay_reader *reader)
{
    const struct broadcast *broadcast = entry->broadcast;
    uint64_t number = entry->at.number;
    if (number <= reader->adopted_at && !entry->streamed) {
        return false;
    }
    if (broadcast == NULL) {
        return bytes_eq(bytes_of(entry->sid, WIRE_SID_LEN), reader->sid);
    }
    for (uint32_t i = 0; i < broadcast->except_count; i++) {
        if (goes_by(reader, broadcast_except(broadcast)[i], number)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < broadcast->room_count; i++) {
        if (goes_by(reader, broadcast_rooms(broadcast)[i], number)) {
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
        if (entry_at(replay, middle)->at.number > number) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The next entry above `number` that a name of the reader may be meant by. */
static uint64_t next_named(
    const struct replay *replay, const struct replay_reader *reader, uint64_t number)
{
    uint64_t next = index_above(&replay->everyone, number);
    next = least(next, index_above(index_of(replay, reader->sid), number));
    next = least(next, index_above(index_of(replay, reader->user), number));
    for (uint32_t i = 0; i < reader->span_count; i++) {
        const struct room_span *span = &reader->spans[i];
        if (!span->over || span->to.number > number) {
            next = least(next, index_above(index_of(replay, span->name), number));
        }
    }
    return next;
}

const struct event *replay_next(
    const struct replay *replay, const struct replay_reader *reader, struct replay_at *at)
{
    uint64_t number = at->number;
    while ((number = next_named(replay, reader, number)) != UINT64_MAX) {
        const struct entry *entry = entry_at(replay, find_above(replay, number - 1));
        ((struct replay *)(uintptr_t)replay)->looked++;
        if (is_for(entry, reader)) {
            *at = entry->at;
            return entry->event;
        }
    }
    return NULL;
}

/* Whether an event that was for this name may have been dropped. */
static bool may_lack(const struct replay *replay, struct bytes name, uint64_t after)
{
    return slot_of(replay, name)->number > after;
}

static bool lacks_any(const struct replay *replay, const struct replay_reader *reader)
{
    uint64_t after = reader->after;
    if (replay->dropped_all.number > after || may_lack(replay, reader->sid, after) ||
        may_lack(replay, reader->user, after)) {
        return true;
    }
    for (uint32_t i = 0; i < reader->span_count; i++) {
        const struct room_span *span = &reader->spans[i];
        uint64_t from = span->from.number > after ? span->from.number : after;
        bool counts = !span->over || span->to.number > after;
        if (counts && may_lack(replay, span->name, from)) {
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
    struct replay_at at = {.number = reader->after};
    const struct event *event;
    while (bytes <= max_bytes && (event = replay_next(replay, reader, &at)) != NULL) {
        struct entry entry = {.event = (struct event *)(uintptr_t)event};
        bytes += weight(&entry) + PACKET_BYTES;
    }
    return bytes <= max_bytes;
}

/* Places in the stream. */

static bool was_dropped(const struct replay *replay, struct bytes name, struct stream_id after)
{
    return stream_id_cmp(slot_of(replay, name)->stream, after) > 0;
}

bool replay_lacks(
    const struct replay *replay, const struct replay_reader *reader, struct stream_id after)
{
    if (stream_id_cmp(replay->dropped_all.stream, after) > 0 ||
        was_dropped(replay, reader->sid, after) || was_dropped(replay, reader->user, after)) {
        return true;
    }
    for (uint32_t i = 0; i < reader->span_count; i++) {
        const struct room_span *span = &reader->spans[i];
        bool later = stream_id_cmp(span->from.stream, after) > 0;
        bool counts = !span->over || stream_id_cmp(span->to.stream, after) > 0;
        if (counts && was_dropped(replay, span->name, later ? span->from.stream : after)) {
            return true;
        }
    }
    return false;
}

int replay_find(const struct replay *replay, struct stream_id stream, uint64_t *ret_number)
{
    if (stream_id_cmp(stream, replay->floor) < 0) {
        return STATUS_NOT_FOUND;
    }
    /* At the beginning of a stream that is empty, nothing is read, and nothing is to be read. */
    bool behind = stream_id_cmp(stream, replay->last.stream) <= 0;
    if (!behind && stream_id_cmp(stream, replay->floor) > 0) {
        return STATUS_AGAIN;
    }
    uint32_t low = 0;
    uint32_t high = replay->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (stream_id_cmp(entry_at(replay, middle)->at.stream, stream) > 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    *ret_number = low < replay->count ? entry_at(replay, low)->at.number - 1 : replay->last.number;
    return 0;
}

/* Offsets: the log's name, the number, and behind it the place in the stream, if there is one. */

struct bytes replay_write_offset(const struct replay *replay, struct replay_at at, char *text)
{
    struct builder out = {.max = REPLAY_OFFSET_MAX};
    builder_add(&out, replay_name(replay));
    builder_byte(&out, '-');
    builder_u64(&out, at.number);
    if (at.stream.ms > 0) {
        builder_byte(&out, '-');
        stream_id_write(at.stream, &out);
    }
    size_t len = builder_bytes(&out).len;
    memcpy(text, builder_bytes(&out).at, len);
    builder_reset(&out);
    return bytes_of(text, len);
}

int replay_read_offset(struct bytes text, struct replay_offset *ret_offset)
{
    struct replay_offset offset = {0};
    if (text.len <= REPLAY_NAME_LEN || text.at[REPLAY_NAME_LEN] != '-') {
        return STATUS_INVALID;
    }
    offset.name = bytes_of(text.at, REPLAY_NAME_LEN);
    struct bytes rest = bytes_skip(text, REPLAY_NAME_LEN + 1);
    const char *dash = rest.len > 0 ? memchr(rest.at, '-', rest.len) : NULL;
    struct bytes number = bytes_of(rest.at, dash ? (size_t)(dash - rest.at) : rest.len);
    if (bytes_to_u64(number, UINT64_MAX, &offset.at.number) != 0 ||
        (dash != NULL &&
            stream_id_read(bytes_skip(rest, number.len + 1), &offset.at.stream) != 0)) {
        return STATUS_INVALID;
    }
    offset.placed = dash != NULL;
    *ret_offset = offset;
    return 0;
}
