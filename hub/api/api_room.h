/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_room - which room a request is about.
 */
#ifndef HUB_API_API_ROOM_H
#define HUB_API_API_ROOM_H

#include <stdbool.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct http_request;

/*
 * The wire name of the room that the path and `tenant` name, written to `wire_at` (WIRE_NAME_MAX
 * bytes); false: the caller has no key for it or it is no room, and the request was answered.
 */
MUST_CHECK bool api_room_read(struct http_request *request, char *wire_at, struct bytes *ret_wire);

#endif
