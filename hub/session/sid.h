/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sid - the names of Engine.IO sessions that poll: which node and shard made it, and 128 random
 * bits.
 *
 * 26 characters of base64url (stock servers have 20). Node and shard only say where to ask; who
 * holds a sid is the session. All functions: any thread.
 */
#ifndef HUB_SESSION_SID_H
#define HUB_SESSION_SID_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum { SID_LEN = 26 };

/* Where a session came into being. */
struct sid_place {
    uint16_t node; /* its tag: hub/cluster/node_lease.h */
    uint8_t shard;
};

/* Draw a sid for a session that begins at `place`. */
void sid_draw(struct sid_place place, char ret_sid[SID_LEN]);

/* Where `sid` was drawn; false when it cannot be one. */
MUST_CHECK bool sid_read(struct bytes sid, struct sid_place *ret_place);

#endif
