/* SPDX-License-Identifier: Apache-2.0 */
/*
 * half_open - connections of a loop whose request has not come in whole, the oldest first.
 *
 * Anybody can make many of them, from many addresses. At the bound the oldest goes: who sends its
 * request at once is served, a flood of others drives out itself.
 */
#ifndef HUB_NET_HALF_OPEN_H
#define HUB_NET_HALF_OPEN_H

#include <stdint.h>

#include "codec/base/list.h"

struct loop;

/* One of them; embedded by its owner, who initialises `link`. */
struct half_open {
    struct list link; /* of the loop; empty: it is none */
    uint64_t since_ms;
};

/* End the connection; it frees nothing before it returns. */
typedef void (*half_open_end_fn)(struct half_open *half);

/* It waits for a request from now on; with more than `max` the oldest is ended. 0: it is not
 * counted, and never ended. */
void half_open_begin(struct loop *loop, struct half_open *half, uint32_t max, half_open_end_fn end);

/* It waits no more; nothing when it does not. */
void half_open_done(struct loop *loop, struct half_open *half);

/* End those that have waited for a second; returns how many. For who is short of memory. */
unsigned half_open_shed(struct loop *loop);

#endif
