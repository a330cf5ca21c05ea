/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inbox_request - what a user actor asks the store about its inbox; the answer comes as a message.
 */
#ifndef ACTORS_INBOX_INBOX_REQUEST_H
#define ACTORS_INBOX_INBOX_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/core/ref.h"
#include "actors/inbox/inbox_search.h"
#include "codec/base/buf.h"
#include "codec/base/check.h"
#include "codec/event.h"
#include "codec/notification_query.h"
#include "sql/store.h"

struct inbox;
struct shard;

/* A store request of a user actor: what is asked, for whom, and what becomes of the answer. */
struct inbox_request {
    union {
        struct store_request base;
        struct store_page page;
        union inbox_search_request search;
        struct store_mark mark;
        struct store_sync sync;
        struct store_subscribe subscribe;
        struct store_topics topics;
        struct store_preference preference;
        struct store_devices devices;
        struct store_push_received received;
    } store;
    void (*answered)(struct inbox *inbox, struct inbox_request *request);
    void (*carried_out)(struct inbox_request *request); /* also when the user has gone; or NULL */
    struct shard *shard;
    struct actor_ref user;
    struct buf *key; /* what store_user points into */
    struct buf *text; /* another text it points into; NULL: none */
    struct bytes name; /* the user, where a list of users is asked for */
    struct notification_query *query; /* of a list; else NULL */
    struct inbox_search *search; /* of one that searches; else NULL */
    struct notification_marking *marking; /* of a mark; else NULL */
    uint32_t socket_id;
    bool has_id;
    uint64_t id;
    char event[EVENT_NAME_MAX + 1];
};

/* A request for the store with the user's names; submitted with inbox_request_submit. */
MUST_CHECK struct inbox_request *inbox_request_create(struct inbox *inbox, enum store_op op,
    void (*answered)(struct inbox *inbox, struct inbox_request *request));
struct store_user inbox_request_who(const struct inbox_request *request);
void inbox_request_submit(struct inbox_request *request);
void inbox_request_destroy(struct store_request *request);

/* A request like `request`, which is over: its caller, and what it reads, go over to this one. */
MUST_CHECK struct inbox_request *inbox_request_again(
    struct inbox *inbox, struct inbox_request *request);

/* The store's answer has come back to the user. */
void inbox_request_take(struct inbox *inbox, struct store_request *answered);

#endif
