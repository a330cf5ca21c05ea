/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a user waits for a backend to say: whether it may join a room, what its event comes to.
 *
 * A question outlives its socket, and, when the node ends, its user. Each ends once, within the
 * hook's timeout.
 */
#include "actors/hook_call.h"
#include "actors/user/user_actor.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"

enum { RETRY_MS = 1000, ACK_EXTRA = 256 };

/* Whether one may join. */

struct join_question {
    struct hook_call call;
    struct shard *shard;
    struct actor_ref user;
    struct joining *joining; /* there while the user is */
    user_asked_fn then;
};

static void on_may_join(struct hook_call *call)
{
    struct join_question *question = container_of(call, struct join_question, call);
    struct user *user = (struct user *)(void *)actor_get(question->shard->sched, question->user);
    if (user != NULL) {
        question->then(user, question->joining, call->status);
    }
    mem_free(question);
}

static int ask(
    const struct socket *socket, const struct hook_question *question, struct hook_call *call)
{
    hook_ask_fn hook_ask = socket->shard->hook_ask;
    return hook_ask != NULL ? hook_ask(socket->shard, question, call) : STATUS_UNAVAILABLE;
}

int user_asks_join(struct socket *socket, struct bytes client_room, unsigned hook,
    struct joining *joining, user_asked_fn then)
{
    struct join_question *join = mem_try_calloc(1, sizeof(*join));
    if (join == NULL) {
        return STATUS_NOMEM;
    }
    *join = (struct join_question){.call.done = on_may_join,
        .shard = socket->shard,
        .user = socket->user->actor.self,
        .joining = joining,
        .then = then};
    const struct hook_question question = {.kind = HOOK_JOIN,
        .hook = hook,
        .who = socket->identity,
        .nsp = socket_nsp(socket),
        .name = client_room};
    int status = ask(socket, &question, &join->call);
    if (status != STATUS_AGAIN) {
        mem_free(join);
    }
    return status;
}

/* What an event comes to. */

struct event_question {
    struct hook_call call;
    struct shard *shard;
    struct actor_ref user;
    uint32_t socket_id;
    bool has_id;
    uint64_t id;
    uint32_t name_len;
    char name[];
};

static struct call_refusal refusal_of(int status)
{
    if (status == STATUS_RATE_LIMITED) {
        return (struct call_refusal){
            .code = ERROR_RATE_LIMITED, .message = USER_ASKS_TOO_MANY, .retry_ms = RETRY_MS};
    }
    if (status == STATUS_TIMEOUT) {
        return (struct call_refusal){
            .code = ERROR_TIMEOUT, .message = "No backend has answered in time"};
    }
    return status == STATUS_DENIED
               ? (struct call_refusal){.code = ERROR_FORBIDDEN, .message = "The backend refuses it"}
               : (struct call_refusal){.code = ERROR_UNAVAILABLE,
                     .message = "The backend does not answer, try again",
                     .retry_ms = RETRY_MS};
}

/* A client does not lose its connection because the answer finds no room. */
static bool has_room(const struct socket *socket, size_t bytes)
{
    return socket->outbox->bytes + bytes + ACK_EXTRA <= socket->shard->config->outbox_max;
}

static void answer_event(const struct event_question *question, struct socket *socket)
{
    const uint64_t *id = question->has_id ? &question->id : NULL;
    struct bytes name = bytes_of(question->name, question->name_len);
    struct bytes result = question->call.result;
    if (question->call.status != 0) {
        const struct call_refusal refusal = refusal_of(question->call.status);
        call_refuse_event(socket, id, name, &refusal);
    } else if (id != NULL && !has_room(socket, result.len)) {
        call_refuse_event(socket, id, name,
            &(struct call_refusal){.code = ERROR_TOO_LARGE,
                .message = "The answer finds no room among what waits for this client"});
    } else if (id != NULL) {
        socket_ack(socket, *id, result.len > 0 ? result : BYTES("{\"ok\":true}"));
    }
}

static void on_event_answered(struct hook_call *call)
{
    struct event_question *question = container_of(call, struct event_question, call);
    struct user *user = (struct user *)(void *)actor_get(question->shard->sched, question->user);
    struct socket *socket = user != NULL ? owner_socket(&user->owner, question->socket_id) : NULL;
    if (socket != NULL) {
        answer_event(question, socket);
    }
    mem_free(question);
}

/* NULL: no memory. */
static struct event_question *make_question(const struct client_call *call)
{
    struct bytes name = call->event->name;
    struct event_question *question = mem_try_calloc(1, sizeof(*question) + name.len);
    if (question != NULL) {
        question->call.done = on_event_answered;
        question->shard = call->socket->shard;
        question->user = call->socket->user->actor.self;
        question->socket_id = call->socket->id;
        question->has_id = call->has_id;
        question->id = call->id;
        question->name_len = (uint32_t)name.len;
        memcpy(question->name, name.at, name.len);
    }
    return question;
}

void user_asks_event(const struct client_call *call, unsigned hook)
{
    struct socket *socket = call->socket;
    if (call->event->attachment_count > 0) {
        call_refuse(call, ERROR_BAD_REQUEST, "An event for a backend has no attachments");
        return;
    }
    struct event_question *event = make_question(call);
    if (event == NULL) {
        call_refuse(call, ERROR_UNAVAILABLE, "Out of memory, try again");
        return;
    }
    const struct hook_question question = {.kind = HOOK_EVENT,
        .hook = hook,
        .who = socket->identity,
        .nsp = socket_nsp(socket),
        .name = call->event->name,
        .args = call->event->args,
        .socket = bytes_of(socket->sid, sizeof(socket->sid))};
    int status = ask(socket, &question, &event->call);
    if (status != STATUS_AGAIN) {
        const struct call_refusal refusal = refusal_of(status);
        mem_free(event);
        call_refuse_as(call, &refusal);
    }
}

/* That one comes. */

static void on_warmed(struct hook_call *call)
{
    mem_free(call);
}

void user_asks_warm(const struct socket *socket)
{
    unsigned warm = socket->shard->config->values.warm;
    struct hook_call *call = warm > 0 ? mem_try_calloc(1, sizeof(*call)) : NULL;
    if (call == NULL) {
        return; /* what is not warm is asked for when it is wanted */
    }
    const struct hook_question question = {
        .kind = HOOK_WARM, .hook = warm - 1, .who = socket->identity, .nsp = socket_nsp(socket)};
    call->done = on_warmed;
    if (ask(socket, &question, call) != STATUS_AGAIN) {
        mem_free(call);
    }
}
