/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_stream - one side of one TLS connection: bytes of the wire in, plain text out, and back.
 *
 * It knows no socket. What it has to send goes into the desk of its thread, and is sent from there
 * before the next call; nothing of its own waits in a stream but a record that has not come in
 * whole. OpenSSL's object (README.md: Sizes) is made when the first record of the peer is there.
 */
#ifndef HUB_NET_TLS_STREAM_H
#define HUB_NET_TLS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct tls_context;
struct tls_stream;

enum {
    TLS_RECORD = 16 << 10, /* plain bytes in one record, at most */
    TLS_INPUT_ROOM = 46 << 10, /* bytes of the wire that a stream takes at a time, at most */
    TLS_PLAIN_ROOM = 64 << 10, /* what these can become, with a record that was incomplete */
    TLS_STREAM_COST = 14600, /* bytes that an idle one takes of the memory, about: README.md */
};

enum tls_failure {
#define X(name, label, text) TLS_FAILED_##name,
#include "hub/net/tls_failure.def"
#undef X
    TLS_FAILURE_COUNT
};

/* Of one thread; only words, to be published. */
struct tls_counts {
    uint64_t open; /* connections now */
    uint64_t full; /* handshakes done */
    uint64_t resumed; /* of these, begun with a ticket */
    uint64_t waited; /* times that one waited for a turn, because others had used up this one */
    uint64_t broken; /* connections ended after the handshake, because of what came is no TLS */
    uint64_t failed[TLS_FAILURE_COUNT];
};

/* What the streams of one thread share. */
struct tls_desk {
    struct builder out; /* what is to be sent, of the stream that was called last */
    struct tls_counts counts;
    enum tls_failure failure; /* of the stream that failed last, and OpenSSL's word for it */
    char detail[100];
    char record[TLS_RECORD];
    char input[TLS_INPUT_ROOM];
};

/* What has become of a stream. */
enum tls_state {
    TLS_SHAKING, /* the handshake is under way: nothing can be sealed yet */
    TLS_READY,
    TLS_CLOSED, /* the peer has said that it sends no more (close_notify); what is sealed arrives */
    TLS_BROKEN, /* the handshake failed, or what came is no TLS: nothing goes on */
};

/* Make one under the rules of `context`, of which it takes a reference; NULL without memory. */
MUST_CHECK struct tls_stream *tls_stream_create(struct tls_context *context, struct tls_desk *desk);

/* Free it, and count it out of `desk`, unless NULL: it has left it. One whose handshake was under
 * way counts as TLS_FAILED_GONE. */
void tls_stream_destroy(struct tls_stream *stream, struct tls_desk *desk);

/* It leaves the thread of `from`, or has come to that of `to`; the other is NULL. */
void tls_stream_count(struct tls_desk *from, struct tls_desk *to);

/* What has become of it. */
enum tls_state tls_stream_state(const struct tls_stream *stream);

/*
 * The one who calls begins: desk.out holds what is to be sent. The other side must have a
 * certificate for `name`, a host or an address; NULL: whoever the context trusts. False: no memory.
 */
MUST_CHECK bool tls_stream_begin(
    struct tls_stream *stream, struct tls_desk *desk, const char *name);

/*
 * Take all of `input`, at most TLS_INPUT_ROOM bytes, and write what they say into `ret_plain`, of
 * TLS_PLAIN_ROOM bytes; returns how many. The state tells whether it goes on; desk.out holds what
 * is to be sent, also then: an alert, or the one line that a client without TLS is answered.
 */
size_t tls_stream_open(
    struct tls_stream *stream, struct tls_desk *desk, struct bytes input, char *ret_plain);

/*
 * Seal the first TLS_RECORD bytes of `ranges` into desk.out; returns how many were taken, 0 when
 * that has broken it (desk.failure: TLS_FAILED_MEMORY, or something of the peer's). Once it is
 * ready, and not broken.
 */
size_t tls_stream_seal(
    struct tls_stream *stream, struct tls_desk *desk, const struct iovec *ranges, size_t count);

/* Say in desk.out that nothing follows (close_notify); nothing while it shakes or is broken. */
void tls_stream_end(struct tls_stream *stream, struct tls_desk *desk);

/* The name of a failure in metrics, and what it means. */
const char *tls_failure_label(enum tls_failure failure);
const char *tls_failure_text(enum tls_failure failure);

#endif
