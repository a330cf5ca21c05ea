/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each shard goes through its values some at a time and sends back what it has counted. Order of
 * this file: prefixes, Redis, back, there, beginning.
 */
#include "actors/values/value_census.h"

#include <string.h>

#include "actors/shard.h"
#include "actors/values/value_memory.h"
#include "actors/values/value_redis.h"
#include "actors/values/values_state.h"
#include "codec/base/mem.h"
#include "codec/redis_info.h"

enum { WALK_COUNT = 2000 };

/* What one shard counts. */
struct part {
    struct value_census *census;
    struct shard *origin;
    unsigned home;
    struct value_walk walk;
    struct values_stats stats;
    struct map prefixes;
};

/* Prefixes. */

static struct bytes prefix_name(const void *object)
{
    const struct value_prefix *prefix = object;
    return bytes_of(prefix->name, prefix->len);
}

static void clear(struct map *prefixes)
{
    size_t cursor = 0;
    for (struct value_prefix *prefix; (prefix = map_next(prefixes, &cursor)) != NULL;) {
        map_remove(prefixes, prefix_name(prefix));
        mem_free(prefix);
    }
    map_finish(prefixes);
}

/* What begins so, or, where too many do or there is no memory, all others; NULL: not even that. */
static struct value_prefix *take(struct map *prefixes, struct bytes name)
{
    struct value_prefix *prefix = map_get(prefixes, name);
    if (prefix != NULL) {
        return prefix;
    }
    if (map_count(prefixes) >= VALUE_PREFIXES_MAX && name.len > 0) {
        return take(prefixes, bytes_of("", 0));
    }
    prefix = mem_try_calloc(1, sizeof(*prefix));
    if (prefix != NULL) {
        prefix->len = name.len;
        memcpy(prefix->name, name.at, name.len);
        if (map_put(prefixes, prefix)) {
            return prefix;
        }
    }
    mem_free(prefix);
    return NULL;
}

static void count(struct map *prefixes, struct bytes name, uint64_t keys, uint64_t bytes)
{
    struct value_prefix *prefix = take(prefixes, name);
    if (prefix != NULL) {
        prefix->keys += keys;
        prefix->bytes += bytes;
    }
}

static bool count_item(void *context, const struct value_item *item)
{
    struct part *part = context;
    const struct value_census *census = part->census;
    struct bytes name = value_item_name(item);
    struct bytes key = value_name_key(name);
    const char *colon = memchr(key.at, ':', key.len);
    size_t len = colon != NULL ? (size_t)(colon - key.at) + 1 : 0;
    if (bytes_eq(value_name_tenant(name), bytes_of(census->tenant, census->tenant_len))) {
        count(&part->prefixes, bytes_of(key.at, len <= VALUE_PREFIX_MAX ? len : 0), 1,
            value_item_cost(item));
    }
    return false;
}

/* Redis. */

static void answered(struct value_census *census)
{
    if (--census->parts == 0) {
        struct values *values = census->shard->values;
        if (values != NULL) {
            values_count_call(values, false);
        }
        census->done(census);
    }
}

static bool read_field(struct bytes info, const char *field, uint64_t *ret_number)
{
    return bytes_to_u64(redis_info_field(info, field), UINT64_MAX, ret_number) == 0;
}

static void on_info(void *context, int status, const struct bus_reply *reply)
{
    struct value_census *census = context;
    if (status == 0 && reply->type == BUS_STRING) {
        uint64_t used = 0;
        uint64_t most = 0;
        census->redis = read_field(reply->text, "used_memory", &used) &&
                        read_field(reply->text, "maxmemory", &most);
        census->used_bytes += used;
        census->max_bytes += most;
    }
    answered(census);
}

static void ask_redis(struct value_census *census, struct values *values)
{
    const struct bytes argv[] = {BYTES("INFO"), BYTES("memory")};
    if (values->redis != NULL && value_redis_is_up(values->redis)) {
        census->parts +=
            value_redis_ask_each(values->redis, argv, ARRAY_LEN(argv), on_info, census);
    }
}

/* Back, on the shard that asked. */

static void arrive(void *arg, bool cancelled)
{
    struct part *part = arg;
    struct value_census *census = part->census;
    uint64_t *to = (uint64_t *)(void *)&census->stats;
    const uint64_t *from = (const uint64_t *)(const void *)&part->stats;
    (void)cancelled;
    for (size_t i = 0; i < sizeof(census->stats) / sizeof(uint64_t); i++) {
        to[i] += from[i];
    }
    size_t cursor = 0;
    for (const struct value_prefix *prefix;
         (prefix = map_next(&part->prefixes, &cursor)) != NULL;) {
        count(&census->prefixes, prefix_name(prefix), prefix->keys, prefix->bytes);
    }
    clear(&part->prefixes);
    mem_free(part);
    answered(census);
}

/* There. */

static void walk(void *arg, bool cancelled)
{
    struct part *part = arg;
    struct actor_system *system = sched_system(part->origin->sched);
    if (cancelled) { /* the system is destroyed: nothing can be posted */
        arrive(part, true);
        return;
    }
    const struct shard *home = sched_user(actor_system_sched(system, part->home));
    struct values *values = home->values;
    if (values != NULL &&
        value_walk_some(values->memory, &part->walk, WALK_COUNT, count_item, part)) {
        sched_post(system, part->home, walk, part);
        return;
    }
    if (values != NULL) {
        part->stats = *values_get_stats(values);
    }
    sched_post(system, sched_shard(part->origin->sched), arrive, part);
}

/* Beginning. */

static struct part *make_part(struct value_census *census, unsigned home)
{
    struct part *part = mem_alloc(sizeof(*part));
    part->census = census;
    part->origin = census->shard;
    part->home = home;
    map_init(&part->prefixes, prefix_name);
    return part;
}

bool value_census_begin(struct value_census *census, struct shard *shard)
{
    struct actor_system *system = sched_system(shard->sched);
    unsigned shards = actor_system_shards(system);
    struct values *values = shard->values;
    if (values == NULL || values->closing) {
        return false;
    }
    census->shard = shard;
    census->stats = (struct values_stats){0};
    census->redis = false;
    map_init(&census->prefixes, prefix_name);
    census->parts = shards;
    values_count_call(values, true);
    ask_redis(census, values);
    for (unsigned i = 0; i < shards; i++) {
        sched_post(system, i, walk, make_part(census, i));
    }
    return true;
}

void value_census_finish(struct value_census *census)
{
    clear(&census->prefixes);
}
