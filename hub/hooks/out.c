/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adds events to a stream, and reads the answers of another one. Order of this file: questions,
 * answers, reading, adding, life.
 */
#include "hub/hooks/out.h"

#include <stdio.h>
#include <string.h>

#include "actors/bus.h"
#include "actors/identity.h"
#include "actors/shard.h"
#include "codec/base/buf.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/claims.h"
#include "codec/json_scan.h"
#include "hub/hooks/askers.h"

enum {
    ID_BYTES = 16,
    ID_LEN = 2 * ID_BYTES,
    ENTRY_LEN = 48, /* the id of an entry */
    NAME_LEN = 240, /* of streams */
    NODE_LEN = 64,
    NUMBER_LEN = 24,
    BLOCK_MS = 5000,
    READ_MS = 15000, /* for an answer of Redis */
    AGAIN_MS = 200, /* Redis did not answer */
    READ_COUNT = 100,
    KEY_SECONDS = 3600, /* the answers' stream of a node that is no more */
    ADD_FIELDS = 8,
};

/*
 * KEYS: the stream. ARGV: entries before this id go; how many there may be; then the entry. Its id,
 * or nothing: there are too many.
 */
static const char add_script[] =
    "redis.call('XTRIM', KEYS[1], 'MINID', '~', ARGV[1]) "
    "if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[2]) then return false end "
    "return redis.call('XADD', KEYS[1], '*', unpack(ARGV, 3))";

struct out {
    struct shard *shard;
    const struct out_settings *settings;
    struct bus_link *link; /* for commands; NULL: without a bus, or nobody wanted it yet */
    struct bus_link *reader; /* for what blocks */
    struct askers askers;
    struct map waiting; /* struct out_question by id */
    bool reading;
    bool closed;
    struct timer timer; /* when to read again */
    char node[NODE_LEN]; /* how answers name the shard */
    char stream[NAME_LEN];
    char answers[NAME_LEN];
    char read_id[ENTRY_LEN]; /* answers up to it were read */
    struct log_limit failed_log;
    struct log_limit late_log;
    struct out_stats stats;
};

/* An event that waits for its answer. */
struct out_question {
    struct out *out;
    struct hook_call *call; /* NULL: it was told */
    struct timer timer;
    bool adding; /* Redis has not said yet whether it is in the stream */
    bool answered;
    char id[ID_LEN + 1];
    char entry[ENTRY_LEN]; /* in the stream; "": not known */
};

/* --- questions --- */

static struct bytes key_of(const void *object)
{
    return bytes_of(((const struct out_question *)object)->id, ID_LEN);
}

static void command(
    struct out *out, const struct bytes *argv, size_t argc, bus_reply_fn fn, void *context)
{
    out->shard->bus->ops->command(out->link, argv, argc, 0, fn, context);
}

/* The entry is not needed any more. */
static void forget_entry(const struct out_question *question)
{
    struct out *out = question->out;
    if (question->entry[0] != '\0' && !out->closed) {
        const struct bytes argv[] = {
            BYTES("XDEL"), bytes_str(out->stream), bytes_str(question->entry)};
        command(out, argv, ARRAY_LEN(argv), NULL, NULL);
    }
}

/* Nothing points at it any more, but perhaps an answer of Redis that is to come. */
static void free_question(struct out_question *question)
{
    if (!question->adding) {
        if (question->answered) {
            forget_entry(question);
        }
        mem_free(question);
    }
}

/* Tell who asked, once. */
static void end_question(struct out_question *question, int status, struct bytes result)
{
    struct out *out = question->out;
    struct hook_call *call = question->call;
    (void)map_remove(&out->waiting, key_of(question));
    timer_cancel(sched_timers(out->shard->sched), &question->timer);
    question->call = NULL;
    out->stats.waiting--;
    askers_release(&out->askers, call->asker);
    call->asker = NULL;
    call->status = status;
    call->result = result;
    call->done(call);
    free_question(question);
}

static void note_failure(struct out *out, const char *why)
{
    unsigned suppressed;
    if (log_allow(&out->failed_log, &suppressed)) {
        log_warn("OUT-FAILED", "an event of a client was not answered by a backend",
            "reason=%s suppressed=%u", log_quote(bytes_str(why)), suppressed);
    }
}

static void on_late(struct timer *timer)
{
    struct out_question *question = container_of(timer, struct out_question, timer);
    question->out->stats.timeouts++;
    note_failure(question->out, "no answer in time");
    end_question(question, STATUS_TIMEOUT, bytes_of(NULL, 0));
}

/* --- answers --- */

/* A field of an entry; false: it has none of the name. */
static bool find_field(const struct bus_reply *fields, const char *name, struct bytes *ret_value)
{
    for (size_t i = 0; i + 1 < fields->count; i += 2) {
        if (fields->items[i]->type == BUS_STRING && fields->items[i + 1]->type == BUS_STRING &&
            bytes_eq_str(fields->items[i]->text, name)) {
            *ret_value = fields->items[i + 1]->text;
            return true;
        }
    }
    return false;
}

static bool is_result(struct bytes result)
{
    return result.len <= OUT_RESULT_MAX && json_scan_text(result, OUT_DEPTH_MAX, NULL, NULL) == 0;
}

static void take_answer(struct out *out, const struct bus_reply *fields)
{
    struct bytes id = bytes_of(NULL, 0);
    struct bytes result = bytes_of(NULL, 0);
    bool named = find_field(fields, "id", &id);
    struct out_question *question = named ? map_get(&out->waiting, id) : NULL;
    if (question == NULL) {
        unsigned suppressed;
        out->stats.late++;
        if (log_allow(&out->late_log, &suppressed)) {
            log_info("OUT-LATE", "an answer that nobody waits for, ignoring it",
                "id=%s suppressed=%u", log_quote(id), suppressed);
        }
        return;
    }
    question->answered = true;
    if (find_field(fields, "result", &result) && !is_result(result)) {
        out->stats.failed++;
        note_failure(out, "the result is no JSON, or larger than 1 MiB");
        end_question(question, STATUS_UNAVAILABLE, bytes_of(NULL, 0));
        return;
    }
    out->stats.answered++;
    end_question(question, 0, result);
}

/* --- reading --- */

static void read_more(struct out *out);

/* The answers were read: they go, and so does the stream when its node is no more. */
static void drop_answers(struct out *out, const struct bytes *argv, size_t argc)
{
    char seconds[NUMBER_LEN];
    snprintf(seconds, sizeof(seconds), "%d", (int)KEY_SECONDS);
    const struct bytes expire[] = {BYTES("EXPIRE"), bytes_str(out->answers), bytes_str(seconds)};
    command(out, argv, argc, NULL, NULL);
    command(out, expire, ARRAY_LEN(expire), NULL, NULL);
}

/* The entries of one XREAD: [[stream, [[id, [field, value, …]], …]]]. */
static void take_entries(struct out *out, const struct bus_reply *entries)
{
    struct bytes argv[2 + READ_COUNT] = {BYTES("XDEL"), bytes_str(out->answers)};
    size_t argc = 2;
    for (size_t i = 0; i < entries->count && argc < ARRAY_LEN(argv); i++) {
        const struct bus_reply *entry = entries->items[i];
        if (entry->type != BUS_ARRAY || entry->count != 2 || entry->items[0]->type != BUS_STRING ||
            entry->items[0]->text.len >= ENTRY_LEN) {
            continue;
        }
        snprintf(out->read_id, sizeof(out->read_id), "%.*s", (int)entry->items[0]->text.len,
            entry->items[0]->text.at);
        argv[argc++] = entry->items[0]->text;
        if (entry->items[1]->type == BUS_ARRAY) {
            take_answer(out, entry->items[1]);
        }
    }
    if (argc > 2 && !out->closed) {
        drop_answers(out, argv, argc);
    }
}

static bool has_entries(const struct bus_reply *reply)
{
    return reply->type == BUS_ARRAY && reply->count == 1 && reply->items[0]->type == BUS_ARRAY &&
           reply->items[0]->count == 2 && reply->items[0]->items[1]->type == BUS_ARRAY;
}

static void on_read(void *context, int status, const struct bus_reply *reply)
{
    struct out *out = context;
    struct sched *sched = out->shard->sched;
    out->reading = false;
    if (out->closed) {
        return;
    }
    if (status != 0 || reply->type == BUS_ERROR) {
        if (status == 0) {
            note_failure(out, "Redis does not tell what backends have answered");
        }
        timer_set(sched_timers(sched), &out->timer, sched_now(sched) + AGAIN_MS);
        return;
    }
    if (has_entries(reply)) {
        take_entries(out, reply->items[0]->items[1]);
    }
    read_more(out);
}

static void on_timer(struct timer *timer)
{
    read_more(container_of(timer, struct out, timer));
}

/* Ask for answers, as long as some are waited for. */
static void read_more(struct out *out)
{
    char block[NUMBER_LEN];
    char count[NUMBER_LEN];
    if (out->reading || out->closed || map_count(&out->waiting) == 0) {
        return;
    }
    snprintf(block, sizeof(block), "%d", (int)BLOCK_MS);
    snprintf(count, sizeof(count), "%d", (int)READ_COUNT);
    const struct bytes argv[] = {BYTES("XREAD"), BYTES("COUNT"), bytes_str(count), BYTES("BLOCK"),
        bytes_str(block), BYTES("STREAMS"), bytes_str(out->answers), bytes_str(out->read_id)};
    out->reading = true;
    out->shard->bus->ops->command(out->reader, argv, ARRAY_LEN(argv), READ_MS, on_read, out);
}

/* --- adding --- */

static void refuse_added(struct out_question *question, const char *why)
{
    note_failure(question->out, why);
    end_question(question, STATUS_UNAVAILABLE, bytes_of(NULL, 0));
}

static void on_added(void *context, int status, const struct bus_reply *reply)
{
    struct out_question *question = context;
    struct out *out = question->out;
    bool added = status == 0 && reply->type == BUS_STRING && reply->text.len < ENTRY_LEN;
    question->adding = false;
    if (added) {
        out->stats.sent++;
        snprintf(
            question->entry, sizeof(question->entry), "%.*s", (int)reply->text.len, reply->text.at);
    }
    if (question->call == NULL) { /* told already */
        free_question(question);
    } else if (status == 0 && reply->type == BUS_NIL) {
        out->stats.full++;
        refuse_added(question, "the stream is full: no backend takes from it");
    } else if (!added) {
        out->stats.failed++;
        refuse_added(question, "Redis is away, or refuses it");
    }
}

static void write_number(uint64_t value, char at[NUMBER_LEN])
{
    snprintf(at, NUMBER_LEN, "%llu", (unsigned long long)value);
}

static void add(struct out_question *question, const struct hook_question *asked, struct bytes args)
{
    struct out *out = question->out;
    const struct claims *who = identity_claims(asked->who);
    uint64_t now = sched_wall(out->shard->sched);
    char since[NUMBER_LEN];
    char most[NUMBER_LEN];
    char at[NUMBER_LEN];
    write_number(now > OUT_KEPT_MS ? now - OUT_KEPT_MS : 0, since);
    write_number(out->settings->maxlen, most);
    write_number(now, at);
    const struct bytes argv[] = {BYTES("EVAL"), BYTES(add_script), BYTES("1"),
        bytes_str(out->stream), bytes_str(since), bytes_str(most), BYTES("event"), asked->name,
        BYTES("args"), args, BYTES("user"), claims_user(who), BYTES("tenant"), claims_tenant(who),
        BYTES("socket"), asked->socket, BYTES("node"), bytes_str(out->node), BYTES("id"),
        bytes_of(question->id, ID_LEN), BYTES("at"), bytes_str(at)};
    _Static_assert(ARRAY_LEN(argv) == 6 + 2 * ADD_FIELDS, "a name and a value each");
    question->adding = true;
    command(out, argv, ARRAY_LEN(argv), on_added, question);
}

/* NULL: no memory. */
static struct out_question *make_question(struct out *out, struct hook_call *call)
{
    struct out_question *question = mem_try_calloc(1, sizeof(*question));
    uint8_t id[ID_BYTES];
    if (question == NULL) {
        return NULL;
    }
    question->out = out;
    question->call = call;
    timer_init(&question->timer, on_late);
    rand_secret(id, sizeof(id));
    for (size_t i = 0; i < sizeof(id); i++) {
        snprintf(question->id + 2 * i, 3, "%02x", id[i]);
    }
    if (!map_put(&out->waiting, question)) {
        mem_free(question);
        return NULL;
    }
    out->stats.waiting++;
    return question;
}

int out_ask(struct out *out, const struct hook_question *question, struct hook_call *call)
{
    struct sched *sched = out->shard->sched;
    call->asker = NULL;
    if (out->closed || out->link == NULL || !out->shard->bus->ops->is_up(out->link)) {
        out->stats.failed++;
        return STATUS_UNAVAILABLE;
    }
    int status = askers_take(&out->askers, question->who, out->settings->per_user, &call->asker);
    if (status != 0) {
        return status;
    }
    struct builder args = {.max = UINT32_MAX};
    builder_byte(&args, '[');
    builder_add(&args, question->args);
    builder_byte(&args, ']');
    struct out_question *asked = builder_failed(&args) ? NULL : make_question(out, call);
    if (asked == NULL) {
        builder_reset(&args);
        askers_release(&out->askers, call->asker);
        call->asker = NULL;
        return STATUS_UNAVAILABLE;
    }
    timer_set(sched_timers(sched), &asked->timer, sched_now(sched) + out->settings->timeout_ms);
    add(asked, question, builder_bytes(&args));
    builder_reset(&args);
    read_more(out);
    return STATUS_AGAIN;
}

/* --- life --- */

static const struct bus_events no_events = {.on_up = NULL};

void out_set(struct out *out, const struct out_settings *settings)
{
    struct shard *shard = out->shard;
    out->settings = settings;
    if (settings->wanted && shard->bus != NULL && out->link == NULL && !out->closed) {
        const struct actor_config *config = shard->config;
        snprintf(out->node, sizeof(out->node), "%s-%u", config->node, sched_shard(shard->sched));
        snprintf(out->stream, sizeof(out->stream), "%s:out", config->names.prefix);
        snprintf(
            out->answers, sizeof(out->answers), "%s:out:reply:%s", config->names.prefix, out->node);
        out->link = shard->bus->ops->open(shard->bus, "out", &no_events, out);
        out->reader = shard->bus->ops->open(shard->bus, "out-reader", &no_events, out);
    }
}

struct out *out_open(struct shard *shard, const struct out_settings *settings)
{
    struct out *out = mem_alloc(sizeof(*out));
    out->shard = shard;
    snprintf(out->read_id, sizeof(out->read_id), "0-0");
    askers_init(&out->askers);
    map_init(&out->waiting, key_of);
    timer_init(&out->timer, on_timer);
    out_set(out, settings);
    return out;
}

void out_close(struct out *out)
{
    if (out->closed) {
        return;
    }
    out->closed = true;
    timer_cancel(sched_timers(out->shard->sched), &out->timer);
    for (size_t cursor = 0; map_count(&out->waiting) > 0; cursor = 0) {
        end_question(map_next(&out->waiting, &cursor), STATUS_UNAVAILABLE, bytes_of(NULL, 0));
    }
    if (out->link != NULL) { /* which answers what is being added */
        out->shard->bus->ops->close(out->link);
        out->shard->bus->ops->close(out->reader);
        out->link = NULL;
        out->reader = NULL;
    }
}

void out_destroy(struct out *out)
{
    if (out != NULL) {
        map_finish(&out->waiting);
        askers_finish(&out->askers);
        mem_free(out);
    }
}

const struct out_stats *out_get_stats(struct out *out)
{
    out->stats.bounded = out->askers.bounded;
    return &out->stats;
}
