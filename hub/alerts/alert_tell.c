/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logs, publishes, stores and posts. Order of this file: what is told, the log, whom, rooms, users,
 * targets.
 */
#include "hub/alerts/alert_tell.h"

#include <stdio.h>
#include <string.h>

#include "actors/inbox/post.h"
#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_write.h"
#include "hub/alerts/alert_hook.h"

/* --- what is told --- */

static struct bytes state_of(const struct alert_event *event)
{
    return event->resolved ? BYTES("resolved") : BYTES("firing");
}

static void write_event(const struct alert_event *event, struct builder *out)
{
    json_write_open(out, '{');
    json_write_text(out, "alert", bytes_str(event->name));
    json_write_text(out, "state", state_of(event));
    json_write_text(out, "when", bytes_str(event->when));
    json_write_text(out, "value", bytes_str(event->value));
    json_write_time(out, "since", event->since_ms);
    json_write_time(out, "at", event->at_ms);
    json_write_text(out, "node", bytes_str(event->node));
    json_write_close(out, '}');
}

/* --- the log --- */

static void tell_log(const struct alert_event *event)
{
    enum log_level level = event->resolved ? LOG_INFO : LOG_WARN;
    uint64_t ms = event->at_ms > event->since_ms ? event->at_ms - event->since_ms : 0;
    log_write(level, event->resolved ? "ALERT-RESOLVED" : "ALERT-FIRING",
        event->resolved ? "an alert is over" : "an alert fires",
        "alert=%s when=%s value=%s after_ms=%llu", log_quote(bytes_str(event->name)),
        log_quote(bytes_str(event->when)), log_quote(bytes_str(event->value)),
        (unsigned long long)ms);
}

/* --- whom --- */

/* Where a target leads: whose, and who. */
struct address {
    struct bytes tenant;
    struct bytes name;
};

static struct address address_of(const struct shard *shard, struct bytes text)
{
    const char *slash =
        shard->config->tenants && text.len > 0 ? memchr(text.at, '/', text.len) : NULL;
    size_t len = slash != NULL ? (size_t)(slash - text.at) : 0;
    return (struct address){
        .tenant = bytes_of(text.at, len), .name = slash != NULL ? bytes_skip(text, len + 1) : text};
}

/* --- rooms --- */

static int tell_room(struct shard *shard, const struct alert_event *event, struct bytes room)
{
    struct address to = address_of(shard, room);
    struct builder args = {0};
    json_write_open(&args, '[');
    json_write_next(&args);
    write_event(event, &args);
    json_write_close(&args, ']');
    const struct notification_post post = {
        .is_event = true,
        .target = NOTIFICATION_ROOMS,
        .targets = &to.name,
        .target_count = 1,
        .tenant = to.tenant,
        .event = BYTES("alert"),
        .args = builder_bytes(&args),
        .priority = NOTIFICATION_URGENT,
    };
    int status = builder_failed(&args) ? builder_status(&args) : post_event(shard, &post);
    builder_reset(&args);
    return status;
}

/* --- users --- */

/* A notification that is being stored. */
struct telling {
    struct store_put put;
    struct store_row row;
    struct shard *shard;
    struct alert_listener how;
    struct builder target;
    struct builder title;
    struct builder message;
    struct builder data;
    struct builder key;
};

static void free_telling(struct telling *telling)
{
    builder_reset(&telling->target);
    builder_reset(&telling->title);
    builder_reset(&telling->message);
    builder_reset(&telling->data);
    builder_reset(&telling->key);
    mem_free(telling);
}

static void on_stored(struct store_request *request)
{
    struct telling *telling = container_of(request, struct telling, put.base);
    telling->how.told.good = request->status == 0;
    if (request->status == 0) {
        post_announce(telling->shard, &telling->row, 1);
    }
    store_request_finish(request);
    telling->how.fn(telling->how.context, &telling->how.told);
    free_telling(telling);
}

static void write_texts(struct telling *telling, const struct alert_event *event)
{
    builder_printf(&telling->title, "%s %s", event->name, event->resolved ? "is over" : "fires");
    builder_printf(&telling->message, "%s%s%s", event->when, event->value[0] != '\0' ? ": " : "",
        event->value);
    write_event(event, &telling->data);
    builder_printf(
        &telling->key, "alert:%s:%llu:", event->name, (unsigned long long)event->since_ms);
    builder_add(&telling->key, state_of(event));
}

/* The row of it; it borrows from the texts. */
static int make_row(struct telling *telling, struct bytes user)
{
    struct address to = address_of(telling->shard, user);
    const struct notification_post post = {
        .target = NOTIFICATION_USERS,
        .targets = &to.name,
        .target_count = 1,
        .tenant = to.tenant,
        .key = builder_bytes(&telling->key),
        .type = BYTES("alert"),
        .title = builder_bytes(&telling->title),
        .message = builder_bytes(&telling->message),
        .data = builder_bytes(&telling->data),
        .priority = NOTIFICATION_HIGH,
    };
    bool failed = builder_failed(&telling->title) || builder_failed(&telling->message) ||
                  builder_failed(&telling->data) || builder_failed(&telling->key) ||
                  builder_failed(&telling->target);
    return failed ? STATUS_NOMEM
                  : post_rows(telling->shard, &post, builder_bytes(&telling->key), &telling->row);
}

static int tell_user(struct shard *shard, const struct alert_event *event, struct bytes user,
    const struct alert_listener *how)
{
    if (shard->store == NULL) {
        return STATUS_UNAVAILABLE;
    }
    struct telling *telling = mem_alloc(sizeof(*telling));
    telling->shard = shard;
    telling->how = *how;
    builder_add(&telling->target, user);
    write_texts(telling, event);
    int status = make_row(telling, builder_bytes(&telling->target));
    if (status != 0) {
        free_telling(telling);
        return status;
    }
    telling->put = (struct store_put){
        .base = {.op = STORE_PUT, .done = on_stored}, .rows = &telling->row, .count = 1};
    store_submit(shard->store, &telling->put.base);
    return STATUS_AGAIN;
}

/* --- targets --- */

static bool is_of(const char *target, const char *kind, struct bytes *ret_rest)
{
    struct bytes text = bytes_str(target);
    struct bytes prefix = bytes_str(kind);
    if (!bytes_starts(text, prefix) || text.len == prefix.len) {
        return false;
    }
    *ret_rest = bytes_skip(text, prefix.len);
    return true;
}

static int tell_hook(struct alert_hooks *hooks, const struct alert_event *event, struct bytes name,
    const struct alert_listener *how)
{
    struct builder text = {0};
    write_event(event, &text);
    int status = builder_failed(&text)
                     ? builder_status(&text)
                     : alert_hooks_tell(hooks, name, event, builder_bytes(&text), how);
    builder_reset(&text);
    return status;
}

int alert_tell(const struct alert_teller *teller, const struct alert_event *event,
    const char *target, unsigned place)
{
    struct bytes rest;
    struct alert_listener how = {.fn = teller->fn,
        .context = teller->context,
        .told = {.since_ms = event->since_ms, .resolved = event->resolved, .place = place}};
    (void)snprintf(how.told.name, sizeof(how.told.name), "%s", event->name);
    if (is_of(target, "room:", &rest)) {
        return tell_room(teller->shard, event, rest);
    }
    if (is_of(target, "user:", &rest)) {
        return tell_user(teller->shard, event, rest, &how);
    }
    if (is_of(target, "hook:", &rest)) {
        return tell_hook(teller->hooks, event, rest, &how);
    }
    tell_log(event);
    return 0;
}
