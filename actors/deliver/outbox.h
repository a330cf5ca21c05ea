/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outbox - what waits to be written to one connection: ranges of shared chunks, in order.
 *
 * Chunks are counted without atomics: they belong to one shard. Whatever is appended during a loop
 * turn leaves in one write at its end: an append puts the outbox on the shard's dirty list,
 * outbox_flush_all calls `flush` of each, which takes ranges with outbox_peek and reports with
 * outbox_consume what the kernel took. An empty outbox holds no memory of its own. What is certain
 * to be followed by more may be deferred: it leaves with that, or when the caller of outbox_defer
 * has waited for long enough.
 *
 * Two marks bound it. Above `high` it is `full`: nothing is refused, but the owner is told
 * (`filled`) and gives the peer a time to take what waits; what can be read again later should wait
 * until the outbox is down to half of that (`relieved`). Above `max` everything further is refused,
 * and the owner ends the connection (`overflowed`). One append to an empty outbox is always taken.
 */
#ifndef ACTORS_DELIVER_OUTBOX_H
#define ACTORS_DELIVER_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "codec/base/buf.h"
#include "codec/base/list.h"

/* Immutable bytes counted by the outboxes of one shard. */
struct chunk {
    uint32_t refs : 31;
    uint32_t borrowed : 1; /* the bytes are not its own */
    uint32_t len;
    char *at;
    /* What outboxes that deflate take instead: made when the first of them asks, one reference;
     * itself, without one: there is nothing better. */
    struct chunk *deflated;
};

/* Take what `builder` holds (it is empty afterwards) as a chunk with one reference; NULL if it
 * failed. */
MUST_CHECK struct chunk *chunk_take(struct builder *builder);

/* A chunk with one reference over bytes that outlive it and are not copied. */
MUST_CHECK struct chunk *chunk_borrow(struct bytes content);

/* Drop a reference. */
void chunk_unref(struct chunk *chunk);

struct outbox;

struct outbox_ops {
    /*
     * Write what is waiting, as far as the kernel takes it; called at most once per turn, and not
     * while outbox.busy is set. Must not free the outbox.
     */
    void (*flush)(struct outbox *outbox);
    /* More than `high` waits; once until `relieved`. Appends nothing. May be NULL. */
    void (*filled)(struct outbox *outbox);
    /* What waits is down to half of `high`, after `filled`. Appends nothing. May be NULL. */
    void (*relieved)(struct outbox *outbox);
    /* `max` was reached: what came now was refused, as all that follows; once. May append
     * what ends the connection (outbox_append_last). May be NULL. */
    void (*overflowed)(struct outbox *outbox);
    /*
     * What is to be appended instead of the whole of `chunk`, which keeps it as `deflated`: no
     * reference is passed. Only for an outbox that has `deflates` set.
     */
    struct chunk *(*deflate)(struct outbox *outbox, struct chunk *chunk);
};

struct segment {
    struct chunk *chunk;
    uint32_t offset;
    uint32_t len;
};

enum {
    OUTBOX_INLINE = 2,
    OUTBOX_SEGMENT_COST = 64, /* bytes that a segment and its chunk take, counted against `max` */
};

/* What bounds an outbox, in bytes: see above. `max` counts as `high` where it is less. */
struct outbox_limits {
    uint32_t high;
    uint32_t max;
};

struct outbox {
    const struct outbox_ops *ops;
    struct list dirty_link; /* the list given to outbox_append */
    struct outbox_limits limits;
    uint32_t bytes; /* waiting, those under way included */
    uint32_t count; /* segments */
    uint32_t head; /* private: index of the first */
    uint8_t ring; /* private: `more` holds 1 << ring segments; 0: the inline ones are used */
    bool busy : 1; /* set by the owner while the kernel takes no more: not flushed meanwhile */
    bool full : 1; /* since `filled`, until `relieved` */
    bool overflow : 1; /* since `overflowed`, for ever */
    bool deferred : 1; /* on the list given to outbox_defer */
    bool deflates : 1; /* set by the owner: ops.deflate is asked about each chunk */
    union { /* private */
        struct segment few[OUTBOX_INLINE];
        struct segment *more;
    };
};

/* Make an empty outbox. */
void outbox_init(
    struct outbox *outbox, const struct outbox_ops *ops, const struct outbox_limits *limits);

/* Drop everything that waits and leave the dirty list. Not while `busy`. */
void outbox_finish(struct outbox *outbox);

/*
 * Append `len` bytes of `chunk` from `offset`, taking a reference of its own, and put the outbox on
 * `dirty` unless it is on it. Returns false when refused at `max`.
 */
bool outbox_append(
    struct outbox *outbox, struct list *dirty, struct chunk *chunk, uint32_t offset, uint32_t len);

/* The same for the whole of a small `chunk` that ends the connection: whatever waits. */
void outbox_append_last(struct outbox *outbox, struct list *dirty, struct chunk *chunk);

/*
 * Take an outbox that is to be flushed at the end of this turn from that list to `later`, until
 * more is appended. Nothing when it is on no list.
 */
void outbox_defer(struct outbox *outbox, struct list *later);

/*
 * Give everything that waits in `from` to `to`, behind what waits there, whatever its limits; one
 * that was full makes the other one full. Both of one shard, neither busy.
 */
void outbox_move(struct outbox *from, struct outbox *to, struct list *dirty);

/*
 * What waits becomes a copy of its own: chunks are shared within a shard, and the outbox is to go
 * to another one. It is on no list afterwards. False: there was no memory, and nothing waits.
 */
MUST_CHECK bool outbox_unshare(struct outbox *outbox);

/*
 * Whether what is appended now leaves at the end of the turn, and takes no place that others need:
 * a volatile event may be appended.
 */
static inline bool outbox_writable(const struct outbox *outbox)
{
    return !outbox->busy && outbox->bytes <= outbox->limits.high / 2;
}

/* The first waiting range; only when there is one. */
static inline struct iovec outbox_first(const struct outbox *outbox)
{
    const struct segment *first = (outbox->ring ? outbox->more : outbox->few) + outbox->head;
    return (struct iovec){.iov_base = first->chunk->at + first->offset, .iov_len = first->len};
}

/* What waits, in bytes of memory: of a chunk that others wait for too, its part. */
uint64_t outbox_share(const struct outbox *outbox);

/* Describe up to `max` waiting ranges, at most `max_bytes` (at least one range); returns how many.
 */
size_t outbox_peek(
    const struct outbox *outbox, struct iovec *ret_iov, size_t max, size_t max_bytes);

/* Drop the first `len` waiting bytes: they were written. */
void outbox_consume(struct outbox *outbox, size_t len);

/*
 * Flush every outbox on `dirty` that is not busy. What a flush appends waits on `dirty` for the
 * next call: it is not empty then.
 */
void outbox_flush_all(struct list *dirty);

#endif
