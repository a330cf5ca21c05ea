/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each event of the hub is what its row says, in every format.
 */
#include <criterion/criterion.h>

#include "codec/json_scan.h"
#include "codec/mp.h"
#include "codec/preferences.h"
#include "codec/server_events.h"
#include "codec/wire.h"
#include "codec/ws_frame.h"

TestSuite(server_events, .timeout = 60);

struct row {
    const char *name;
    const char *carries;
};

static const struct row rows[] = {
#define X(symbol, name, carries, text) {name, carries},
#define SERVER_FAMILY(prefix)
#include "codec/server_events.def"
#undef X
#undef SERVER_FAMILY
};

enum { SEEN_MAX = 32 };

static const uint8_t id[16] = {1, 0x23, 0x45, 0x67, 0x89, 0xab, 0x7d, 0xef, 0x81};
#define ID "01234567-89ab-7def-8100-000000000000"

/* What was made of an event, and what of it the row must name. */
struct sample {
    const char *name;
    const char *argument; /* "": none */
    struct event *event;
};

#define ITEM(data, read, read_at)                                                                  \
    "{\"id\":\"" ID "\",\"seq\":7,\"rev\":9,\"newRev\":8,\"userId\":\"u\\\"1\",\"type\":"          \
    "\"order\",\"title\":\"T\","                                                                   \
    "\"message\":\"M\",\"data\":" data ",\"priority\":\"high\",\"isRead\":" read                   \
    ",\"readAt\":" read_at ",\"createdAt\":\"2023-11-14T22:13:20.123Z\""

static struct notification_item small_item(void)
{
    struct notification_item item = {.seq = 7,
        .rev = 9,
        .new_rev = 8,
        .user = BYTES("u\"1"),
        .type = BYTES("order"),
        .title = BYTES("T"),
        .message = BYTES("M"),
        .priority = NOTIFICATION_HIGH,
        .created_at = 1700000000123};
    memcpy(item.id, id, sizeof(id));
    return item;
}

static struct event *make_preferences(void)
{
    struct builder out = {0};
    builder_byte(&out, '{');
    preferences_answer(NULL, NULL, 7, &out);
    builder_byte(&out, '}');
    return server_events_preferences(&out);
}

static struct event *make_item(bool whole)
{
    struct notification_item item = small_item();
    if (whole) {
        item.data = BYTES("{\"a\":[1,\"\xc3\xa9\"]}");
        item.state = NOTIFICATION_ARCHIVED;
        item.read_at = 2000;
        item.expires_at = 3000;
        item.seen_at = 1000;
        item.archived_at = 2500;
        item.snoozed_until = 4000;
        item.resurfaced_at = 5000;
        item.collapse = BYTES("build");
        item.count = 3;
        item.digest = BYTES(ID "\x1f"
                               "6000\x1f"
                               "2\x1f"
                               "T\x1f"
                               "M\x1f"
                               "[7]");
        item.updated_at = 6000;
        item.audience = AUDIENCE_TOPIC;
        item.audience_name = BYTES("t");
        memcpy(item.audience_id, id, sizeof(id));
        item.silent = true;
    }
    return server_events_notification(&item);
}

static struct event *make_state(uint64_t up_to)
{
    struct notification_change changes[2] = {{.seq = 1}, {.seq = 2}};
    memcpy(changes[0].id, id, sizeof(id));
    memcpy(changes[1].id, id, sizeof(id));
    return server_events_state(&(struct server_state){.rev = 5,
        .unread = 1,
        .unseen = 1,
        .changes = changes,
        .count = 2,
        .up_to = up_to,
        .state = NOTIFICATION_READ,
        .at = up_to == 4 ? 0 : 1000});
}

/* A row that is snoozed, or one that came back and is carried. */
static struct event *make_back(bool carried, bool updated)
{
    const struct notification_item item = small_item();
    struct notification_change change = {.seq = 1};
    memcpy(change.id, id, sizeof(id));
    return server_events_state(&(struct server_state){.rev = 5,
        .unread = 1,
        .changes = &change,
        .count = 1,
        .state = carried ? NOTIFICATION_UNREAD : NOTIFICATION_SNOOZED,
        .snoozed_until = carried ? 0 : 4000,
        .item = carried ? &item : NULL,
        .updated = updated});
}

static struct event *make_error(bool whole)
{
    return server_events_error(&(struct server_error){
        .code = ERROR_RATE_LIMITED,
        .message = BYTES("Wait"),
        .field = whole ? BYTES("roomId") : bytes_of(NULL, 0),
        .room = whole ? BYTES("public:\"a") : bytes_of(NULL, 0),
        .retry_ms = whole ? 250 : 0,
        .event = BYTES("join_room"),
    });
}

static struct event *make_message(struct bytes type)
{
    return server_events_message(&(struct server_message){.id = id,
        .room = BYTES("r"),
        .user = BYTES("u"),
        .name = BYTES("U"),
        .text = BYTES("\"h\\u0069\""),
        .type = type,
        .at = 1000});
}

/* `text` in a sample of a client is passed on as it came; MessagePack says it without escapes. */
#define MESSAGE(type)                                                                              \
    "{\"id\":\"" ID "\",\"roomId\":\"r\",\"userId\":\"u\",\"userName\":\"U\",\"message\":\"h\\u00" \
    "69\",\"type\":" type ",\"timestamp\":\"1970-01-01T00:00:01.000Z\"}"

#define COLLAPSED                                                                                  \
    ",\"collapse\":\"build\",\"count\":3,\"digest\":[{\"id\":\"" ID                                \
    "\",\"title\":\"T\",\"message\":\"M\",\"data\":[7],\"priority\":\"high\",\"createdAt\":"       \
    "\"1970-01-01T00:00:06.000Z\"}],\"updatedAt\":\"1970-01-01T00:00:06.000Z\","                   \
    "\"audience\":{\"id\":\"" ID "\",\"kind\":\"topic\",\"name\":\"t\"}"

static size_t make_room_samples(struct sample *at)
{
    const struct bytes none = {0};
    const struct sample samples[] = {
        {"room_joined", "{\"roomId\":\"a:b\",\"roomType\":\"a\"}",
            server_events_room_joined(
                &(struct server_room){.room = BYTES("a:b"), .type = BYTES("a")})},
        {"room_joined",
            "{\"roomId\":\"r\",\"roomType\":\"\",\"epoch\":\"e\",\"offset\":\"x-1\",\"recovered\":"
            "true}",
            server_events_room_joined(&(struct server_room){.room = BYTES("r"),
                .epoch = BYTES("e"),
                .offset = BYTES("x-1"),
                .since = SERVER_ROOM_RECOVERED})},
        {"room_joined", "{\"roomId\":\"r\",\"roomType\":\"\",\"recovered\":false}",
            server_events_room_joined(&(struct server_room){
                .room = BYTES("r"), .epoch = BYTES("e"), .since = SERVER_ROOM_LOST})},
        {"room_left", "{\"roomId\":\"r\",\"roomType\":\"\"}",
            server_events_room_left(&(struct server_room){.room = BYTES("r")})},
        {"room_left", "{\"roomId\":\"r\",\"roomType\":\"\",\"reason\":\"forbidden\"}",
            server_events_room_left(
                &(struct server_room){.room = BYTES("r"), .reason = BYTES("forbidden")})},
        {"user_joined_room", "{\"roomId\":\"r\",\"userId\":\"u\",\"userName\":\"U\"}",
            server_events_user_joined(BYTES("r"), BYTES("u"), BYTES("U"))},
        {"user_left_room", "{\"roomId\":\"r\",\"userId\":\"u\",\"userName\":null}",
            server_events_user_left(BYTES("r"), BYTES("u"), none)},
        {"new_message", MESSAGE("\"text\""), make_message(none)},
        {"new_message", MESSAGE("\"image\""), make_message(BYTES("\"image\""))},
        {"typing", "{\"roomId\":\"r\",\"userId\":\"u\",\"typing\":true}",
            server_events_typing(BYTES("r"), BYTES("u"), true)},
        {"presence", "{\"userId\":\"u\",\"online\":true,\"lastSeen\":null}",
            server_events_presence(BYTES("u"), true)},
    };
    memcpy(at, samples, sizeof(samples));
    return ARRAY_LEN(samples);
}

static size_t make_samples(struct sample *at)
{
    const struct server_ready ready = {.user = BYTES("u"),
        .node = BYTES("n"),
        .epoch = BYTES("e"),
        .seq = 1,
        .rev = 2,
        .unread = 3,
        .unseen = 2,
        .messages_per_minute = 50,
        .message_bytes = 65536,
        .rooms = 128};
    const struct sample samples[] = {
        {"hub:ready",
            "{\"userId\":\"u\",\"node\":\"n\",\"epoch\":\"e\",\"seq\":1,\"rev\":2,\"unread\":3,"
            "\"unseen\":2,"
            "\"limits\":{\"messagesPerMinute\":50,\"messageBytes\":65536,\"rooms\":128}}",
            server_events_ready(&ready)},
        {"notification", ITEM("null", "false", "null") "}", make_item(false)},
        {"notification",
            ITEM("{\"a\":[1,\"\xc3\xa9\"]}", "true", "\"1970-01-01T00:00:02.000Z\"") //
            ",\"expiresAt\":\"1970-01-01T00:00:03.000Z\",\"seenAt\":\"1970-01-01T00:00:01.000Z\","
            "\"archivedAt\":\"1970-01-01T00:00:02.500Z\","
            "\"snoozedUntil\":\"1970-01-01T00:00:04.000Z\",\"resurfaced\":true" COLLAPSED
            ",\"silent\":true}",
            make_item(true)},
        {"notification:state",
            "{\"rev\":5,\"unread\":1,\"unseen\":1,\"ids\":[\"" ID "\",\"" ID
            "\"],\"state\":\"read\","
            "\"at\":\"1970-01-01T00:00:01.000Z\"}",
            make_state(0)},
        {"notification:state",
            "{\"rev\":5,\"unread\":1,\"unseen\":1,\"upTo\":4,\"state\":\"read\",\"at\":null}",
            make_state(4)},
        {"notification:state",
            "{\"rev\":5,\"unread\":1,\"unseen\":1,\"upTo\":9007199254740991,\"state\":\"read\","
            "\"at\":\"1970-01-01T00:00:01.000Z\"}",
            make_state(UINT64_MAX)},
        {"notification:state",
            "{\"rev\":5,\"unread\":1,\"unseen\":0,\"ids\":[\"" ID
            "\"],\"state\":\"snoozed\",\"at\":null,"
            "\"snoozedUntil\":\"1970-01-01T00:00:04.000Z\"}",
            make_back(false, false)},
        {"notification:state",
            "{\"rev\":5,\"unread\":1,\"unseen\":0,\"ids\":[\"" ID
            "\"],\"state\":\"unread\",\"at\":null,\"items\":[" ITEM("null", "false", "null") "}]}",
            make_back(true, false)},
        {"notification:state",
            "{\"rev\":5,\"unread\":1,\"unseen\":0,\"ids\":[\"" ID
            "\"],\"state\":\"unread\",\"at\":null,\"updated\":[" ITEM(
                "null", "false", "null") "}]}",
            make_back(true, true)},
        {"unread", "{\"count\":4,\"unseen\":3,\"rev\":7}", server_events_unread(4, 3, 7)},
        {"preferences:changed",
            "{\"timezone\":null,\"muteUntil\":null,\"quiet\":null,\"types\":{},\"effective\":{},"
            "\"rev\":7}",
            make_preferences()},
        {"hub:resync", "{\"epoch\":\"e1\",\"rev\":7}", server_events_resync(BYTES("e1"), 7)},
        {"hub:token_expiring", "{\"in\":60000}", server_events_token_expiring(60000)},
        {"hub:draining", "{\"reconnectIn\":12}", server_events_draining(12)},
        {"hub:missed", "{\"rooms\":[\"a\",\"b\\\"c\"],\"inbox\":true}",
            server_events_missed(BYTES("a\nb\"c\n"), true)},
        {"hub:closing", "{\"code\":4401,\"reason\":\"token expired\"}",
            server_events_closing(4401, BYTES("token expired"))},
        {"hub:ping", "", server_events_ping()},
        {"error", "{\"code\":\"rate_limited\",\"message\":\"Wait\",\"event\":\"join_room\"}",
            make_error(false)},
        {"error",
            "{\"code\":\"rate_limited\",\"message\":\"Wait\",\"field\":\"roomId\","
            "\"roomId\":\"public:\\\"a\","
            "\"retryAfter\":250,\"event\":\"join_room\"}",
            make_error(true)},
        {"rate_limited", "{\"event\":\"typing:start\",\"retryAfter\":9}",
            server_events_rate_limited(BYTES("typing:start"), bytes_of(NULL, 0), 9)},
        {"rate_limited", "{\"event\":\"join_room\",\"roomId\":\"r\",\"retryAfter\":9}",
            server_events_rate_limited(BYTES("join_room"), BYTES("r"), 9)},
    };
    memcpy(at, samples, sizeof(samples));
    return ARRAY_LEN(samples) + make_room_samples(at + ARRAY_LEN(samples));
}

enum { SAMPLES_MAX = 64 };

static void expect_text(
    const struct sample *sample, enum wire_format format, struct bytes got, struct bytes wanted)
{
    cr_expect(bytes_eq(got, wanted), "%s in format %d: %.*s, wanted %.*s", sample->name,
        (int)format, (int)got.len, got.at, (int)wanted.len, wanted.at);
}

/* `before`, the array of the event, `after`. */
static void write_wanted(
    const struct sample *sample, const char *before, const char *after, struct builder *out)
{
    builder_printf(out, "%s[\"%s\"%s%s]%s", before, sample->name,
        sample->argument[0] != '\0' ? "," : "", sample->argument, after);
}

/* The payload of the only frame. */
static struct bytes payload_of(struct bytes frame)
{
    size_t len = (uint8_t)frame.at[1];
    size_t head = len < 126 ? 2 : 4;
    cr_assert(len < 127 && frame.len >= head);
    return bytes_skip(frame, head);
}

/* Escapes that a client chose are gone where JSON was made of MessagePack. */
static void unescape(const struct builder *wanted, struct builder *out)
{
    struct bytes text = builder_bytes(wanted);
    const char *at = memmem(text.at, text.len, "\\u0069", 6);
    size_t before = at != NULL ? (size_t)(at - text.at) : text.len;
    builder_add(out, bytes_of(text.at, before));
    if (at != NULL) {
        builder_byte(out, 'i');
        builder_add(out, bytes_skip(text, before + 6));
    }
}

static void expect_format(
    const struct sample *sample, enum wire_format format, const char *before, const char *after)
{
    bool packed = format == WIRE_MSGPACK || format == WIRE_SIO_MSGPACK;
    struct builder frame = {0};
    struct builder wanted = {0};
    struct builder plain = {0};
    struct builder json = {0};
    cr_assert_eq(wire_event(format, BYTES("/"), sample->event, &frame), 0);
    write_wanted(sample, before, after, &wanted);
    struct bytes payload = payload_of(builder_bytes(&frame));
    if (packed) {
        unescape(&wanted, &plain);
        cr_assert_eq(mp_to_json(payload, NULL, &json), 0);
        expect_text(sample, format, builder_bytes(&json), builder_bytes(&plain));
    } else {
        expect_text(sample, format, payload, builder_bytes(&wanted));
    }
    builder_reset(&frame);
    builder_reset(&wanted);
    builder_reset(&plain);
    builder_reset(&json);
}

static void expect_batch_item(const struct sample *sample)
{
    struct builder item = {0};
    struct builder wanted = {0};
    cr_assert_eq(wire_add(WIRE_SIO_BATCH, BYTES("/"), sample->event, &item), 0);
    builder_printf(&wanted, "{\"event\":\"%s\",\"args\":[%s]}", sample->name, sample->argument);
    expect_text(sample, WIRE_SIO_BATCH, builder_bytes(&item), builder_bytes(&wanted));
    builder_reset(&item);
    builder_reset(&wanted);
}

Test(server_events, each_is_what_is_documented_in_every_format)
{
    struct sample samples[SAMPLES_MAX];
    size_t count = make_samples(samples);
    for (size_t i = 0; i < count; i++) {
        struct sample *sample = &samples[i];
        cr_assert_not_null(sample->event, "%s", sample->name);
        cr_expect(bytes_eq_str(sample->event->name, sample->name), "%s", sample->name);
        cr_expect(bytes_eq_str(sample->event->args, sample->argument), "%s", sample->name);
        cr_expect_eq(sample->event->arg_count, sample->argument[0] != '\0');
        cr_expect_eq(sample->event->flags,
            strcmp(sample->name, "typing") == 0 ? (int)EVENT_VOLATILE : 0, "%s", sample->name);
        expect_format(sample, WIRE_SIO, "42", "");
        expect_format(sample, WIRE_JSON, "[", "]");
        expect_format(sample, WIRE_MSGPACK, "[", "]");
        expect_format(sample, WIRE_SIO_MSGPACK, "{\"type\":2,\"data\":", ",\"nsp\":\"/\"}");
        expect_batch_item(sample);
        event_unref(sample->event);
    }
}

/* The next member that a row names; '?' behind it: it may be missing. */
static bool next_member(const char **at, struct bytes *ret_name, bool *ret_optional)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    *at += strcspn(*at, letters);
    size_t len = strspn(*at, letters);
    *ret_name = bytes_of(*at, len);
    *at += len;
    *ret_optional = **at == '?';
    *at += *ret_optional;
    if (**at == ':') { /* what is inside belongs to it */
        *at += strcspn(*at, "}") + 1;
    }
    return len > 0;
}

static bool has_member(const struct sample *sample, struct bytes name)
{
    struct bytes value;
    char key[SEEN_MAX];
    cr_assert_lt(name.len, sizeof(key));
    memcpy(key, name.at, name.len);
    key[name.len] = '\0';
    return json_scan_get(bytes_str(sample->argument), key, &value) == 0;
}

static size_t count_members(const struct sample *sample)
{
    struct json_scan_iter iter;
    struct bytes key;
    struct bytes value;
    size_t count = 0;
    if (sample->argument[0] != '\0') {
        json_scan_iter_init(&iter, bytes_str(sample->argument));
        while (json_scan_member(&iter, &key, &value)) {
            count++;
        }
    }
    return count;
}

/* Whether `row` names what the sample carries, nothing else, and marks what it may lack. */
static void expect_row(const struct row *row, const struct sample *sample)
{
    const char *at = row->carries;
    struct bytes name;
    bool optional;
    size_t found = 0;
    while (next_member(&at, &name, &optional)) {
        bool there = has_member(sample, name);
        cr_expect(there || optional, "%s: no %.*s", row->name, (int)name.len, name.at);
        found += there;
    }
    cr_expect_eq(found, count_members(sample), "%s: the row does not name all", row->name);
}

Test(server_events, each_row_names_what_it_carries)
{
    struct sample samples[SAMPLES_MAX];
    size_t count = make_samples(samples);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *at = rows[i].carries;
        struct bytes name;
        bool optional;
        bool known = strcmp(rows[i].name, "batch_update") == 0; /* written by wire.c */
        for (size_t j = 0; j < count; j++) {
            if (strcmp(samples[j].name, rows[i].name) == 0) {
                known = true;
                expect_row(&rows[i], &samples[j]);
            }
        }
        cr_expect(known, "%s: no test makes it", rows[i].name);
        while (next_member(&at, &name, &optional)) {
            bool seen = !optional;
            for (size_t j = 0; j < count && !seen; j++) {
                seen = strcmp(samples[j].name, rows[i].name) == 0 && has_member(&samples[j], name);
            }
            cr_expect(seen, "%s: never a %.*s", rows[i].name, (int)name.len, name.at);
        }
    }
    for (size_t j = 0; j < count; j++) {
        event_unref(samples[j].event);
    }
}

Test(server_events, their_names_are_nobody_elses)
{
    static const char *const ours[] = {"hub:anything", "notification:changed", "presence:online",
        "auth:refresh", "batch_update", "new_message", "unread"};
    static const char *const others[] = {"", "hub", "order:created", "unread_count", "Unread",
        "notifications", "presences", "join_room"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect(server_events_has(bytes_str(rows[i].name)), "%s", rows[i].name);
    }
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        cr_expect(server_events_has(bytes_str(ours[i])), "%s", ours[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        cr_expect(!server_events_has(bytes_str(others[i])), "%s", others[i]);
    }
}
