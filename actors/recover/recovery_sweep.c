/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Enters a lease into the set of all, and deletes batch by batch what one that has ended left.
 */
#include "actors/recover/recovery_sweep.h"

#include <string.h>

#include "actors/shard.h"
#include "actors/wire_name.h"
#include "codec/base/buf.h"
#include "codec/base/mem.h"
#include "codec/bus_name.h"

enum { BATCH = 100 };

/* Enter ARGV[1] for ARGV[2] ms; answer one that has ended, which is ours for ARGV[3] ms. */
#define ENTER_SCRIPT                                                                               \
    "local t=redis.call('time') local now=t[1]*1000+math.floor(t[2]/1000) "                        \
    "redis.call('zadd',KEYS[1],now+ARGV[2],ARGV[1]) "                                              \
    "local gone=redis.call('zrangebyscore',KEYS[1],'-inf','('..now,'LIMIT',0,1)[1] "               \
    "if gone then redis.call('zadd',KEYS[1],now+ARGV[3],gone) end return gone"
#define CLAIM_TEXT "60000"

struct recovery_sweep {
    const struct shard *shard;
    struct bus_link *sender;
    bool busy;
    char name[WIRE_SID_LEN]; /* of the lease that has ended */
};

struct recovery_sweep *recovery_sweep_create(const struct shard *shard, struct bus_link *sender)
{
    struct recovery_sweep *sweep = mem_alloc(sizeof(*sweep));
    sweep->shard = shard;
    sweep->sender = sender;
    return sweep;
}

void recovery_sweep_destroy(struct recovery_sweep *sweep)
{
    mem_free(sweep);
}

static struct bytes name_of(const struct recovery_sweep *sweep)
{
    return bytes_of(sweep->name, sizeof(sweep->name));
}

static void send(
    struct recovery_sweep *sweep, const struct bytes *argv, size_t argc, bus_reply_fn fn)
{
    sweep->shard->bus->ops->command(sweep->sender, argv, argc, 0, fn, sweep);
}

static void forget_lease(struct recovery_sweep *sweep)
{
    char leases[BUS_NAME_MAX];
    bus_name_record_leases(&sweep->shard->config->names, leases);
    const struct bytes argv[] = {BYTES("ZREM"), bytes_str(leases), name_of(sweep)};
    send(sweep, argv, ARRAY_LEN(argv), NULL);
    sweep->busy = false;
}

static void on_batch(void *context, int status, const struct bus_reply *reply);

static void ask_for_batch(struct recovery_sweep *sweep)
{
    struct builder list = {0};
    bus_name_record_list(&sweep->shard->config->names, name_of(sweep), &list);
    const struct bytes argv[] = {BYTES("SRANDMEMBER"), builder_bytes(&list), BYTES("100")};
    send(sweep, argv, ARRAY_LEN(argv), on_batch);
    builder_reset(&list);
}

/* Another one goes on where an answer is missing: the lease is still in the set. */
static void on_removed(void *context, int status, const struct bus_reply *reply)
{
    struct recovery_sweep *sweep = context;
    sweep->busy = status == 0 && reply->type == BUS_INTEGER && reply->integer > 0;
    if (sweep->busy) {
        ask_for_batch(sweep);
    }
}

static void drop_record(struct recovery_sweep *sweep, struct bytes key)
{
    struct builder mark = {0};
    builder_str(&mark, "\"lease\":\"");
    builder_add(&mark, name_of(sweep));
    builder_byte(&mark, '"');
    const struct bytes argv[] = {
        BYTES("EVAL"), BYTES(RECOVERY_DROP_SCRIPT), BYTES("1"), key, builder_bytes(&mark)};
    send(sweep, argv, ARRAY_LEN(argv), NULL);
    builder_reset(&mark);
}

static void on_batch(void *context, int status, const struct bus_reply *reply)
{
    struct recovery_sweep *sweep = context;
    struct bytes argv[BATCH + 2];
    struct builder list = {0};
    size_t argc = 2;
    if (status != 0 || reply->type != BUS_ARRAY) {
        sweep->busy = false;
        return;
    }
    for (size_t i = 0; i < reply->count && argc < ARRAY_LEN(argv); i++) {
        if (reply->items[i]->type == BUS_STRING) {
            drop_record(sweep, reply->items[i]->text);
            argv[argc++] = reply->items[i]->text;
        }
    }
    if (argc == 2) {
        forget_lease(sweep);
        return;
    }
    bus_name_record_list(&sweep->shard->config->names, name_of(sweep), &list);
    argv[0] = BYTES("SREM");
    argv[1] = builder_bytes(&list);
    send(sweep, argv, argc, on_removed);
    builder_reset(&list);
}

static void on_entered(void *context, int status, const struct bus_reply *reply)
{
    struct recovery_sweep *sweep = context;
    if (status != 0 || reply->type != BUS_STRING || reply->text.len != sizeof(sweep->name) ||
        sweep->busy) {
        return;
    }
    memcpy(sweep->name, reply->text.at, sizeof(sweep->name));
    sweep->busy = true;
    ask_for_batch(sweep);
}

void recovery_sweep_enter(struct recovery_sweep *sweep, struct bytes name, uint64_t lifetime_ms)
{
    char leases[BUS_NAME_MAX];
    struct builder lifetime = {0};
    bus_name_record_leases(&sweep->shard->config->names, leases);
    builder_u64(&lifetime, lifetime_ms);
    const struct bytes argv[] = {BYTES("EVAL"), BYTES(ENTER_SCRIPT), BYTES("1"), bytes_str(leases),
        name, builder_bytes(&lifetime), BYTES(CLAIM_TEXT)};
    send(sweep, argv, ARRAY_LEN(argv), on_entered);
    builder_reset(&lifetime);
}
