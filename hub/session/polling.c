/* SPDX-License-Identifier: Apache-2.0 */
/*
 * polling - private to the session layer: HTTP long-polling as the transport of a session.
 *
 * Order of this file: answers, the outbox, GET, POST, upgrades, deadlines, the end, dispatch, life.
 * The names of sessions, and moving, are in polling_names.c.
 */
#include "hub/session/polling.h"

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/eio_frames.h"
#include "hub/net/connection.h"
#include "hub/session/probe.h"

enum { STALL_MS = 30000 }; /* unless configured */

static const char NOOP[] = "6";
static const char CLOSE[] = "1";
static const char NOOP_AND_CLOSE[] = "6\x1e"
                                     "1";

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
    poll_call_answer(session->home, &reply);
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
    poll_call_answer(session->home, &reply);
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
        session_end(session, CLOSE_NO_MEMORY);
        return;
    }
    answer_get(polling, &payload);
}

/* --- the outbox ---------------------------------------------------------------------------- */

static void on_flush(struct outbox *outbox)
{
    answer_waiting(container_of(outbox, struct polling, outbox));
}

static uint32_t stall_ms(const struct polling *polling)
{
    const struct actor_config *config = polling->session->home->shard->config;
    return config && config->stall_ms > 0 ? config->stall_ms : STALL_MS;
}

static void on_filled(struct outbox *outbox)
{
    struct polling *polling = container_of(outbox, struct polling, outbox);
    polling->stall_due_ms = session_now(polling->session) + stall_ms(polling);
    session_arm(polling->session);
}

static void on_relieved(struct outbox *outbox)
{
    struct polling *polling = container_of(outbox, struct polling, outbox);
    polling->stall_due_ms = 0;
    session_relieved(polling->session);
}

/* `left` of the time that a full outbox has. */
static void end_slow(struct polling *polling, uint64_t left)
{
    session_report_slow(polling->session, stall_ms(polling) - left);
    session_end(polling->session, CLOSE_SLOW);
}

static void on_overflowed(struct outbox *outbox)
{
    struct polling *polling = container_of(outbox, struct polling, outbox);
    uint64_t now = session_now(polling->session);
    uint64_t left = polling->stall_due_ms > now ? polling->stall_due_ms - now : 0;
    if (!polling->session->ended && !polling->session->moving) {
        end_slow(polling, left < stall_ms(polling) ? left : stall_ms(polling));
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
        session_arm(polling->session);
    }
}

static void be_over(struct polling *polling)
{
    polling->over = true;
    polling_forget(polling->session);
    session_reap_later(polling->session);
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
        session_end(session, CLOSE_PROTOCOL); /* the first one is answered by that */
        answer(session, &message->ticket, POLL_ANSWER_EMPTY, 400);
        return;
    }
    if (!session->ended || polling->outbox.bytes > 0) {
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
    const struct session_config *config = session->home->config;
    const struct websocket_limits *limits =
        session->identity ? &config->after_auth : &config->before_auth;
    if (packet->payload.len > limits->message_bytes) {
        session_too_large(session);
        return;
    }
    session_packet(session, packet);
}

/* Take the packets of the POST, until the session is paused, moves or ends. */
static void work(struct session *session)
{
    struct polling *polling = polling_of(session);
    if (!polling->body || polling->working) {
        return;
    }
    bool more = true;
    polling->working = true;
    while (more && !session->ended && !session->moving && polling->pauses == 0) {
        struct eio_packet packet;
        int status = eio_payload_next(&polling->payload, &packet);
        more = status > 0;
        if (more) {
            take_packet(session, &packet);
        } else if (status < 0) {
            session_end(session, status == STATUS_UTF8 ? CLOSE_NOT_UTF8 : CLOSE_PARSE);
        }
    }
    polling->working = false;
    if (session->ended) {
        finish_post(polling, session->reason == CLOSE_NORMAL || !is_abrupt(session->reason));
    } else if (!more) {
        finish_post(polling, true);
    }
    if (session->moving) {
        polling_depart(session);
    }
}

/* Two at a time: which comes first nobody knows. */
static void refuse_second_post(struct session *session, struct poll_message *message)
{
    session_end(session, CLOSE_PROTOCOL);
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
    if (session->ended) {
        finish_post(polling, true);
        return false;
    }
    if (message->octets) {
        session_end(session, CLOSE_PROTOCOL);
        return false;
    }
    polling->body = message;
    eio_payload_init(&polling->payload, message->body, message->body_len, SIZE_MAX);
    work(session);
    return true;
}

void polling_pause(struct session *session)
{
    polling_of(session)->pauses++;
}

void polling_resume(struct session *session)
{
    struct polling *polling = polling_of(session);
    CHECK(polling->pauses > 0);
    polling->pauses--;
    if (polling->pauses == 0 && !session->ended) {
        work(session);
    }
}

void polling_work(struct session *session)
{
    work(session);
}

/* --- upgrades ------------------------------------------------------------------------------ */

static void take_probe(struct session *session, struct poll_message *message)
{
    struct polling *polling = polling_of(session);
    if (session->ended) {
        answer(session, &message->ticket, POLL_ANSWER_ERROR, EIO_ERROR_BAD_REQUEST);
        return;
    }
    if (is_set(&polling->probe)) { /* another one is trying */
        answer(session, &message->ticket, POLL_ANSWER_CLOSE, 0);
        return;
    }
    polling->probe = message->ticket;
    polling->probe_due_ms =
        session_now(session) + session->home->config->upgrade_timeout_ms + POLLING_PROBE_SLACK_MS;
    session_arm(session);
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
    if (session->ended || !is_same(&polling->probe, &message->ticket)) {
        return;
    }
    polling->probed = true;
    if (is_set(&polling->get) && polling->outbox.bytes == 0) {
        answer_get_text(polling, NOOP);
    }
}

struct session *polling_find_probed(
    struct session_home *home, struct bytes sid, struct poll_ticket ticket, int *ret_forward)
{
    const struct poll_entry *entry = map_get(&home->polls.sids, sid);
    *ret_forward = -1;
    if (!entry) {
        return NULL;
    }
    if (entry->forward) {
        *ret_forward = (int)container_of(entry, const struct poll_forward, entry)->shard;
        return NULL;
    }
    struct session *session = polling_entry_session(entry);
    const struct polling *polling = polling_of(session);
    /* A client has waited for its POST before it says `5`. */
    bool ready =
        polling && !session->ended && is_same(&polling->probe, &ticket) && !is_set(&polling->post);
    return ready ? session : NULL;
}

void polling_hand_over(struct session *session, struct outbox *outbox)
{
    struct polling *polling = polling_of(session);
    if (is_set(&polling->get)) {
        answer_get_text(polling, CLOSE);
    }
    polling->outbox.busy = false;
    outbox_move(&polling->outbox, outbox, &session->home->shard->dirty_outboxes);
}

/* --- deadlines ----------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t due, uint64_t other)
{
    return other != 0 && other < due ? other : due;
}

uint64_t polling_due(const struct session *session)
{
    const struct polling *polling = polling_of(session);
    if (!polling) {
        return UINT64_MAX;
    }
    uint64_t due = earlier(UINT64_MAX, polling->noop_due_ms);
    return earlier(earlier(due, polling->stall_due_ms), polling->probe_due_ms);
}

void polling_expire(struct session *session)
{
    struct polling *polling = polling_of(session);
    uint64_t now = session_now(session);
    if (session->ended) { /* nobody has come to hear of it */
        be_over(polling);
        return;
    }
    if (polling->stall_due_ms != 0 && polling->stall_due_ms <= now) {
        end_slow(polling, 0);
        return;
    }
    if (polling->noop_due_ms != 0 && polling->noop_due_ms <= now) {
        polling->noop_due_ms = 0;
        if (is_set(&polling->get)) {
            answer_get_text(polling, NOOP);
        }
    }
    if (polling->probe_due_ms != 0 && polling->probe_due_ms <= now) {
        forget_probe(polling); /* it was lost on its way */
    }
}

/* --- the end ------------------------------------------------------------------------------- */

void polling_close(struct session *session, enum close_reason reason)
{
    struct polling *polling = polling_of(session);
    /* Who has never joined anything is owed nothing: it does not linger. */
    bool abrupt = session->home->polls.stopping || is_abrupt(reason) || !session->identity;
    bool held = is_set(&polling->get);
    if (!polling->working) {
        finish_post(polling, false);
    }
    if (is_set(&polling->probe)) {
        poll_call_tell(session->home, polling->probe.from, POLL_PROBE_CLOSE, polling->probe,
            polling_sid(session));
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
        session_linger(session, POLLING_LINGER_MS);
    }
}

/* --- dispatch ------------------------------------------------------------------------------ */

/* A request for a session that is here. Returns whether the message is kept. */
static bool take_request(struct session *session, struct poll_message *message)
{
    struct polling *polling = polling_of(session);
    bool probe = message->verb == POLL_PROBE;
    if (probe && !polling && message->version && !session->ended) {
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
        session_end(session, CLOSE_TRANSPORT);
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

static bool wants_answer(enum poll_verb verb)
{
    static const bool answered[POLL_VERB_COUNT] = {
#define X(name, answered) [POLL_##name] = (answered),
        POLL_VERBS(X)
#undef X
    };
    return answered[verb];
}

void polling_handle(struct session_home *home, struct poll_message *message)
{
    struct bytes sid = bytes_of(message->sid, sizeof(message->sid));
    struct poll_entry *entry = map_get(&home->polls.sids, sid);
    bool kept = false;
    if (message->verb == POLL_PROBE_CLOSE) {
        probe_end(home, message->ticket.number);
    } else if (message->verb == POLL_FORGET) {
        polling_drop_forward(home, sid);
    } else if (entry && entry->forward) {
        poll_call_pass(message, container_of(entry, struct poll_forward, entry)->shard);
        kept = true;
    } else if (entry && wants_answer(message->verb)) {
        kept = take_request(polling_entry_session(entry), message);
    } else if (entry) {
        take_news(polling_entry_session(entry), message);
    } else if (wants_answer(message->verb)) {
        struct poll_answer unknown = {
            .ticket = message->ticket, .kind = POLL_ANSWER_ERROR, .code = EIO_ERROR_SID_UNKNOWN};
        poll_call_answer(home, &unknown);
    }
    if (!kept) {
        mem_free(message);
    }
}

/* --- life ---------------------------------------------------------------------------------- */

struct polling *polling_new(struct session *session)
{
    struct polling *polling = mem_alloc(sizeof(*polling));
    struct outbox_limits limits = connection_outbox_limits(session->home->shard);
    polling->session = session;
    outbox_init(&polling->outbox, &outbox_ops, &limits);
    polling->outbox.busy = true;
    return polling;
}

void polling_free(struct polling *polling)
{
    if (!polling) {
        return;
    }
    polling->outbox.busy = false;
    outbox_finish(&polling->outbox);
    mem_free(polling->body);
    mem_free(polling);
}
