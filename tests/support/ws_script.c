/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the letters of a case into frames, and shows what was answered in the same letters.
 */
#include "tests/support/ws_script.h"

#include <stdlib.h>
#include <string.h>

#include "actors/close.h"
#include "tests/support/vectors.h"

enum { FIN = 0x80, LONG_REPEAT = 40, MANY_FRAMES = 10 };

/* --- input in the notation of the file --- */

/* Take what stands before the next `end` from the start of `rest`. */
static struct bytes take_until(struct bytes *rest, char end)
{
    const char *found = rest->len > 0 ? memchr(rest->at, end, rest->len) : NULL;
    struct bytes part = bytes_of(rest->at, found ? (size_t)(found - rest->at) : rest->len);
    *rest = bytes_skip(*rest, part.len + (found != NULL));
    return part;
}

static unsigned long take_number(struct bytes *rest, int base)
{
    char text[32] = "";
    char *end;
    memcpy(text, rest->at, rest->len < sizeof(text) - 1 ? rest->len : sizeof(text) - 1);
    unsigned long number = strtoul(text, &end, base);
    *rest = bytes_skip(*rest, (size_t)(end - text));
    return number;
}

struct item {
    unsigned first;
    unsigned long repeats; /* of the payload */
    unsigned long size; /* bytes of the length; 0: as few as may be */
    bool bare;
    bool packed;
};

static unsigned first_of(char letter)
{
    static const char letters[] = "ctb.....xpq";
    const char *found = strchr(letters, letter | 0x20);
    CHECK(found != NULL);
    return (unsigned)(found - letters) | ((letter & 0x20) ? 0 : FIN);
}

static struct item read_item(struct bytes word)
{
    struct item item = {.first = first_of(word.at[0]), .repeats = 1};
    for (word = bytes_skip(word, 1); word.len > 0;) {
        char sign = word.at[0];
        word = bytes_skip(word, 1);
        if (sign == '*') {
            item.repeats = take_number(&word, 10);
        } else if (sign == '/') {
            item.first = (unsigned)take_number(&word, 16);
        } else if (sign == '^') {
            item.size = take_number(&word, 10);
        } else if (sign == '~') {
            item.packed = true;
        } else {
            CHECK(sign == '!');
            item.bare = true;
        }
    }
    return item;
}

/* A masked frame (by 0) whose length has the form that is asked for. */
static void add_sized(struct builder *out, unsigned first, unsigned long size, struct bytes payload)
{
    builder_byte(out, (char)first);
    builder_byte(out, (char)(FIN | (size == 2 ? 126 : 127)));
    for (unsigned long i = size; i > 0; i--) {
        builder_byte(out, (char)(payload.len >> 8 * (i - 1) & 0xff));
    }
    builder_add(out, BYTES("\0\0\0\0"));
    builder_add(out, payload);
}

static void add_frame(const struct item *item, struct bytes part, struct builder *out)
{
    struct builder payload = {0};
    for (unsigned long i = 0; i < item->repeats; i++) {
        builder_add(&payload, part);
    }
    struct bytes whole = builder_bytes(&payload);
    if (item->size > 0) {
        add_sized(out, item->first, item->size, whole);
    } else if (item->bare) {
        ws_rig_add_server(out, item->first, whole);
    } else if (item->packed) {
        ws_rig_add_packed(out, item->first, whole);
    } else {
        ws_rig_add_client(out, item->first, whole);
    }
    builder_reset(&payload);
}

void ws_script_read(struct bytes text, struct ws_rig_options *options, struct builder *out)
{
    while (text.len > 0) {
        struct bytes rest = take_until(&text, '|');
        struct bytes word = take_until(&rest, ' ');
        unsigned long count = 1;
        if (word.at[0] == '#') {
            word = bytes_skip(word, 1);
            count = take_number(&word, 10);
            word = take_until(&rest, ' ');
        }
        if (word.at[0] == 'R') {
            builder_add(out, rest);
        } else if (word.at[0] == 'D') {
            options->deflate_bits = (unsigned)take_number(&rest, 10);
        } else {
            struct item item = read_item(word);
            for (unsigned long i = 0; i < count; i++) {
                add_frame(&item, rest, out);
            }
        }
    }
}

/* --- what was sent, in the same notation --- */

static bool is_one_byte(struct bytes payload)
{
    return payload.len > LONG_REPEAT && memcmp(payload.at, payload.at + 1, payload.len - 1) == 0;
}

static void show_frame(const struct ws_frame *frame, struct bytes payload, struct builder *out)
{
    static const char letters[] = "CTB.....XPQ";
    builder_byte(out, letters[frame->opcode]);
    if (frame->opcode == WS_CLOSE && payload.len >= 2) {
        builder_printf(out, " %u", (unsigned)(uint8_t)payload.at[0] << 8 | (uint8_t)payload.at[1]);
        payload = bytes_skip(payload, 2);
    } else if (is_one_byte(payload)) {
        builder_printf(out, "*%zu", payload.len);
        payload.len = 1;
    }
    builder_str(out, payload.len > 0 ? " " : "");
    vectors_quote(out, payload);
}

/* Append `shown`, which came `count` times in a row. */
static void show_row(struct builder *shown, unsigned count, struct builder *out)
{
    for (unsigned i = 0; i < (count < MANY_FRAMES ? count : 1); i++) {
        if (count >= MANY_FRAMES) {
            builder_printf(out, "#%u ", count);
        }
        builder_add(out, builder_bytes(shown));
        builder_byte(out, '|');
    }
    builder_clear(shown);
}

void ws_script_show(const struct ws_rig *rig, struct builder *out)
{
    struct builder plain = {0};
    struct builder last = {0};
    struct builder next = {0};
    unsigned count = 0;
    CHECK(ws_rig_unpack(builder_bytes(&rig->sent), &plain));
    for (struct bytes sent = builder_bytes(&plain); sent.len > 0;) {
        struct ws_frame frame;
        int len = ws_frame_read_own(sent, &frame);
        CHECK(len > 0 && frame.fin);
        show_frame(&frame, bytes_of(sent.at + frame.head_len, frame.payload_len), &next);
        if (count > 0 && !bytes_eq(builder_bytes(&last), builder_bytes(&next))) {
            show_row(&last, count, out);
            count = 0;
        }
        builder_clear(&last);
        builder_add(&last, builder_bytes(&next));
        builder_clear(&next);
        count++;
        sent = bytes_skip(sent, (size_t)len);
    }
    show_row(&last, count, out);
    builder_str(out, rig->closed > 0 ? close_name(rig->reason) : "open");
    builder_reset(&plain);
    builder_reset(&last);
    builder_reset(&next);
}
