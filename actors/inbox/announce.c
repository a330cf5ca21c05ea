/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes announcements of what was stored or changed, and sends each to the user's actor here and to
 * the other nodes.
 */
#include "actors/inbox/announce.h"

#include "actors/inbox/announce_queue.h"
#include "actors/order/bus_origin.h"
#include "actors/shard.h"
#include "actors/webhook_note.h"
#include "actors/wire_name.h"
#include "codec/base/mem.h"

/* Takes what is told as its caller has it; version and epoch are filled in here. */
static void announce_send(struct shard *shard, const struct announce *told)
{
    struct builder out = {0};
    struct announce announce = *told;
    announce.version = bus_origin_version(shard);
    announce.epoch = bytes_str(shard->config->epoch);
    announce_encode(&announce, &out);
    struct buf *payload = builder_finish(&out);
    if (payload != NULL) { /* without memory: the recheck finds it */
        char at[WIRE_KEY_MAX];
        bool urgent =
            announce.kind == ANNOUNCE_NEW && announce.item.priority == NOTIFICATION_URGENT;
        announce_queue_add(
            shard, wire_key_user(announce.tenant, announce.user, at), payload, urgent);
    }
}

/* Whoever holds the user asks where the inbox stands. */
static void announce_question(struct shard *shard, struct store_user who)
{
    struct announce announce = {
        .kind = ANNOUNCE_CHECK,
        .tenant = who.tenant,
        .user = who.user,
    };
    announce_send(shard, &announce);
}

void announce_preferences(struct shard *shard, struct store_user who)
{
    announce_question(shard, who);
}

void announce_repeat(struct shard *shard, struct store_user who)
{
    announce_question(shard, who);
}

/* A row that was just stored: unread. Borrows its texts. */
static struct notification_item item_of(const struct store_row *row)
{
    struct notification_item item = {
        .tenant = row->who.tenant,
        .user = row->who.user,
        .seq = row->seq,
        .rev = row->rev,
        .new_rev = row->rev,
        .type = row->type,
        .title = row->title,
        .message = row->message,
        .data = row->data,
        .priority = row->priority,
        .state = NOTIFICATION_UNREAD,
        .created_at = row->first_at,
        .expires_at = row->till,
        .collapse = row->collapse,
        .count = row->count,
        .digest = row->digest,
        .updated_at = row->count > 1 ? row->created_at : 0,
    };
    memcpy(item.id, row->id, sizeof(item.id));
    return item;
}

void announce_row(struct shard *shard, const struct store_row *row)
{
    struct announce announce = {
        .kind = ANNOUNCE_NEW,
        .tenant = row->who.tenant,
        .user = row->who.user,
        .seq = row->head,
        .rev = row->rev,
        .unread = row->unread,
        .unseen = row->unseen,
        .item = item_of(row),
    };
    announce_send(shard, &announce);
    webhook_note_stored(shard, &announce.item);
}

static struct announce change_of(
    enum announce_kind kind, struct store_user who, const struct store_position *position)
{
    return (struct announce){
        .kind = kind,
        .tenant = who.tenant,
        .user = who.user,
        .seq = position->seq,
        .rev = position->rev,
        .unread = position->unread,
        .unseen = position->unseen,
    };
}

/* What all of `changes` have in common, which have one rev. */
static struct announce state_of(struct store_user who, const struct store_position *position,
    const struct notification_change *changes)
{
    struct announce announce = change_of(ANNOUNCE_STATE, who, position);
    announce.state = changes[0].state;
    announce.at = changes[0].at;
    announce.snoozed_until = changes[0].snoozed_until;
    return announce;
}

/* Whoever holds the user reads what the store has: rows as a whole, or more ids than fit. */
static void announce_news(
    struct shard *shard, struct store_user who, const struct store_position *position)
{
    struct announce announce = change_of(ANNOUNCE_CHECK, who, position);
    announce_send(shard, &announce);
}

static void announce_changes(struct shard *shard, struct store_user who,
    const struct store_position *position, const struct notification_change *changes, size_t count)
{
    if (count > ANNOUNCE_CHANGES_MAX) {
        announce_news(shard, who, position);
        return;
    }
    struct announce announce = state_of(who, position, changes);
    announce.changes = changes;
    announce.change_count = (uint32_t)count;
    announce_send(shard, &announce);
}

/* Whether "every one up to" says what a mark has done, so that no ids are sent. */
static bool tells_up_to(const struct store_mark *mark)
{
    bool bulk = mark->id_count == 0 && mark->type.len == 0 && mark->prefix;
    bool erased_all =
        mark->verb == NOTIFICATION_MARK_DELETE && mark->states == NOTIFICATION_ALL_STATES;
    return bulk && (erased_all || notification_mark_tells_up_to(mark->verb));
}

/* Webhooks are told of what was done, not of where it has led. */
static void note_mark(struct shard *shard, const struct store_mark *mark)
{
    static const struct {
        enum notification_verb verb;
        enum webhook_event event;
    } rows[] = {{NOTIFICATION_MARK_SEEN, WEBHOOK_SEEN}, {NOTIFICATION_MARK_READ, WEBHOOK_READ},
        {NOTIFICATION_MARK_ARCHIVE, WEBHOOK_ARCHIVED}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].verb == mark->verb) {
            webhook_note_changed(
                shard, rows[i].event, &mark->who, mark->changes, mark->change_count);
        }
    }
}

void announce_mark(struct shard *shard, const struct store_mark *mark)
{
    const struct store_position *position = &mark->position;
    if (!mark->changed || mark->change_count == 0) {
        return;
    }
    note_mark(shard, mark);
    if (mark->verb == NOTIFICATION_MARK_WAKE || mark->verb == NOTIFICATION_MARK_UNARCHIVE) {
        announce_news(shard, mark->who, position);
    } else if (tells_up_to(mark)) {
        struct announce announce = state_of(mark->who, position, mark->changes);
        announce.up_to = mark->through;
        announce_send(shard, &announce);
    } else {
        announce_changes(shard, mark->who, position, mark->changes, mark->change_count);
    }
}

void announce_swept(struct shard *shard, const struct store_swept *swept)
{
    if (swept->news) {
        announce_news(shard, swept->who, &swept->position);
    } else if (swept->change_count > 0) {
        if (swept->changes[0].state == NOTIFICATION_EXPIRED) { /* all of them */
            webhook_note_changed(
                shard, WEBHOOK_EXPIRED, &swept->who, swept->changes, swept->change_count);
        }
        announce_changes(shard, swept->who, &swept->position, swept->changes, swept->change_count);
    }
}

void announce_edit(struct shard *shard, const struct store_edit *edit)
{
    struct store_user who = {.tenant = edit->item.tenant, .user = edit->item.user};
    if (edit->delivered) {
        return; /* it stayed as it was */
    }
    if (!edit->erase) {
        announce_news(shard, who, &edit->position);
        return;
    }
    struct notification_change change = {.seq = edit->item.seq,
        .rev = edit->position.rev,
        .state = NOTIFICATION_ERASED,
        .at = edit->at};
    memcpy(change.id, edit->id, sizeof(change.id));
    announce_changes(shard, who, &edit->position, &change, 1);
}
