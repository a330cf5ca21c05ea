/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deadlines - private to the session layer: when a session must be looked at again.
 *
 * The heartbeat: the next ping is due ping_interval after the pong arrived. One other packet that
 * arrives while a pong is awaited prolongs the wait once (socketio-wire.md 1.8): the line is alive,
 * but full. Besides: a namespace to be joined, attachments to arrive, silence.
 */
#ifndef HUB_SESSION_DEADLINES_H
#define HUB_SESSION_DEADLINES_H

#include "actors/close.h"

struct session;
struct session_part;

/* Begin: the first ping is due an interval from now, and silence begins. */
void deadlines_start(struct session *session);

/* A pong arrived (one that was not asked for is ignored); another packet arrived. */
void deadlines_pong(struct session *session);
void deadlines_other(struct session *session);

/* Set the timer to the earliest deadline of an open session; the same for all of `part`, where they
 * have changed. */
void deadlines_arm(struct session *session);
void deadlines_arm_all(struct session_part *part);

/* The timer has fired: ping, if that is due. Returns why the session is to end; 0: it goes on. */
enum close_reason deadlines_expire(struct session *session);

#endif
