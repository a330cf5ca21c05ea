/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_work - what a link sends and answers at the end of a turn of its loop.
 */
#ifndef HUB_REDIS_REDIS_WORK_H
#define HUB_REDIS_REDIS_WORK_H

#include <stddef.h>

struct bus_link;
struct redis_fifo;

/* Give the first `most` of `fifo` their answer, or those that are there. */
void redis_work_answer(struct bus_link *link, struct redis_fifo *fifo, size_t most, int status);

/* Have what was appended sent, and those in bus_link.refused answered, when the turn is over. */
void redis_work_mark(struct bus_link *link);

#endif
