/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client on a socket of actors: it takes the bytes of its outbox apart and calls the test for
 * each packet.
 *
 * Order of this file: life, bytes to messages, messages to packets.
 */
#include "tests/support/client.h"

#include "actors/shard.h"
#include "codec/base/mem.h"
#include "codec/depth.h"
#include "codec/json_scan.h"
#include "codec/mp.h"
#include "codec/sio.h"
#include "codec/ws_frame.h"

enum { OUTBOX_HIGH = 64 << 20, IOV_MAX_TAKEN = 64 };

static void on_flush(struct outbox *outbox);
static void on_relieved(struct outbox *outbox);
static void on_overflowed(struct outbox *outbox);
_Thread_local bool client_reads;

static void on_disconnect(struct socket *socket, enum close_reason reason);
static void on_end(struct socket *socket, enum close_reason reason);
static void on_pause(struct socket *socket, bool paused);

static const struct outbox_ops outbox_ops = {
    .flush = on_flush, .relieved = on_relieved, .overflowed = on_overflowed};
static const struct socket_ops socket_ops = {
    .disconnect = on_disconnect,
    .end = on_end,
    .pause = on_pause,
};

static const struct socket_ops one_way_ops = {
    .one_way = true,
    .disconnect = on_disconnect,
    .end = on_end,
    .pause = on_pause,
};

static struct identity *make_identity(const char *user)
{
    const char *slash = strchr(user, '/');
    const struct claims_fields claims = {
        .user = bytes_str(slash ? slash + 1 : user),
        .tenant = bytes_of(user, slash ? (size_t)(slash - user) : 0),
    };
    struct claims *copy = claims_new(&claims);
    return copy != NULL ? identity_new(copy, slash != NULL) : NULL;
}

void client_init(struct client *client, struct shard *shard, const char *nsp, const char *user,
    enum wire_format format)
{
    client_continue(client, shard, nsp, user, format, NULL);
}

static bool enter(struct client *client, struct shard *shard, const char *nsp, const char *user,
    enum wire_format format, struct recoverable *claimed)
{
    struct identity *identity = make_identity(user);
    if (identity == NULL) {
        return false;
    }
    static const struct outbox_limits limits = {.high = OUTBOX_HIGH};
    outbox_init(&client->outbox, &outbox_ops, &limits);
    const struct socket_options options = {
        .ops = client->one_way ? &one_way_ops : &socket_ops,
        .shard = shard,
        .nsp = bytes_str(nsp),
        .outbox = &client->outbox,
        .identity = identity,
        .format = format,
        .claimed = claimed,
    };
    bool good = socket_init(&client->socket, &options);
    identity_unref(identity);
    return good;
}

bool client_try_init(struct client *client, struct shard *shard, const char *nsp, const char *user,
    enum wire_format format)
{
    return enter(client, shard, nsp, user, format, NULL);
}

void client_continue(struct client *client, struct shard *shard, const char *nsp, const char *user,
    enum wire_format format, struct recoverable *claimed)
{
    CHECK(enter(client, shard, nsp, user, format, claimed));
}

void client_finish(struct client *client, enum close_reason reason)
{
    socket_detach(&client->socket, reason);
    client->outbox.busy = false;
    outbox_finish(&client->outbox);
    builder_reset(&client->bytes);
}

static void on_disconnect(struct socket *socket, enum close_reason reason)
{
    struct client *client = container_of(socket, struct client, socket);
    client->ended = true;
    client->reason = reason;
    socket->closing = true;
}

static void on_end(struct socket *socket, enum close_reason reason)
{
    on_disconnect(socket, reason);
    container_of(socket, struct client, socket)->session_ended = true;
}

static void on_pause(struct socket *socket, bool paused)
{
    (void)socket;
    (void)paused;
}

static void on_relieved(struct outbox *outbox)
{
    socket_relieved(&container_of(outbox, struct client, outbox)->socket);
}

static void on_overflowed(struct outbox *outbox)
{
    struct client *client = container_of(outbox, struct client, outbox);
    client->overflowed = true;
    client->socket.closing = true; /* as the session does that ends for it */
}

/* Packets. */

static void receive(struct client *client, const struct client_packet *packet)
{
    client->received_count++;
    if (client->received != NULL) {
        client->received(client, packet);
    }
}

/* `id` is the ack's that is asked for, or NULL. */
static void receive_array(struct client *client, struct bytes array, const uint64_t *id)
{
    struct json_scan_iter iter;
    struct bytes element;
    char at[EVENT_NAME_MAX];
    struct client_packet packet = {.is_asked = id != NULL, .id = id != NULL ? *id : 0};
    CHECK(json_scan_text(array, DEPTH_WIRE, NULL, NULL) == 0 && json_scan_iter_init(&iter, array));
    CHECK(json_scan_element(&iter, &element));
    CHECK(json_scan_string(element, at, sizeof(at), &packet.name) == 0);
    packet.args = json_scan_rest(&iter);
    receive(client, &packet);
}

static void receive_batch(struct client *client, struct bytes array)
{
    struct json_scan_iter iter;
    struct json_scan_iter walk;
    struct bytes element;
    struct bytes messages;
    CHECK(json_scan_text(array, DEPTH_WIRE, NULL, NULL) == 0 && json_scan_iter_init(&iter, array));
    CHECK(json_scan_element(&iter, &element) && json_scan_element(&iter, &element));
    CHECK(json_scan_get(element, "messages", &messages) == 0);
    CHECK(json_scan_iter_init(&walk, messages));
    unsigned count = 0;
    while (json_scan_element(&walk, &element)) {
        char at[EVENT_NAME_MAX];
        struct bytes name;
        struct bytes args;
        struct client_packet packet = {0};
        CHECK(json_scan_get(element, "event", &name) == 0);
        CHECK(json_scan_string(name, at, sizeof(at), &packet.name) == 0);
        CHECK(json_scan_get(element, "args", &args) == 0);
        packet.args = json_scan_inside(args);
        receive(client, &packet);
        count++;
    }
    CHECK(count > 0);
}

/* Digits at the start of `text`; what follows them is left in it. */
static uint64_t take_number(struct bytes *text)
{
    uint64_t number = 0;
    while (text->len > 0 && *text->at >= '0' && *text->at <= '9') {
        number = number * 10 + (uint64_t)(*text->at - '0');
        *text = bytes_skip(*text, 1);
    }
    return number;
}

/* "42[…]", "42/nsp,id[…]", "45n-[…]" or "43id[…]". */
static void receive_socketio(struct client *client, struct bytes text)
{
    CHECK(text.len > 2 && text.at[0] == '4');
    char kind = text.at[1];
    text = bytes_skip(text, 2);
    if (kind == '5') {
        CHECK(take_number(&text) > 0 && text.len > 0 && text.at[0] == '-');
        text = bytes_skip(text, 1);
    }
    if (text.len > 0 && text.at[0] == '/') {
        const char *comma = memchr(text.at, ',', text.len);
        CHECK(comma != NULL);
        text = bytes_skip(text, (size_t)(comma - text.at) + 1);
    }
    if (kind == '3') {
        struct client_packet packet = {.is_ack = true, .id = take_number(&text)};
        CHECK(json_scan_text(text, DEPTH_WIRE, NULL, NULL) == 0);
        packet.args = json_scan_inside(text);
        receive(client, &packet);
        return;
    }
    CHECK(kind == '2' || kind == '5');
    bool asked = text.len > 0 && text.at[0] != '[';
    uint64_t id = take_number(&text);
    if (bytes_starts(text, BYTES("[\"batch_update\",{\"messages\":"))) {
        CHECK(client->socket.format == WIRE_SIO_BATCH || client->socket.format == WIRE_SIO);
        client->batches++;
        receive_batch(client, text);
    } else {
        receive_array(client, text, asked ? &id : NULL);
    }
}

/* A map of the MessagePack parser; binary counts as nothing, as in receive_message. */
static void receive_map(struct client *client, struct bytes map)
{
    struct builder text = {0};
    struct bytes found[SIO_ATTACHMENTS_MAX];
    struct mp_bins bins = {.at = found, .max = SIO_ATTACHMENTS_MAX};
    struct bytes value;
    struct bytes data;
    uint64_t type;
    uint64_t id;
    /* What a hub sends nests deeper than what it takes, so sio_mp_decode does not read it. */
    CHECK(mp_check(map, DEPTH_WIRE, NULL) == 0 && mp_to_json(map, &bins, &text) == 0);
    CHECK(json_scan_get(builder_bytes(&text), "type", &value) == 0);
    CHECK(json_scan_u64(value, &type) == 0);
    CHECK(json_scan_get(builder_bytes(&text), "data", &data) == 0);
    bool has_id =
        json_scan_get(builder_bytes(&text), "id", &value) == 0 && json_scan_u64(value, &id) == 0;
    if (type == SIO_ACK) {
        CHECK(has_id);
        receive(client,
            &(struct client_packet){.is_ack = true, .id = id, .args = json_scan_inside(data)});
    } else {
        CHECK(type == SIO_EVENT);
        receive_array(client, data, has_id ? &id : NULL);
    }
    builder_reset(&text);
}

/* A window may hold more packets than a client may send, so packet.h does not read it. */
static void receive_plain(struct client *client, struct bytes json)
{
    struct json_scan_iter iter;
    struct bytes element;
    CHECK(json_scan_text(json, DEPTH_WIRE, NULL, NULL) == 0 && json_scan_iter_init(&iter, json));
    while (json_scan_element(&iter, &element)) {
        struct json_scan_iter inner;
        struct bytes first;
        int64_t id;
        CHECK(json_scan_iter_init(&inner, element) && json_scan_element(&inner, &first));
        if (json_scan_kind(first) == JSON_SCAN_STRING) {
            receive_array(client, element, NULL);
            continue;
        }
        CHECK(json_scan_i64(first, &id) == 0 && id < 0);
        struct client_packet packet = {
            .is_ack = true, .id = (uint64_t)-id, .args = json_scan_rest(&inner)};
        receive(client, &packet);
    }
}

static void receive_message(struct client *client, enum ws_opcode opcode, struct bytes payload)
{
    switch ((enum wire_format)client->socket.format) {
    case WIRE_SIO:
    case WIRE_SIO_BATCH:
        if (opcode == WS_TEXT) {
            receive_socketio(client, payload);
        } else {
            CHECK(opcode == WS_BINARY); /* an attachment of the packet before */
        }
        return;
    case WIRE_SIO_MSGPACK:
        CHECK(opcode == WS_BINARY);
        receive_map(client, payload);
        return;
    case WIRE_JSON:
        CHECK(opcode == WS_TEXT);
        receive_plain(client, payload);
        return;
    case WIRE_MSGPACK: {
        CHECK(opcode == WS_BINARY);
        struct builder json = {0};
        CHECK(mp_to_json(payload, NULL, &json) == 0);
        receive_plain(client, builder_bytes(&json));
        builder_reset(&json);
        return;
    }
    case WIRE_FORMAT_COUNT:
        break;
    }
    CHECK(false);
}

/* Messages. */

/* The frame at the start of `bytes`: its whole length and its payload, or 0 when it is cut. */
static size_t read_frame(struct bytes bytes, struct bytes *ret_payload)
{
    if (bytes.len < 2) {
        return 0;
    }
    const uint8_t *at = (const uint8_t *)bytes.at;
    CHECK((at[0] & 0xf0) == 0x80 && (at[1] & 0x80) == 0);
    size_t head = 2;
    uint64_t len = at[1];
    size_t wide = len == 126 ? 2 : len == 127 ? 8 : 0;
    if (wide > 0) {
        head += wide;
        len = 0;
        for (size_t i = 0; i < wide && bytes.len >= head; i++) {
            len = len << 8 | at[2 + i];
        }
    }
    if (bytes.len < head || bytes.len - head < len) {
        return 0;
    }
    *ret_payload = bytes_of(bytes.at + head, len);
    return head + len;
}

static void receive_bytes(struct client *client, struct bytes bytes)
{
    client_reads = true;
    builder_add(&client->bytes, bytes);
    struct bytes rest = builder_bytes(&client->bytes);
    struct bytes payload;
    for (size_t len; (len = read_frame(rest, &payload)) > 0; rest = bytes_skip(rest, len)) {
        receive_message(client, (enum ws_opcode)(rest.at[0] & 0x0f), payload);
    }
    char *left = mem_dup(rest.at, rest.len);
    size_t left_len = rest.len;
    builder_clear(&client->bytes);
    builder_add(&client->bytes, bytes_of(left, left_len));
    mem_free(left);
    client_reads = false;
}

static void on_flush(struct outbox *outbox)
{
    struct client *client = container_of(outbox, struct client, outbox);
    size_t left = client->takes > 0 ? client->takes : SIZE_MAX;
    while (!client->stalled && outbox->bytes > 0 && left > 0) {
        struct iovec iov[IOV_MAX_TAKEN];
        size_t count = outbox_peek(outbox, iov, IOV_MAX_TAKEN, left);
        size_t taken = 0;
        for (size_t i = 0; i < count; i++) {
            receive_bytes(client, bytes_of(iov[i].iov_base, iov[i].iov_len));
            taken += iov[i].iov_len;
        }
        client->socket.shard->stats.bytes_out += taken;
        left -= taken;
        outbox_consume(outbox, taken);
    }
    outbox->busy = client->stalled && outbox->bytes > 0;
}

void client_resume(struct client *client)
{
    uint32_t takes = client->takes;
    client->stalled = false;
    client->outbox.busy = false;
    client->takes = 0;
    on_flush(&client->outbox);
    client->takes = takes;
}
