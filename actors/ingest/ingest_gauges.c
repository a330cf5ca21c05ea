/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets what operators see of a stream, and logs the beginning and the end of its troubles.
 */
#include "actors/ingest/ingest_gauges.h"

#include "codec/base/log.h"
#include "codec/stream_id.h"

enum { UNOWNED_MS = 5000 };

void ingest_gauge_set(_Atomic(uint64_t) *number, uint64_t value)
{
    atomic_store_explicit(number, value, memory_order_relaxed);
}

void ingest_gauge_set_id(_Atomic(uint64_t) *number, struct bytes id)
{
    struct stream_id parts;
    ingest_gauge_set(number, stream_id_read(id, &parts) == 0 ? parts.ms : 0);
}

uint64_t ingest_gauge_get(const _Atomic(uint64_t) *number)
{
    return atomic_load_explicit(number, memory_order_relaxed);
}

static const char *name_of(enum ingest_trouble trouble)
{
    switch (trouble) {
    case INGEST_TROUBLE_LEASE:
        return "lease";
    case INGEST_TROUBLE_READ:
        return "read";
    case INGEST_TROUBLE_WRITE:
        return "write";
    case INGEST_TROUBLE_IDS:
        return "ids";
    case INGEST_TROUBLE_LOCK:
        return "lock";
    }
    return "-";
}

void ingest_gauge_complain(
    struct ingest_gauge *gauge, enum ingest_trouble trouble, const char *stream, struct bytes text)
{
    uint64_t now = ingest_gauge_get(&gauge->trouble);
    if ((now & trouble) == 0) {
        log_error("INGEST-REFUSED",
            trouble == INGEST_TROUBLE_LOCK
                ? "somebody locks rows of the store that a stream needs: its entries wait"
                : "Redis refuses what a stream needs: its entries wait",
            "stream=%s what=%s error=%s", stream, name_of(trouble), log_quote(text));
        ingest_gauge_set(&gauge->trouble, now | trouble);
    }
}

void ingest_gauge_forgive(
    struct ingest_gauge *gauge, enum ingest_trouble trouble, const char *stream)
{
    uint64_t now = ingest_gauge_get(&gauge->trouble);
    if ((now & trouble) != 0) {
        log_info("INGEST-ACCEPTED", "what a stream needs is no longer refused", "stream=%s what=%s",
            stream, name_of(trouble));
        ingest_gauge_set(&gauge->trouble, now & ~(uint64_t)trouble);
    }
}

void ingest_gauge_end_term(struct ingest_gauge *gauge)
{
    ingest_gauge_set(&gauge->owner, 0);
    ingest_gauge_set(&gauge->waiting, 0);
    ingest_gauge_set(&gauge->oldest, 0);
    ingest_gauge_set(&gauge->trouble, ingest_gauge_get(&gauge->trouble) & INGEST_TROUBLE_LEASE);
}

void ingest_gauge_note_tip(struct ingest_gauge *gauge, const char *stream, struct bytes tip)
{
    ingest_gauge_set_id(&gauge->tip, tip);
    if (bytes_eq(tip, BYTES("18446744073709551615-18446744073709551615"))) {
        ingest_gauge_complain(
            gauge, INGEST_TROUBLE_IDS, stream, BYTES("the stream has used its last id"));
    } else {
        ingest_gauge_forgive(gauge, INGEST_TROUBLE_IDS, stream);
    }
}

static bool stands(const struct ingest_gauge *gauge, uint64_t now_ms)
{
    if (ingest_gauge_get(&gauge->begun) == 0) {
        return false;
    }
    return ingest_gauge_get(&gauge->trouble) != 0 ||
           now_ms > ingest_gauge_get(&gauge->owned) + UNOWNED_MS;
}

bool ingest_gauges_stand(const struct ingest_gauges *gauges, uint64_t now_ms)
{
    for (unsigned i = 0; i < INGEST_STREAMS_MAX; i++) {
        if (stands(&gauges->of[i], now_ms)) {
            return true;
        }
    }
    return false;
}
