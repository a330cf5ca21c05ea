/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names - what may name a user, a tenant, a room or an event.
 *
 * Each check returns 0, STATUS_INVALID (empty, or a character that is not allowed), STATUS_UTF8 or
 * STATUS_TOO_LARGE. Control characters are U+0000–U+001F and U+007F–U+009F.
 */
#ifndef CODEC_NAMES_H
#define CODEC_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum { NAMES_USER_MAX = 128, NAMES_TENANT_MAX = 128, NAMES_ROOM_MAX = 200, NAMES_EVENT_MAX = 128 };

/* A user id: 1 to NAMES_USER_MAX bytes of UTF-8, no `/`, no control characters. */
MUST_CHECK int names_check_user(struct bytes user);

/* A tenant: the same rules. */
MUST_CHECK int names_check_tenant(struct bytes tenant);

/* A room as clients name it: 1 to NAMES_ROOM_MAX bytes, no `/`, no control characters. */
MUST_CHECK int names_check_room(struct bytes room);

/* An event name: 1 to NAMES_EVENT_MAX bytes, no control characters. */
MUST_CHECK int names_check_event(struct bytes event);

/*
 * The names that Socket.IO keeps for itself: clients end their connection when an event has one.
 * `names_reserved[i]` up to NULL; names_event_reserved tells whether `name` is one of them.
 */
extern const char *const names_reserved[];
bool names_event_reserved(struct bytes name);

/*
 * Write the name of a member that is refused, `key` with its quotes as it stands in the JSON, to
 * `at` of `size` bytes, for an answer: NUL-terminated UTF-8, one that is too long cut between
 * characters.
 */
void names_write_field(struct bytes key, char *at, size_t size);

#endif
