/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_edit - what a poster changes of a notification afterwards, or takes back.
 */
#ifndef SQL_STORE_EDIT_H
#define SQL_STORE_EDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/notification.h"
#include "sql/store_request.h"

/*
 * Give one notification other content, which takes a rev and leaves its state and its place in
 * lists as they are; or take it back, which leaves a tombstone. It is found by its id, whoever it
 * belongs to. STATUS_NOT_FOUND when there is none in `tenant`.
 */
struct store_edit {
    struct store_request base; /* STORE_EDIT */
    struct bytes tenant;
    uint8_t id[NOTIFICATION_ID_LEN];
    bool erase; /* take it back; `fields` are not looked at */
    bool only_waiting; /* with `erase`: not what the user has already, which is `delivered` */
    uint32_t fields; /* set of enum notification_edit, not empty */
    struct bytes title;
    struct bytes message;
    struct bytes data;
    enum notification_priority priority;
    uint64_t expires_at;
    uint64_t at;
    /* out */
    bool delivered; /* the user has it, so nothing was done */
    struct notification_item item; /* as it is now, or was */
    struct store_position position; /* of its user, after the change */
};

#endif
