/* SPDX-License-Identifier: Apache-2.0 */
/*
 * steps - bulk marks in steps, so that a large inbox does not keep others waiting; private to sql/.
 *
 * A port goes on with a mark when a step has completed, and keeps back what would come between its
 * steps: what changes rows of the same user that are there already. On the port's thread.
 */
#ifndef SQL_STEPS_H
#define SQL_STEPS_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/base/check.h"
#include "sql/engine.h"

/*
 * How many rows a request that is no put counts for in a transaction that it shares: `first` is for
 * the first step of a bulk mark, which is seldom a full one. Any thread.
 */
size_t steps_weight(const struct store_request *request, size_t first);

/* Set up a mark before its first step. Other requests are left alone. */
void steps_begin(struct store_request *request);

/* Whether a request was kept back, until a bulk mark of the same user is over. */
MUST_CHECK bool steps_keep_back(struct store_port *port, struct store_request *request);

/*
 * Look at a request that has completed: true when it has another step, for which it is reset and
 * given to steps_submit. Else its outputs and its status are those of all its steps, and what was
 * kept back for it is submitted.
 */
MUST_CHECK bool steps_go_on(struct store_port *port, struct store_request *request);
void steps_submit(struct store_port *port, struct store_request *request);

/* Free what the steps of a mark have kept. */
void steps_finish(struct store_request *request);

#endif
