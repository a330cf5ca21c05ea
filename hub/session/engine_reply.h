/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine_reply - private to the session layer: how requests to the Engine.IO path are answered.
 *
 * Status, body and headers as stock servers send them (socketio-wire.md 1.5 to 1.7, 1.12, 1.14).
 * Every function answers the request, which is gone afterwards. On the request's thread.
 */
#ifndef HUB_SESSION_ENGINE_REPLY_H
#define HUB_SESSION_ENGINE_REPLY_H

#include <stdbool.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/eio.h"

struct builder;
struct http_request;
struct session_config;
struct ws_accept_answer;

/* Answer a preflight request where CORS is configured; false: it is none, go on. */
bool engine_reply_preflight(const struct session_config *config, struct http_request *request);

/* Refuse: JSON with code and message, or for an upgrade the bare message. */
void engine_reply_error(
    const struct session_config *config, struct http_request *request, enum eio_error error);

/* Answer with this status and nothing else. */
void engine_reply_empty(
    const struct session_config *config, struct http_request *request, unsigned status);

/* Answer a POST whose packets were taken: `ok`. */
void engine_reply_ok(const struct session_config *config, struct http_request *request);

/* Answer a GET with packets, compressed from 1 KiB on where the client takes that. */
void engine_reply_payload(
    const struct session_config *config, struct http_request *request, struct bytes payload);

/* Answer a handshake: the same, and `sid` as a cookie where one is configured. */
void engine_reply_open(const struct session_config *config, struct http_request *request,
    struct bytes sid, struct bytes payload);

/*
 * Append the 101 to a WebSocket handshake that was checked, with what else was negotiated and, with
 * `cors`, the headers that other answers of that path have. Returns what websocket_set_deflate is
 * to be told, or a negative status for offers that are malformed. This one does not answer.
 */
MUST_CHECK int engine_reply_upgrade(const struct session_config *config,
    const struct http_request *request, bool cors, struct ws_accept_answer *answer,
    struct builder *out);

#endif
