/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims the key before the node starts, blocking, and keeps it on the first shard while it runs.
 */
#include "hub/node/sqlite_lease.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors/lease.h"
#include "codec/base/clock.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/bus_name.h"
#include "hub/config/config.h"
#include "hub/node/hub_settings.h"
#include "hub/node/node.h"
#include "hub/redis/redis_sync.h"
#include "sql/store.h"

enum {
    TTL_MS = 5000,
    RENEW_MS = 1000,
    RETRY_MS = 200,
    CLAIM_MS = 6000, /* longer than TTL_MS: a node that was killed on another file is waited for */
};

struct sqlite_lease {
    struct lease lease;
    struct hub_shard *shard;
    struct bus_link *link;
};

bool sqlite_lease_is_wanted(const struct hub *hub)
{
    return hub->config->bus_url[0] != '\0' && hub->config->store_url[0] == '\0';
}

/*
 * The holder is the file, not the process: its lock, which this process has, proves that whoever
 * held the claim under this name is dead. A copy of the file has the same identity, but not the
 * same place, nor the same birth.
 */
static void name_holder(struct hub *hub)
{
    struct statx file = {0};
    (void)statx(AT_FDCWD, hub->config->store_path, 0, STATX_INO | STATX_BTIME, &file);
    snprintf(hub->sqlite_holder, sizeof(hub->sqlite_holder), "%s.%llx.%llx.%x",
        store_identity(hub->store), (unsigned long long)file.stx_ino,
        (unsigned long long)file.stx_btime.tv_sec, (unsigned)file.stx_btime.tv_nsec);
}

static struct lease_config describe(const struct hub *hub, char key[BUS_NAME_MAX])
{
    bus_name_sqlite(&hub->names, key);
    return (struct lease_config){
        .key = key,
        .holder = hub->sqlite_holder,
        .ttl_ms = TTL_MS,
        .renew_ms = RENEW_MS,
        .claim_ms = RENEW_MS,
        .held = true,
        .lasting = true,
    };
}

/* What came of the last claim. */
struct outcome {
    bool won;
    struct builder refusal; /* what Redis said instead of an answer */
};

static void on_claimed(void *context, int status, const struct bus_reply *reply)
{
    struct outcome *outcome = context;
    builder_reset(&outcome->refusal);
    redis_sync_write_fault(status, reply, &outcome->refusal);
    outcome->won = status == 0 && lease_is_granted(reply);
}

/* Claim it, for as long as a dead node may have it. */
static void claim_for_long(
    struct redis_sync *sync, const struct lease_config *config, struct outcome *outcome)
{
    struct lease_claim claim;
    uint64_t deadline = clock_mono_ms() + CLAIM_MS;
    lease_write_claim(config, &claim);
    for (;;) {
        redis_sync_send(sync, claim.argv, ARRAY_LEN(claim.argv), on_claimed, outcome);
        redis_sync_wait(sync, 0);
        if (outcome->won || clock_mono_ms() >= deadline) {
            return;
        }
        redis_sync_pause(sync, RETRY_MS); /* Redis may be starting again */
    }
}

int sqlite_lease_claim(struct hub *hub, struct builder *error)
{
    char key[BUS_NAME_MAX];
    struct redis_sync *sync;
    struct outcome outcome = {0};
    if (!sqlite_lease_is_wanted(hub)) {
        return 0;
    }
    name_holder(hub);
    int status = redis_sync_open(&hub->settings->bus, error, &sync);
    if (status != 0) {
        return status;
    }
    const struct lease_config config = describe(hub, key);
    claim_for_long(sync, &config, &outcome);
    redis_sync_close(sync);
    struct bytes refusal = builder_bytes(&outcome.refusal);
    if (refusal.len > 0) {
        builder_printf(error, "Redis does not let this node claim %s: ", key);
        builder_add(error, refusal);
        status = STATUS_UNAVAILABLE;
    } else if (!outcome.won) {
        builder_printf(error,
            "another node uses this Redis (%s): with SQLite there can be only one, several nodes "
            "need a Postgres (store.url)",
            key);
        status = STATUS_EXISTS;
    }
    builder_reset(&outcome.refusal);
    return status;
}

static void on_lost(void *context, enum lease_end why)
{
    const struct sqlite_lease *own = context;
    log_error("SOLO-LOST", "another node with SQLite has taken over this Redis, ending",
        "key=%s why=%s", own->lease.key, lease_end_text(why));
    kill(getpid(), SIGTERM);
}

void sqlite_lease_start(struct hub_shard *shard)
{
    static const struct bus_events no_events = {0};
    static const struct lease_events events = {.on_lost = on_lost};
    char key[BUS_NAME_MAX];
    struct bus *bus = shard->shard.bus;
    struct sqlite_lease *own = mem_alloc(sizeof(*own));
    const struct lease_config config = describe(shard->hub, key);
    own->shard = shard;
    own->link = bus->ops->open(bus, "peal-sqlite", &no_events, own);
    lease_start(&own->lease, &shard->shard, own->link, &config, &events, own);
    shard->sqlite_lease = own;
}

static void on_released(void *context, int status, const struct bus_reply *reply)
{
    struct sqlite_lease *own = context;
    (void)status;
    (void)reply; /* or it runs out by itself */
    own->shard->shard.bus->ops->close(own->link);
    own->shard->sqlite_lease = NULL;
    mem_free(own);
}

void sqlite_lease_stop(struct hub_shard *shard)
{
    struct sqlite_lease *own = shard->sqlite_lease;
    lease_stop(&own->lease);
    lease_release(&own->lease, on_released, own);
}
