/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each message is told as it was: its event and arguments, with its id and its time.
 */
#include "actors/history/history_json.h"

#include "codec/json_scan.h"
#include "codec/json_write.h"

void history_json_message(const struct store_message *message, struct builder *out)
{
    json_write_uuid(out, "id", message->id);
    if (message->user.len > 0) {
        json_write_text(out, "userId", message->user);
    }
    json_write_text(out, "event", message->event);
    json_write_key(out, "args");
    builder_byte(out, '[');
    builder_add(out, message->args);
    builder_byte(out, ']');
    json_write_time(out, "at", message->at);
}

void history_json_write(const struct store_history_list *list, struct builder *out)
{
    json_write_key(out, "messages");
    json_write_open(out, '[');
    for (size_t i = list->count; i > 0; i--) {
        json_write_next(out);
        json_write_open(out, '{');
        history_json_message(&list->messages[i - 1], out);
        json_write_close(out, '}');
    }
    json_write_close(out, ']');
    if (list->more && list->count > 0) {
        json_write_uuid(out, "next", list->messages[list->count - 1].id);
    } else {
        json_write_json(out, "next", bytes_of(NULL, 0));
    }
}
