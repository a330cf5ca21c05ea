/* SPDX-License-Identifier: Apache-2.0 */
/*
 * announce - the message on a user's channel that tells nodes of a change in the user's inbox.
 *
 * MessagePack, an array that begins with version and epoch; between nodes of one cluster only. It
 * is a hint: who misses one, or does not understand one, reads the store. The decoder is strict.
 */
#ifndef CODEC_ANNOUNCE_H
#define CODEC_ANNOUNCE_H

#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/mp.h"
#include "codec/notification_json.h"

enum { ANNOUNCE_CHANGES_MAX = 1000 };

enum announce_kind {
    ANNOUNCE_NEW, /* `item`: the row that was stored */
    ANNOUNCE_STATE, /* `state`, and `up_to` or changes */
    ANNOUNCE_CHECK, /* look at the store: up to `rev` there is more than fits here, or (0) an
                       earlier announcement may have been lost */
};

struct announce {
    uint64_t version; /* in which it is written: codec/bus_version.h */
    struct bytes epoch; /* of the store */
    enum announce_kind kind;
    struct bytes tenant;
    struct bytes user;
    uint64_t seq; /* the inbox's, after the change; 0 in a CHECK that knows nothing */
    uint64_t rev;
    uint64_t unread;
    uint64_t unseen;
    struct notification_item item; /* NEW; its tenant and user are those above */
    /* STATE: */
    enum notification_state state;
    uint64_t at;
    uint64_t snoozed_until;
    uint64_t up_to; /* every one with seq up to this; 0: the ids of `changes` */
    const struct notification_change *changes; /* to encode; the decoder leaves NULL */
    uint32_t change_count;
    /* private */
    struct mp_reader reader;
};

/* Append the message. Failure is the builder's. */
void announce_encode(const struct announce *announce, struct builder *out);

/*
 * Decode version and epoch only, with which messages of every version begin, and look at nothing
 * behind them; `ret_epoch` points into `payload` and may not be UTF-8. STATUS_INVALID.
 */
MUST_CHECK int announce_origin(
    struct bytes payload, uint64_t *ret_version, struct bytes *ret_epoch);

/*
 * Decode a message of a version that is understood; slices point into `payload`. STATUS_INVALID,
 * STATUS_UTF8 or STATUS_TOO_LARGE.
 */
MUST_CHECK int announce_decode(struct bytes payload, struct announce *ret_announce);

/* The next change of a decoded message, or false after the last. */
bool announce_next_change(struct announce *announce, struct notification_change *ret_change);

#endif
