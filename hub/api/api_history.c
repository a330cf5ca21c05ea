/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was said in a room, in pages, for backends: users read it on their sockets, where it is
 * known in which rooms they are. Order of this file: the answer, the request.
 */
#include "actors/history/history_json.h"
#include "actors/history/room_history.h"
#include "actors/shard.h"
#include "actors/wire_name.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/json_write.h"
#include "codec/query.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_room.h"
#include "hub/api/api_shard.h"

enum { LIMIT_DEFAULT = 50, LIMIT_DIGITS = 8, PAGE_BYTES = 1 << 20 };

struct history_request {
    struct api_call api; /* first */
    struct store_history_list list;
    char room_at[WIRE_NAME_MAX];
};

static void free_call(struct history_request *call)
{
    api_call_end(&call->api);
    store_request_finish(&call->list.base);
    mem_free(call);
}

/* The answer. */

static void answer(const struct history_request *call)
{
    struct builder out = {0};
    json_write_open(&out, '{');
    history_json_write(&call->list, &out);
    json_write_close(&out, '}');
    api_answer(call->api.request, 200, BYTES("Cache-Control: private, no-store\r\n"), &out);
}

static void on_read(struct store_request *request)
{
    struct history_request *call = container_of(request, struct history_request, list.base);
    if (call->api.request != NULL && request->status == 0) {
        answer(call);
    } else if (call->api.request != NULL && request->status == STATUS_NOT_FOUND) {
        api_refuse_field(call->api.request, "before", "No message that is kept of this room");
    } else if (call->api.request != NULL) {
        api_refuse_status(call->api.request, request->status);
    }
    free_call(call);
}

static void on_overdue(struct api_call *api)
{
    api_refuse_unavailable(api->request);
}

/* The request. */

/* The parameters `limit` and `before`; false: the request was answered. */
static bool read_page(struct http_request *request, struct store_history_list *list)
{
    char limit_at[LIMIT_DIGITS];
    char id_at[UUID_TEXT_LEN];
    struct bytes text;
    uint64_t limit = LIMIT_DEFAULT;
    int status = query_get(request->query, "limit", limit_at, sizeof(limit_at), &text);
    if (status != STATUS_NOT_FOUND &&
        (status != 0 || bytes_to_u64(text, STORE_HISTORY_LIST_MAX, &limit) != 0 || limit < 1)) {
        api_refuse_field(request, "limit", "1 to 100 messages");
        return false;
    }
    list->limit = (uint32_t)limit;
    status = query_get(request->query, "before", id_at, sizeof(id_at), &text);
    list->before = status != STATUS_NOT_FOUND;
    if (list->before && (status != 0 || uuid_parse(text.at, text.len, list->id) != 0)) {
        api_refuse_field(request, "before", "The id of a message, as it was told");
        return false;
    }
    return true;
}

void api_room_history(struct http_request *request, void *context)
{
    (void)context;
    struct shard *shard = api_shard(request)->shard;
    struct history_request *call = mem_try_calloc(1, sizeof(*call));
    struct bytes room;
    if (call == NULL) {
        api_refuse_memory(request);
        return;
    }
    if (!api_room_read(request, call->room_at, &room) || !read_page(request, &call->list)) {
        mem_free(call);
        return;
    }
    if (!room_history_keeps(shard, room)) {
        api_refuse(request, &(struct api_error){.code = ERROR_NOT_FOUND,
                                .message = "What is said in rooms of this type is not kept "
                                           "(history of its room_type)",
                                .field = "room"});
        mem_free(call);
        return;
    }
    if (shard->store == NULL) { /* the node ends */
        api_refuse_unavailable(request);
        mem_free(call);
        return;
    }
    call->list.base = (struct store_request){.op = STORE_HISTORY_LIST, .done = on_read};
    call->list.tenant = room_history_space(room);
    call->list.room = wire_name_client(room);
    call->list.max_bytes = PAGE_BYTES;
    api_call_hold_store(&call->api, request, on_overdue);
    store_submit(shard->store, &call->list.base);
}
