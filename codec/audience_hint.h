/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audience_hint - the message between nodes that there is a post to many, or that one was
 * taken back.
 *
 * MessagePack, [uid, kind, n, tenant, name]. A hint: who misses one finds the post by its number.
 * The decoder is strict; whose it is and in which version is in `uid` (codec/bus_uid.h).
 */
#ifndef CODEC_AUDIENCE_HINT_H
#define CODEC_AUDIENCE_HINT_H

#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/notification_item.h"

struct audience_hint {
    struct bytes uid; /* of the node that tells it */
    enum notification_audience kind; /* AUDIENCE_NONE: earlier hints may have been lost */
    uint64_t n; /* the post's number in its tenant, from 1; 0: it was taken back */
    struct bytes tenant;
    struct bytes name; /* AUDIENCE_TOPIC: the topic */
};

/* Append the message. Failure is the builder's. */
void audience_hint_encode(const struct audience_hint *hint, struct builder *out);

/* Decode it; slices point into `payload`. STATUS_INVALID. */
MUST_CHECK int audience_hint_decode(struct bytes payload, struct audience_hint *ret_hint);

#endif
