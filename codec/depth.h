/* SPDX-License-Identifier: Apache-2.0 */
/*
 * depth - how deep values nest, from the way in to every way out.
 *
 * What is accepted at DEPTH_ACCEPTED comes back inside what Peal puts around it: an item, a list, a
 * window, a packet, an announcement. Everything that encodes, checks or decodes what is on its way
 * out takes DEPTH_WIRE, so what was accepted can always be told.
 */
#ifndef CODEC_DEPTH_H
#define CODEC_DEPTH_H

enum {
    DEPTH_CLIENT = 32, /* of one message of a client, its packet included */
    DEPTH_ACCEPTED = 64, /* the deepest that limits.json_depth may allow; of an event as a whole */
    /*
     * At most 10 are used:
     * `["batch_update",{"messages":[{"event":"notification:state","args":[{"updated":[{"digest":[{"data":`
     * holds data inside ten containers. The rest is room for what is added around items.
     */
    DEPTH_WRAP = 12,
    DEPTH_WIRE = DEPTH_ACCEPTED + DEPTH_WRAP,
};

#endif
