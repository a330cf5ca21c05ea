/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells pushed messages from answers by their first element, and writes a pattern that one name
 * alone matches.
 */
#include "hub/redis/redis_push.h"

#include <string.h>

static bool is_text(const struct bus_reply *reply)
{
    return reply->type == BUS_STRING;
}

/* Read what has three parts. */
static enum redis_push_kind read_three(const struct bus_reply *reply, struct redis_push *push)
{
    struct bytes kind = reply->items[0]->text;
    const struct bus_reply *third = reply->items[2];
    push->name = reply->items[1]->text;
    if (bytes_eq(kind, BYTES("message")) && is_text(third)) {
        push->payload = third->text;
        return REDIS_PUSH_MESSAGE;
    }
    if (third->type != BUS_INTEGER) {
        return REDIS_PUSH_NONE;
    }
    if (bytes_eq(kind, BYTES("subscribe"))) {
        return REDIS_PUSH_CONFIRMED;
    }
    if (bytes_eq(kind, BYTES("psubscribe"))) {
        return REDIS_PUSH_PATTERN_CONFIRMED;
    }
    bool over = bytes_eq(kind, BYTES("unsubscribe")) || bytes_eq(kind, BYTES("punsubscribe"));
    return over ? REDIS_PUSH_NOTHING : REDIS_PUSH_NONE;
}

enum redis_push_kind redis_push_read(const struct bus_reply *reply, struct redis_push *ret_push)
{
    if (reply->type == BUS_STATUS) {
        return bytes_eq(reply->text, BYTES("PONG")) ? REDIS_PUSH_NOTHING : REDIS_PUSH_NONE;
    }
    if (reply->type != BUS_ARRAY || reply->count < 2 || !is_text(reply->items[0]) ||
        !is_text(reply->items[1])) {
        return REDIS_PUSH_NONE;
    }
    struct bytes kind = reply->items[0]->text;
    if (reply->count == 2) {
        return bytes_eq(kind, BYTES("pong")) ? REDIS_PUSH_NOTHING : REDIS_PUSH_NONE;
    }
    if (reply->count == 3) {
        return read_three(reply, ret_push);
    }
    if (reply->count != 4 || !bytes_eq(kind, BYTES("pmessage")) || !is_text(reply->items[2]) ||
        !is_text(reply->items[3])) {
        return REDIS_PUSH_NONE;
    }
    ret_push->name = reply->items[2]->text;
    ret_push->payload = reply->items[3]->text;
    return REDIS_PUSH_MESSAGE;
}

void redis_push_write_pattern(struct bytes name, struct builder *out)
{
    for (size_t i = 0; i < name.len; i++) {
        if (strchr("*?[]\\^-", name.at[i]) != NULL && name.at[i] != '\0') {
            builder_byte(out, '\\');
        }
        builder_byte(out, name.at[i]);
    }
}

void redis_push_write_name(struct bytes pattern, struct builder *out)
{
    for (size_t i = 0; i < pattern.len; i++) {
        i += pattern.at[i] == '\\' && i + 1 < pattern.len;
        builder_byte(out, pattern.at[i]);
    }
}
