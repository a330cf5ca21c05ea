/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection - one accepted TCP peer: bytes in, an outbox out, one end.
 *
 * A connection has one owner at a time: the HTTP server first, then (after an upgrade) a WebSocket.
 * It reads into a buffer of the shard; bytes the owner does not consume are kept, so an idle
 * connection holds none. Freed in a turn of its own after `closed`.
 */
#ifndef HUB_NET_CONNECTION_H
#define HUB_NET_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/close.h"
#include "actors/deliver/outbox.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct address_claim;
struct builder;
struct name_counts;
struct sockaddr;
struct sockaddr_in6;
struct connection;
struct sockaddr_storage;
struct loop;
struct shard;
struct shed;
struct tls_context;
struct tls_counts;

struct connection_ops {
    /*
     * Bytes have arrived: all that were not consumed before, and the new ones. Return how many are
     * consumed (0 is fine: more are needed, up to the limit set with connection_set_limit).
     */
    size_t (*on_bytes)(struct connection *connection, struct bytes bytes);
    /* The connection has ended, for this reason; called exactly once; the owner lets go of it. */
    void (*on_closed)(struct connection *connection, enum close_reason reason);
    /* Everything that was in the outbox has been written (after it was not). May be NULL. */
    void (*on_drained)(struct connection *connection);
    /* The outbox is no longer full (outbox_ops.relieved). May be NULL. */
    void (*on_relieved)(struct connection *connection);
    /*
     * The peer does not read: more than outbox_limits.high has waited for `ms`, the configured time
     * or, with `overflow`, less, but then so much waits that nothing more is taken. Returns whether
     * it has seen to the end; otherwise, and with NULL, it is closed at once with CLOSE_SLOW.
     */
    bool (*on_slow)(struct connection *connection, uint64_t ms, bool overflow);
    /* outbox_ops.deflate; NULL: chunks leave as they are. */
    struct chunk *(*deflate)(struct connection *connection, struct chunk *chunk);
    bool sheds; /* connection_offer offers it; others have owners that are offered */
};

/*
 * Make a connection of the socket `fd`, which it takes over, also on failure. `claim` is where
 * it counts until it is authenticated, or NULL; taken over, too. With `tls`, NULL for none, bytes
 * and outbox are those inside of TLS under its rules. It reads from connection_own on.
 * STATUS_IO, STATUS_NOMEM.
 */
MUST_CHECK int connection_open(struct loop *loop, int fd, const struct address_claim *claim,
    struct tls_context *tls, struct connection **ret_connection);

/*
 * Change the owner: what arrives from now on, and the end, go to `ops` with `owner`. Bytes that
 * wait unconsumed are delivered in the next turn.
 */
void connection_own(struct connection *connection, const struct connection_ops *ops, void *owner);

/* The owner set last. */
void *connection_owner(const struct connection *connection);

/* Handshakes and connections over TLS of `loop`; NULL: there has been none. */
const struct tls_counts *connection_tls_counts(const struct loop *loop);

/* What a connection takes of the memory, its timer left out. */
size_t connection_cost(void);

/* What bounds the outboxes of clients on `shard`. */
struct outbox_limits connection_outbox_limits(const struct shard *shard);

/* The outbox: append to it with the shard's dirty list. */
struct outbox *connection_outbox(struct connection *connection);

/*
 * Put what `builder` holds into the outbox; the builder is empty afterwards. False: it has failed,
 * or the outbox takes no more.
 */
bool connection_send(struct connection *connection, struct builder *builder);

/* The loop it is on. */
struct loop *connection_loop(const struct connection *connection);

/*
 * Say for which client the peer, a trusted proxy, has it from now on; it counts where that client
 * counts in `counts` until it is authenticated or unclaimed. False when `client` has `cap` already
 * (0: any), which is reported, or there is no memory.
 */
MUST_CHECK bool connection_claim(struct connection *connection, struct name_counts *counts,
    const struct sockaddr_in6 *client, uint32_t cap);

/* Count, and tell the operator, that `address` was refused because it has as many as it may. */
void connection_report_full(struct loop *loop, const struct sockaddr *address);

/* A claimed one counts for nobody any more, until it is claimed again. */
void connection_unclaim(struct connection *connection);

/* It is its peer's own again. */
void connection_disclaim(struct connection *connection);

/*
 * Whose it is: the address of the client that it was claimed for, else of the peer, as text without
 * port (at most 45 characters), written into `ret_text`; empty when there is none any more. All
 * limits by address, logs and handshakes go by this one.
 */
void connection_remote(const struct connection *connection, char ret_text[46]);

/*
 * A proxy in front has passed it on for `peer`, which is its peer from now on. False: no memory.
 */
MUST_CHECK bool connection_set_peer(struct connection *connection, const struct sockaddr_in6 *peer);

/* The peer's address; false when there is none any more. */
bool connection_peer(const struct connection *connection, struct sockaddr_storage *ret_peer);

/* Tell the operator that it is closed because an answer has waited for `ms` (slow.h). */
void connection_report_slow(struct connection *connection, uint64_t ms);

/* Whether the peer has sent what was not read yet: bytes, or its end. */
bool connection_has_unread(const struct connection *connection);

/* Whether neither side has ended it. */
bool connection_is_open(const struct connection *connection);

/* The peer is authenticated: it no longer counts against its address's cap. */
void connection_authenticated(struct connection *connection);

/*
 * The end, for CLOSE_TRANSPORT, when the peer's kernel has not said for `ms` that it has what was
 * written: of a peer that says nothing itself. On whatever shard it is.
 */
void connection_expect_acks(struct connection *connection, uint32_t ms);

/* Call on_bytes in the next turn with what was not consumed, even when nothing more arrives. */
void connection_again(struct connection *connection);

/* Close it for `reason`, without flush, when it has not ended in `ms` (0: no more); the last call
 * counts. */
void connection_expire(struct connection *connection, enum close_reason reason, uint32_t ms);

/* How many unconsumed bytes may wait; more closes it with CLOSE_TOO_LARGE. */
void connection_set_limit(struct connection *connection, uint32_t max_bytes);

/* Stop or go on reading (back-pressure); counted, so two may pause independently. */
void connection_pause(struct connection *connection);
void connection_resume(struct connection *connection);

/*
 * End it: with `flush`, what waits is written first (bounded by 3 s); then closed, and
 * on_closed(reason) is called, never before this returned. Again: nothing.
 */
void connection_close(struct connection *connection, enum close_reason reason, bool flush);

/*
 * Move it to another shard: stops reading, waits until nothing waits or is under way, and calls
 * `arrived(context, connection)` on the thread of `shard` with a new connection that has the same
 * peer and the unconsumed bytes, and not yet an owner (connection_own delivers the kept bytes in
 * the next turn). The old one is freed without on_closed. If the peer goes meanwhile, `arrived`
 * gets NULL (on the old shard's thread, or, when the system is destroyed first, on the thread that
 * does it).
 */
typedef void (*connection_arrived_fn)(void *context, struct connection *connection);
void connection_move(
    struct connection *connection, unsigned shard, connection_arrived_fn arrived, void *context);

/* Offer the connections of the loop whose owners say so to those that go when memory is short. */
void connection_offer(struct loop *loop, struct shed *shed);

#endif
