/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes secrets and tokens for a developer's machine, and serves the token request of the demo
 * page.
 */
#include "hub/node/dev.h"

#include <stdio.h>

#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/names.h"
#include "codec/query.h"
#include "hub/api/api_handlers.h"
#include "hub/auth/jwt.h"
#include "hub/config/config.h"
#include "hub/node/node.h"

enum { SECRET_BYTES = 32, KEY_BYTES = 16, TOKEN_DAYS = 1, BODY_MAX = 1 << 20 };

static char *make_secret(size_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t random[SECRET_BYTES];
    CHECK(bytes <= sizeof(random));
    rand_secret(random, bytes);
    char *text = mem_alloc(2 * bytes + 1);
    for (size_t i = 0; i < bytes; i++) {
        text[2 * i] = digits[random[i] >> 4];
        text[2 * i + 1] = digits[random[i] & 15];
    }
    return text;
}

void dev_make_secrets(struct hub *hub)
{
    if (hub->config->dev) {
        hub->dev_secret = make_secret(SECRET_BYTES);
        hub->dev_key = make_secret(KEY_BYTES);
    }
}

static int make_token(const struct hub *hub, struct bytes user, struct builder *token)
{
    uint64_t now = clock_wall_ms() / 1000;
    struct builder error = {0};
    struct jwt_key_options key = {
        .kind = JWT_KEY_SECRET, .material = bytes_str(hub->dev_secret), .alg = JWT_ALG_HS256};
    struct jwt_sign_options options = {
        .claims = {.user = user, .name = user, .expires_at = now + TOKEN_DAYS * 86400u},
        .audience = bytes_str(hub->config->auth_audience),
        .issued_at = now,
    };
    options.claims.issuer = bytes_str(hub->config->auth_issuer);
    int status = jwt_sign(&key, &options, &error, token);
    builder_reset(&error);
    return status;
}

void dev_print(const struct hub *hub)
{
    static const char *const users[] = {"alice", "bob"};
    if (hub->dev_secret == NULL) {
        return;
    }
    const char *scheme = hub->config->listen_tls_cert.count > 0 ? "https" : "http";
    printf(
        "\n  Demo page:  %s://%s:%u/\n\n", scheme, hub->config->listen_host, (unsigned)hub->port);
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        struct builder token = {0};
        if (make_token(hub, bytes_str(users[i]), &token) == 0) {
            struct bytes text = builder_bytes(&token);
            printf("  %-6s %s://%s:%u/#user=%s\n         token %.*s\n\n", users[i], scheme,
                hub->config->listen_host, (unsigned)hub->port, users[i], (int)text.len, text.at);
        }
        builder_reset(&token);
    }
    printf("  API key:    %s\n\n"
           "  curl %s://%s:%u/api/v1/notifications -H 'Authorization: Bearer %s' \\\n"
           "    -H 'Content-Type: application/json' \\\n"
           "    -d '{\"user\":\"alice\",\"type\":\"greeting\",\"title\":\"Hello from curl\"}'\n\n",
        hub->dev_key, scheme, hub->config->listen_host, (unsigned)hub->port, hub->dev_key);
    fflush(stdout);
}

static void on_token(struct http_request *request, void *context)
{
    const struct hub *hub = hub_shard_of_http(context)->hub;
    char at[NAMES_USER_MAX];
    struct bytes user;
    struct builder token = {0};
    if (query_get(request->query, "user", at, sizeof(at), &user) != 0 ||
        names_check_user(user) != 0) {
        http_respond_error(request, ERROR_INVALID_FIELD, "user must name a user", "user");
        return;
    }
    struct builder body = {0};
    if (make_token(hub, user, &token) == 0) {
        builder_str(&body, "{\"token\":");
        json_scan_write_string(&body, builder_bytes(&token));
        builder_byte(&body, '}');
        http_respond(request, 200, "application/json", BYTES("Cache-Control: no-store\r\n"),
            builder_bytes(&body));
    } else {
        http_respond_error(request, ERROR_UNAVAILABLE, "No token could be made", NULL);
    }
    builder_reset(&body);
    builder_reset(&token);
}

const struct http_route dev_routes[] = {
    {.method = "GET", .path = "/dev/token", .handler = on_token},
    {.method = "POST",
        .path = "/dev/notifications",
        .handler = api_post_dev_notifications,
        .max_body = BODY_MAX},
};
const size_t dev_route_count = ARRAY_LEN(dev_routes);
