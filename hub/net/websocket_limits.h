/* SPDX-License-Identifier: Apache-2.0 */
/*
 * websocket_limits - what bounds a WebSocket, and how its messages are compressed.
 */
#ifndef HUB_NET_WEBSOCKET_LIMITS_H
#define HUB_NET_WEBSOCKET_LIMITS_H

#include <stdint.h>

struct websocket_limits {
    uint32_t message_bytes;
    uint32_t fragments; /* frames of one message */
    uint32_t control_frames; /* within control_window_ms */
    uint32_t control_window_ms; /* 0: 10,000 */
    uint32_t queued_replies; /* pongs waiting */
    uint32_t events_per_turn; /* messages delivered before others have their turn; 0: all */
    uint32_t close_timeout_ms; /* for the peer's answer to a close; 0: 3,000 */
    uint32_t deflate_bytes; /* messages from this size on leave compressed; 0: it is not offered */
    uint8_t deflate_level; /* 1 to 9 */
    uint8_t deflate_memory; /* 1 to 9, as ws_deflater_create; the same for all of a loop */
};

#endif
