/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a room is now: who is in it on all nodes, by number, where it stands, and what is kept there.
 *
 * The numbers are gathered as for the list of members; what the room remembers and keeps is on
 * every shard of every node, and is this one's.
 */
#include "actors/deliver/fanout.h"
#include "actors/deliver/retained.h"
#include "actors/recover/room_replay.h"
#include "actors/rooms/gather.h"
#include "actors/wire_name.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_room.h"
#include "hub/api/api_shard.h"

enum { NAMES_SHOWN = 1000 };

struct state_call {
    struct api_call api; /* first */
    struct shard *shard;
    size_t room_len;
    char room_at[WIRE_NAME_MAX];
};

/* The names under which something is kept, the one that changed longest ago first. */
static void write_kept(const struct fanout *fanout, struct bytes room, struct builder *out)
{
    const struct retained_value *value = NULL;
    unsigned count = 0;
    json_write_key(out, "retained");
    json_write_open(out, '[');
    while (fanout->retained != NULL && count++ < NAMES_SHOWN &&
           (value = retained_next(fanout->retained, room, value)) != NULL) {
        json_write_next(out);
        json_scan_write_string(out, broadcast_kept_name(value->broadcast));
    }
    json_write_close(out, ']');
}

static void answer(struct state_call *call, const struct gather_result *result)
{
    struct builder out = {0};
    char offset_at[REPLAY_OFFSET_MAX];
    const struct fanout *fanout = fanout_find(call->shard, BYTES("/"));
    struct bytes room = bytes_of(call->room_at, call->room_len);
    struct bytes offset = room_replay_position(fanout, room, offset_at);
    json_write_open(&out, '{');
    json_write_u64(&out, "members", map_count(result->members));
    json_write_u64(&out, "connections", result->sockets);
    json_write_u64(&out, "nodes", result->nodes);
    if (offset.len > 0) {
        json_write_text(&out, "epoch", bytes_str(call->shard->config->epoch));
        json_write_text(&out, "offset", offset);
    } else {
        json_write_json(&out, "offset", bytes_of(NULL, 0));
    }
    write_kept(fanout, room, &out);
    json_write_bool(&out, "complete", result->complete);
    json_write_close(&out, '}');
    api_answer(call->api.request, 200, BYTES("Cache-Control: no-store\r\n"), &out);
}

static void on_gathered(void *context, const struct gather_result *result)
{
    struct state_call *call = context;
    if (result->status != STATUS_CANCELLED && call->api.request != NULL) {
        if (result->status == 0) {
            answer(call, result);
        } else if (result->status == STATUS_NOMEM) {
            api_refuse_memory(call->api.request);
        } else {
            api_refuse_unavailable(call->api.request);
        }
    }
    mem_free(call);
}

void api_room_state(struct http_request *request, void *context)
{
    (void)context;
    struct state_call *call = mem_alloc(sizeof(*call));
    struct bytes room;
    if (!api_room_read(request, call->room_at, &room)) {
        mem_free(call);
        return;
    }
    call->room_len = room.len;
    call->shard = api_shard(request)->shard;
    api_call_hold(&call->api, request);
    gather_start(call->shard, room, on_gathered, call);
}
