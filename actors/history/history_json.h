/* SPDX-License-Identifier: Apache-2.0 */
/*
 * history_json - a page of what was said in a room, as clients and backends are told it.
 */
#ifndef ACTORS_HISTORY_HISTORY_JSON_H
#define ACTORS_HISTORY_HISTORY_JSON_H

#include "codec/base/buf.h"
#include "sql/store.h"

/* Append the members of an object that tells one message. */
void history_json_message(const struct store_message *message, struct builder *out);

/*
 * Append the members `messages` and `next` to the object that is open: the oldest message first, in
 * the order in which they were told, and the `before` of the page before it, or null.
 */
void history_json_write(const struct store_history_list *list, struct builder *out);

#endif
