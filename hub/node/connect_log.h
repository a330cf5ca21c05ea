/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connect_log - a line of log for a client that comes and one for its end, for some of them.
 *
 * Which ones is decided by the sid, so that of one client both lines are written, or neither; of
 * each kind at most ten in ten seconds and shard. What was held back is counted in the next line.
 */
#ifndef HUB_NODE_CONNECT_LOG_H
#define HUB_NODE_CONNECT_LOG_H

#include "actors/close.h"

struct socket;

/* Log that `socket` was taken: CONNECT. */
void connect_log_opened(struct socket *socket);

/* Log why it ends, and how long its connection was there: CLOSED. Before socket_detach. */
void connect_log_closed(struct socket *socket, enum close_reason reason);

#endif
