/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection of HTTP whose peer does not take what waits, as the operator is told of it.
 */
#include "hub/net/connection.h"
#include "hub/net/slow.h"

void connection_report_slow(struct connection *connection, uint64_t ms)
{
    char remote[46];
    connection_remote(connection, remote);
    slow_report(&(struct slow_peer){.transport = "http",
        .remote = remote,
        .bytes = connection_outbox(connection)->bytes,
        .ms = ms});
}
