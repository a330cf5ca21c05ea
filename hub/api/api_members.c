/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is in a room (actors/rooms/gather.h). Order of this file: the answer, requests.
 *
 * An answer of a node that does not come in time is told: `complete` is false then.
 */
#include <stdlib.h>

#include "actors/rooms/gather.h"
#include "actors/wire_name.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/names.h"
#include "codec/query.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_room.h"
#include "hub/api/api_shard.h"

enum { LIMIT_DEFAULT = 20, LIMIT_MAX = 100 };

struct members_call {
    struct api_call api; /* first */
    uint64_t limit;
    struct bytes after;
    char after_at[NAMES_USER_MAX];
};

/* The answer. */

static int compare_members(const void *left, const void *right)
{
    const struct gather_member *a = *(const struct gather_member *const *)left;
    const struct gather_member *b = *(const struct gather_member *const *)right;
    size_t len = a->user_len < b->user_len ? a->user_len : b->user_len;
    int order = memcmp(a->user, b->user, len);
    return order != 0 ? order : (a->user_len > b->user_len) - (a->user_len < b->user_len);
}

/* Those behind the cursor, sorted; the caller frees them. NULL: no memory. */
static struct gather_member **sort_members(
    const struct members_call *call, const struct map *members, size_t *ret_count)
{
    struct gather_member **sorted =
        mem_try_calloc(map_count(members) + 1, sizeof(struct gather_member *));
    if (sorted == NULL) {
        return NULL;
    }
    struct gather_member *border = mem_try_calloc(1, sizeof(*border) + call->after.len);
    if (border == NULL) {
        mem_free(sorted);
        return NULL;
    }
    size_t count = 0;
    size_t cursor = 0;
    border->user_len = (uint32_t)call->after.len;
    if (call->after.len > 0) {
        memcpy(border->user, call->after.at, call->after.len);
    }
    for (struct gather_member *member; (member = map_next(members, &cursor)) != NULL;) {
        if (compare_members(&member, &border) > 0) {
            sorted[count++] = member;
        }
    }
    mem_free(border);
    qsort(sorted, count, sizeof(sorted[0]), compare_members);
    *ret_count = count;
    return sorted;
}

static void write_page(const struct members_call *call, struct gather_member **sorted, size_t count,
    struct builder *out)
{
    size_t shown = count < call->limit ? count : call->limit;
    json_write_key(out, "items");
    json_write_open(out, '[');
    for (size_t i = 0; i < shown; i++) {
        json_write_next(out);
        json_write_open(out, '{');
        json_write_text(out, "userId", gather_user(sorted[i]));
        json_write_u64(out, "sockets", sorted[i]->sockets);
        json_write_close(out, '}');
    }
    json_write_close(out, ']');
    if (shown < count) {
        json_write_text(out, "next", gather_user(sorted[shown - 1]));
    } else {
        json_write_json(out, "next", bytes_of(NULL, 0));
    }
}

static void answer(struct members_call *call, const struct gather_result *result)
{
    size_t count;
    struct gather_member **sorted = sort_members(call, result->members, &count);
    if (sorted == NULL) {
        api_refuse_memory(call->api.request);
        return;
    }
    struct builder out = {0};
    json_write_open(&out, '{');
    write_page(call, sorted, count, &out);
    json_write_bool(&out, "complete", result->complete);
    json_write_close(&out, '}');
    mem_free(sorted);
    api_answer(call->api.request, 200, BYTES("Cache-Control: no-store\r\n"), &out);
}

static void on_gathered(void *context, const struct gather_result *result)
{
    struct members_call *call = context;
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

/* Requests. */

/* The page that is asked for; false: the request was answered. */
static bool read_page(struct http_request *request, struct members_call *call)
{
    char at[8];
    struct bytes text;
    int status = query_get(request->query, "limit", at, sizeof(at), &text);
    call->limit = LIMIT_DEFAULT;
    if (status != STATUS_NOT_FOUND && (status != 0 || json_scan_u64(text, &call->limit) != 0 ||
                                          call->limit == 0 || call->limit > LIMIT_MAX)) {
        api_refuse_field(request, "limit", "limit must be 1 to 100");
        return false;
    }
    status =
        query_get(request->query, "after", call->after_at, sizeof(call->after_at), &call->after);
    if (status == STATUS_NOT_FOUND) {
        call->after = bytes_of(NULL, 0);
    } else if (status != 0) {
        api_refuse_field(request, "after", "after must be the `next` of a page");
        return false;
    }
    return true;
}

void api_members_list(struct http_request *request, void *context)
{
    (void)context;
    char wire_at[WIRE_NAME_MAX];
    struct bytes room;
    if (!api_room_read(request, wire_at, &room)) {
        return;
    }
    struct members_call *call = mem_alloc(sizeof(*call));
    if (!read_page(request, call)) {
        mem_free(call);
        return;
    }
    api_call_hold(&call->api, request);
    gather_start(api_shard(request)->shard, room, on_gathered, call);
}
