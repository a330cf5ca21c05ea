/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request each, over connections of its own; whether it is tried again is said by who asks.
 */
#include "hub/alerts/alert_hook.h"

#include <stdio.h>
#include <string.h>

#include "codec/base/buf.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_write.h"
#include "hub/hooks/hooks.h"
#include "hub/hooks/signature.h"
#include "hub/net/outgoing.h"

enum { UNDER_WAY = 4, WAITING = 64, ANSWER_MAX = 65536, ID_MAX = 128, LINE_MAX_LEN = 160 };

struct alert_hooks {
    struct outgoing *outgoing;
    const struct hook_settings *settings;
    struct outgoing_endpoint endpoints[HOOKS_MAX]; /* by the place of the hook in the settings */
};

/* A request. */
struct post {
    struct outgoing_request request;
    struct alert_listener how;
    struct builder url;
    struct builder body;
    struct builder signature; /* the header */
    char id[LINE_MAX_LEN];
    char timestamp[LINE_MAX_LEN];
    const char *lines[4];
};

static void free_post(struct post *post)
{
    builder_reset(&post->url);
    builder_reset(&post->body);
    builder_reset(&post->signature);
    builder_reset(&post->request.answer);
    mem_free(post);
}

static void on_done(struct outgoing_request *request)
{
    struct post *post = container_of(request, struct post, request);
    post->how.told.good =
        request->end == OUTGOING_ANSWERED && request->status >= 200 && request->status < 300;
    post->how.fn(post->how.context, &post->how.told);
    free_post(post);
}

static void write_body(struct post *post, const struct alert_event *event, struct bytes text)
{
    json_write_open(&post->body, '{');
    json_write_text(
        &post->body, "type", event->resolved ? BYTES("alert.resolved") : BYTES("alert.firing"));
    json_write_time(&post->body, "timestamp", event->at_ms);
    json_write_json(&post->body, "data", text);
    json_write_close(&post->body, '}');
}

static void sign(
    struct post *post, const struct alert_event *event, const struct hook_options *options)
{
    char id[ID_MAX];
    uint64_t now_s = event->at_ms / 1000;
    (void)snprintf(id, sizeof(id), "alert_%.64s_%llu_%s", event->name,
        (unsigned long long)event->since_ms, event->resolved ? "resolved" : "firing");
    (void)snprintf(post->id, sizeof(post->id), "webhook-id: %s", id);
    (void)snprintf(post->timestamp, sizeof(post->timestamp), "webhook-timestamp: %llu",
        (unsigned long long)now_s);
    builder_str(&post->signature, "webhook-signature: ");
    signature_write(options->secrets, options->secret_count, bytes_str(id), now_s,
        builder_bytes(&post->body), &post->signature);
    builder_byte(&post->signature, '\0');
    post->lines[0] = "Content-Type: application/json";
    post->lines[1] = post->id;
    post->lines[2] = post->timestamp;
    post->lines[3] = builder_bytes(&post->signature).at;
}

static int begin(struct alert_hooks *hooks, struct post *post, unsigned place)
{
    builder_str(&post->url, hooks->settings->items[place].url);
    builder_byte(&post->url, '\0');
    if (builder_failed(&post->url) || builder_failed(&post->body) ||
        builder_failed(&post->signature)) {
        return STATUS_NOMEM;
    }
    hooks->endpoints[place].under_way_max = UNDER_WAY;
    hooks->endpoints[place].waiting_max = WAITING;
    post->request.endpoint = &hooks->endpoints[place];
    post->request.url = builder_bytes(&post->url).at;
    post->request.headers = post->lines;
    post->request.header_count = ARRAY_LEN(post->lines);
    post->request.body = builder_bytes(&post->body);
    post->request.timeout_ms = hooks->settings->items[place].timeout_ms;
    post->request.answer_max = ANSWER_MAX;
    post->request.done = on_done;
    return outgoing_begin(hooks->outgoing, &post->request);
}

int alert_hooks_tell(struct alert_hooks *hooks, struct bytes name, const struct alert_event *event,
    struct bytes text, const struct alert_listener *how)
{
    unsigned place = 0;
    while (
        place < hooks->settings->count && !bytes_eq_str(name, hooks->settings->items[place].name)) {
        place++;
    }
    if (place == hooks->settings->count) {
        return STATUS_NOT_FOUND;
    }
    struct post *post = mem_alloc(sizeof(*post));
    post->how = *how;
    write_body(post, event, text);
    sign(post, event, &hooks->settings->items[place]);
    int status = begin(hooks, post, place);
    if (status != 0) {
        free_post(post);
        return status;
    }
    return STATUS_AGAIN;
}

void alert_hooks_set(struct alert_hooks *hooks, const struct hook_settings *settings)
{
    hooks->settings = settings;
    outgoing_set(hooks->outgoing, settings->guard, settings->ca);
}

struct alert_hooks *alert_hooks_open(struct loop *loop, const struct hook_settings *settings)
{
    struct alert_hooks *hooks = mem_alloc(sizeof(*hooks));
    hooks->outgoing = outgoing_open(loop);
    alert_hooks_set(hooks, settings);
    return hooks;
}

void alert_hooks_close(struct alert_hooks *hooks)
{
    outgoing_close(hooks->outgoing);
}

uint64_t alert_hooks_count_open(const struct alert_hooks *hooks)
{
    return outgoing_count_open(hooks->outgoing);
}

void alert_hooks_destroy(struct alert_hooks *hooks)
{
    outgoing_destroy(hooks->outgoing);
    mem_free(hooks);
}
