/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One walk over a name's characters for all the checks, and the names that Socket.IO keeps for
 * itself.
 */
#include "codec/names.h"

#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/utf8.h"

/* Whether a control character begins at `at`: C0, DEL, or C1 (two bytes, c2 80 to c2 9f). */
static bool is_control(const unsigned char *at, size_t left)
{
    return at[0] < 0x20 || at[0] == 0x7f ||
           (at[0] == 0xc2 && left > 1 && at[1] >= 0x80 && at[1] <= 0x9f);
}

static int check(struct bytes name, size_t max, bool slash)
{
    if (name.len == 0) {
        return STATUS_INVALID;
    }
    if (name.len > max) {
        return STATUS_TOO_LARGE;
    }
    if (!utf8_valid(name)) {
        return STATUS_UTF8;
    }
    const unsigned char *at = (const unsigned char *)name.at;
    for (size_t i = 0; i < name.len; i++) {
        if (is_control(at + i, name.len - i) || (at[i] == '/' && !slash)) {
            return STATUS_INVALID;
        }
    }
    return 0;
}

const char *const names_reserved[] = {"connect", "connect_error", "disconnect", "disconnecting",
    "newListener", "removeListener", "__proto__", NULL};

bool names_event_reserved(struct bytes name)
{
    for (size_t i = 0; names_reserved[i] != NULL; i++) {
        if (name.len > 0 && name.at[0] == names_reserved[i][0] &&
            bytes_eq_str(name, names_reserved[i])) {
            return true;
        }
    }
    return false;
}

int names_check_user(struct bytes user)
{
    return check(user, NAMES_USER_MAX, false);
}

int names_check_tenant(struct bytes tenant)
{
    return check(tenant, NAMES_TENANT_MAX, false);
}

int names_check_room(struct bytes room)
{
    return check(room, NAMES_ROOM_MAX, false);
}

int names_check_event(struct bytes event)
{
    return check(event, NAMES_EVENT_MAX, true);
}

void names_write_field(struct bytes key, char *at, size_t size)
{
    struct bytes name;
    size_t len = 0;
    if (json_scan_string(key, at, size - 1, &name) == 0) {
        len = name.len;
        memmove(at, name.at, len);
    } else if (key.len > 2) { /* too long: as it stands there */
        name = bytes_of(key.at + 1, key.len - 2);
        len = utf8_fit(name, size - 1);
        memcpy(at, name.at, len);
    }
    at[len] = '\0';
}
