/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection_state - what the files of the connection share: connection.c (life), connection_io.c
 * (bytes in and out), connection_tls.c (what is between them and the wire), connection_end.c
 * (closing), connection_move.c (to another shard). Nobody else includes it.
 *
 * States: OPEN -> FLUSHING (closing, what waits is written) -> LINGERING (our FIN is sent, what the
 * peer still sends is discarded: closing at once would reset the connection and take the last
 * answer from the peer) -> ENDED (uv_close was called; its callback tells the owner and frees). Any
 * of them may go straight to ENDED.
 *
 * One timer of the wheel serves the deadlines, which exclude each other: an outbox that stays full,
 * connection_expire, and the bound of FLUSHING and LINGERING.
 */
#ifndef HUB_NET_CONNECTION_STATE_H
#define HUB_NET_CONNECTION_STATE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "actors/deliver/outbox.h"
#include "actors/shard.h"
#include "codec/base/list.h"
#include "codec/base/log.h"
#include "hub/net/address.h"
#include "hub/net/loop.h"
#include "hub/net/poller.h"

enum {
    CONNECTION_READ_SIZE =
        64 << 10, /* the shard's buffer: the most one connection gets in a turn */
    CONNECTION_CLOSE_MS = 3000,
};

enum connection_phase { OPEN, FLUSHING, LINGERING, ENDED };

/* Bytes the owner has not consumed; exists only while there are some, or connection_again waits. */
struct kept {
    struct loop_task task; /* deliver them */
    struct connection *connection;
    uint32_t len;
    uint32_t cap;
    char at[];
};

/* Who is behind the socket, where proxies in front have said it. */
struct connection_names {
    bool has_peer; /* a preface named it */
    bool has_client; /* the request under way is of another one */
    struct sockaddr_in6 peer;
    struct sockaddr_in6 client;
};

struct connection_ops;

struct connection {
    struct poller_socket socket; /* outbox.busy: it waits until the kernel takes more */
    struct connections *part;
    struct list link; /* part.open, from the end on part.ended */
    struct outbox outbox;
    const struct connection_ops *ops;
    void *owner;
    struct kept *kept;
    struct connection_names *names; /* NULL: it is of whoever has the other end */
    uint64_t address; /* its claim in part.addresses while it is not authenticated; 0: none */
    struct timer timer;
    uint32_t limit;
    uint8_t state : 6; /* enum connection_phase */
    uint8_t sealed : 1; /* it is the first member of a struct connection_sealed */
    uint8_t slow : 1; /* the timer runs because the outbox is full */
    uint8_t reason; /* enum close_reason; of the end, once not OPEN */
    uint8_t expiry; /* enum close_reason; what the timer means while OPEN */
    uint8_t pauses : 5;
    uint8_t eof : 1; /* the peer has sent its FIN */
    uint8_t moving : 1;
    uint8_t congested : 1; /* not everything went out at once since it was last drained */
};

_Static_assert(sizeof(struct connection) <= 192,
    "memory of an idle connection is what this program is measured by");

struct tls_stream;

/* Bytes of the wire that the kernel did not take; exists only while there are some. */
struct connection_pending {
    uint32_t plain; /* bytes of the outbox that they say, which count there until all is sent */
    uint32_t sent;
    uint32_t len;
    char at[];
};

/* A connection over TLS. */
struct connection_sealed {
    struct connection connection;
    struct tls_stream *stream; /* NULL: it is on its way to another loop */
    struct connection_pending *pending;
    bool said_end;
};

/*
 * What is done otherwise where a connection is sealed: a table, since connection_tls.c stands above
 * the files that ask for it.
 */
struct connection_seal {
    /* Whether it may be read in this turn; `ret_at`, `ret_size`: to where. */
    bool (*reads)(struct connection *connection, char **ret_at, size_t *ret_size);
    /* Bytes of the wire have come. */
    void (*take)(struct connection *connection, struct bytes input);
    /* Whether the peer has said that nothing follows, also when its FIN has not come. */
    bool (*ended)(const struct connection *connection);
    /* Write what waits, as far as the kernel takes it. */
    void (*flush)(struct connection *connection);
    /* Whether what is in the outbox can be sent, now or when the kernel takes it. */
    bool (*can_flush)(const struct connection *connection);
    /* Nothing is to follow: whether all has been sent, also that. Otherwise it goes on by itself.
     */
    bool (*end)(struct connection *connection);
    /* Whether something of it waits that is not in the outbox. */
    bool (*waits)(const struct connection *connection);
    /* Free its part of it. */
    void (*finish)(struct connection *connection);
};

/* What the connections of one loop share. */
struct connections {
    struct loop_local local;
    struct loop *loop;
    struct name_counts *addresses; /* of all that have a claim */
    struct log_limit full;
    struct shard *shard;
    struct poller *poller;
    const struct connection_seal *seal; /* once there was a sealed one */
    struct list open; /* connection.link */
    struct list ended; /* connection.link: closed, their owners are told by `reaper` */
    struct loop_task reaper;
    uint64_t turn; /* of `taken` */
    uint64_t taken; /* bytes read in it */
    char buffer[CONNECTION_READ_SIZE];
};

/* The shard a connection is on. */
struct shard *connection_shard(const struct connection *connection);

/* Change what the socket wants; false when it cannot be asked for. */
bool connection_want(struct connection *connection, unsigned more, unsigned less);

/* Whether its owner is to be shown more before anything that follows counts, also the end. */
bool connection_holds(const struct connection *connection);

/* Read, if nothing speaks against it; who has said that nothing follows is closed. */
void connection_start_reading(struct connection *connection);

/* A connection without its TLS; statuses and `fd` as in connection_open. */
int connection_make(struct loop *loop, int fd, const struct address_claim *claim, bool sealed,
    struct connection **ret_connection);

/* What came for the owner. */
void connection_take_input(struct connection *connection, struct bytes bytes);

/* What the kernel takes of `ranges`: 0 when nothing now, negative: the connection is gone. */
ssize_t connection_write(struct connection *connection, struct iovec *ranges, size_t count);

/* The kernel takes no more: go on when it does. */
void connection_wait_writable(struct connection *connection);

/* Take the TLS of a sealed connection away, for another loop; give it to `connection` there. */
struct tls_stream *connection_tls_detach(struct connection *connection);
void connection_tls_adopt(struct connection *connection, struct tls_stream *stream);

/* Read no more for now; kept as what the socket wants. */
void connection_stop_reading(struct connection *connection);

/* Free the kept bytes. */
void connection_drop_kept(struct connection *connection);

/* Nothing waits in the outbox: go on with closing, or tell the owner. */
void connection_emptied(struct connection *connection);

/* The socket is ready for what it wanted. */
void connection_ready(struct poller_socket *socket, unsigned ready);

/* The outbox has been full for as long as it may: the end. */
void connection_too_slow(struct connection *connection);

/* The outbox's operations. */
extern const struct outbox_ops connection_outbox_ops;

/* Close the socket now; the owner is told in the next turn. */
void connection_end(struct connection *connection);

#endif
