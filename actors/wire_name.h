/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_name - the names that rooms, users and sids have on the wire between posters, nodes and
 * shards.
 *
 * A room's is what clients call it, with `tenant/` in front in a tenant's space; a user's room is
 * `user:<id>` or `tenant/user:<id>`, and stands for the user actor whose key is `<id>` or
 * `tenant/<id>`. A sid's last character tells its shard.
 */
#ifndef ACTORS_WIRE_NAME_H
#define ACTORS_WIRE_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum {
    WIRE_KEY_MAX = 2 * 128 + 1, /* tenant, '/', user id */
    WIRE_NAME_MAX = 128 + 1 + 5 + 200, /* tenant, '/', "user:" or nothing, room or user id */
    WIRE_SID_LEN = 23,
};

/* Write the wire name of `room` in `space` (empty: common) to `at` (WIRE_NAME_MAX bytes). */
struct bytes wire_name_room(struct bytes space, struct bytes room, char *at);

/* Write the key of `user` of `space` (empty: no tenant) to `at` (WIRE_KEY_MAX bytes). */
struct bytes wire_key_user(struct bytes space, struct bytes user, char *at);

/* The name that clients know: without the space. */
struct bytes wire_name_client(struct bytes wire);

/* Write the wire name of the room of the user with actor key `key` to `at` (WIRE_NAME_MAX bytes).
 */
struct bytes wire_name_user(struct bytes key, char *at);

/*
 * If `wire` is a user's room, write the actor's key to `at` (WIRE_KEY_MAX bytes) and return true;
 * names that are too long are none.
 */
bool wire_name_user_key(struct bytes wire, char *at, struct bytes *ret_key);

/* Draw a new sid for a socket of `shard`: 132 unpredictable bits. */
void wire_sid_make(unsigned shard, char ret_sid[WIRE_SID_LEN]);

/* Whether `name` can be a sid; then its shard, which may be beyond the number of shards. */
bool wire_sid_shard(struct bytes name, unsigned *ret_shard);

#endif
