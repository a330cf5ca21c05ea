/* SPDX-License-Identifier: Apache-2.0 */
/*
 * half_open - connections of a loop whose request has not come in whole, the oldest first.
 *
 * Anybody can make many of them, from many addresses. At the bound the oldest goes of which nothing
 * lies unread: who sends its request at once is served, also when more come in one turn than may
 * wait (everybody, after a restart); a flood of others drives out itself.
 */
#ifndef HUB_NET_HALF_OPEN_H
#define HUB_NET_HALF_OPEN_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/list.h"

struct loop;

/* One of them; embedded by its owner, who initialises `link`. */
struct half_open {
    struct list link; /* of the loop; empty: it is none */
    uint64_t since_ms; /* since when it has sent nothing, as far as was looked */
};

/* What its owner does. */
struct half_open_ops {
    /* Whether it has sent what was not read yet. */
    bool (*has_unread)(const struct half_open *half);
    /* End the connection; frees nothing before it returns. */
    void (*end)(struct half_open *half);
};

/*
 * It waits for a request from now on; with more than `max` the oldest are ended. 0: it is not
 * counted, and never ended. Those that have sent something stay until it has been read, so that
 * there are at most as many more as are accepted in one turn. `ops` must be the same for a loop.
 */
void half_open_begin(
    struct loop *loop, struct half_open *half, uint32_t max, const struct half_open_ops *ops);

/* It waits no more; nothing when it does not. */
void half_open_done(struct loop *loop, struct half_open *half);

/* End those that have waited for a second; returns how many. For who is short of memory. */
unsigned half_open_shed(struct loop *loop);

#endif
