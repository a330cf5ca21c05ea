/* SPDX-License-Identifier: Apache-2.0 */
/*
 * half_open - connections of a loop whose request has not come in whole, the oldest first.
 *
 * Anybody can make many of them, from many addresses. Above the bound the oldest go that have
 * waited for a second, above four times as many the oldest in any case: when everybody comes back
 * at once (after a restart) all are served, and a flood that sends nothing drives out itself.
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
 * It waits for a request from now on. With more than `max` some of those that have waited for a
 * second are ended, with more than four times `max` some of all, the oldest first; who has sent
 * something stays until it has been read. `max` 0: it is not counted, and never ended. `ops` must
 * be the same for a loop.
 */
void half_open_begin(
    struct loop *loop, struct half_open *half, uint32_t max, const struct half_open_ops *ops);

/* It waits no more; nothing when it does not. */
void half_open_done(struct loop *loop, struct half_open *half);

/* End all that have waited for a second; returns how many. For who is short of memory. */
unsigned half_open_shed(struct loop *loop);

#endif
