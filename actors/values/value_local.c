/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and changes the memory of a shard. Time for order is a number that grows with each change
 * and is the wall clock in µs where that is ahead: versions, and since when somebody fills. Order
 * of this file: time, tags, values, leases, increments, life.
 */
#include "actors/values/value_local.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actors/shard.h"
#include "actors/values/value_op.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "codec/json_scan.h"

enum { MARKS_MAX = 4096 };

/* When a tag was let go. */
struct mark {
    struct list link; /* value_local.ages; the oldest first */
    uint64_t at; /* by value_local.clock */
    uint64_t until_ms; /* nobody fills since before it then */
    size_t len;
    char name[];
};

struct value_local {
    struct shard *shard;
    struct value_memory *memory;
    uint64_t clock;
    struct map marks;
    struct list ages;
    uint64_t forgotten; /* marks until then may have gone: who fills since before is refused */
};

static struct bytes mark_name(const void *object)
{
    const struct mark *mark = object;
    return bytes_of(mark->name, mark->len);
}

/* Time. */

static uint64_t tick(struct value_local *local)
{
    uint64_t wall = sched_wall(local->shard->sched) * 1000;
    local->clock = wall > local->clock ? wall : local->clock + 1;
    return local->clock;
}

static uint64_t now_of(const struct value_local *local)
{
    return sched_now(local->shard->sched);
}

/* Tags. */

static void drop_mark(struct value_local *local, struct mark *mark)
{
    map_remove(&local->marks, mark_name(mark));
    list_remove(&mark->link);
    mem_free(mark);
}

static void forget_marks(struct value_local *local)
{
    while (!list_empty(&local->ages)) {
        struct mark *mark = container_of(local->ages.next, struct mark, link);
        if (mark->until_ms > now_of(local) && map_count(&local->marks) < MARKS_MAX) {
            return;
        }
        local->forgotten = mark->until_ms > now_of(local) ? mark->at : local->forgotten;
        drop_mark(local, mark);
    }
}

void value_local_mark(struct value_local *local, struct bytes tag)
{
    struct mark *mark = map_get(&local->marks, tag);
    uint64_t at = tick(local);
    if (mark == NULL) {
        forget_marks(local);
        mark = mem_try_alloc(sizeof(*mark) + tag.len);
        if (mark != NULL) {
            mark->len = tag.len;
            memcpy(mark->name, tag.at, tag.len);
        }
        if (mark == NULL || !map_put(&local->marks, mark)) {
            mem_free(mark);
            local->forgotten = at;
            return;
        }
    } else {
        list_remove(&mark->link);
    }
    mark->at = at;
    mark->until_ms = now_of(local) + local->shard->config->values.fill_ms;
    list_append(&local->ages, &mark->link);
}

bool value_local_has_tag(const struct value_item *item, struct bytes tag)
{
    struct bytes left =
        item->tags != NULL ? bytes_skip(buf_bytes(item->tags), 1) : bytes_of(NULL, 0);
    while (left.len > 0) {
        const char *end = memchr(left.at, '\n', left.len);
        size_t len = (size_t)(end - left.at);
        if (bytes_eq(bytes_of(left.at, len), tag)) {
            return true;
        }
        left = bytes_skip(left, len + 1);
    }
    return false;
}

/* Whether one of the tags that `op` brings was let go after `since`. */
static bool is_marked(struct value_local *local, const struct value_op *op, uint64_t since)
{
    struct bytes left = op->tags != NULL ? bytes_skip(buf_bytes(op->tags), 1) : bytes_of(NULL, 0);
    if (left.len > 0 && since <= local->forgotten) {
        return true;
    }
    while (left.len > 0) {
        char at[VALUE_NAME_MAX];
        const char *end = memchr(left.at, '\n', left.len);
        size_t len = (size_t)(end - left.at);
        struct bytes name =
            value_name_write(value_name_tenant(value_op_name(op)), bytes_of(left.at, len), at);
        const struct mark *mark = map_get(&local->marks, name);
        if (mark != NULL && mark->at >= since) {
            return true;
        }
        left = bytes_skip(left, len + 1);
    }
    return false;
}

/* Values. */

bool value_local_is_fresh(const struct value_local *local, const struct value_item *item)
{
    return item->body.bytes != NULL && item->fresh_ms > now_of(local);
}

static bool is_leased(const struct value_local *local, const struct value_item *item)
{
    return item->lease_ms > now_of(local);
}

/* Whether it was, and may be shown while somebody fills it. */
static bool is_stale(const struct value_local *local, const struct value_item *item)
{
    return item->body.bytes != NULL && item->stale_ms > now_of(local);
}

static void show(struct value_op *op, const struct value_item *item, enum value_outcome outcome)
{
    op->result.outcome = outcome;
    op->result.version = item->version;
    op->result.expires_ms = item->expires_ms;
    op->result.body = item->body;
    (void)buf_ref(item->body.bytes);
}

static void get(struct value_local *local, struct value_op *op)
{
    const struct value_item *item = value_memory_get(local->memory, value_op_name(op));
    if (item == NULL) {
        return;
    }
    if (value_local_is_fresh(local, item)) {
        show(op, item, VALUE_HIT);
    } else if (is_stale(local, item) && is_leased(local, item)) {
        show(op, item, VALUE_STALE);
    }
}

/* The version behind that of `before`, which may be NULL. */
static uint64_t next_version(struct value_local *local, const struct value_item *before)
{
    uint64_t version = tick(local);
    if (before != NULL && version <= before->version) {
        version = before->version + 1;
        local->clock = version;
    }
    return version;
}

/* Put what `item` says, with a life of op->ttl_ms, and tell. */
static void put_item(struct value_local *local, struct value_op *op, struct value_item *item)
{
    item->fresh_ms = now_of(local) + op->ttl_ms;
    item->stale_ms = item->fresh_ms + local->shard->config->values.stale_ms;
    item->expires_ms = sched_wall(local->shard->sched) + op->ttl_ms;
    bool fits = value_memory_fits(
        local->memory, buf_bytes(item->body.bytes).len + sizeof(*item) + op->name_len);
    const struct value_item *put = value_memory_put(local->memory, value_op_name(op), item);
    if (put == NULL) {
        op->result.outcome = fits ? VALUE_NO_MEMORY : VALUE_TOO_LARGE;
        return;
    }
    op->result.outcome = VALUE_DONE;
    op->result.version = put->version;
    op->result.expires_ms = put->expires_ms;
}

/* Whether `item`, which may be NULL, is leased to the caller. */
static bool holds(
    const struct value_local *local, const struct value_op *op, const struct value_item *item)
{
    return item != NULL && is_leased(local, item) && strlen(op->token) > VALUE_LEASE_LEN &&
           memcmp(op->token, item->lease, VALUE_LEASE_LEN) == 0;
}

/* Whether the caller is still who fills `item`, which may be NULL. */
static bool fills(
    struct value_local *local, const struct value_op *op, const struct value_item *item)
{
    uint64_t since;
    if (!holds(local, op, item)) {
        return false;
    }
    struct bytes text = bytes_str(op->token + VALUE_LEASE_LEN + 1);
    return bytes_to_u64(text, UINT64_MAX, &since) == 0 && !is_marked(local, op, since);
}

static void put(struct value_local *local, struct value_op *op)
{
    struct value_item *before = value_memory_get(local->memory, value_op_name(op));
    bool fresh = before != NULL && value_local_is_fresh(local, before);
    if (op->token[0] != '\0' && !fills(local, op, before)) {
        op->result.outcome = VALUE_LEASE_LOST;
        return;
    }
    uint64_t version = fresh ? before->version : 0;
    if (op->conditional && version != op->if_version) {
        op->result.outcome = VALUE_CONFLICT;
        op->result.version = version;
        return;
    }
    struct value_item item = {.body = op->body, .tags = op->tags};
    item.version = next_version(local, before);
    put_item(local, op, &item);
}

static void drop(struct value_local *local, struct value_op *op)
{
    const struct value_item *item = value_memory_get(local->memory, value_op_name(op));
    bool fresh = item != NULL && value_local_is_fresh(local, item);
    if (item != NULL) {
        (void)next_version(local, item);
    }
    value_memory_remove(local->memory, value_op_name(op));
    op->result.outcome = fresh ? VALUE_DONE : VALUE_MISS;
}

/* Leases. */

static void write_token(struct value_op *op, const struct value_item *item, uint64_t since)
{
    snprintf(op->result.token, sizeof(op->result.token), "%.*s:%" PRIu64, VALUE_LEASE_LEN,
        item->lease, since);
}

/* The caller becomes who fills; `before`, what was there, may be NULL. */
static void give_lease(
    struct value_local *local, struct value_op *op, const struct value_item *before)
{
    struct value_item item = {.version = 0};
    if (before != NULL && is_stale(local, before)) {
        item = *before;
    }
    uint64_t secret[VALUE_LEASE_LEN / 16];
    char text[VALUE_LEASE_LEN + 1];
    rand_secret(secret, sizeof(secret));
    snprintf(text, sizeof(text), "%016" PRIx64 "%016" PRIx64, secret[0], secret[1]);
    memcpy(item.lease, text, VALUE_LEASE_LEN);
    item.version = before != NULL ? before->version : 0;
    item.lease_ms = now_of(local) + local->shard->config->values.fill_ms;
    op->result.outcome = VALUE_FILL;
    write_token(op, &item, tick(local));
    if (value_memory_put(local->memory, value_op_name(op), &item) == NULL) {
        op->result.outcome = VALUE_MISS; /* no memory: whoever asked computes it */
        op->result.token[0] = '\0';
    }
}

static void lease(struct value_local *local, struct value_op *op)
{
    const struct value_item *item = value_memory_get(local->memory, value_op_name(op));
    if (item != NULL && value_local_is_fresh(local, item)) {
        show(op, item, VALUE_HIT);
    } else if (item == NULL || !is_leased(local, item)) {
        give_lease(local, op, item);
    } else if (is_stale(local, item)) {
        show(op, item, VALUE_STALE);
    } else {
        op->result.held_ms = item->lease_ms - now_of(local);
    }
}

static void release(struct value_local *local, struct value_op *op)
{
    struct value_item *item = value_memory_get(local->memory, value_op_name(op));
    if (holds(local, op, item)) {
        item->lease_ms = 0;
    }
}

/* Increments. */

static struct buf *write_number(int64_t number)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRId64, number);
    return buf_new(bytes_str(text));
}

/* What the counter is then; false: the result says why not. */
static bool add_number(struct value_op *op, const struct value_item *before, int64_t *ret_number)
{
    int64_t number = 0;
    if (before != NULL &&
        (before->body.raw != 0 || json_scan_i64(buf_bytes(before->body.bytes), &number) != 0)) {
        op->result.outcome = VALUE_NO_INTEGER;
        return false;
    }
    if (__builtin_add_overflow(number, op->by, ret_number)) {
        op->result.outcome = VALUE_OVERFLOW;
        return false;
    }
    return true;
}

static void increment(struct value_local *local, struct value_op *op)
{
    struct value_item *there = value_memory_get(local->memory, value_op_name(op));
    bool fresh = there != NULL && value_local_is_fresh(local, there);
    int64_t number;
    if (!add_number(op, fresh ? there : NULL, &number)) {
        return;
    }
    struct buf *text = write_number(number);
    if (text == NULL) {
        op->result.outcome = VALUE_NO_MEMORY;
        return;
    }
    uint64_t version = next_version(local, there);
    if (fresh) { /* its end and its tags stay */
        buf_unref(there->body.bytes);
        there->body.bytes = text;
        there->version = version;
        there->lease_ms = 0;
        show(op, there, VALUE_DONE);
        return;
    }
    struct value_item item = {.body.bytes = text, .version = version};
    put_item(local, op, &item);
    op->result.body.bytes = text;
}

void value_local_ask(struct value_local *local, struct value_op *op)
{
    op->result.outcome = VALUE_MISS;
    switch (op->verb) {
    case VALUE_GET:
        get(local, op);
        break;
    case VALUE_PUT:
        put(local, op);
        break;
    case VALUE_DELETE:
        drop(local, op);
        break;
    case VALUE_INCREMENT:
        increment(local, op);
        break;
    case VALUE_LEASE:
        lease(local, op);
        break;
    case VALUE_RELEASE:
        release(local, op);
        break;
    }
}

/* Life. */

struct value_local *value_local_create(struct shard *shard, struct value_memory *memory)
{
    struct value_local *local = mem_alloc(sizeof(*local));
    local->shard = shard;
    local->memory = memory;
    map_init(&local->marks, mark_name);
    list_init(&local->ages);
    return local;
}

void value_local_destroy(struct value_local *local)
{
    if (local != NULL) {
        while (!list_empty(&local->ages)) {
            drop_mark(local, container_of(local->ages.next, struct mark, link));
        }
        map_finish(&local->marks);
        mem_free(local);
    }
}
