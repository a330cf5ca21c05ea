/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connect - private to the session layer: how a client joins a namespace, all steps in one place.
 *
 *     ask ─▶ decide ─┬─▶ accept ─▶ attach ─▶ welcome ─▶ opened
 *             ▲ ▲    ├─▶ refuse
 *             │ └────┼── wait: the client may have been on another node
 *             └──────┴── move: its user lives on another shard
 *
 * The token is verified by the first `decide`. Who it is goes along through `wait` and `move`, as
 * does what was asked: the packet is not decoded again.
 */
#ifndef HUB_SESSION_CONNECT_H
#define HUB_SESSION_CONNECT_H

#include "codec/base/bytes.h"

struct app_verdict;
struct session;

/* A CONNECT packet arrived: it asks for the namespace `nsp` with the JSON text `auth`. */
void connect_ask(struct session *session, struct bytes nsp, struct bytes auth);

/* The application has decided about "/" before the session was made; what `verdict` (ACCEPT or
 * MOVE) holds is taken over. */
void connect_decided(struct session *session, struct app_verdict *verdict);

/* The session has come to the user's shard: go on with what it took along. */
void connect_arrived(struct session *session);

#endif
