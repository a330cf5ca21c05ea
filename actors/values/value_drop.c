/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A drop in Redis goes: for each tag its mark, then the set of its keys, step by step: a batch of
 * names, a script for each of them, and out of the set goes what was let go. For a prefix the same
 * with the keys of the database. Order of this file: ends, batches, steps in Redis, shards without
 * Redis, beginning.
 */
#include "actors/values/value_drop.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actors/shard.h"
#include "actors/values/value_local.h"
#include "actors/values/value_memory.h"
#include "actors/values/value_redis.h"
#include "actors/values/value_room.h"
#include "actors/values/values.h"
#include "actors/values/values_state.h"
#include "codec/base/mem.h"

enum {
    SCAN_COUNT = 500, /* keys that one step of a scan looks at */
    WALK_COUNT = 2000, /* values that a turn looks at */
    MARK_GRACE_MS = 10000, /* commands may be late */
};

/* A value that a step has found. */
struct found {
    struct value_drop *drop;
    struct buf *name;
    struct buf *stamp; /* NULL: of a prefix */
    bool gone; /* what has this stamp */
};

struct value_batch {
    size_t count;
    struct found found[];
};

/* Ends. */

static void free_batch(struct value_drop *drop)
{
    for (size_t i = 0; drop->batch != NULL && i < drop->batch->count; i++) {
        buf_unref(drop->batch->found[i].name);
        buf_unref(drop->batch->found[i].stamp);
    }
    mem_free(drop->batch);
    drop->batch = NULL;
}

static void end(struct value_drop *drop, enum value_outcome outcome)
{
    struct values *values = drop->values;
    free_batch(drop);
    list_remove(&drop->link);
    values->drop_count--;
    values->stats.dropped += drop->count;
    drop->outcome = outcome;
    buf_unref(drop->tags);
    drop->tags = NULL;
    values_count_call(values, false);
    drop->done(drop);
}

/* Redis did not answer, or not as it should. */
static void fail(struct value_drop *drop, int status, const struct bus_reply *reply)
{
    if (status == 0) {
        (void)value_redis_forgot(drop->values->redis, reply);
    }
    drop->values->stats.failed++;
    end(drop, VALUE_UNKNOWN);
}

static struct bytes tenant_of(const struct value_drop *drop)
{
    return bytes_of(drop->tenant, drop->tenant_len);
}

static struct bytes tag_name(const struct value_drop *drop, char at[VALUE_NAME_MAX])
{
    return value_name_write(tenant_of(drop), drop->tag, at);
}

/* Batches. */

static void next_step(struct value_drop *drop);

/* The set of a tag says: a name, its stamp. */
static bool take_pair(
    struct value_drop *drop, const struct bus_reply *name, const struct bus_reply *stamp)
{
    struct found *found = &drop->batch->found[drop->batch->count];
    if (name->type != BUS_STRING || stamp->type != BUS_STRING || name->text.len > VALUE_NAME_MAX) {
        return true; /* not of ours */
    }
    found->drop = drop;
    found->name = buf_new(name->text);
    found->stamp = buf_new(stamp->text);
    drop->batch->count++;
    return found->name != NULL && found->stamp != NULL;
}

/* The database says: a key. */
static bool take_key(struct value_drop *drop, const struct bus_reply *key)
{
    struct found *found = &drop->batch->found[drop->batch->count];
    struct bytes name;
    if (key->type != BUS_STRING || !value_name_read(&drop->values->names, key->text, &name)) {
        return true;
    }
    found->drop = drop;
    found->name = buf_new(name);
    drop->batch->count++;
    return found->name != NULL;
}

/* Take what a step has found; false: no memory. */
static bool take_batch(struct value_drop *drop, const struct bus_reply *list)
{
    drop->batch =
        mem_try_calloc(1, sizeof(*drop->batch) + (list->count + 1) * sizeof(struct found));
    bool taken = drop->batch != NULL;
    size_t step = drop->tags != NULL ? 2 : 1;
    for (size_t i = 0; taken && i + step <= list->count; i += step) {
        taken = step == 2 ? take_pair(drop, list->items[i], list->items[i + 1])
                          : take_key(drop, list->items[i]);
    }
    return taken;
}

/* Steps in Redis. */

static bool is_last_step(const struct value_drop *drop)
{
    return strcmp(drop->cursor, "0") == 0;
}

static void on_untagged(void *context, int status, const struct bus_reply *reply)
{
    struct value_drop *drop = context;
    if (status != 0 || reply->type != BUS_INTEGER) {
        fail(drop, status, reply);
        return;
    }
    /* What stays in the set is looked at again with the next one, and ends by itself. */
    next_step(drop);
}

/* Take out of the set what was let go. */
static void untag(struct value_drop *drop)
{
    char at[VALUE_NAME_MAX];
    struct builder set = {0};
    const struct value_batch *batch = drop->batch;
    struct bytes *argv = mem_try_calloc(2 * batch->count + 1, sizeof(*argv));
    size_t argc = 1;
    for (size_t i = 0; argv != NULL && i < batch->count; i++) {
        if (batch->found[i].gone) {
            argv[argc++] = buf_bytes(batch->found[i].name);
            argv[argc++] = buf_bytes(batch->found[i].stamp);
        }
    }
    if (argc == 1) { /* nothing went, or there is no memory to say so */
        mem_free(argv);
        next_step(drop);
        return;
    }
    value_name_redis(&drop->values->names, VALUE_KIND_TAG, tag_name(drop, at), &set);
    argv[0] = builder_bytes(&set);
    bool asked =
        value_redis_run(drop->values->redis, VALUE_SCRIPT_UNTAG, argv, argc, on_untagged, drop);
    builder_reset(&set);
    mem_free(argv);
    if (!asked) {
        next_step(drop);
    }
}

static void on_dropped(void *context, int status, const struct bus_reply *reply)
{
    struct found *found = context;
    struct value_drop *drop = found->drop;
    bool understood = status == 0 && reply->type == BUS_ARRAY && reply->count == 2 &&
                      reply->items[0]->type == BUS_INTEGER && reply->items[1]->type == BUS_INTEGER;
    if (understood) {
        drop->count += reply->items[0]->integer > 0;
        if (reply->items[0]->integer > 0) {
            value_room_remove(drop->values->shard, buf_bytes(found->name));
        }
        found->gone = reply->items[1]->integer > 0;
    } else {
        drop->outcome = VALUE_UNKNOWN;
    }
    if (--drop->parts > 0) {
        return;
    }
    if (drop->outcome == VALUE_UNKNOWN) {
        fail(drop, status, reply);
    } else if (drop->tags != NULL) {
        untag(drop);
    } else {
        next_step(drop);
    }
}

static void drop_one(struct value_drop *drop, struct found *found)
{
    struct bytes name = buf_bytes(found->name);
    struct builder key = {0};
    struct builder channel = {0};
    value_name_redis(&drop->values->names, VALUE_KIND_VALUE, name, &key);
    value_redis_channel(&drop->values->names, name, &channel);
    const struct bytes argv[] = {builder_bytes(&key), drop->tags != NULL ? drop->tag : BYTES(""),
        found->stamp != NULL ? buf_bytes(found->stamp) : BYTES(""), builder_bytes(&channel), name};
    (void)value_redis_run(
        drop->values->redis, VALUE_SCRIPT_DROP, argv, ARRAY_LEN(argv), on_dropped, found);
    builder_reset(&key);
    builder_reset(&channel);
}

static void drop_batch(struct value_drop *drop)
{
    struct value_batch *batch = drop->batch;
    if (batch->count == 0) {
        next_step(drop);
        return;
    }
    drop->parts = batch->count;
    for (size_t i = 0; i < batch->count; i++) {
        drop_one(drop, &batch->found[i]);
    }
}

static void on_scanned(void *context, int status, const struct bus_reply *reply)
{
    struct value_drop *drop = context;
    bool understood = status == 0 && reply->type == BUS_ARRAY && reply->count == 2 &&
                      reply->items[0]->type == BUS_STRING &&
                      reply->items[0]->text.len < sizeof(drop->cursor) &&
                      reply->items[1]->type == BUS_ARRAY;
    if (!understood || !take_batch(drop, reply->items[1])) {
        fail(drop, status, reply);
        return;
    }
    memcpy(drop->cursor, reply->items[0]->text.at, reply->items[0]->text.len);
    drop->cursor[reply->items[0]->text.len] = '\0';
    drop_batch(drop);
}

static void scan(struct value_drop *drop)
{
    char at[VALUE_NAME_MAX];
    char count[8];
    struct builder text = {0};
    snprintf(count, sizeof(count), "%d", (int)SCAN_COUNT);
    if (drop->tags != NULL) {
        value_name_redis(&drop->values->names, VALUE_KIND_TAG, tag_name(drop, at), &text);
        const struct bytes argv[] = {BYTES("ZSCAN"), builder_bytes(&text), bytes_str(drop->cursor),
            BYTES("COUNT"), bytes_str(count)};
        value_redis_command(drop->values->redis, argv, ARRAY_LEN(argv), on_scanned, drop);
    } else {
        value_name_pattern(
            &drop->values->names, tenant_of(drop), bytes_of(drop->prefix, drop->prefix_len), &text);
        const struct bytes argv[] = {BYTES("SCAN"), bytes_str(drop->cursor), BYTES("MATCH"),
            builder_bytes(&text), BYTES("COUNT"), bytes_str(count)};
        value_redis_command(drop->values->redis, argv, ARRAY_LEN(argv), on_scanned, drop);
    }
    builder_reset(&text);
}

/* Cut the next tag off; false: there is none. */
static bool take_tag(struct bytes *left, struct bytes *ret_tag)
{
    const char *end = left->len > 0 ? memchr(left->at, '\n', left->len) : NULL;
    if (end == NULL) {
        return false;
    }
    *ret_tag = bytes_of(left->at, (size_t)(end - left->at));
    *left = bytes_skip(*left, ret_tag->len + 1);
    return true;
}

static void on_marked(void *context, int status, const struct bus_reply *reply)
{
    struct value_drop *drop = context;
    if (status != 0 || reply->type != BUS_INTEGER) {
        fail(drop, status, reply);
        return;
    }
    strcpy(drop->cursor, "0");
    scan(drop);
}

/* From now on nobody who fills may bring the tag. */
static void mark(struct value_drop *drop)
{
    char at[VALUE_NAME_MAX];
    char life[24];
    struct builder key = {0};
    snprintf(life, sizeof(life), "%" PRIu64,
        drop->values->shard->config->values.fill_ms + MARK_GRACE_MS);
    value_name_redis(&drop->values->names, VALUE_KIND_MARK, tag_name(drop, at), &key);
    const struct bytes argv[] = {builder_bytes(&key), bytes_str(life)};
    (void)value_redis_run(
        drop->values->redis, VALUE_SCRIPT_MARK, argv, ARRAY_LEN(argv), on_marked, drop);
    builder_reset(&key);
}

/* A step has ended: the next one of the scan, the next tag, or the end. */
static void next_step(struct value_drop *drop)
{
    free_batch(drop);
    if (!is_last_step(drop)) {
        scan(drop);
    } else if (drop->tags != NULL && take_tag(&drop->left, &drop->tag)) {
        mark(drop);
    } else {
        end(drop, VALUE_DONE);
    }
}

/* Shards without Redis. */

/* What one shard does of a drop. */
struct part {
    struct value_drop *drop;
    struct shard *origin;
    unsigned home;
    struct shard *home_shard; /* while it is walked over */
    struct value_local *local; /* of the shard */
    struct value_walk walk;
    uint64_t count;
};

static void arrive(void *arg, bool cancelled)
{
    struct part *part = arg;
    struct value_drop *drop = part->drop;
    (void)cancelled;
    drop->count += part->count;
    mem_free(part);
    if (--drop->parts == 0) {
        end(drop, VALUE_DONE);
    }
}

static bool has_one(const struct value_drop *drop, const struct value_item *item)
{
    struct bytes left = bytes_skip(buf_bytes(drop->tags), 1);
    struct bytes tag;
    while (take_tag(&left, &tag)) {
        if (value_local_has_tag(item, tag)) {
            return true;
        }
    }
    return false;
}

static bool goes(void *context, const struct value_item *item)
{
    struct part *part = context;
    const struct value_drop *drop = part->drop;
    struct bytes name = value_item_name(item);
    struct bytes prefix = bytes_of(drop->prefix, drop->prefix_len);
    if (!bytes_eq(value_name_tenant(name), tenant_of(drop)) ||
        !(drop->tags != NULL ? has_one(drop, item) : bytes_starts(value_name_key(name), prefix))) {
        return false;
    }
    part->count += value_local_is_fresh(part->local, item);
    value_room_remove(part->home_shard, name);
    return true;
}

static void mark_all(struct value_drop *drop, struct value_local *local)
{
    char at[VALUE_NAME_MAX];
    struct bytes left = drop->tags != NULL ? bytes_skip(buf_bytes(drop->tags), 1) : bytes_of("", 0);
    struct bytes tag;
    while (take_tag(&left, &tag)) {
        value_local_mark(local, value_name_write(tenant_of(drop), tag, at));
    }
}

static void walk(void *arg, bool cancelled)
{
    struct part *part = arg;
    struct actor_system *system = sched_system(part->origin->sched);
    if (cancelled) {
        arrive(part, true);
        return;
    }
    struct shard *home = sched_user(actor_system_sched(system, part->home));
    part->home_shard = home;
    struct values *values = home->values;
    if (values != NULL) {
        if (part->local == NULL) {
            part->local = values->local;
            mark_all(part->drop, part->local);
        }
        if (value_walk_some(values->memory, &part->walk, WALK_COUNT, goes, part)) {
            sched_post(system, part->home, walk, part);
            return;
        }
        values_wake_all(values);
    }
    sched_post(system, sched_shard(part->origin->sched), arrive, part);
}

/* A part for each shard; false: no memory, and nothing was begun. */
static bool begin_parts(struct value_drop *drop, struct shard *shard)
{
    struct actor_system *system = sched_system(shard->sched);
    struct part *parts[SHARD_MAX];
    unsigned shards = actor_system_shards(system);
    bool made = true;
    for (unsigned i = 0; i < shards; i++) {
        parts[i] = mem_try_calloc(1, sizeof(struct part));
        made = made && parts[i] != NULL;
    }
    for (unsigned i = 0; i < shards; i++) {
        if (made) {
            parts[i]->drop = drop;
            parts[i]->origin = shard;
            parts[i]->home = i;
            sched_post(system, i, walk, parts[i]);
        } else {
            mem_free(parts[i]);
        }
    }
    drop->parts = shards;
    return made;
}

/* Beginning. */

enum value_drop_start value_drop_begin(struct value_drop *drop, struct shard *shard)
{
    struct values *values = shard->values;
    if (values == NULL || values->closing || values_are_away(values)) {
        return VALUE_DROP_AWAY;
    }
    if (values->drop_count >= shard->config->values.drops) {
        return VALUE_DROP_BUSY;
    }
    drop->values = values;
    drop->batch = NULL;
    drop->count = 0;
    drop->outcome = VALUE_DONE;
    drop->left = drop->tags != NULL ? bytes_skip(buf_bytes(drop->tags), 1) : bytes_of("", 0);
    strcpy(drop->cursor, "0");
    if (values->local != NULL && !begin_parts(drop, shard)) {
        return VALUE_DROP_BUSY;
    }
    values->drop_count++;
    values_count_call(values, true);
    list_append(&values->drops, &drop->link);
    if (values->redis != NULL && drop->tags != NULL) {
        next_step(drop);
    } else if (values->redis != NULL) {
        scan(drop);
    }
    return VALUE_DROP_BEGUN;
}
