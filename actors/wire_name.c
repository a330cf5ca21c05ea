/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes and reads the names of rooms, users and sids between nodes; a tenant stands in front, with
 * a slash.
 */
#include "actors/wire_name.h"

#include <stdint.h>

#include "codec/base/rand.h"

static const char sid_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static const struct bytes user_prefix = {.at = "user:", .len = 5};

static char *put(char *at, struct bytes text)
{
    if (text.len > 0) {
        memcpy(at, text.at, text.len);
    }
    return at + text.len;
}

/* Split "space/rest"; without a '/', the space is empty. Room and user names hold no '/'. */
static struct bytes split_space(struct bytes wire, struct bytes *ret_rest)
{
    const char *slash = wire.len > 0 ? memchr(wire.at, '/', wire.len) : NULL;
    if (slash == NULL) {
        *ret_rest = wire;
        return bytes_of(NULL, 0);
    }
    size_t len = (size_t)(slash - wire.at);
    *ret_rest = bytes_skip(wire, len + 1);
    return bytes_of(wire.at, len);
}

/* Write `name` behind its space, with what may stand between them. */
static struct bytes join(struct bytes space, struct bytes prefix, struct bytes name, char *at)
{
    char *end = at;
    if (space.len > 0) {
        end = put(end, space);
        *end++ = '/';
    }
    end = put(end, prefix);
    end = put(end, name);
    return bytes_of(at, (size_t)(end - at));
}

struct bytes wire_name_room(struct bytes space, struct bytes room, char *at)
{
    return join(space, BYTES(""), room, at);
}

struct bytes wire_key_user(struct bytes space, struct bytes user, char *at)
{
    return join(space, BYTES(""), user, at);
}

struct bytes wire_name_client(struct bytes wire)
{
    struct bytes rest;
    split_space(wire, &rest);
    return rest;
}

struct bytes wire_name_user(struct bytes key, char *at)
{
    struct bytes user;
    struct bytes space = split_space(key, &user);
    return join(space, user_prefix, user, at);
}

bool wire_name_user_key(struct bytes wire, char *at, struct bytes *ret_key)
{
    struct bytes rest;
    struct bytes space = split_space(wire, &rest);
    if (!bytes_starts(rest, user_prefix) || wire.len - user_prefix.len > WIRE_KEY_MAX) {
        return false;
    }
    *ret_key = wire_key_user(space, bytes_skip(rest, user_prefix.len), at);
    return true;
}

void wire_sid_make(unsigned shard, char ret_sid[WIRE_SID_LEN])
{
    uint8_t random[WIRE_SID_LEN];
    rand_secret(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++) {
        ret_sid[i] = sid_alphabet[random[i] & 63];
    }
    ret_sid[WIRE_SID_LEN - 1] = sid_alphabet[shard & 63];
}

bool wire_sid_shard(struct bytes name, unsigned *ret_shard)
{
    if (name.len != WIRE_SID_LEN) {
        return false;
    }
    const char *last = strchr(sid_alphabet, name.at[WIRE_SID_LEN - 1]);
    if (last == NULL || *last == '\0') {
        return false;
    }
    *ret_shard = (unsigned)(last - sid_alphabet);
    return true;
}
