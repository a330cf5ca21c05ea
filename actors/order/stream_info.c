/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes what is needed out of the list of names and values that XINFO STREAM answers.
 */
#include "actors/order/stream_info.h"

bool stream_info_read(const struct bus_reply *reply, struct stream_info *ret_info)
{
    struct stream_info info = {0};
    int64_t length = 0;
    int64_t added = 0;
    if (reply->type == BUS_ERROR) {
        *ret_info = info;
        return bytes_starts(reply->text, BYTES("ERR no such key"));
    }
    for (size_t i = 0; reply->type == BUS_ARRAY && i + 1 < reply->count; i += 2) {
        struct bytes name = reply->items[i]->text;
        const struct bus_reply *value = reply->items[i + 1];
        if (bytes_eq(name, BYTES("length"))) {
            length = value->integer;
        } else if (bytes_eq(name, BYTES("entries-added"))) {
            added = value->integer;
        } else if (bytes_eq(name, BYTES("last-generated-id")) &&
                   stream_id_read(value->text, &info.tip) != 0) {
            return false;
        } else if (bytes_eq(name, BYTES("first-entry")) && value->type == BUS_ARRAY &&
                   value->count > 0 && stream_id_read(value->items[0]->text, &info.first) != 0) {
            return false;
        }
    }
    info.trimmed = added != length;
    if (length == 0) { /* all up to the tip was dropped */
        info.first = (struct stream_id){.ms = info.tip.ms, .seq = info.tip.seq + 1};
    }
    *ret_info = info;
    return reply->type == BUS_ARRAY;
}
