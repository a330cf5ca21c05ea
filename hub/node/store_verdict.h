/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_verdict - whether the store can be used now, as store_watch.c has found it.
 */
#ifndef HUB_NODE_STORE_VERDICT_H
#define HUB_NODE_STORE_VERDICT_H

#include <stdatomic.h>
#include <stdint.h>

/* What the watch has found; any thread, relaxed. */
struct store_verdict {
    atomic_bool write_down;
    atomic_bool read_down;
    atomic_bool pooled; /* behind a pooler that changes sessions */
    _Atomic(uint64_t) outages; /* so far */
};

#endif
