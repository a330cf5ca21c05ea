/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_answer - the bytes of an answer (RFC 9112 4 to 6).
 */
#ifndef HUB_NET_HTTP_ANSWER_H
#define HUB_NET_HTTP_ANSWER_H

#include <stdbool.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

/* The header of an answer to another node: the peer is authenticated (http_authenticated). */
#define HTTP_AUTHENTICATED "Peal-Authenticated"

/* An answer, of what the caller keeps until it is written. */
struct http_answer {
    unsigned status;
    const char *content_type; /* NULL: none is said */
    struct bytes headers; /* complete lines */
    struct bytes body;
    bool lasting; /* the body outlives the connection: it is sent from where it lies */
    bool keep_alive;
    bool head_only;
    bool authenticated;
    struct bytes cors; /* more lines */
};

/* Whether the body is sent behind the head and not as part of what http_answer_write appends. */
bool http_answer_is_behind(const struct http_answer *answer);

/*
 * Append the head, and the body unless http_answer_is_behind. False, with `out` in no known state:
 * no memory, or lines that are none. Any thread.
 */
MUST_CHECK bool http_answer_write(struct builder *out, const struct http_answer *answer);

#endif
