/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/inbox/store_view.h"

/* The two folders name the same things in the same order: codec/ cannot include sql/. */
_Static_assert((int)PRIORITY_URGENT == (int)NOTIFICATION_URGENT, "priorities in one order");
_Static_assert((int)STATE_ERASED == (int)NOTIFICATION_ERASED, "states in one order");
_Static_assert((int)STORE_ID_LEN == (int)NOTIFICATION_ID_LEN, "one length of an id");

struct notification_view store_view_item(const struct store_item *item)
{
    struct notification_view view = {
        .tenant = item->who.tenant,
        .user = item->who.user,
        .seq = item->seq,
        .rev = item->rev,
        .type = item->type,
        .title = item->title,
        .message = item->message,
        .data = item->data,
        .priority = (enum notification_priority)item->priority,
        .state = (enum notification_state)item->state,
        .created_at = item->created_at,
        .expires_at = item->expires_at,
        .read_at = item->read_at,
        .seen_at = item->seen_at,
        .archived_at = item->archived_at,
    };
    memcpy(view.id, item->id, sizeof(view.id));
    return view;
}

struct notification_view store_view_row(const struct store_row *row)
{
    struct notification_view view = {
        .tenant = row->who.tenant,
        .user = row->who.user,
        .seq = row->seq,
        .rev = row->rev,
        .type = row->type,
        .title = row->title,
        .message = row->message,
        .data = row->data,
        .priority = (enum notification_priority)row->priority,
        .state = NOTIFICATION_UNREAD,
        .created_at = row->created_at,
        .expires_at = row->expires_at,
    };
    memcpy(view.id, row->id, sizeof(view.id));
    return view;
}

struct notification_change store_view_change(const struct store_change *change)
{
    struct notification_change view = {
        .seq = change->seq,
        .rev = change->rev,
        .state = (enum notification_state)change->state,
        .at = change->at,
    };
    memcpy(view.id, change->id, sizeof(view.id));
    return view;
}
