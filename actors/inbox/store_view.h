/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_view - the store's rows as codec/ writes them.
 */
#ifndef ACTORS_INBOX_STORE_VIEW_H
#define ACTORS_INBOX_STORE_VIEW_H

#include "codec/announce.h"
#include "codec/notification_json.h"
#include "sql/store.h"

/* A row that was read back. Borrows its texts. */
struct notification_view store_view_item(const struct store_item *item);

/* A row that was just stored: unread. Borrows its texts. */
struct notification_view store_view_row(const struct store_row *row);

/* A change of state. */
struct notification_change store_view_change(const struct store_change *change);

#endif
