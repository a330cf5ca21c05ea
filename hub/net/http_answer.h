/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_answer - the bytes of an answer (RFC 9112 4 to 6).
 */
#ifndef HUB_NET_HTTP_ANSWER_H
#define HUB_NET_HTTP_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/deliver/outbox.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

/* The header of an answer to another node: the peer is authenticated (http_authenticated). */
#define HTTP_AUTHENTICATED "Peal-Authenticated"

/* How the end of a body is told. */
enum http_framing {
    HTTP_FRAMING_LENGTH,
    HTTP_FRAMING_CHUNKED, /* `body` is not a part of it: chunks follow */
    HTTP_FRAMING_CLOSE, /* bytes follow, up to the end of the connection */
};

/* An answer, of what the caller keeps until it is written. */
struct http_answer {
    unsigned status;
    const char *content_type; /* NULL: none is said */
    struct bytes headers; /* complete lines */
    struct bytes body;
    enum http_framing framing;
    bool lasting; /* the body outlives the connection: it is sent from where it lies */
    bool keep_alive;
    bool head_only;
    bool authenticated;
    bool unsafe; /* what was asked for may have changed something (RFC 9110 9.2.1) */
    struct bytes cors; /* more lines */
    bool timed; /* X-Response-Time is told: */
    uint64_t took_ns; /* from the complete head on */
};

/* Whether the body is sent behind the head and not as part of what http_answer_make makes. */
bool http_answer_is_behind(const struct http_answer *answer);

/*
 * The head, and the body unless http_answer_is_behind; the caller has the one reference. Where
 * memory for it is missing, `answer` becomes 503 with the error shape of the API, or 504 where it
 * was to say that something `unsafe` is done; where its lines are none or it is too long, 500; all
 * close.
 */
MUST_CHECK struct chunk *http_answer_make(struct http_answer *answer);

#endif
