/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers to requests of the Engine.IO path, to the byte of stock servers: bodies, headers, errors.
 */
#include "hub/session/engine_reply.h"

#include <string.h>

#include "codec/base/buf.h"
#include "codec/http1.h"
#include "codec/ws_accept.h"
#include "hub/net/gzip.h"
#include "hub/net/http_server.h"
#include "hub/session/session_config.h"

enum { COMPRESSED_MIN = 1024 };

/* --- CORS ---------------------------------------------------------------------------------- */

/* Append the header lines that every answer carries where CORS is configured: who may read it, and
 * what that hangs on. */
static void add_cors(const struct session_config *config, const struct http_request *request,
    struct builder *headers)
{
    struct bytes origin;
    bool credentials = false;
    if (!config->cors_value) {
        return;
    }
    if (http1_header_once(request->head, "Origin", &origin) != 0) {
        origin = bytes_of(NULL, 0);
    }
    struct bytes allowed = config->cors_value(config->context, origin, &credentials);
    if (allowed.len > 0) {
        builder_str(headers, "Access-Control-Allow-Origin: ");
        builder_add(headers, allowed);
        builder_str(headers, "\r\n");
    }
    if (!bytes_eq_str(allowed, "*")) {
        builder_str(headers, "Vary: Origin\r\n");
    }
    if (credentials) {
        builder_str(headers, "Access-Control-Allow-Credentials: true\r\n");
    }
}

bool engine_reply_preflight(const struct session_config *config, struct http_request *request)
{
    if (!config->cors_value || request->head->method != HTTP1_OPTIONS) {
        return false;
    }
    struct builder headers = {0};
    add_cors(config, request, &headers);
    builder_str(&headers, "Access-Control-Allow-Methods: GET,HEAD,PUT,PATCH,POST,DELETE\r\n"
                          "Vary: Access-Control-Request-Headers\r\n");
    struct bytes asked;
    if (http1_header_once(request->head, "Access-Control-Request-Headers", &asked) == 0) {
        builder_str(&headers, "Access-Control-Allow-Headers: ");
        builder_add(&headers, asked);
        builder_str(&headers, "\r\n");
    }
    builder_str(&headers, "Content-Length: 0\r\n");
    http_respond(request, 204, NULL, builder_bytes(&headers), bytes_of(NULL, 0));
    builder_reset(&headers);
    return true;
}

/* --- answers ------------------------------------------------------------------------------- */

/* An upgrade is refused with the bare message, anything else with JSON (socketio-wire.md 1.5). */
void engine_reply_error(
    const struct session_config *config, struct http_request *request, enum eio_error error)
{
    struct bytes none = {0};
    if (request->head->has_upgrade) {
        unsigned status = error == EIO_ERROR_FORBIDDEN ? 403 : 400;
        http_respond(request, status, "text/html", none, bytes_str(eio_error_message(error)));
        return;
    }
    struct builder body = {0};
    struct builder headers = {0};
    add_cors(config, request, &headers);
    eio_write_error(&body, error, none);
    http_respond(request, eio_error_http(error), "application/json", builder_bytes(&headers),
        builder_bytes(&body));
    builder_reset(&headers);
    builder_reset(&body);
}

void engine_reply_empty(
    const struct session_config *config, struct http_request *request, unsigned status)
{
    struct builder headers = {0};
    add_cors(config, request, &headers);
    http_respond(request, status, NULL, builder_bytes(&headers), bytes_of(NULL, 0));
    builder_reset(&headers);
}

void engine_reply_ok(const struct session_config *config, struct http_request *request)
{
    struct builder headers = {0};
    builder_str(&headers, "cache-control: no-store\r\n");
    add_cors(config, request, &headers);
    http_respond(request, 200, "text/html", builder_bytes(&headers), BYTES("ok"));
    builder_reset(&headers);
}

/* Old Internet Explorers take text for a page, unless told. */
static bool is_explorer(const struct http_request *request)
{
    struct bytes agent;
    return http1_header_once(request->head, "User-Agent", &agent) == 0 && agent.at &&
           (memmem(agent.at, agent.len, ";MSIE", 5) || memmem(agent.at, agent.len, "Trident/", 8));
}

/* Answer with packets, behind the lines that `headers` holds already; it is reset. */
static void reply_payload(const struct session_config *config, struct http_request *request,
    struct builder *headers, struct bytes payload)
{
    struct builder gzipped = {0};
    builder_str(headers, "cache-control: no-store\r\n");
    enum gzip_coding coding =
        payload.len >= COMPRESSED_MIN ? gzip_choose(request->head) : GZIP_NONE;
    if (gzip_compress(coding, payload, &gzipped)) {
        builder_str(headers, gzip_header(coding));
        payload = builder_bytes(&gzipped);
    }
    if (is_explorer(request)) {
        builder_str(headers, "X-XSS-Protection: 0\r\n");
    }
    add_cors(config, request, headers);
    http_respond(request, 200, "text/plain; charset=UTF-8", builder_bytes(headers), payload);
    builder_reset(headers);
    builder_reset(&gzipped);
}

void engine_reply_payload(
    const struct session_config *config, struct http_request *request, struct bytes payload)
{
    struct builder headers = {0};
    reply_payload(config, request, &headers, payload);
}

void engine_reply_open(const struct session_config *config, struct http_request *request,
    struct bytes sid, struct bytes payload)
{
    struct builder headers = {0};
    if (config->cookie && config->cookie[0] != 0) {
        builder_str(&headers, "Set-Cookie: ");
        builder_str(&headers, config->cookie);
        builder_byte(&headers, '=');
        builder_add(&headers, sid);
        builder_str(&headers, "; Path=/; HttpOnly; SameSite=Lax\r\n");
    }
    reply_payload(config, request, &headers, payload);
}

int engine_reply_upgrade(const struct session_config *config, const struct http_request *request,
    bool cors, struct ws_accept_answer *answer, struct builder *out)
{
    bool offered = config->before_auth.deflate_bytes > 0;
    struct builder extensions = {0};
    struct builder lines = {0};
    if (cors) {
        add_cors(config, request, &lines);
    }
    int bits = offered ? ws_accept_deflate(request->head, &extensions) : 0;
    answer->sha1 = config->sha1;
    answer->extensions = builder_bytes(&extensions);
    answer->lines = builder_bytes(&lines);
    int status = bits < 0 ? bits : ws_accept_write(out, answer);
    builder_reset(&extensions);
    builder_reset(&lines);
    return status < 0 ? status : bits;
}
