/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One writer, any number of readers: who reads while it is written may see an alert a look late.
 */
#include "hub/alerts/alert_gauges.h"

#include "codec/base/map.h"

uint64_t alert_gauges_since(const struct alert_gauges *gauges, const char *name)
{
    uint64_t hash = hash_bytes(bytes_str(name)) | 1;
    for (unsigned i = 0; i < ALERTS_MAX; i++) {
        if (atomic_load_explicit(&gauges->of[i].name, memory_order_acquire) == hash) {
            return atomic_load_explicit(&gauges->of[i].since_ms, memory_order_relaxed);
        }
    }
    return 0;
}

void alert_gauges_set(struct alert_gauges *gauges, const struct alert_state *state)
{
    unsigned used = 0;
    for (unsigned i = 0; i < state->count; i++) {
        const struct alert_entry *entry = &state->entries[i];
        if (!entry->resolved) {
            uint64_t hash = hash_bytes(bytes_str(entry->name)) | 1;
            atomic_store_explicit(
                &gauges->of[used].since_ms, entry->since_ms, memory_order_relaxed);
            atomic_store_explicit(&gauges->of[used++].name, hash, memory_order_release);
        }
    }
    while (used < ALERTS_MAX) {
        atomic_store_explicit(&gauges->of[used++].name, 0, memory_order_release);
    }
}
