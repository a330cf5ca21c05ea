/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a connection: opened, owned, closed exactly once. connection_state.h has the states.
 */
#include "hub/net/connection.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "actors/deliver/shed.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/net/address.h"
#include "hub/net/connection_state.h"

enum { KEPT_LIMIT = 16 << 10 }; /* unless set */

/* --- the loop's part --- */

static void stop_connections(struct loop_local *local)
{
    struct connections *connections = container_of(local, struct connections, local);
    list_for_each_safe (link, following, &connections->open) {
        connection_close(container_of(link, struct connection, link), CLOSE_DRAINING, true);
    }
}

static void destroy_connections(struct loop_local *local)
{
    struct connections *connections = container_of(local, struct connections, local);
    poller_destroy(connections->poller);
    mem_free(connections);
}

static void release_address(struct connection *connection)
{
    if (connection->address != 0) {
        address_release(&(struct address_claim){
            .counts = connection->part->addresses, .name = connection->address});
        connection->address = 0;
    }
}

static void keep_claim(struct connection *connection, const struct address_claim *claim)
{
    if (claim->counts != NULL) {
        connection->part->addresses = claim->counts;
        connection->address = claim->name;
    }
}

static void finish(struct connection *connection)
{
    struct shard *shard = connection_shard(connection);
    connection->outbox.busy = false;
    outbox_finish(&connection->outbox);
    connection_drop_kept(connection);
    timer_cancel(sched_timers(shard->sched), &connection->timer);
    release_address(connection);
    if (connection->sealed) {
        connection->part->seal->finish(connection);
    }
    shard->stats.connections--;
    if (connection->ops != NULL) {
        shard->stats.closed[connection->reason]++;
        connection->ops->on_closed(connection, connection->reason);
    }
    mem_free(connection->names); /* whose it was may be asked until it is told closed */
    mem_free(connection);
}

static void reap(struct loop_task *task)
{
    struct connections *connections = container_of(task, struct connections, reaper);
    struct list ended;
    list_init(&ended);
    list_splice(&ended, &connections->ended);
    for (struct list *link; (link = list_pop(&ended)) != NULL;) {
        finish(container_of(link, struct connection, link));
    }
    if (list_empty(&connections->open) && list_empty(&connections->ended)) {
        poller_hold(connections->poller, false);
    }
}

static struct connections *connections_of(struct loop *loop)
{
    struct loop_local *local = loop_get_local(loop, LOOP_CONNECTIONS);
    if (local != NULL) {
        return container_of(local, struct connections, local);
    }
    struct connections *connections = mem_alloc(sizeof(*connections));
    connections->local.stop = stop_connections;
    connections->local.destroy = destroy_connections;
    connections->loop = loop;
    connections->shard = loop_shard(loop);
    connections->poller = poller_create(loop_uv(loop), connection_ready);
    CHECK(connections->poller != NULL);
    list_init(&connections->open);
    list_init(&connections->ended);
    loop_task_init(&connections->reaper, reap);
    loop_set_local(loop, LOOP_CONNECTIONS, &connections->local);
    return connections;
}

/* --- the end --- */

static void on_timer(struct timer *timer)
{
    struct connection *connection = container_of(timer, struct connection, timer);
    if (connection->state == OPEN && connection->slow) {
        connection_too_slow(connection);
    } else if (connection->state == OPEN) {
        connection_close(connection, connection->expiry, false);
    } else {
        connection_end(connection);
    }
}

/* --- life and access --- */

int connection_make(struct loop *loop, int fd, const struct address_claim *claim, bool sealed,
    struct connection **ret_connection)
{
    struct connections *part = connections_of(loop);
    size_t size = sealed ? sizeof(struct connection_sealed) : sizeof(struct connection);
    struct connection *connection = mem_try_calloc(1, size);
    if (connection == NULL) {
        close(fd);
        if (claim != NULL) {
            struct address_claim taken = *claim;
            address_release(&taken);
        }
        return STATUS_NOMEM;
    }
    connection->part = part;
    connection->sealed = sealed;
    connection->socket.fd = fd;
    struct outbox_limits limits = connection_outbox_limits(part->shard);
    outbox_init(&connection->outbox, &connection_outbox_ops, &limits);
    timer_init(&connection->timer, on_timer);
    connection->limit = KEPT_LIMIT;
    if (claim != NULL) {
        keep_claim(connection, claim);
    }
    part->shard->stats.connections++;
    if (list_empty(&part->open)) {
        poller_hold(part->poller, true);
    }
    list_init(&connection->link);
    list_append(&part->open, &connection->link);
    if (!poller_want(part->poller, &connection->socket, POLLER_READ)) {
        connection->sealed = false; /* it has no part of it yet */
        connection_end(connection);
        return STATUS_IO;
    }
    connection_stop_reading(connection); /* until it has an owner */
    *ret_connection = connection;
    return 0;
}

void connection_own(struct connection *connection, const struct connection_ops *ops, void *owner)
{
    connection->ops = ops;
    connection->owner = owner;
    if (connection->kept != NULL) {
        connection_again(connection);
    } else {
        connection_start_reading(connection);
    }
}

void *connection_owner(const struct connection *connection)
{
    return connection->owner;
}

size_t connection_cost(void)
{
    return mem_cost(sizeof(struct connection)) - sizeof(struct timer);
}

struct outbox *connection_outbox(struct connection *connection)
{
    return &connection->outbox;
}

void connection_set_limit(struct connection *connection, uint32_t max_bytes)
{
    connection->limit = max_bytes;
}

bool connection_is_open(const struct connection *connection)
{
    return connection->state == OPEN;
}

void connection_authenticated(struct connection *connection)
{
    release_address(connection);
}

/* What is known by name; NULL: no memory. */
static struct connection_names *names_of(struct connection *connection)
{
    if (connection->names == NULL) {
        connection->names = mem_try_calloc(1, sizeof(*connection->names));
    }
    return connection->names;
}

bool connection_set_peer(struct connection *connection, const struct sockaddr_in6 *peer)
{
    struct connection_names *names = names_of(connection);
    if (names == NULL) {
        return false;
    }
    names->peer = *peer;
    names->has_peer = true;
    return true;
}

bool connection_peer(const struct connection *connection, struct sockaddr_storage *ret_peer)
{
    if (connection->names != NULL && connection->names->has_peer) {
        memcpy(ret_peer, &connection->names->peer, sizeof(connection->names->peer));
        return true;
    }
    socklen_t len = sizeof(*ret_peer);
    return getpeername(connection->socket.fd, (struct sockaddr *)ret_peer, &len) == 0;
}

bool connection_has_unread(const struct connection *connection)
{
    char byte;
    return recv(connection->socket.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0;
}

void connection_report_full(struct loop *loop, const struct sockaddr *address)
{
    unsigned suppressed;
    loop_shard(loop)->stats.address_refused++;
    if (log_allow(&connections_of(loop)->full, &suppressed)) {
        char text[ADDRESS_TEXT_MAX];
        address_write(address, text);
        log_warn("LISTEN-ADDRESS",
            "an address has as many connections without token or key as it may",
            "remote=%s suppressed=%u", text, suppressed);
    }
}

bool connection_claim(struct connection *connection, struct name_counts *counts,
    const struct sockaddr_in6 *client, uint32_t cap)
{
    const struct sockaddr *address = (const struct sockaddr *)client;
    struct address_claim claim = {0};
    struct connection_names *names = names_of(connection);
    if (names == NULL) {
        return false;
    }
    names->client = *client;
    names->has_client = true;
    release_address(connection);
    if (cap > 0 && !address_take(counts, address, ADDRESS_CLIENT, cap, &claim)) {
        connection_report_full(connection->part->loop, address);
        return false;
    }
    keep_claim(connection, &claim);
    return true;
}

void connection_unclaim(struct connection *connection)
{
    if (connection->names != NULL && connection->names->has_client) {
        connection_authenticated(connection);
    }
}

void connection_disclaim(struct connection *connection)
{
    connection_unclaim(connection);
    if (connection->names != NULL && !connection->names->has_peer) {
        mem_free(connection->names);
        connection->names = NULL;
    } else if (connection->names != NULL) {
        connection->names->has_client = false;
    }
}

void connection_remote(const struct connection *connection, char ret_text[46])
{
    struct sockaddr_storage peer = {0};
    ret_text[0] = '\0';
    if (connection->names != NULL && connection->names->has_client) {
        address_write((const struct sockaddr *)&connection->names->client, ret_text);
    } else if (connection_peer(connection, &peer)) {
        address_write((const struct sockaddr *)&peer, ret_text);
    }
}

static void end_shed(void *owner)
{
    connection_close(owner, CLOSE_SLOW, false);
}

void connection_offer(struct loop *loop, struct shed *shed)
{
    list_for_each (link, &connections_of(loop)->open) {
        struct connection *connection = container_of(link, struct connection, link);
        if (connection->ops != NULL && connection->ops->sheds) {
            shed_offer(
                shed, &(struct shed_candidate){
                          .outbox = &connection->outbox, .owner = connection, .end = end_shed});
        }
    }
}
