/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value_memory - the values that a shard has in memory, bounded in bytes.
 *
 * In front of Redis they are copies; on a node without Redis they are all there is. Where there is
 * no room, what was used longest ago goes, of a tenant that has most (within a factor of two), so
 * that no tenant pushes out those of others while it has more than they do. What is asked back when
 * memory is short (mem_ask_back) is given by copies alone.
 */
#ifndef ACTORS_VALUES_VALUE_MEMORY_H
#define ACTORS_VALUES_VALUE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/base/list.h"

struct value_memory;
struct value_tenant;

enum {
    VALUE_LEASE_LEN = 32, /* hexadecimal digits of who fills */
    VALUE_MEMORY_PART = 4, /* no value takes more than this part of the whole */
};

/* A value as it is kept: shared with who answers. */
struct value_body {
    struct buf *bytes; /* NULL: there is none */
    uint32_t raw; /* bytes of what it stands for, where it is packed (codec/zip.h); else 0 */
};

/* What is known of a key. Times are monotonic, but `expires_ms`. */
struct value_item {
    struct value_body body; /* without bytes: only who fills it */
    uint64_t version;
    uint64_t fresh_ms; /* until then it is what it says */
    uint64_t stale_ms; /* and until then what it was, while somebody fills it */
    uint64_t expires_ms; /* wall clock: as callers are told */
    struct buf *tags; /* each between two line feeds; NULL: none */
    char lease[VALUE_LEASE_LEN]; /* who fills, until `lease_ms` */
    uint64_t lease_ms;
    /* private */
    struct list use_link; /* value_tenant.items; used last is last */
    struct list birth_link; /* value_memory.births; put last is last */
    struct value_tenant *tenant;
    uint64_t born;
    size_t cost;
    size_t name_len;
    char name[];
};

/* What it has done and has: nothing but uint64_t. */
struct value_memory_stats {
    uint64_t evicted; /* for want of room */
    uint64_t items; /* now */
    uint64_t bytes; /* now, tables included */
};

/* Make an empty one that keeps nothing until it has room. `copies`: it may forget at any time. */
struct value_memory *value_memory_create(bool copies);

/* Free it; NULL is allowed. */
void value_memory_destroy(struct value_memory *memory);

/* How many bytes it may have. */
void value_memory_set_max(struct value_memory *memory, size_t bytes);

/* Whether a value of that many bytes would be kept. */
bool value_memory_fits(const struct value_memory *memory, size_t bytes);

/* What is known of `name` (tenant, '/', key); it counts as used. NULL: nothing. Gone with the next
 * call that puts. */
struct value_item *value_memory_get(struct value_memory *memory, struct bytes name);

/*
 * Keep what `item` says of `name`, in the place of what was there; bytes and tags are shared. NULL:
 * it is too large or there is no memory for it, and nothing is kept of the name.
 */
struct value_item *value_memory_put(
    struct value_memory *memory, struct bytes name, const struct value_item *item);

/* Forget a name. */
void value_memory_remove(struct value_memory *memory, struct bytes name);

/* Forget all. */
void value_memory_clear(struct value_memory *memory);

/* Let go of all when memory was asked back (copies alone), and of some that have ended; once a
 * second. */
void value_memory_tidy(struct value_memory *memory, uint64_t now_ms);

/* A walk over all that is there when it begins, some at a time; zeroed before its first step. */
struct value_walk {
    /* private */
    struct list link; /* value_memory.walks, while it is under way */
    struct list *next; /* of value_memory.births */
    uint64_t until; /* what was born later is left out */
    bool begun;
};

/*
 * Call `fn` with up to `count` of what is there; true from it: the item goes. Returns whether more
 * is left. Between two steps anything may change.
 */
bool value_walk_some(struct value_memory *memory, struct value_walk *walk, unsigned count,
    bool (*fn)(void *context, const struct value_item *item), void *context);

/* Give a walk up that may not have ended. */
void value_walk_cancel(struct value_walk *walk);

/* The name of an item. */
struct bytes value_item_name(const struct value_item *item);

/* What it takes, its bytes included. */
size_t value_item_cost(const struct value_item *item);

/* Its numbers now. */
const struct value_memory_stats *value_memory_stats(struct value_memory *memory);

#endif
