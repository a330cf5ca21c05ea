/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll_flood - private to the session layer: sessions that poll and have joined nothing are
 * bounded.
 *
 * At the bound of the node the oldest of the largest address goes (unjoined.h), is counted and
 * logged.
 */
#ifndef HUB_SESSION_POLL_FLOOD_H
#define HUB_SESSION_POLL_FLOOD_H

struct session;

/* The session has begun here, or come here, and has joined nothing; not any more. */
void poll_flood_enter(struct session *session);
void poll_flood_leave(struct session *session);

#endif
