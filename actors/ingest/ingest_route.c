/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written to Redis for a batch before it is committed: dead letters and copies in
 * partitions; and behind it, answers.
 *
 * Order of this file: dead letters, answers to posters, routing.
 */
#include "actors/ingest/ingest_route.h"

#include <stdio.h>

#include "actors/inbox/post.h"
#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/iso_time.h"
#include "codec/json_scan.h"
#include "codec/slot.h"

enum { COMMAND_MS = 5000, ARGS_MAX = 96, REFUSAL_MAX = 128, REPLY_MAXLEN = 10000 };

/* Dead letters. */

static struct bytes field_of(const struct ingest_entry *entry, const char *name)
{
    for (uint32_t i = 0; i < entry->field_count; i++) {
        if (bytes_eq_str(entry->fields[i].name, name)) {
            return entry->fields[i].value;
        }
    }
    return bytes_of("", 0);
}

static void tell_rejected(
    struct ingest_batch *batch, const struct ingest_entry *entry, struct bus_link *link)
{
    struct bytes stream = field_of(entry, "reply");
    if (stream.len == 0 || !ingest_may_answer(batch->shard, stream)) {
        return;
    }
    const struct bytes argv[] = {BYTES("XADD"), stream, BYTES("MAXLEN"), BYTES("~"), BYTES("10000"),
        BYTES("*"), BYTES("key"), field_of(entry, "key"), BYTES("entry"), bytes_str(entry->id),
        BYTES("status"), BYTES("rejected"), BYTES("error"),
        bytes_str(errors_text(entry->fault.reason))};
    batch->shard->bus->ops->command(link, argv, ARRAY_LEN(argv), COMMAND_MS, NULL, NULL);
}

static void write_fault(const struct ingest_writing *writing, const struct ingest_entry *entry,
    bus_reply_fn fn, void *context)
{
    struct ingest_batch *batch = writing->batch;
    const struct actor_config *config = batch->shard->config;
    struct bytes argv[ARGS_MAX];
    char dead[BUS_NAME_MAX];
    char max[24];
    size_t n = 0;
    bus_name_dead(&config->names, dead);
    snprintf(max, sizeof(max), "%u", (unsigned)config->dead_max);
    const struct bytes head[] = {BYTES("XADD"), bytes_str(dead), BYTES("MAXLEN"), BYTES("~"),
        bytes_str(max), BYTES("*"), BYTES("dead:stream"), bytes_str(writing->stream),
        BYTES("dead:id"), bytes_str(entry->id), BYTES("dead:reason"),
        bytes_str(errors_text(entry->fault.reason)), BYTES("dead:field"),
        bytes_str(entry->fault.field)};
    for (size_t i = 0; i < ARRAY_LEN(head); i++) {
        argv[n++] = head[i];
    }
    for (uint32_t i = 0; i < entry->field_count && n + 2 <= ARGS_MAX; i++) {
        argv[n++] = entry->fields[i].name;
        argv[n++] = entry->fields[i].value;
    }
    batch->shard->stats.dead++;
    log_warn("INGEST-DEAD", "an entry cannot be stored, kept in the dead letters",
        "stream=%s entry=%s reason=%s field=%s", writing->stream, entry->id,
        errors_text(entry->fault.reason), entry->fault.field ? entry->fault.field : "-");
    batch->shard->bus->ops->command(writing->link, argv, n, COMMAND_MS, fn, context);
    tell_rejected(batch, entry, writing->link);
}

void ingest_tell_fault(struct ingest_batch *batch, const struct ingest_entry *entry,
    struct bus_link *link, const char *stream)
{
    const struct ingest_writing writing = {.batch = batch, .link = link, .stream = stream};
    write_fault(&writing, entry, NULL, NULL);
}

/* Answers to posters. */

static void write_ids(
    const struct ingest_batch *batch, const struct ingest_entry *entry, struct builder *out)
{
    builder_byte(out, '[');
    if (entry->audience != NULL) {
        char id[UUID_TEXT_LEN];
        uuid_format(entry->audience->id, id);
        builder_byte(out, '"');
        builder_add(out, bytes_of(id, sizeof(id)));
        builder_byte(out, '"');
    }
    for (uint32_t i = 0; i < entry->row_count; i++) {
        char id[UUID_TEXT_LEN];
        uuid_format(batch->rows[entry->first_row + i].id, id);
        builder_str(out, i > 0 ? ",\"" : "\"");
        builder_add(out, bytes_of(id, sizeof(id)));
        builder_byte(out, '"');
    }
    builder_byte(out, ']');
}

/* "stored" if anything new was, "collapsed" if all that was took the place of others, "suppressed"
 * if its users do not want it, "scheduled" if it is for later; a repeat of everything is
 * "duplicate", with other content "rejected". */
static const char *status_of(const struct ingest_batch *batch, const struct ingest_entry *entry)
{
    static const char *const of_audience[] = {
        [OUTCOME_STORED] = "stored",
        [OUTCOME_DUPLICATE] = "duplicate",
        [OUTCOME_CONFLICT] = "rejected",
        [OUTCOME_SCHEDULED] = "scheduled",
    };
    const char *status = "duplicate";
    if (entry->audience != NULL) {
        return of_audience[entry->audience->outcome];
    }
    for (uint32_t i = 0; i < entry->row_count; i++) {
        const struct store_row *row = &batch->rows[entry->first_row + i];
        if (row->outcome == OUTCOME_CONFLICT) {
            return "rejected";
        }
        if (row->outcome == OUTCOME_STORED) {
            status = "stored";
        } else if (row->outcome == OUTCOME_COLLAPSED && strcmp(status, "stored") != 0) {
            status = "collapsed";
        } else if (row->outcome == OUTCOME_SUPPRESSED && strcmp(status, "duplicate") == 0) {
            status = "suppressed";
        } else if (row->outcome == OUTCOME_SCHEDULED) {
            status = "scheduled";
        }
    }
    return status;
}

void ingest_tell_result(
    struct ingest_batch *batch, const struct ingest_entry *entry, struct bus_link *link)
{
    if (!entry->parsed || entry->post.reply.len == 0 || entry->post.is_event ||
        (entry->row_count == 0 && entry->audience == NULL)) {
        return;
    }
    const char *status = status_of(batch, entry);
    if (entry->again && strcmp(status, "duplicate") == 0) {
        return; /* it was told before */
    }
    struct builder ids = {0};
    write_ids(batch, entry, &ids);
    if (builder_failed(&ids)) { /* no memory: half a list is none */
        builder_reset(&ids);
    }
    const struct bytes argv[] = {BYTES("XADD"), entry->post.reply, BYTES("MAXLEN"), BYTES("~"),
        BYTES("10000"), BYTES("*"), BYTES("entry"), bytes_str(entry->id), BYTES("key"),
        entry->post.key, BYTES("status"), bytes_str(status), BYTES("ids"), builder_bytes(&ids),
        BYTES("error"), strcmp(status, "rejected") == 0 ? BYTES("key_conflict") : BYTES("")};
    batch->shard->bus->ops->command(link, argv, ARRAY_LEN(argv), COMMAND_MS, NULL, NULL);
    builder_reset(&ids);
}

/* Routing. */

/* Counts the XADDs of a batch that are still to be answered, one more while they are being sent. */
struct routing {
    struct ingest_writing writing;
    uint32_t waiting;
    bool failed;
    char refusal[REFUSAL_MAX]; /* the last error of Redis */
};

static void end_step(struct routing *routing)
{
    if (--routing->waiting > 0) {
        return;
    }
    routing->writing.prepared(
        routing->writing.context, !routing->failed, bytes_str(routing->refusal));
    mem_free(routing);
}

static void on_written(void *context, int status, const struct bus_reply *reply)
{
    struct routing *routing = context;
    routing->failed = routing->failed || status != 0 || reply->type != BUS_STRING;
    if (status == 0 && reply->type == BUS_ERROR) {
        snprintf(routing->refusal, sizeof(routing->refusal), "%.*s", (int)reply->text.len,
            reply->text.at);
    }
    end_step(routing);
}

/* What is written of one entry: its dead letter, or a copy in a partition's stream. */
struct letter {
    struct routing *routing;
    struct ingest_entry *entry;
};

static struct letter *letter_new(struct routing *routing, struct ingest_entry *entry)
{
    struct letter *letter = mem_alloc(sizeof(*letter));
    *letter = (struct letter){.routing = routing, .entry = entry};
    routing->waiting++;
    return letter;
}

static void on_fault_written(void *context, int status, const struct bus_reply *reply)
{
    struct letter *letter = context;
    letter->entry->told = status == 0 && reply->type == BUS_STRING;
    on_written(letter->routing, status, reply);
    mem_free(letter);
}

static void bury(struct routing *routing, struct ingest_entry *entry)
{
    write_fault(&routing->writing, entry, on_fault_written, letter_new(routing, entry));
}

/* The command that writes a routed entry; absent fields are left out. */
struct routed {
    struct bytes argv[ARGS_MAX];
    size_t count;
};

static void add_field(struct routed *routed, struct bytes name, struct bytes value)
{
    if (value.len > 0) {
        routed->argv[routed->count++] = name;
        routed->argv[routed->count++] = value;
    }
}

/* The times of a post as text; they live as long as the command is being written. */
struct times {
    struct builder expires;
    struct builder delivery;
};

static void add_time(struct routed *routed, struct bytes name, uint64_t time, struct builder *text)
{
    if (time > 0) {
        builder_u64(text, time);
        add_field(routed, name, builder_bytes(text));
    }
}

static void add_content(
    struct routed *routed, const struct notification_post *post, struct times *times)
{
    add_field(routed, BYTES("tenant"), post->tenant);
    add_field(routed, BYTES("reply"), post->reply);
    add_field(routed, BYTES("priority"), notification_priority_name(post->priority));
    add_field(routed, BYTES("type"), post->type);
    add_field(routed, BYTES("title"), post->title);
    add_field(routed, BYTES("message"), post->message);
    add_field(routed, BYTES("data"), post->data);
    add_field(routed, BYTES("collapse"), post->collapse);
    add_time(routed, BYTES("expires_at"), post->expires_at, &times->expires);
    add_time(routed, BYTES("deliver_at"), post->deliver_at, &times->delivery);
}

static void begin(struct routed *routed, const struct routing *routing, uint32_t partition,
    char stream[BUS_NAME_MAX])
{
    bus_name_in(&routing->writing.batch->shard->config->names, partition + 1, stream);
    *routed = (struct routed){.argv = {BYTES("XADD"), bytes_str(stream), BYTES("*")}, .count = 3};
}

/* What failed is written again with the whole entry: rows have their keys. */
static void on_copy_written(void *context, int status, const struct bus_reply *reply)
{
    struct letter *letter = context;
    bool good = status == 0 && reply->type == BUS_STRING;
    letter->entry->routed = letter->entry->routed && good;
    on_written(letter->routing, status, reply);
    mem_free(letter);
}

static void send(struct routing *routing, struct ingest_entry *entry, const struct routed *routed)
{
    routing->writing.batch->shard->bus->ops->command(routing->writing.link, routed->argv,
        routed->count, COMMAND_MS, on_copy_written, letter_new(routing, entry));
}

static uint32_t partition_of(const struct routing *routing, struct bytes tenant, struct bytes user)
{
    return slot_part(slot_of(tenant, user), routing->writing.batch->shard->config->partitions);
}

/* The users of `post` that belong to `partition`, as a JSON list; how many. */
static uint32_t write_users(struct routing *routing, const struct notification_post *post,
    uint32_t partition, struct builder *list)
{
    uint32_t count = 0;
    builder_byte(list, '[');
    for (uint32_t i = 0; i < post->target_count; i++) {
        if (partition_of(routing, post->tenant, post->targets[i]) == partition) {
            builder_str(list, count++ > 0 ? "," : "");
            json_scan_write_string(list, post->targets[i]);
        }
    }
    builder_byte(list, ']');
    return count;
}

static void send_part(struct routing *routing, struct ingest_entry *entry, uint32_t partition,
    struct bytes target, struct bytes value)
{
    const struct notification_post *post = &entry->post;
    char stream[BUS_NAME_MAX];
    struct routed routed;
    struct times times = {0};
    struct builder key = {0};
    begin(&routed, routing, partition, stream);
    add_field(&routed, target, value);
    add_field(&routed, BYTES("include_new"), post->include_new ? BYTES("1") : BYTES(""));
    add_content(&routed, post, &times);
    builder_printf(&key, "%s@%s", routing->writing.stream, entry->id);
    add_field(&routed, BYTES("key"), post->key.len > 0 ? post->key : builder_bytes(&key));
    send(routing, entry, &routed);
    builder_reset(&times.expires);
    builder_reset(&times.delivery);
    builder_reset(&key);
}

/* Without memory for the list of users the entry is routed again. */
static void send_users(struct routing *routing, struct ingest_entry *entry, uint32_t partition,
    const struct builder *users)
{
    if (builder_failed(users)) {
        entry->routed = false;
        routing->failed = true;
    } else {
        send_part(routing, entry, partition, BYTES("users"), builder_bytes(users));
    }
}

/* An event goes to one partition as it came: it has no rows that would need to be split. */
static void route_event(struct routing *routing, struct ingest_entry *entry)
{
    const struct notification_post *post = &entry->post;
    bool named = post->target == NOTIFICATION_USERS;
    char stream[BUS_NAME_MAX];
    struct routed routed;
    begin(&routed, routing, named ? partition_of(routing, post->tenant, post->targets[0]) : 0,
        stream);
    for (uint32_t i = 0; i < entry->field_count; i++) {
        routed.argv[routed.count++] = entry->fields[i].name;
        routed.argv[routed.count++] = entry->fields[i].value;
    }
    send(routing, entry, &routed);
}

/* A job goes to the partition of its queue as it came, with its default key kept. */
static void route_job(struct routing *routing, struct ingest_entry *entry)
{
    const struct job_post *job = &entry->job;
    char stream[BUS_NAME_MAX];
    struct routed routed;
    struct builder key = {0};
    begin(&routed, routing, partition_of(routing, job->tenant, job->queue), stream);
    for (uint32_t i = 0; i < entry->field_count; i++) {
        routed.argv[routed.count++] = entry->fields[i].name;
        routed.argv[routed.count++] = entry->fields[i].value;
    }
    if (job->key.len == 0) {
        builder_printf(&key, "%s@%s", routing->writing.stream, entry->id);
        add_field(&routed, BYTES("key"), builder_bytes(&key));
    }
    send(routing, entry, &routed);
    builder_reset(&key);
}

/* What is stored once goes to the first partition: posts to one audience stay in one order. */
static void route_audience(struct routing *routing, struct ingest_entry *entry)
{
    const struct notification_post *post = &entry->post;
    struct builder users = {0};
    if (post->target == NOTIFICATION_TOPIC) {
        send_part(routing, entry, 0, BYTES("topic"), post->targets[0]);
    } else if (post->target == NOTIFICATION_ALL) {
        send_part(routing, entry, 0, BYTES("all"), BYTES("1"));
    } else {
        builder_byte(&users, '[');
        for (uint32_t i = 0; i < post->target_count; i++) {
            builder_str(&users, i > 0 ? "," : "");
            json_scan_write_string(&users, post->targets[i]);
        }
        builder_byte(&users, ']');
        send_users(routing, entry, 0, &users);
    }
    builder_reset(&users);
}

static void route_entry(struct routing *routing, struct ingest_entry *entry)
{
    uint32_t partitions = routing->writing.batch->shard->config->partitions;
    entry->routed = true;
    if (entry->is_job) {
        route_job(routing, entry);
        return;
    }
    if (entry->post.is_event) {
        if (!entry->again) {
            route_event(routing, entry);
        }
        return;
    }
    if (notification_audience_of(&entry->post) != AUDIENCE_NONE) {
        route_audience(routing, entry);
        return;
    }
    for (uint32_t partition = 0; partition < partitions; partition++) {
        struct builder users = {0};
        uint32_t count = write_users(routing, &entry->post, partition, &users);
        if (count > 0) {
            send_users(routing, entry, partition, &users);
        }
        builder_reset(&users);
    }
}

static bool must_bury(const struct ingest_entry *entry)
{
    return entry->fault.reason != ERROR_NONE && !entry->told;
}

static bool must_route(const struct ingest_entry *entry, bool route)
{
    return route && entry->parsed && !entry->routed;
}

bool ingest_needs_writing(const struct ingest_batch *batch, bool route)
{
    for (uint32_t i = batch->from; i < batch->to; i++) {
        if (must_bury(&batch->entries[i]) || must_route(&batch->entries[i], route)) {
            return true;
        }
    }
    return false;
}

void ingest_prepare(const struct ingest_writing *writing)
{
    struct ingest_batch *batch = writing->batch;
    struct routing *routing = mem_alloc(sizeof(*routing));
    *routing = (struct routing){.writing = *writing, .waiting = 1};
    for (uint32_t i = batch->from; i < batch->to; i++) {
        struct ingest_entry *entry = &batch->entries[i];
        if (must_bury(entry)) {
            bury(routing, entry);
        } else if (must_route(entry, writing->route)) {
            route_entry(routing, entry);
        }
    }
    end_step(routing);
}
