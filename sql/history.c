/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What requests about what was said in rooms must satisfy, where they go, and how a page ends.
 */
#include "sql/history.h"

#include <string.h>

#include "codec/base/status.h"
#include "codec/event.h"
#include "codec/slot.h"
#include "sql/engine.h"

enum { MESSAGE_OVERHEAD = 120 };

static bool is_text(struct bytes text, size_t max)
{
    return text.len <= max && (text.len == 0 || !memchr(text.at, '\0', text.len));
}

static bool is_room(struct bytes tenant, struct bytes room)
{
    return is_text(tenant, STORE_NAME_MAX) && room.len > 0 && is_text(room, STORE_NAME_MAX);
}

static bool is_message(const struct store_message *message)
{
    return is_room(message->tenant, message->room) && is_text(message->user, STORE_NAME_MAX) &&
           message->event.len > 0 && message->event.len <= EVENT_NAME_MAX &&
           message->args.len <= STORE_MESSAGE_MAX && message->at <= INT64_MAX &&
           message->expires_at <= INT64_MAX &&
           slot_of_id(message->id) == slot_of(message->tenant, message->room);
}

static bool is_add(const struct store_history_add *add)
{
    bool good = add->count >= 1 && add->count <= STORE_HISTORY_ADD_MAX;
    for (size_t i = 0; good && i < add->count; i++) {
        good = is_message(&add->messages[i]);
    }
    return good;
}

bool history_writes(enum store_op op)
{
    return op == STORE_HISTORY_ADD || op == STORE_HISTORY_SWEEP;
}

bool history_is_valid(const struct store_request *request)
{
    if (request->op == STORE_HISTORY_ADD) {
        return is_add((const struct store_history_add *)request);
    }
    if (request->op == STORE_HISTORY_LIST) {
        const struct store_history_list *list = (const struct store_history_list *)request;
        bool good = list->user.len > 0
                        ? is_text(list->tenant, STORE_NAME_MAX) && list->room.len == 0 &&
                              is_text(list->user, STORE_NAME_MAX) && list->after <= INT64_MAX
                        : is_room(list->tenant, list->room);
        return good && list->limit >= 1 && list->limit <= STORE_HISTORY_LIST_MAX;
    }
    const struct store_history_sweep *sweep = (const struct store_history_sweep *)request;
    return sweep->limit >= 1 && sweep->limit <= STORE_HISTORY_SWEEP_MAX;
}

uint32_t history_slot(const struct store_request *request)
{
    if (request->op == STORE_HISTORY_LIST) {
        const struct store_history_list *list = (const struct store_history_list *)request;
        return slot_of(list->tenant, list->user.len > 0 ? list->user : list->room);
    }
    return SLOT_NONE;
}

size_t history_size(const struct store_history_add *add)
{
    size_t size = 0;
    for (size_t i = 0; i < add->count; i++) {
        const struct store_message *message = &add->messages[i];
        size += message->tenant.len + message->room.len + message->user.len + message->event.len +
                message->args.len + MESSAGE_OVERHEAD;
    }
    return size;
}

static size_t bytes_of_page(const struct store_history_list *list)
{
    size_t bytes = 0;
    for (size_t i = 0; i < list->count; i++) {
        bytes += list->messages[i].event.len + list->messages[i].args.len;
    }
    return bytes;
}

int history_next(struct store_history_list *list, size_t bytes, struct result *arena,
    struct store_message **ret_message)
{
    if (list->count == list->limit ||
        (list->count > 0 && bytes_of_page(list) + bytes > list->max_bytes)) {
        list->more = true;
        return STATUS_FULL;
    }
    struct store_message *grown =
        result_grow(arena, list->messages, list->count, sizeof(*list->messages));
    if (!grown) {
        return STATUS_NOMEM;
    }
    list->messages = grown;
    grown[list->count] = (struct store_message){0};
    *ret_message = &grown[list->count++];
    return 0;
}
