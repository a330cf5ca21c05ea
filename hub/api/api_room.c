/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which room a request is about, and where a room with a memory stands.
 */
#include "hub/api/api_room.h"

#include "actors/deliver/fanout.h"
#include "actors/recover/room_replay.h"
#include "actors/wire_name.h"
#include "codec/base/status.h"
#include "codec/json_write.h"
#include "codec/names.h"
#include "codec/query.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_shard.h"

bool api_room_read(struct http_request *request, char *wire_at, struct bytes *ret_wire)
{
    char room_at[NAMES_ROOM_MAX];
    char tenant_at[NAMES_TENANT_MAX];
    struct bytes room;
    struct bytes named = {0};
    struct bytes tenant;
    const struct apikey *key = api_auth_key(request, APIKEY_READ);
    if (key == NULL) {
        return false;
    }
    int status = query_get(request->query, "tenant", tenant_at, sizeof(tenant_at), &named);
    if (status != STATUS_NOT_FOUND && (status != 0 || names_check_tenant(named) != 0)) {
        api_refuse_field(
            request, "tenant", "A tenant: 1 to 128 bytes without / and control characters");
        return false;
    }
    if (api_auth_tenant(request, key, named, &tenant) != 0) {
        api_refuse(request, &(struct api_error){.code = ERROR_FORBIDDEN,
                                .message = "The key is of another tenant",
                                .field = "tenant"});
        return false;
    }
    if (http_param(request, 0, room_at, sizeof(room_at), &room) != 0 ||
        names_check_room(room) != 0) {
        api_refuse_field(
            request, "room", "A room: 1 to 200 bytes without / and control characters");
        return false;
    }
    *ret_wire = wire_name_room(tenant, room, wire_at);
    return true;
}

void api_room_position(struct http_request *request, void *context)
{
    (void)context;
    char wire_at[WIRE_NAME_MAX];
    char offset_at[REPLAY_OFFSET_MAX];
    struct bytes room;
    if (!api_room_read(request, wire_at, &room)) {
        return;
    }
    struct shard *shard = api_shard(request)->shard;
    const struct fanout *fanout = fanout_find(shard, BYTES("/"));
    struct bytes offset = room_replay_position(fanout, room, offset_at);
    if (offset.len == 0) {
        api_refuse(request, &(struct api_error){.code = ERROR_NOT_FOUND,
                                .message = "Rooms of this type have no memory (replay of its "
                                           "room_type)",
                                .field = "room"});
        return;
    }
    struct builder out = {0};
    json_write_open(&out, '{');
    json_write_text(&out, "epoch", bytes_str(shard->config->epoch));
    json_write_text(&out, "offset", offset);
    json_write_close(&out, '}');
    api_answer(request, 200, BYTES("Cache-Control: no-store\r\n"), &out);
}
