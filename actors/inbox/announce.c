/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/inbox/announce.h"

#include "actors/inbox/inbox_bus.h"
#include "actors/order/bus_origin.h"
#include "actors/shard.h"
#include "actors/user_proto.h"
#include "actors/wire_name.h"
#include "codec/base/mem.h"

/* Send `payload` (takes the reference) to the user actors of this node and of the others. */
static void send_payload(
    struct shard *shard, struct bytes tenant, struct bytes user, struct buf *payload)
{
    char at[WIRE_NAME_MAX];
    struct bytes key = wire_name_room(tenant, user, at);
    if (shard->inbox_bus != NULL) {
        inbox_bus_announce(shard->inbox_bus, key, payload);
    }
    struct user_announce *msg = user_announce_new();
    msg->key = buf_new_name(key);
    msg->payload = payload;
    msg_send_home(shard->sched, msg);
}

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
        send_payload(shard, announce.tenant, announce.user, payload);
    }
}

void announce_repeat(struct shard *shard, struct store_user who)
{
    struct announce announce = {
        .kind = ANNOUNCE_CHECK,
        .tenant = who.tenant,
        .user = who.user,
    };
    announce_send(shard, &announce);
}

/* A row that was just stored: unread. Borrows its texts. */
static struct notification_item item_of(const struct store_row *row)
{
    struct notification_item item = {
        .tenant = row->who.tenant,
        .user = row->who.user,
        .seq = row->seq,
        .rev = row->rev,
        .type = row->type,
        .title = row->title,
        .message = row->message,
        .data = row->data,
        .priority = row->priority,
        .state = NOTIFICATION_UNREAD,
        .created_at = row->created_at,
        .expires_at = row->expires_at,
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
        .seq = row->seq,
        .rev = row->rev,
        .unread = row->unread,
        .item = item_of(row),
    };
    announce_send(shard, &announce);
}

void announce_changes(struct shard *shard, struct store_user who, struct store_position position,
    const struct notification_change *changes, size_t count)
{
    if (count == 0) {
        return;
    }
    size_t told = count <= ANNOUNCE_CHANGES_MAX ? count : (size_t)ANNOUNCE_CHANGES_MAX;
    struct announce announce = {
        .kind = ANNOUNCE_STATE,
        .tenant = who.tenant,
        .user = who.user,
        .seq = position.seq,
        .rev = changes[0].rev,
        .unread = position.unread,
        .state = changes[0].state,
        .at = changes[0].at,
        .changes = changes,
        .change_count = (uint32_t)told,
    };
    announce_send(shard, &announce);
}

void announce_up_to(struct shard *shard, struct store_user who, struct store_position position,
    uint64_t up_to, const struct notification_change *last)
{
    struct announce announce = {
        .kind = ANNOUNCE_STATE,
        .tenant = who.tenant,
        .user = who.user,
        .seq = position.seq,
        .rev = last->rev,
        .unread = position.unread,
        .state = last->state,
        .at = last->at,
        .up_to = up_to < position.seq ? up_to : position.seq, /* what was there */
    };
    announce_send(shard, &announce);
}
