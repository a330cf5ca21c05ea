/* SPDX-License-Identifier: Apache-2.0 */
/*
 * race_own - rows of single users in a race: repeats, collapsing, digests, posts for later that are
 * delivered and cancelled, marks (also "if unchanged"), deleting, edits, preferences, at once.
 *
 * All that is answered is noted, with the rev that it took. As every change of an inbox takes the
 * next rev, the notes of all workers together are the one order in which it happened: each rev was
 * told by one operation, none is missing, and what each did fits what had happened before it.
 */
#ifndef TESTS_UNIT_SQL_RACE_OWN_H
#define TESTS_UNIT_SQL_RACE_OWN_H

#include "sql/store_request.h"

struct arena;
struct worker;
struct race_own;

struct race_own *race_own_create(void);
void race_own_destroy(struct race_own *own);

/* A random operation of a worker. */
void race_own_operate(struct worker *worker);

/* Note what a sweep of a worker has told. Any thread. */
void race_own_sweep(struct worker *worker, const struct store_sweep *sweep);

/* An answer was lost, so what there is to be told is not all noted. Any thread. */
void race_own_lose(struct race_own *own);

/* All have ended: deliver what is left, and judge what was noted by what there is. */
void race_own_expect(struct arena *arena);

#endif
