/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gathers events to calls, and calls to requests that add jobs. Order of this file: calls, what the
 * store says, adding, life.
 */
#include "hub/hooks/webhook_record.h"

#include <string.h>

#include "actors/jobs/jobs.h"
#include "actors/shard.h"
#include "actors/webhook_note.h"
#include "codec/base/buf.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/json_write.h"
#include "codec/slot.h"

enum { AGAIN_MS = 1000, ADD_BYTES = 1048576 };

/* A call that is not in the store yet. */
struct webhook_batch {
    struct list link; /* webhook_record.batches, or .sent */
    struct buf *queue;
    struct builder body;
    unsigned events;
    uint8_t id[NOTIFICATION_ID_LEN];
    uint8_t key[STORE_HASH_LEN]; /* by which the store knows it: adding it again adds nothing */
};

/* --- calls --- */

static void free_batch(struct webhook_record *record, struct webhook_batch *batch)
{
    record->bytes -= builder_bytes(&batch->body).len;
    record->waiting -= batch->events;
    list_remove(&batch->link);
    buf_unref(batch->queue);
    builder_reset(&batch->body);
    mem_free(batch);
}

/* Begin the body; NULL: no memory. */
static struct webhook_batch *make_batch(struct webhook_record *record, struct bytes queue)
{
    uint64_t now = sched_wall(record->shard->sched);
    struct webhook_batch *batch = mem_try_calloc(1, sizeof(*batch));
    if (batch == NULL) {
        return NULL;
    }
    batch->queue = buf_new_name(queue);
    uuid7_make(now, SLOT_NONE, batch->id);
    rand_secret(batch->key, sizeof(batch->key));
    json_write_open(&batch->body, '{');
    json_write_text(&batch->body, "type", BYTES("events"));
    json_write_time(&batch->body, "timestamp", now);
    json_write_key(&batch->body, "data");
    json_write_open(&batch->body, '{');
    json_write_key(&batch->body, "events");
    json_write_open(&batch->body, '[');
    list_append(&record->batches, &batch->link);
    record->bytes += builder_bytes(&batch->body).len;
    return batch;
}

/* Add one event to the call; false: no memory, and it is as before. */
static bool add_event(struct webhook_batch *batch, const struct webhook_note *note)
{
    uint8_t id[NOTIFICATION_ID_LEN];
    size_t before = builder_bytes(&batch->body).len;
    uuid7_make(note->at, SLOT_NONE, id);
    json_write_next(&batch->body);
    json_write_open(&batch->body, '{');
    json_write_uuid(&batch->body, "id", id);
    json_write_text(&batch->body, "type", bytes_str(webhook_event_name(note->event)));
    json_write_time(&batch->body, "timestamp", note->at);
    json_write_json(&batch->body, "data", note->data);
    json_write_close(&batch->body, '}');
    bool failed = builder_failed(&batch->body);
    if (failed) {
        builder_rewind(&batch->body, before);
    }
    return !failed;
}

static void note_loss(struct webhook_record *record, uint64_t events, const char *why)
{
    unsigned suppressed;
    record->lost += events;
    if (log_allow(&record->lost_log, &suppressed)) {
        log_error("WEBHOOK-LOST", "webhooks will not be told of events",
            "reason=%s events=%llu suppressed=%u", log_quote(bytes_str(why)),
            (unsigned long long)events, suppressed);
    }
}

/* --- what the store says --- */

static void add(struct webhook_record *record);

static void arm(struct webhook_record *record, uint64_t wait_ms)
{
    struct sched *sched = record->shard->sched;
    timer_set(sched_timers(sched), &record->timer, sched_now(sched) + wait_ms);
}

static void lose_sent(struct webhook_record *record, const char *why)
{
    uint64_t events = 0;
    list_for_each_safe (link, next, &record->sent) {
        struct webhook_batch *batch = container_of(link, struct webhook_batch, link);
        events += batch->events;
        free_batch(record, batch);
    }
    if (events > 0) {
        note_loss(record, events, why);
    }
}

/* They are in the store: whoever delivers looks. */
static void finish_sent(struct webhook_record *record)
{
    list_for_each_safe (link, next, &record->sent) {
        struct webhook_batch *batch = container_of(link, struct webhook_batch, link);
        record->recorded += batch->events;
        if (!record->closed) {
            jobs_ready(record->shard, bytes_of(NULL, 0), buf_bytes(batch->queue));
        }
        free_batch(record, batch);
    }
}

/* What was told before those that are released is in the store, or lost; `all`: or waits for long.
 */
static void release(struct webhook_record *record, bool all)
{
    struct list now;
    list_init(&now);
    list_for_each_safe (link, next, &record->settling) {
        struct webhook_settling *settling = container_of(link, struct webhook_settling, link);
        if (all || settling->told <= record->recorded + record->lost) {
            list_remove(link);
            list_append(&now, link);
        }
    }
    for (struct list *link; (link = list_pop(&now)) != NULL;) {
        struct webhook_settling *settling = container_of(link, struct webhook_settling, link);
        settling->done(settling);
    }
}

static bool may_work_later(int status)
{
    return status == STATUS_UNAVAILABLE || status == STATUS_UNKNOWN || status == STATUS_TIMEOUT;
}

static void on_added(struct store_request *request)
{
    struct webhook_record *record = container_of(request, struct webhook_record, add.base);
    int status = request->status;
    record->busy = false;
    record->stuck = status != 0;
    store_request_finish(request);
    if (status == 0) {
        finish_sent(record);
    } else if (record->closed || !may_work_later(status)) {
        lose_sent(record, record->closed ? "the node ends" : "the store refused them");
    } else {
        arm(record, AGAIN_MS); /* the same again */
        release(record, true);
        return;
    }
    release(record, false);
    if (!list_empty(&record->batches)) {
        add(record);
    }
}

/* --- adding --- */

/* What waits longest goes to `sent`, as far as it fits into one request. */
static void fill_add(struct webhook_record *record)
{
    size_t count = 0;
    size_t bytes = 0;
    while (count < WEBHOOK_ADD_CALLS && bytes < ADD_BYTES && !list_empty(&record->batches)) {
        struct webhook_batch *batch =
            container_of(list_pop(&record->batches), struct webhook_batch, link);
        list_append(&record->sent, &batch->link);
        record->bytes -= builder_bytes(&batch->body).len;
        json_write_close(&batch->body, ']');
        json_write_close(&batch->body, '}');
        json_write_close(&batch->body, '}');
        record->bytes += builder_bytes(&batch->body).len;
        bytes += builder_bytes(&batch->body).len;
        struct store_job_new *job = &record->jobs[count++];
        *job = (struct store_job_new){.queue = buf_bytes(batch->queue),
            .type = BYTES("webhook"),
            .payload = builder_bytes(&batch->body),
            .priority = NOTIFICATION_MEDIUM};
        memcpy(job->id, batch->id, sizeof(job->id));
        memcpy(job->key_hash, batch->key, sizeof(job->key_hash));
        for (unsigned i = 0; i < WEBHOOKS_MAX; i++) {
            record->gathering[i] = record->gathering[i] == batch ? NULL : record->gathering[i];
        }
    }
    record->add.jobs = record->jobs;
    record->add.count = count;
}

static void add(struct webhook_record *record)
{
    timer_cancel(sched_timers(record->shard->sched), &record->timer);
    if (list_empty(&record->sent)) {
        fill_add(record);
    }
    while (record->shard->store == NULL && !list_empty(&record->sent)) {
        lose_sent(record, "there is no store any more");
        fill_add(record);
    }
    if (list_empty(&record->sent)) {
        release(record, true);
        return;
    }
    record->busy = true;
    record->add.base = (struct store_request){.op = STORE_JOB_ADD, .done = on_added};
    store_submit(record->shard->store, &record->add.base);
}

static void on_timer(struct timer *timer)
{
    add(container_of(timer, struct webhook_record, timer));
}

void webhook_record_note(struct webhook_record *record, unsigned index, struct bytes queue,
    const struct webhook_note *note)
{
    struct webhook_batch *batch = record->gathering[index];
    if (record->bytes + note->data.len > WEBHOOK_WAITING_BYTES) {
        note_loss(record, 1, "too much waits for the store");
        return;
    }
    if (batch == NULL && !record->closed && note->data.len > 0) {
        batch = make_batch(record, queue);
    }
    if (batch == NULL) {
        note_loss(record, 1, record->closed ? "the node ends" : "no memory");
        return;
    }
    size_t before = builder_bytes(&batch->body).len;
    if (note->data.len == 0 || !add_event(batch, note)) {
        note_loss(record, 1, "no memory");
    } else {
        record->bytes += builder_bytes(&batch->body).len - before;
        record->waiting++;
        batch->events++;
    }
    bool full = batch->events == WEBHOOK_CALL_EVENTS ||
                builder_bytes(&batch->body).len >= WEBHOOK_CALL_BYTES;
    record->gathering[index] = full ? NULL : batch;
    if (!record->busy && !timer_armed(&record->timer)) {
        arm(record, WEBHOOK_GATHER_MS);
    }
}

bool webhook_record_settle(struct webhook_record *record, struct webhook_settling *settling)
{
    if (record->waiting == 0 || record->stuck != 0 || record->closed) {
        return false;
    }
    settling->told = record->recorded + record->lost + record->waiting;
    list_append(&record->settling, &settling->link);
    if (!record->busy) {
        arm(record, 0); /* with what else this turn tells of */
    }
    return true;
}

/* --- life --- */

void webhook_record_init(struct webhook_record *record, struct shard *shard)
{
    record->shard = shard;
    list_init(&record->batches);
    list_init(&record->sent);
    list_init(&record->settling);
    timer_init(&record->timer, on_timer);
}

void webhook_record_renumber(struct webhook_record *record)
{
    memset(record->gathering, 0, sizeof(record->gathering));
}

void webhook_record_close(struct webhook_record *record)
{
    record->closed = true;
    if (!record->busy && (!list_empty(&record->batches) || !list_empty(&record->sent))) {
        add(record);
    }
}

bool webhook_record_is_open(const struct webhook_record *record)
{
    return record->busy || !list_empty(&record->batches) || !list_empty(&record->sent);
}
