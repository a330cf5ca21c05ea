/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps what a connected user wants. Order of this file: what is known, silence, what clients ask.
 */
#include "actors/inbox/inbox_preferences.h"

#include "actors/deliver/call.h"
#include "actors/deliver/socket.h"
#include "actors/inbox/announce.h"
#include "actors/inbox/inbox.h"
#include "actors/inbox/inbox_request.h"
#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_write.h"
#include "codec/preferences.h"
#include "codec/server_events.h"

/* Types that are counted at a time: all that a user may name, and as many of the configuration. */
enum { WINDOWS_MAX = 2 * PREFERENCES_TYPES_MAX };

/* How many of a type with a limit were told since the first of them. */
struct window {
    uint64_t type; /* hash of its name */
    uint64_t since_ms;
    uint32_t count;
};

struct inbox_preferences {
    uint64_t rev; /* of `own` in the store */
    struct preferences *own; /* NULL: the user says nothing */
    struct window *windows;
    uint32_t window_count;
    bool hidden; /* from other users */
    bool reading;
    bool again; /* something has changed since it was begun */
    void (*loaded)(struct inbox *inbox, int status);
};

/* What is known. */

static struct inbox_preferences *of(struct inbox *inbox)
{
    if (inbox->preferences == NULL) {
        inbox->preferences = mem_alloc(sizeof(*inbox->preferences));
        shard_of(&inbox->owner.actor)->stats.waiting_bytes += mem_cost(sizeof(*inbox->preferences));
    }
    return inbox->preferences;
}

static void account(struct inbox *inbox, size_t before, size_t after)
{
    struct shard_stats *stats = &shard_of(&inbox->owner.actor)->stats;
    stats->waiting_bytes += after > 0 ? mem_cost(after) : 0;
    stats->waiting_bytes -= before > 0 ? mem_cost(before) : 0;
}

static void replace(struct inbox *inbox, struct preferences *own)
{
    struct inbox_preferences *known = of(inbox);
    account(inbox, preferences_size(known->own), preferences_size(own));
    preferences_destroy(known->own);
    known->own = own;
}

void inbox_preferences_drop(struct inbox *inbox)
{
    struct inbox_preferences *known = inbox->preferences;
    if (known == NULL) {
        return;
    }
    replace(inbox, NULL);
    account(inbox, known->window_count * sizeof(*known->windows), 0);
    account(inbox, sizeof(*known), 0);
    mem_free(known->windows);
    mem_free(known);
    inbox->preferences = NULL;
}

static void tell_changed(struct inbox *inbox)
{
    const struct inbox_preferences *known = inbox->preferences;
    struct builder text = {0};
    json_write_open(&text, '{');
    preferences_answer(
        known->own, shard_of(&inbox->owner.actor)->config->preferences, known->rev, &text);
    json_write_close(&text, '}');
    inbox_tell(inbox, server_events_preferences(&text), 0);
}

/* What the store has. Who cannot be understood says nothing: else nobody would be served for it. */
static int load(
    struct shard *shard, const struct store_preference *stored, struct preferences **ret_own)
{
    unsigned suppressed;
    *ret_own = NULL;
    if (stored->body.len == 0) {
        return 0;
    }
    int status = preferences_load(stored->body, &shard->config->zones, ret_own);
    if (status == 0 || status == STATUS_NOMEM) {
        return status;
    }
    if (log_allow(&shard->preferences_log, &suppressed)) {
        log_warn("PREFERENCES-UNREADABLE",
            "stored preferences cannot be read and count as none until they are set again",
            "user=%s tenant=%s rev=%llu why=%s suppressed=%u", log_quote(stored->who.user),
            log_quote(stored->who.tenant), (unsigned long long)stored->rev, status_name(status),
            suppressed);
    }
    return 0;
}

static void on_read(struct inbox *inbox, struct inbox_request *request);

static void read_store(struct inbox *inbox)
{
    struct inbox_request *request = inbox_request_create(inbox, STORE_PREFERENCE_READ, on_read);
    inbox->preferences->reading = true;
    inbox->preferences->again = false;
    request->store.preference.who = inbox_request_who(request);
    inbox_request_submit(request);
}

static void on_read(struct inbox *inbox, struct inbox_request *request)
{
    const struct store_preference *read = &request->store.preference;
    struct inbox_preferences *known = of(inbox);
    struct preferences *own = NULL;
    int status = read->base.status;
    known->reading = false;
    if (known->again) {
        read_store(inbox);
        return;
    }
    if (status == 0) {
        status = load(request->shard, read, &own);
    }
    if (status == 0 && read->rev > known->rev) { /* a standby that lags has older ones */
        replace(inbox, own);
        known->hidden = read->hidden;
        known->rev = read->rev;
        if (inbox->phase == INBOX_READY) {
            tell_changed(inbox);
        }
    } else {
        preferences_destroy(own);
    }
    known->loaded(inbox, status);
}

bool inbox_preferences_know(
    struct inbox *inbox, uint64_t rev, void (*loaded)(struct inbox *inbox, int status))
{
    if (rev <= (inbox->preferences != NULL ? inbox->preferences->rev : 0)) {
        return true;
    }
    struct inbox_preferences *known = of(inbox);
    known->loaded = loaded;
    if (known->reading) {
        known->again = true;
    } else {
        read_store(inbox);
    }
    return false;
}

bool inbox_preferences_hide(const struct inbox *inbox)
{
    return inbox->preferences != NULL && inbox->preferences->hidden;
}

/* Silence. */

/* The window of a type: its own, or one that ended long ago. NULL: no memory, or too many. */
static struct window *find_window(struct inbox *inbox, uint64_t type)
{
    struct inbox_preferences *known = of(inbox);
    struct window *oldest = known->windows;
    for (uint32_t i = 0; i < known->window_count; i++) {
        struct window *window = &known->windows[i];
        if (window->type == type) {
            return window;
        }
        oldest = window->since_ms < oldest->since_ms ? window : oldest;
    }
    if (known->window_count < WINDOWS_MAX) {
        size_t size = known->window_count * sizeof(*known->windows);
        struct window *grown = mem_try_realloc(known->windows, size + sizeof(*grown));
        if (grown == NULL) {
            return NULL;
        }
        account(inbox, size, size + sizeof(*grown));
        known->windows = grown;
        oldest = &grown[known->window_count++];
    }
    *oldest = (struct window){.type = type};
    return oldest;
}

/* Whether more of the type were told than its limit has, within a time from the first one. */
static bool is_over(
    struct inbox *inbox, const struct preferences_type *type, uint64_t now_ms, bool counts)
{
    struct window *window = find_window(inbox, hash_bytes(type->name));
    if (window == NULL) {
        return false;
    }
    if (window->count == 0 || now_ms - window->since_ms >= type->limit_ms) {
        window->since_ms = now_ms;
        window->count = 0;
    }
    window->count += counts && window->count < UINT32_MAX;
    return window->count > type->limit_count;
}

bool inbox_preferences_silence(
    struct inbox *inbox, const struct notification_item *item, bool counts)
{
    const struct shard *shard = shard_of(&inbox->owner.actor);
    const struct preferences *defaults = shard->config->preferences;
    const struct preferences *own = inbox->preferences != NULL ? inbox->preferences->own : NULL;
    uint64_t now_ms = sched_wall(shard->sched);
    struct preferences_type type;
    bool told = item->seq <= inbox->seq; /* else several came at once, none of which was heard */
    bool joins = told && item->digest.len > 0 && item->count > 1 && item->resurfaced_at == 0;
    if (item->priority == NOTIFICATION_URGENT) {
        return false;
    }
    if (joins) {
        return true; /* the first one was heard */
    }
    preferences_of_type(own, defaults, item->type, &type);
    bool over = type.limit_count > 0 && is_over(inbox, &type, now_ms, counts);
    return over || preferences_are_quiet(own, defaults, now_ms);
}

/* What clients ask. */

int inbox_preferences_write(
    struct shard *shard, const struct store_preference *stored, struct builder *out)
{
    struct preferences *own;
    int status = load(shard, stored, &own);
    if (status == 0) {
        preferences_answer(own, shard->config->preferences, stored->rev, out);
    }
    preferences_destroy(own);
    return status;
}

static void refuse(struct inbox *inbox, const struct inbox_request *request, const char *message)
{
    struct socket *socket = owner_socket(&inbox->owner, request->socket_id);
    if (socket != NULL) {
        call_refuse_event(socket, request->has_id ? &request->id : NULL, bytes_str(request->event),
            &(struct call_refusal){.code = ERROR_UNAVAILABLE, .message = message});
    }
}

static void on_answered(struct inbox *inbox, struct inbox_request *request)
{
    const struct store_preference *preference = &request->store.preference;
    struct socket *socket = owner_socket(&inbox->owner, request->socket_id);
    struct builder text = {0};
    if (preference->base.status != 0) {
        refuse(inbox, request, "The store is not available, try again");
        return;
    }
    json_write_open(&text, '{');
    json_write_bool(&text, "ok", true);
    int status = inbox_preferences_write(request->shard, preference, &text);
    json_write_close(&text, '}');
    if (status != 0 || builder_failed(&text)) {
        refuse(inbox, request, "Out of memory, try again");
    } else if (socket != NULL && request->has_id) {
        socket_ack(socket, request->id, builder_bytes(&text));
    }
    builder_reset(&text);
}

static struct inbox_request *new_request(const struct client_call *call, enum store_op op,
    void (*done)(struct inbox *inbox, struct inbox_request *request))
{
    struct inbox_request *request = inbox_request_create(inbox_of(call->socket->user), op, done);
    request->socket_id = call->socket->id;
    request->has_id = call->has_id;
    request->id = call->id;
    memcpy(request->event, call->event->name.at, call->event->name.len);
    request->store.preference.who = inbox_request_who(request);
    return request;
}

void inbox_preferences_get(const struct client_call *call)
{
    inbox_request_submit(new_request(call, STORE_PREFERENCE_READ, on_answered));
}

/* All nodes with the user read them, also when the one that asked has gone. */
static void announce_written(struct inbox_request *request)
{
    announce_preferences(request->shard, request->store.preference.who);
}

void inbox_preferences_set(const struct client_call *call)
{
    const struct actor_config *config = call->socket->shard->config;
    struct preferences *own;
    struct preferences_fault fault;
    struct builder stored = {0};
    int status = preferences_parse(call_argument(call->event), &config->zones, &own, &fault);
    if (status != 0) {
        const struct call_refusal refusal = {
            .code = status == STATUS_NOMEM       ? ERROR_UNAVAILABLE
                    : status == STATUS_TOO_LARGE ? ERROR_TOO_LARGE
                                                 : ERROR_INVALID_FIELD,
            .message = fault.message,
            .field = fault.field[0] != '\0' ? fault.field : NULL,
        };
        call_refuse_event(
            call->socket, call->has_id ? &call->id : NULL, call->event->name, &refusal);
        return;
    }
    preferences_store(own, &stored);
    preferences_destroy(own);
    struct buf *text = builder_finish(&stored);
    if (text == NULL) {
        call_refuse(call, ERROR_UNAVAILABLE, "Out of memory, try again");
        return;
    }
    struct inbox_request *request = new_request(call, STORE_PREFERENCE_WRITE, on_answered);
    request->text = text;
    request->store.preference.body = buf_bytes(text);
    request->carried_out = announce_written;
    inbox_request_submit(request);
}

/* It holds here before it is answered, though all else of that rev is still to be read. */
static void hide(struct inbox *inbox, const struct store_preference *written)
{
    if (written->rev > of(inbox)->rev) {
        of(inbox)->hidden = written->hidden;
        shard_of(&inbox->owner.actor)->owners->show(&inbox->owner, written->hidden);
    }
}

static void on_hidden(struct inbox *inbox, struct inbox_request *request)
{
    struct socket *socket = owner_socket(&inbox->owner, request->socket_id);
    if (request->store.preference.base.status != 0) {
        refuse(inbox, request, "The store is not available, try again");
        return;
    }
    hide(inbox, &request->store.preference);
    if (socket != NULL && request->has_id) {
        socket_ack(socket, request->id,
            request->store.preference.hidden ? BYTES("{\"ok\":true,\"visible\":false}")
                                             : BYTES("{\"ok\":true,\"visible\":true}"));
    }
}

void inbox_preferences_set_hidden(const struct client_call *call, bool hidden)
{
    struct inbox_request *request = new_request(call, STORE_PREFERENCE_WRITE, on_hidden);
    request->store.preference.hides = true;
    request->store.preference.hidden = hidden;
    request->carried_out = announce_written;
    inbox_request_submit(request);
}
