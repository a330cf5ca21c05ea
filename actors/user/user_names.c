/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How clients name the rooms that they mean.
 */
#include "actors/user/user_actor.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/names.h"

int user_room_check(struct bytes value, char *at, struct bytes *ret_room)
{
    int status = json_scan_string(value, at, NAMES_ROOM_MAX, ret_room);
    return status != 0 ? status : names_check_room(*ret_room);
}

/* A room as a client names it: a string, or {roomId}. `at` has NAMES_ROOM_MAX bytes. */
int user_room_read(struct bytes argument, char *at, struct bytes *ret_room)
{
    struct bytes value = argument;
    int status = 0;
    if (json_scan_kind(argument) == JSON_SCAN_OBJECT) {
        status = json_scan_get(argument, "roomId", &value);
    }
    return status != 0 ? status : user_room_check(value, at, ret_room);
}

/* The room `prefix`:<value of `key`>. */
int user_room_read_prefixed(
    struct bytes argument, const char *key, const char *prefix, char *at, struct bytes *ret_room)
{
    size_t len = strlen(prefix);
    struct bytes value;
    struct bytes id;
    memcpy(at, prefix, len);
    if (json_scan_kind(argument) != JSON_SCAN_OBJECT || json_scan_get(argument, key, &value) != 0) {
        return STATUS_INVALID;
    }
    if (json_scan_kind(value) == JSON_SCAN_NUMBER) {
        id = value;
    } else if (json_scan_string(value, at + len, NAMES_ROOM_MAX - len, &id) != 0) {
        return STATUS_INVALID;
    }
    if (id.len > NAMES_ROOM_MAX - len) {
        return STATUS_TOO_LARGE;
    }
    memmove(at + len, id.at, id.len);
    *ret_room = bytes_of(at, len + id.len);
    return names_check_room(*ret_room);
}

/* A room named in `call`; refuses the call and returns false when it is none. */
bool user_room_want(const struct client_call *call, int status, const char *field)
{
    if (status != 0) {
        call_refuse_field(call, field,
            strcmp(field, "roomId") == 0
                ? "A room: 1 to 200 bytes without / and control characters"
                : "An id: a number, or a text that makes a room of at most 200 bytes without / "
                  "and control characters");
    }
    return status == 0;
}
