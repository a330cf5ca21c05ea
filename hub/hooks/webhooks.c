/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases the calls of webhooks, and makes them. Order of this file: webhooks, what became of a
 * call, calls, leasing, telling, life.
 */
#include "hub/hooks/webhooks.h"

#include <stdio.h>
#include <string.h>

#include "actors/jobs/jobs.h"
#include "actors/shard.h"
#include "actors/webhook_note.h"
#include "codec/base/breaker.h"
#include "codec/base/buf.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "hub/hooks/backend.h"
#include "hub/net/loop.h"

enum {
    REST_MS = 1000,
    REST_MAX_MS = 30000,
    WAIT_MS = 30000, /* for jobs; then it asks anew */
    AGAIN_MS = 1000, /* nothing could be leased */
    JITTER = 101, /* thousandths of a pause, at most, that are added to it */
    ERROR_BYTES = 128,
};

static const struct breaker_limits breaker_limits = {WEBHOOKS_FAILURES, REST_MS, REST_MAX_MS};

/* A webhook of the settings, and what is known of it. */
struct webhook {
    struct webhooks *webhooks;
    struct outgoing_endpoint endpoint;
    struct breaker breaker;
    struct log_limit log;
    unsigned refs; /* the list, and what is under way */
    bool leasing; /* `poll` is under way */
    uint32_t under_way; /* calls */
    struct timer timer; /* when to lease again */
    struct store_job_rule rule;
    struct job_poll poll;
    char *name;
    char *url;
    char *queue;
};

struct webhooks {
    struct loop *loop;
    struct shard *shard;
    struct outgoing *outgoing;
    const struct webhook_settings *settings;
    struct webhook *list[WEBHOOKS_MAX]; /* as in the settings */
    unsigned count;
    uint64_t under_way; /* leases and calls */
    bool closed;
    struct webhook_record record;
    struct webhook_stats stats;
};

/* A call that is made. */
struct delivery {
    struct outgoing_request request;
    struct store_job_step step;
    struct webhook *webhook;
    struct signature_lines lines;
    struct buf *body;
    uint32_t round; /* of the breaker */
    uint32_t attempt;
    char error[ERROR_BYTES];
};

/* --- webhooks --- */

static void on_timer(struct timer *timer);

static struct webhook *make_webhook(
    struct webhooks *webhooks, const struct webhook_options *options)
{
    struct webhook *webhook = mem_alloc(sizeof(*webhook));
    webhook->webhooks = webhooks;
    webhook->refs = 1;
    webhook->name = mem_dup(options->name, strlen(options->name));
    webhook->url = mem_dup(options->url, strlen(options->url));
    webhook->queue = mem_dup(options->rule.queue.at, options->rule.queue.len);
    timer_init(&webhook->timer, on_timer);
    return webhook;
}

static void unref(struct webhook *webhook)
{
    if (--webhook->refs == 0) {
        mem_free(webhook->name);
        mem_free(webhook->url);
        mem_free(webhook->queue);
        mem_free(webhook);
    }
}

/* The settings of one whose calls are made by this shard of the node; else NULL. */
static const struct webhook_options *options_of(const struct webhook *webhook)
{
    const struct webhooks *webhooks = webhook->webhooks;
    const struct sched *sched = webhooks->shard->sched;
    unsigned shards = actor_system_shards(sched_system(webhooks->shard->sched));
    for (unsigned i = 0; i < webhooks->count; i++) {
        if (webhooks->list[i] == webhook) {
            return i % shards == sched_shard(sched) ? &webhooks->settings->items[i] : NULL;
        }
    }
    return NULL;
}

/* No more is leased. */
static void stop_leasing(struct webhook *webhook)
{
    struct shard *shard = webhook->webhooks->shard;
    timer_cancel(sched_timers(shard->sched), &webhook->timer);
    if (webhook->leasing && shard->jobs != NULL && job_poll_cancel(shard->jobs, &webhook->poll)) {
        webhook->leasing = false;
        webhook->webhooks->under_way--;
        unref(webhook);
    }
}

static void tell_breaker(const struct webhook *webhook)
{
    if (breaker_get_state(&webhook->breaker) == BREAKER_OPEN) {
        log_warn("WEBHOOK-OPEN",
            "a webhook has failed again and again, what it is told waits for a while",
            "webhook=%s failures=%d", log_quote(bytes_str(webhook->name)), (int)WEBHOOKS_FAILURES);
    } else {
        log_info("WEBHOOK-CLOSED", "a webhook answers again", "webhook=%s",
            log_quote(bytes_str(webhook->name)));
    }
}

/* --- what became of a call --- */

static void pump(struct webhook *webhook);

static void free_delivery(struct delivery *delivery)
{
    struct webhook *webhook = delivery->webhook;
    builder_reset(&delivery->request.answer);
    signature_finish_lines(&delivery->lines);
    buf_unref(delivery->body);
    mem_free(delivery);
    webhook->under_way--;
    webhook->webhooks->under_way--;
    pump(webhook);
    unref(webhook);
}

static void on_stepped(struct store_request *request)
{
    struct delivery *delivery = container_of(request, struct delivery, step.base);
    if (request->status == 0) {
        jobs_stepped(delivery->webhook->webhooks->shard, &delivery->step);
    }
    store_request_finish(request);
    free_delivery(delivery);
}

/* Say what became of the job. A store that does not take it has it given again when the lease
 * ends. */
static void step(struct delivery *delivery, enum job_verb verb)
{
    struct shard *shard = delivery->webhook->webhooks->shard;
    delivery->step.base = (struct store_request){.op = STORE_JOB_STEP, .done = on_stepped};
    delivery->step.verb = verb;
    delivery->step.error = bytes_str(delivery->error);
    delivery->step.jitter = (uint32_t)rand_below(&shard->rand, JITTER);
    if (shard->store == NULL) {
        free_delivery(delivery);
        return;
    }
    store_submit(shard->store, &delivery->step.base);
}

static void note_failure(struct delivery *delivery, const char *why)
{
    struct webhook *webhook = delivery->webhook;
    struct webhooks *webhooks = webhook->webhooks;
    unsigned status = delivery->request.status;
    unsigned suppressed;
    char id[UUID_TEXT_LEN + 1] = "";
    uuid_format(delivery->step.id, id);
    webhooks->stats.failed++;
    if (delivery->request.end == OUTGOING_ANSWERED && delivery->request.sent) {
        snprintf(delivery->error, sizeof(delivery->error), "status %u", status);
    } else {
        snprintf(delivery->error, sizeof(delivery->error), "%s", why);
    }
    if (log_allow(&webhook->log, &suppressed)) {
        log_warn("WEBHOOK-FAILED", "a webhook did not take what it was told, it is told again",
            "webhook=%s job=%s attempt=%u reason=%s status=%u suppressed=%u",
            log_quote(bytes_str(webhook->name)), id, delivery->attempt, log_quote(bytes_str(why)),
            status, suppressed);
    }
}

static void note_breaker(struct delivery *delivery, bool good)
{
    struct webhook *webhook = delivery->webhook;
    bool changes = good ? breaker_note_success(&webhook->breaker, delivery->round)
                        : breaker_note_failure(&webhook->breaker, &breaker_limits,
                              sched_now(webhook->webhooks->shard->sched), delivery->round);
    if (changes) {
        tell_breaker(webhook);
    }
}

static void on_done(struct outgoing_request *request)
{
    struct delivery *delivery = container_of(request, struct delivery, request);
    const char *fault = backend_fault(request);
    if (request->end == OUTGOING_CLOSED || (fault != NULL && !request->sent)) {
        breaker_release(&delivery->webhook->breaker, delivery->round); /* it says nothing */
        step(delivery, JOB_RELEASE);
    } else if (fault == NULL) {
        delivery->webhook->webhooks->stats.delivered++;
        note_breaker(delivery, true);
        step(delivery, JOB_COMPLETE);
    } else {
        note_failure(delivery, fault);
        note_breaker(delivery, backend_is_there(request));
        step(delivery, JOB_FAIL);
    }
}

/* --- calls --- */

/* NULL: no memory; the lease ends by itself. */
static struct delivery *make_delivery(
    struct webhook *webhook, const struct store_job *job, const uint8_t *lease)
{
    struct delivery *delivery = mem_try_calloc(1, sizeof(*delivery));
    struct buf *body = delivery != NULL ? buf_new(job->payload) : NULL;
    if (body == NULL) {
        mem_free(delivery);
        return NULL;
    }
    delivery->webhook = webhook;
    delivery->body = body;
    delivery->attempt = job->attempt;
    memcpy(delivery->step.id, job->id, sizeof(delivery->step.id));
    memcpy(delivery->step.lease, lease, sizeof(delivery->step.lease));
    webhook->refs++;
    webhook->under_way++;
    webhook->webhooks->under_way++;
    return delivery;
}

/* 0, or as outgoing_begin. */
static int send_call(struct delivery *delivery, const struct webhook_options *options)
{
    struct webhooks *webhooks = delivery->webhook->webhooks;
    struct outgoing_request *request = &delivery->request;
    if (!signature_write_lines(options->secrets, options->secret_count, delivery->step.id,
            sched_wall(webhooks->shard->sched) / 1000, buf_bytes(delivery->body),
            &delivery->lines)) {
        return STATUS_NOMEM;
    }
    request->endpoint = &delivery->webhook->endpoint;
    request->url = delivery->webhook->url;
    request->headers = delivery->lines.lines;
    request->header_count = ARRAY_LEN(delivery->lines.lines);
    request->body = buf_bytes(delivery->body);
    request->timeout_ms = options->timeout_ms;
    request->answer_max = WEBHOOKS_ANSWER_MAX;
    request->done = on_done;
    return outgoing_begin(webhooks->outgoing, request);
}

static void deliver(struct webhook *webhook, const struct store_job *job, const uint8_t *lease)
{
    struct webhooks *webhooks = webhook->webhooks;
    const struct webhook_options *options = options_of(webhook);
    struct delivery *delivery = make_delivery(webhook, job, lease);
    if (delivery == NULL) {
        return;
    }
    if (options == NULL || webhooks->closed ||
        !breaker_take(&webhook->breaker, sched_now(webhooks->shard->sched), &delivery->round)) {
        step(delivery, JOB_RELEASE);
        return;
    }
    int status = send_call(delivery, options);
    if (status == 0) {
        webhooks->stats.calls++;
        return;
    }
    breaker_release(&webhook->breaker, delivery->round);
    if (status == STATUS_DENIED) {
        note_failure(delivery, "the URL is none that may be called");
        step(delivery, JOB_FAIL);
    } else {
        step(delivery, JOB_RELEASE);
    }
}

/* --- leasing --- */

static void arm(struct webhook *webhook, uint64_t wait_ms)
{
    struct sched *sched = webhook->webhooks->shard->sched;
    timer_set(sched_timers(sched), &webhook->timer, sched_now(sched) + wait_ms);
}

static void on_timer(struct timer *timer)
{
    pump(container_of(timer, struct webhook, timer));
}

static void on_leased(struct job_poll *poll, int status)
{
    struct webhook *webhook = container_of(poll, struct webhook, poll);
    webhook->leasing = false;
    for (size_t i = 0; status == 0 && i < poll->lease.count; i++) {
        deliver(webhook, &poll->lease.jobs[i], poll->lease.lease);
    }
    store_request_finish(&poll->lease.base);
    if (status == 0) {
        pump(webhook);
    } else if (options_of(webhook) != NULL && !webhook->webhooks->closed) {
        arm(webhook, AGAIN_MS);
    }
    webhook->webhooks->under_way--;
    unref(webhook);
}

/* How many it may have under way more: of one that is tried again, one. */
static uint32_t room_of(const struct webhook *webhook)
{
    bool closed = breaker_get_state(&webhook->breaker) == BREAKER_CLOSED;
    uint32_t most = closed ? webhook->rule.concurrency : 1;
    most = most < STORE_JOB_LEASE_MAX ? most : STORE_JOB_LEASE_MAX;
    return webhook->under_way < most ? most - webhook->under_way : 0;
}

/* Lease what there is room for. */
static void pump(struct webhook *webhook)
{
    struct webhooks *webhooks = webhook->webhooks;
    struct shard *shard = webhooks->shard;
    const struct webhook_options *options = options_of(webhook);
    uint32_t room = room_of(webhook);
    if (options == NULL || webhooks->closed || webhook->leasing || room == 0) {
        return;
    }
    uint64_t rest = breaker_get_rest(&webhook->breaker, sched_now(shard->sched));
    if (rest > 0 || shard->jobs == NULL || shard->store == NULL) {
        arm(webhook, rest > 0 ? rest : AGAIN_MS);
        return;
    }
    webhook->poll = (struct job_poll){
        .done = on_leased,
        .until_ms = sched_now(shard->sched) + WAIT_MS,
        .most = UINT32_MAX,
        .lease = {.rules = &webhook->rule,
            .rule_count = 1,
            .max = room,
            .worker = bytes_str(shard->config->node)},
    };
    webhook->leasing = true;
    webhook->refs++;
    webhooks->under_way++;
    job_poll_begin(shard->jobs, &webhook->poll);
}

/* --- telling --- */

void webhooks_tell(struct webhooks *webhooks, const struct webhook_note *note)
{
    for (unsigned i = 0; i < webhooks->count; i++) {
        const struct webhook_options *options = &webhooks->settings->items[i];
        bool meant = options->tenant[0] == '\0' || bytes_eq_str(note->tenant, options->tenant);
        if (meant && (options->events >> note->event & 1) != 0) {
            webhook_record_note(&webhooks->record, i, bytes_str(webhooks->list[i]->queue), note);
        }
    }
}

bool webhooks_settle(struct webhooks *webhooks, struct webhook_settling *settling)
{
    return webhook_record_settle(&webhooks->record, settling);
}

uint32_t webhooks_events(const struct webhook_settings *settings)
{
    uint32_t events = 0;
    for (unsigned i = 0; i < settings->count; i++) {
        events |= settings->items[i].events;
    }
    return events;
}

/* --- life --- */

/* The one of that name and URL, which is taken out of the list; NULL: none. */
static struct webhook *take_webhook(
    struct webhooks *webhooks, const struct webhook_options *options)
{
    for (unsigned i = 0; i < webhooks->count; i++) {
        struct webhook *webhook = webhooks->list[i];
        if (webhook != NULL && strcmp(webhook->name, options->name) == 0 &&
            strcmp(webhook->url, options->url) == 0) {
            webhooks->list[i] = NULL;
            return webhook;
        }
    }
    return NULL;
}

void webhooks_set(struct webhooks *webhooks, const struct webhook_settings *settings)
{
    struct webhook *list[WEBHOOKS_MAX] = {NULL};
    for (unsigned i = 0; i < settings->count; i++) {
        struct webhook *webhook = take_webhook(webhooks, &settings->items[i]);
        list[i] = webhook != NULL ? webhook : make_webhook(webhooks, &settings->items[i]);
    }
    for (unsigned i = 0; i < webhooks->count; i++) {
        if (webhooks->list[i] != NULL) {
            stop_leasing(webhooks->list[i]);
            unref(webhooks->list[i]);
        }
    }
    memcpy(webhooks->list, list, sizeof(list));
    webhooks->count = settings->count;
    webhooks->settings = settings;
    outgoing_set(webhooks->outgoing, settings->guard, settings->ca);
    webhook_record_renumber(&webhooks->record);
    for (unsigned i = 0; i < settings->count; i++) {
        struct webhook *webhook = list[i];
        stop_leasing(webhook); /* its number and its queue's settings may be others */
        webhook->rule = settings->items[i].rule;
        webhook->rule.queue = bytes_str(webhook->queue);
        webhook->endpoint.under_way_max = webhook->rule.concurrency;
        webhook->endpoint.waiting_max = webhook->rule.concurrency;
        arm(webhook, 0);
    }
}

struct webhooks *webhooks_open(struct loop *loop, const struct webhook_settings *settings)
{
    struct webhooks *webhooks = mem_alloc(sizeof(*webhooks));
    webhooks->loop = loop;
    webhooks->shard = loop_shard(loop);
    webhooks->outgoing = outgoing_open(loop);
    webhook_record_init(&webhooks->record, webhooks->shard);
    webhooks_set(webhooks, settings);
    return webhooks;
}

void webhooks_close(struct webhooks *webhooks)
{
    if (webhooks->closed) {
        return;
    }
    webhooks->closed = true;
    for (unsigned i = 0; i < webhooks->count; i++) {
        stop_leasing(webhooks->list[i]);
    }
    outgoing_close(webhooks->outgoing);
    webhook_record_close(&webhooks->record);
}

uint64_t webhooks_count_open(const struct webhooks *webhooks)
{
    return outgoing_count_open(webhooks->outgoing) + webhooks->under_way +
           webhook_record_is_open(&webhooks->record);
}

void webhooks_destroy(struct webhooks *webhooks)
{
    if (webhooks == NULL) {
        return;
    }
    for (unsigned i = 0; i < webhooks->count; i++) {
        unref(webhooks->list[i]);
    }
    outgoing_destroy(webhooks->outgoing);
    mem_free(webhooks);
}

const struct webhook_stats *webhooks_get_stats(struct webhooks *webhooks)
{
    struct webhook_stats *stats = &webhooks->stats;
    for (unsigned i = 0; i < webhooks->count; i++) { /* there was nothing to tell since */
        (void)breaker_forget(
            &webhooks->list[i]->breaker, sched_now(webhooks->shard->sched), WEBHOOKS_FORGET_MS);
    }
    stats->recorded = webhooks->record.recorded;
    stats->lost = webhooks->record.lost;
    stats->waiting = webhooks->record.waiting;
    stats->stuck = webhooks->record.stuck;
    for (unsigned i = 0; i < WEBHOOKS_MAX; i++) {
        enum breaker_state state =
            i < webhooks->count ? breaker_get_state(&webhooks->list[i]->breaker) : BREAKER_CLOSED;
        stats->half_open[i] = state == BREAKER_HALF_OPEN;
        stats->open[i] = state == BREAKER_OPEN;
    }
    return stats;
}

const struct outgoing_stats *webhooks_get_requests(const struct webhooks *webhooks)
{
    return outgoing_get_stats(webhooks->outgoing);
}
