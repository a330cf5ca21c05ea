/* SPDX-License-Identifier: Apache-2.0 */
/*
 * access - which rooms a user may join (protocol: Rooms), and which values it may read.
 *
 * A room's type is what stands before the first ':' of its name, or, for a name without one, the
 * type that has it in `match`; never what a client claims. Each type has rules, any of which lets
 * in; none means no. Pure functions over an immutable table: any thread.
 *
 * Rules, one word each:
 *   any            every user
 *   deny           nobody (must stand alone)
 *   claim          users whose token lists the room, or a prefix of it, in `rooms`
 *   claim:NAME     users whose token's claim NAME is, or contains, what stands behind the ':'
 *   claim:NAME=V   users whose token's claim NAME is, or contains, V
 *   tenant         users whose tenant is what stands behind the ':'
 *   role:NAME      users of that role
 *   pattern:P      rooms whose name equals P, with {sub}, {role}, {tenant} filled in from the token
 *                  and '*' for anything; a part that is empty in the token never matches
 * Without configuration: public = any, company and tenant = tenant, admin = role:admin, and every
 * other type ("*") = claim. `user` cannot be configured: its one rule is that the room is the
 * user's own.
 *
 * Who may speak is a question of its own, asked of members only, whoever let them in:
 *   member         every member
 *   nobody         no member (must stand alone)
 *   role:NAME      members of that role
 */
#ifndef HUB_AUTH_ACCESS_H
#define HUB_AUTH_ACCESS_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/claims.h"

/* One configured type, borrowed for the call. */
struct access_type_options {
    const char *name; /* "*": rooms of no other type */
    const char *const *rules;
    size_t rule_count;
    const char *const *send; /* who may speak; none: every member */
    size_t send_count;
    const char *const *match; /* names without ':' of this type; a name may end in '*' */
    size_t match_count;
};

struct access;

/*
 * Make the table. STATUS_INVALID with a sentence appended to `error`: a word that is no rule, a
 * type that is there twice, or `user`.
 */
MUST_CHECK int access_create(const struct access_type_options *types, size_t count,
    struct builder *error, struct access **ret_access);

/*
 * The same for names of values, which have no built-in types: one of no type lets nobody in, and
 * `user` may be configured.
 */
MUST_CHECK int access_create_closed(const struct access_type_options *types, size_t count,
    struct builder *error, struct access **ret_access);

/* Free the table; NULL is allowed. */
void access_destroy(struct access *access);

/* The type of `room`: "*" for a name without ':' that no type matches. */
struct bytes access_type(const struct access *access, struct bytes room);

/*
 * Whether the user may join `room` (the roomId of the contract, without a tenant before it): 0,
 * STATUS_DENIED, or STATUS_INVALID when this cannot be a room's name.
 */
MUST_CHECK int access_check(
    const struct access *access, const struct claims *claims, struct bytes room);

/*
 * Whether the user may speak in `room`, being a member of it. Whether they may join is not asked: a
 * backend may have put them there, or the rules may have changed since.
 */
bool access_may_send(const struct access *access, const struct claims *claims, struct bytes room);

#endif
