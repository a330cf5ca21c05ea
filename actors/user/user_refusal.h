/* SPDX-License-Identifier: Apache-2.0 */
/*
 * user_refusal - how a client is told that what it asked is refused; one shape for all of it.
 */
#ifndef ACTORS_USER_USER_REFUSAL_H
#define ACTORS_USER_USER_REFUSAL_H

#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/errors.h"

struct socket;

/* Why a call of a client is refused; what it points to is read before the function returns. */
struct user_refusal {
    enum error_code code;
    const char *message;
    const char *field; /* of the argument; NULL: no single one is at fault */
    uint64_t retry_ms; /* may be repeated then; 0: nothing is said of it */
};

/*
 * Refuse a call of `socket`: ack {"ok":false,…} where it asked for an answer (`id`), emit `error`
 * where `id` is NULL.
 */
void user_refuse_event(struct socket *socket, const uint64_t *id, struct bytes event,
    const struct user_refusal *refusal);

#endif
