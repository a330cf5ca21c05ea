/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the two lines. What is held back costs a hash of the sid and a look at the clock.
 */
#include "hub/node/connect_log.h"

#include "actors/deliver/socket.h"
#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/base/map.h"
#include "hub/config/config.h"
#include "hub/node/hub_settings.h"
#include "hub/node/node.h"

/* Whether this client is one of those that are told of, and one more line may be written. */
static bool may_tell(const struct socket *socket, struct log_limit *limit, unsigned *ret_suppressed)
{
    unsigned every = hub_shard_of(socket->shard)->settings->config->log_connections;
    return every > 0 && hash_bytes(bytes_of(socket->sid, SOCKET_SID_LEN)) % every == 0 &&
           log_allow(limit, ret_suppressed);
}

static struct socket_handshake describe(struct socket *socket)
{
    struct socket_handshake handshake = {0};
    if (socket->ops->describe != NULL) {
        socket->ops->describe(socket, &handshake);
    }
    if (handshake.transport == NULL) {
        handshake.transport = socket->ops->one_way ? "stream" : "plain";
    }
    return handshake;
}

void connect_log_opened(struct socket *socket)
{
    static _Thread_local struct log_limit limit;
    unsigned suppressed;
    if (!may_tell(socket, &limit, &suppressed)) {
        return;
    }
    struct socket_handshake handshake = describe(socket);
    log_info("CONNECT", "a client has come",
        "user=%s node=%s transport=%s nsp=%s remote=%s socket=%s resumed=%d suppressed=%u",
        log_quote(identity_key(socket->identity)), hub_shard_of(socket->shard)->hub->node,
        handshake.transport, log_quote(socket_nsp(socket)), log_quote(bytes_str(handshake.address)),
        log_quote(bytes_of(socket->sid, SOCKET_SID_LEN)), socket->returned, suppressed);
}

void connect_log_closed(struct socket *socket, enum close_reason reason)
{
    static _Thread_local struct log_limit limit;
    unsigned suppressed;
    if (!may_tell(socket, &limit, &suppressed)) {
        return;
    }
    struct socket_handshake handshake = describe(socket);
    /* One that another socket continues is in no namespace any more. */
    struct bytes nsp = socket->fanout != NULL ? socket_nsp(socket) : bytes_of("", 0);
    uint64_t now = sched_wall(socket->shard->sched);
    uint64_t since = handshake.issued_ms;
    log_info("CLOSED", "a client is gone",
        "user=%s node=%s transport=%s nsp=%s reason=%s ms=%llu socket=%s suppressed=%u",
        log_quote(identity_key(socket->identity)), hub_shard_of(socket->shard)->hub->node,
        handshake.transport, log_quote(nsp), close_name(reason),
        since > 0 && since < now ? (unsigned long long)(now - since) : 0ULL,
        log_quote(bytes_of(socket->sid, SOCKET_SID_LEN)), suppressed);
}
