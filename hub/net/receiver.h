/* SPDX-License-Identifier: Apache-2.0 */
/*
 * receiver - private to websocket.c: wslay's context with the message that is being collected.
 *
 * The one home of wslay. A receiver is borrowed from the loop's pool when a WebSocket has something
 * incomplete, and given back when it stands between two messages.
 */
#ifndef HUB_NET_RECEIVER_H
#define HUB_NET_RECEIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/list.h"
#include "codec/ws_frame.h"

struct loop;
struct ws_inflater;
struct wslay_event_context;

struct receiver {
    struct wslay_event_context *wslay;
    struct list link; /* of the pool, while spare */
    struct ws_scanner scanner;
    struct bytes input; /* what wslay may take now */
    struct builder message;
    struct ws_inflater *inflater; /* made for its first compressed message, then kept */
    int inflated; /* what ws_inflate said of the message so far */
    struct builder reply; /* pong that wslay writes */
    uint64_t left; /* of the data frame being fed */
    bool binary;
    bool compressed;
    bool last; /* that frame ends its message */
    bool broken; /* wslay has refused something */
    bool delivering; /* inside on_message, which is using `message` */
};

/* Take one from the pool, or make it. */
MUST_CHECK struct receiver *receiver_borrow(struct loop *loop);

/* Give it back to the pool of the loop on which it is now. */
void receiver_return(struct loop *loop, struct receiver *receiver);

/* It goes to another loop (receiver_arrive there), or is freed because its WebSocket has ended. */
void receiver_leave(struct loop *loop);
void receiver_arrive(struct loop *loop);
void receiver_destroy(struct receiver *receiver);

/* How many of the loop are borrowed. */
unsigned receiver_borrowed(struct loop *loop);

/* Whether nothing is incomplete in it. */
static inline bool receiver_is_idle(const struct receiver *receiver)
{
    return receiver->left == 0 && !receiver->scanner.in_message;
}

/* Hand `part` of a frame to wslay; false when it refuses. */
MUST_CHECK bool receiver_feed(struct receiver *receiver, struct bytes part);

/* Feed a whole ping and let wslay write the pong to `reply`; false when it refuses. */
MUST_CHECK bool receiver_answer_ping(struct receiver *receiver, struct bytes frame);

/*
 * What has become of the message with the part that was fed; `whole`: it was the last.
 * STATUS_TOO_LARGE, STATUS_UTF8 of inflated text, and what ws_inflate says.
 */
MUST_CHECK int receiver_check(struct receiver *receiver, bool whole);

#endif
