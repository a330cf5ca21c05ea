/* SPDX-License-Identifier: Apache-2.0 */
/*
 * announce - the layout of the arrays:
 *
 *     [version, epoch, kind, tenant, user, seq, rev, unread, unseen, body]
 *     body of NEW:   [id, seq, rev, type, title, message, data, priority, state, created_at,
 *                     expires_at, read_at, seen_at, archived_at, collapse, count, updated_at,
 *                     digest]
 *     body of STATE: [state, at, snoozed_until, up_to, [[id, seq, rev, state, at], …]]
 *     body of CHECK: nil
 */
#include "codec/announce.h"

#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/notification_digest.h"

enum { FIELDS = 10, VIEW_FIELDS = 18, STATE_FIELDS = 5, CHANGE_FIELDS = 5 };

static void pack_id(struct builder *out, const uint8_t id[NOTIFICATION_ID_LEN])
{
    mp_pack_bin(out, bytes_of(id, NOTIFICATION_ID_LEN));
}

static void pack_item(struct builder *out, const struct notification_item *item)
{
    mp_pack_array(out, VIEW_FIELDS);
    pack_id(out, item->id);
    mp_pack_u64(out, item->seq);
    mp_pack_u64(out, item->rev);
    mp_pack_str(out, item->type);
    mp_pack_str(out, item->title);
    mp_pack_str(out, item->message);
    mp_pack_str(out, item->data);
    mp_pack_u64(out, (uint64_t)item->priority);
    mp_pack_u64(out, (uint64_t)item->state);
    mp_pack_u64(out, item->created_at);
    mp_pack_u64(out, item->expires_at);
    mp_pack_u64(out, item->read_at);
    mp_pack_u64(out, item->seen_at);
    mp_pack_u64(out, item->archived_at);
    mp_pack_str(out, item->collapse);
    mp_pack_u64(out, item->count);
    mp_pack_u64(out, item->updated_at);
    mp_pack_str(out, item->digest);
}

static void pack_state(struct builder *out, const struct announce *announce)
{
    mp_pack_array(out, STATE_FIELDS);
    mp_pack_u64(out, (uint64_t)announce->state);
    mp_pack_u64(out, announce->at);
    mp_pack_u64(out, announce->snoozed_until);
    mp_pack_u64(out, announce->up_to);
    mp_pack_array(out, announce->change_count);
    for (uint32_t i = 0; i < announce->change_count; i++) {
        const struct notification_change *change = &announce->changes[i];
        mp_pack_array(out, CHANGE_FIELDS);
        pack_id(out, change->id);
        mp_pack_u64(out, change->seq);
        mp_pack_u64(out, change->rev);
        mp_pack_u64(out, (uint64_t)change->state);
        mp_pack_u64(out, change->at);
    }
}

void announce_encode(const struct announce *announce, struct builder *out)
{
    mp_pack_array(out, FIELDS);
    mp_pack_u64(out, announce->version);
    mp_pack_str(out, announce->epoch);
    mp_pack_u64(out, (uint64_t)announce->kind);
    mp_pack_str(out, announce->tenant);
    mp_pack_str(out, announce->user);
    mp_pack_u64(out, announce->seq);
    mp_pack_u64(out, announce->rev);
    mp_pack_u64(out, announce->unread);
    mp_pack_u64(out, announce->unseen);
    if (announce->kind == ANNOUNCE_NEW) {
        pack_item(out, &announce->item);
    } else if (announce->kind == ANNOUNCE_STATE) {
        pack_state(out, announce);
    } else {
        mp_pack_nil(out);
    }
}

/* Reading: `bad` is sticky and checked once per level. */
struct take {
    struct mp_reader *reader;
    bool bad;
};

static uint64_t take_u64(struct take *take, uint64_t max)
{
    uint64_t value = 0;
    if (take->bad || mp_u64(take->reader, &value) < 0 || value > max) {
        take->bad = true;
        return 0;
    }
    return value;
}

static struct bytes take_str(struct take *take)
{
    struct bytes text = {0};
    take->bad = take->bad || mp_str(take->reader, &text) < 0;
    return text;
}

static void take_id(struct take *take, uint8_t ret_id[NOTIFICATION_ID_LEN])
{
    struct bytes id = {0};
    if (take->bad || mp_bin(take->reader, &id) < 0 || id.len != NOTIFICATION_ID_LEN) {
        take->bad = true;
        return;
    }
    memcpy(ret_id, id.at, NOTIFICATION_ID_LEN);
}

static void take_array(struct take *take, uint32_t fields)
{
    uint32_t count = 0;
    take->bad = take->bad || mp_array(take->reader, &count) < 0 || count != fields;
}

static void take_nil(struct take *take)
{
    struct mp_value value;
    take->bad = take->bad || mp_next(take->reader, &value) < 0 || value.type != MP_NIL;
}

static enum notification_state take_state(struct take *take)
{
    return (enum notification_state)take_u64(take, NOTIFICATION_STATE_COUNT - 1);
}

static void take_item(struct take *take, struct announce *announce)
{
    struct notification_item *item = &announce->item;
    item->tenant = announce->tenant;
    item->user = announce->user;
    take_array(take, VIEW_FIELDS);
    take_id(take, item->id);
    item->seq = take_u64(take, UINT64_MAX);
    item->rev = take_u64(take, UINT64_MAX);
    item->new_rev = item->rev; /* it was just stored */
    item->type = take_str(take);
    item->title = take_str(take);
    item->message = take_str(take);
    item->data = take_str(take);
    /* It goes out to clients as it is. */
    take->bad = take->bad ||
                (item->data.len > 0 && json_scan_text(item->data, DEPTH_ACCEPTED, NULL, NULL) < 0);
    item->priority = (enum notification_priority)take_u64(take, NOTIFICATION_PRIORITY_COUNT - 1);
    item->state = take_state(take);
    item->created_at = take_u64(take, UINT64_MAX);
    item->expires_at = take_u64(take, UINT64_MAX);
    item->read_at = take_u64(take, UINT64_MAX);
    item->seen_at = take_u64(take, UINT64_MAX);
    item->archived_at = take_u64(take, UINT64_MAX);
    item->collapse = take_str(take);
    item->count = take_u64(take, UINT64_MAX);
    item->updated_at = take_u64(take, UINT64_MAX);
    item->digest = take_str(take);
    take->bad = take->bad || !notification_digest_is_valid(item->digest);
}

static void take_change(struct take *take, struct notification_change *change)
{
    take_array(take, CHANGE_FIELDS);
    take_id(take, change->id);
    change->seq = take_u64(take, UINT64_MAX);
    change->rev = take_u64(take, UINT64_MAX);
    change->state = take_state(take);
    change->at = take_u64(take, UINT64_MAX);
}

/* The head, and all changes once, so that announce_next_change cannot fail. */
static void take_changes(struct take *take, struct announce *announce)
{
    take_array(take, STATE_FIELDS);
    announce->state = take_state(take);
    announce->at = take_u64(take, UINT64_MAX);
    announce->snoozed_until = take_u64(take, UINT64_MAX);
    announce->up_to = take_u64(take, UINT64_MAX);
    uint32_t count = 0;
    if (take->bad || mp_array(take->reader, &count) < 0 || count > ANNOUNCE_CHANGES_MAX) {
        take->bad = true;
        return;
    }
    announce->change_count = count;
    announce->reader = *take->reader;
    for (uint32_t i = 0; i < count && !take->bad; i++) {
        struct notification_change change;
        take_change(take, &change);
    }
}

static int take_origin(
    struct mp_reader *reader, uint32_t *ret_count, uint64_t *ret_version, struct bytes *ret_epoch)
{
    bool good = mp_array(reader, ret_count) == 0 && *ret_count >= 2 &&
                mp_u64(reader, ret_version) == 0 && mp_str(reader, ret_epoch) == 0;
    return good ? 0 : STATUS_INVALID;
}

int announce_origin(struct bytes payload, uint64_t *ret_version, struct bytes *ret_epoch)
{
    struct mp_reader reader = {.rest = payload};
    uint32_t count;
    return take_origin(&reader, &count, ret_version, ret_epoch);
}

int announce_decode(struct bytes payload, struct announce *ret_announce)
{
    struct mp_reader reader = {.rest = payload};
    struct take take = {.reader = &reader};
    struct announce announce = {0};
    uint32_t count = 0;
    int status = mp_check(payload, MP_DEPTH_MAX, NULL);
    status = status < 0 ? status : take_origin(&reader, &count, &announce.version, &announce.epoch);
    if (status < 0 || count != FIELDS) {
        return status < 0 ? status : STATUS_INVALID;
    }
    announce.kind = (enum announce_kind)take_u64(&take, ANNOUNCE_CHECK);
    announce.tenant = take_str(&take);
    announce.user = take_str(&take);
    announce.seq = take_u64(&take, UINT64_MAX);
    announce.rev = take_u64(&take, UINT64_MAX);
    announce.unread = take_u64(&take, UINT64_MAX);
    announce.unseen = take_u64(&take, UINT64_MAX);
    if (announce.kind == ANNOUNCE_NEW) {
        take_item(&take, &announce);
    } else if (announce.kind == ANNOUNCE_STATE) {
        take_changes(&take, &announce);
    } else {
        take_nil(&take);
    }
    if (take.bad || announce.user.len == 0) {
        return STATUS_INVALID;
    }
    *ret_announce = announce;
    return 0;
}

bool announce_next_change(struct announce *announce, struct notification_change *ret_change)
{
    struct take take = {.reader = &announce->reader};
    if (announce->change_count == 0) {
        return false;
    }
    announce->change_count--;
    take_change(&take, ret_change);
    return !take.bad;
}
