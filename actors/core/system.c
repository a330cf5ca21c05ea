/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shards of a process and the lines between them: made before the threads, destroyed after.
 */
#include <stdlib.h>
#include <string.h>

#include "actors/core/internal.h"
#include "actors/core/sched.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"

static void *alloc_aligned(size_t count, size_t size)
{
    void *ptr = aligned_alloc(CACHE_LINE, count * size);
    CHECK(ptr != NULL);
    memset(ptr, 0, count * size);
    return ptr;
}

static void init_sched(struct sched *sched, struct actor_system *system, unsigned shard)
{
    sched->system = system;
    sched->shard = shard;
    list_init(&sched->run_queue);
    list_init(&sched->stopped);
    timer_wheel_init(&sched->timers, 0);
    registry_init(&sched->registry);
}

struct actor_system *actor_system_create(unsigned shard_count)
{
    CHECK(shard_count >= 1 && shard_count <= SHARD_MAX);
    struct actor_system *system = mem_alloc(sizeof(*system));
    system->shard_count = shard_count;
    system->scheds = alloc_aligned(shard_count, sizeof(struct sched));
    system->lines = alloc_aligned((size_t)shard_count * shard_count, sizeof(struct line));
    for (unsigned shard = 0; shard < shard_count; shard++) {
        init_sched(&system->scheds[shard], system, shard);
    }
    return system;
}

/* Stop every actor and drop every message of a shard; returns whether there was any. */
static bool clear_sched(struct sched *sched)
{
    bool found = false;
    for (uint32_t slot = 0; slot < sched->registry.used; slot++) {
        struct actor *actor = sched->registry.slots[slot].actor;
        if (actor != NULL) {
            actor_stop(actor);
            found = true;
        }
    }
    for (unsigned to = 0; to < sched->system->shard_count; to++) {
        struct line *line = system_line(sched->system, sched->shard, to);
        if (line->chain.newest != NULL) {
            inbox_push(&sched->system->scheds[to].inbox, &line->chain);
            found = true;
        }
    }
    inbox_drain(&sched->inbox, &sched->arrived);
    struct msg *msg;
    while ((msg = fifo_pop(&sched->arrived)) != NULL) {
        sched_drop_msg(sched, msg);
        found = true;
    }
    return found;
}

void actor_system_destroy(struct actor_system *system)
{
    if (system == NULL) {
        return;
    }
    system->closing = true;
    bool found;
    do { /* again, because what is destroyed may send or stop others */
        found = false;
        for (unsigned shard = 0; shard < system->shard_count; shard++) {
            found = clear_sched(&system->scheds[shard]) || found;
        }
    } while (found);
    for (unsigned shard = 0; shard < system->shard_count; shard++) {
        registry_finish(&system->scheds[shard].registry);
    }
    free(system->scheds);
    free(system->lines);
    mem_free(system);
}

unsigned actor_system_shards(const struct actor_system *system)
{
    return system->shard_count;
}

struct sched *actor_system_sched(struct actor_system *system, unsigned shard)
{
    CHECK(shard < system->shard_count);
    return &system->scheds[shard];
}

unsigned actor_system_shard_of(const struct actor_system *system, struct bytes key)
{
    /* The upper half of the hash, because the maps of a shard use the lower bits. */
    return (unsigned)((hash_bytes(key) >> 32) * system->shard_count >> 32);
}

void msg_send_home(struct sched *sched, void *msg)
{
    const struct msg *base = msg;
    msg_send_named(sched, actor_system_shard_of(sched->system, base->kind->key(base)), msg);
}
