/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_history - what a store keeps of what was said in rooms. How requests live is said in
 * store.h.
 *
 * What is added stands behind all that is in its room, in the order of the requests of one port;
 * messages of several ports in the order in which the database took them. Each is kept until a time
 * of its own, and is not told from then on.
 */
#ifndef SQL_STORE_HISTORY_H
#define SQL_STORE_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/notification_item.h"
#include "sql/store_request.h"

/* The most of one request, and bytes of arguments of one message. */
enum {
    STORE_HISTORY_ADD_MAX = 256,
    STORE_HISTORY_LIST_MAX = 100,
    STORE_HISTORY_SWEEP_MAX = 1000,
    STORE_MESSAGE_MAX = 16 << 20
};

/* One message of a room. All zero tenant and user: there is none. */
struct store_message {
    uint8_t id[NOTIFICATION_ID_LEN]; /* of the room's slot (slot_of), new */
    struct bytes tenant;
    struct bytes room;
    struct bytes user; /* who said it; empty: a backend */
    struct bytes event; /* its name */
    struct bytes args; /* its arguments as JSON, without the brackets around them */
    uint64_t at;
    uint64_t expires_at;
};

/* Add messages, all or none, in this order; one whose id is there already is passed over. */
struct store_history_add {
    struct store_request base; /* STORE_HISTORY_ADD */
    const struct store_message *messages;
    size_t count; /* 1 to STORE_HISTORY_ADD_MAX */
};

/*
 * The newest messages of a room, or those before one, the newest first. With `user` what this one
 * has said instead, in all rooms of the tenant, the oldest first; `room` is empty then, and told.
 */
struct store_history_list {
    struct store_request base; /* STORE_HISTORY_LIST */
    struct bytes tenant;
    struct bytes room;
    struct bytes user;
    uint64_t
        after; /* of what a user has said: `last` of the page before; 0: from the first one on */
    bool before; /* those that stand before `id`; STATUS_NOT_FOUND: it is not kept in this room */
    uint8_t id[NOTIFICATION_ID_LEN];
    uint32_t limit; /* 1 to STORE_HISTORY_LIST_MAX */
    uint64_t max_bytes; /* the page ends before the one that passes them, but has one */
    /* out */
    struct store_message *messages;
    size_t count;
    uint64_t last; /* of what a user has said: the number of the last one */
    bool more; /* there are older ones, or, of what a user has said, newer ones */
};

/* Drop what is over. */
struct store_history_sweep {
    struct store_request base; /* STORE_HISTORY_SWEEP */
    uint32_t limit; /* 1 to STORE_HISTORY_SWEEP_MAX */
    /* out */
    uint64_t dropped;
    bool more;
};

#endif
