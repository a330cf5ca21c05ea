/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deflate - outgoing WebSocket messages, compressed once for all who take them so (RFC 7692).
 *
 * A loop has one compressor; what it makes hangs on the chunk that it was made of.
 */
#ifndef HUB_NET_DEFLATE_H
#define HUB_NET_DEFLATE_H

struct chunk;
struct loop;
struct websocket_limits;

/*
 * `chunk` with its messages compressed, for a client whose window has `bits` bits, or `chunk` where
 * there is no gain. No reference is passed. On the loop's thread.
 */
struct chunk *deflate_chunk(
    struct loop *loop, const struct websocket_limits *limits, unsigned bits, struct chunk *chunk);

#endif
