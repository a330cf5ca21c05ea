/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bodies of values: what is read of them keeps its promises, and a shard without Redis has then
 * what was put, until one of its tags lets it go.
 */
#include "actors/assembly/shard_floors.h"
#include "actors/shard.h"
#include "actors/values/value_call.h"
#include "actors/values/value_drop.h"
#include "actors/values/value_json.h"
#include "actors/values/value_op.h"
#include "actors/values/values.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/names.h"
#include "hub/api/api_values.h"
#include "hub/config/config.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/one_shard.h"

enum { TTL_MS = 1000, TTL_MAX_MS = 60000, VALUE_BYTES = 2048, DEPTH = 32 };

static const struct config config = {
    .values_ttl_ms = TTL_MS, .values_ttl_max_ms = TTL_MAX_MS, .limits_value_bytes = VALUE_BYTES};

static const struct actor_config actors = {.node = "n",
    .epoch = "e",
    .names = {.prefix = "peal", .slots = 64},
    .adapter_key = "socket.io",
    .values = {.wanted = true,
        .prefix = "v",
        .bytes = 1 << 20,
        .stale_ms = TTL_MS,
        .fill_ms = TTL_MS,
        .waiting = 4,
        .drops = 2}};

static struct shard shard;
static uint64_t now_ms = 1000;
static unsigned done;

static void make_shard(void)
{
    if (shard.sched == NULL) {
        struct sched *sched = actor_system_sched(actor_system_create(1), 0);
        sched_bind(sched, one_shard_wake, NULL, &shard);
        shard_init(&shard, sched, &actors);
        shard.values = values_create(&shard);
    }
    now_ms++;
    one_shard_turn(&shard, now_ms);
}

static void on_call(struct value_call *call)
{
    (void)call;
    done++;
}

static void on_dropped(struct value_drop *drop)
{
    (void)drop;
    done++;
}

/* Each of them once, none empty, between line feeds. */
static void check_tags(const struct buf *list)
{
    unsigned count = 0;
    struct bytes left = buf_bytes(list);
    CHECK(left.len > 2 && left.at[0] == '\n' && left.at[left.len - 1] == '\n');
    left = bytes_skip(left, 1);
    while (left.len > 0) {
        const char *end = memchr(left.at, '\n', left.len);
        struct bytes tag = bytes_of(left.at, (size_t)(end - left.at));
        left = bytes_skip(left, tag.len + 1);
        CHECK(names_check_room(tag) == 0);
        count++;
        for (struct bytes rest = left; rest.len > 0;) {
            end = memchr(rest.at, '\n', rest.len);
            size_t len = (size_t)(end - rest.at);
            CHECK(!bytes_eq(tag, bytes_of(rest.at, len)));
            rest = bytes_skip(rest, len + 1);
        }
    }
    CHECK(count <= VALUE_TAGS_MAX);
}

/* What the result is told as begins with the value as it was put. */
static void check_found(const struct value_result *result, struct bytes value)
{
    struct builder text = {0};
    json_write_open(&text, '{');
    CHECK(value_json_write(result, &text) && !builder_failed(&text));
    struct bytes found = builder_bytes(&text);
    CHECK(bytes_starts(found, BYTES("{\"value\":")));
    CHECK(bytes_starts(bytes_skip(found, 9), value));
    builder_reset(&text);
}

static enum value_outcome ask(struct value_op *op)
{
    struct value_call call = {.ops = op, .count = 1, .done = on_call};
    unsigned before = done;
    CHECK(value_call_begin(&call, &shard));
    one_shard_turn(&shard, now_ms);
    CHECK(done == before + 1);
    return op->result.outcome;
}

static enum value_outcome get(struct bytes key, struct bytes value)
{
    struct value_op op = {.verb = VALUE_GET};
    CHECK(api_values_name(&op, BYTES(""), key).code == ERROR_NONE);
    enum value_outcome outcome = ask(&op);
    if (outcome == VALUE_HIT) {
        check_found(&op.result, value);
    }
    value_op_finish(&op);
    return outcome;
}

static uint64_t let_go(struct buf *tags)
{
    struct value_drop drop = {.tags = buf_ref(tags), .done = on_dropped};
    unsigned before = done;
    CHECK(value_drop_begin(&drop, &shard) == VALUE_DROP_BEGUN);
    one_shard_turn(&shard, now_ms);
    CHECK(done == before + 1 && drop.outcome == VALUE_DONE);
    return drop.count;
}

/* What was read is put under `key`, found, and goes with its tags. */
static void put(struct value_op *op, struct bytes key, struct bytes value)
{
    struct buf *tags = op->tags != NULL ? buf_ref(op->tags) : NULL;
    bool free_hand = !op->conditional && op->token[0] == '\0';
    op->verb = VALUE_PUT;
    CHECK(api_values_name(op, BYTES(""), key).code == ERROR_NONE);
    enum value_outcome outcome = ask(op);
    CHECK(outcome == VALUE_DONE || !free_hand);
    if (outcome == VALUE_DONE) {
        CHECK(get(key, value) == VALUE_HIT);
        if (tags != NULL) {
            CHECK(let_go(tags) >= 1);
            CHECK(get(key, value) == VALUE_MISS);
        }
    } else {
        CHECK(api_values_outcome(op).code != ERROR_NONE);
    }
    buf_unref(tags);
}

static void check_error(const struct api_error *error)
{
    CHECK(error->message != NULL && error->message[0] != '\0');
    CHECK(error->code == ERROR_TOO_LARGE || error->code == ERROR_INVALID_FIELD);
    CHECK(error->field != NULL && error->field[0] != '\0');
}

static void read_put(struct bytes object)
{
    struct bytes value;
    struct value_op op = {.verb = VALUE_PUT};
    struct api_error error = api_values_read_put(&config, object, &op);
    if (error.code != ERROR_NONE) {
        check_error(&error);
        value_op_finish(&op);
        return;
    }
    CHECK(json_scan_get(object, "value", &value) == 0 && value.len <= VALUE_BYTES);
    CHECK(op.ttl_ms >= 1 && op.ttl_ms <= TTL_MAX_MS);
    CHECK(memchr(op.token, '\0', sizeof(op.token)) != NULL);
    if (op.tags != NULL) {
        check_tags(op.tags);
    }
    put(&op, BYTES("key"), value);
    value_op_finish(&op);
}

/* As a list of tags, as a key, as a time to live. */
static void read_parts(struct bytes text)
{
    struct value_op op = {.verb = VALUE_GET};
    struct buf *tags = NULL;
    struct api_error error = api_values_read_tags(text, &tags);
    if (error.code != ERROR_NONE) {
        check_error(&error);
        CHECK(tags == NULL);
    } else if (tags != NULL) {
        check_tags(tags);
        (void)let_go(tags);
        buf_unref(tags);
    }
    error = api_values_name_json(&op, BYTES("tenant"), text);
    if (error.code != ERROR_NONE) {
        check_error(&error);
    } else {
        struct bytes name = value_op_name(&op);
        CHECK(bytes_eq(value_name_tenant(name), BYTES("tenant")));
        CHECK(names_check_room(value_name_key(name)) == 0);
    }
    error = api_values_read_ttl(&config, text, &op);
    CHECK(error.code != ERROR_NONE || (op.ttl_ms >= 1 && op.ttl_ms <= TTL_MAX_MS));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_of(data, size);
    struct bytes text;
    make_shard();
    if (json_scan_text(input, DEPTH, &text, NULL) != 0) {
        return 0;
    }
    if (json_scan_kind(text) == JSON_SCAN_OBJECT) {
        read_put(text);
    }
    read_parts(text);
    return 0;
}
