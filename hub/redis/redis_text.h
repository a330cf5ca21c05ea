/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_text - how commands are written to Redis, and what its refusals mean for a connection.
 */
#ifndef HUB_REDIS_REDIS_TEXT_H
#define HUB_REDIS_REDIS_TEXT_H

#include "codec/base/buf.h"
#include "codec/base/bytes.h"

/*
 * Append a command as an array of bulk strings: all that hiredis' formatter would do, without its
 * allocation and copy.
 */
void redis_text_command(const struct bytes *argv, size_t argc, struct builder *out);

/* At least the bytes that redis_text_command appends. */
size_t redis_text_size(const struct bytes *argv, size_t argc);

/* STATUS_UNAUTHORIZED for refusals of user, password or rights, else STATUS_UNAVAILABLE. */
int redis_text_status(struct bytes error);

#endif
