/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/user/user_actor.h"

#include "codec/base/mem.h"

/* The store's answer becomes a message: the user may be gone, or busy with another one. */
static void on_done(struct store_request *base)
{
    struct user_request *request = container_of(base, struct user_request, store.base);
    if (base->status == 0 && request->carried_out != NULL) {
        request->carried_out(request);
    }
    struct user_stored *msg = user_stored_new();
    msg->request = base;
    msg_send(request->shard->sched, request->user, msg);
}

struct user_request *user_request_new(struct user *user, enum store_op op,
    void (*answered)(struct user *user, struct user_request *request))
{
    struct user_request *request = mem_alloc(sizeof(*request));
    request->store.base.op = op;
    request->store.base.done = on_done;
    request->answered = answered;
    request->shard = shard_of(&user->actor);
    request->user = user->actor.self;
    request->key = buf_new_name(user_key(user));
    return request;
}

struct store_user user_request_who(const struct user_request *request)
{
    struct bytes key = buf_bytes(request->key);
    const char *slash = memchr(key.at, '/', key.len);
    size_t space = slash ? (size_t)(slash - key.at) : 0;
    return (struct store_user){
        .tenant = bytes_of(key.at, space),
        .user = slash ? bytes_skip(key, space + 1) : key,
    };
}

void user_request_submit(struct user_request *request)
{
    store_submit(request->shard->store, &request->store.base);
}

void user_request_free(struct store_request *base)
{
    struct user_request *request = container_of(base, struct user_request, store.base);
    store_request_finish(base);
    buf_unref(request->key);
    buf_unref(request->text);
    mem_free(request->ids);
    mem_free(request);
}
