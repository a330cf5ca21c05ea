/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Posts, items, pages and announcements: what is taken, what is refused with which field, what is
 * written.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "codec/announce.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/iso_time.h"
#include "codec/json_scan.h"
#include "codec/mp.h"
#include "codec/notification.h"
#include "codec/notification_json.h"
#include "tests/support/script_feed.h"
#include "tests/support/vectors.h"

TestSuite(notification, .timeout = 60);

static void show_text(const char *name, struct bytes text, struct builder *out)
{
    builder_str(out, name);
    vectors_quote(out, text);
}

static void show_names(
    const char *name, const struct bytes *names, uint32_t count, struct builder *out)
{
    builder_str(out, name);
    for (uint32_t i = 0; i < count; i++) {
        show_text(i > 0 ? "," : "", names[i], out);
    }
    builder_byte(out, ']');
}

static void show(const struct notification_post *post, struct builder *out)
{
    static const char *const targets[] = {
        [NOTIFICATION_USERS] = "users=[",
        [NOTIFICATION_ROOMS] = "rooms=[",
        [NOTIFICATION_TOPIC] = "topic=[",
    };
    if (post->target == NOTIFICATION_ALL) {
        builder_str(out, "all");
    } else {
        show_names(targets[post->target], post->targets, post->target_count, out);
    }
    if (post->except_count > 0) {
        show_names(" except=[", post->except, post->except_count, out);
    }
    if (post->tenant.len > 0) {
        show_text(" tenant=", post->tenant, out);
    }
    show_text(" key=", post->key, out);
    if (post->reply.len > 0) {
        show_text(" reply=", post->reply, out);
    }
    if (post->is_event) {
        show_text(" event=", post->event, out);
        show_text(" args=", post->args, out);
        show_text(" retain=", post->retain, out);
        builder_str(out, post->removes ? " removes" : "");
        builder_str(out, post->is_volatile ? " volatile" : "");
    } else {
        show_text(" type=", post->type, out);
        show_text(" title=", post->title, out);
        show_text(" message=", post->message, out);
        show_text(" data=", post->data, out);
        builder_str(out, post->include_new ? " include_new" : "");
    }
    show_text(" priority=", notification_priority_name(post->priority), out);
    if (!post->is_event) {
        builder_str(out, " expires=");
        builder_u64(out, post->expires_at);
        show_text(post->collapse.len > 0 ? " collapse=" : "", post->collapse, out);
    }
}

static void show_outcome(int status, struct notification_post *post,
    const struct notification_fault *fault, struct builder *out)
{
    builder_clear(out);
    if (status < 0) {
        builder_printf(
            out, "error %s%s%s", status_name(status), fault->field[0] ? " " : "", fault->field);
        return;
    }
    cr_expect_eq(fault->field[0], 0);
    cr_expect_null(fault->message);
    show(post, out);
    notification_post_finish(post);
}

typedef int (*parse_fn)(struct bytes, const struct notification_limits *,
    struct notification_post *, struct notification_fault *);

static void decode(parse_fn parse, struct script_feed *feed, struct builder *out)
{
    struct bytes text = {0};
    struct notification_post post;
    struct notification_fault fault;
    do {
        int status = parse(text, &notification_limits_default, &post, &fault);
        show_outcome(status, &post, &fault, out);
    } while (script_feed_grow(feed, &text));
}

static void decode_json(struct script_feed *feed, struct builder *out)
{
    decode(notification_from_json, feed, out);
}

static void decode_event_json(struct script_feed *feed, struct builder *out)
{
    decode(notification_from_event_json, feed, out);
}

Test(notification, json_vectors)
{
    script_feed_file("codec/notification.txt", decode_json);
}

Test(notification, event_vectors)
{
    script_feed_file("codec/event_post.txt", decode_event_json);
}

/* A stream entry: up to six fields, what they mean. */
Test(notification, stream_fields)
{
    static const struct {
        const char *fields[12];
        const char *shown;
    } cases[] = {
        {{"user", "42", "type", "invoice", "title", "Paid", "data", " {\"id\":7} "},
            "users=[42] key= type=invoice title=Paid message= data={\"id\":7} priority=medium "
            "expires=0"},
        {{"users", "[\"a\",\"\\u0062\"]", "type", "t", "priority", "low", "data", ""},
            "users=[a,b] key= type=t title= message= data= priority=low expires=0"},
        {{"room", "r", "event", "e", "args", "[1]", "retain", "x"},
            "rooms=[r] key= event=e args=[1] retain=x priority=medium"},
        {{"all", "1", "event", "e"}, "all key= event=e args=[] retain= priority=medium"},
        {{"all", "yes", "event", "e"}, "error INVALID all"},
        {{"json", "{\"user\":\"u\",\"type\":\"t\"}"},
            "users=[u] key= type=t title= message= data= priority=medium expires=0"},
        {{"msgpack", "\x82\xa4user\xa1u\xa4type\xa1t"},
            "users=[u] key= type=t title= message= data= priority=medium expires=0"},
        {{"msgpack", "\xdd\x02\x01\x01\x01"}, "error INVALID"},
        {{"user", "u", "type", "t", "collapse", "build"},
            "users=[u] key= type=t title= message= data= priority=medium expires=0 collapse=build"},
        {{"json", "{\"user\":\"u\",\"type\":\"t\",\"collapse\":7}"}, "error INVALID collapse"},
        {{"room", "r", "event", "e", "collapse", "x"}, "error INVALID collapse"},
        {{"json", "{}", "user", "u"}, "error NOT_FOUND json"},
        {{"user", "u", "user", "v", "type", "t"}, "error INVALID user"},
        {{"user", "u", "type", "t", "data", "{"}, "error INVALID data"},
        {{"user", "u", "type", "t", "title", "\xff"}, "error UTF8 title"},
        {{"user", "u", "type", "t", "nonsense", "1"}, "error NOT_FOUND nonsense"},
        {{"user", "u", "type", "t", "n\xff", "1"}, "error NOT_FOUND n"},
        {{"user", "u", "type", "t", "expires_at", "1764400000"}, "error INVALID expires_at"},
        {{"user", "u", "event", "removeListener"}, "error INVALID event"},
        {{"users", "", "type", "t"}, "error INVALID users"},
        {{"type", "t"}, "error INVALID user"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct notification_field fields[6];
        size_t count = 0;
        for (; count < 6 && cases[i].fields[count * 2] != NULL; count++) {
            fields[count].name = bytes_str(cases[i].fields[count * 2]);
            fields[count].value = bytes_str(cases[i].fields[count * 2 + 1]);
        }
        struct notification_post post;
        struct builder out = {0};
        struct notification_fault fault;
        int status =
            notification_from_fields(fields, count, &notification_limits_default, &post, &fault);
        show_outcome(status, &post, &fault, &out);
        struct bytes got = builder_bytes(&out);
        cr_expect(bytes_eq_str(got, cases[i].shown), "%zu: %.*s", i, (int)got.len, got.at);
        builder_reset(&out);
    }
}

/* Keeps the beginning of what it was given: enough to tell contents apart here. */
static struct builder hashed;

static void record(struct bytes content, uint8_t ret_hash[16])
{
    builder_reset(&hashed);
    builder_add(&hashed, content);
    memset(ret_hash, 7, 16);
}

static bool same_content(const char *a, const char *b)
{
    struct builder first = {0};
    uint8_t hash[16];
    const char *texts[] = {a, b};
    bool same = false;
    for (size_t i = 0; i < 2; i++) {
        struct notification_post post;
        struct notification_fault fault;
        cr_assert_eq(notification_from_json(
                         bytes_str(texts[i]), &notification_limits_default, &post, &fault),
            0);
        cr_assert_eq(notification_content_hash(record, &post, hash), 0);
        cr_expect_eq(hash[15], 7);
        same = bytes_eq(builder_bytes(&first), builder_bytes(&hashed));
        builder_clear(&first);
        builder_add(&first, builder_bytes(&hashed));
        notification_post_finish(&post);
    }
    builder_reset(&first);
    return same;
}

Test(notification, contents_are_told_apart)
{
    cr_expect(same_content("{\"user\":\"u\",\"type\":\"t\",\"data\":{\"a\":\"b c\\\" \"}}",
        "{\"user\":\"v\",\"key\":\"k\",\"type\":\"t\",\"data\":{ \"a\" :\n\"b c\\\" \" }}"));
    cr_expect_not(same_content("{\"user\":\"u\",\"type\":\"t\",\"data\":{\"a\":\"b c\"}}",
        "{\"user\":\"u\",\"type\":\"t\",\"data\":{\"a\":\"bc\"}}"));
    cr_expect_not(same_content("{\"user\":\"u\",\"type\":\"ab\",\"title\":\"c\"}",
        "{\"user\":\"u\",\"type\":\"a\",\"title\":\"bc\"}"));
    cr_expect_not(same_content(
        "{\"user\":\"u\",\"type\":\"t\",\"priority\":\"low\"}", "{\"user\":\"u\",\"type\":\"t\"}"));
    uint8_t hash[16];
    cr_expect_eq(notification_key_hash(record, BYTES("a"), BYTES("b"), BYTES("c"), hash), 0);
    cr_expect(bytes_eq(builder_bytes(&hashed), BYTES("1:a1:b1:c")));
    builder_reset(&hashed);
}

#define ID "01890a5d-ac96-774b-bcce-b302099a8057"

static struct notification_item view_of(void)
{
    struct notification_item item = {
        .user = BYTES("42"),
        .seq = 3,
        .rev = 9,
        .new_rev = 9,
        .type = BYTES("invoice"),
        .title = BYTES("Pa\"id"),
        .message = BYTES("m"),
        .data = BYTES("{\"id\":7}"),
        .priority = NOTIFICATION_HIGH,
        .created_at = 1700000000123,
    };
    cr_assert_eq(uuid_parse(ID, 36, item.id), 0);
    return item;
}

static void expect_text(struct builder *out, const char *text)
{
    struct bytes got = builder_bytes(out);
    cr_expect(bytes_eq_str(got, text), "%.*s\n%s", (int)got.len, got.at, text);
    cr_expect_eq(json_scan_text(got, 32, NULL, NULL), 0);
    builder_clear(out);
}

#define ITEM_OPEN(read, at)                                                                        \
    "{\"id\":\"" ID "\",\"seq\":3,\"rev\":9,\"newRev\":9,\"userId\":\"42\",\"type\":\"invoice\","  \
    "\"title\":\"Pa\\\"id\",\"message\":\"m\",\"data\":{\"id\":7},\"priority\":\"high\","          \
    "\"isRead\":" read ",\"readAt\":" at ",\"createdAt\":\"2023-11-14T22:13:20.123Z\""
#define ITEM(read, at) ITEM_OPEN(read, at) "}"

Test(notification, a_page_ends_where_it_is_full)
{
    enum { COUNT = 5 };
    struct notification_item views[COUNT];
    struct builder out = {0};
    for (unsigned i = 0; i < COUNT; i++) {
        views[i] = view_of();
        views[i].seq = 20 - i;
        views[i].new_rev = i % 2 == 0 ? views[i].seq : views[i].seq + 100;
    }
    struct notification_page page = {.items = views, .count = COUNT, .more = true};
    notification_json_list(&page, &out);
    size_t whole = builder_bytes(&out).len;
    for (size_t max = 1; max < whole + 40; max++) {
        struct bytes next;
        struct bytes items;
        struct bytes item;
        struct json_scan_iter iter;
        unsigned count = 0;
        builder_clear(&out);
        page.max_bytes = (uint32_t)max;
        notification_json_list(&page, &out);
        cr_assert_eq(json_scan_get(builder_bytes(&out), "items", &items), 0);
        cr_assert_eq(json_scan_get(builder_bytes(&out), "next", &next), 0);
        json_scan_iter_init(&iter, items);
        while (json_scan_element(&iter, &item)) {
            count++;
        }
        cr_assert(count == 1 || builder_bytes(&out).len <= max, "%zu", max);
        struct notification_cursor place;
        struct bytes cursor = bytes_of(next.at + 1, next.len - 2);
        cr_assert_eq(notification_cursor_parse(cursor, &place), 0, "%zu", max);
        cr_assert_eq(place.new_rev, views[count - 1].new_rev);
        cr_assert_eq(place.seq, views[count - 1].seq);
    }
    builder_clear(&out);
    cr_expect_eq(notification_json_add_field(BYTES("seq"), &page.fields), 0);
    cr_expect_eq(notification_json_add_field(BYTES("sequence"), &page.fields), STATUS_INVALID);
    page.max_bytes = 0;
    notification_json_list(&page, &out);
    expect_text(&out,
        "{\"items\":[{\"seq\":20},{\"seq\":19},{\"seq\":18},{\"seq\":17},{\"seq\":16}],"
        "\"next\":\"16\"}");
    builder_reset(&out);
}

Test(notification, payloads)
{
    struct builder out = {0};
    struct notification_item item = view_of();
    notification_json_item(&item, &out);
    expect_text(&out, ITEM("false", "null"));
    item.state = NOTIFICATION_READ;
    item.read_at = 1700000000456;
    struct notification_page page = {.items = &item, .count = 1, .more = true, .ack = true};
    notification_json_list(&page, &out);
    expect_text(&out, "{\"ok\":true,\"items\":[" ITEM(
                          "true", "\"2023-11-14T22:13:20.456Z\"") "],"
                                                                  "\"next\":\"9.3\"}");
    item.seen_at = 1700000000300;
    item.archived_at = 1700000000600;
    notification_json_item(&item, &out);
    expect_text(&out,
        ITEM_OPEN("true", "\"2023-11-14T22:13:20.456Z\"") ",\"seenAt\":\"2023-11-14T22:13:20."
                                                          "300Z\",\"archivedAt\":\"2023-11-14T22:"
                                                          "13:20.600Z\"}");
    notification_json_list(
        &(struct notification_page){.more = true, .next_rev = 9, .next_seq = 7}, &out);
    expect_text(&out, "{\"items\":[],\"next\":\"9.7\"}"); /* what was looked at had nothing */
    notification_json_list(&(struct notification_page){0}, &out);
    expect_text(&out, "{\"items\":[],\"next\":null}");
    struct notification_change change = {.seq = 1, .rev = 5, .state = NOTIFICATION_ERASED};
    memcpy(change.id, item.id, sizeof(change.id));
    struct notification_sync_body sync = {.changes = &change,
        .change_count = 1,
        .through_rev = 5,
        .unread = 2,
        .unseen = 1,
        .done = true};
    notification_json_sync(&sync, &out);
    expect_text(&out,
        "{\"ok\":true,\"items\":[],\"states\":[{\"id\":\"" ID "\",\"seq\":1,\"rev\":5,"
        "\"state\":\"erased\",\"at\":null}],\"rev\":5,\"unread\":2,\"unseen\":1,\"done\":true}");
    builder_reset(&out);
}

/* Whole it says the same; cut anywhere, or with a byte more, it is refused. */
static void expect_announced(const struct announce *announce)
{
    struct builder out = {0};
    struct announce read;
    announce_encode(announce, &out);
    struct bytes whole = builder_bytes(&out);
    for (size_t len = 0; len < whole.len; len++) {
        cr_expect_lt(announce_decode(bytes_of(whole.at, len), &read), 0, "%zu", len);
    }
    uint64_t version;
    struct bytes epoch;
    cr_assert_eq(announce_origin(whole, &version, &epoch), 0);
    cr_expect(version == announce->version && bytes_eq(epoch, announce->epoch));
    cr_assert_eq(announce_decode(whole, &read), 0);
    cr_expect_eq(read.kind, announce->kind);
    cr_expect_eq(read.rev, announce->rev);
    cr_expect_eq(read.unread, announce->unread);
    cr_expect_eq(read.unseen, announce->unseen);
    cr_expect_eq(read.snoozed_until, announce->snoozed_until);
    cr_expect(bytes_eq(read.user, announce->user) && bytes_eq(read.tenant, announce->tenant));
    if (announce->kind == ANNOUNCE_NEW) {
        struct builder a = {0};
        struct builder b = {0};
        notification_json_item(&announce->item, &a);
        notification_json_item(&read.item, &b);
        cr_expect(bytes_eq(builder_bytes(&a), builder_bytes(&b)));
        builder_reset(&a);
        builder_reset(&b);
    }
    struct notification_change change;
    for (uint32_t i = 0; i < announce->change_count; i++) {
        cr_assert(announce_next_change(&read, &change));
        const struct notification_change *sent = &announce->changes[i];
        cr_expect_eq(memcmp(change.id, sent->id, sizeof(change.id)), 0);
        cr_expect(change.seq == sent->seq && change.rev == sent->rev);
        cr_expect(change.state == sent->state && change.at == sent->at);
    }
    cr_expect_not(announce_next_change(&read, &change));
    builder_byte(&out, 0);
    cr_expect_eq(announce_decode(builder_bytes(&out), &read), STATUS_INVALID);
    builder_reset(&out);
}

Test(notification, announcements_come_back_and_nothing_else_does)
{
    struct notification_change changes[2];
    memset(changes, 0, sizeof(changes));
    changes[0].seq = 1;
    changes[0].state = NOTIFICATION_READ;
    changes[1].at = 1700000000000;
    struct announce announce = {.version = 7,
        .epoch = BYTES("e"),
        .kind = ANNOUNCE_NEW,
        .tenant = BYTES("t"),
        .user = BYTES("42"),
        .seq = 3,
        .rev = 9,
        .unread = 2,
        .item = view_of()};
    expect_announced(&announce);
    announce.kind = ANNOUNCE_STATE;
    announce.changes = changes;
    announce.change_count = 2;
    expect_announced(&announce);
    announce.kind = ANNOUNCE_CHECK;
    announce.change_count = 0;
    expect_announced(&announce);
    struct announce read;
    struct builder out = {0};
    announce.kind = ANNOUNCE_NEW;
    announce.item.data = BYTES("{\"id\":");
    announce_encode(&announce, &out);
    cr_expect_eq(announce_decode(builder_bytes(&out), &read), STATUS_INVALID, "clients get it raw");
    builder_reset(&out);
}

Test(notification, times)
{
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {4107542399999, "2100-02-28T23:59:59.999Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
        {253402300800000, "+010000-01-01T00:00:00.000Z"},
        {-62167219200001, "-000001-12-31T23:59:59.999Z"},
        {8640000000000000, "+275760-09-13T00:00:00.000Z"},
        {-8640000000000000, "-271821-04-20T00:00:00.000Z"},
    };
    struct builder out = {0};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        builder_clear(&out);
        cr_expect_eq(iso_time_write(cases[i].ms, &out), 0);
        cr_expect(bytes_eq_str(builder_bytes(&out), cases[i].text), "%s", cases[i].text);
        uint64_t ms;
        int status = iso_time_parse(bytes_str(cases[i].text), &ms);
        bool parsed = cases[i].ms >= 0 && cases[i].ms <= 253402300799999;
        cr_expect_eq(status, parsed ? 0 : STATUS_INVALID, "%s", cases[i].text);
        cr_expect(!parsed || ms == (uint64_t)cases[i].ms, "%s", cases[i].text);
    }
    cr_expect_eq(iso_time_write(ISO_TIME_MAX + 1, &out), STATUS_INVALID);
    builder_reset(&out);
}

Test(notification, times_to_come_are_those_after_the_post_and_within_100_years)
{
    const uint64_t now = UINT64_C(1800000000000);
    const uint64_t century = UINT64_C(3155760000000);
    const struct {
        uint64_t posted;
        uint64_t expires_at;
        bool good;
    } cases[] = {
        {now, now, false},
        {now, now - 1, false},
        {now, now + 1, true},
        {now, now + century, true},
        {now, now + century + 1, false},
        {now - 60000, now - 1, true}, /* it has waited: no fault of the poster */
        {now - 60000, now - 60000, false},
        {0, UINT64_C(978307199999), false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct notification_limits limits = notification_limits_default;
        struct notification_post post;
        struct notification_fault fault;
        char text[96];
        limits.now_ms = now;
        limits.posted_ms = cases[i].posted;
        snprintf(text, sizeof(text), "{\"user\":\"u\",\"type\":\"t\",\"expires_at\":%llu}",
            (unsigned long long)cases[i].expires_at);
        int status = notification_from_json(bytes_str(text), &limits, &post, &fault);
        cr_expect_eq(status, cases[i].good ? 0 : STATUS_INVALID, "%zu", i);
        if (status == 0) {
            notification_post_finish(&post);
        } else {
            cr_expect_str_eq(fault.field, "expires_at");
        }
    }
}

Test(notification, what_is_for_later_is_within_400_days)
{
    const uint64_t now = UINT64_C(1800000000000);
    const struct {
        uint64_t after;
        uint64_t deliver_at;
        bool good;
    } cases[] = {
        {now, now, false},
        {now, now + 1, true},
        {now, now + NOTIFICATION_AHEAD_MS, true},
        {now, now + NOTIFICATION_AHEAD_MS + 1, false},
        {now - 60000, now - 1, true}, /* it has waited */
        {now - 60000, now - 60000, false},
        {0, now - 60000, true}, /* elsewhere */
        {0, UINT64_C(978307199999), false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct notification_limits limits = notification_limits_default;
        struct notification_post post;
        struct notification_fault fault;
        char text[96];
        limits.now_ms = now;
        limits.deliver_after_ms = cases[i].after;
        snprintf(text, sizeof(text), "{\"user\":\"u\",\"type\":\"t\",\"deliver_at\":%llu}",
            (unsigned long long)cases[i].deliver_at);
        int status = notification_from_json(bytes_str(text), &limits, &post, &fault);
        cr_expect_eq(status, cases[i].good ? 0 : STATUS_INVALID, "%zu", i);
        if (status == 0) {
            cr_expect_eq(post.deliver_at, cases[i].deliver_at);
            notification_post_finish(&post);
        } else {
            cr_expect_str_eq(fault.field, "deliver_at");
        }
    }
    struct notification_post post;
    struct notification_fault fault;
    struct notification_limits limits = notification_limits_default;
    struct bytes event = BYTES("{\"room\":\"r\",\"event\":\"e\",\"deliver_at\":\"2100-01-01\"}");
    cr_expect_eq(notification_from_json(event, &limits, &post, &fault), STATUS_INVALID);
    cr_expect_str_eq(fault.field, "deliver_at");
    struct bytes never = BYTES("{\"deliver_at\":null}");
    cr_expect_eq(notification_from_edit_json(never, &limits, &post, &fault), STATUS_INVALID);
    struct bytes moved = BYTES("{\"deliver_at\":\"2030-01-01\"}");
    cr_assert_eq(notification_from_edit_json(moved, &limits, &post, &fault), 0);
    cr_expect_eq(post.edited, NOTIFICATION_EDIT_DELIVER);
    cr_expect_eq(post.deliver_at, UINT64_C(1893456000000));
    notification_post_finish(&post);
}

/* Of each way in: an unknown name, where a name stands, and how many are known there. */
static const struct {
    parse_fn parse;
    const char *unknown;
    bool within_to;
    unsigned known;
} ways[] = {
    {notification_from_json, "{\"x\":1}", false, 20},
    {notification_from_body_json, "{\"x\":1}", false, 15},
    {notification_from_event_json, "{\"x\":1}", false, 8},
    {notification_from_event_json, "{\"event\":\"e\",\"to\":{\"x\":1}}", true, 3},
};

static int parse_name(size_t way, const char *name, size_t len)
{
    struct notification_post post;
    struct notification_fault fault;
    char text[96];
    snprintf(text, sizeof(text), "%s{\"%.*s\":null}%s", ways[way].within_to ? "{\"to\":" : "",
        (int)len, name, ways[way].within_to ? "}" : "");
    return ways[way].parse(bytes_str(text), &notification_limits_default, &post, &fault);
}

/* What a poster is told that may stand there is what may stand there, and nothing else may. */
Test(notification, the_known_names_that_are_told_are_known)
{
    static const char *const all[] = {"user", "users", "room", "rooms", "all", "tenant", "type",
        "title", "message", "data", "priority", "key", "expires_at", "deliver_at", "collapse",
        "reply", "event", "args", "retain", "except", "volatile", "to", "topic", "include_new"};
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        struct notification_post post;
        struct notification_fault fault;
        cr_assert_eq(
            ways[i].parse(bytes_str(ways[i].unknown), &notification_limits_default, &post, &fault),
            STATUS_NOT_FOUND);
        const char *at = strchr(fault.message, ':');
        unsigned names = 0;
        unsigned known = 0;
        for (; at != NULL; at = strchr(at + 2, ','), names++) {
            size_t len = strcspn(at + 2, ",");
            cr_expect_neq(parse_name(i, at + 2, len), STATUS_NOT_FOUND, "%zu %s", i, at);
        }
        for (size_t j = 0; j < ARRAY_LEN(all); j++) {
            known += parse_name(i, all[j], strlen(all[j])) != STATUS_NOT_FOUND;
        }
        cr_expect_eq(names, ways[i].known, "%zu: %u", i, names);
        cr_expect_eq(known, names, "%zu: %u known", i, known);
    }
}

/* Up to so many users have a row each; more, a topic and everybody are stored once. */
Test(notification, many_are_an_audience)
{
    static const struct {
        const char *target;
        unsigned users;
        enum notification_audience audience;
    } cases[] = {
        {"\"user\":\"u\"", 0, AUDIENCE_NONE},
        {NULL, NOTIFICATION_ROWS_MAX, AUDIENCE_NONE},
        {NULL, NOTIFICATION_ROWS_MAX + 1, AUDIENCE_LIST},
        {"\"topic\":\"news\"", 0, AUDIENCE_TOPIC},
        {"\"all\":true", 0, AUDIENCE_ALL},
    };
    struct notification_limits limits = notification_limits_default;
    limits.targets = NOTIFICATION_USERS_MAX;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct notification_post post;
        struct notification_fault fault;
        struct builder text = {0};
        builder_printf(
            &text, "{\"type\":\"t\",%s", cases[i].target ? cases[i].target : "\"users\":[0");
        for (unsigned user = 1; user < cases[i].users; user++) {
            builder_printf(&text, ",%u", user);
        }
        builder_str(&text, cases[i].target ? "}" : "]}");
        cr_assert_eq(notification_from_body_json(builder_bytes(&text), &limits, &post, &fault), 0);
        cr_expect_eq(notification_audience_of(&post), cases[i].audience, "%zu", i);
        notification_post_finish(&post);
        builder_reset(&text);
    }
}

/* A way in names only targets that it takes, and says that a post is an object. */
Test(notification, a_body_is_told_of_what_it_may_hold_alone)
{
    struct notification_post post;
    struct notification_fault fault;
    cr_assert_eq(notification_from_body_json(
                     BYTES("{\"type\":\"t\"}"), &notification_limits_default, &post, &fault),
        STATUS_INVALID);
    cr_expect_str_eq(fault.field, "user");
    cr_expect_null(strstr(fault.message, "room"), "%s", fault.message);
    cr_assert_eq(
        notification_from_body_json(BYTES("7"), &notification_limits_default, &post, &fault),
        STATUS_INVALID);
    cr_assert_not_null(fault.message);
    cr_expect_str_eq(fault.field, "");
}
