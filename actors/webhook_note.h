/* SPDX-License-Identifier: Apache-2.0 */
/*
 * webhook_note - what has happened that webhooks are told of: written here as JSON, taken in by
 * hub/ (hub/hooks/webhooks.h), which has it delivered.
 *
 * Who changes something calls these behind the commit, with the shard whose turn it is. Nothing is
 * written of what no webhook wants.
 */
#ifndef ACTORS_WEBHOOK_NOTE_H
#define ACTORS_WEBHOOK_NOTE_H

#include <stddef.h>

#include "actors/webhook_event.h"

struct notification_change;
struct notification_item;
struct shard;
struct store_audience_post;
struct store_job;
struct store_user;

/* The name of an event, static ("notification.read"). Any thread. */
const char *webhook_event_name(enum webhook_event event);

/* An inbox has a new row. */
void webhook_note_stored(struct shard *shard, const struct notification_item *item);

/* A post to many was stored. */
void webhook_note_posted(struct shard *shard, const struct store_audience_post *post);

/* Rows of an inbox have changed, by their ids; `event` says how. */
void webhook_note_changed(struct shard *shard, enum webhook_event event,
    const struct store_user *who, const struct notification_change *changes, size_t count);

/* A job is dead. Those of webhooks themselves are not told of: they would never end. */
void webhook_note_job(struct shard *shard, const struct store_job *job);

#endif
