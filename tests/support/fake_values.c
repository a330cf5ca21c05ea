/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of values in C, as the scripts have them in Lua: what both say alike is what is meant.
 * Order of this file: items, entries of tags, answers, scripts, scans, commands.
 */
#include "tests/support/fake_values.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/values/value_scripts.h"
#include "codec/base/check.h"
#include "codec/base/mem.h"
#include "tests/support/fake_data.h"

enum {
    TOKEN_TEXT = 64,
    NUMBER_TEXT = 24,
    PAYLOAD_TEXT = 400,
    ARGS = 3,
    SHA_LEN = 40,
    UNTAG_US = 60000000
};

struct fake_value {
    char key[FAKE_NAME_MAX];
    char name[FAKE_NAME_MAX];
    struct bytes value; /* owned; `at` NULL: only a lease */
    struct bytes tags; /* owned */
    uint64_t packed;
    uint64_t version;
    uint64_t end_ms;
    uint64_t stamp;
    char token[TOKEN_TEXT]; /* "": nobody fills it */
    uint64_t lease_ms;
    uint64_t gone_ms; /* of the key */
};

struct fake_tagging {
    char key[FAKE_NAME_MAX];
    char name[FAKE_NAME_MAX]; /* "": it is a mark */
    uint64_t score; /* of a mark: when, in µs */
    uint64_t gone_ms; /* of a mark */
};

/* One script at work. */
struct at_work {
    struct fake_values *values;
    const struct bytes *keys;
    const struct bytes *argv; /* ARGV[1] is argv[1] */
    uint64_t now_ms;
    uint64_t now_us; /* the same, and behind that of the script before */
};

static uint64_t number_of(struct bytes text)
{
    uint64_t number = 0;
    CHECK(bytes_to_u64(text, UINT64_MAX, &number) == 0);
    return number;
}

/* Items. */

static void set_text(struct bytes *at, struct bytes text)
{
    mem_free((void *)(uintptr_t)at->at);
    *at = text.at != NULL ? fake_keep(text) : text;
}

static void drop_item(struct fake_values *values, struct fake_value *item)
{
    set_text(&item->value, bytes_of(NULL, 0));
    set_text(&item->tags, bytes_of(NULL, 0));
    *item = values->items[--values->count];
}

static struct fake_value *find_item(const struct at_work *work, struct bytes key)
{
    struct fake_values *values = work->values;
    for (size_t i = 0; i < values->count; i++) {
        struct fake_value *item = &values->items[i];
        if (bytes_eq_str(key, item->key)) {
            if (item->gone_ms > work->now_ms) {
                return item;
            }
            drop_item(values, item);
            return NULL;
        }
    }
    return NULL;
}

static struct fake_value *take_item(const struct at_work *work)
{
    struct fake_values *values = work->values;
    struct fake_value *item = find_item(work, work->keys[0]);
    if (item == NULL) {
        values->items = mem_realloc_array(values->items, values->count + 1, sizeof(*values->items));
        item = &values->items[values->count++];
        *item = (struct fake_value){.version = 0};
        fake_write_name(item->key, work->keys[0]);
    }
    return item;
}

static bool is_fresh(const struct at_work *work, const struct fake_value *item)
{
    return item != NULL && item->value.at != NULL && item->end_ms > work->now_ms;
}

static bool is_filled(const struct at_work *work, const struct fake_value *item)
{
    return item != NULL && item->token[0] != '\0' && item->lease_ms > work->now_ms;
}

static uint64_t next_version(const struct at_work *work, const struct fake_value *before)
{
    uint64_t us = work->now_us;
    return before != NULL && us <= before->version ? before->version + 1 : us;
}

static void outlive(struct fake_value *item, uint64_t gone_ms)
{
    item->gone_ms = gone_ms > item->gone_ms ? gone_ms : item->gone_ms;
}

static void announce(
    const struct at_work *work, uint64_t version, struct bytes channel, struct bytes name)
{
    char payload[PAYLOAD_TEXT];
    const struct fake_values_host *host = &work->values->host;
    (void)snprintf(payload, sizeof(payload), "%" PRIu64 " %.*s", version, (int)name.len, name.at);
    host->publish(host->context, channel, bytes_str(payload));
}

static void tell(const struct at_work *work, struct bytes name, struct bytes value, uint64_t end_ms)
{
    if (work->values->host.changed != NULL) {
        work->values->host.changed(work->values->host.watcher, name, value, end_ms);
    }
}

/* Entries of tags. */

static struct fake_tagging *find_tagging(
    const struct at_work *work, struct bytes key, struct bytes name)
{
    for (size_t i = 0; i < work->values->tagging_count; i++) {
        struct fake_tagging *tagging = &work->values->taggings[i];
        if (bytes_eq_str(key, tagging->key) && bytes_eq_str(name, tagging->name)) {
            return tagging;
        }
    }
    return NULL;
}

static void put_tagging(const struct at_work *work, struct bytes key, struct bytes name,
    uint64_t score, uint64_t gone_ms)
{
    struct fake_values *values = work->values;
    struct fake_tagging *tagging = find_tagging(work, key, name);
    if (tagging == NULL) {
        values->taggings = mem_realloc_array(
            values->taggings, values->tagging_count + 1, sizeof(*values->taggings));
        tagging = &values->taggings[values->tagging_count++];
        fake_write_name(tagging->key, key);
        fake_write_name(tagging->name, name);
    }
    tagging->score = score;
    tagging->gone_ms = gone_ms;
}

static void drop_tagging(const struct at_work *work, struct fake_tagging *tagging)
{
    *tagging = work->values->taggings[--work->values->tagging_count];
}

/* Answers. */

static struct bus_reply *text_of_number(uint64_t number)
{
    char text[NUMBER_TEXT];
    (void)snprintf(text, sizeof(text), "%" PRIu64, number);
    return fake_reply_text(BUS_STRING, bytes_str(text));
}

static struct bus_reply *letter(const char *text, size_t more)
{
    struct bus_reply *reply = fake_reply_array(1 + more);
    reply->items[0] = fake_reply_text(BUS_STRING, bytes_str(text));
    return reply;
}

static struct bus_reply *show(
    const struct at_work *work, const struct fake_value *item, const char *text)
{
    bool fresh = text[0] == 'V';
    struct bus_reply *reply = letter(text, fresh ? 5 : 4);
    reply->items[1] = fake_reply_text(BUS_STRING, item->value);
    reply->items[2] = text_of_number(item->packed);
    reply->items[3] = text_of_number(item->version);
    reply->items[4] = text_of_number(item->end_ms);
    if (fresh) {
        reply->items[5] = fake_reply_integer((int64_t)(item->end_ms - work->now_ms));
    }
    return reply;
}

static struct bus_reply *pair(int64_t first, int64_t second)
{
    struct bus_reply *reply = fake_reply_array(2);
    reply->items[0] = fake_reply_integer(first);
    reply->items[1] = fake_reply_integer(second);
    return reply;
}

/* Scripts. */

static struct bus_reply *do_read(const struct at_work *work)
{
    const struct fake_value *item = find_item(work, work->keys[0]);
    if (is_fresh(work, item)) {
        return show(work, item, "V");
    }
    bool stale = item != NULL && item->value.at != NULL && is_filled(work, item);
    return stale ? show(work, item, "S") : letter("M", 0);
}

static struct bus_reply *done(const struct fake_value *item, size_t more)
{
    struct bus_reply *reply = letter("D", 2 + more);
    reply->items[1] = text_of_number(item->version);
    reply->items[2] = text_of_number(item->end_ms);
    return reply;
}

/* bytes packed ttl stale tags stamp if token channel name */
static struct bus_reply *do_write(const struct at_work *work)
{
    const struct bytes *argv = work->argv;
    struct fake_value *item = find_item(work, work->keys[0]);
    if (argv[8].len > 0 && (!is_filled(work, item) || !bytes_eq_str(argv[8], item->token))) {
        return letter("L", 0);
    }
    uint64_t current = is_fresh(work, item) ? item->version : 0;
    if (argv[7].len > 0 && number_of(argv[7]) != current) {
        struct bus_reply *reply = letter("C", 1);
        reply->items[1] = text_of_number(current);
        return reply;
    }
    uint64_t version = next_version(work, item);
    item = take_item(work);
    fake_write_name(item->name, argv[10]);
    set_text(&item->value, argv[1]);
    set_text(&item->tags, argv[5]);
    item->packed = number_of(argv[2]);
    item->version = version;
    item->end_ms = work->now_ms + number_of(argv[3]);
    item->stamp = argv[6].len > 0 ? number_of(argv[6]) : 0;
    item->token[0] = '\0';
    item->gone_ms = item->end_ms + number_of(argv[4]);
    tell(work, argv[10], item->value, item->end_ms);
    announce(work, version, argv[9], argv[10]);
    return done(item, 0);
}

static bool has_tag(const struct fake_value *item, struct bytes tag)
{
    char text[FAKE_NAME_MAX];
    (void)snprintf(text, sizeof(text), "\n%.*s\n", (int)tag.len, tag.at);
    return item->tags.len > 0 && memmem(item->tags.at, item->tags.len, text, strlen(text)) != NULL;
}

/* tag stamp channel name */
static struct bus_reply *do_drop(const struct at_work *work)
{
    const struct bytes *argv = work->argv;
    struct fake_value *item = find_item(work, work->keys[0]);
    if (item == NULL || (item->value.at == NULL && item->token[0] == '\0')) {
        return pair(0, 0);
    }
    bool there = item->value.at != NULL;
    if (argv[1].len > 0 && there && !has_tag(item, argv[1])) {
        item->token[0] = '\0';
        return pair(0, 0);
    }
    bool fresh = is_fresh(work, item);
    bool same = there && argv[2].len > 0 && item->stamp == number_of(argv[2]) &&
                work->now_us > item->version + UNTAG_US;
    uint64_t version = next_version(work, item);
    drop_item(work->values, item);
    tell(work, argv[4], bytes_of(NULL, 0), 0);
    announce(work, version, argv[3], argv[4]);
    return pair(fresh, there && same);
}

/* by ttl stale channel name */
static struct bus_reply *do_increment(const struct at_work *work)
{
    const struct bytes *argv = work->argv;
    struct fake_value *item = find_item(work, work->keys[0]);
    char text[NUMBER_TEXT];
    int64_t number = strtoll(argv[1].at, NULL, 10);
    bool fresh = is_fresh(work, item);
    uint64_t version = next_version(work, item);
    if (fresh) {
        number += strtoll(item->value.at, NULL, 10);
    }
    item = take_item(work);
    (void)snprintf(text, sizeof(text), "%" PRId64, number);
    fake_write_name(item->name, argv[5]);
    set_text(&item->value, bytes_str(text));
    item->version = version;
    item->token[0] = '\0';
    if (!fresh) {
        set_text(&item->tags, BYTES(""));
        item->packed = 0;
        item->stamp = 0;
        item->end_ms = work->now_ms + number_of(argv[2]);
        item->gone_ms = item->end_ms + number_of(argv[3]);
    }
    tell(work, argv[5], item->value, item->end_ms);
    announce(work, version, argv[4], argv[5]);
    struct bus_reply *reply = done(item, 2);
    reply->items[3] = fake_reply_text(BUS_STRING, item->value);
    reply->items[4] = fake_reply_integer((int64_t)(item->end_ms - work->now_ms));
    return reply;
}

/* token fill */
static struct bus_reply *do_lease(const struct at_work *work)
{
    struct fake_value *item = find_item(work, work->keys[0]);
    if (is_fresh(work, item)) {
        return show(work, item, "V");
    }
    if (is_filled(work, item)) {
        if (item->value.at != NULL) {
            return show(work, item, "S");
        }
        struct bus_reply *held = letter("H", 1);
        held->items[1] = fake_reply_integer((int64_t)(item->lease_ms - work->now_ms));
        return held;
    }
    item = take_item(work);
    (void)snprintf(item->token, sizeof(item->token), "%.*s:%" PRIu64, (int)work->argv[1].len,
        work->argv[1].at, work->now_us);
    item->lease_ms = work->now_ms + number_of(work->argv[2]);
    outlive(item, item->lease_ms);
    struct bus_reply *reply = letter("F", 1);
    reply->items[1] = fake_reply_text(BUS_STRING, bytes_str(item->token));
    return reply;
}

/* token channel name */
static struct bus_reply *do_release(const struct at_work *work)
{
    struct fake_value *item = find_item(work, work->keys[0]);
    if (item != NULL && item->token[0] != '\0' && bytes_eq_str(work->argv[1], item->token)) {
        item->token[0] = '\0';
        announce(work, item->version, work->argv[2], work->argv[3]);
    }
    return letter("M", 0);
}

/* name stamp since life floor */
static struct bus_reply *do_tag(const struct at_work *work)
{
    const struct bytes *argv = work->argv;
    struct bytes nobody = BYTES("");
    const struct fake_tagging *mark = find_tagging(work, work->keys[1], nobody);
    if (argv[3].len > 0 && mark != NULL && mark->gone_ms > work->now_ms &&
        mark->score >= number_of(argv[3])) {
        return fake_reply_integer(0);
    }
    put_tagging(work, work->keys[0], argv[1], number_of(argv[2]), UINT64_MAX);
    for (size_t i = work->values->tagging_count; i-- > 0;) {
        struct fake_tagging *entry = &work->values->taggings[i];
        if (bytes_eq_str(work->keys[0], entry->key) && entry->score <= number_of(argv[5])) {
            drop_tagging(work, entry);
        }
    }
    return fake_reply_integer(1);
}

/* life */
static struct bus_reply *do_mark(const struct at_work *work)
{
    uint64_t us = work->now_us;
    put_tagging(work, work->keys[0], BYTES(""), us, work->now_ms + number_of(work->argv[1]));
    return fake_reply_integer((int64_t)us);
}

/* name stamp name stamp … */
static struct bus_reply *do_untag(const struct at_work *work, size_t argc)
{
    int64_t count = 0;
    for (size_t i = 1; i + 1 <= argc; i += 2) {
        struct fake_tagging *entry = find_tagging(work, work->keys[0], work->argv[i]);
        if (entry != NULL && entry->score == number_of(work->argv[i + 1])) {
            drop_tagging(work, entry);
            count++;
        }
    }
    return fake_reply_integer(count);
}

/* Scans: all in one step. */

static struct bus_reply *scan_reply(size_t count)
{
    struct bus_reply *reply = fake_reply_array(2);
    reply->items[0] = fake_reply_text(BUS_STRING, BYTES("0"));
    reply->items[1] = fake_reply_array(count);
    return reply;
}

static struct bus_reply *do_zscan(const struct fake_values *values, struct bytes key)
{
    size_t count = 0;
    for (size_t i = 0; i < values->tagging_count; i++) {
        count += bytes_eq_str(key, values->taggings[i].key);
    }
    struct bus_reply *reply = scan_reply(2 * count);
    struct bus_reply *list = reply->items[1];
    size_t at = 0;
    for (size_t i = 0; i < values->tagging_count; i++) {
        const struct fake_tagging *entry = &values->taggings[i];
        if (bytes_eq_str(key, entry->key)) {
            list->items[at++] = fake_reply_text(BUS_STRING, bytes_str(entry->name));
            list->items[at++] = text_of_number(entry->score);
        }
    }
    return reply;
}

/* Whether the key is one of `pattern`: "v:{*}:v:" and the beginning of names, nothing escaped. */
static bool matches(const char *key, struct bytes pattern)
{
    static const char mark[] = "}:v:";
    const char *name = strstr(key, mark);
    const char *beginning = memmem(pattern.at, pattern.len, mark, strlen(mark));
    CHECK(beginning != NULL && pattern.at[pattern.len - 1] == '*');
    size_t len = pattern.len - 1 - (size_t)(beginning - pattern.at);
    return name != NULL && strncmp(name, beginning, len) == 0;
}

/* SCAN cursor MATCH pattern COUNT count */
static struct bus_reply *do_scan(const struct fake_values *values, struct bytes pattern)
{
    size_t count = 0;
    for (size_t i = 0; i < values->count; i++) {
        count += matches(values->items[i].key, pattern);
    }
    struct bus_reply *reply = scan_reply(count);
    size_t at = 0;
    for (size_t i = 0; i < values->count; i++) {
        if (matches(values->items[i].key, pattern)) {
            reply->items[1]->items[at++] =
                fake_reply_text(BUS_STRING, bytes_str(values->items[i].key));
        }
    }
    return reply;
}

/* Commands. */

static int script_of(struct bytes text)
{
    for (int i = 0; i < VALUE_SCRIPT_COUNT; i++) {
        if (bytes_eq_str(text, value_scripts[i])) {
            return i;
        }
    }
    return -1;
}

/* A digest of ours is the number of the script. */
static struct bus_reply *do_load(struct bytes text)
{
    char sha[SHA_LEN + 1];
    (void)snprintf(sha, sizeof(sha), "%0*d", SHA_LEN, script_of(text));
    return fake_reply_text(BUS_STRING, bytes_str(sha));
}

static int script_asked(const struct bytes *argv, size_t argc)
{
    if (argc > ARGS && bytes_eq_str(argv[0], "EVAL")) {
        return script_of(argv[1]);
    }
    return argc > ARGS && bytes_eq_str(argv[0], "EVALSHA") && argv[1].len == SHA_LEN
               ? atoi(argv[1].at + SHA_LEN - 2)
               : -1;
}

static struct bus_reply *do_time(uint64_t now_ms)
{
    struct bus_reply *reply = fake_reply_array(2);
    reply->items[0] = text_of_number(now_ms / 1000);
    reply->items[1] = text_of_number(now_ms % 1000 * 1000);
    return reply;
}

bool fake_values_takes(const struct bytes *argv, size_t argc)
{
    return (argc == 3 && bytes_eq_str(argv[0], "SCRIPT") && script_of(argv[2]) >= 0) ||
           script_asked(argv, argc) >= 0 || bytes_eq_str(argv[0], "ZSCAN") ||
           bytes_eq_str(argv[0], "SCAN") || bytes_eq_str(argv[0], "TIME");
}

static struct bus_reply *do_script(
    const struct at_work *work, enum value_script script, size_t argc)
{
    switch (script) {
    case VALUE_SCRIPT_READ:
        return do_read(work);
    case VALUE_SCRIPT_WRITE:
        return do_write(work);
    case VALUE_SCRIPT_DROP:
        return do_drop(work);
    case VALUE_SCRIPT_INCREMENT:
        return do_increment(work);
    case VALUE_SCRIPT_LEASE:
        return do_lease(work);
    case VALUE_SCRIPT_RELEASE:
        return do_release(work);
    case VALUE_SCRIPT_TAG:
        return do_tag(work);
    case VALUE_SCRIPT_MARK:
        return do_mark(work);
    case VALUE_SCRIPT_UNTAG:
        return do_untag(work, argc);
    case VALUE_SCRIPT_COUNT:
        break;
    }
    CHECK(false);
    return NULL;
}

struct bus_reply *fake_values_carry_out(
    struct fake_values *values, const struct bytes *argv, size_t argc, uint64_t now_ms)
{
    if (bytes_eq_str(argv[0], "SCRIPT")) {
        values->forgotten = false;
        return do_load(argv[2]);
    }
    if (values->forgotten && bytes_eq_str(argv[0], "EVALSHA")) {
        values->forgot++;
        return fake_reply_text(BUS_ERROR, BYTES("NOSCRIPT No matching script. Please use EVAL."));
    }
    if (bytes_eq_str(argv[0], "TIME")) {
        return do_time(now_ms);
    }
    if (bytes_eq_str(argv[0], "ZSCAN")) {
        return do_zscan(values, argv[1]);
    }
    if (bytes_eq_str(argv[0], "SCAN")) {
        return do_scan(values, argv[3]);
    }
    size_t keys = number_of(argv[2]);
    uint64_t us = now_ms * 1000;
    values->clock_us = us > values->clock_us ? us : values->clock_us + 1;
    const struct at_work work = {.values = values,
        .keys = argv + ARGS,
        .argv = argv + ARGS + keys - 1,
        .now_ms = now_ms,
        .now_us = values->clock_us};
    return do_script(&work, (enum value_script)script_asked(argv, argc), argc - ARGS - keys);
}

size_t fake_values_tagged(const struct fake_values *values, struct bytes tag, uint64_t now_ms)
{
    size_t count = 0;
    for (size_t i = 0; i < values->count; i++) {
        const struct fake_value *item = &values->items[i];
        count += item->value.at != NULL && item->gone_ms > now_ms && has_tag(item, tag);
    }
    return count;
}

void fake_values_finish(struct fake_values *values)
{
    while (values->count > 0) {
        drop_item(values, &values->items[0]);
    }
    mem_free(values->items);
    mem_free(values->taggings);
    *values = (struct fake_values){.count = 0};
}
