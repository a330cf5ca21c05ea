/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's keys and streams, and the commands that actors send.
 *
 * Order of this file: texts, replies, keys and streams, commands, what tests do.
 */
#include "tests/support/fake_data.h"

#include <stdio.h>
#include <string.h>

#include "codec/base/mem.h"

enum { ID_TEXT = 48 };

struct bytes fake_keep(struct bytes text)
{
    return bytes_of(mem_dup(text.at, text.len), text.len);
}

void fake_drop_texts(struct bytes *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        mem_free((void *)(uintptr_t)texts[i].at);
    }
    mem_free(texts);
}

struct bytes *fake_keep_all(const struct bytes *texts, size_t count)
{
    struct bytes *copy = mem_alloc_array(count + 1, sizeof(*copy));
    for (size_t i = 0; i < count; i++) {
        copy[i] = fake_keep(texts[i]);
    }
    return copy;
}

void fake_write_name(char name[FAKE_NAME_MAX], struct bytes text)
{
    CHECK(text.len < FAKE_NAME_MAX);
    memcpy(name, text.at, text.len);
    name[text.len] = '\0';
}

/* Replies. */

struct bus_reply *fake_reply_text(enum bus_reply_type type, struct bytes text)
{
    struct bus_reply *reply = mem_alloc(sizeof(*reply));
    reply->type = type;
    reply->text = fake_keep(text);
    return reply;
}

struct bus_reply *fake_reply_integer(int64_t value)
{
    struct bus_reply *reply = fake_reply_text(BUS_INTEGER, BYTES(""));
    reply->integer = value;
    return reply;
}

struct bus_reply *fake_reply_array(size_t count)
{
    struct bus_reply *reply = fake_reply_text(BUS_ARRAY, BYTES(""));
    reply->items = mem_alloc_array(count + 1, sizeof(struct bus_reply *));
    reply->count = count;
    return reply;
}

static struct bus_reply *reply_copy(const struct bus_reply *from)
{
    struct bus_reply *reply = fake_reply_array(from->count);
    reply->type = from->type;
    reply->integer = from->integer;
    mem_free((void *)(uintptr_t)reply->text.at);
    reply->text = fake_keep(from->text);
    for (size_t i = 0; i < from->count; i++) {
        reply->items[i] = reply_copy(from->items[i]);
    }
    return reply;
}

void fake_reply_free(struct bus_reply *reply)
{
    if (reply == NULL) {
        return;
    }
    for (size_t i = 0; i < reply->count; i++) {
        fake_reply_free(reply->items[i]);
    }
    mem_free(reply->items);
    mem_free((void *)(uintptr_t)reply->text.at);
    mem_free(reply);
}

/* Keys and streams. */

static struct key *find_key(struct fake_data *data, struct bytes name)
{
    for (size_t i = 0; i < FAKE_KEYS_MAX; i++) {
        struct key *key = &data->keys[i];
        if (key->name[0] && key->expires_ms <= data->now(data->now_context)) {
            key->name[0] = '\0';
        }
        if (key->name[0] && bytes_eq_str(name, key->name)) {
            return key;
        }
    }
    return NULL;
}

static struct stream *find_stream(const struct fake_data *data, struct bytes name)
{
    for (size_t i = 0; i < data->stream_count; i++) {
        if (bytes_eq_str(name, data->streams[i].name)) {
            return (struct stream *)(uintptr_t)&data->streams[i];
        }
    }
    return NULL;
}

static void free_entries(struct stream *stream, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fake_drop_texts(stream->entries[i].fields, stream->entries[i].count);
    }
    if (count > 0) {
        stream->deleted_ms = stream->entries[count - 1].ms;
        stream->deleted_seq = stream->entries[count - 1].seq;
    }
    stream->count -= count;
    memmove(stream->entries, stream->entries + count, stream->count * sizeof(*stream->entries));
}

static struct entry *add_entry(
    struct fake_data *data, struct bytes name, const struct bytes *fields, size_t count)
{
    struct stream *stream = find_stream(data, name);
    if (stream == NULL) {
        CHECK(data->stream_count < FAKE_STREAMS_MAX);
        stream = &data->streams[data->stream_count++];
        *stream = (struct stream){0};
        fake_write_name(stream->name, name);
    }
    if (stream->count == stream->cap) {
        stream->cap = stream->cap ? stream->cap * 2 : 16;
        stream->entries = mem_realloc_array(stream->entries, stream->cap, sizeof(*stream->entries));
    }
    uint64_t ms = data->now(data->now_context) + data->ahead_ms;
    stream->last_seq = ms > stream->last_ms ? 0 : stream->last_seq + 1;
    stream->last_ms = ms > stream->last_ms ? ms : stream->last_ms;
    stream->added++;
    data->offset += 100;
    struct entry *entry = &stream->entries[stream->count++];
    *entry = (struct entry){.ms = stream->last_ms,
        .seq = stream->last_seq,
        .offset = data->offset,
        .fields = fake_keep_all(fields, count),
        .count = count};
    return entry;
}

static struct bus_reply *id_reply(uint64_t ms, uint64_t seq)
{
    char text[ID_TEXT];
    snprintf(text, sizeof(text), "%llu-%llu", (unsigned long long)ms, (unsigned long long)seq);
    return fake_reply_text(BUS_STRING, bytes_str(text));
}

/* "ms-seq", or "ms" for the first of it. */
static void read_id(struct bytes text, uint64_t *ret_ms, uint64_t *ret_seq)
{
    char at[ID_TEXT];
    unsigned long long ms = 0;
    unsigned long long seq = 0;
    CHECK(text.len < sizeof(at));
    memcpy(at, text.at, text.len);
    at[text.len] = '\0';
    CHECK(sscanf(at, "%llu-%llu", &ms, &seq) >= 1);
    *ret_ms = ms;
    *ret_seq = seq;
}

/* The index of the first entry at or above an id (above: `seq + 1`). */
static size_t first_from(const struct stream *stream, uint64_t ms, uint64_t seq)
{
    size_t i = 0;
    while (i < stream->count && (stream->entries[i].ms < ms || (stream->entries[i].ms == ms &&
                                                                   stream->entries[i].seq < seq))) {
        i++;
    }
    return i;
}

/* Commands. */

static struct key *free_key(struct fake_data *data)
{
    for (size_t i = 0; i < FAKE_KEYS_MAX; i++) {
        if (!data->keys[i].name[0]) {
            return &data->keys[i];
        }
    }
    CHECK(false);
    return NULL;
}

/* Whether `value` is of `holder`: its name, alone or before a blank. */
static bool is_of(const char *value, struct bytes holder)
{
    struct bytes text = bytes_str(value);
    return bytes_starts(text, holder) && (text.len == holder.len || text.at[holder.len] == ' ');
}

/* EVAL script 1 stream (id count: how many entries there are above it, and the first one's id. */
static struct bus_reply *do_waiting(struct fake_data *data, const struct bytes *argv)
{
    uint64_t ms;
    uint64_t seq;
    uint64_t max;
    const struct stream *stream = find_stream(data, argv[3]);
    CHECK(argv[4].at[0] == '(' && bytes_to_u64(argv[5], 10000, &max) == 0);
    read_id(bytes_skip(argv[4], 1), &ms, &seq);
    size_t from = stream ? first_from(stream, ms, seq + 1) : 0;
    size_t count = stream ? stream->count - from : 0;
    struct bus_reply *reply = fake_reply_array(2);
    reply->items[0] = fake_reply_integer((int64_t)(count < max ? count : max));
    reply->items[1] = count > 0 ? id_reply(stream->entries[from].ms, stream->entries[from].seq)
                                : fake_reply_text(BUS_STRING, BYTES(""));
    return reply;
}

/* EVAL script 1 key name life: enter a set for so long; all its names. A name is a key behind the
 * set's. */
static struct bus_reply *do_enter(struct fake_data *data, const struct bytes *argv)
{
    char name[FAKE_NAME_MAX];
    uint64_t life;
    CHECK(bytes_to_u64(argv[5], UINT64_MAX, &life) == 0);
    int set = snprintf(name, sizeof(name), "%.*s ", (int)argv[3].len, argv[3].at);
    snprintf(name + set, sizeof(name) - (size_t)set, "%.*s", (int)argv[4].len, argv[4].at);
    struct key *own = find_key(data, bytes_str(name));
    own = own != NULL ? own : free_key(data);
    fake_write_name(own->name, bytes_str(name));
    own->expires_ms = data->now(data->now_context) + life;
    struct bus_reply *reply = fake_reply_array(FAKE_KEYS_MAX);
    reply->count = 0;
    for (size_t i = 0; i < FAKE_KEYS_MAX; i++) {
        struct bytes key = bytes_str(data->keys[i].name);
        if (bytes_starts(key, bytes_of(name, (size_t)set)) && find_key(data, key) != NULL) {
            reply->items[reply->count++] =
                fake_reply_text(BUS_STRING, bytes_skip(key, (size_t)set));
        }
    }
    return reply;
}

/* ZREM key name */
static struct bus_reply *do_zrem(struct fake_data *data, const struct bytes *argv)
{
    char name[FAKE_NAME_MAX];
    snprintf(name, sizeof(name), "%.*s %.*s", (int)argv[1].len, argv[1].at, (int)argv[2].len,
        argv[2].at);
    struct key *key = find_key(data, bytes_str(name));
    if (key != NULL) {
        key->name[0] = '\0';
    }
    return fake_reply_integer(key != NULL);
}

static struct bus_reply *taken(const char *value)
{
    struct bus_reply *reply = fake_reply_array(2);
    reply->items[0] = fake_reply_text(BUS_STRING, BYTES("taken"));
    reply->items[1] = fake_reply_text(BUS_STRING, bytes_str(value));
    return reply;
}

/* EVAL script 1 key holder [value ttl]: the claim when there is a ttl, else the release. */
static struct bus_reply *do_eval(struct fake_data *data, const struct bytes *argv, size_t argc)
{
    struct key *key = find_key(data, argv[3]);
    uint64_t ttl = 0;
    if (argc == 5) {
        bool ours = key != NULL && is_of(key->value, argv[4]);
        if (ours) {
            key->name[0] = '\0';
        }
        return fake_reply_integer(ours);
    }
    if (argc == 6) {
        return argv[4].at[0] == '(' ? do_waiting(data, argv) : do_enter(data, argv);
    }
    CHECK(argc == 7 && bytes_to_u64(argv[6], UINT64_MAX, &ttl) == 0);
    if (data->lie != NULL) {
        return reply_copy(data->lie);
    }
    if (key != NULL && !is_of(key->value, argv[4])) {
        return taken(key->value);
    }
    key = key != NULL ? key : free_key(data);
    fake_write_name(key->name, argv[3]);
    fake_write_name(key->value, argv[5]);
    key->expires_ms = data->now(data->now_context) + ttl;
    return fake_reply_integer(1);
}

/* XADD stream [MAXLEN ~ n] * field value … */
static struct bus_reply *do_xadd(struct fake_data *data, const struct bytes *argv, size_t argc)
{
    size_t at = bytes_eq_str(argv[2], "MAXLEN") ? 5 : 2;
    CHECK(bytes_eq_str(argv[at], "*") && (argc - at - 1) % 2 == 0);
    const struct entry *entry = add_entry(data, argv[1], argv + at + 1, argc - at - 1);
    return id_reply(entry->ms, entry->seq);
}

/* EVAL script 2 stream hash …: the entry first, then what is kept. */
static struct bus_reply *do_keep(struct fake_data *data, const struct bytes *argv, size_t argc)
{
    const struct bytes fields[] = {BYTES("origin"), argv[6], BYTES("serial"), argv[7],
        BYTES("message"), argv[8], BYTES("retain"), argv[9], BYTES("until"), argv[10],
        BYTES("removed"), argv[11]};
    const struct entry *entry = add_entry(data, argv[3], fields, ARRAY_LEN(fields));
    struct bus_reply *id = id_reply(entry->ms, entry->seq);
    fake_kept_put(&data->kept, argv, argc, id->text, data->now(data->now_context));
    return id;
}

static struct bus_reply *do_kept(struct fake_data *data, const struct bytes *argv, size_t argc)
{
    return fake_kept_adds(argv, argc)
               ? do_keep(data, argv, argc)
               : fake_kept_carry_out(&data->kept, argv, argc, data->now(data->now_context));
}

static struct bus_reply *entry_reply(const struct entry *entry)
{
    struct bus_reply *reply = fake_reply_array(2);
    reply->items[0] = id_reply(entry->ms, entry->seq);
    reply->items[1] = fake_reply_array(entry->count);
    for (size_t i = 0; i < entry->count; i++) {
        reply->items[1]->items[i] = fake_reply_text(BUS_STRING, entry->fields[i]);
    }
    return reply;
}

/* XREAD COUNT n BLOCK ms STREAMS stream id; NULL: it blocks. */
static struct bus_reply *do_xread(
    struct fake_data *data, const struct bytes *argv, uint64_t *blocked_until)
{
    uint64_t count;
    uint64_t block;
    uint64_t ms;
    uint64_t seq;
    uint64_t now = data->now(data->now_context);
    CHECK(bytes_to_u64(argv[2], 10000, &count) == 0 && count > 0);
    CHECK(bytes_to_u64(argv[4], 100000, &block) == 0);
    read_id(argv[7], &ms, &seq);
    const struct stream *stream = find_stream(data, argv[6]);
    size_t from = stream ? first_from(stream, ms, seq + 1) : 0;
    if (stream == NULL || from == stream->count) {
        if (*blocked_until == 0) {
            *blocked_until = now + block;
        }
        return now < *blocked_until ? NULL : fake_reply_text(BUS_NIL, BYTES(""));
    }
    size_t left = stream->count - from < count ? stream->count - from : count;
    struct bus_reply *entries = fake_reply_array(left);
    for (size_t i = 0; i < left; i++) {
        entries->items[i] = entry_reply(&stream->entries[from + i]);
    }
    struct bus_reply *pair = fake_reply_array(2);
    pair->items[0] = fake_reply_text(BUS_STRING, argv[6]);
    pair->items[1] = entries;
    struct bus_reply *reply = fake_reply_array(1);
    reply->items[0] = pair;
    return reply;
}

/* XTRIM stream MINID ~ id; not as lazy as the real one, so that a trim too far shows. */
static struct bus_reply *do_xtrim(struct fake_data *data, const struct bytes *argv)
{
    uint64_t ms;
    uint64_t seq;
    struct stream *stream = find_stream(data, argv[1]);
    read_id(argv[4], &ms, &seq);
    if (stream != NULL) {
        free_entries(stream, first_from(stream, ms, seq));
    }
    return fake_reply_integer(0);
}

static struct bus_reply *do_xinfo(struct fake_data *data, const struct bytes *argv)
{
    const struct stream *stream = find_stream(data, argv[2]);
    if (stream == NULL) {
        return fake_reply_text(BUS_ERROR, BYTES("ERR no such key"));
    }
    struct bus_reply *reply = fake_reply_array(stream->count > 0 ? 10 : 8);
    if (stream->count > 0) {
        reply->items[8] = fake_reply_text(BUS_STRING, BYTES("first-entry"));
        reply->items[9] = entry_reply(&stream->entries[0]);
    }
    reply->items[0] = fake_reply_text(BUS_STRING, BYTES("length"));
    reply->items[1] = fake_reply_integer((int64_t)stream->count);
    reply->items[2] = fake_reply_text(BUS_STRING, BYTES("last-generated-id"));
    reply->items[3] = id_reply(stream->last_ms, stream->last_seq);
    reply->items[4] = fake_reply_text(BUS_STRING, BYTES("max-deleted-entry-id"));
    reply->items[5] = id_reply(stream->deleted_ms, stream->deleted_seq);
    reply->items[6] = fake_reply_text(BUS_STRING, BYTES("entries-added"));
    reply->items[7] = fake_reply_integer((int64_t)stream->added);
    return reply;
}

static struct bus_reply *do_info(const struct fake_data *data)
{
    char text[256];
    snprintf(text, sizeof(text),
        "# Replication\r\nrole:master\r\nmaster_replid:history%u\r\nmaster_replid2:history%u\r\n"
        "master_repl_offset:%llu\r\nsecond_repl_offset:%llu\r\n",
        data->history, data->history_before, (unsigned long long)data->offset,
        (unsigned long long)data->reached);
    return fake_reply_text(BUS_STRING, bytes_str(text));
}

struct bus_reply *fake_data_carry_out(
    struct fake_data *data, const struct bytes *argv, size_t argc, uint64_t *blocked_until)
{
    if (data->refused != NULL && bytes_eq_str(argv[0], data->refused) &&
        (data->refused_key == NULL || bytes_eq_str(argv[1], data->refused_key))) {
        data->refusals++;
        return data->refusal != NULL ? fake_reply_text(BUS_ERROR, bytes_str(data->refusal))
                                     : fake_reply_integer(7);
    }
    if (fake_records_takes(argv, argc)) {
        return fake_records_carry_out(&data->records, argv, argc, data->now(data->now_context));
    }
    if (fake_kept_takes(argv, argc)) {
        return do_kept(data, argv, argc);
    }
    if (bytes_eq_str(argv[0], "EVAL")) {
        return do_eval(data, argv, argc);
    }
    if (bytes_eq_str(argv[0], "XADD")) {
        return do_xadd(data, argv, argc);
    }
    if (bytes_eq_str(argv[0], "XREAD")) {
        CHECK(argc == 8);
        return do_xread(data, argv, blocked_until);
    }
    if (bytes_eq_str(argv[0], "XTRIM")) {
        return do_xtrim(data, argv);
    }
    if (bytes_eq_str(argv[0], "EXISTS")) {
        return fake_reply_integer(find_stream(data, argv[1]) != NULL);
    }
    if (bytes_eq_str(argv[0], "ZREM")) {
        return do_zrem(data, argv);
    }
    if (bytes_eq_str(argv[0], "INFO")) {
        return do_info(data);
    }
    CHECK(bytes_eq_str(argv[0], "XINFO"));
    return do_xinfo(data, argv);
}

void fake_data_finish(struct fake_data *data)
{
    fake_records_finish(&data->records);
    fake_kept_lose(&data->kept);
    for (size_t i = 0; i < data->stream_count; i++) {
        free_entries(&data->streams[i], data->streams[i].count);
        mem_free(data->streams[i].entries);
    }
}

/* What tests do. */

void fake_data_set_key(struct fake_data *data, const char *name, const char *value)
{
    struct key *key = find_key(data, bytes_str(name));
    if (value == NULL) {
        if (key != NULL) {
            key->name[0] = '\0';
        }
        return;
    }
    key = key != NULL ? key : free_key(data);
    fake_write_name(key->name, bytes_str(name));
    fake_write_name(key->value, bytes_str(value));
    key->expires_ms = UINT64_MAX;
}

const char *fake_data_key(struct fake_data *data, const char *name)
{
    const struct key *key = find_key(data, bytes_str(name));
    return key != NULL ? key->value : NULL;
}

void fake_data_add(
    struct fake_data *data, const char *stream, const struct bytes *fields, size_t count)
{
    add_entry(data, bytes_str(stream), fields, count);
}

void fake_data_set_ahead(struct fake_data *data, uint64_t ms)
{
    data->ahead_ms = ms;
}

void fake_data_go_back(struct fake_data *data, const char *name, size_t lost, bool promoted)
{
    uint64_t reached = data->offset + 1;
    for (size_t i = 0; i < data->stream_count; i++) {
        struct stream *stream = &data->streams[i];
        size_t count = stream->count > lost ? lost : stream->count;
        if (name != NULL && strcmp(name, stream->name) != 0) {
            continue;
        }
        for (size_t k = 0; k < count; k++) {
            const struct entry *entry = &stream->entries[--stream->count];
            stream->last_ms = entry->ms;
            stream->last_seq = entry->seq;
            reached = entry->offset < reached ? entry->offset : reached;
            fake_drop_texts(entry->fields, entry->count);
            stream->added--;
        }
        if (stream->count > 0) {
            stream->last_ms = stream->entries[stream->count - 1].ms;
            stream->last_seq = stream->entries[stream->count - 1].seq;
        }
    }
    data->history_before = promoted ? data->history : 0;
    data->reached = reached;
    data->offset = reached;
    data->history++;
}

void fake_data_delete_oldest(struct fake_data *data, const char *name, size_t count)
{
    struct stream *stream = find_stream(data, bytes_str(name));
    CHECK(stream != NULL && count <= stream->count);
    free_entries(stream, count);
}

void fake_data_delete_stream(struct fake_data *data, const char *name)
{
    struct stream *stream = find_stream(data, bytes_str(name));
    if (stream != NULL) {
        free_entries(stream, stream->count);
        mem_free(stream->entries);
        *stream = data->streams[--data->stream_count];
    }
}

size_t fake_data_length(const struct fake_data *data, const char *name)
{
    const struct stream *stream = find_stream(data, bytes_str(name));
    return stream ? stream->count : 0;
}

size_t fake_data_added(const struct fake_data *data, const char *name)
{
    const struct stream *stream = find_stream(data, bytes_str(name));
    return stream ? stream->added : 0;
}

struct bytes fake_data_field(
    const struct fake_data *data, const char *name, size_t i, const char *field)
{
    const struct stream *stream = find_stream(data, bytes_str(name));
    CHECK(stream != NULL && i < stream->count);
    const struct entry *entry = &stream->entries[i];
    for (size_t k = 0; k + 1 < entry->count; k += 2) {
        if (bytes_eq_str(entry->fields[k], field)) {
            return entry->fields[k + 1];
        }
    }
    return bytes_of(NULL, 0);
}
