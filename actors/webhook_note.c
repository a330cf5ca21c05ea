/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes what has happened, where somebody wants it.
 */
#include "actors/webhook_note.h"

#include "actors/shard.h"
#include "codec/base/buf.h"
#include "codec/json_write.h"
#include "codec/notification.h"
#include "codec/notification_json.h"
#include "sql/store.h"

/* What stands in front of the name of a webhook in that of its queue (hub/hooks/webhooks.h). */
#define OWN_QUEUES BYTES("webhook.")

const char *webhook_event_name(enum webhook_event event)
{
    static const char *const names[WEBHOOK_EVENT_COUNT] = {
#define X(name, text, help) [WEBHOOK_##name] = text,
#include "actors/webhook_events.def"
#undef X
    };
    return names[event];
}

static bool is_wanted(const struct shard *shard, enum webhook_event event)
{
    return shard->webhooks.tell != NULL && (shard->webhooks.events >> event & 1) != 0;
}

/* Hands over what was written to `data`, and frees it. */
static void tell(
    struct shard *shard, enum webhook_event event, struct bytes tenant, struct builder *data)
{
    const struct webhook_note note = {.event = event,
        .tenant = tenant,
        .at = sched_wall(shard->sched),
        .data = builder_failed(data) ? bytes_of(NULL, 0) : builder_bytes(data)};
    shard->webhooks.tell(shard, &note);
    builder_reset(data);
}

static void write_tenant(struct builder *out, struct bytes tenant)
{
    if (tenant.len > 0) {
        json_write_text(out, "tenant", tenant);
    }
}

void webhook_note_stored(struct shard *shard, const struct notification_item *item)
{
    struct builder out = {0};
    if (!is_wanted(shard, WEBHOOK_STORED)) {
        return;
    }
    json_write_open(&out, '{');
    write_tenant(&out, item->tenant);
    json_write_key(&out, "notification");
    notification_json_item(item, &out);
    json_write_close(&out, '}');
    tell(shard, WEBHOOK_STORED, item->tenant, &out);
}

void webhook_note_posted(struct shard *shard, const struct store_audience_post *post)
{
    struct builder out = {0};
    if (!is_wanted(shard, WEBHOOK_STORED)) {
        return;
    }
    json_write_open(&out, '{');
    write_tenant(&out, post->tenant);
    json_write_key(&out, "audience");
    json_write_open(&out, '{');
    json_write_uuid(&out, "id", post->id);
    json_write_text(&out, "kind", notification_audience_name(post->kind));
    if (post->name.len > 0) {
        json_write_text(&out, "name", post->name);
    }
    json_write_close(&out, '}');
    json_write_key(&out, "notification");
    json_write_open(&out, '{');
    json_write_text(&out, "type", post->type);
    json_write_text(&out, "title", post->title);
    json_write_text(&out, "message", post->message);
    json_write_json(&out, "data", post->data);
    json_write_text(&out, "priority", notification_priority_name(post->priority));
    json_write_time(&out, "createdAt", post->created_at);
    json_write_time(&out, "expiresAt", post->expires_at);
    json_write_close(&out, '}');
    json_write_close(&out, '}');
    tell(shard, WEBHOOK_STORED, post->tenant, &out);
}

void webhook_note_changed(struct shard *shard, enum webhook_event event,
    const struct store_user *who, const struct notification_change *changes, size_t count)
{
    struct builder out = {0};
    if (count == 0 || !is_wanted(shard, event)) {
        return;
    }
    json_write_open(&out, '{');
    write_tenant(&out, who->tenant);
    json_write_text(&out, "userId", who->user);
    json_write_key(&out, "ids");
    json_write_open(&out, '[');
    for (size_t i = 0; i < count; i++) {
        json_write_uuid_item(&out, changes[i].id);
    }
    json_write_close(&out, ']');
    json_write_close(&out, '}');
    tell(shard, event, who->tenant, &out);
}

void webhook_note_job(struct shard *shard, const struct store_job *job)
{
    struct builder out = {0};
    if (!is_wanted(shard, WEBHOOK_JOB_DEAD) || bytes_starts(job->queue, OWN_QUEUES)) {
        return;
    }
    json_write_open(&out, '{');
    write_tenant(&out, job->tenant);
    json_write_uuid(&out, "id", job->id);
    json_write_text(&out, "queue", job->queue);
    json_write_text(&out, "type", job->type);
    if (job->user.len > 0) {
        json_write_text(&out, "user", job->user);
    }
    json_write_u64(&out, "attempt", job->attempt);
    json_write_text(&out, "error", job->error);
    json_write_close(&out, '}');
    tell(shard, WEBHOOK_JOB_DEAD, job->tenant, &out);
}
