/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked of a value as a script, and its answer as a result. Order of this file: scripts,
 * answers, asking, tags, life.
 *
 * Redis is told the text of each script when the connection comes up, and then called by its
 * digest; until that is known, and where Redis has forgotten it, the text goes along.
 */
#include "actors/values/value_redis.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actors/shard.h"
#include "actors/values/value_op.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/json_scan.h"

enum {
    SHA_LEN = 40,
    ARGS_MAX = 16,
    TAG_GRACE_MS = 60000, /* commands may be late, and so may what is known of the clock of Redis */
    STAMP_SHIFT = 10, /* of the end in ms, with as many random bits behind: exact in a double */
    REPLY_MAX = 6,
    REFUSED_MS = 5000, /* operators are told for so long */
};

/* What a clock may say, in s: stamps of tags are exact in a double until then. */
#define CLOCK_MAX_S UINT64_C(4000000000)

struct digest {
    bool known;
    char text[SHA_LEN];
};

struct value_redis {
    struct shard *shard;
    const struct value_names *names;
    value_answered_fn answered;
    void *context;
    struct bus_link *link;
    struct digest digests[VALUE_SCRIPT_COUNT];
    struct log_limit log;
    uint64_t refused_ms; /* until then it counts as refusing */
    int64_t ahead_ms; /* its clock, of this node's; as last known */
};

/* Scripts. */

static void on_loaded(void *context, int status, const struct bus_reply *reply)
{
    struct digest *digest = context;
    if (status == 0 && reply->type == BUS_STRING && reply->text.len == SHA_LEN) {
        memcpy(digest->text, reply->text.at, SHA_LEN);
        digest->known = true;
    }
}

static void load(struct value_redis *redis)
{
    for (unsigned i = 0; i < VALUE_SCRIPT_COUNT; i++) {
        const struct bytes argv[] = {BYTES("SCRIPT"), BYTES("LOAD"), bytes_str(value_scripts[i])};
        redis->digests[i].known = false;
        value_redis_command(redis, argv, ARRAY_LEN(argv), on_loaded, &redis->digests[i]);
    }
}

static void on_up(void *context)
{
    load(context);
    value_redis_read_clock(context);
}

void value_redis_command(struct value_redis *redis, const struct bytes *argv, size_t argc,
    bus_reply_fn fn, void *context)
{
    redis->shard->bus->ops->command(redis->link, argv, argc, 0, fn, context);
}

unsigned value_redis_ask_each(struct value_redis *redis, const struct bytes *argv, size_t argc,
    bus_reply_fn fn, void *context)
{
    return bus_command_each(redis->shard->bus, redis->link, argv, argc, fn, context);
}

bool value_redis_run(struct value_redis *redis, enum value_script script, const struct bytes *argv,
    size_t argc, bus_reply_fn fn, void *context)
{
    const struct digest *digest = &redis->digests[script];
    struct bytes few[VALUE_ARGS_FEW + 3];
    struct bytes *all = argc <= VALUE_ARGS_FEW ? few : mem_try_alloc((argc + 3) * sizeof(*all));
    if (all == NULL) {
        return false;
    }
    all[0] = digest->known ? BYTES("EVALSHA") : BYTES("EVAL");
    all[1] = digest->known ? bytes_of(digest->text, SHA_LEN) : bytes_str(value_scripts[script]);
    all[2] = script == VALUE_SCRIPT_TAG ? BYTES("2") : BYTES("1"); /* keys */
    memcpy(all + 3, argv, argc * sizeof(*argv));
    value_redis_command(redis, all, argc + 3, fn, context);
    if (all != few) {
        mem_free(all);
    }
    return true;
}

/* SCRIPT FLUSH, for example. */
bool value_redis_forgot(struct value_redis *redis, const struct bus_reply *reply)
{
    if (reply->type != BUS_ERROR || !bytes_starts(reply->text, BYTES("NOSCRIPT"))) {
        return false;
    }
    load(redis);
    return true;
}

/* Answers. */

static bool read_number(const struct bus_reply *reply, uint64_t *ret_number)
{
    if (reply->type == BUS_INTEGER && reply->integer >= 0) {
        *ret_number = (uint64_t)reply->integer;
        return true;
    }
    return reply->type == BUS_STRING && bytes_to_u64(reply->text, INT64_MAX, ret_number) == 0;
}

/* Read the numbers of `count` items from the first on. */
static bool read_numbers(
    const struct bus_reply *reply, size_t first, size_t count, uint64_t *ret_numbers)
{
    for (size_t i = 0; i < count; i++) {
        if (first + i >= reply->count || !read_number(reply->items[first + i], &ret_numbers[i])) {
            return false;
        }
    }
    return true;
}

/* V, S: bytes, packed, version, end, and of V what is left. */
static bool read_value(struct value_op *op, const struct bus_reply *reply, bool fresh)
{
    uint64_t numbers[4] = {0};
    struct value_result *result = &op->result;
    if (reply->count < REPLY_MAX - 1 || reply->items[1]->type != BUS_STRING ||
        !read_numbers(reply, 2, fresh ? 4 : 3, numbers) || numbers[0] > UINT32_MAX) {
        return false;
    }
    result->body =
        (struct value_body){.bytes = buf_new(reply->items[1]->text), .raw = (uint32_t)numbers[0]};
    result->version = numbers[1];
    result->expires_ms = numbers[2];
    result->left_ms = numbers[3];
    result->outcome = result->body.bytes == NULL ? VALUE_NO_MEMORY
                      : fresh                    ? VALUE_HIT
                                                 : VALUE_STALE;
    return true;
}

/* D: version, end, and of an increment bytes and what is left. */
static bool read_done(struct value_op *op, const struct bus_reply *reply)
{
    uint64_t numbers[2];
    struct value_result *result = &op->result;
    if (!read_numbers(reply, 1, 2, numbers)) {
        return false;
    }
    result->version = numbers[0];
    result->expires_ms = numbers[1];
    result->left_ms = op->ttl_ms;
    result->outcome = VALUE_DONE;
    if (op->verb == VALUE_INCREMENT) {
        if (reply->count < 5 || reply->items[3]->type != BUS_STRING ||
            !read_numbers(reply, 4, 1, &result->left_ms)) {
            return false;
        }
        result->body.bytes = buf_new(reply->items[3]->text);
    }
    return true;
}

static bool read_token(struct value_op *op, const struct bus_reply *reply)
{
    if (reply->count < 2 || reply->items[1]->type != BUS_STRING ||
        reply->items[1]->text.len > VALUE_TOKEN_MAX) {
        return false;
    }
    memcpy(op->result.token, reply->items[1]->text.at, reply->items[1]->text.len);
    op->result.outcome = VALUE_FILL;
    return true;
}

/* Whether the answer is an array that begins with one of the letters that there are for `verb`. */
static bool begins_well(enum value_verb verb, const struct bus_reply *reply)
{
    static const char *const letters[] = {[VALUE_GET] = "VSM",
        [VALUE_PUT] = "DCL",
        [VALUE_DELETE] = "",
        [VALUE_INCREMENT] = "DIO",
        [VALUE_LEASE] = "VSHF",
        [VALUE_RELEASE] = "M"};
    return reply->type == BUS_ARRAY && reply->count > 0 && reply->items[0]->type == BUS_STRING &&
           reply->items[0]->text.len == 1 &&
           memchr(letters[verb], reply->items[0]->text.at[0], strlen(letters[verb])) != NULL;
}

static bool read_answer(struct value_op *op, const struct bus_reply *reply)
{
    struct value_result *result = &op->result;
    if (!begins_well(op->verb, reply)) {
        return false;
    }
    switch (reply->items[0]->text.at[0]) {
    case 'V':
        return read_value(op, reply, true);
    case 'S':
        return read_value(op, reply, false);
    case 'D':
        return read_done(op, reply);
    case 'F':
        return read_token(op, reply);
    case 'M':
        result->outcome = VALUE_MISS;
        return true;
    case 'H':
        result->outcome = VALUE_MISS;
        return read_numbers(reply, 1, 1, &result->held_ms);
    case 'C':
        result->outcome = VALUE_CONFLICT;
        return read_numbers(reply, 1, 1, &result->version);
    case 'L':
        result->outcome = VALUE_LEASE_LOST;
        return true;
    case 'I':
        result->outcome = VALUE_NO_INTEGER;
        return true;
    case 'O':
        result->outcome = VALUE_OVERFLOW;
        return true;
    default:
        return false;
    }
}

/* The answer to a DELETE: how many went, and whether of that stamp. */
static bool read_dropped(struct value_op *op, const struct bus_reply *reply)
{
    uint64_t numbers[2];
    if (reply->type != BUS_ARRAY || !read_numbers(reply, 0, 2, numbers)) {
        return false;
    }
    op->result.outcome = numbers[0] > 0 ? VALUE_DONE : VALUE_MISS;
    return true;
}

static void log_refused(struct value_redis *redis, const struct bus_reply *reply)
{
    unsigned suppressed;
    redis->refused_ms = sched_now(redis->shard->sched) + REFUSED_MS;
    if (log_allow(&redis->log, &suppressed)) {
        log_warn("VALUES-REFUSED", "Redis refused what was asked of a value",
            "answer=%s suppressed=%u",
            log_quote(reply->type == BUS_ERROR ? reply->text : BYTES("not understood")),
            suppressed);
    }
}

/* Fill in the result. An error of a script says that nothing was changed (value_scripts.c). */
static void take_answer(struct value_op *op, int status, const struct bus_reply *reply)
{
    struct value_redis *redis = op->backend;
    if (status != 0) {
        op->result.outcome = VALUE_UNKNOWN;
    } else if (!(op->verb == VALUE_DELETE ? read_dropped(op, reply) : read_answer(op, reply))) {
        log_refused(redis, reply);
        op->result.outcome = reply->type == BUS_ERROR ? VALUE_UNAVAILABLE : VALUE_UNKNOWN;
    }
}

/* Asking. */

static void send(struct value_redis *redis, struct value_op *op);

static void on_answer(void *context, int status, const struct bus_reply *reply)
{
    struct value_op *op = context;
    struct value_redis *redis = op->backend;
    if (status == 0 && value_redis_forgot(redis, reply)) {
        send(redis, op);
        return;
    }
    take_answer(op, status, reply);
    redis->answered(redis->context, op);
}

/* Arguments, whose numbers stand in `text`. */
struct args {
    struct bytes argv[ARGS_MAX];
    size_t count;
    char numbers[4][24];
    unsigned number_count;
};

static void add(struct args *args, struct bytes text)
{
    CHECK(args->count < ARGS_MAX);
    args->argv[args->count++] = text;
}

static void add_number(struct args *args, uint64_t number)
{
    CHECK(args->number_count < ARRAY_LEN(args->numbers));
    char *at = args->numbers[args->number_count++];
    snprintf(at, sizeof(args->numbers[0]), "%" PRIu64, number);
    add(args, bytes_str(at));
}

/* What every script that changes a value ends with. */
static void add_channel(struct args *args, const struct builder *channel, struct bytes name)
{
    add(args, builder_bytes(channel));
    add(args, name);
}

void value_redis_channel(
    const struct value_names *names, struct bytes name, struct builder *ret_channel)
{
    value_name_channel(names, value_name_slot(names, name), ret_channel);
}

static void send_write(struct value_redis *redis, struct value_op *op, struct args *args,
    const struct builder *channel)
{
    char version[24];
    char stamp[24];
    snprintf(version, sizeof(version), "%" PRIu64, op->if_version);
    snprintf(stamp, sizeof(stamp), "%" PRIu64, op->stamp);
    add(args, buf_bytes(op->body.bytes));
    add_number(args, op->body.raw);
    add_number(args, op->ttl_ms);
    add_number(args, redis->shard->config->values.stale_ms);
    add(args, op->tags != NULL ? buf_bytes(op->tags) : BYTES(""));
    add(args, op->tags != NULL ? bytes_str(stamp) : BYTES(""));
    add(args, op->conditional ? bytes_str(version) : BYTES(""));
    add(args, bytes_str(op->token));
    add_channel(args, channel, value_op_name(op));
    (void)value_redis_run(redis, VALUE_SCRIPT_WRITE, args->argv, args->count, on_answer, op);
}

static void send_increment(struct value_redis *redis, struct value_op *op, struct args *args,
    const struct builder *channel)
{
    char by[24];
    snprintf(by, sizeof(by), "%" PRId64, op->by);
    add(args, bytes_str(by));
    add_number(args, op->ttl_ms);
    add_number(args, redis->shard->config->values.stale_ms);
    add_channel(args, channel, value_op_name(op));
    (void)value_redis_run(redis, VALUE_SCRIPT_INCREMENT, args->argv, args->count, on_answer, op);
}

static void send_delete(struct value_redis *redis, struct value_op *op, struct args *args,
    const struct builder *channel)
{
    add(args, BYTES(""));
    add(args, BYTES(""));
    add_channel(args, channel, value_op_name(op));
    (void)value_redis_run(redis, VALUE_SCRIPT_DROP, args->argv, args->count, on_answer, op);
}

static void send_lease(struct value_redis *redis, struct value_op *op, struct args *args)
{
    uint64_t secret[VALUE_LEASE_LEN / 16];
    char lease[VALUE_LEASE_LEN + 1];
    rand_secret(secret, sizeof(secret));
    snprintf(lease, sizeof(lease), "%016" PRIx64 "%016" PRIx64, secret[0], secret[1]);
    add(args, bytes_str(lease));
    add_number(args, redis->shard->config->values.fill_ms);
    (void)value_redis_run(redis, VALUE_SCRIPT_LEASE, args->argv, args->count, on_answer, op);
}

static void send_release(struct value_redis *redis, struct value_op *op, struct args *args,
    const struct builder *channel)
{
    add(args, bytes_str(op->token));
    add_channel(args, channel, value_op_name(op));
    (void)value_redis_run(redis, VALUE_SCRIPT_RELEASE, args->argv, args->count, on_answer, op);
}

static void send(struct value_redis *redis, struct value_op *op)
{
    struct builder key = {0};
    struct builder channel = {0};
    struct args args = {0};
    value_name_redis(redis->names, VALUE_KIND_VALUE, value_op_name(op), &key);
    value_redis_channel(redis->names, value_op_name(op), &channel);
    add(&args, builder_bytes(&key));
    switch (op->verb) {
    case VALUE_GET:
        (void)value_redis_run(redis, VALUE_SCRIPT_READ, args.argv, args.count, on_answer, op);
        break;
    case VALUE_PUT:
        send_write(redis, op, &args, &channel);
        break;
    case VALUE_DELETE:
        send_delete(redis, op, &args, &channel);
        break;
    case VALUE_INCREMENT:
        send_increment(redis, op, &args, &channel);
        break;
    case VALUE_LEASE:
        send_lease(redis, op, &args);
        break;
    case VALUE_RELEASE:
        send_release(redis, op, &args, &channel);
        break;
    }
    builder_reset(&key);
    builder_reset(&channel);
}

/* The clock of Redis: all nodes go by it where the end of one's value is another's to judge. */

static void on_clock(void *context, int status, const struct bus_reply *reply)
{
    struct value_redis *redis = context;
    uint64_t seconds;
    uint64_t us;
    if (status == 0 && reply->type == BUS_ARRAY && reply->count == 2 &&
        read_number(reply->items[0], &seconds) && read_number(reply->items[1], &us) &&
        seconds <= CLOCK_MAX_S && us < 1000000) {
        redis->ahead_ms =
            (int64_t)(seconds * 1000 + us / 1000) - (int64_t)sched_wall(redis->shard->sched);
    }
}

void value_redis_read_clock(struct value_redis *redis)
{
    const struct bytes argv[] = {BYTES("TIME")};
    value_redis_command(redis, argv, ARRAY_LEN(argv), on_clock, redis);
}

static uint64_t clock_of(const struct value_redis *redis)
{
    return sched_wall(redis->shard->sched) + (uint64_t)redis->ahead_ms;
}

/* Tags: a value is added to all of them before it is written. */

static void send_tags(struct value_redis *redis, struct value_op *op);

static void on_tagged(void *context, int status, const struct bus_reply *reply)
{
    struct value_op *op = context;
    struct value_redis *redis = op->backend;
    if (status != 0) {
        op->lost = true;
    } else if (value_redis_forgot(redis, reply)) {
        op->forgotten = true;
    } else if (reply->type != BUS_INTEGER) {
        log_refused(redis, reply);
        op->lost = true;
    } else {
        op->refused = op->refused || reply->integer == 0;
    }
    if (--op->parts > 0) {
        return;
    }
    if (op->lost || op->refused) { /* the value was not written */
        op->result.outcome = op->refused ? VALUE_LEASE_LOST : VALUE_UNAVAILABLE;
        redis->answered(redis->context, op);
    } else if (op->forgotten) {
        op->forgotten = false;
        send_tags(redis, op);
    } else {
        send(redis, op);
    }
}

/* Since when the caller fills, as its token says, a number whatever it is; empty: it does not fill.
 * One that is none was made by nobody, and is older than any mark. */
static struct bytes since_of(const struct value_op *op)
{
    const char *colon = strchr(op->token, ':');
    uint64_t since;
    if (op->token[0] == '\0') {
        return bytes_of(NULL, 0);
    }
    bool made = colon != NULL && bytes_to_u64(bytes_str(colon + 1), INT64_MAX, &since) == 0;
    return made ? bytes_str(colon + 1) : BYTES("0");
}

static void send_tag(struct value_redis *redis, struct value_op *op, struct bytes tag)
{
    char at[VALUE_NAME_MAX];
    struct bytes name = value_name_write(value_name_tenant(value_op_name(op)), tag, at);
    struct builder set = {0};
    struct builder mark = {0};
    struct args args = {0};
    uint64_t life =
        op->ttl_ms + redis->shard->config->values.stale_ms + TAG_GRACE_MS + TAG_GRACE_MS;
    value_name_redis(redis->names, VALUE_KIND_TAG, name, &set);
    value_name_redis(redis->names, VALUE_KIND_MARK, name, &mark);
    add(&args, builder_bytes(&set));
    add(&args, builder_bytes(&mark));
    add(&args, value_op_name(op));
    add_number(&args, op->stamp);
    add(&args, since_of(op));
    add_number(&args, life);
    add_number(&args, clock_of(redis) << STAMP_SHIFT);
    (void)value_redis_run(redis, VALUE_SCRIPT_TAG, args.argv, args.count, on_tagged, op);
    builder_reset(&set);
    builder_reset(&mark);
}

static void send_tags(struct value_redis *redis, struct value_op *op)
{
    struct bytes tags = bytes_skip(buf_bytes(op->tags), 1);
    op->parts = 1; /* until all are sent */
    while (tags.len > 0) {
        const char *end = memchr(tags.at, '\n', tags.len);
        size_t len = (size_t)(end - tags.at);
        op->parts++;
        send_tag(redis, op, bytes_of(tags.at, len));
        tags = bytes_skip(tags, len + 1);
    }
    op->parts--;
}

static uint64_t make_stamp(const struct value_redis *redis, const struct value_op *op)
{
    struct shard *shard = redis->shard;
    uint64_t end = clock_of(redis) + op->ttl_ms + shard->config->values.stale_ms + TAG_GRACE_MS;
    return end << STAMP_SHIFT | rand_below(&shard->rand, 1u << STAMP_SHIFT);
}

void value_redis_ask(struct value_redis *redis, struct value_op *op)
{
    op->backend = redis;
    if (op->verb == VALUE_PUT && op->tags != NULL) {
        op->stamp = make_stamp(redis, op);
        send_tags(redis, op);
    } else {
        send(redis, op);
    }
}

/* Life. */

bool value_redis_is_up(const struct value_redis *redis)
{
    return redis->shard->bus->ops->is_up(redis->link);
}

bool value_redis_refuses(const struct value_redis *redis)
{
    return sched_now(redis->shard->sched) < redis->refused_ms;
}

static const struct bus_events events = {.on_up = on_up};

struct value_redis *value_redis_create(
    struct shard *shard, const struct value_names *names, value_answered_fn answered, void *context)
{
    struct value_redis *redis = mem_alloc(sizeof(*redis));
    redis->shard = shard;
    redis->names = names;
    redis->answered = answered;
    redis->context = context;
    redis->link = shard->bus->ops->open(shard->bus, "values", &events, redis);
    return redis;
}

void value_redis_destroy(struct value_redis *redis)
{
    if (redis != NULL) {
        redis->shard->bus->ops->close(redis->link);
        mem_free(redis);
    }
}
