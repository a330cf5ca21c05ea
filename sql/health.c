/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notes the outcome of each request, and keeps the words of the last failure under a lock.
 */
#include "sql/health.h"

#include <stdio.h>
#include <string.h>

#include "codec/base/check.h"
#include "codec/base/clock.h"
#include "codec/base/status.h"

void health_init(struct health *health)
{
    CHECK(pthread_mutex_init(&health->lock, NULL) == 0);
}

void health_finish(struct health *health)
{
    CHECK(pthread_mutex_destroy(&health->lock) == 0);
}

static bool is_outage(int status)
{
    return status == STATUS_UNAVAILABLE || status == STATUS_UNKNOWN;
}

void health_note(struct health *health, enum health_of of, int status)
{
    bool failed = is_outage(status);
    uint64_t since = failed ? clock_mono_ms() : 0;
    if (failed) {
        atomic_fetch_add_explicit(&health->failures, 1, memory_order_relaxed);
    }
    if (status != 0 && !failed) {
        return;
    }
    if (of == HEALTH_OF_WRITES) {
        atomic_store_explicit(&health->write_failed_ms, since, memory_order_relaxed);
    } else if (of == HEALTH_OF_READS) {
        atomic_store_explicit(&health->read_failed_ms, since, memory_order_relaxed);
    }
}

void health_met_pooler(struct health *health)
{
    atomic_store_explicit(&health->pooled_ms, clock_mono_ms(), memory_order_relaxed);
}

void health_explain(struct health *health, const char *text, const char *remedy)
{
    int len = (int)strcspn(text, "\n");
    CHECK(pthread_mutex_lock(&health->lock) == 0);
    (void)snprintf(health->reason, sizeof(health->reason), "%.*s%s%s", len, text,
        remedy ? "; " : "", remedy ? remedy : "");
    health->explained_ms = clock_mono_ms();
    CHECK(pthread_mutex_unlock(&health->lock) == 0);
}
