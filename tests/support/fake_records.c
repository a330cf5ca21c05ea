/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries out the commands of recovery on small lists, with the lifetimes that the test's clock
 * decides.
 */
#include "tests/support/fake_records.h"

#include <string.h>

#include "codec/base/mem.h"
#include "tests/support/fake_data.h"

/* A value; or a member of a set, or of the sorted set. */
struct fake_record {
    enum { VALUE, MEMBER, SCORED } kind;
    struct bytes key;
    struct bytes text; /* owned, as the key */
    uint64_t at_ms; /* when a value ends, 0: never; the score */
};

static void drop(struct fake_records *records, size_t i)
{
    mem_free((void *)(uintptr_t)records->items[i].key.at);
    mem_free((void *)(uintptr_t)records->items[i].text.at);
    records->items[i] = records->items[--records->count];
}

static void expire(struct fake_records *records, uint64_t now_ms)
{
    for (size_t i = records->count; i-- > 0;) {
        const struct fake_record *item = &records->items[i];
        if (item->kind == VALUE && item->at_ms != 0 && item->at_ms <= now_ms) {
            drop(records, i);
        }
    }
}

/* The value `key`, or (with a member) the member; `count` when there is none. */
static size_t find(const struct fake_records *records, struct bytes key, const struct bytes *member)
{
    size_t i = 0;
    while (
        i < records->count && (!bytes_eq(records->items[i].key, key) ||
                                  (member != NULL && !bytes_eq(records->items[i].text, *member)))) {
        i++;
    }
    return i;
}

static void put(struct fake_records *records, struct fake_record item)
{
    const struct bytes *member = item.kind == VALUE ? NULL : &item.text;
    size_t i = find(records, item.key, member);
    if (i < records->count) {
        drop(records, i);
    }
    if (records->count == records->cap) {
        records->cap = records->cap > 0 ? 2 * records->cap : 16;
        records->items = mem_realloc_array(records->items, records->cap, sizeof(item));
    }
    item.key = fake_keep(item.key);
    item.text = fake_keep(item.text);
    records->items[records->count++] = item;
}

static struct bus_reply *reply_value(const struct fake_records *records, struct bytes key)
{
    size_t i = find(records, key, NULL);
    return i < records->count ? fake_reply_text(BUS_STRING, records->items[i].text)
                              : fake_reply_text(BUS_NIL, BYTES(""));
}

static uint64_t number_of(struct bytes text)
{
    uint64_t number = 0;
    CHECK(bytes_to_u64(text, UINT64_MAX, &number) == 0);
    return number;
}

/* SET key value [PX lifetime] [GET] */
static struct bus_reply *do_set(
    struct fake_records *records, const struct bytes *argv, size_t argc, uint64_t now_ms)
{
    CHECK(argc == 3 || (argc >= 5 && bytes_eq_str(argv[3], "PX")));
    struct bus_reply *before = reply_value(records, argv[1]);
    uint64_t end_ms = argc > 3 ? now_ms + number_of(argv[4]) : 0;
    put(records, (struct fake_record){VALUE, argv[1], argv[2], end_ms});
    records->written += bytes_starts(argv[1], BYTES("peal:session:"));
    if (argc == 6) {
        return before;
    }
    fake_reply_free(before);
    return fake_reply_text(BUS_STATUS, BYTES("OK"));
}

static struct bus_reply *do_drop(
    struct fake_records *records, const struct bytes *argv, size_t argc, bool members)
{
    int64_t dropped = 0;
    for (size_t arg = members ? 2 : 1; arg < argc; arg++) {
        size_t i = members ? find(records, argv[1], &argv[arg]) : find(records, argv[arg], NULL);
        if (i < records->count) {
            drop(records, i);
            dropped++;
        }
    }
    return fake_reply_integer(dropped);
}

/* SRANDMEMBER key count */
static struct bus_reply *do_members(const struct fake_records *records, const struct bytes *argv)
{
    size_t max = number_of(argv[2]);
    size_t count = 0;
    for (size_t i = 0; i < records->count; i++) {
        count += bytes_eq(records->items[i].key, argv[1]);
    }
    struct bus_reply *reply = fake_reply_array(count < max ? count : max);
    for (size_t i = 0, at = 0; at < reply->count; i++) {
        if (bytes_eq(records->items[i].key, argv[1])) {
            reply->items[at++] = fake_reply_text(BUS_STRING, records->items[i].text);
        }
    }
    return reply;
}

/* EVAL script 1 leases name lifetime claim: enter the lease, answer one that has ended. */
static struct bus_reply *do_enter(
    struct fake_records *records, const struct bytes *argv, uint64_t now_ms)
{
    put(records, (struct fake_record){SCORED, argv[3], argv[4], now_ms + number_of(argv[5])});
    for (size_t i = 0; i < records->count; i++) {
        struct fake_record *item = &records->items[i];
        if (item->kind == SCORED && item->at_ms < now_ms) {
            item->at_ms = now_ms + number_of(argv[6]);
            return fake_reply_text(BUS_STRING, item->text);
        }
    }
    return fake_reply_text(BUS_NIL, BYTES(""));
}

/* EVAL script 1 record mark record lifetime: write it unless there is one without the mark. */
static struct bus_reply *do_rewrite(
    struct fake_records *records, const struct bytes *argv, uint64_t now_ms)
{
    size_t i = find(records, argv[3], NULL);
    if (i < records->count && memmem(records->items[i].text.at, records->items[i].text.len,
                                  argv[4].at, argv[4].len) == NULL) {
        return fake_reply_integer(0);
    }
    uint64_t end_ms = argv[6].len > 0 ? now_ms + number_of(argv[6]) : 0;
    put(records, (struct fake_record){VALUE, argv[3], argv[5], end_ms});
    records->written++;
    return fake_reply_integer(1);
}

/* EVAL script 1 record mark: delete a record that has the mark. */
static struct bus_reply *do_drop_record(struct fake_records *records, const struct bytes *argv)
{
    size_t i = find(records, argv[3], NULL);
    bool under = i < records->count && memmem(records->items[i].text.at, records->items[i].text.len,
                                           argv[4].at, argv[4].len) != NULL;
    if (under) {
        drop(records, i);
    }
    return fake_reply_integer(under);
}

bool fake_records_takes(const struct bytes *argv, size_t argc)
{
    size_t at = bytes_eq_str(argv[0], "EVAL") ? 3 : 1;
    return argc > at && (bytes_starts(argv[at], BYTES("peal:session:")) ||
                            bytes_starts(argv[at], BYTES("peal:record")));
}

struct bus_reply *fake_records_carry_out(
    struct fake_records *records, const struct bytes *argv, size_t argc, uint64_t now_ms)
{
    struct bytes name = argv[0];
    expire(records, now_ms);
    records->commands++;
    if (bytes_eq_str(name, "SET")) {
        return do_set(records, argv, argc, now_ms);
    }
    if (bytes_eq_str(name, "GET")) {
        return reply_value(records, argv[1]);
    }
    if (bytes_eq_str(name, "GETDEL")) {
        struct bus_reply *reply = reply_value(records, argv[1]);
        fake_reply_free(do_drop(records, argv, argc, false));
        return reply;
    }
    if (bytes_eq_str(name, "SADD")) {
        for (size_t arg = 2; arg < argc; arg++) {
            put(records, (struct fake_record){MEMBER, argv[1], argv[arg], 0});
        }
        return fake_reply_integer((int64_t)argc - 2);
    }
    if (bytes_eq_str(name, "SRANDMEMBER")) {
        return do_members(records, argv);
    }
    if (bytes_eq_str(name, "EVAL")) {
        if (bytes_starts(argv[3], BYTES("peal:recordleases:"))) {
            return do_enter(records, argv, now_ms);
        }
        return argc == 7 ? do_rewrite(records, argv, now_ms) : do_drop_record(records, argv);
    }
    CHECK(bytes_eq_str(name, "DEL") || bytes_eq_str(name, "SREM") || bytes_eq_str(name, "ZREM"));
    return do_drop(records, argv, argc, !bytes_eq_str(name, "DEL"));
}

size_t fake_records_count(struct fake_records *records, const char *prefix, uint64_t now_ms)
{
    size_t count = 0;
    expire(records, now_ms);
    for (size_t i = 0; i < records->count; i++) {
        count += bytes_starts(records->items[i].key, bytes_str(prefix));
    }
    return count;
}

void fake_records_lose(struct fake_records *records)
{
    while (records->count > 0) {
        drop(records, records->count - 1);
    }
}

void fake_records_finish(struct fake_records *records)
{
    fake_records_lose(records);
    mem_free(records->items);
}
