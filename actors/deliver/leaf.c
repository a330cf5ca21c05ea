/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A room's members on a shard and the window that is being filled for them.
 *
 * Order of this file: members, window and its encoding, catch-up of one, flush to all.
 */
#include "actors/deliver/leaf.h"

#include "actors/shard.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"

enum { FIRST_MEMBERS = 2, FIRST_EVENTS = 8, FEW_LEAVES = 32 };

struct leaf *leaf_create(struct leaves *leaves, struct bytes name)
{
    struct leaf *leaf = mem_try_calloc(1, sizeof(*leaf) + name.len);
    if (leaf == NULL) {
        return NULL;
    }
    leaf->leaves = leaves;
    list_init(&leaf->dirty_link);
    leaf->name_len = (uint32_t)name.len;
    if (name.len > 0) {
        memcpy(leaf->name_at, name.at, name.len);
    }
    return leaf;
}

static void drop_window(struct leaf *leaf)
{
    struct window *window = leaf->window;
    if (window == NULL) {
        return;
    }
    for (uint32_t i = 0; i < window->count; i++) {
        event_unref(window->events[i].event);
        event_unref(window->events[i].marks.socketio);
        event_unref(window->events[i].marks.plain);
    }
    for (unsigned format = 0; format < WIRE_FORMAT_COUNT; format++) {
        builder_reset(&window->items[format]);
    }
    mem_free(window->events);
    mem_free(window);
    leaf->window = NULL;
}

void leaf_destroy(struct leaf *leaf)
{
    drop_window(leaf);
    list_remove(&leaf->dirty_link);
    leaf->leaves->member_slots -= leaf->cap;
    mem_free(leaf->members);
    mem_free(leaf);
}

bool leaf_reserve(struct leaf *leaf)
{
    if (leaf->count < leaf->cap) {
        return true;
    }
    uint32_t cap = leaf->cap ? leaf->cap * 2 : FIRST_MEMBERS;
    struct socket **members = mem_try_realloc(leaf->members, (size_t)cap * sizeof(*leaf->members));
    if (members == NULL) {
        return false;
    }
    leaf->members = members;
    leaf->leaves->member_slots += cap - leaf->cap;
    leaf->cap = cap;
    return true;
}

uint32_t leaf_add(struct leaf *leaf, struct socket *socket)
{
    CHECK(leaf->count < leaf->cap);
    leaf->members[leaf->count] = socket;
    leaf->by_format[socket->format]++;
    return leaf->count++;
}

struct socket *leaf_remove(struct leaf *leaf, uint32_t index)
{
    CHECK(index < leaf->count);
    leaf->by_format[leaf->members[index]->format]--;
    struct socket *last = leaf->members[--leaf->count];
    if (index == leaf->count) {
        return NULL;
    }
    leaf->members[index] = last;
    return last;
}

/* Room for one more event in the window, which is there; false: no memory. */
static bool reserve_event(struct window *window)
{
    if (window->count < window->cap) {
        return true;
    }
    uint32_t cap = window->cap ? window->cap * 2 : FIRST_EVENTS;
    struct pending *events = mem_try_realloc(window->events, cap * sizeof(*events));
    if (events == NULL) {
        return false;
    }
    window->events = events;
    window->cap = cap;
    return true;
}

static struct event *ref_any(struct event *event)
{
    return event != NULL ? event_ref(event) : NULL;
}

bool leaf_push(
    struct leaf *leaf, uint64_t number, struct event *event, const struct deliver_marks *marks)
{
    bool clean = leaf->window == NULL;
    if (clean) {
        leaf->window = mem_alloc(sizeof(*leaf->window));
    }
    struct window *window = leaf->window;
    if (!reserve_event(window)) {
        if (clean) {
            drop_window(leaf);
        }
        return false;
    }
    window->events[window->count++] = (struct pending){.number = number,
        .event = event_ref(event),
        .marks = {.socketio = ref_any(marks->socketio), .plain = ref_any(marks->plain)}};
    window->has_volatile = window->has_volatile || (event->flags & EVENT_VOLATILE);
    window->bytes += event->data.len;
    return true;
}

void leaf_missed(struct leaf *leaf, uint64_t number)
{
    for (uint32_t i = 0; i < leaf->count; i++) {
        if (leaf->members[i]->sent_through < number) {
            socket_missed(leaf->members[i]);
        }
    }
}

/* Bring the items of `format` up to the window's last event. What cannot be encoded is an empty
 * item. */
static void encode(struct leaf *leaf, enum wire_format format)
{
    struct window *window = leaf->window;
    struct builder *items = &window->items[format];
    if (window->encoded[format] == 0 && wire_separator(format) > 0) {
        builder_byte(items, ' ');
    }
    for (uint32_t i = window->encoded[format]; i < window->count; i++) {
        struct pending *pending = &window->events[i];
        const struct event *event = watch_shown(&pending->marks, pending->event, format);
        int status = wire_add(format, leaf->leaves->nsp, event, items);
        if (status != 0) {
            shard_count_unencoded(leaf->leaves->shard, event->name, format, status);
            window->starved[format] = window->starved[format] || status == STATUS_NOMEM;
        }
        pending->end[format] = (uint32_t)builder_bytes(items).len;
    }
    window->encoded[format] = window->count;
}

/* The encoded item `i`, its leading separator included. */
static struct bytes item_of(const struct window *window, enum wire_format format, uint32_t i)
{
    uint32_t start = i > 0 ? window->events[i - 1].end[format] : wire_separator(format);
    const char *at = builder_bytes(&window->items[format]).at;
    return bytes_of(at + start, window->events[i].end[format] - start);
}

/*
 * Complete bytes for `count` items that stand together in `items`, without padding in front; NULL:
 * no memory.
 */
static struct chunk *frame(
    const struct leaves *leaves, enum wire_format format, struct bytes items, unsigned count)
{
    struct builder out = {.max = UINT32_MAX};
    if (wire_framed(format)) {
        uint64_t wall_ms = sched_wall(leaves->shard->sched);
        items = bytes_skip(items, wire_separator(format));
        wire_open(format, leaves->nsp, items.len, count, wall_ms, &out);
        builder_add(&out, items);
        wire_close(format, wall_ms, &out);
    } else {
        builder_add(&out, items);
    }
    return chunk_take(&out);
}

/* The whole window as one chunk; NULL when nothing could be encoded, or the format is starved. */
static struct chunk *whole_chunk(struct leaf *leaf, enum wire_format format)
{
    struct window *window = leaf->window;
    unsigned count = 0;
    for (uint32_t i = 0; i < window->count; i++) {
        count += item_of(window, format, i).len > 0;
    }
    if (count == 0) {
        return NULL;
    }
    if (!wire_framed(format)) {
        struct chunk *taken = chunk_take(&window->items[format]);
        window->starved[format] = taken == NULL;
        return taken;
    }
    struct bytes items = bytes_skip(builder_bytes(&window->items[format]), wire_separator(format));
    struct chunk *chunk = frame(leaf->leaves, format, items, count);
    window->starved[format] = chunk == NULL;
    return chunk;
}

/* The chunk for all members of the format; NULL: there is nothing for them, or they miss it. */
static struct chunk *shared_chunk(struct leaf *leaf, enum wire_format format)
{
    encode(leaf, format);
    return leaf->window->starved[format] ? NULL : whole_chunk(leaf, format);
}

/* The leaf whose next event above `through` has the lowest number; its position in `*ret_index`. */
static struct leaf *next_leaf(
    struct leaf *const *leaves, uint32_t count, uint64_t through, uint32_t *ret_index)
{
    struct leaf *best = NULL;
    uint64_t lowest = UINT64_MAX;
    for (uint32_t i = 0; i < count; i++) {
        const struct window *window = leaves[i]->window;
        uint32_t low = 0;
        uint32_t high = window->count;
        while (low < high) {
            uint32_t middle = low + (high - low) / 2;
            if (window->events[middle].number > through) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        if (low < window->count && window->events[low].number < lowest) {
            lowest = window->events[low].number;
            best = leaves[i];
            *ret_index = low;
        }
    }
    return best;
}

/* Takes the chunk's reference. */
static void send_items(struct socket *socket, struct chunk *chunk, unsigned count)
{
    struct shard *shard = socket->shard;
    if (outbox_append(socket->outbox, &shard->dirty_outboxes, chunk, 0, chunk->len)) {
        shard->stats.deliveries += count;
    } else {
        shard->stats.refused++;
    }
    chunk_unref(chunk);
}

/* The format of the window for members of `format`. */
static enum wire_format window_format(const struct leaf *leaf, enum wire_format format)
{
    return leaf->batch_event && format == WIRE_SIO ? WIRE_SIO_BATCH : format;
}

/* The same for one that gets what several leaves hold, merged: one message where all would be. */
static enum wire_format merged_format(
    struct leaf *const *dirty, uint32_t count, enum wire_format format)
{
    for (uint32_t i = 0; i < count; i++) {
        if (window_format(dirty[i], format) == format) {
            return format;
        }
    }
    return count > 0 ? window_format(dirty[0], format) : format;
}

/* Append to the socket's outbox what `dirty` (leaves that it is in) hold for it above its
 * sent_through. */
static void send_merged(
    struct leaves *leaves, struct socket *socket, struct leaf *const *dirty, uint32_t count)
{
    enum wire_format format = merged_format(dirty, count, socket->format);
    bool writable = outbox_writable(socket->outbox);
    struct builder items = {.max = UINT32_MAX};
    unsigned taken = 0;
    bool starved = false;
    uint32_t index = 0;
    uint64_t through = socket->sent_through;
    struct leaf *leaf;
    while ((leaf = next_leaf(dirty, count, through, &index)) != NULL) {
        const struct pending *pending = &leaf->window->events[index];
        through = pending->number;
        if ((pending->event->flags & EVENT_VOLATILE) && !writable) {
            leaves->shard->stats.volatile_dropped++;
            continue;
        }
        encode(leaf, format);
        starved = starved || leaf->window->starved[format];
        struct bytes item = item_of(leaf->window, format, index);
        builder_add(&items, item);
        taken += item.len > 0;
    }
    socket->sent_through = leaves->seen;
    struct chunk *chunk = NULL;
    if (taken > 0 && !starved && !builder_failed(&items) && !socket->closing) {
        chunk = frame(leaves, format, builder_bytes(&items), taken);
        starved = chunk == NULL;
    }
    if (starved || builder_failed(&items)) {
        socket_missed(socket);
    } else if (chunk != NULL) {
        send_items(socket, chunk, taken);
    }
    builder_reset(&items);
}

void leaf_catch_up(struct leaves *leaves, struct socket *socket)
{
    if (leaves->dirty == 0 || socket->sent_through >= leaves->seen) {
        leaf_pass_over(leaves, socket);
        return;
    }
    struct leaf *few[FEW_LEAVES];
    struct leaf **dirty = few;
    uint32_t count = 0;
    if (socket->membership_count >= FEW_LEAVES) {
        dirty = mem_try_calloc(socket->membership_count + 1u, sizeof(struct leaf *));
        if (dirty == NULL) {
            leaf_pass_over(leaves, socket);
            socket_missed(socket);
            return;
        }
    }
    if (leaves->everyone->window != NULL) {
        dirty[count++] = leaves->everyone;
    }
    for (uint32_t i = 0; i < socket->membership_count; i++) {
        if (socket->memberships[i].leaf->window != NULL) {
            dirty[count++] = socket->memberships[i].leaf;
        }
    }
    send_merged(leaves, socket, dirty, count);
    leaves->passed_over_through = leaves->seen;
    if (dirty != few) {
        mem_free(dirty);
    }
}

/* Whether a member needs more than the shared chunk: it has part of it, waits elsewhere, or is
 * too slow. */
static bool is_special(const struct leaf *leaf, const struct socket *socket, uint64_t first)
{
    if (socket->sent_through >= first) {
        return true;
    }
    if (leaf->window->has_volatile && !outbox_writable(socket->outbox)) {
        return true;
    }
    if (leaf->leaves->dirty > 1) {
        if (leaf->leaves->everyone->window != NULL && leaf != leaf->leaves->everyone) {
            return true;
        }
        for (uint32_t i = 0; i < socket->membership_count; i++) {
            const struct leaf *other = socket->memberships[i].leaf;
            if (other != leaf && other->window != NULL) {
                return true;
            }
        }
    }
    return false;
}

/* The shared chunk to everybody of its format who has not got what is in it. */
static void send_shared(struct leaf *leaf, struct chunk *const chunks[WIRE_FORMAT_COUNT])
{
    struct leaves *leaves = leaf->leaves;
    struct shard *shard = leaves->shard;
    for (uint32_t i = 0; i < leaf->count; i++) {
        struct socket *socket = leaf->members[i];
        enum wire_format format = window_format(leaf, socket->format);
        struct chunk *chunk = chunks[format];
        if (socket->sent_through >= leaves->seen) {
            continue;
        }
        if (chunk == NULL) {
            if (leaf->window->starved[format]) {
                socket_missed(socket);
            }
            continue;
        }
        socket->sent_through = leaves->seen;
        if (socket->closing) {
            continue;
        }
        if (outbox_append(socket->outbox, &shard->dirty_outboxes, chunk, 0, chunk->len)) {
            shard->stats.deliveries += leaf->window->count;
        } else {
            shard->stats.refused++; /* and its session has been ended */
        }
    }
}

/* Those that need the items themselves go first: the shared chunk of WIRE_SIO takes them away. */
static void flush_special(struct leaf *leaf, uint64_t first)
{
    for (uint32_t i = 0; i < leaf->count; i++) {
        if (is_special(leaf, leaf->members[i], first)) {
            leaf_catch_up(leaf->leaves, leaf->members[i]);
        }
    }
}

void leaf_flush(struct leaf *leaf)
{
    struct leaves *leaves = leaf->leaves;
    struct window *window = leaf->window;
    uint64_t first = window->events[0].number;
    if (leaves->dirty > 1 || window->has_volatile || leaves->passed_over_through >= first) {
        flush_special(leaf, first);
    }
    struct chunk *chunks[WIRE_FORMAT_COUNT] = {NULL};
    for (unsigned format = 0; format < WIRE_FORMAT_COUNT; format++) {
        enum wire_format shown = window_format(leaf, format);
        if (leaf->by_format[format] > 0 && chunks[shown] == NULL) {
            chunks[shown] = shared_chunk(leaf, shown);
        }
    }
    send_shared(leaf, chunks);
    for (unsigned format = 0; format < WIRE_FORMAT_COUNT; format++) {
        if (chunks[format] != NULL) {
            chunk_unref(chunks[format]);
        }
    }
    leaves->shard->stats.flushes++;
    drop_window(leaf);
}
