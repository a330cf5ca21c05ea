/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_answer - how the API answers: JSON, compressed where it pays, and refusals in one shape.
 */
#ifndef HUB_API_API_ANSWER_H
#define HUB_API_API_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/core/timer.h"
#include "actors/webhook_event.h"
#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/errors.h"
#include "hub/net/gzip.h"
#include "hub/net/http_server.h"

struct sched;

/* A refusal. Texts are static. */
struct api_error {
    enum error_code code; /* ERROR_NONE: none */
    const char *message;
    const char *field; /* NULL: none is at fault */
    uint32_t retry_s; /* Retry-After, where it is not 0 */
    bool in_array;
    uint32_t index; /* of what is at fault in the array that was posted, from 0 */
};

/* Append `"error":{"code","message","field"?,"index"?` without the last brace, for more members. */
void api_error_write(const struct api_error *error, struct builder *out);

/* Refuse the request and end it. A 401 says how to authenticate. */
void api_refuse(struct http_request *request, const struct api_error *error);

/* 422: `field` (NULL: none) is not as `message` says that it must be. */
void api_refuse_field(struct http_request *request, const char *field, const char *message);

/* The store is away, nothing was sent to it: 503, try again. */
void api_refuse_unavailable(struct http_request *request);

/* 503 with Retry-After: no memory for the request or its answer. */
void api_refuse_memory(struct http_request *request);

/* What the store was asked to change may be done or not: 504, repeat it. */
void api_refuse_unknown(struct http_request *request);

/* What the store has said of a request that failed: 404 (no such notification), 422, 503 or 504. */
void api_refuse_status(struct http_request *request, int status);

/*
 * Answer with a JSON text and end the request. `headers` is as in http_respond. The text is
 * compressed where the client accepts it and it is large enough. When `json` has failed (memory),
 * 503 is answered instead, or 504 where the request may have changed something; it is reset in any
 * case.
 */
void api_answer(
    struct http_request *request, unsigned status, struct bytes headers, struct builder *json);

/* The same with a text that stays the caller's. */
void api_answer_bytes(
    struct http_request *request, unsigned status, struct bytes headers, struct bytes json);

/* The coding of an answer in pieces, whose length nobody knows. */
enum gzip_coding api_coding(const struct http_request *request);

/* What an operation that answers later keeps of its request; embedded. */
struct api_call {
    struct http_request *request; /* NULL: the peer has gone, or was answered as overdue */
    /* private */
    struct timer timer;
    struct sched *sched; /* NULL: nothing becomes overdue */
    void (*overdue)(struct api_call *call);
    void (*settled)(struct api_call *call);
    struct webhook_settling settling;
};

/* Begin to answer later: `request` is NULL from the moment its peer goes. */
void api_call_hold(struct api_call *call, struct http_request *request);

/*
 * The same for what the store is asked: when it has not answered within 5 s, `overdue` answers the
 * request, which is NULL from then on; the operation goes on. api_call_end before the call is
 * freed.
 */
void api_call_hold_store(
    struct api_call *call, struct http_request *request, void (*overdue)(struct api_call *call));
void api_call_end(struct api_call *call);

/* The store is asked for nothing now: nothing becomes overdue until api_call_renew. */
void api_call_pause(struct api_call *call);

/* The store has answered a part of what it is asked: the 5 s begin again. */
void api_call_renew(struct api_call *call);

/*
 * Call `settled` when what webhooks are told of the call is in the store, too: a node that is
 * killed behind its answer has them told by another. At once where nothing waits; never later than
 * the store takes, or refuses it.
 */
void api_call_settle(
    struct api_call *call, struct shard *shard, void (*settled)(struct api_call *call));

/* http_server_config.cors_value: the origins of the settings. */
struct bytes api_cors_value(void *context, const struct http_request *request, struct bytes origin);

#endif
