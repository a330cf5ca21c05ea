/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_session - private to the session layer: packets of /ws to a client that only listens.
 *
 * One socket in the namespace "/", accepted before the answer begins.
 */
#ifndef HUB_SESSION_STREAM_SESSION_H
#define HUB_SESSION_STREAM_SESSION_H

struct protocol;

extern const struct protocol stream_protocol;

#endif
