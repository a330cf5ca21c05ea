/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_link - one connection to Redis that keeps itself alive.
 *
 *     WAITING ──▶ CONNECTING ──▶ SETUP ──▶ UP        CLOSED from anywhere
 *        ▲             │            │       │
 *        └─────────────┴────────────┴───────┘  (fail)
 *
 * Invariants:
 *  - `conn` and `reader` exist in CONNECTING, SETUP and UP only; each attempt has new ones.
 *  - `pending` holds exactly the commands sent on `conn` whose replies have not come; deadlines in
 *    it never decrease, so the first one is the next to pass.
 *  - SUBSCRIBE and UNSUBSCRIBE are not in `pending`: their confirmations are pushes. The n-th
 *    confirmation of a SUBSCRIBE belongs to the n-th SUBSCRIBE sent (`subscribes_sent`,
 *    `subscribes_seen`), which tells a late one of an earlier subscription from the right one.
 *  - While no link of the bus is up, one of them asks for the server (`redis_bus.probe`); the
 * others wait for it, and all connect when it is up. An outage is logged when it begins and when
 * all are up again, whatever the number of links.
 *  - Callbacks may call anything, also close: after each the state is looked at again.
 */
#include <stdio.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/redis_error.h"
#include "hub/redis/redis_bus.h"
#include "hub/redis/redis_channel.h"
#include "hub/redis/redis_fifo.h"
#include "hub/redis/redis_link_state.h"
#include "hub/redis/redis_login.h"
#include "hub/redis/redis_push.h"
#include "hub/redis/redis_reader.h"
#include "hub/redis/redis_text.h"
#include "hub/redis/redis_trouble.h"
#include "hub/redis/redis_work.h"

enum {
    COMMAND_TIMEOUT_MS = 5000,
    PENDING_MAX = 1 << 20, /* commands sent and not answered, a link */
    LATE_MS = 1000, /* a timer that fires this late: the process was stopped, not the server */
    GRACE_MS = 1000,
    FRESH_MS = 60000, /* a server that has just gone is asked for at least once a second */
    FRESH_MAX_MS = 1000,
    SENTINEL_MS = 1000, /* until a sentinel has said where the master is */
};

static uint64_t now_of(const struct bus_link *link)
{
    return uv_now(link->bus->loop);
}

/* --- deadlines ----------------------------------------------------------------------------- */

static uint64_t next_deadline(const struct bus_link *link)
{
    const struct redis_options *options = &link->bus->options;
    if (link->state != LINK_UP) {
        return link->state_deadline;
    }
    const struct redis_request *first = redis_fifo_first(&link->pending);
    if (first != NULL) {
        return first->deadline;
    }
    return link->last_received + (link->pinged ? options->silence_ms : options->ping_ms);
}

static void on_timer(uv_timer_t *timer);

/* Have the timer fire at the next deadline; one that fires too early costs nothing. */
static void arm(struct bus_link *link)
{
    uint64_t when = next_deadline(link);
    if (when < link->grace_until) {
        when = link->grace_until;
    }
    if (link->armed_at != 0 && link->armed_at <= when) {
        return;
    }
    uint64_t now = now_of(link);
    link->armed_at = when > 0 ? when : 1;
    uv_timer_start(&link->timer, on_timer, when > now ? when - now : 0, 0);
}

static void set_state(struct bus_link *link, enum link_state state, uint64_t deadline)
{
    CHECK(link->state != LINK_CLOSED);
    bool was_up = link->state == LINK_UP;
    link->state = state;
    link->state_deadline = deadline;
    link->bus->stats.links_up += (state == LINK_UP) ? 1u : 0u;
    link->bus->stats.links_up -= was_up ? 1u : 0u;
    if (state != LINK_CLOSED) {
        link->armed_at = 0;
        arm(link);
    }
}

/* --- sending ------------------------------------------------------------------------------- */

static void format(struct bus_link *link, const struct bytes *argv, size_t argc)
{
    redis_text_command(argv, argc, redis_conn_out(link->conn));
    redis_work_mark(link);
}

static void append(struct bus_link *link, struct redis_request request)
{
    const struct redis_request *last = redis_fifo_last(&link->pending);
    if (last != NULL && last->deadline > request.deadline) {
        request.deadline = last->deadline;
    }
    redis_fifo_push(&link->pending, request);
}

static void push_command(
    struct bus_link *link, const struct bytes *argv, size_t argc, struct redis_request request)
{
    append(link, request);
    format(link, argv, argc);
}

static void send_channel(struct bus_link *link, const struct redis_channel *channel,
    struct bytes command, struct bytes quiet_command)
{
    struct builder pattern = {0};
    struct bytes name = bytes_of(channel->name, channel->len);
    if (channel->quiet) {
        redis_push_write_pattern(name, &pattern);
        name = builder_bytes(&pattern);
    }
    const struct bytes argv[] = {channel->quiet ? quiet_command : command, name};
    format(link, argv, ARRAY_LEN(argv));
    builder_reset(&pattern);
}

static void send_subscribe(struct bus_link *link, struct redis_channel *channel)
{
    channel->ticket = ++link->subscribes_sent;
    channel->confirmed = false;
    send_channel(link, channel, BYTES("SUBSCRIBE"), BYTES("PSUBSCRIBE"));
}

static void send_ping(struct bus_link *link)
{
    const struct bytes argv[] = {BYTES("PING")};
    const struct redis_options *options = &link->bus->options;
    if (link->use == LINK_FOR_CHANNELS) {
        link->pinged = true;
        format(link, argv, ARRAY_LEN(argv));
        return;
    }
    uint64_t patience = options->silence_ms - options->ping_ms;
    push_command(link, argv, ARRAY_LEN(argv),
        (struct redis_request){.deadline = now_of(link) + patience, .purpose = REDIS_FOR_PING});
}

static void send_setup(struct bus_link *link)
{
    struct redis_login login;
    redis_login_write(&link->bus->target, link->name, &login);
    for (size_t i = 0; i < login.count; i++) {
        const struct redis_step *step = &login.steps[i];
        push_command(link, step->argv, step->argc,
            (struct redis_request){.deadline = link->state_deadline, .purpose = step->purpose});
    }
}

/* --- going down ---------------------------------------------------------------------------- */

static uint64_t backoff(struct bus_link *link)
{
    const struct redis_options *options = &link->bus->options;
    bool fresh =
        now_of(link) - link->down_since < FRESH_MS && options->backoff_max_ms > FRESH_MAX_MS;
    uint64_t most = fresh ? FRESH_MAX_MS : options->backoff_max_ms;
    uint64_t pause = options->backoff_min_ms;
    for (unsigned i = 0; i < link->attempts && pause < most; i++) {
        pause *= 2;
    }
    pause = pause < most ? pause : most;
    link->attempts++;
    return pause / 2 + rand_below(&link->bus->rand, pause / 2 + 1);
}

/* The server is there again: nobody waits any longer. */
static void release_waiting(struct redis_bus *bus)
{
    bus->probe = NULL;
    list_for_each (each, &bus->links) {
        struct bus_link *link = container_of(each, struct bus_link, all);
        if (link->state == LINK_WAITING) {
            set_state(link, LINK_WAITING, now_of(link));
        }
    }
}

/* Give the connection up: answer what is pending, tell the owner, try again later. */
static void fail(struct bus_link *link, int status, const char *why)
{
    bool was_up = link->state == LINK_UP;
    bool refused_here = link->state == LINK_CONNECTING;
    unsigned addresses = link->conn != NULL ? redis_conn_addresses(link->conn) : 1;
    link->error_status = status;
    snprintf(link->error, sizeof(link->error), "%s", why);
    redis_trouble_tell(link->bus, link->name, status, why);
    redis_conn_close(link->conn);
    link->conn = NULL;
    uint64_t now = now_of(link);
    link->down_since = was_up ? now : link->down_since;
    if (was_up && now - link->up_since >= link->bus->options.backoff_max_ms) {
        link->attempts = 0;
    }
    uint64_t pause = 0;
    if (refused_here && link->address + 1 < addresses) {
        link->address++;
    } else {
        link->address = refused_here ? 0 : link->address;
        link->turn++;
        bool round = link->bus->master != NULL || link->turn % link->bus->place_count == 0;
        pause = was_up || round ? backoff(link) : link->bus->options.backoff_min_ms;
    }
    set_state(link, LINK_WAITING, now + pause);
    link->bus->probe = link->bus->probe != NULL ? link->bus->probe : link;
    redis_work_answer(link, &link->pending, SIZE_MAX, STATUS_UNAVAILABLE);
    if (was_up && link->state != LINK_CLOSED && link->events.on_down != NULL) {
        link->events.on_down(link->context);
    }
}

static const struct redis_conn_ops conn_ops;

/* Whom to connect to; NULL: no sentinel has said it yet. */
static const struct redis_place *choose_place(const struct bus_link *link)
{
    const struct redis_bus *bus = link->bus;
    if (bus->master != NULL) {
        return bus->master_known ? &bus->master_place : NULL;
    }
    return &bus->places[link->turn % bus->place_count];
}

static void begin_connecting(struct bus_link *link)
{
    struct redis_bus *bus = link->bus;
    const struct redis_place *place = choose_place(link);
    uint64_t patience = bus->options.connect_timeout_ms;
    if (place == NULL && patience > SENTINEL_MS) {
        patience = SENTINEL_MS;
    }
    set_state(link, LINK_CONNECTING, now_of(link) + patience);
    if (place == NULL) {
        return;
    }
    link->place = *place;
    const struct redis_goal goal = {
        .place = &link->place,
        .attempt = link->address,
        .tls = bus->target.tls,
        .tls_name = bus->target.tls_name,
    };
    link->conn = redis_conn_open(bus->loop, &goal, &conn_ops, link, bus->input);
}

static void give_up(struct bus_link *link)
{
    const struct redis_bus *bus = link->bus;
    link->bus->stats.timeouts++;
    if (link->conn == NULL) {
        bool told = bus->master_fault[0] != '\0';
        fail(link, told ? bus->master_status : STATUS_TIMEOUT,
            told ? bus->master_fault : "no sentinel has said where the master is");
    } else if (link->state == LINK_UP) {
        fail(link, STATUS_TIMEOUT, "the server did not answer in time");
    } else {
        fail(link, STATUS_TIMEOUT,
            redis_conn_shakes(link->conn) ? "the server did not answer to TLS in time"
                                          : "connecting took too long");
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct bus_link *link = timer->data;
    uint64_t now = now_of(link);
    if (link->armed_at != 0 && now > link->armed_at + LATE_MS) {
        link->grace_until = now + GRACE_MS;
    }
    link->armed_at = 0;
    if (now < next_deadline(link) || now < link->grace_until) {
        arm(link);
        return;
    }
    if (link->state == LINK_UP && redis_fifo_count(&link->pending) == 0 && !link->pinged) {
        send_ping(link);
        arm(link);
        return;
    }
    if (link->state == LINK_WAITING && redis_trouble_waits(link->bus, link)) {
        set_state(link, LINK_WAITING, now + backoff(link));
        return;
    }
    if (link->state == LINK_WAITING) {
        begin_connecting(link);
        return;
    }
    give_up(link);
}

/* --- replies ------------------------------------------------------------------------------- */

static void go_up(struct bus_link *link)
{
    link->up_since = now_of(link);
    link->last_received = link->up_since;
    link->pinged = false;
    link->error[0] = '\0';
    link->error_status = 0;
    link->bus->stats.connects++;
    set_state(link, LINK_UP, 0);
    if (link->bus->probe != NULL) {
        release_waiting(link->bus);
    }
    redis_trouble_settle(link->bus);
    size_t cursor = 0;
    for (struct redis_channel *channel = map_next(&link->channels, &cursor); channel != NULL;
         channel = map_next(&link->channels, &cursor)) {
        send_subscribe(link, channel);
    }
    if (link->events.on_up != NULL) {
        link->events.on_up(link->context);
    }
}

static void fail_with_text(struct bus_link *link, int status, const char *what, struct bytes text)
{
    char why[200];
    int len = text.len < 120 ? (int)text.len : 120;
    snprintf(why, sizeof(why), "%s: %.*s", what, len, len > 0 ? text.at : "");
    fail(link, status, why);
}

static void on_setup_reply(
    struct bus_link *link, enum redis_purpose purpose, const struct bus_reply *reply)
{
    char why[REDIS_WHY_MAX];
    int status = redis_login_judge(purpose, reply, why);
    if (status != 0) {
        link->bus->stats.protocol_errors += status == STATUS_PROTO ? 1 : 0;
        link->bus->master_doubted = link->bus->master_doubted || purpose == REDIS_FOR_ROLE;
        fail(link, status, why);
    } else if (purpose == REDIS_FOR_PING) {
        go_up(link);
    }
}

static void on_command_reply(struct bus_link *link, const struct bus_reply *reply)
{
    struct redis_request request;
    if (!redis_fifo_pop(&link->pending, &request)) {
        link->bus->stats.protocol_errors++;
        fail(link, STATUS_PROTO, "an answer that nothing was asked for");
        return;
    }
    if (link->state == LINK_SETUP) {
        on_setup_reply(link, request.purpose, reply);
        return;
    }
    bool wrong_server =
        reply->type == BUS_ERROR && redis_error_class(reply->text) == REDIS_ERROR_RECONNECT;
    char why[64];
    if (wrong_server) {
        int len = reply->text.len < 48 ? (int)reply->text.len : 48;
        snprintf(why, sizeof(why), "%.*s", len, reply->text.at);
    }
    if (request.fn != NULL) {
        request.fn(request.context, 0, reply);
    }
    if (wrong_server && link->state == LINK_UP) {
        fail(link, STATUS_UNAVAILABLE, why);
    }
}

static void on_confirmed(struct bus_link *link, struct bytes name)
{
    uint32_t ticket = ++link->subscribes_seen;
    struct redis_channel *channel = map_get(&link->channels, name);
    if (channel == NULL || channel->ticket != ticket) {
        return;
    }
    channel->confirmed = true;
    if (link->events.on_subscribed != NULL) {
        link->events.on_subscribed(link->context, name);
    }
}

static void on_channel_message(struct bus_link *link, struct bytes name, struct bytes payload)
{
    const struct redis_channel *channel = map_get(&link->channels, name);
    link->bus->stats.messages++;
    if (channel != NULL && channel->confirmed && link->events.on_message != NULL) {
        link->events.on_message(link->context, name, payload);
    }
}

static void on_pattern_confirmed(struct bus_link *link, struct bytes pattern)
{
    struct builder name = {0};
    redis_push_write_name(pattern, &name);
    on_confirmed(link, builder_bytes(&name));
    builder_reset(&name);
}

/* What comes on a connection with subscriptions, once it is set up. */
static void on_push(struct bus_link *link, const struct bus_reply *reply)
{
    struct redis_push push;
    switch (redis_push_read(reply, &push)) {
    case REDIS_PUSH_MESSAGE:
        on_channel_message(link, push.name, push.payload);
        return;
    case REDIS_PUSH_CONFIRMED:
        on_confirmed(link, push.name);
        return;
    case REDIS_PUSH_PATTERN_CONFIRMED:
        on_pattern_confirmed(link, push.name);
        return;
    case REDIS_PUSH_NOTHING:
        return;
    case REDIS_PUSH_NONE:
        break;
    }
    if (reply->type == BUS_ERROR) {
        fail_with_text(
            link, redis_text_status(reply->text), "the server refuses a channel", reply->text);
    } else {
        link->bus->stats.protocol_errors++;
        fail(link, STATUS_PROTO, "something that is no message on a subscribed connection");
    }
}

static void on_reply(struct bus_link *link, const struct bus_reply *reply)
{
    if (link->state == LINK_UP && link->use == LINK_FOR_CHANNELS &&
        redis_fifo_count(&link->pending) == 0) {
        on_push(link, reply);
    } else {
        on_command_reply(link, reply);
    }
}

/* --- events of the connection -------------------------------------------------------------- */

static void on_connected(void *owner)
{
    struct bus_link *link = owner;
    redis_reader_destroy(link->reader);
    link->reader = redis_reader_create(link->bus->options.reply_max);
    link->subscribes_sent = 0;
    link->subscribes_seen = 0;
    uint64_t deadline = link->state_deadline;
    set_state(link, LINK_SETUP, deadline);
    send_setup(link);
}

static void on_bytes(void *owner, struct bytes bytes)
{
    struct bus_link *link = owner;
    const struct redis_conn *conn = link->conn;
    link->last_received = now_of(link);
    link->pinged = false;
    int status = redis_reader_feed(link->reader, bytes);
    while (status >= 0 && link->conn == conn && link->conn != NULL) {
        const struct bus_reply *reply = NULL;
        status = redis_reader_next(link->reader, &reply);
        if (status <= 0) {
            break;
        }
        on_reply(link, reply);
    }
    if (link->conn != conn || link->state == LINK_CLOSED) {
        return;
    }
    if (status < 0) {
        link->bus->stats.protocol_errors++;
        fail(link, status,
            status == STATUS_TOO_LARGE ? "an answer larger than the limit"
            : status == STATUS_NOMEM   ? "no memory for an answer"
                                       : "the server does not speak the Redis protocol");
    } else {
        arm(link);
    }
}

static void on_failed(void *owner, int status, const char *why)
{
    fail(owner, status, why);
}

static const struct redis_conn_ops conn_ops = {
    .on_connected = on_connected,
    .on_bytes = on_bytes,
    .on_failed = on_failed,
};

/* --- what bus.c calls ---------------------------------------------------------------------- */

struct bus_link *redis_link_open(
    struct redis_bus *bus, const char *name, const struct bus_events *events, void *context)
{
    struct bus_link *link = mem_alloc(sizeof(*link));
    link->bus = bus;
    if (events != NULL) {
        link->events = *events;
    }
    link->context = context;
    link->turn = bus->first_turn;
    snprintf(link->name, sizeof(link->name), "%s", name);
    list_init(&link->work);
    list_append(&bus->links, &link->all);
    map_init(&link->channels, redis_channel_key);
    uv_timer_init(bus->loop, &link->timer);
    link->timer.data = link;
    link->down_since = now_of(link);
    bus->handles++;
    bus->stats.links++;
    set_state(link, LINK_WAITING, now_of(link));
    return link;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct bus_link *link = handle->data;
    struct redis_bus *bus = link->bus;
    redis_reader_destroy(link->reader);
    mem_free(link);
    redis_bus_release(bus);
}

void redis_link_close(struct bus_link *link)
{
    set_state(link, LINK_CLOSED, 0);
    redis_conn_close(link->conn);
    link->conn = NULL;
    list_remove(&link->work);
    list_remove(&link->all);
    if (link->bus->probe == link) {
        link->bus->probe = NULL; /* the next one that is due is it */
    }
    redis_work_answer(link, &link->pending, SIZE_MAX, STATUS_CANCELLED);
    redis_work_answer(link, &link->refused, SIZE_MAX, STATUS_CANCELLED);
    redis_fifo_finish(&link->pending);
    redis_fifo_finish(&link->refused);
    size_t cursor = 0;
    for (void *each; (each = map_next(&link->channels, &cursor)) != NULL;) {
        mem_free(each);
    }
    map_finish(&link->channels);
    link->bus->stats.links--;
    redis_trouble_settle(link->bus);
    uv_close((uv_handle_t *)&link->timer, on_timer_closed);
}

bool redis_link_is_up(const struct bus_link *link)
{
    return link->state == LINK_UP;
}

static bool has_room(const struct bus_link *link, size_t size)
{
    size_t unsent = redis_conn_unsent(link->conn);
    return unsent <= link->bus->options.send_max && size <= link->bus->options.send_max - unsent &&
           redis_fifo_count(&link->pending) < PENDING_MAX;
}

void redis_link_command(struct bus_link *link, const struct bytes *argv, size_t argc,
    uint32_t timeout_ms, bus_reply_fn fn, void *context)
{
    CHECK(link->state != LINK_CLOSED && argc > 0 && link->use != LINK_FOR_CHANNELS);
    link->use = LINK_FOR_COMMANDS;
    struct redis_request request = {
        .fn = fn,
        .context = context,
        .deadline = now_of(link) + (timeout_ms != 0 ? timeout_ms : COMMAND_TIMEOUT_MS),
    };
    if (link->state != LINK_UP || !has_room(link, redis_text_size(argv, argc))) {
        link->bus->stats.refused++;
        redis_fifo_push(&link->refused, request);
        redis_work_mark(link);
        return;
    }
    link->bus->stats.commands++;
    push_command(link, argv, argc, request);
    arm(link);
}

bool redis_link_send(
    struct bus_link *link, struct bytes text, uint32_t timeout_ms, bus_reply_fn fn, void *context)
{
    CHECK(link->state != LINK_CLOSED && link->use != LINK_FOR_CHANNELS);
    link->use = LINK_FOR_COMMANDS;
    if (link->state != LINK_UP || !has_room(link, text.len)) {
        return false;
    }
    link->bus->stats.commands++;
    append(link, (struct redis_request){
                     .fn = fn, .context = context, .deadline = now_of(link) + timeout_ms});
    builder_add(redis_conn_out(link->conn), text);
    redis_work_mark(link);
    arm(link);
    return true;
}

bool redis_link_subscribe(struct bus_link *link, struct bytes name, bool quiet)
{
    CHECK(link->state != LINK_CLOSED && link->use != LINK_FOR_COMMANDS);
    link->use = LINK_FOR_CHANNELS;
    if (map_get(&link->channels, name) != NULL) {
        return true;
    }
    size_t table = map_bytes(&link->channels);
    struct redis_channel *channel = redis_channel_add(&link->channels, name, quiet);
    if (channel == NULL) {
        return false;
    }
    link->bus->stats.channel_bytes +=
        mem_cost(redis_channel_size(name)) + map_bytes(&link->channels) - table;
    if (link->state == LINK_UP) {
        send_subscribe(link, channel);
    }
    return true;
}

void redis_link_unsubscribe(struct bus_link *link, struct bytes name)
{
    CHECK(link->state != LINK_CLOSED);
    struct redis_channel *channel = map_remove(&link->channels, name);
    if (channel == NULL) {
        return;
    }
    if (link->state == LINK_UP) {
        send_channel(link, channel, BYTES("UNSUBSCRIBE"), BYTES("PUNSUBSCRIBE"));
    }
    link->bus->stats.channel_bytes -= mem_cost(redis_channel_size(name));
    mem_free(channel);
}

const char *redis_link_error(const struct bus_link *link, int *ret_status)
{
    *ret_status = link->error_status;
    return link->error;
}

/* A link that is not where the master is, or waits to be told. */
static struct bus_link *find_astray(const struct redis_bus *bus)
{
    list_for_each (each, &bus->links) {
        struct bus_link *link = container_of(each, struct bus_link, all);
        bool waits = link->state == LINK_CONNECTING && link->conn == NULL;
        bool elsewhere =
            link->conn != NULL && !redis_place_equals(&link->place, &bus->master_place);
        if (waits || elsewhere) {
            return link;
        }
    }
    return NULL;
}

void redis_link_follow(struct redis_bus *bus)
{
    CHECK(bus->master_known);
    for (struct bus_link *link = find_astray(bus); link != NULL; link = find_astray(bus)) {
        if (link->conn == NULL) {
            begin_connecting(link);
        } else {
            link->attempts = 0;
            fail(link, STATUS_UNAVAILABLE, "another server is the master now");
        }
    }
    release_waiting(bus);
}

void redis_link_drop(struct bus_link *link, const char *why)
{
    if (link->conn != NULL) {
        fail(link, STATUS_UNAVAILABLE, why);
    }
}
