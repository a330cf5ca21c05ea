/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order of this file: claiming, renewing, giving back.
 */
#include "hub/solo.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "codec/base/clock.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/bus_name.h"
#include "hub/config.h"
#include "hub/hub.h"
#include "hub/loop.h"
#include "hub/redis_sync.h"

enum { RETRY_MS = 200, RENEW_MS = 1000, CLAIM_MS = 6000 };

/* CLAIM_MS is longer: who starts again after a crash waits for its former self. */
#define LIFETIME "5000"

/* 1: ours for another lifetime; 0: another node's. */
#define RENEW_SCRIPT                                                                               \
    "local at=redis.call('get',KEYS[1]) if at and at~=ARGV[1] then return 0 end "                  \
    "redis.call('set',KEYS[1],ARGV[1],'PX',ARGV[2]) return 1"
#define RELEASE_SCRIPT                                                                             \
    "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) else return 0 "   \
    "end"

struct solo {
    uv_timer_t timer;
    struct hub_shard *shard;
    struct bus_link *link;
    char key[BUS_NAME_MAX];
    bool asking;
    bool closing;
    bool released;
};

static bool is_solo(const struct hub *hub)
{
    return hub->config->bus_url[0] != '\0' && hub->config->store_url[0] == '\0';
}

/* Claiming. */

static void on_claimed(void *context, int status, const struct bus_reply *reply)
{
    bool *won = context;
    *won = status == 0 && reply->type == BUS_STATUS;
}

int solo_claim(const struct hub *hub, struct builder *error)
{
    char key[BUS_NAME_MAX];
    struct redis_sync *sync;
    if (!is_solo(hub)) {
        return 0;
    }
    int status = redis_sync_open(hub->config->bus_url, error, &sync);
    if (status != 0) {
        return status;
    }
    bus_name_solo(&hub->names, key);
    const struct bytes argv[] = {BYTES("SET"), bytes_str(key), bytes_str(hub->node), BYTES("NX"),
        BYTES("PX"), BYTES(LIFETIME)};
    const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};
    uint64_t deadline = clock_mono_ms() + CLAIM_MS;
    bool won = false;
    while (!won) {
        redis_sync_send(sync, argv, ARRAY_LEN(argv), on_claimed, &won);
        redis_sync_wait(sync, 0);
        if (!won && clock_mono_ms() >= deadline) {
            break;
        }
        if (!won) {
            nanosleep(&pause, NULL);
        }
    }
    redis_sync_close(sync);
    if (!won) {
        builder_printf(error,
            "another node uses this Redis (%s): with SQLite there can be only one, several nodes "
            "need a Postgres (store.url)",
            key);
        return STATUS_EXISTS;
    }
    return 0;
}

/* Renewing. */

static void on_renewed(void *context, int status, const struct bus_reply *reply)
{
    struct solo *solo = context;
    solo->asking = false;
    if (solo->closing || status != 0 || reply->type != BUS_INTEGER || reply->integer == 1) {
        return; /* without Redis nothing is read from it either */
    }
    log_error("SOLO-LOST", "another node with SQLite has taken over this Redis, ending", "key=%s",
        solo->key);
    kill(getpid(), SIGTERM);
}

static void ask(struct solo *solo, const char *script, bus_reply_fn fn)
{
    const struct bytes argv[] = {BYTES("EVAL"), bytes_str(script), BYTES("1"), bytes_str(solo->key),
        bytes_str(solo->shard->hub->node), BYTES(LIFETIME)};
    solo->shard->shard.bus->ops->command(solo->link, argv, ARRAY_LEN(argv), 0, fn, solo);
}

static void on_closed(uv_handle_t *handle)
{
    mem_free(container_of((uv_timer_t *)handle, struct solo, timer));
}

static void on_timer(uv_timer_t *timer)
{
    struct solo *solo = container_of(timer, struct solo, timer);
    if (solo->released) {
        solo->shard->shard.bus->ops->close(solo->link);
        uv_close((uv_handle_t *)timer, on_closed);
    } else if (!solo->closing && !solo->asking) {
        solo->asking = true;
        ask(solo, RENEW_SCRIPT, on_renewed);
    }
}

void solo_start(struct hub_shard *shard)
{
    static const struct bus_events events = {0};
    if (shard != &shard->hub->shards[0] || !is_solo(shard->hub)) {
        return;
    }
    struct solo *solo = mem_alloc(sizeof(*solo));
    solo->shard = shard;
    bus_name_solo(&shard->hub->names, solo->key);
    solo->link = shard->shard.bus->ops->open(shard->shard.bus, "peal-solo", &events, solo);
    uv_timer_init(loop_uv(shard->loop), &solo->timer);
    uv_timer_start(&solo->timer, on_timer, RENEW_MS, RENEW_MS);
    shard->solo = solo;
}

/* Giving back. */

static void on_released(void *context, int status, const struct bus_reply *reply)
{
    struct solo *solo = context;
    (void)status;
    (void)reply;
    solo->released = true; /* or it runs out by itself */
}

void solo_stop(struct hub_shard *shard)
{
    struct solo *solo = shard->solo;
    if (solo == NULL) {
        return;
    }
    shard->solo = NULL;
    solo->closing = true;
    ask(solo, RELEASE_SCRIPT, on_released);
    uv_timer_start(&solo->timer, on_timer, 1, 1);
}
