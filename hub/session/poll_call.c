/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll_call - private to the session layer: requests with a sid, on the shard where they arrived.
 */
#include "hub/session/poll_call.h"

#include "codec/base/mem.h"
#include "codec/http1.h"
#include "codec/query.h"
#include "hub/net/http_server.h"
#include "hub/session/engine_reply.h"
#include "hub/session/poll_mail.h"
#include "hub/session/poll_names.h"
#include "hub/session/probe.h"
#include "hub/session/session_core.h"

/* A request that waits for its answer; in part.calls. */
struct poll_call {
    uint64_t number;
    struct http_request *request;
    struct session_part *part;
    char sid[SID_LEN];
    bool probe;
};

struct bytes poll_call_key(const void *call)
{
    const struct poll_call *one = call;
    return bytes_of(&one->number, sizeof(one->number));
}

/* --- requests ------------------------------------------------------------------------------ */

static struct poll_ticket ticket_of(const struct poll_call *call)
{
    return (struct poll_ticket){
        .number = call->number, .from = sched_shard(call->part->shard->sched)};
}

static void forget_call(struct poll_call *call)
{
    map_remove(&call->part->polls.calls, poll_call_key(call));
    call->request->user = NULL;
    call->request->gone = NULL;
    mem_free(call);
}

/* Forget the call and tell the session so. */
static void give_up(struct poll_call *call, enum poll_verb verb)
{
    struct session_part *part = call->part;
    struct poll_ticket ticket = ticket_of(call);
    char sid[SID_LEN];
    memcpy(sid, call->sid, sizeof(sid));
    forget_call(call);
    int shard = poll_names_shard(part, bytes_of(sid, sizeof(sid)));
    poll_mail_tell(part, (unsigned)shard, verb, ticket, bytes_of(sid, sizeof(sid)));
}

static void on_gone(struct http_request *request)
{
    struct poll_call *call = request->user;
    give_up(call, call->probe ? POLL_PROBE_GONE : POLL_GONE);
}

/* NULL: no memory; it was answered 503. */
static struct poll_call *make_call(
    struct session_part *part, struct http_request *request, struct bytes sid)
{
    struct poll_call *call = mem_try_calloc(1, sizeof(*call));
    if (!call) {
        engine_reply_empty(part->config, request, 503);
        return NULL;
    }
    call->number = ++part->polls.numbers;
    call->request = request;
    call->part = part;
    memcpy(call->sid, sid.at, sizeof(call->sid));
    if (!map_put(&part->polls.calls, call)) {
        mem_free(call);
        engine_reply_empty(part->config, request, 503);
        return NULL;
    }
    request->user = call;
    request->gone = on_gone;
    return call;
}

static bool is_version_4(const struct http_request *request)
{
    char at[8];
    struct bytes version;
    return query_get(request->query, "EIO", at, sizeof(at), &version) == 0 &&
           bytes_eq_str(version, "4");
}

static bool has_octets(const struct http_request *request)
{
    struct bytes type;
    return http1_header_once(request->head, "Content-Type", &type) == 0 &&
           bytes_eq_str(type, "application/octet-stream");
}

static enum poll_verb verb_of(const struct http_request *request, bool polling)
{
    if (!polling) {
        return request->head->has_upgrade ? POLL_PROBE : POLL_GET;
    }
    if (request->head->method == HTTP1_GET) {
        return POLL_GET;
    }
    return request->head->method == HTTP1_POST ? POLL_POST : POLL_OTHER;
}

/* Send what the request asks; `shard` is where its sid came into being. */
static void send_request(struct poll_call *call, enum poll_verb verb, int shard, bool polling)
{
    struct session_part *part = call->part;
    struct http_request *request = call->request;
    struct bytes body = verb == POLL_POST ? request->body : bytes_of(NULL, 0);
    struct poll_message *message =
        poll_mail_new(part, verb, ticket_of(call), bytes_of(call->sid, SID_LEN), body);
    if (!message) {
        give_up(call, POLL_GONE);
        engine_reply_empty(part->config, request, 503);
        return;
    }
    message->polling = polling && !request->head->has_upgrade;
    message->version = is_version_4(request);
    message->octets = verb == POLL_POST && has_octets(request);
    poll_mail_send(part, message, (unsigned)shard);
}

void poll_call_begin(
    struct session_part *part, struct http_request *request, struct bytes sid, bool polling)
{
    int shard = poll_names_shard(part, sid);
    if (shard < 0) {
        engine_reply_error(part->config, request, EIO_ERROR_SID_UNKNOWN);
        return;
    }
    enum poll_verb verb = verb_of(request, polling);
    struct poll_call *call = request->user; /* there since POST_BEGINS */
    if (!call) {
        call = make_call(part, request, sid);
    }
    if (!call) {
        return;
    }
    call->probe = verb == POLL_PROBE;
    send_request(call, verb, shard, polling);
}

void poll_call_waiting(struct session_part *part, struct http_request *request, struct bytes sid)
{
    int shard = poll_names_shard(part, sid);
    if (shard < 0) {
        engine_reply_error(part->config, request, EIO_ERROR_SID_UNKNOWN);
        return;
    }
    struct poll_call *call = make_call(part, request, sid);
    if (call) {
        send_request(call, POLL_POST_BEGINS, shard, true);
    }
}

void poll_call_refused(struct session_part *part, struct http_request *request, unsigned status)
{
    if (request->user) {
        give_up(request->user, POLL_POST_REFUSED);
    }
    engine_reply_empty(part->config, request, status);
}

/* --- answers ------------------------------------------------------------------------------- */

/* On the request's shard: answer it, unless it has gone. */
void poll_call_answered(struct session_part *part, const struct poll_answer *answer)
{
    struct bytes key = bytes_of(&answer->ticket.number, sizeof(answer->ticket.number));
    struct poll_call *call = map_get(&part->polls.calls, key);
    if (!call) {
        return; /* what tells the session so is on its way */
    }
    struct http_request *request = call->request;
    char sid[SID_LEN];
    memcpy(sid, call->sid, sizeof(sid));
    forget_call(call);
    if (answer->authenticated) {
        http_authenticated(request);
    }
    switch (answer->kind) {
    case POLL_ANSWER_ERROR:
        engine_reply_error(part->config, request, (enum eio_error)answer->code);
        break;
    case POLL_ANSWER_EMPTY:
        engine_reply_empty(part->config, request, answer->code);
        break;
    case POLL_ANSWER_OK:
        engine_reply_ok(part->config, request);
        break;
    case POLL_ANSWER_PAYLOAD:
        engine_reply_payload(part->config, request, builder_bytes(&answer->body));
        break;
    case POLL_ANSWER_UPGRADE:
        probe_begin(
            part, request, bytes_of(sid, sizeof(sid)), answer->ticket.number, answer->owner);
        break;
    case POLL_ANSWER_CLOSE:
        probe_refuse(part, request);
        break;
    }
}
