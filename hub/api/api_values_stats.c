/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The statistics of values over HTTP (actors/values/value_census.h).
 */
#include "actors/values/value_census.h"
#include "codec/base/mem.h"
#include "codec/json_write.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_shard.h"

struct stats_call {
    struct api_call api; /* first */
    struct value_census census;
    struct api_who who;
};

static void write_node(const struct values_stats *stats, struct builder *out)
{
    const struct {
        const char *name;
        uint64_t number;
    } numbers[] = {
        {"hits", stats->hits},
        {"misses", stats->misses},
        {"stale", stats->stale},
        {"localHits", stats->local},
        {"fills", stats->fills},
        {"fillsLost", stats->lost},
        {"writes", stats->writes},
        {"invalidated", stats->dropped},
        {"evictions", stats->evicted},
        {"failed", stats->failed},
        {"waiting", stats->waiting},
        {"keys", stats->items},
        {"bytes", stats->bytes},
    };
    json_write_key(out, "node");
    json_write_open(out, '{');
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        json_write_u64(out, numbers[i].name, numbers[i].number);
    }
    json_write_close(out, '}');
}

static void write_prefixes(const struct map *prefixes, struct builder *out)
{
    size_t cursor = 0;
    json_write_key(out, "prefixes");
    json_write_open(out, '[');
    for (const struct value_prefix *prefix; (prefix = map_next(prefixes, &cursor)) != NULL;) {
        json_write_next(out);
        json_write_open(out, '{');
        json_write_text(out, "prefix", bytes_of(prefix->name, prefix->len));
        json_write_u64(out, "keys", prefix->keys);
        json_write_u64(out, "bytes", prefix->bytes);
        json_write_close(out, '}');
    }
    json_write_close(out, ']');
}

static void write_redis(const struct value_census *census, struct builder *out)
{
    if (!census->redis) {
        json_write_json(out, "redis", bytes_of(NULL, 0));
        return;
    }
    json_write_key(out, "redis");
    json_write_open(out, '{');
    json_write_u64(out, "usedBytes", census->used_bytes);
    json_write_u64(out, "maxBytes", census->max_bytes);
    json_write_close(out, '}');
}

static void on_counted(struct value_census *census)
{
    struct stats_call *call = container_of(census, struct stats_call, census);
    if (call->api.request != NULL) {
        struct builder out = {0};
        json_write_open(&out, '{');
        write_node(&census->stats, &out);
        write_prefixes(&census->prefixes, &out);
        write_redis(census, &out);
        json_write_close(&out, '}');
        api_answer(call->api.request, 200, BYTES("Cache-Control: no-store\r\n"), &out);
    }
    value_census_finish(census);
    mem_free(call);
}

void api_values_stats(struct http_request *request, void *context)
{
    (void)context;
    struct stats_call *call = mem_alloc(sizeof(*call));
    if (!api_auth_backend(request, APIKEY_VALUES, &call->who)) {
        mem_free(call);
        return;
    }
    call->census.done = on_counted;
    call->census.tenant_len = call->who.tenant.len;
    if (call->who.tenant.len > 0) {
        memcpy(call->census.tenant, call->who.tenant.at, call->who.tenant.len);
    }
    if (!value_census_begin(&call->census, api_shard(request)->shard)) {
        api_refuse_unavailable(request);
        mem_free(call);
        return;
    }
    api_call_hold(&call->api, request);
}
