/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of the load generator: WebSocket or a stream of events by hand, from the
 * handshake to events.
 *
 * Order of this file: frames out, the steps of the handshake, frames in, events.
 */
#include "tests/bench/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/base/buf.h"
#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "hub/auth/jwt.h"

enum {
    READ_SIZE = 1 << 20,
    PER_ADDRESS = 10000, /* connections from one source address */
    HEAD_MAX = 14, /* of a client's frame, mask included */
    KEEP_MAX = 4 << 20, /* bytes of an incomplete message */
    TOKEN_SECONDS = 86400,
};

/* --- out --- */

static bool write_all(struct client *client, struct bytes bytes)
{
    ssize_t wrote = send(client->fd, bytes.at, bytes.len, MSG_NOSIGNAL);
    return wrote == (ssize_t)bytes.len;
}

bool client_send(struct client *client, struct bytes text)
{
    struct builder out = {0};
    builder_byte(&out, (char)0x81);
    if (text.len < 126) {
        builder_byte(&out, (char)(0x80 | text.len));
    } else {
        builder_byte(&out, (char)(0x80 | 126));
        builder_byte(&out, (char)(text.len >> 8));
        builder_byte(&out, (char)(text.len & 255));
    }
    builder_add(&out, bytes_of("\0\0\0\0", 4)); /* a mask that changes nothing */
    builder_add(&out, text);
    bool sent = text.len <= UINT16_MAX && write_all(client, builder_bytes(&out));
    builder_reset(&out);
    return sent;
}

/* --- handshake --- */

static void lose(struct client *client)
{
    bool ready = client->state == CLIENT_READY;
    client_close(client);
    if (client->world->ops->on_closed != NULL) {
        client->world->ops->on_closed(client, ready);
    }
}

/* What tokens are signed with. */
static struct jwt_key_options signing_key(const struct options *options)
{
    static char pem[4096];
    static size_t len;
    if (options->key == NULL) {
        return (struct jwt_key_options){
            .kind = JWT_KEY_SECRET, .material = bytes_str(options->secret), .alg = JWT_ALG_HS256};
    }
    if (len == 0) {
        FILE *file = fopen(options->key, "re");
        CHECK(file != NULL);
        len = fread(pem, 1, sizeof(pem), file);
        (void)fclose(file);
    }
    return (struct jwt_key_options){
        .kind = JWT_KEY_PEM, .material = bytes_of(pem, len), .alg = JWT_ALG_RS256};
}

static void add_token(const struct client *client, struct builder *out)
{
    char user[24];
    uint64_t now_s = clock_wall_ms() / 1000;
    (void)snprintf(user, sizeof(user), "user%u", client->user);
    struct jwt_key_options key = signing_key(client->world->options);
    struct jwt_sign_options options = {
        .claims = {.user = bytes_str(user), .expires_at = now_s + TOKEN_SECONDS},
        .issued_at = now_s,
    };
    struct builder error = {0};
    CHECK(jwt_sign(&key, &options, &error, out) == 0);
    builder_reset(&error);
}

/* The request for a stream names what is wanted: nothing can be asked for later. */
static bool send_request(struct client *client)
{
    const struct options *options = client->world->options;
    struct builder out = {0};
    builder_printf(&out, "GET /api/v1/stream?inbox=%d", options->inbox);
    if (options->rooms > 0) {
        builder_printf(&out, "&rooms=bench:%u", client->receiver.room);
    }
    builder_str(&out, " HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n"
                      "Authorization: Bearer ");
    add_token(client, &out);
    builder_str(&out, "\r\n\r\n");
    bool sent = write_all(client, builder_bytes(&out));
    builder_reset(&out);
    return sent;
}

static bool send_upgrade(struct client *client)
{
    const struct options *options = client->world->options;
    static const char *const paths[] = {
        [MODE_SIO] = "/socket.io/?EIO=4&transport=websocket",
        [MODE_WS] = "/ws",
        [MODE_STREAM] = "",
        [MODE_BARE] = "/",
    };
    struct builder out = {0};
    builder_printf(&out,
        "GET %s HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: cGVhbC1iZW5jaC1wZWVycw==\r\n",
        paths[options->mode]);
    if (options->mode == MODE_WS) {
        builder_str(&out, "Sec-WebSocket-Protocol: peal.json.v1\r\nAuthorization: Bearer ");
        add_token(client, &out);
        builder_str(&out, "\r\n");
    }
    builder_str(&out, "\r\n");
    bool sent = write_all(client, builder_bytes(&out));
    builder_reset(&out);
    return sent;
}

static bool send_connect(struct client *client)
{
    struct builder out = {0};
    builder_str(&out, "40{\"token\":\"");
    add_token(client, &out);
    builder_byte(&out, '"');
    if (client->past.pid[0] != '\0') {
        builder_printf(
            &out, ",\"pid\":\"%s\",\"offset\":\"%s\"", client->past.pid, client->past.offset);
    }
    builder_byte(&out, '}');
    bool sent = client_send(client, builder_bytes(&out));
    builder_reset(&out);
    return sent;
}

static bool send_join(struct client *client)
{
    char text[80];
    int len = snprintf(text, sizeof(text),
        client->world->options->mode == MODE_SIO ? "421[\"join_room\",{\"roomId\":\"bench:%u\"}]"
                                                 : "[[1,\"join_room\",{\"roomId\":\"bench:%u\"}]]",
        client->receiver.room);
    return client_send(client, bytes_of(text, (size_t)len));
}

static void become_ready(struct client *client)
{
    client->state = CLIENT_READY;
    if (client->world->ops->on_ready != NULL) {
        client->world->ops->on_ready(client);
    }
}

/* The namespace is connected: what remains is the room, and the inbox where it is asked for. */
static void enter_room(struct client *client)
{
    const struct options *options = client->world->options;
    bool asked = options->mode == MODE_STREAM; /* by its request */
    client->state = CLIENT_JOINING;
    client->joined = options->rooms == 0;
    client->told = client->told || !options->inbox;
    if (!client->joined && !asked && !send_join(client)) {
        lose(client);
    } else if (client->joined && client->told) {
        become_ready(client);
    }
}

/* Copy text up to a quote; what does not fit leaves `at` empty. */
static void copy_quoted(struct bytes text, char *at, size_t size)
{
    const char *end = text.len > 0 ? memchr(text.at, '"', text.len) : NULL;
    size_t len = end != NULL ? (size_t)(end - text.at) : size;
    if (len < size) {
        memcpy(at, text.at, len);
    }
    at[len < size ? len : 0] = '\0';
}

/* 40{"sid":"…","pid":"…"}: who is continued is in its rooms, and had its hub:ready. */
static void on_namespace(struct client *client, struct bytes text)
{
    const struct bytes key = BYTES("\"pid\":\"");
    char pid[sizeof(client->past.pid)] = "";
    const char *at = memmem(text.at, text.len, key.at, key.len);
    if (at != NULL) {
        copy_quoted(bytes_skip(text, (size_t)(at - text.at) + key.len), pid, sizeof(pid));
    }
    client->recovered = pid[0] != '\0' && strcmp(pid, client->past.pid) == 0;
    memcpy(client->past.pid, pid, sizeof(pid));
    if (client->recovered) {
        become_ready(client);
    } else {
        enter_room(client);
    }
}

/* In a namespace with recovery the last argument of an event is its offset: …,"offset"] */
static void note_offset(struct client *client, struct bytes text)
{
    const struct bytes end = BYTES("\"]");
    if (client->past.pid[0] == '\0' || !bytes_starts(text, BYTES("42")) || text.len < 4 ||
        !bytes_eq(bytes_skip(text, text.len - end.len), end)) {
        return;
    }
    const char *quote = memrchr(text.at, '"', text.len - end.len);
    if (quote != NULL) {
        copy_quoted(bytes_skip(text, (size_t)(quote - text.at) + 1), client->past.offset,
            sizeof(client->past.offset));
    }
}

static void on_upgraded(struct client *client)
{
    switch (client->world->options->mode) {
    case MODE_SIO:
        client->state = CLIENT_OPENING;
        break;
    case MODE_WS:
    case MODE_STREAM:
        enter_room(client);
        break;
    case MODE_BARE:
        become_ready(client);
        break;
    }
}

static bool contains(struct bytes text, struct bytes part)
{
    return memmem(text.at, text.len, part.at, part.len) != NULL;
}

/* A message while the room and the inbox are waited for. */
static void on_joining(struct client *client, struct bytes text)
{
    client->told = client->told || contains(text, BYTES("\"hub:ready\""));
    bool streams = client->world->options->mode == MODE_STREAM; /* it is told by events alone */
    bool answer = bytes_starts(text, BYTES("431[")) || contains(text, BYTES("[-1,"));
    bool refused = streams && contains(text, BYTES("[\"error\","));
    if (refused || (answer && !contains(text, BYTES("\"ok\":true")))) {
        lose(client);
        return;
    }
    client->joined =
        client->joined || answer || (streams && contains(text, BYTES("[\"room_joined\",")));
    if (client->joined && client->told) {
        become_ready(client);
    }
}

/* A message before the client is ready. */
static void on_early_message(struct client *client, struct bytes text)
{
    if (client->state == CLIENT_OPENING && bytes_starts(text, BYTES("0{"))) {
        client->state = CLIENT_NAMESPACE;
        if (!send_connect(client)) {
            lose(client);
        }
    } else if (client->state == CLIENT_NAMESPACE && bytes_starts(text, BYTES("40"))) {
        on_namespace(client, text);
    } else if (client->state == CLIENT_NAMESPACE && bytes_starts(text, BYTES("44"))) {
        lose(client);
    } else if (client->state == CLIENT_JOINING) {
        on_joining(client, text);
    }
}

/* --- in --- */

/* Answer a ping; whether `text` was one. */
static bool answer_ping(struct client *client, struct bytes text)
{
    if (client->world->options->mode == MODE_SIO) {
        if (!bytes_eq(text, BYTES("2"))) {
            return false;
        }
        (void)client_send(client, BYTES("3"));
        return true;
    }
    if (!bytes_eq(text, BYTES("[[\"hub:ping\"]]"))) {
        return false;
    }
    (void)client_send(client, BYTES("[[\"hub:pong\"]]"));
    return true;
}

static bool is_answer(struct bytes text)
{
    return bytes_starts(text, BYTES("43")) || bytes_starts(text, BYTES("[[-"));
}

/* Keep the first frame that carries an event, or the answer to one. */
static void record(const struct client *client, struct bytes frame, struct bytes text)
{
    struct client_world *world = client->world;
    if (world->record >= 0 && client->state == CLIENT_READY &&
        (is_answer(text) || marker_find(text) < text.len)) {
        CHECK(write(world->record, frame.at, frame.len) == (ssize_t)frame.len);
        CHECK(close(world->record) == 0);
        world->record = -1;
    }
}

/* The event, or comment, at the beginning of `bytes`, as cut_frame. */
static size_t cut_event(struct bytes bytes, struct bytes *ret_text)
{
    const struct bytes end = BYTES("\n\n");
    const char *at = bytes.len > 0 ? memmem(bytes.at, bytes.len, end.at, end.len) : NULL;
    if (at == NULL) {
        return 0;
    }
    *ret_text = bytes_of(bytes.at, (size_t)(at - bytes.at));
    return ret_text->len + end.len;
}

static void on_message(struct client *client, struct bytes text, uint64_t now_ns)
{
    struct client_world *world = client->world;
    if (answer_ping(client, text)) {
        return;
    }
    note_offset(client, text);
    if (client->state != CLIENT_READY) {
        on_early_message(client, text);
        return;
    }
    if (world->verify && track_message(&world->track, &client->receiver, text, now_ns) > 0) {
        track_batch_add(&world->batch, text);
    } else if (world->ops->on_answer != NULL && is_answer(text)) {
        world->ops->on_answer(client);
    }
}

/* The frame at the beginning of `bytes`: its length in all, 0 when some of it is missing. */
static size_t cut_frame(struct bytes bytes, struct bytes *ret_text)
{
    if (bytes.len < 2) {
        return 0;
    }
    const unsigned char *at = (const unsigned char *)bytes.at;
    size_t head = 2;
    uint64_t len = at[1] & 127;
    if (len >= 126) {
        unsigned extra = len == 126 ? 2 : 8;
        head += extra;
        if (bytes.len < head) {
            return 0;
        }
        len = 0;
        for (unsigned i = 0; i < extra; i++) {
            len = len << 8 | at[2 + i];
        }
    }
    if (bytes.len - head < len) {
        return 0;
    }
    *ret_text = bytes_of(bytes.at + head, (size_t)len);
    return head + (size_t)len;
}

/* What comes next, a frame or an event; `*ret_opcode` of an event is that of a text. */
static size_t cut(
    const struct client *client, struct bytes bytes, struct bytes *ret_text, unsigned *ret_opcode)
{
    if (client->world->options->mode == MODE_STREAM) {
        *ret_opcode = 1;
        return cut_event(bytes, ret_text);
    }
    size_t len = cut_frame(bytes, ret_text);
    *ret_opcode = len > 0 ? (unsigned char)bytes.at[0] & 15U : 0;
    return len;
}

/* Handle all complete frames; returns how many bytes they are. */
static size_t take_frames(struct client *client, struct bytes bytes, uint64_t now_ns)
{
    struct client_world *world = client->world;
    size_t used = 0;
    if (client->state == CLIENT_READY && world->verify &&
        track_batch_matches(&world->track, &world->batch, &client->receiver, bytes, now_ns)) {
        used = world->batch.len;
        if (used == bytes.len) {
            return used;
        }
    }
    size_t first = used;
    uint32_t messages = 0;
    track_batch_begin(&world->batch);
    for (;;) {
        struct bytes text = {NULL, 0};
        unsigned opcode;
        size_t len = cut(client, bytes_skip(bytes, used), &text, &opcode);
        if (len == 0) {
            break;
        }
        if (opcode == 8) {
            lose(client);
            return used;
        }
        record(client, bytes_of(bytes.at + used, len), text);
        if (opcode == 1 || opcode == 2) {
            on_message(client, text, now_ns);
            messages++;
        }
        used += len;
        if (client->state == CLIENT_CLOSED) {
            return used;
        }
    }
    if (client->state == CLIENT_READY) {
        track_batch_keep(&world->batch, bytes_of(bytes.at + first, used - first), messages);
    }
    return used;
}

/* The answer to the upgrade, then frames. */
static size_t take(struct client *client, struct bytes bytes, uint64_t now_ns)
{
    size_t used = 0;
    if (client->state == CLIENT_UPGRADING) {
        const char *end = memmem(bytes.at, bytes.len, "\r\n\r\n", 4);
        if (end == NULL) {
            return 0;
        }
        bool stream = client->world->options->mode == MODE_STREAM;
        if (!bytes_starts(bytes, stream ? BYTES("HTTP/1.1 200") : BYTES("HTTP/1.1 101"))) {
            lose(client);
            return 0;
        }
        used = (size_t)(end - bytes.at) + 4;
        on_upgraded(client);
    }
    if (client->state > CLIENT_UPGRADING && client->state != CLIENT_CLOSED && used < bytes.len) {
        used += take_frames(client, bytes_skip(bytes, used), now_ns);
    }
    return used;
}

static bool keep_tail(struct client *client, struct bytes rest)
{
    if (rest.len > KEEP_MAX) {
        return false;
    }
    if (rest.len > client->tail_cap) {
        client->tail = mem_realloc_array(client->tail, rest.len, 1);
        client->tail_cap = (uint32_t)rest.len;
    }
    if (rest.len > 0) {
        memcpy(client->tail, rest.at, rest.len);
    }
    client->tail_len = (uint32_t)rest.len;
    return true;
}

/* Read once; false when there is nothing (more). */
static bool read_some(struct client *client)
{
    static char buffer[KEEP_MAX + READ_SIZE];
    size_t kept = client->tail_len;
    if (kept > 0) {
        memcpy(buffer, client->tail, kept);
    }
    ssize_t len = recv(client->fd, buffer + kept, READ_SIZE, 0);
    if (len < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    if (len <= 0) {
        lose(client);
        return false;
    }
    client->world->bytes_in += (uint64_t)len;
    struct bytes bytes = bytes_of(buffer, kept + (size_t)len);
    size_t used = take(client, bytes, clock_mono_ns());
    if (client->state != CLIENT_CLOSED && !keep_tail(client, bytes_skip(bytes, used))) {
        lose(client);
    }
    return len == READ_SIZE && client->state != CLIENT_CLOSED;
}

/* --- events --- */

static bool watch(struct client *client, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = client};
    return epoll_ctl(client->world->epoll, operation, client->fd, &event) == 0;
}

static bool bind_source(const struct client *client)
{
    const struct options *options = client->world->options;
    if ((ntohl(options->host) >> 24) != IN_LOOPBACKNET) {
        return true;
    }
    int on = 1;
    struct sockaddr_in from = {.sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1U + client->index / PER_ADDRESS)};
    return setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) == 0 &&
           bind(client->fd, (const struct sockaddr *)&from, sizeof(from)) == 0;
}

bool client_open(struct client *client)
{
    const struct options *options = client->world->options;
    struct sockaddr_in to = {.sin_family = AF_INET,
        .sin_addr.s_addr = options->host,
        .sin_port =
            htons(options->ports[(client->index + client->world->shift) % options->port_count])};
    int on = 1;
    client->state = CLIENT_CONNECTING;
    client->started_ns = clock_mono_ns();
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0) {
        client->state = CLIENT_CLOSED;
        return false;
    }
    (void)setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (!bind_source(client) ||
        (connect(client->fd, (const struct sockaddr *)&to, sizeof(to)) != 0 &&
            errno != EINPROGRESS) ||
        !watch(client, EPOLL_CTL_ADD, EPOLLOUT)) {
        client_close(client);
        return false;
    }
    return true;
}

void client_handle(struct client *client, uint32_t events)
{
    if (client->state == CLIENT_CONNECTING) {
        if ((events & (EPOLLERR | EPOLLHUP)) || !watch(client, EPOLL_CTL_MOD, EPOLLIN) ||
            !(client->world->options->mode == MODE_STREAM ? send_request : send_upgrade)(client)) {
            lose(client);
            return;
        }
        client->state = CLIENT_UPGRADING;
        return;
    }
    while (client->state != CLIENT_CLOSED && read_some(client)) {
    }
}

void client_close(struct client *client)
{
    if (client->state == CLIENT_CLOSED || client->state == CLIENT_UNUSED) {
        return;
    }
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    (void)close(client->fd);
    client->fd = -1;
    client->state = CLIENT_CLOSED;
    client->tail_len = 0;
}

void client_finish(struct client *client)
{
    client_close(client);
    mem_free(client->tail);
    client->tail = NULL;
}
