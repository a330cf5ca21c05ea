/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll_mail - private to the session layer: what shards tell each other of sessions that poll.
 */
#include "hub/session/poll_mail.h"

#include "codec/base/mem.h"
#include "hub/session/session_core.h"

bool poll_mail_is_answered(enum poll_verb verb)
{
    static const bool answered[POLL_VERB_COUNT] = {
#define X(name, answered) [POLL_##name] = (answered),
        POLL_VERBS(X)
#undef X
    };
    return answered[verb];
}

/* Give the message to whom it is for, on its shard. */
static void deliver(struct session_part *part, struct poll_message *message)
{
    if (message->verb == POLL_PROBE_CLOSE) {
        part->polls.ops->end_probe(part, message->ticket.number);
        mem_free(message);
    } else {
        part->polls.ops->take(part, message);
    }
}

static void on_message(void *arg, bool cancelled)
{
    struct poll_message *message = arg;
    if (cancelled) {
        mem_free(message);
        return;
    }
    deliver(&message->layer->parts[message->to], message);
}

void poll_mail_pass(struct poll_message *message, unsigned to)
{
    message->to = to;
    sched_post(sched_system(message->layer->parts[to].shard->sched), to, on_message, message);
}

void poll_mail_send(struct session_part *part, struct poll_message *message, unsigned to)
{
    if (to != sched_shard(part->shard->sched)) {
        poll_mail_pass(message, to);
        return;
    }
    message->to = to;
    deliver(part, message);
}

struct poll_message *poll_mail_new(struct session_part *part, enum poll_verb verb,
    struct poll_ticket ticket, struct bytes sid, struct bytes body)
{
    struct poll_message *message =
        body.len > 0 ? mem_try_alloc(sizeof(*message) + body.len) : mem_alloc(sizeof(*message));
    if (!message) {
        return NULL;
    }
    *message = (struct poll_message){
        .layer = part->layer, .verb = verb, .ticket = ticket, .body_len = body.len};
    memcpy(message->sid, sid.at, sizeof(message->sid));
    if (body.len > 0) {
        memcpy(message->body, body.at, body.len);
    }
    return message;
}

void poll_mail_tell(struct session_part *part, unsigned to, enum poll_verb verb,
    struct poll_ticket ticket, struct bytes sid)
{
    struct poll_message *message = poll_mail_new(part, verb, ticket, sid, bytes_of(NULL, 0));
    CHECK(message); /* without a body */
    poll_mail_send(part, message, to);
}

static void on_answer(void *arg, bool cancelled)
{
    struct poll_answer *answer = arg;
    if (!cancelled) {
        struct session_part *part = &answer->layer->parts[answer->ticket.from];
        part->polls.ops->answered(part, answer);
    }
    builder_reset(&answer->body);
    mem_free(answer);
}

void poll_mail_answer(struct session_part *part, const struct poll_answer *answer)
{
    struct poll_answer *sent = mem_alloc(sizeof(*sent));
    *sent = *answer;
    sent->layer = part->layer;
    sent->owner = sched_shard(part->shard->sched);
    if (answer->ticket.from == sent->owner) {
        on_answer(sent, false);
    } else {
        sched_post(sched_system(part->shard->sched), answer->ticket.from, on_answer, sent);
    }
}
