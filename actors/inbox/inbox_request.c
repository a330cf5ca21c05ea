/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of a request of a user's to the store, and of the answer back into the user's mailbox.
 */
#include "actors/inbox/inbox_request.h"

#include "actors/inbox/inbox.h"
#include "actors/shard.h"
#include "actors/user_proto.h"
#include "codec/base/mem.h"

/* The store's answer becomes a message: the user may be gone, or busy with another one. */
static void on_done(struct store_request *base)
{
    struct inbox_request *request = container_of(base, struct inbox_request, store.base);
    if (base->status == 0 && request->carried_out != NULL) {
        request->carried_out(request);
    }
    struct user_stored *msg = user_stored_new();
    msg->request = base;
    msg_send(request->shard->sched, request->user, msg);
}

struct inbox_request *inbox_request_create(struct inbox *inbox, enum store_op op,
    void (*answered)(struct inbox *inbox, struct inbox_request *request))
{
    struct inbox_request *request = mem_alloc(sizeof(*request));
    request->store.base.op = op;
    request->store.base.done = on_done;
    request->answered = answered;
    request->shard = shard_of(&inbox->owner.actor);
    request->user = inbox->owner.actor.self;
    request->key = buf_new_name(owner_key(&inbox->owner));
    return request;
}

struct inbox_request *inbox_request_again(struct inbox *inbox, struct inbox_request *request)
{
    struct inbox_request *again =
        inbox_request_create(inbox, request->store.base.op, request->answered);
    again->socket_id = request->socket_id;
    again->has_id = request->has_id;
    again->id = request->id;
    memcpy(again->event, request->event, sizeof(again->event));
    again->query = request->query;
    again->search = request->search;
    request->query = NULL;
    request->search = NULL;
    return again;
}

struct store_user inbox_request_who(const struct inbox_request *request)
{
    struct bytes key = buf_bytes(request->key);
    const char *slash = memchr(key.at, '/', key.len);
    size_t space = slash ? (size_t)(slash - key.at) : 0;
    return (struct store_user){
        .tenant = bytes_of(key.at, space),
        .user = slash ? bytes_skip(key, space + 1) : key,
    };
}

void inbox_request_submit(struct inbox_request *request)
{
    store_submit(request->shard->store, &request->store.base);
}

void inbox_request_destroy(struct store_request *base)
{
    struct inbox_request *request = container_of(base, struct inbox_request, store.base);
    store_request_finish(base);
    buf_unref(request->key);
    buf_unref(request->text);
    inbox_search_destroy(request->search);
    mem_free(request->query);
    if (request->marking != NULL) {
        notification_marking_finish(request->marking);
        mem_free(request->marking);
    }
    mem_free(request);
}

void inbox_request_take(struct inbox *inbox, struct store_request *base)
{
    struct inbox_request *request = container_of(base, struct inbox_request, store.base);
    request->answered(inbox, request);
}
