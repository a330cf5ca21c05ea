/* SPDX-License-Identifier: Apache-2.0 */
/*
 * history - requests about what was said in rooms, as both engines need to know them.
 */
#ifndef SQL_HISTORY_H
#define SQL_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/check.h"
#include "sql/result.h"
#include "sql/store_history.h"

/* Whether it is one of these requests, and writes. */
bool history_writes(enum store_op op);

/* Whether the values of a request of store_history.h are such that an engine can carry it out. */
bool history_is_valid(const struct store_request *request);

/* The slot by which it finds its connection: one for all that add, so that they keep their order.
 */
uint32_t history_slot(const struct store_request *request);

/* About how many bytes it takes on the wire. */
size_t history_size(const struct store_history_add *add);

/*
 * Room for one message more of a page, which is all zero. STATUS_FULL: the page ends before a
 * message of so many bytes, and there is more; STATUS_NOMEM.
 */
MUST_CHECK int history_next(struct store_history_list *list, size_t bytes, struct result *arena,
    struct store_message **ret_message);

#endif
