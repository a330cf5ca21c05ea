/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_world - a session layer over tests/support/fake_hub.h and an application that keeps a
 * diary of what it was told.
 *
 * Tokens: "refuse" is refused, "move" wants shard 1, "forbidden" is refused with that code,
 * "starved" for want of memory, "flood" for too many connections, "wait" waits until world_fetch is
 * done, "bob" is accepted as another user; anything else, and none, is accepted as alice.
 */
#ifndef TESTS_UNIT_HUB_SESSION_WORLD_H
#define TESTS_UNIT_HUB_SESSION_WORLD_H

#include <stdbool.h>

#include "actors/close.h"
#include "actors/recover/recovery_bus.h"
#include "hub/session/session_layer.h"
#include "tests/support/fake_hub.h"

enum {
    WORLD_PING_INTERVAL = 300,
    WORLD_PING_TIMEOUT = 200,
    WORLD_CONNECT_TIMEOUT = 1000,
    WORLD_ATTACHMENTS_TIMEOUT = 150,
};

extern struct session_layer *world_layer;

/* What it was made with; for session_layer_reload. */
extern struct session_config world_config;

/* The socket that was last opened. */
extern struct socket *world_socket;

/* What the application does on its own. */
extern bool world_kick_on_open; /* disconnects a socket inside `opened` */
extern bool world_allow_origin;
extern struct recovery_fetch world_fetch; /* what the last CONNECT waits for */
extern unsigned world_verified; /* tokens that it has verified */
extern uint64_t world_place; /* where clients that only listen are */
extern bool world_end_on_place; /* a socket ends as slow inside `place` */

void world_begin(void);

/* End the world; every socket that was opened must have been closed. */
void world_end(void);

/* The diary since the last call; lines end in '\n'. */
const char *world_diary(void);

/* A peer on `/socket.io/` that came with this query and header lines. */
unsigned world_request(const char *query, const char *headers);

/* A peer on `/socket.io/`; its open packet read; and with a namespace joined. */
unsigned world_fresh_peer(void);
unsigned world_peer(void);
unsigned world_joined_peer(void);

/* A peer on `/ws` with these subprotocols. */
unsigned world_plain(const char *protocols);

/* A peer on `/api/v1/stream` that came with this query and header lines. */
unsigned world_stream(const char *query, const char *headers);

/* Assert that the session is (not) being ended. */
void world_assert_open(unsigned peer);
void world_assert_closing(unsigned peer, enum close_reason reason);

#endif
