/* SPDX-License-Identifier: Apache-2.0 */
/*
 * claims - who a connected user is, as its verified token said.
 *
 * A plain value: the token check (hub/jwt.c) makes one, the user's connection and actor keep it,
 * access rules read it. Kept in one allocation, so that it moves between shards by its pointer.
 */
#ifndef CODEC_CLAIMS_H
#define CODEC_CLAIMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

/* One value of a claim that the configuration asked to keep; a list makes several of these. */
struct claims_extra {
    struct bytes name;
    struct bytes value;
};

struct claims {
    struct bytes user; /* `sub` or `userId`; never empty */
    struct bytes role; /* empty when absent, as the following */
    struct bytes name;
    struct bytes tenant; /* `tenant` or `companyId` */
    struct bytes issuer;
    uint64_t expires_at; /* seconds since 1970 UTC; 0 = never */
    size_t room_count;
    const struct bytes *rooms; /* room names, or prefixes that end in '*' */
    size_t extra_count;
    const struct claims_extra *extra;
};

/*
 * Copy claims and everything they refer to into one new allocation with one reference; NULL when
 * out of memory. The copy is never changed, and may be handed to another thread.
 */
MUST_CHECK struct claims *claims_copy(const struct claims *claims);

/* Add a reference to what claims_copy returned, and return it. Any thread. */
struct claims *claims_ref(struct claims *claims);

/* Drop a reference, freeing the copy with the last one; NULL is allowed. Any thread. */
void claims_unref(struct claims *claims);

/* Whether the token's `rooms` claim names `room`, or a prefix of it. */
bool claims_list_room(const struct claims *claims, struct bytes room);

/* Whether the kept claim `name` has `value`, alone or in its list. */
bool claims_have(const struct claims *claims, struct bytes name, struct bytes value);

#endif
