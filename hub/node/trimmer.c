/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread, and when it is to do something.
 */
#include "hub/node/trimmer.h"

#include <malloc.h>

#include "codec/base/clock.h"
#include "hub/node/memory_limits.h"

static void note_end(struct trimmer *trimmer, uint64_t took_ms, uint64_t gave)
{
    uint64_t rest = took_ms * TRIMMER_REST;
    if (gave < (took_ms + 1) * TRIMMER_WORTH) {
        uint64_t twice = 2 * trimmer->rest_ms;
        trimmer->rest_ms = twice < TRIMMER_REST_MIN_MS   ? TRIMMER_REST_MIN_MS
                           : twice > TRIMMER_REST_MAX_MS ? TRIMMER_REST_MAX_MS
                                                         : twice;
        rest = rest > trimmer->rest_ms ? rest : trimmer->rest_ms;
    } else {
        trimmer->rest_ms = 0;
    }
    trimmer->rests_until_ms = clock_mono_ms() + rest;
}

/* Called with the lock, which it gives up meanwhile. */
static void trim(struct trimmer *trimmer)
{
    trimmer->wanted = false;
    trimmer->busy = true;
    pthread_mutex_unlock(&trimmer->lock);
    uint64_t before = memory_limits_resident(trimmer->limits);
    uint64_t began = clock_mono_ms();
    (void)trimmer->trim(0);
    uint64_t took = clock_mono_ms() - began;
    uint64_t after = memory_limits_resident(trimmer->limits);
    pthread_mutex_lock(&trimmer->lock);
    trimmer->busy = false;
    note_end(trimmer, took, before > after ? before - after : 0);
}

static void *run(void *context)
{
    struct trimmer *trimmer = context;
    pthread_mutex_lock(&trimmer->lock);
    while (!trimmer->ending) {
        if (trimmer->wanted) {
            trim(trimmer);
        } else {
            pthread_cond_wait(&trimmer->changed, &trimmer->lock);
        }
    }
    pthread_mutex_unlock(&trimmer->lock);
    return NULL;
}

void trimmer_init(struct trimmer *trimmer, const struct memory_limits *limits)
{
    trimmer->limits = limits;
    trimmer->trim = malloc_trim;
    CHECK(pthread_mutex_init(&trimmer->lock, NULL) == 0);
    CHECK(pthread_cond_init(&trimmer->changed, NULL) == 0);
}

bool trimmer_start(struct trimmer *trimmer)
{
    trimmer->runs = pthread_create(&trimmer->thread, NULL, run, trimmer) == 0;
    return trimmer->runs;
}

void trimmer_finish(struct trimmer *trimmer)
{
    if (trimmer->runs) {
        pthread_mutex_lock(&trimmer->lock);
        trimmer->ending = true;
        pthread_cond_signal(&trimmer->changed);
        pthread_mutex_unlock(&trimmer->lock);
        CHECK(pthread_join(trimmer->thread, NULL) == 0);
    }
    pthread_cond_destroy(&trimmer->changed);
    pthread_mutex_destroy(&trimmer->lock);
}

bool trimmer_ask(struct trimmer *trimmer)
{
    uint64_t now = clock_mono_ms();
    pthread_mutex_lock(&trimmer->lock);
    if (trimmer->runs && !trimmer->wanted && !trimmer->busy && now >= trimmer->rests_until_ms) {
        trimmer->wanted = true;
        trimmer->asked_ms = now;
        pthread_cond_signal(&trimmer->changed);
    }
    bool waits =
        (trimmer->wanted || trimmer->busy) && now - trimmer->asked_ms < TRIMMER_PATIENCE_MS;
    pthread_mutex_unlock(&trimmer->lock);
    return waits;
}
