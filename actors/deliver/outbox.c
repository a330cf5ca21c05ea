/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The segments are a ring: the inline ones (OUTBOX_INLINE), or an allocation of 1 << `ring`
 * segments that is given back when the outbox is empty. `head` is the index of the first, `count`
 * of them wait. A segment of which a part was consumed has its offset moved: bytes are never
 * copied.
 */
#include "actors/deliver/outbox.h"

#include <string.h>

#include "codec/base/check.h"
#include "codec/base/mem.h"

enum {
    FIRST_RING = 3, /* log2 of the segments first allocated */
    COPY_MAX = 2048, /* a chunk up to this size is one allocation */
};

_Static_assert((OUTBOX_INLINE & (OUTBOX_INLINE - 1)) == 0, "rings are powers of two");

static struct chunk *copy_small(struct builder *builder)
{
    struct bytes content = builder_bytes(builder);
    struct chunk *chunk = mem_try_alloc(sizeof(*chunk) + content.len);
    if (chunk != NULL) {
        *chunk = (struct chunk){.refs = 1, .len = (uint32_t)content.len, .at = (char *)(chunk + 1)};
        if (content.len > 0) {
            memcpy(chunk->at, content.at, content.len);
        }
    }
    builder_reset(builder);
    return chunk;
}

struct chunk *chunk_take(struct builder *builder)
{
    if (builder_failed(builder)) {
        builder_reset(builder);
        return NULL;
    }
    if (builder_bytes(builder).len <= COPY_MAX) {
        return copy_small(builder);
    }
    size_t len;
    char *at = builder_take(builder, &len);
    CHECK(len <= UINT32_MAX);
    char *fitting = mem_try_realloc(at, len);
    struct chunk *chunk = mem_alloc(sizeof(*chunk));
    *chunk = (struct chunk){.refs = 1, .len = (uint32_t)len, .at = fitting ? fitting : at};
    return chunk;
}

struct chunk *chunk_borrow(struct bytes content)
{
    CHECK(content.len <= UINT32_MAX);
    struct chunk *chunk = mem_alloc(sizeof(*chunk));
    *chunk = (struct chunk){
        .refs = 1, .borrowed = true, .len = (uint32_t)content.len, .at = (char *)content.at};
    return chunk;
}

static void free_chunk(struct chunk *chunk)
{
    if (chunk->deflated != NULL && chunk->deflated != chunk) {
        chunk_unref(chunk->deflated);
    }
    if (!chunk->borrowed && chunk->at != (char *)(chunk + 1)) {
        mem_free(chunk->at);
    }
    mem_free(chunk);
}

void chunk_unref(struct chunk *chunk)
{
    CHECK(chunk->refs > 0);
    if (--chunk->refs == 0) {
        free_chunk(chunk);
    }
}

static uint32_t ring_room(const struct outbox *outbox)
{
    return outbox->ring ? 1u << outbox->ring : OUTBOX_INLINE;
}

static const struct segment *segment_at(const struct outbox *outbox, uint32_t n)
{
    const struct segment *ring = outbox->ring ? outbox->more : outbox->few;
    return &ring[(outbox->head + n) & (ring_room(outbox) - 1)];
}

static struct segment *segment_slot(struct outbox *outbox, uint32_t n)
{
    struct segment *ring = outbox->ring ? outbox->more : outbox->few;
    return &ring[(outbox->head + n) & (ring_room(outbox) - 1)];
}

/* False: there is no memory for it. */
static bool grow_ring(struct outbox *outbox)
{
    unsigned ring = outbox->ring ? outbox->ring + 1u : FIRST_RING;
    struct segment *more = mem_try_calloc((size_t)1 << ring, sizeof(*more));
    if (more == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < outbox->count; i++) {
        more[i] = *segment_at(outbox, i);
    }
    if (outbox->ring) {
        mem_free(outbox->more);
    }
    outbox->more = more;
    outbox->ring = (uint8_t)ring;
    outbox->head = 0;
    return true;
}

/* Back to the inline segments, when none is used. */
static void drop_ring(struct outbox *outbox)
{
    if (outbox->ring) {
        mem_free(outbox->more);
    }
    outbox->ring = 0;
    outbox->head = 0;
    outbox->count = 0;
}

void outbox_init(
    struct outbox *outbox, const struct outbox_ops *ops, const struct outbox_limits *limits)
{
    *outbox = (struct outbox){.ops = ops, .limits = *limits};
    if (outbox->limits.max < limits->high) {
        outbox->limits.max = limits->high;
    }
    list_init(&outbox->dirty_link);
}

void outbox_finish(struct outbox *outbox)
{
    CHECK(!outbox->busy);
    for (uint32_t i = 0; i < outbox->count; i++) {
        chunk_unref(segment_at(outbox, i)->chunk);
    }
    drop_ring(outbox);
    outbox->bytes = 0;
    outbox->full = false;
    outbox->overflow = false;
    outbox->deferred = false;
    list_remove(&outbox->dirty_link);
}

void outbox_defer(struct outbox *outbox, struct list *later)
{
    if (!list_empty(&outbox->dirty_link)) {
        list_remove(&outbox->dirty_link);
        list_append(later, &outbox->dirty_link);
        outbox->deferred = true;
    }
}

/* Put the outbox on the list of this turn, unless it is there. */
static void mark_dirty(struct outbox *outbox, struct list *dirty)
{
    if (outbox->deferred) {
        list_remove(&outbox->dirty_link);
        outbox->deferred = false;
    }
    if (list_empty(&outbox->dirty_link)) {
        list_append(dirty, &outbox->dirty_link);
    }
}

static void overflow(struct outbox *outbox)
{
    if (!outbox->overflow) {
        outbox->overflow = true;
        if (outbox->ops->overflowed != NULL) {
            outbox->ops->overflowed(outbox);
        }
    }
}

/* Whether `len` more bytes are to be refused; tells the owner when that begins. */
static bool refuse(struct outbox *outbox, uint32_t len)
{
    uint64_t taken = outbox->bytes + (uint64_t)outbox->count * OUTBOX_SEGMENT_COST;
    bool fits = outbox->bytes == 0 || taken + len <= outbox->limits.max;
    if (!outbox->overflow && fits) {
        return false;
    }
    overflow(outbox);
    return true;
}

static void be_full(struct outbox *outbox)
{
    if (!outbox->full) {
        outbox->full = true;
        if (outbox->ops->filled != NULL) {
            outbox->ops->filled(outbox);
        }
    }
}

static bool extend_last(struct outbox *outbox, struct chunk *chunk, uint32_t offset, uint32_t len)
{
    if (outbox->count == 0) {
        return false;
    }
    struct segment *last = segment_slot(outbox, outbox->count - 1U);
    if (last->chunk != chunk || last->offset + last->len != offset) {
        return false;
    }
    last->len += len;
    return true;
}

/* Put a range behind what waits, whatever the limits; false: no memory, which is an overflow. */
static bool push(
    struct outbox *outbox, struct list *dirty, struct chunk *chunk, uint32_t offset, uint32_t len)
{
    if (!extend_last(outbox, chunk, offset, len)) {
        if (outbox->count == ring_room(outbox)) {
            if (!grow_ring(outbox)) {
                overflow(outbox);
                return false;
            }
        }
        chunk->refs++;
        *segment_slot(outbox, outbox->count) =
            (struct segment){.chunk = chunk, .offset = offset, .len = len};
        outbox->count++;
    }
    outbox->bytes += len;
    mark_dirty(outbox, dirty);
    if (outbox->bytes > outbox->limits.high) {
        be_full(outbox);
    }
    return true;
}

static bool append(
    struct outbox *outbox, struct list *dirty, struct chunk *chunk, uint32_t offset, uint32_t len)
{
    CHECK(offset <= chunk->len && len <= chunk->len - offset);
    if (outbox->count == 0 && !outbox->overflow && len > 0) { /* nearly always */
        chunk->refs++;
        outbox->few[0] = (struct segment){.chunk = chunk, .offset = offset, .len = len};
        outbox->count = 1;
        outbox->bytes = len;
        mark_dirty(outbox, dirty);
        if (len > outbox->limits.high) {
            be_full(outbox);
        }
        return true;
    }
    if (refuse(outbox, len)) {
        return false;
    }
    return len == 0 || push(outbox, dirty, chunk, offset, len);
}

bool outbox_append(
    struct outbox *outbox, struct list *dirty, struct chunk *chunk, uint32_t offset, uint32_t len)
{
    if (outbox->deflates && !outbox->overflow && len == chunk->len) {
        struct chunk *deflated = outbox->ops->deflate(outbox, chunk);
        return append(outbox, dirty, deflated, 0, deflated->len);
    }
    return append(outbox, dirty, chunk, offset, len);
}

void outbox_append_last(struct outbox *outbox, struct list *dirty, struct chunk *chunk)
{
    (void)push(outbox, dirty, chunk, 0, chunk->len);
}

void outbox_move(struct outbox *from, struct outbox *to, struct list *dirty)
{
    CHECK(!from->busy);
    bool whole = true; /* nothing comes behind what is missing */
    for (uint32_t i = 0; i < from->count && whole; i++) {
        const struct segment *segment = segment_at(from, i);
        whole = push(to, dirty, segment->chunk, segment->offset, segment->len);
    }
    bool full = from->full;
    outbox_finish(from);
    if (full) {
        be_full(to);
    }
}

bool outbox_unshare(struct outbox *outbox)
{
    struct builder all = {0};
    for (uint32_t i = 0; i < outbox->count; i++) {
        const struct segment *segment = segment_at(outbox, i);
        builder_add(&all, bytes_of(segment->chunk->at + segment->offset, segment->len));
    }
    outbox_finish(outbox);
    bool empty = builder_bytes(&all).len == 0;
    struct chunk *copy = !empty ? chunk_take(&all) : NULL;
    bool whole = empty || copy != NULL;
    builder_reset(&all);
    if (copy != NULL) {
        struct list nowhere;
        list_init(&nowhere);
        (void)outbox_append(outbox, &nowhere, copy, 0, copy->len); /* it is empty: taken */
        list_remove(&outbox->dirty_link);
        chunk_unref(copy);
    }
    return whole;
}

uint64_t outbox_share(const struct outbox *outbox)
{
    uint64_t share = 0;
    for (uint32_t i = 0; i < outbox->count; i++) {
        const struct segment *segment = segment_at(outbox, i);
        share += segment->len / segment->chunk->refs;
    }
    return share;
}

size_t outbox_peek(const struct outbox *outbox, struct iovec *ret_iov, size_t max, size_t max_bytes)
{
    size_t filled = 0;
    size_t left = max_bytes;
    for (uint32_t i = 0; i < outbox->count && filled < max && left > 0; i++) {
        const struct segment *segment = segment_at(outbox, i);
        size_t len = segment->len < left ? segment->len : left;
        ret_iov[filled++] =
            (struct iovec){.iov_base = segment->chunk->at + segment->offset, .iov_len = len};
        left -= len;
    }
    return filled;
}

void outbox_consume(struct outbox *outbox, size_t len)
{
    CHECK(len <= outbox->bytes);
    outbox->bytes -= (uint32_t)len;
    if (outbox->bytes == 0 && outbox->count == 1 && outbox->ring == 0 && !outbox->full) {
        chunk_unref(outbox->few[outbox->head].chunk); /* nearly always */
        outbox->head = 0;
        outbox->count = 0;
        return;
    }
    while (len > 0) {
        struct segment *first = segment_slot(outbox, 0);
        if (len < first->len) {
            first->offset += (uint32_t)len;
            first->len -= (uint32_t)len;
            break;
        }
        len -= first->len;
        chunk_unref(first->chunk);
        outbox->head = (outbox->head + 1) & (ring_room(outbox) - 1);
        outbox->count--;
    }
    if (outbox->count == 0) {
        drop_ring(outbox);
    }
    if (outbox->full && outbox->bytes <= outbox->limits.high / 2) {
        outbox->full = false;
        if (outbox->ops->relieved != NULL) {
            outbox->ops->relieved(outbox);
        }
    }
}

void outbox_flush_all(struct list *dirty)
{
    struct list due;
    list_init(&due);
    list_splice(&due, dirty);
    struct list *link;
    while ((link = list_pop(&due)) != NULL) {
        struct outbox *outbox = container_of(link, struct outbox, dirty_link);
        outbox->deferred = false;
        if (!outbox->busy && outbox->bytes > 0) {
            outbox->ops->flush(outbox);
        }
    }
}
