/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts a node from a settings file in a temporary folder, and talks HTTP/1.1 to it over blocking
 * sockets.
 */
#include "tests/support/node_rig.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/base/buf.h"
#include "codec/base/clock.h"
#include "codec/base/log.h"
#include "hub/auth/jwt.h"
#include "hub/config/config_ask.h"
#include "hub/config/config_load.h"
#include "hub/node/hub.h"
#include "hub/node/node.h"
#include "tests/support/net_rig.h"

#define SECRET "a secret of tests, of 32 bytes or more"

static void write_settings(const struct node_rig *rig, const char *more)
{
    FILE *file = fopen(rig->settings, "we");
    cr_assert_not_null(file);
    fprintf(file,
        "%s"
        "listen { host = \"127.0.0.1\" port = 0 internal_port = 0 }\n"
        "store { path = \"%s\" }\n"
        "auth { secret = \"%s\" }\n"
        "log { level = error }\n"
        "%s\n",
        strncmp(more, "shards", 6) == 0 ? "" : "shards = 2\n", rig->path, SECRET, more);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(chmod(rig->settings, 0600), 0);
}

void node_rig_start(struct node_rig *rig, const char *settings)
{
    struct config_error error;
    char *rest[3];
    memset(rig, 0, sizeof(*rig));
    snprintf(rig->folder, sizeof(rig->folder), "/tmp/peal-node-XXXXXX");
    cr_assert_not_null(mkdtemp(rig->folder));
    snprintf(rig->path, sizeof(rig->path), "%s/peal.db", rig->folder);
    snprintf(rig->settings, sizeof(rig->settings), "%s/peal.conf", rig->folder);
    write_settings(rig, settings);
    static char flag[] = "--config";
    rig->flags[0] = flag;
    rig->flags[1] = rig->settings;
    const struct config_input input = {.argc = 2, .argv = rig->flags};
    cr_assert_eq(config_load(&input, &error, rest, &rig->config), 0, "%s", error.text);
    log_set_level(LOG_ERROR);
    cr_assert_eq(hub_start(rig->config, &rig->hub), 0);
}

void node_rig_stop(struct node_rig *rig)
{
    char command[128];
    cr_assert_eq(hub_stop(rig->hub), 0);
    config_destroy(rig->config);
    snprintf(command, sizeof(command), "rm -r %s", rig->folder);
    cr_assert_eq(system(command), 0);
}

static void write_call(const struct node_call *call, struct builder *out)
{
    builder_printf(
        out, "%s %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n", call->method, call->target);
    if (call->key != NULL) {
        builder_printf(out, "Authorization: Bearer %s\r\n", call->key);
    }
    builder_str(out, call->headers != NULL ? call->headers : "");
    if (call->body != NULL) {
        builder_printf(out, "Content-Length: %zu\r\n", strlen(call->body));
    }
    builder_str(out, "\r\n");
    builder_str(out, call->body != NULL ? call->body : "");
}

void node_rig_ask(
    const struct node_rig *rig, const struct node_call *call, struct node_answer *ret_answer)
{
    static char text[NODE_RIG_HEAD_MAX + NODE_RIG_BODY_MAX];
    struct rig to = {.port = rig->hub->port};
    struct builder out = {.max = 16 << 20};
    size_t len;
    write_call(call, &out);
    int fd = rig_connect(&to);
    (void)rig_send(fd, builder_bytes(&out)); /* a body that is refused may not be taken */
    cr_assert(rig_recv_all(fd, text, sizeof(text) - 1, &len), "%s %s", call->method, call->target);
    close(fd);
    builder_reset(&out);
    text[len] = '\0';
    const char *end = strstr(text, "\r\n\r\n");
    cr_assert_not_null(end, "%s %s: %s", call->method, call->target, text);
    size_t head = (size_t)(end - text) + 2;
    cr_assert(head < NODE_RIG_HEAD_MAX && len - head - 2 < NODE_RIG_BODY_MAX, "a large answer");
    memcpy(ret_answer->head, text, head);
    ret_answer->head[head] = '\0';
    memcpy(ret_answer->body, end + 4, len - head - 2 + 1);
    cr_assert_eq(sscanf(text, "HTTP/1.1 %u ", &ret_answer->status), 1, "%s", text);
}

const char *node_answer_header(const struct node_answer *answer, const char *name)
{
    static char value[1024];
    size_t len = strlen(name);
    for (const char *line = strstr(answer->head, "\r\n"); line != NULL && line[2] != '\0';
         line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, len) == 0 && line[2 + len] == ':') {
            snprintf(
                value, sizeof(value), "%.*s", (int)strcspn(line + len + 4, "\r"), line + len + 4);
            return value;
        }
    }
    return NULL;
}

void node_rig_token(const char *user, const char *tenant, char ret_token[NODE_RIG_TOKEN_MAX])
{
    const struct jwt_key_options key = {
        .kind = JWT_KEY_SECRET, .material = BYTES(SECRET), .alg = JWT_ALG_HS256};
    const uint64_t now = clock_wall_ms() / 1000;
    const struct jwt_sign_options options = {
        .claims = {.user = bytes_str(user), .tenant = bytes_str(tenant), .expires_at = now + 3600},
        .issued_at = now};
    struct builder error = {0};
    struct builder token = {.max = NODE_RIG_TOKEN_MAX - 1};
    cr_assert_eq(jwt_sign(&key, &options, &error, &token), 0);
    struct bytes text = builder_bytes(&token);
    memcpy(ret_token, text.at, text.len);
    ret_token[text.len] = '\0';
    builder_reset(&token);
    builder_reset(&error);
}
