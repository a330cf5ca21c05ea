/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/claims.h"

#include <stdatomic.h>

#include "codec/base/mem.h"

struct shared {
    atomic_uint refs;
    struct claims claims; /* and what it refers to behind it */
};

/* Copy `text` to `*at`, advance it, and return the copy. */
static struct bytes put(char **at, struct bytes text)
{
    struct bytes copy = bytes_of(*at, text.len);
    if (text.len > 0) {
        memcpy(*at, text.at, text.len);
    }
    *at += text.len;
    return copy;
}

static size_t text_size(const struct claims *claims)
{
    size_t size = claims->user.len + claims->role.len + claims->name.len + claims->tenant.len +
                  claims->issuer.len;
    for (size_t i = 0; i < claims->room_count; i++) {
        size += claims->rooms[i].len;
    }
    for (size_t i = 0; i < claims->extra_count; i++) {
        size += claims->extra[i].name.len + claims->extra[i].value.len;
    }
    return size;
}

struct claims *claims_copy(const struct claims *claims)
{
    size_t rooms_size = claims->room_count * sizeof(struct bytes);
    size_t extra_size = claims->extra_count * sizeof(struct claims_extra);
    struct shared *shared =
        mem_try_alloc(sizeof(*shared) + rooms_size + extra_size + text_size(claims));
    if (shared == NULL) {
        return NULL;
    }
    atomic_init(&shared->refs, 1);
    struct claims *copy = &shared->claims;
    *copy = *claims;
    struct bytes *rooms = (struct bytes *)(void *)(copy + 1);
    struct claims_extra *extra = (struct claims_extra *)(void *)((char *)rooms + rooms_size);
    char *at = (char *)extra + extra_size;
    copy->user = put(&at, claims->user);
    copy->role = put(&at, claims->role);
    copy->name = put(&at, claims->name);
    copy->tenant = put(&at, claims->tenant);
    copy->issuer = put(&at, claims->issuer);
    for (size_t i = 0; i < claims->room_count; i++) {
        rooms[i] = put(&at, claims->rooms[i]);
    }
    for (size_t i = 0; i < claims->extra_count; i++) {
        extra[i].name = put(&at, claims->extra[i].name);
        extra[i].value = put(&at, claims->extra[i].value);
    }
    copy->rooms = rooms;
    copy->extra = extra;
    return copy;
}

struct claims *claims_ref(struct claims *claims)
{
    struct shared *shared = container_of(claims, struct shared, claims);
    atomic_fetch_add_explicit(&shared->refs, 1, memory_order_relaxed);
    return claims;
}

void claims_unref(struct claims *claims)
{
    if (claims == NULL) {
        return;
    }
    struct shared *shared = container_of(claims, struct shared, claims);
    if (atomic_fetch_sub_explicit(&shared->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(shared);
    }
}

bool claims_list_room(const struct claims *claims, struct bytes room)
{
    for (size_t i = 0; i < claims->room_count; i++) {
        struct bytes entry = claims->rooms[i];
        if (entry.len > 0 && entry.at[entry.len - 1] == '*') {
            entry.len--;
            if (bytes_starts(room, entry)) {
                return true;
            }
        } else if (bytes_eq(entry, room)) {
            return true;
        }
    }
    return false;
}

bool claims_have(const struct claims *claims, struct bytes name, struct bytes value)
{
    for (size_t i = 0; i < claims->extra_count; i++) {
        if (bytes_eq(claims->extra[i].name, name) && bytes_eq(claims->extra[i].value, value)) {
            return true;
        }
    }
    return false;
}
