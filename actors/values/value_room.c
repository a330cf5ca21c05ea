/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a value is shown is found among the last values that this node knows (retained.h), not in
 * Redis: so a value that another node lets go in the moment in which it is put may stay until its
 * end.
 */
#include "actors/values/value_room.h"

#include "actors/deliver/broadcast.h"
#include "actors/deliver/fanout.h"
#include "actors/deliver/retained.h"
#include "actors/order/sequencer.h"
#include "actors/shard.h"
#include "actors/values/value_json.h"
#include "actors/wire_name.h"
#include "codec/base/status.h"
#include "codec/json_write.h"

enum { REMOVED_MS = 10000, SHOWN_NAME_MAX = 6 + VALUE_KEY_MAX };

static struct retained *retained_of(struct shard *shard)
{
    const struct fanout *fanout = fanout_find(shard, BYTES("/"));
    return fanout != NULL ? fanout->retained : NULL;
}

static struct bytes shown_name(struct bytes value, char at[SHOWN_NAME_MAX])
{
    struct bytes key = value_name_key(value);
    memcpy(at, "value:", 6);
    memcpy(at + 6, key.at, key.len);
    return bytes_of(at, 6 + key.len);
}

/* The wire name of the room that `op` names. */
static struct bytes room_of(const struct value_op *op, char at[WIRE_NAME_MAX])
{
    return wire_name_room(
        value_name_tenant(value_op_name(op)), bytes_of(op->room, op->room_len), at);
}

enum value_room_fault value_room_check(struct shard *shard, const struct value_op *op, size_t bytes)
{
    char at[WIRE_NAME_MAX];
    char name_at[SHOWN_NAME_MAX];
    const struct actor_config *config = shard->config;
    struct retained *retained = retained_of(shard);
    struct bytes room = room_of(op, at);
    struct bytes name = shown_name(value_op_name(op), name_at);
    if (retained == NULL || (config->retain.keeps != NULL &&
                                !config->retain.keeps(config->context, wire_name_client(room)))) {
        return VALUE_ROOM_TYPE;
    }
    if (bytes > config->posts.args) {
        return VALUE_ROOM_LARGE;
    }
    const struct retained_demand demand = {
        .all = retained_cost(bytes, name.len, 1), .here = bytes + name.len};
    return retained_check(retained, room, name, &demand) == 0 ? VALUE_ROOM_FINE : VALUE_ROOM_FULL;
}

/* Publish what `args` say in `room`, as the last value of that name, or as its removal. */
static void publish(struct shard *shard, struct bytes room, struct bytes value,
    const struct builder *args, uint64_t until_ms)
{
    char at[SHOWN_NAME_MAX];
    struct event *event;
    bool removes = until_ms == 0;
    uint64_t end = removes ? sched_wall(shard->sched) + REMOVED_MS : until_ms;
    if (builder_failed(args) ||
        event_from_args(BYTES("value"), builder_bytes(args), 0, &event) != 0) {
        shard->stats.retain.dropped++;
        return;
    }
    struct broadcast *broadcast = broadcast_new(event, &room, 1, NULL, 0);
    if (broadcast == NULL || !broadcast_keep(broadcast, shown_name(value, at), end, removes)) {
        broadcast_unref(broadcast);
        shard->stats.retain.dropped++;
        return;
    }
    (void)sequencer_send(shard, BYTES("/"), broadcast);
}

static void begin(struct bytes value, struct builder *out)
{
    builder_byte(out, '[');
    json_write_open(out, '{');
    json_write_text(out, "key", value_name_key(value));
}

static void end(struct builder *out)
{
    json_write_close(out, '}');
    builder_byte(out, ']');
}

static void show(struct shard *shard, struct bytes room, const struct value_op *op)
{
    struct value_result shown = op->result;
    struct builder args = {0};
    shown.body = op->verb == VALUE_PUT ? op->body : op->result.body;
    begin(value_op_name(op), &args);
    if (value_json_write(&shown, &args)) {
        end(&args);
        /* By the clock of this node, also where Redis has another one. */
        uint64_t left_ms = op->result.left_ms;
        publish(shard, room, value_op_name(op), &args,
            left_ms > 0 ? sched_wall(shard->sched) + left_ms : op->result.expires_ms);
    }
    builder_reset(&args);
}

static void hide(struct shard *shard, struct bytes room, struct bytes value)
{
    struct builder args = {0};
    begin(value, &args);
    json_write_json(&args, "value", bytes_of(NULL, 0));
    end(&args);
    publish(shard, room, value, &args, 0);
    builder_reset(&args);
}

/* Where it is shown, written to `at`; empty: nowhere. */
static struct bytes shown_in(struct shard *shard, struct bytes value, char at[WIRE_NAME_MAX])
{
    const struct retained *retained = retained_of(shard);
    const struct retained_value *found =
        retained != NULL ? retained_of_value(retained, value) : NULL;
    struct bytes room = found != NULL ? retained_target_name(found) : bytes_of(NULL, 0);
    if (room.len == 0 || room.len > WIRE_NAME_MAX) {
        return bytes_of(NULL, 0);
    }
    memcpy(at, room.at, room.len);
    return bytes_of(at, room.len);
}

void value_room_changed(struct shard *shard, const struct value_op *op)
{
    char was_at[WIRE_NAME_MAX];
    char at[WIRE_NAME_MAX];
    struct bytes was = shown_in(shard, value_op_name(op), was_at);
    struct bytes room = op->verb == VALUE_INCREMENT ? was : bytes_of(NULL, 0);
    if (op->verb == VALUE_PUT && op->room_len > 0) {
        room = room_of(op, at);
    }
    if (was.len > 0 && !bytes_eq(was, room)) {
        hide(shard, was, value_op_name(op));
    }
    if (room.len > 0 && op->result.outcome == VALUE_DONE) {
        show(shard, room, op);
    }
}

void value_room_remove(struct shard *shard, struct bytes name)
{
    char at[WIRE_NAME_MAX];
    struct bytes was = shown_in(shard, name, at);
    if (was.len > 0) {
        hide(shard, was, name);
    }
}
