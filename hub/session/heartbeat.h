/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heartbeat - private to the session layer: the hub pings, the client answers in time.
 *
 * The next ping is due ping_interval after the pong arrived. One other packet that arrives while a
 * pong is awaited prolongs the wait once (socketio-wire.md 1.8): the line is alive, but full.
 */
#ifndef HUB_SESSION_HEARTBEAT_H
#define HUB_SESSION_HEARTBEAT_H

#include <stdint.h>

struct session;

/* Begin: the first ping is due an interval from now. */
void heartbeat_start(struct session *session);

/* A pong arrived; one that was not asked for is ignored. */
void heartbeat_pong(struct session *session);

/* Another packet arrived. */
void heartbeat_other(struct session *session);

/* The deadline, in full monotonic ms. */
uint64_t heartbeat_due(const struct session *session);

/* The deadline has passed: ping, or end the session. The caller re-arms the timer. */
void heartbeat_expire(struct session *session);

#endif
