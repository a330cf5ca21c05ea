/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes the answer of Redis apart into entries and rows, and cuts a batch into runs where the store
 * refuses one.
 */
#include "actors/ingest/ingest_batch.h"

#include "actors/inbox/post.h"
#include "actors/ingest/ingest_job.h"
#include "actors/shard.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/stream_id.h"

enum { FIELDS_MAX = 32, PAUSE_MAX_MS = 1000 };

/* Copy the fields of an entry, whose reply is borrowed. False when it is not a list of pairs. */
static int copy_fields(struct ingest_entry *entry, const struct bus_reply *fields)
{
    if (fields->type != BUS_ARRAY || fields->count % 2 != 0 || fields->count / 2 > FIELDS_MAX) {
        return STATUS_INVALID;
    }
    size_t len = 0;
    for (size_t i = 0; i < fields->count; i++) {
        len += fields->items[i]->text.len;
    }
    uint32_t count = (uint32_t)fields->count / 2;
    struct notification_field *copy = mem_try_alloc(count * sizeof(*copy) + len + 1);
    if (copy == NULL) {
        return STATUS_NOMEM;
    }
    char *at = (char *)(copy + count);
    for (uint32_t i = 0; i < fields->count; i++) {
        struct bytes text = fields->items[i]->text;
        if (text.len > 0) {
            memcpy(at, text.at, text.len);
        }
        *(i % 2 == 0 ? &copy[i / 2].name : &copy[i / 2].value) = bytes_of(at, text.len);
        at += text.len;
    }
    entry->fields = copy;
    entry->field_count = count;
    return 0;
}

static enum error_code reason_of(int status)
{
    switch (status) {
    case STATUS_TOO_LARGE:
        return ERROR_TOO_LARGE;
    case STATUS_UTF8:
        return ERROR_NOT_UTF8;
    default:
        return ERROR_INVALID_FIELD;
    }
}

/* When an entry was added, by its id: what has expired since, while it waited, is no fault. */
static uint64_t posted_ms(const struct ingest_entry *entry, uint64_t now_ms)
{
    struct stream_id id;
    bool known = stream_id_read(bytes_str(entry->id), &id) == 0;
    return known && id.ms < now_ms ? id.ms : now_ms;
}

/* What begins like Peal's own names is never written to for a poster: it would trim what waits. */
bool ingest_may_answer(const struct shard *shard, struct bytes stream)
{
    struct bytes prefix = bytes_str(shard->config->names.prefix);
    return !bytes_starts(stream, prefix) ||
           !bytes_starts(bytes_skip(stream, prefix.len), BYTES(":"));
}

static int decode_job(const struct shard *shard, struct ingest_entry *entry)
{
    int status =
        ingest_job_parse(shard, entry->fields, entry->field_count, &entry->job, &entry->named);
    if (status == STATUS_NOMEM) {
        return status;
    }
    if (status != 0) {
        const char *field = entry->named.field[0] != '\0' ? entry->named.field : NULL;
        entry->fault = (struct ingest_fault){.reason = reason_of(status), .field = field};
    }
    entry->is_job = true;
    entry->parsed = status == 0;
    return 0;
}

/* Of more users than fit into one batch as rows it is an audience. */
static int decode(
    struct shard *shard, const struct ingest_source *source, struct ingest_entry *entry)
{
    struct notification_limits limits = shard->config->posts;
    limits.targets =
        limits.targets < NOTIFICATION_USERS_MAX ? limits.targets : NOTIFICATION_USERS_MAX;
    limits.now_ms = sched_wall(shard->sched);
    limits.posted_ms = posted_ms(entry, limits.now_ms);
    limits.deliver_after_ms = source->routed ? 0 : limits.posted_ms;
    if (ingest_job_is(entry->fields, entry->field_count)) {
        return decode_job(shard, entry);
    }
    int status = notification_from_fields(
        entry->fields, entry->field_count, &limits, &entry->post, &entry->named);
    if (status == STATUS_NOMEM) {
        return status;
    }
    if (status != 0) {
        const char *field = entry->named.field[0] != '\0' ? entry->named.field : NULL;
        entry->fault = (struct ingest_fault){.reason = reason_of(status), .field = field};
    } else if (!ingest_may_answer(shard, entry->post.reply)) {
        notification_post_finish(&entry->post);
        entry->fault = (struct ingest_fault){.reason = ERROR_INVALID_FIELD, .field = "reply"};
    } else if (post_event_check(shard, &entry->post, &entry->named) != 0) {
        notification_post_finish(&entry->post);
        entry->fault = (struct ingest_fault){.reason = ERROR_INVALID_FIELD, .field = "retain"};
    }
    entry->parsed = entry->fault.reason == ERROR_NONE;
    return 0;
}

static int fill_rows(struct ingest_batch *batch, struct ingest_entry *entry, struct bytes key)
{
    if (batch->row_count + entry->post.target_count > STORE_PAGE_MAX) {
        return STATUS_FULL;
    }
    entry->first_row = batch->row_count;
    entry->row_count = entry->post.target_count;
    int status = post_rows(batch->shard, &entry->post, key, batch->rows + batch->row_count);
    if (status == 0) {
        batch->row_count += entry->row_count;
    }
    return status;
}

static int fill_audience(struct ingest_batch *batch, struct ingest_entry *entry, struct bytes key)
{
    entry->audience = mem_try_calloc(1, sizeof(*entry->audience));
    int status = entry->audience != NULL
                     ? post_audience(batch->shard, &entry->post, key, entry->audience)
                     : STATUS_NOMEM;
    if (status != 0) {
        mem_free(entry->audience);
        entry->audience = NULL;
    }
    return status;
}

static int fill_job(struct ingest_batch *batch, struct ingest_entry *entry, struct bytes key)
{
    if (batch->jobs_of == NULL) {
        batch->jobs_of = mem_try_calloc(INGEST_ENTRIES_MAX, sizeof(*batch->jobs_of));
        if (batch->jobs_of == NULL) {
            return STATUS_NOMEM;
        }
    }
    int status = ingest_job_fill(batch->shard, &entry->job, key, &batch->jobs_of[batch->job_count]);
    if (status == 0) {
        entry->first_row = batch->job_count++;
        entry->row_count = 1;
    }
    return status;
}

/* The default key: stream name, '@', entry id. A routed entry has this key in a field. */
static int fill(struct ingest_batch *batch, struct ingest_entry *entry, struct bytes stream)
{
    bool rows = entry->is_job || notification_audience_of(&entry->post) == AUDIENCE_NONE;
    struct builder key = {0};
    builder_add(&key, stream);
    builder_byte(&key, '@');
    builder_str(&key, entry->id);
    int status = entry->is_job
                     ? fill_job(batch, entry, builder_bytes(&key))
                     : (rows ? fill_rows : fill_audience)(batch, entry, builder_bytes(&key));
    builder_reset(&key);
    return status;
}

static bool is_repeat(const struct ingest_entry *entry, struct stream_id repeats)
{
    return stream_id_cmp(stream_id_of(entry->id), repeats) <= 0;
}

/* The fields become a post and its rows, or a fault; STATUS_FULL: rows do not fit; STATUS_NOMEM. */
static int read_entry(struct ingest_batch *batch, const struct ingest_source *source,
    struct ingest_entry *entry, const struct bus_reply *fields)
{
    int status = copy_fields(entry, fields);
    if (status == STATUS_INVALID) {
        entry->fault = (struct ingest_fault){.reason = ERROR_INVALID_FIELD};
        return 0;
    }
    status = status != 0 ? status : decode(batch->shard, source, entry);
    if (status != 0 || !entry->parsed || entry->post.is_event || !source->rows) {
        return status;
    }
    status = fill(batch, entry, source->stream);
    if (status != 0) {
        notification_post_finish(&entry->post);
    }
    return status;
}

/* Take one entry in; false when its rows do not fit any more, or without memory: it is read again.
 */
static bool add_entry(
    struct ingest_batch *batch, const struct ingest_source *source, const struct bus_reply *item)
{
    struct ingest_entry *entry = &batch->entries[batch->count];
    *entry = (struct ingest_entry){0};
    if (item->type != BUS_ARRAY || item->count != 2 ||
        item->items[0]->text.len >= sizeof(entry->id)) {
        return false;
    }
    memcpy(entry->id, item->items[0]->text.at, item->items[0]->text.len);
    entry->again = is_repeat(entry, source->repeats);
    if (read_entry(batch, source, entry, item->items[1]) != 0) {
        mem_free(entry->fields);
        return false;
    }
    batch->count++;
    return true;
}

/* Whether two entries may be in one run: neither is for an audience, and both are jobs, or for now,
 * or for later. */
static bool go_together(const struct ingest_entry *a, const struct ingest_entry *b)
{
    return a->audience == NULL && b->audience == NULL && a->is_job == b->is_job &&
           (a->post.deliver_at > 0) == (b->post.deliver_at > 0);
}

/* The run begins at `from`: it ends before, or behind, a post to an audience, and before one that
 * is for another time, or of another kind. */
static void set_run(struct ingest_batch *batch)
{
    batch->to = batch->from + 1;
    while (batch->to < batch->count &&
           go_together(&batch->entries[batch->from], &batch->entries[batch->to])) {
        batch->to++;
    }
}

struct ingest_batch *ingest_batch_create(struct shard *shard, struct actor_ref owner,
    const struct ingest_source *source, const struct bus_reply *reply)
{
    /* [[stream, [[id, [field, value, …]], …]]] */
    if (reply->type != BUS_ARRAY || reply->count != 1 || reply->items[0]->type != BUS_ARRAY ||
        reply->items[0]->count != 2 || reply->items[0]->items[1]->type != BUS_ARRAY) {
        return NULL;
    }
    const struct bus_reply *items = reply->items[0]->items[1];
    struct ingest_batch *batch = mem_alloc(sizeof(*batch));
    batch->shard = shard;
    batch->owner = owner;
    batch->entries = mem_try_calloc(INGEST_ENTRIES_MAX, sizeof(*batch->entries));
    batch->rows = mem_try_calloc(STORE_PAGE_MAX, sizeof(*batch->rows));
    bool good = batch->entries != NULL && batch->rows != NULL;
    for (size_t i = 0; good && i < items->count && batch->count < INGEST_ENTRIES_MAX; i++) {
        good = add_entry(batch, source, items->items[i]);
    }
    if (batch->count == 0) {
        ingest_batch_destroy(batch);
        return NULL;
    }
    set_run(batch);
    batch->again = batch->entries[0].again;
    return batch;
}

void ingest_batch_destroy(struct ingest_batch *batch)
{
    if (batch == NULL) {
        return;
    }
    store_request_finish(&batch->put.base);
    for (uint32_t i = 0; i < batch->count; i++) {
        if (batch->entries[i].parsed) {
            notification_post_finish(&batch->entries[i].post);
        }
        mem_free(batch->entries[i].audience);
        mem_free(batch->entries[i].fields);
    }
    mem_free(batch->entries);
    mem_free(batch->rows);
    mem_free(batch->jobs_of);
    mem_free(batch);
}

struct bytes ingest_batch_last_id(const struct ingest_batch *batch)
{
    return bytes_str(batch->entries[batch->count - 1].id);
}

struct bytes ingest_batch_run_id(const struct ingest_batch *batch)
{
    return bytes_str(batch->entries[batch->to - 1].id);
}

static void submit_audience(struct ingest_batch *batch, uint32_t partition, uint64_t token,
    struct bytes kept, store_done_fn done)
{
    batch->audience = *batch->entries[batch->from].audience;
    batch->audience.base = (struct store_request){.op = STORE_AUDIENCE_POST, .done = done};
    batch->audience.fenced = true;
    batch->audience.partition = partition;
    batch->audience.token = token;
    batch->audience.last_id = kept;
    store_submit(batch->shard->store, &batch->audience.base);
}

static void submit_jobs(struct ingest_batch *batch, uint32_t partition, uint64_t token,
    struct bytes kept, store_done_fn done)
{
    uint32_t first = 0;
    uint32_t count = 0;
    for (uint32_t i = batch->from; i < batch->to; i++) {
        const struct ingest_entry *entry = &batch->entries[i];
        if (entry->row_count > 0) {
            first = count == 0 ? entry->first_row : first;
            count = entry->first_row + 1 - first;
        }
    }
    batch->adding = (struct store_job_add){
        .base = {.op = STORE_JOB_ADD, .done = done},
        .jobs = count > 0 ? batch->jobs_of + first : NULL,
        .count = count,
        .fenced = true,
        .partition = partition,
        .token = token,
        .last_id = kept,
    };
    store_submit(batch->shard->store, &batch->adding.base);
}

void ingest_batch_submit(struct ingest_batch *batch, uint32_t partition, uint64_t token,
    struct bytes kept, store_done_fn done)
{
    uint32_t first = UINT32_MAX;
    uint32_t count = 0;
    store_request_finish(&batch->put.base);
    if (batch->entries[batch->from].audience != NULL) {
        submit_audience(batch, partition, token, kept, done);
        return;
    }
    if (batch->entries[batch->from].is_job) {
        submit_jobs(batch, partition, token, kept, done);
        return;
    }
    for (uint32_t i = batch->from; i < batch->to; i++) {
        const struct ingest_entry *entry = &batch->entries[i];
        if (entry->row_count > 0) {
            first = first == UINT32_MAX ? entry->first_row : first;
            count = entry->first_row + entry->row_count - first;
        }
    }
    batch->put = (struct store_put){
        .base = {.op = STORE_PUT, .done = done},
        .rows = count > 0 ? batch->rows + first : batch->rows,
        .count = count,
        .fenced = true,
        .partition = partition,
        .token = token,
        .last_id = kept,
    };
    store_submit(batch->shard->store, &batch->put.base);
}

static bool is_audience(const struct ingest_batch *batch)
{
    return batch->put.base.op == STORE_AUDIENCE_POST;
}

static bool is_jobs(const struct ingest_batch *batch)
{
    return batch->put.base.op == STORE_JOB_ADD;
}

void ingest_batch_take_in(struct ingest_batch *batch)
{
    if (is_audience(batch)) {
        *batch->entries[batch->from].audience = batch->audience;
    }
}

void ingest_batch_announce(struct ingest_batch *batch)
{
    if (is_jobs(batch)) {
        ingest_job_announce(batch->shard, &batch->adding);
    } else if (is_audience(batch)) {
        post_audience_announce(batch->shard, batch->entries[batch->from].audience);
    } else if (batch->again) {
        post_announce_new(batch->shard, batch->put.rows, batch->put.count);
    } else {
        post_announce(batch->shard, batch->put.rows, batch->put.count);
    }
}

struct bytes ingest_batch_whom(const struct ingest_batch *batch)
{
    if (is_jobs(batch)) {
        return batch->adding.count > 0 ? batch->adding.jobs[0].queue : bytes_of(NULL, 0);
    }
    return is_audience(batch) ? notification_audience_name(batch->audience.kind)
                              : batch->put.rows[0].who.user;
}

uint64_t ingest_batch_pause(const struct ingest_batch *batch, uint64_t took_ms)
{
    if (is_audience(batch) || is_jobs(batch)) {
        return 0;
    }
    for (size_t i = 0; i < batch->put.count; i++) {
        if (store_outcome_is_new(batch->put.rows[i].outcome)) {
            return 0;
        }
    }
    return !batch->again ? 0 : 1 + (took_ms < PAUSE_MAX_MS ? took_ms : PAUSE_MAX_MS);
}

void ingest_batch_narrow(struct ingest_batch *batch)
{
    uint32_t length = batch->to - batch->from;
    if (length > 1) {
        batch->to = batch->from + length / 2;
        return;
    }
    struct ingest_entry *entry = &batch->entries[batch->from];
    entry->row_count = 0;
    mem_free(entry->audience);
    entry->audience = NULL;
    entry->fault = (struct ingest_fault){.reason = ERROR_INVALID_FIELD};
}

bool ingest_batch_advance(struct ingest_batch *batch)
{
    batch->from = batch->to;
    if (batch->from == batch->count) {
        return false;
    }
    set_run(batch);
    return true;
}
