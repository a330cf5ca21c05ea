/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections whose peers do not take what waits: as the operator is told of one, and one that is
 * not there any more.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "hub/net/connection.h"
#include "hub/net/connection_state.h"
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

void connection_expect_acks(struct connection *connection, uint32_t ms)
{
    unsigned timeout = ms;
    /* Without it (no TCP), the end comes when the kernel gives up by itself. */
    (void)setsockopt(
        connection->socket.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
}
