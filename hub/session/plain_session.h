/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plain_session - private to the session layer: the plain WebSocket (`/ws`), arrays of packets.
 *
 * One socket in the namespace "/", accepted before the upgrade.
 */
#ifndef HUB_SESSION_PLAIN_SESSION_H
#define HUB_SESSION_PLAIN_SESSION_H

struct protocol;

extern const struct protocol plain_json_protocol;
extern const struct protocol plain_msgpack_protocol;

#endif
