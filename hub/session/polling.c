/* SPDX-License-Identifier: Apache-2.0 */
/*
 * polling - private to the session layer: HTTP long-polling as the transport of a session.
 *
 * Order of this file: deadlines, answers, the outbox, GET, POST, upgrades, the end, dispatch,
 * moving, life.
 */
#include "hub/session/polling.h"

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/eio_frames.h"
#include "hub/net/connection.h"
#include "hub/net/slow.h"
#include "hub/session/poll_flood.h"
#include "hub/session/poll_mail.h"
#include "hub/session/poll_names.h"
#include "hub/session/polling_state.h"
#include "hub/session/session_core.h"

static const char NOOP[] = "6";
static const char CLOSE[] = "1";
static const char NOOP_AND_CLOSE[] = "6\x1e"
                                     "1";

/* --- deadlines ----------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t due, uint64_t other)
{
    return other != 0 && other < due ? other : due;
}

/* Set the timer to the earliest deadline. */
static void arm(struct polling *polling)
{
    uint64_t due = earlier(UINT64_MAX, polling->noop_due_ms);
    due = earlier(earlier(due, polling->slow_due_ms), polling->probe_due_ms);
    due = polling->over ? session_now(polling->session) : earlier(due, polling->linger_due_ms);
    if (due != UINT64_MAX) {
        timer_set(session_wheel(polling->session), &polling->timer, due);
    } else {
        timer_cancel(session_wheel(polling->session), &polling->timer);
    }
}

static bool has_passed(const struct polling *polling, uint64_t due_ms)
{
    return due_ms != 0 && due_ms <= session_now(polling->session);
}

static void fail(struct session *session, enum close_reason reason)
{
    session->part->events->failed(session, reason);
}

/* --- answers ------------------------------------------------------------------------------- */

static bool is_set(const struct poll_ticket *ticket)
{
    return ticket->number != 0;
}

static bool is_same(const struct poll_ticket *a, const struct poll_ticket *b)
{
    return a->number == b->number && a->from == b->from;
}

/* Answer `ticket`, which is used up. */
static void answer(const struct session *session, struct poll_ticket *ticket,
    enum poll_answer_kind kind, unsigned code)
{
    struct poll_answer reply = {
        .ticket = *ticket, .kind = kind, .code = code, .authenticated = session->identity != NULL};
    *ticket = (struct poll_ticket){0};
    poll_mail_answer(session->part, &reply);
}

/* Answer the GET that is held; takes `payload`. */
static void answer_get(struct polling *polling, struct builder *payload)
{
    const struct session *session = polling->session;
    struct poll_answer reply = {.ticket = polling->get,
        .kind = POLL_ANSWER_PAYLOAD,
        .authenticated = session->identity != NULL,
        .body = *payload};
    polling->get = (struct poll_ticket){0};
    polling->noop_due_ms = 0;
    polling->outbox.busy = true;
    poll_mail_answer(session->part, &reply);
}

static void answer_get_text(struct polling *polling, const char *text)
{
    struct builder payload = {0};
    builder_str(&payload, text);
    answer_get(polling, &payload);
}

/* Answer the GET that is held with what waits. */
static void answer_waiting(struct polling *polling)
{
    struct session *session = polling->session;
    struct builder payload = {0};
    struct eio_encoder encoder = {.out = &payload, .full_bytes = polling->outbox.limits.high};
    struct iovec range;
    int used = 0;
    bool whole = true;
    while (whole && used >= 0 && outbox_peek(&polling->outbox, &range, 1, SIZE_MAX) > 0) {
        used = eio_frames_append(&encoder, bytes_of(range.iov_base, range.iov_len));
        whole = used >= 0 && (size_t)used == range.iov_len;
        outbox_consume(&polling->outbox, used > 0 ? (size_t)used : 0);
    }
    if (used < 0) { /* no memory */
        builder_reset(&payload);
        fail(session, CLOSE_NO_MEMORY);
        return;
    }
    answer_get(polling, &payload);
}

/* --- the outbox ---------------------------------------------------------------------------- */

static void on_flush(struct outbox *outbox)
{
    answer_waiting(container_of(outbox, struct polling, outbox));
}

static void on_filled(struct outbox *outbox)
{
    struct polling *polling = container_of(outbox, struct polling, outbox);
    polling->slow_due_ms =
        session_now(polling->session) + slow_patience_ms(polling->session->part->shard);
    arm(polling);
}

static void on_relieved(struct outbox *outbox)
{
    struct polling *polling = container_of(outbox, struct polling, outbox);
    polling->slow_due_ms = 0;
    polling->session->part->events->relieved(polling->session);
}

static void on_overflowed(struct outbox *outbox)
{
    struct polling *polling = container_of(outbox, struct polling, outbox);
    struct session *session = polling->session;
    uint64_t ms = slow_full_ms(session->part->shard, polling->slow_due_ms);
    if (session->phase == SESSION_OPEN) {
        (void)session->part->events->slow(session, ms, true);
    }
}

static const struct outbox_ops outbox_ops = {
    .flush = on_flush, .filled = on_filled, .relieved = on_relieved, .overflowed = on_overflowed};

/* --- GET ----------------------------------------------------------------------------------- */

static void hold_get(struct polling *polling, struct poll_ticket ticket)
{
    polling->get = ticket;
    polling->outbox.busy = false;
    if (polling->outbox.bytes > 0) {
        answer_waiting(polling);
    } else if (polling->probed) {
        polling->noop_due_ms = session_now(polling->session) + POLLING_NOOP_MS;
        arm(polling);
    }
}

/* Nothing is owed to the client any more: `closed` comes in a turn of its own. */
static void be_over(struct polling *polling)
{
    polling->over = true;
    poll_flood_leave(polling->session);
    poll_names_forget(polling->session);
    arm(polling);
}

/* The last answer. Clients come back after an error, and not all of them after `1`. */
static void answer_last_get(struct session *session, const char *text)
{
    struct polling *polling = polling_of(session);
    if (close_is_temporary(session->reason)) {
        polling->outbox.busy = true;
        answer(session, &polling->get, POLL_ANSWER_ERROR, EIO_ERROR_SID_UNKNOWN);
    } else {
        answer_get_text(polling, text);
    }
    be_over(polling);
}

static void take_get(struct session *session, struct poll_message *message)
{
    struct polling *polling = polling_of(session);
    if (is_set(&polling->get)) {
        fail(session, CLOSE_PROTOCOL); /* the first one is answered by that */
        answer(session, &message->ticket, POLL_ANSWER_EMPTY, 400);
        return;
    }
    if (!session_is_over(session) || polling->outbox.bytes > 0) {
        hold_get(polling, message->ticket);
        return;
    }
    polling->get = message->ticket; /* lingering: this one was waited for */
    answer_last_get(session, NOOP_AND_CLOSE);
}

/* --- POST ---------------------------------------------------------------------------------- */

/* The POST has been dealt with. */
static void finish_post(struct polling *polling, bool good)
{
    mem_free(polling->body);
    polling->body = NULL;
    if (is_set(&polling->post)) {
        answer(polling->session, &polling->post, good ? POLL_ANSWER_OK : POLL_ANSWER_EMPTY, 400);
    }
}

/* Whether an end for this reason is the peer's own doing: nothing more is owed to it. */
static bool is_abrupt(enum close_reason reason)
{
    switch ((unsigned)reason) {
    case CLOSE_PEER:
    case CLOSE_TRANSPORT:
    case CLOSE_PING_TIMEOUT:
    case CLOSE_NORMAL:
    case CLOSE_PROTOCOL:
    case CLOSE_NOT_UTF8:
    case CLOSE_PARSE:
    case CLOSE_FRAME_TOO_LARGE:
        return true;
    default:
        return false;
    }
}

static void take_packet(struct session *session, const struct eio_packet *packet)
{
    const struct session_config *config = session->part->config;
    const struct websocket_limits *limits =
        session->identity ? &config->after_auth : &config->before_auth;
    if (packet->payload.len > limits->message_bytes) {
        session->part->events->failing(session, CLOSE_FRAME_TOO_LARGE);
        fail(session, CLOSE_FRAME_TOO_LARGE);
        return;
    }
    session->part->events->packet(session, packet);
}

static void depart(struct session *session);

/* Take the packets of the POST, until the session is paused, moves or ends. */
static void work(struct session *session)
{
    struct polling *polling = polling_of(session);
    if (!polling->body || polling->working) {
        return;
    }
    bool more = true;
    polling->working = true;
    while (more && session->phase == SESSION_OPEN && polling->pauses == 0) {
        struct eio_packet packet;
        int status = eio_payload_next(&polling->payload, &packet);
        more = status > 0;
        if (more) {
            take_packet(session, &packet);
        } else if (status < 0) {
            fail(session, status == STATUS_UTF8 ? CLOSE_NOT_UTF8 : CLOSE_PARSE);
        }
    }
    polling->working = false;
    if (session_is_over(session)) {
        finish_post(polling, session->reason == CLOSE_NORMAL || !is_abrupt(session->reason));
    } else if (!more) {
        finish_post(polling, true);
    }
    if (session->phase == SESSION_MOVING) {
        depart(session);
    }
}

/* Two at a time: which comes first nobody knows. */
static void refuse_second_post(struct session *session, struct poll_message *message)
{
    fail(session, CLOSE_PROTOCOL);
    answer(session, &message->ticket, POLL_ANSWER_EMPTY, 400);
}

static void begin_post(struct session *session, struct poll_message *message)
{
    struct polling *polling = polling_of(session);
    if (is_set(&polling->post)) {
        refuse_second_post(session, message);
        return;
    }
    polling->post = message->ticket;
}

/* Returns whether the message is kept. */
static bool take_post(struct session *session, struct poll_message *message)
{
    struct polling *polling = polling_of(session);
    if (is_set(&polling->post) && !is_same(&polling->post, &message->ticket)) {
        refuse_second_post(session, message);
        return false;
    }
    polling->post = message->ticket;
    if (session_is_over(session)) {
        finish_post(polling, true);
        return false;
    }
    if (message->octets) {
        fail(session, CLOSE_PROTOCOL);
        return false;
    }
    polling->body = message;
    eio_payload_init(&polling->payload, message->body, message->body_len, SIZE_MAX);
    work(session);
    return true;
}

static void hold(struct session *session, bool held)
{
    struct polling *polling = polling_of(session);
    CHECK(held || polling->pauses > 0);
    polling->pauses = (uint16_t)(held ? polling->pauses + 1 : polling->pauses - 1);
    if (polling->pauses == 0 && session->phase == SESSION_OPEN) {
        work(session);
    }
}

/* --- upgrades ------------------------------------------------------------------------------ */

static void take_probe(struct session *session, struct poll_message *message)
{
    struct polling *polling = polling_of(session);
    if (session_is_over(session)) {
        answer(session, &message->ticket, POLL_ANSWER_ERROR, EIO_ERROR_BAD_REQUEST);
        return;
    }
    if (is_set(&polling->probe)) { /* another one is trying */
        answer(session, &message->ticket, POLL_ANSWER_CLOSE, 0);
        return;
    }
    polling->probe = message->ticket;
    polling->probe_due_ms =
        session_now(session) + session->part->config->upgrade_timeout_ms + POLLING_PROBE_SLACK_MS;
    arm(polling);
    struct poll_ticket ticket = message->ticket;
    answer(session, &ticket, POLL_ANSWER_UPGRADE, 0);
}

static void forget_probe(struct polling *polling)
{
    polling->probe = (struct poll_ticket){0};
    polling->probed = false;
    polling->probe_due_ms = 0;
    polling->noop_due_ms = 0;
}

static void be_probed(struct session *session, const struct poll_message *message)
{
    struct polling *polling = polling_of(session);
    if (session_is_over(session) || !is_same(&polling->probe, &message->ticket)) {
        return;
    }
    polling->probed = true;
    if (is_set(&polling->get) && polling->outbox.bytes == 0) {
        answer_get_text(polling, NOOP);
    }
}

static void free_polling(struct polling *polling)
{
    timer_cancel(session_wheel(polling->session), &polling->timer);
    polling->outbox.busy = false;
    outbox_finish(&polling->outbox);
    mem_free(polling->body);
    mem_free(polling);
}

bool polling_is_probed(const struct session *session, struct poll_ticket ticket)
{
    const struct polling *polling = polling_of(session);
    /* A client has waited for its POST before it says `5`. */
    return polling && !session_is_over(session) && is_same(&polling->probe, &ticket) &&
           !is_set(&polling->post);
}

unsigned polling_hand_over(struct session *session, struct outbox *outbox)
{
    struct poll_session *poll = poll_session_of(session);
    struct polling *polling = poll->polling;
    unsigned pauses = polling->pauses;
    if (is_set(&polling->get)) {
        answer_get_text(polling, CLOSE);
    }
    polling->outbox.busy = false;
    outbox_move(&polling->outbox, outbox, &session->part->shard->dirty_outboxes);
    poll->polling = NULL;
    free_polling(polling);
    return pauses;
}

static void on_timer(struct timer *timer)
{
    struct polling *polling = container_of(timer, struct polling, timer);
    struct session *session = polling->session;
    if (polling->over) {
        session->part->events->closed(session, session->reason);
        return;
    }
    if (has_passed(polling, polling->linger_due_ms)) { /* nobody has come to hear of it */
        be_over(polling);
        return;
    }
    if (has_passed(polling, polling->slow_due_ms)) {
        polling->slow_due_ms = 0;
        (void)session->part->events->slow(session, slow_patience_ms(session->part->shard), true);
    }
    if (has_passed(polling, polling->noop_due_ms)) {
        polling->noop_due_ms = 0;
        if (is_set(&polling->get)) {
            answer_get_text(polling, NOOP);
        }
    }
    if (has_passed(polling, polling->probe_due_ms)) {
        forget_probe(polling); /* it was lost on its way */
    }
    arm(polling);
}

/* --- the end ------------------------------------------------------------------------------- */

static void close_polling(struct session *session, enum close_reason reason)
{
    struct polling *polling = polling_of(session);
    /* Who has never joined anything is owed nothing: it does not linger. */
    bool abrupt = session->part->polls.stopping || is_abrupt(reason) || !session->identity;
    bool held = is_set(&polling->get);
    polling->slow_due_ms = 0;
    polling->noop_due_ms = 0;
    if (!polling->working) {
        finish_post(polling, false);
    }
    if (is_set(&polling->probe)) {
        poll_mail_tell(session->part, polling->probe.from, POLL_PROBE_CLOSE, polling->probe,
            poll_names_sid(session));
        forget_probe(polling);
    }
    if (held && !abrupt && polling->outbox.bytes > 0) {
        answer_waiting(polling); /* and the next GET is told of the end */
        held = false;
    }
    if (held) {
        answer_last_get(session, reason == CLOSE_NORMAL ? NOOP : CLOSE);
    } else if (abrupt) {
        be_over(polling);
    } else {
        polling->linger_due_ms = session_now(session) + POLLING_LINGER_MS;
    }
    arm(polling);
}

/* --- dispatch ------------------------------------------------------------------------------ */

/* A request for a session that is here. Returns whether the message is kept. */
static bool take_request(struct session *session, struct poll_message *message)
{
    struct polling *polling = polling_of(session);
    bool probe = message->verb == POLL_PROBE;
    if (probe && !polling && message->version && !session_is_over(session)) {
        answer(session, &message->ticket, POLL_ANSWER_CLOSE, 0); /* it has a WebSocket */
        return false;
    }
    if (!polling || (!message->polling && !probe) || !message->version) {
        answer(session, &message->ticket, POLL_ANSWER_ERROR, EIO_ERROR_BAD_REQUEST);
        return false;
    }
    switch ((unsigned)message->verb) {
    case POLL_GET:
        take_get(session, message);
        break;
    case POLL_POST_BEGINS:
        begin_post(session, message);
        break;
    case POLL_POST:
        return take_post(session, message);
    case POLL_PROBE:
        take_probe(session, message);
        break;
    default:
        answer(session, &message->ticket, POLL_ANSWER_EMPTY, 500);
        break;
    }
    return false;
}

/* What became of a request, for a session that is here. */
static void take_news(struct session *session, const struct poll_message *message)
{
    struct polling *polling = polling_of(session);
    if (!polling) {
        return;
    }
    switch ((unsigned)message->verb) {
    case POLL_GONE:
        fail(session, CLOSE_TRANSPORT);
        break;
    case POLL_POST_REFUSED:
        if (is_same(&polling->post, &message->ticket)) {
            polling->post = (struct poll_ticket){0};
        }
        break;
    case POLL_PROBED:
        be_probed(session, message);
        break;
    case POLL_PROBE_GONE:
        if (is_same(&polling->probe, &message->ticket)) {
            forget_probe(polling);
        }
        break;
    default:
        break;
    }
}

void polling_take(struct session_part *part, struct poll_message *message)
{
    struct bytes sid = bytes_of(message->sid, sizeof(message->sid));
    bool answered = poll_mail_is_answered(message->verb);
    bool kept = false;
    int forward;
    struct session *session = poll_names_find(part, sid, &forward);
    if (message->verb == POLL_FORGET) {
        poll_names_drop_forward(part, sid);
    } else if (forward >= 0) {
        poll_mail_pass(message, (unsigned)forward);
        kept = true;
    } else if (session && answered) {
        kept = take_request(session, message);
    } else if (session) {
        take_news(session, message);
    } else if (answered) {
        struct poll_answer unknown = {
            .ticket = message->ticket, .kind = POLL_ANSWER_ERROR, .code = EIO_ERROR_SID_UNKNOWN};
        poll_mail_answer(part, &unknown);
    }
    if (!kept) {
        mem_free(message);
    }
}

/* --- moving -------------------------------------------------------------------------------- */

static void on_arrived(void *arg, bool cancelled)
{
    struct session *session = arg;
    struct polling *polling = polling_of(session);
    struct session_part *part = &session->part->layer->parts[polling->target];
    if (cancelled || part->polls.stopping) {
        poll_session_of(session)->place = POLL_NOWHERE;
        session->part->events->moved(session, NULL);
        return;
    }
    polling->working = true; /* it may be sent on at once */
    part->events->moved(session, part);
    polling->working = false;
    if (session->phase == SESSION_MOVING) {
        depart(session);
        return;
    }
    if (polling->lost) {
        fail(session, CLOSE_NO_MEMORY);
    }
    if (!polling->outbox.busy && polling->outbox.bytes > 0 &&
        list_empty(&polling->outbox.dirty_link)) {
        list_append(&part->shard->dirty_outboxes, &polling->outbox.dirty_link);
    }
    work(session);
}

static void depart(struct session *session)
{
    struct polling *polling = polling_of(session);
    polling->slow_due_ms = 0; /* it begins anew there, if it is full there */
    polling->outbox.busy = false;
    polling->lost |= !outbox_unshare(&polling->outbox);
    polling->outbox.busy = !is_set(&polling->get);
    timer_cancel(session_wheel(session), &polling->timer);
    poll_flood_leave(session);
    poll_names_leave(session, polling->target);
    sched_post(sched_system(session->part->shard->sched), polling->target, on_arrived, session);
}

/* As soon as no packet is being taken. */
static void move(struct session *session, unsigned shard)
{
    struct polling *polling = polling_of(session);
    polling->target = shard;
    if (!polling->working) {
        depart(session);
    }
}

static bool arrived(struct session *session)
{
    bool known = poll_names_arrive(session);
    poll_flood_enter(session);
    arm(polling_of(session));
    return known;
}

/* --- life ---------------------------------------------------------------------------------- */

static struct outbox *get_outbox(const struct session *session)
{
    return &polling_of(session)->outbox;
}

void polling_remote(const struct session *session, char ret_text[46])
{
    const struct poll_session *poll = poll_session_of(session);
    memcpy(ret_text, poll->remote, sizeof(poll->remote));
}

static void stop(struct session *session)
{
    session->part->events->closed(session, session->reason);
}

static void finish(struct session *session)
{
    poll_flood_leave(session);
    poll_names_forget(session);
    free_polling(polling_of(session));
}

const struct transport polling_transport = {
    .name = "polling",
    .handshake = "polling",
    .outbox = get_outbox,
    .remote = polling_remote,
    .hold = hold,
    .authenticated = poll_flood_leave,
    .move = move,
    .arrived = arrived,
    .close = close_polling,
    .cut = close_polling,
    .stop = stop,
    .finish = finish,
};

static struct polling *new_polling(struct session *session)
{
    struct polling *polling = mem_alloc(sizeof(*polling));
    struct outbox_limits limits = connection_outbox_limits(session->part->shard);
    polling->session = session;
    timer_init(&polling->timer, on_timer);
    outbox_init(&polling->outbox, &outbox_ops, &limits);
    polling->outbox.busy = true;
    return polling;
}

struct poll_session *polling_new(struct session_part *part, struct bytes remote)
{
    struct poll_session *poll = mem_try_calloc(1, sizeof(*poll));
    if (poll == NULL) {
        return NULL;
    }
    poll_names_draw(part, poll->entry.sid);
    if (!map_put(&part->polls.sids, &poll->entry)) {
        mem_free(poll);
        return NULL;
    }
    poll->session.transport = TRANSPORT_POLLING;
    size_t len = remote.len < sizeof(poll->remote) ? remote.len : sizeof(poll->remote) - 1;
    memcpy(poll->remote, remote.at, len);
    return poll;
}

void polling_begin(struct session *session)
{
    poll_session_of(session)->polling = new_polling(session);
    poll_flood_enter(session);
}
