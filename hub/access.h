/* SPDX-License-Identifier: Apache-2.0 */
/*
 * access - which rooms a user may join (protocol: Rooms).
 *
 * A room's type is what stands before the first ':' of its name, or, for a name without one, what
 * the first matching pattern says; never what a client claims. Each type has rules, any of which
 * lets in; none means no. Pure functions over an immutable table: any thread.
 *
 * Rules, as text (several are separated by blanks):
 *   any            every user
 *   role:a,b       users whose role is one of these
 *   claim:NAME     users whose token's claim NAME is, or contains, what stands behind the ':'
 *   claim:NAME=V   users whose token's claim NAME is, or contains, V
 *   pattern:P      rooms whose whole name equals P, with {sub}, {role}, {tenant} filled in from
 *                  the token and '*' for anything (a part that fills in empty never matches)
 *   tenant         users whose tenant is what stands behind the ':'
 *   token          users whose token lists the room, or a prefix of it, in `rooms`
 *   deny           nobody (must stand alone)
 * Built in: public = any, company and tenant = tenant, admin = role:admin; configured rules of
 * these replace them. Every other type has `token` besides its configured rules, unless `deny`.
 * `user` cannot be configured: its one rule is that the room is the user's own.
 */
#ifndef HUB_ACCESS_H
#define HUB_ACCESS_H

#include <stddef.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/claims.h"

/* The rules of one type. */
struct access_rule_options {
    struct bytes type;
    struct bytes rules;
};

/* What type a room without ':' has: `pattern` with '*' for anything; the first match counts. */
struct access_type_options {
    struct bytes pattern;
    struct bytes type;
};

/* The configuration, borrowed for the call. */
struct access_options {
    const struct access_rule_options *rules;
    size_t rule_count;
    const struct access_type_options *types;
    size_t type_count;
};

struct access;

/* Make the table. STATUS_INVALID with a sentence appended to `error` for a rule that is not one. */
MUST_CHECK int access_create(
    const struct access_options *options, struct builder *error, struct access **ret_access);

/* Free the table; NULL is allowed. */
void access_destroy(struct access *access);

/* The type of `room`; empty for a name without ':' that no pattern matches. */
struct bytes access_type(const struct access *access, struct bytes room);

/*
 * Whether the user may join `room` (the roomId of the contract, without a tenant before it): 0,
 * STATUS_DENIED, or STATUS_INVALID when this cannot be a room's name.
 */
MUST_CHECK int access_check(
    const struct access *access, const struct claims *claims, struct bytes room);

#endif
