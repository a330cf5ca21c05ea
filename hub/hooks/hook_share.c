/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET and PTTL of a key in one write, and SET with PX.
 */
#include "hub/hooks/hook_share.h"

#include <stdio.h>

#include "actors/bus.h"
#include "actors/order/bus_origin.h"
#include "actors/shard.h"
#include "codec/base/mem.h"
#include "codec/claims.h"
#include "hub/hooks/hook_text.h"

enum { NUMBER_MAX = 24 };

struct hook_share {
    struct shard *shard;
    struct bus_link *link;
};

static const struct bus_events no_events = {.on_up = NULL};

struct hook_share *hook_share_open(struct shard *shard)
{
    struct hook_share *share = mem_alloc(sizeof(*share));
    share->shard = shard;
    share->link = shard->bus->ops->open(shard->bus, "hooks", &no_events, share);
    return share;
}

void hook_share_close(struct hook_share *share)
{
    if (share != NULL) {
        share->shard->bus->ops->close(share->link);
        mem_free(share);
    }
}

bool hook_share_is_up(const struct hook_share *share)
{
    return share->shard->bus->ops->is_up(share->link);
}

static void write_name(const struct hook_share *share, const struct claims *who,
    const uint8_t key[HOOK_KEY_LEN], struct builder *out)
{
    bus_name_hook(&share->shard->config->names, claims_tenant(who), claims_user(who), out);
    for (unsigned i = 0; i < HOOK_KEY_LEN; i++) {
        builder_printf(out, "%02x", key[i]);
    }
}

static void command(const struct hook_share *share, const struct bytes *argv, size_t argc,
    bus_reply_fn fn, void *context)
{
    share->shard->bus->ops->command(share->link, argv, argc, HOOK_SHARE_MS, fn, context);
}

/* "<version> <0 or 1> <epoch>"; -1: it is no answer, or not of our nodes. */
static int read_value(struct shard *shard, struct bytes text)
{
    const char *blank = text.len > 0 ? memchr(text.at, ' ', text.len) : NULL;
    uint64_t version;
    size_t len = blank != NULL ? (size_t)(blank - text.at) : 0;
    if (blank == NULL || bytes_to_u64(bytes_of(text.at, len), UINT32_MAX, &version) != 0) {
        return -1;
    }
    struct bytes rest = bytes_skip(text, len + 1);
    if (rest.len < 2 || (rest.at[0] != '0' && rest.at[0] != '1') || rest.at[1] != ' ' ||
        !bus_origin_is_ours(shard, "answer of a hook", bytes_skip(rest, 2), version)) {
        return -1;
    }
    return rest.at[0] == '1';
}

static void on_value(void *context, int status, const struct bus_reply *reply)
{
    struct hook_share_look *look = context;
    bool is_text = status == 0 && reply->type == BUS_STRING;
    look->allow = is_text ? read_value(look->share->shard, reply->text) : -1;
}

/* The second of two answers: whatever became of the first. */
static void on_left(void *context, int status, const struct bus_reply *reply)
{
    struct hook_share_look *look = context;
    bool holds = status == 0 && reply->type == BUS_INTEGER && reply->integer > 0;
    uint64_t left_ms = holds && look->allow >= 0 ? (uint64_t)reply->integer : 0;
    /* Two readings: between them another answer may have come, with a life of its own. */
    bool may_be = left_ms <= UINT64_C(1000) * HOOK_TTL_MAX_S;
    look->done(look, look->allow == 1, may_be ? left_ms : 0);
}

void hook_share_get(struct hook_share *share, const struct claims *who,
    const uint8_t key[HOOK_KEY_LEN], struct hook_share_look *look)
{
    struct builder name = {0};
    write_name(share, who, key, &name);
    const struct bytes value[] = {BYTES("GET"), builder_bytes(&name)};
    const struct bytes left[] = {BYTES("PTTL"), builder_bytes(&name)};
    look->share = share;
    look->allow = -1;
    command(share, value, ARRAY_LEN(value), on_value, look);
    command(share, left, ARRAY_LEN(left), on_left, look);
    builder_reset(&name);
}

void hook_share_put(struct hook_share *share, const struct claims *who,
    const uint8_t key[HOOK_KEY_LEN], bool allow, uint64_t ms)
{
    struct builder name = {0};
    struct builder value = {0};
    char px[NUMBER_MAX];
    write_name(share, who, key, &name);
    builder_printf(
        &value, "%u %d %s", bus_origin_version(share->shard), allow, share->shard->config->epoch);
    snprintf(px, sizeof(px), "%llu", (unsigned long long)ms);
    const struct bytes argv[] = {
        BYTES("SET"), builder_bytes(&name), builder_bytes(&value), BYTES("PX"), bytes_str(px)};
    command(share, argv, ARRAY_LEN(argv), NULL, NULL);
    builder_reset(&name);
    builder_reset(&value);
}
