/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A room's events are a ring in the order of their numbers. Of what was dropped the last place is
 * known: of a room that is held, by itself; of others in a table of fixed size, in which a name may
 * only look newer than it is.
 *
 * Order of this file: life, dropping, keeping, forgetting, finding.
 */
#include "actors/recover/room_memory.h"

#include "actors/deliver/broadcast.h"
#include "actors/shard.h"
#include "actors/wire_name.h"
#include "codec/base/list.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/server_events.h"

enum { SLOTS = 1024 /* of rooms that are not held */, FIRST_ENTRIES = 4 };

_Static_assert((SLOTS & (SLOTS - 1)) == 0, "slots are chosen by bits");

struct entry {
    struct replay_at at;
    bool streamed; /* `at.stream` is its own place, not that of one before it */
    uint64_t at_ms;
    struct broadcast *broadcast;
};

struct room_past {
    struct list link; /* room_memory.rooms */
    struct room_memory_rules rules; /* when the last event came */
    struct replay_at dropped; /* the last event that is not here */
    struct entry *entries;
    uint32_t room; /* 0 or a power of two */
    uint32_t head;
    uint32_t count;
    size_t bytes;
    uint64_t last_ms; /* when the last event came */
    uint32_t name_len;
    char name_at[];
};

struct room_memory {
    struct shard *shard;
    const struct replay *replay;
    struct map past; /* struct room_past by wire name */
    struct list rooms; /* room_past.link: the one whose last event is oldest first */
    size_t bytes; /* of all, their places included */
    struct stream_id floor; /* the stream is known behind it */
    uint64_t gap; /* something up to this number is not here, whatever room it was for */
    bool begun; /* `floor` is known */
    struct replay_at dropped[SLOTS]; /* the last events of rooms that are not held, by name */
};

/* Life. */

static struct bytes name_of(const void *past)
{
    const struct room_past *each = past;
    return bytes_of(each->name_at, each->name_len);
}

struct room_memory *room_memory_create(struct shard *shard, const struct replay *replay)
{
    struct room_memory *memory = mem_alloc(sizeof(*memory));
    memory->shard = shard;
    memory->replay = replay;
    map_init(&memory->past, name_of);
    list_init(&memory->rooms);
    return memory;
}

static struct entry *entry_at(const struct room_past *past, uint32_t index)
{
    return &past->entries[(past->head + index) & (past->room - 1)];
}

static void free_past(struct room_past *past)
{
    for (uint32_t i = 0; i < past->count; i++) {
        broadcast_unref(entry_at(past, i)->broadcast);
    }
    list_remove(&past->link);
    mem_free(past->entries);
    mem_free(past);
}

void room_memory_destroy(struct room_memory *memory)
{
    if (memory == NULL) {
        return;
    }
    size_t cursor = 0;
    for (struct room_past *past; (past = map_next(&memory->past, &cursor)) != NULL;) {
        free_past(past);
    }
    map_finish(&memory->past);
    mem_free(memory);
}

/* All shards of a node hold the same events: one of them counts. */
static void count(const struct room_memory *memory, uint64_t *counter, uint64_t more)
{
    *counter += sched_shard(memory->shard->sched) == 0 ? more : 0;
}

static size_t past_cost(struct bytes name)
{
    return mem_cost(sizeof(struct room_past) + name.len);
}

static size_t entry_cost(const struct entry *entry)
{
    return sizeof(*entry) + sizeof(*entry->broadcast) + event_cost(entry->broadcast->event);
}

static void count_bytes(
    struct room_memory *memory, struct room_past *past, size_t more, size_t less)
{
    past->bytes += more - less;
    memory->bytes += more - less;
    count(memory, &memory->shard->stats.memory_bytes, (uint64_t)more - less);
}

/* Dropping. */

static struct replay_at *slot_of(struct room_memory *memory, struct bytes room)
{
    return &memory->dropped[hash_bytes(room) & (SLOTS - 1)];
}

/* A place behind which an event is not lost to anybody who comes from another shard. */
static struct replay_at place_of(const struct entry *entry)
{
    struct replay_at at = entry->at;
    at.stream.seq += !entry->streamed;
    return at;
}

static void note(struct replay_at *dropped, struct replay_at at)
{
    if (at.number > dropped->number) {
        *dropped = at;
    }
}

static void drop_first(struct room_memory *memory, struct room_past *past)
{
    struct entry *first = entry_at(past, 0);
    note(&past->dropped, place_of(first));
    count_bytes(memory, past, 0, entry_cost(first));
    broadcast_unref(first->broadcast);
    past->head = (past->head + 1) & (past->room - 1);
    past->count--;
    count(memory, &memory->shard->stats.memory_events, UINT64_MAX);
}

/* Forget a room but for the place of its last event. */
static void forget(struct room_memory *memory, struct room_past *past)
{
    while (past->count > 0) {
        drop_first(memory, past);
    }
    note(slot_of(memory, name_of(past)), past->dropped);
    count_bytes(memory, past, 0, past->bytes);
    map_remove(&memory->past, name_of(past));
    free_past(past);
    count(memory, &memory->shard->stats.memory_rooms, UINT64_MAX);
}

static void drop_old(struct room_memory *memory, struct room_past *past)
{
    uint64_t now = sched_now(memory->shard->sched);
    while (past->count > 0 && entry_at(past, 0)->at_ms + past->rules.age_ms <= now) {
        drop_first(memory, past);
    }
}

/* Keeping. */

static void read_rules(
    const struct room_memory *memory, struct bytes room, struct room_memory_rules *ret_rules)
{
    const struct actor_config *config = memory->shard->config;
    *ret_rules = (struct room_memory_rules){0};
    if (config->room_memory != NULL) {
        config->room_memory(config->context, wire_name_client(room), ret_rules);
    }
}

/* Room for one more entry; false: no memory. */
static bool reserve(struct room_past *past)
{
    if (past->count < past->room) {
        return true;
    }
    uint32_t room = past->room > 0 ? past->room * 2 : FIRST_ENTRIES;
    struct entry *entries = mem_try_calloc(room, sizeof(*entries));
    if (entries == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < past->count; i++) {
        entries[i] = *entry_at(past, i);
    }
    mem_free(past->entries);
    past->entries = entries;
    past->room = room;
    past->head = 0;
    return true;
}

/* What is held of `room`, made if need be; NULL: no memory. */
static struct room_past *take_past(struct room_memory *memory, struct bytes room)
{
    struct room_past *past = map_get(&memory->past, room);
    if (past != NULL) {
        list_remove(&past->link);
        list_append(&memory->rooms, &past->link);
        return past;
    }
    past = mem_try_calloc(1, sizeof(*past) + room.len);
    if (past == NULL) {
        return NULL;
    }
    past->name_len = (uint32_t)room.len;
    memcpy(past->name_at, room.at, room.len);
    past->dropped = *slot_of(memory, room);
    list_init(&past->link);
    if (!map_put(&memory->past, past)) {
        mem_free(past);
        return NULL;
    }
    list_append(&memory->rooms, &past->link);
    count_bytes(memory, past, past_cost(room), 0);
    count(memory, &memory->shard->stats.memory_rooms, 1);
    return past;
}

/* At the bound of all rooms, those go whose last event is the oldest. */
static void evict(struct room_memory *memory)
{
    while (memory->bytes > memory->shard->config->memory.bytes && !list_empty(&memory->rooms)) {
        struct room_past *oldest = container_of(memory->rooms.next, struct room_past, link);
        count(memory, &memory->shard->stats.memory_evicted, oldest->count);
        forget(memory, oldest);
    }
}

static void keep(struct room_memory *memory, struct bytes room,
    const struct room_memory_rules *rules, struct broadcast *broadcast)
{
    struct entry entry = {.at = replay_last(memory->replay),
        .streamed = broadcast->stream.ms > 0,
        .at_ms = sched_now(memory->shard->sched),
        .broadcast = broadcast};
    struct room_past *past = take_past(memory, room);
    if (past == NULL || !reserve(past)) {
        note(past != NULL ? &past->dropped : slot_of(memory, room), place_of(&entry));
        return;
    }
    if (past->count > 0 && entry_at(past, past->count - 1)->at.number == entry.at.number) {
        return; /* the room was named twice */
    }
    past->rules = *rules;
    past->last_ms = entry.at_ms;
    broadcast_ref(broadcast);
    *entry_at(past, past->count++) = entry;
    count_bytes(memory, past, entry_cost(&entry), 0);
    count(memory, &memory->shard->stats.memory_events, 1);
    drop_old(memory, past);
    while (past->count > rules->events || (past->bytes > rules->bytes && past->count > 0)) {
        drop_first(memory, past);
    }
    evict(memory);
}

void room_memory_add(struct room_memory *memory, struct broadcast *broadcast)
{
    if ((broadcast->event->flags & EVENT_VOLATILE) ||
        server_events_is_passing(broadcast->event->name)) {
        return;
    }
    for (uint32_t i = 0; i < broadcast->room_count; i++) {
        struct room_memory_rules rules;
        read_rules(memory, broadcast_rooms(broadcast)[i], &rules);
        if (rules.events > 0) {
            keep(memory, broadcast_rooms(broadcast)[i], &rules, broadcast);
        }
    }
}

/* Forgetting. */

void room_memory_stream_from(struct room_memory *memory, struct stream_id from)
{
    if (memory->begun) { /* replay.c gives what is missing a number of its own */
        memory->gap = replay_last(memory->replay).number;
    }
    memory->begun = true;
    memory->floor = from;
}

void room_memory_strayed(struct room_memory *memory, struct stream_id place)
{
    if (stream_id_cmp(place, memory->floor) > 0) {
        memory->floor = place;
    }
}

void room_memory_lost(struct room_memory *memory, struct bytes room)
{
    struct room_past *past = room.len > 0 ? map_get(&memory->past, room) : NULL;
    struct replay_at at = room_memory_here(memory);
    at.number++;
    at.stream.seq++;
    if (room.len == 0) {
        memory->gap = at.number;
        memory->floor = at.stream;
    } else {
        note(past != NULL ? &past->dropped : slot_of(memory, room), at);
    }
}

void room_memory_expire(struct room_memory *memory)
{
    uint64_t now = sched_now(memory->shard->sched);
    while (!list_empty(&memory->rooms)) {
        struct room_past *oldest = container_of(memory->rooms.next, struct room_past, link);
        if (oldest->last_ms + oldest->rules.age_ms > now) {
            return;
        }
        forget(memory, oldest);
    }
}

bool room_memory_is_empty(const struct room_memory *memory)
{
    return list_empty(&memory->rooms);
}

size_t room_memory_cost(const struct shard_stats *stats, unsigned shards)
{
    size_t places = stats->memory_events * sizeof(struct entry) +
                    stats->memory_rooms * mem_cost(sizeof(struct room_past));
    return stats->memory_bytes + places * (shards - 1); /* the events are shared */
}

/* Finding. */

struct replay_at room_memory_here(const struct room_memory *memory)
{
    struct replay_at at = replay_last(memory->replay);
    if (memory->begun && stream_id_cmp(at.stream, memory->floor) < 0) {
        at.stream = memory->floor;
    }
    return at;
}

/* By the number: `since` is of this shard. Counts from the first entry that was missed. */
static int find_number(const struct room_memory *memory, const struct room_past *past,
    struct replay_at dropped, uint64_t number, uint32_t *ret_next)
{
    if (number > replay_last(memory->replay).number) {
        return STATUS_NOT_FOUND;
    }
    if (memory->gap > number || dropped.number > number) {
        return STATUS_NOT_FOUND;
    }
    uint32_t next = past != NULL ? past->count : 0;
    while (next > 0 && entry_at(past, next - 1)->at.number > number) {
        next--;
    }
    *ret_next = next;
    return 0;
}

/* By the place in the stream: `since` is of another shard or node. */
static int find_place(const struct room_memory *memory, const struct room_past *past,
    struct replay_at dropped, struct stream_id place, uint32_t *ret_next)
{
    if (!memory->begun || stream_id_cmp(place, memory->floor) < 0) {
        return STATUS_NOT_FOUND;
    }
    if (stream_id_cmp(place, room_memory_here(memory).stream) > 0) {
        return STATUS_AGAIN;
    }
    if (stream_id_cmp(dropped.stream, place) > 0) {
        return STATUS_NOT_FOUND;
    }
    uint32_t next = past != NULL ? past->count : 0;
    for (; next > 0; next--) {
        const struct entry *entry = entry_at(past, next - 1);
        int order = stream_id_cmp(entry->at.stream, place);
        if (!entry->streamed && order >= 0) {
            return STATUS_NOT_FOUND; /* who knows whether it was there, too */
        }
        if (order <= 0) {
            break;
        }
    }
    *ret_next = next;
    return 0;
}

int room_memory_find(struct room_memory *memory, struct bytes room, struct bytes since,
    struct room_missed *ret_missed)
{
    struct replay_offset offset;
    int status = replay_read_offset(since, &offset);
    if (status != 0) {
        return status;
    }
    struct room_past *past = map_get(&memory->past, room);
    if (past != NULL) {
        drop_old(memory, past);
    }
    struct replay_at dropped = past != NULL ? past->dropped : *slot_of(memory, room);
    uint32_t next = 0;
    if (bytes_eq(offset.name, replay_name(memory->replay))) {
        status = find_number(memory, past, dropped, offset.at.number, &next);
    } else if (offset.placed) {
        status = find_place(memory, past, dropped, offset.at.stream, &next);
    } else {
        status = STATUS_NOT_FOUND;
    }
    if (status != 0) {
        return status;
    }
    struct room_missed missed = {.past = past, .next = next};
    for (uint32_t i = next; past != NULL && i < past->count; i++) {
        missed.bytes += entry_cost(entry_at(past, i));
    }
    *ret_missed = missed;
    return 0;
}

const struct broadcast *room_memory_next(struct room_missed *missed, struct replay_at *ret_at)
{
    if (missed->past == NULL || missed->next >= missed->past->count) {
        return NULL;
    }
    const struct entry *entry = entry_at(missed->past, missed->next++);
    *ret_at = entry->at;
    return entry->broadcast;
}
