/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What requests that become sessions have in common: what is read of them, and refusals.
 */
#include "hub/session/handshake.h"

#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/http1.h"
#include "codec/query.h"
#include "hub/net/connection.h"
#include "hub/net/http_server.h"
#include "hub/net/origin.h"
#include "hub/session/session_core.h"

enum { ORIGINS_MAX = 4, REMOTE_MAX = 46 };

struct bytes handshake_parameter(
    const struct http_request *request, const char *name, char *at, size_t cap)
{
    struct bytes value;
    if (query_get(request->query, name, at, cap, &value) != 0) {
        return bytes_of(NULL, 0);
    }
    return value;
}

/* Whether there is a token is looked at next, and told as 401. */
bool handshake_origin_allowed(
    const struct session_config *config, const struct http_request *request)
{
    struct bytes origins[ORIGINS_MAX];
    size_t count = 0;
    size_t cursor = 0;
    while (count < ORIGINS_MAX &&
           http1_header_next(request->head, "Origin", &cursor, &origins[count])) {
        count++;
    }
    struct bytes host;
    bool own = count == 1 && http1_header_once(request->head, "Host", &host) == 0 &&
               origin_is_host(origins[0], host);
    return own || !config->origin_allowed ||
           config->origin_allowed(config->context, origins, count, true);
}

static struct bytes bearer_token(const struct http_request *request)
{
    struct bytes value;
    struct bytes scheme = BYTES("Bearer ");
    if (http1_header_once(request->head, "Authorization", &value) != 0 || value.len <= scheme.len ||
        !bytes_eq_nocase(bytes_of(value.at, scheme.len), scheme)) {
        return bytes_of(NULL, 0);
    }
    return bytes_skip(value, scheme.len);
}

/* Copy `text` to `*at`, which moves on. */
static struct bytes keep(char **at, struct bytes text)
{
    if (text.len == 0) {
        return bytes_of(NULL, 0);
    }
    struct bytes kept = bytes_of(*at, text.len);
    memcpy(*at, text.at, text.len);
    *at += text.len;
    return kept;
}

struct session_extra *handshake_remember(
    const struct http_request *request, struct bytes subprotocol_token, bool query_token)
{
    struct bytes bearer = bearer_token(request);
    struct bytes origin = {0};
    if (http1_header_once(request->head, "Origin", &origin) != 0) {
        origin = bytes_of(NULL, 0);
    }
    char remote[REMOTE_MAX];
    connection_remote(request->connection, remote);
    size_t query_len = query_token ? request->query.len : 0;
    size_t len = bearer.len + origin.len + subprotocol_token.len + sizeof(remote) + query_len;
    char *tokens = mem_try_alloc(len);
    if (!tokens) {
        return NULL;
    }
    struct session_extra *extra = session_extra_create();
    extra->tokens = tokens;
    extra->tokens_len = len;
    char *at = tokens;
    extra->request.bearer = keep(&at, bearer);
    extra->request.origin = keep(&at, origin);
    extra->request.subprotocol_token = keep(&at, subprotocol_token);
    extra->request.remote = keep(&at, bytes_str(remote));
    if (query_len > 0) {
        extra->request.query_token = handshake_parameter(request, "token", at, query_len);
    }
    return extra;
}

void handshake_refuse_draining(struct http_request *request)
{
    http_respond(request, 503, "application/json", BYTES("Retry-After: 1\r\n"),
        BYTES("{\"error\":{\"code\":\"unavailable\",\"message\":\"The node is draining\"}}"));
}

void handshake_refuse_starved(struct http_request *request)
{
    http_respond(request, 503, "application/json", BYTES("Retry-After: 1\r\n"),
        BYTES("{\"error\":{\"code\":\"unavailable\",\"message\":\"No memory left for more "
              "clients\"}}"));
}

void handshake_log_refusal(
    struct session_part *part, const struct http_request *request, enum eio_error error)
{
    unsigned suppressed;
    struct bytes origin = {0};
    size_t cursor = 0;
    if ((error != EIO_ERROR_FORBIDDEN && error != EIO_ERROR_BAD_VERSION) ||
        !log_allow(&part->refusals, &suppressed)) {
        return;
    }
    (void)http1_header_next(request->head, "Origin", &cursor, &origin);
    if (error == EIO_ERROR_FORBIDDEN) {
        log_warn("ORIGIN-REFUSED",
            "a page was refused, its origin is not in origins (CORS_ORIGINS)",
            "origin=%s suppressed=%u", log_quote(origin), suppressed);
    } else {
        log_warn("CLIENT-OLD", "a client was refused that is older than Socket.IO 3",
            "suppressed=%u", suppressed);
    }
}
