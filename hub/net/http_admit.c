/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection of a proxy counts for one client after the other, that of a client for itself.
 */
#include "hub/net/http_admit.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "hub/net/connection.h"
#include "hub/net/http_types.h"
#include "hub/net/proxies.h"

bool http_admit(struct connection *connection, const struct http_server_config *config,
    const struct http1_request *head)
{
    struct sockaddr_storage peer = {0};
    struct sockaddr_in6 client;
    if (config->proxies == NULL || !connection_peer(connection, &peer) ||
        !proxies_trust(config->proxies, (const struct sockaddr *)&peer)) {
        connection_disclaim(connection); /* it may have been trusted before */
        return true;
    }
    proxies_find_client(config->proxies, (const struct sockaddr *)&peer, head, &client);
    return connection_claim(connection, config->addresses, &client, config->per_address);
}
