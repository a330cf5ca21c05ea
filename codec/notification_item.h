/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notification_item - a stored notification, its state and its changes: as the store reads it back,
 * as nodes announce it, and as it is told.
 */
#ifndef CODEC_NOTIFICATION_ITEM_H
#define CODEC_NOTIFICATION_ITEM_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"

enum { NOTIFICATION_ID_LEN = 16 };

/* In the store and on the bus as numbers: the order stays. */
enum notification_priority {
    NOTIFICATION_LOW,
    NOTIFICATION_MEDIUM,
    NOTIFICATION_HIGH,
    NOTIFICATION_URGENT,
    NOTIFICATION_PRIORITY_COUNT,
};

/* As above. */
enum notification_state {
    NOTIFICATION_UNREAD,
    NOTIFICATION_SEEN,
    NOTIFICATION_READ,
    NOTIFICATION_ARCHIVED,
    NOTIFICATION_SNOOZED,
    NOTIFICATION_EXPIRED,
    NOTIFICATION_ERASED,
    NOTIFICATION_STATE_COUNT,
};

/* Whom a post was for. In the store and on the bus as numbers: the order stays. */
enum notification_audience {
    AUDIENCE_NONE, /* for its user */
    AUDIENCE_ALL, /* everybody of the tenant */
    AUDIENCE_TOPIC, /* who was subscribed */
    AUDIENCE_LIST, /* many who were named */
    AUDIENCE_COUNT,
};

/* A stored notification. Texts are UTF-8 and borrowed; times are epoch ms, 0: never. */
struct notification_item {
    uint8_t id[NOTIFICATION_ID_LEN];
    struct bytes tenant; /* empty where tenants are off */
    struct bytes user;
    uint64_t seq;
    uint64_t rev; /* of its last change */
    struct bytes type;
    struct bytes title;
    struct bytes message;
    struct bytes data; /* JSON text, or empty: null */
    enum notification_priority priority;
    enum notification_state state;
    uint64_t created_at;
    uint64_t expires_at;
    uint64_t read_at;
    uint64_t seen_at;
    uint64_t archived_at;
    uint64_t new_rev; /* of the change that last made it new: lists go by it */
    uint64_t snoozed_until;
    uint64_t resurfaced_at; /* when it came back from being snoozed */
    bool silent; /* as it is told: without sound */
    enum notification_audience audience; /* of the post that the row was made from */
    struct bytes audience_name; /* AUDIENCE_TOPIC */
    uint8_t audience_id[NOTIFICATION_ID_LEN]; /* of that post, not AUDIENCE_NONE */
    struct bytes collapse; /* the name under which others take its place; empty: none does */
    uint64_t count; /* how many posts it stands for; 0 is 1 */
    struct bytes digest; /* the last of them (notification_digest.h); empty: it gathers none */
    uint64_t updated_at; /* when its content was replaced last */
};

/* A change of state that a device away must learn; also what remains of a row that went. */
struct notification_change {
    uint8_t id[NOTIFICATION_ID_LEN];
    uint64_t seq;
    uint64_t rev;
    enum notification_state state;
    uint64_t at;
    uint64_t snoozed_until; /* with NOTIFICATION_SNOOZED */
};

#endif
