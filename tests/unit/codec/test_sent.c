/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the hub sends, by commands of the files *_sent.txt; the client tests give the same bytes to
 * stock clients.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "codec/eio.h"
#include "codec/sio_mp.h"
#include "tests/support/vectors.h"

TestSuite(sent, .timeout = 60);

enum { FIELDS = 7 };

/* A command: fields with '|' between them; those that are not there are empty. */
struct command {
    struct bytes fields[FIELDS];
};

static struct command split(struct bytes text)
{
    struct command command;
    for (size_t i = 0; i < FIELDS; i++) {
        const char *end = text.len > 0 ? memchr(text.at, '|', text.len) : NULL;
        size_t len = end != NULL ? (size_t)(end - text.at) : text.len;
        command.fields[i] = bytes_of(text.at, len);
        text = bytes_skip(text, end != NULL ? len + 1 : len);
    }
    return command;
}

static uint64_t number(struct bytes text)
{
    uint64_t value = 0;
    cr_assert(text.len == 0 || bytes_to_u64(text, UINT64_MAX, &value) == 0);
    return value;
}

static int write_event(const struct command *command, bool packed, struct builder *out)
{
    const struct bytes *fields = command->fields;
    struct sio_head head = {.nsp = fields[1],
        .has_id = fields[2].len > 0,
        .id = number(fields[2]),
        .attachments = (unsigned)number(fields[6])};
    bool is_number = fields[3].at[0] == '#';
    struct sio_event_out event = {.name = bytes_skip(fields[3], is_number),
        .name_is_number = is_number,
        .args = fields[4],
        .offset = fields[5]};
    if (packed) {
        return sio_mp_write_event(out, &head, &event);
    }
    sio_write_event(out, &head, &event);
    return 0;
}

static int write_ack(const struct command *command, bool packed, struct builder *out)
{
    const struct bytes *fields = command->fields;
    struct sio_head head = {
        .nsp = fields[1], .id = number(fields[2]), .attachments = (unsigned)number(fields[4])};
    if (!packed) {
        sio_write_ack(out, &head, fields[3]);
        return 0;
    }
    struct buf *bin = buf_new(BYTES("\x01\x02\x03\x04"));
    int status = sio_mp_write_ack(out, &head, fields[3], &bin);
    buf_unref(bin);
    return status;
}

static int write_socketio(const struct command *command, bool packed, struct builder *out)
{
    const struct bytes *fields = command->fields;
    if (bytes_eq_str(fields[0], "connect")) {
        (packed ? sio_mp_write_connect : sio_write_connect)(out, fields[1], fields[2], fields[3]);
        return 0;
    }
    if (bytes_eq_str(fields[0], "disconnect")) {
        (packed ? sio_mp_write_disconnect : sio_write_disconnect)(out, fields[1]);
        return 0;
    }
    if (bytes_eq_str(fields[0], "event")) {
        return write_event(command, packed, out);
    }
    if (bytes_eq_str(fields[0], "ack")) {
        return write_ack(command, packed, out);
    }
    cr_assert(bytes_eq_str(fields[0], "refuse"));
    if (packed) {
        return sio_mp_write_connect_error(out, fields[1], fields[2], fields[3]);
    }
    sio_write_connect_error(out, fields[1], fields[2], fields[3]);
    return 0;
}

static int write_json(const struct command *command, struct builder *out)
{
    return write_socketio(command, false, out);
}

static int write_msgpack(const struct command *command, struct builder *out)
{
    return write_socketio(command, true, out);
}

static int write_engine(const struct command *command, struct builder *out)
{
    const struct bytes *fields = command->fields;
    if (bytes_eq_str(fields[0], "error")) {
        eio_write_error(out, (enum eio_error)number(fields[1]), fields[2]);
        return 0;
    }
    cr_assert(bytes_eq_str(fields[0], "open"));
    struct eio_open open = {.sid = fields[1],
        .upgrades = number(fields[2]) > 0,
        .ping_interval_ms = (uint32_t)number(fields[3]),
        .ping_timeout_ms = (uint32_t)number(fields[4]),
        .max_payload = number(fields[5])};
    eio_write_open(out, &open);
    return 0;
}

static void run(const char *path, int (*write)(const struct command *command, struct builder *out))
{
    struct vectors vectors;
    vectors_load(&vectors, path);
    for (size_t i = 0; i < vectors.count; i++) {
        const struct vector *vector = &vectors.items[i];
        struct command command = split(buf_bytes(vector->input));
        struct builder out = {0};
        struct builder shown = {0};
        cr_expect_eq(write(&command, &out), 0, "%s", vector->title);
        vectors_quote(&shown, builder_bytes(&out));
        struct bytes got = builder_bytes(&shown);
        cr_expect(bytes_eq(got, buf_bytes(vector->expected)), "%s: %.*s", vector->title,
            (int)got.len, got.at);
        builder_reset(&out);
        builder_reset(&shown);
    }
    cr_expect_gt(vectors.count, 0);
    vectors_finish(&vectors);
}

Test(sent, engine)
{
    run(TESTS_DATA "/codec/eio_sent.txt", write_engine);
}

Test(sent, socketio)
{
    run(TESTS_DATA "/codec/sio_sent.txt", write_json);
}

Test(sent, socketio_msgpack)
{
    run(TESTS_DATA "/codec/sio_msgpack_sent.txt", write_msgpack);
}
