/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases jobs, judges each, sends, and says what became of it. Order of this file: ending, putting
 * off, clearing, what a provider said, judging, beginning, leasing, life.
 */
#include "hub/push/handoffs.h"

#include <stdio.h>
#include <string.h>

#include "actors/jobs/jobs.h"
#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/device.h"
#include "codec/preferences.h"
#include "hub/net/loop.h"
#include "hub/push/push.h"
#include "hub/push/push_arrange.h"
#include "hub/push/push_text.h"
#include "hub/push/web_push.h"
#include "sql/store.h"

enum {
    WAIT_MS = 30000, /* for jobs; then it asks anew */
    AGAIN_MS = 1000, /* nothing could be leased, or sent */
    BUSY_MS = 1000, /* too many are on their way */
    REFUSED_MS = 60000, /* our credential is looked at again */
    AWAY_LEAST_MS = 2000, /* a provider that is away is left alone as long as the job is old */
    AWAY_MOST_MS = 600000,
    JITTER = 101, /* thousandths of a pause, at most, that are added to it */
    ERROR_BYTES = 96,
    CLEAR_TTL_S = 86400,
};

struct handoffs {
    struct shard *shard;
    struct push *push;
    const struct push_settings *settings;
    struct push_arranger arranger;
    struct job_poll poll;
    struct timer timer;
    struct store_job_rule rule; /* what `poll` borrows; its queue's name is static */
    bool leasing; /* `poll` is under way */
    bool closed;
    uint64_t under_way; /* jobs */
    struct handoff_stats stats;
};

/* A job that is carried out. */
struct handoff {
    struct handoffs *handoffs;
    struct push_job job;
    struct store_job_step step;
    struct store_push_look look;
    struct store_push_note note;
    struct store_devices gone;
    struct push_call call;
    struct builder text;
    uint64_t created_at;
    bool sent_before; /* an attempt before this one may have reached the device */
    bool clears; /* what is being sent takes away */
    char error[ERROR_BYTES];
    char topic[PUSH_TOPIC_LEN + 1];
};

static void pump(struct handoffs *handoffs);

/* Ending. */

static struct store_user who_of(const struct handoff *handoff)
{
    return (struct store_user){.tenant = handoff->job.tenant, .user = handoff->job.user};
}

static void free_handoff(struct handoff *handoff)
{
    struct handoffs *handoffs = handoff->handoffs;
    store_request_finish(&handoff->look.base);
    push_job_finish(&handoff->job);
    builder_reset(&handoff->text);
    mem_free(handoff);
    handoffs->under_way--;
    pump(handoffs);
}

static void on_stepped(struct store_request *request)
{
    struct handoff *handoff = container_of(request, struct handoff, step.base);
    if (request->status == 0) {
        jobs_stepped(handoff->handoffs->shard, &handoff->step);
    }
    store_request_finish(request);
    free_handoff(handoff);
}

/* Say what became of the job. A store that does not take it gives it again when the lease ends. */
static void step(struct handoff *handoff, enum job_verb verb)
{
    struct shard *shard = handoff->handoffs->shard;
    handoff->step.base = (struct store_request){.op = STORE_JOB_STEP, .done = on_stepped};
    handoff->step.verb = verb;
    handoff->step.error = bytes_str(handoff->error);
    handoff->step.jitter = (uint32_t)rand_below(&shard->rand, JITTER);
    if (shard->store == NULL) {
        free_handoff(handoff);
        return;
    }
    store_submit(shard->store, &handoff->step.base);
}

/* It is over without a message; `count` says why. */
static void skip(struct handoff *handoff, uint64_t *count)
{
    (*count)++;
    step(handoff, JOB_COMPLETE);
}

/* Putting off. */

static void put_off(struct handoff *handoff, uint64_t wait_ms)
{
    struct shard *shard = handoff->handoffs->shard;
    handoff->handoffs->stats.put_off++;
    wait_ms += wait_ms * rand_below(&shard->rand, JITTER) / 1000;
    handoff->step.wait_ms = wait_ms < STORE_JOB_WAIT_MAX_MS ? wait_ms : STORE_JOB_WAIT_MAX_MS;
    step(handoff, JOB_RELEASE);
}

/* A provider that does not say for how long is left alone for as long as the job is old. */
static uint64_t pause_of(const struct handoff *handoff)
{
    uint64_t now = sched_wall(handoff->handoffs->shard->sched);
    uint64_t age = now > handoff->created_at ? now - handoff->created_at : 0;
    uint64_t wait = age < AWAY_LEAST_MS ? AWAY_LEAST_MS : age < AWAY_MOST_MS ? age : AWAY_MOST_MS;
    return handoff->call.wait_ms > wait ? handoff->call.wait_ms : wait;
}

static void on_failure_noted(struct store_request *request)
{
    struct handoff *handoff = container_of(request, struct handoff, note.base);
    store_request_finish(request);
    step(handoff, JOB_FAIL);
}

static void note(struct handoff *handoff, bool failed, store_done_fn done)
{
    struct shard *shard = handoff->handoffs->shard;
    if (shard->store == NULL) {
        free_handoff(handoff);
        return;
    }
    handoff->note = (struct store_push_note){.base = {.op = STORE_PUSH_NOTE, .done = done},
        .who = who_of(handoff),
        .rev = handoff->look.has_row ? handoff->look.item.new_rev : handoff->job.rev,
        .type = handoff->look.item.type,
        .failed = failed,
        .error = failed ? bytes_str(handoff->error) : bytes_of(NULL, 0)};
    memcpy(handoff->note.id, handoff->job.ids[0], NOTIFICATION_ID_LEN);
    memcpy(handoff->note.device_id, handoff->job.device, NOTIFICATION_ID_LEN);
    store_submit(shard->store, &handoff->note.base);
}

static void fail(struct handoff *handoff, bool final)
{
    handoff->step.final = final;
    handoff->handoffs->stats.failed++;
    if (handoff->clears) {
        step(handoff, JOB_FAIL);
    } else {
        note(handoff, true, on_failure_noted);
    }
}

/* Clearing. */

static void send_text(struct handoff *handoff, const char *topic, uint64_t ttl_s);

/* Where one is cleared that the provider still keeps, this takes its place: it is never shown. */
static void clear(struct handoff *handoff)
{
    handoff->clears = true;
    builder_reset(&handoff->text);
    push_text_clear((const uint8_t(*)[NOTIFICATION_ID_LEN])handoff->job.ids, handoff->job.count,
        handoff->look.position.unread, &handoff->text);
    push_text_topic(handoff->job.ids[0], handoff->topic);
    send_text(handoff, handoff->job.count == 1 ? handoff->topic : NULL, CLEAR_TTL_S);
}

/* What a provider said. */

static void on_noted(struct store_request *request)
{
    struct handoff *handoff = container_of(request, struct handoff, note.base);
    int status = request->status;
    bool closed = handoff->note.closed;
    uint64_t unread = handoff->note.unread;
    store_request_finish(request);
    if (status != 0) { /* it is sent again, with the same tag and topic, and noted then */
        snprintf(
            handoff->error, sizeof(handoff->error), "sent, not noted: %s", status_name(status));
        put_off(handoff, AGAIN_MS);
    } else if (closed) {
        handoff->look.position.unread = unread;
        clear(handoff);
    } else {
        step(handoff, JOB_COMPLETE);
    }
}

static void on_removed(struct store_request *request)
{
    struct handoff *handoff = container_of(request, struct handoff, gone.base);
    struct shard *shard = handoff->handoffs->shard;
    if (request->status == 0) {
        shard->stats.devices.removed += handoff->gone.count;
    }
    store_request_finish(request);
    step(handoff, JOB_COMPLETE);
}

/* The device is gone: so it goes here, unless it was registered with another address since. */
static void take_away(struct handoff *handoff)
{
    struct shard *shard = handoff->handoffs->shard;
    handoff->handoffs->stats.gone++;
    if (shard->store == NULL) {
        free_handoff(handoff);
        return;
    }
    handoff->gone = (struct store_devices){.base = {.op = STORE_DEVICE_REMOVE, .done = on_removed},
        .who = who_of(handoff),
        .has_address = true};
    memcpy(handoff->gone.id, handoff->job.device, NOTIFICATION_ID_LEN);
    memcpy(handoff->gone.address_hash, handoff->look.device.address_hash, STORE_HASH_LEN);
    store_submit(shard->store, &handoff->gone.base);
}

static void take_sent(struct handoff *handoff)
{
    if (handoff->clears) {
        skip(handoff, &handoff->handoffs->stats.cleared);
        return;
    }
    handoff->handoffs->stats.pushed++;
    note(handoff, false, on_noted);
}

static void take_outcome(struct handoff *handoff)
{
    const struct push_call *call = &handoff->call;
    snprintf(handoff->error, sizeof(handoff->error), "%s, status %u",
        push_outcome_name(call->outcome), call->status);
    switch (call->outcome) {
    case PUSH_SENT:
        handoff->error[0] = '\0';
        take_sent(handoff);
        return;
    case PUSH_GONE:
        take_away(handoff);
        return;
    case PUSH_CREDENTIAL:
        put_off(handoff, REFUSED_MS);
        return;
    case PUSH_LIMITED:
    case PUSH_AWAY:
        put_off(handoff, handoff->handoffs->closed ? 0 : pause_of(handoff));
        return;
    case PUSH_REFUSED:
        fail(handoff, false);
        return;
    case PUSH_UNCONFIGURED:
    case PUSH_TOO_LARGE:
    case PUSH_FORBIDDEN:
    case PUSH_OUTCOME_COUNT:
        break;
    }
    fail(handoff, true);
}

static void on_pushed(struct push_call *call)
{
    take_outcome(container_of(call, struct handoff, call));
}

static void send_text(struct handoff *handoff, const char *topic, uint64_t ttl_s)
{
    struct handoffs *handoffs = handoff->handoffs;
    struct notification_fault fault;
    struct device device;
    int status = builder_failed(&handoff->text)
                     ? STATUS_NOMEM
                     : device_parse(handoff->look.device.body, false, NULL, &device, &fault);
    if (status == 0) {
        bool low = !handoff->clears && handoff->look.item.priority == NOTIFICATION_LOW;
        handoff->call = (struct push_call){.device = &device,
            .plain = builder_bytes(&handoff->text),
            .topic = topic,
            .urgency = low ? "normal" : "high",
            .ttl_s = (uint32_t)ttl_s,
            .done = on_pushed};
        status = push_begin(handoffs->push, &handoff->call);
        device_finish(&device);
    }
    if (status == STATUS_INVALID) {
        take_outcome(handoff);
    } else if (status != 0) {
        put_off(handoff, handoffs->closed ? 0 : BUSY_MS);
    }
}

/* Judging. */

/* How long it may still be under way; 0: it has lapsed. */
static uint64_t rest_of(const struct handoff *handoff)
{
    const struct notification_item *item = &handoff->look.item;
    uint64_t now = handoff->look.now;
    uint64_t end = handoff->created_at + handoff->handoffs->settings->ttl_ms;
    end = item->expires_at > 0 && item->expires_at < end ? item->expires_at : end;
    return end > now ? end - now : 0;
}

/* A client has it. What has come back, or has other content, has its old number: nobody knows. */
static bool was_received(const struct store_push_look *look)
{
    const struct notification_item *item = &look->item;
    return item->seq <= look->received && item->count <= 1 && item->resurfaced_at == 0;
}

static bool is_in_front(const struct store_push_look *look)
{
    return look->device.foreground_at > 0 &&
           look->device.foreground_at + DEVICE_FOREGROUND_MS > look->now;
}

static void look(struct handoff *handoff);

/* What the user prefers. NULL: nothing keeps it back, or it is looked at again (`ret_waits`). */
static uint64_t *preferred(struct handoff *handoff, bool *ret_waits)
{
    struct handoffs *handoffs = handoff->handoffs;
    const struct actor_config *config = handoffs->shard->config;
    struct store_push_look *seen = &handoff->look;
    struct preferences *own = NULL;
    struct preferences_type type;
    if (seen->preferences.len > 0 &&
        preferences_load(seen->preferences, &config->zones, &own) != 0) {
        own = NULL; /* as for who is connected (actors/inbox/inbox_preferences.c) */
    }
    bool urgent = seen->item.priority == NOTIFICATION_URGENT;
    preferences_of_type(own, config->preferences, seen->item.type, &type);
    bool quiet = !urgent && preferences_are_quiet(own, config->preferences, seen->now);
    preferences_destroy(own);
    if (type.push == PREFERENCES_OFF) {
        return &handoffs->stats.unwanted;
    }
    if (quiet) {
        return &handoffs->stats.quiet;
    }
    *ret_waits = !urgent && type.limit_count > 0 && seen->recent_ms != type.limit_ms;
    if (*ret_waits) {
        seen->recent_ms = type.limit_ms;
        return NULL;
    }
    bool over = !urgent && type.limit_count > 0 && seen->recent >= type.limit_count;
    return over ? &handoffs->stats.capped : NULL;
}

/* It is to be shown, unless something keeps it back. */
static void judge_open(struct handoff *handoff)
{
    struct handoffs *handoffs = handoff->handoffs;
    const struct store_push_look *seen = &handoff->look;
    bool waits = false;
    uint64_t *why = seen->item.new_rev > handoff->job.rev ? &handoffs->stats.read
                    : was_received(seen)                  ? &handoffs->stats.received
                    : is_in_front(seen)                   ? &handoffs->stats.in_front
                                                          : preferred(handoff, &waits);
    if (why != NULL) {
        skip(handoff, why);
    } else if (waits) {
        look(handoff);
    } else {
        push_text_show(&seen->item, handoffs->settings->content, seen->position.unread,
            WEB_PUSH_PLAIN_MAX, &handoff->text);
        push_text_topic(handoff->job.ids[0], handoff->topic);
        send_text(handoff, handoff->topic, rest_of(handoff) / 1000);
    }
}

static void judge(struct handoff *handoff)
{
    struct handoffs *handoffs = handoff->handoffs;
    const struct store_push_look *seen = &handoff->look;
    bool open = seen->has_row && seen->item.state < NOTIFICATION_READ;
    if (!seen->has_device) {
        skip(handoff, &handoffs->stats.gone);
    } else if (handoff->job.clears) {
        clear(handoff);
    } else if (!open && handoff->sent_before) {
        clear(handoff);
    } else if (!open) {
        skip(handoff, &handoffs->stats.read);
    } else if (rest_of(handoff) == 0) {
        skip(handoff, &handoffs->stats.lapsed);
    } else {
        judge_open(handoff);
    }
}

static void on_looked(struct store_request *request)
{
    struct handoff *handoff = container_of(request, struct handoff, look.base);
    if (request->status != 0 || handoff->handoffs->closed) {
        put_off(handoff, handoff->handoffs->closed ? 0 : AGAIN_MS);
    } else {
        judge(handoff);
    }
}

static void look(struct handoff *handoff)
{
    struct shard *shard = handoff->handoffs->shard;
    struct store_push_look *seen = &handoff->look;
    if (shard->store == NULL) {
        free_handoff(handoff);
        return;
    }
    seen->base = (struct store_request){.op = STORE_PUSH_LOOK, .done = on_looked};
    seen->who = who_of(handoff);
    memcpy(seen->id, handoff->job.ids[0], NOTIFICATION_ID_LEN);
    memcpy(seen->device_id, handoff->job.device, NOTIFICATION_ID_LEN);
    store_submit(shard->store, &seen->base);
}

/* Beginning. */

/* NULL: no memory; the lease ends by itself. */
static struct handoff *make_handoff(
    struct handoffs *handoffs, const struct store_job *job, const uint8_t *lease)
{
    struct handoff *handoff = mem_try_calloc(1, sizeof(*handoff));
    if (handoff == NULL) {
        return NULL;
    }
    handoff->handoffs = handoffs;
    handoff->created_at = job->created_at;
    handoff->sent_before = job->attempt > 1 || job->error.len > 0;
    memcpy(handoff->step.id, job->id, sizeof(handoff->step.id));
    memcpy(handoff->step.lease, lease, sizeof(handoff->step.lease));
    handoffs->under_way++;
    return handoff;
}

static void begin(struct handoffs *handoffs, const struct store_job *job, const uint8_t *lease)
{
    struct handoff *handoff = make_handoff(handoffs, job, lease);
    int status = handoff != NULL ? push_job_read(job->payload, &handoff->job) : STATUS_NOMEM;
    if (handoff == NULL) {
        return;
    }
    if (status == STATUS_INVALID) {
        snprintf(handoff->error, sizeof(handoff->error), "the job cannot be read");
        handoff->clears = true;
        fail(handoff, true);
    } else if (status != 0 || handoffs->closed) {
        put_off(handoff, handoffs->closed ? 0 : AGAIN_MS);
    } else {
        look(handoff);
    }
}

/* Leasing. */

static bool is_wanted(const struct handoffs *handoffs)
{
    return handoffs->settings->key_count > 0;
}

static void arm(struct handoffs *handoffs, uint64_t wait_ms)
{
    struct sched *sched = handoffs->shard->sched;
    timer_set(sched_timers(sched), &handoffs->timer, sched_now(sched) + wait_ms);
}

static void on_timer(struct timer *timer)
{
    pump(container_of(timer, struct handoffs, timer));
}

static void on_leased(struct job_poll *poll, int status)
{
    struct handoffs *handoffs = container_of(poll, struct handoffs, poll);
    handoffs->leasing = false;
    for (size_t i = 0; status == 0 && i < poll->lease.count; i++) {
        begin(handoffs, &poll->lease.jobs[i], poll->lease.lease);
    }
    store_request_finish(&poll->lease.base);
    if (status == 0) {
        pump(handoffs);
    } else if (!handoffs->closed) {
        arm(handoffs, AGAIN_MS);
    }
}

/* Lease what there is room for. */
static void pump(struct handoffs *handoffs)
{
    struct shard *shard = handoffs->shard;
    const struct store_job_rule *rule = &handoffs->settings->rule;
    if (handoffs->closed || handoffs->leasing || !is_wanted(handoffs) ||
        handoffs->under_way >= rule->concurrency) {
        return;
    }
    uint64_t room = rule->concurrency - handoffs->under_way;
    if (shard->jobs == NULL || shard->store == NULL) {
        arm(handoffs, AGAIN_MS);
        return;
    }
    handoffs->poll = (struct job_poll){
        .done = on_leased,
        .until_ms = sched_now(shard->sched) + WAIT_MS,
        .most = UINT32_MAX,
        .lease = {.rules = &handoffs->rule,
            .rule_count = 1,
            .max = room < STORE_JOB_LEASE_MAX ? (uint32_t)room : STORE_JOB_LEASE_MAX,
            .worker = bytes_str(shard->config->node)},
    };
    handoffs->leasing = true;
    job_poll_begin(shard->jobs, &handoffs->poll);
}

static void stop_leasing(struct handoffs *handoffs)
{
    struct shard *shard = handoffs->shard;
    timer_cancel(sched_timers(shard->sched), &handoffs->timer);
    if (handoffs->leasing && shard->jobs != NULL && job_poll_cancel(shard->jobs, &handoffs->poll)) {
        handoffs->leasing = false;
    }
}

/* Life. */

/* One shard of a node leases, another one than that which arranges where there are two. */
static bool leases(const struct handoffs *handoffs)
{
    const struct sched *sched = handoffs->shard->sched;
    return sched_shard(sched) == actor_system_shards(sched_system(handoffs->shard->sched)) - 1;
}

void handoffs_set(struct handoffs *handoffs, const struct push_settings *settings)
{
    stop_leasing(handoffs); /* by the rule of before */
    handoffs->settings = settings;
    handoffs->rule = settings->rule;
    push_arranger_set(&handoffs->arranger, is_wanted(handoffs), settings->after_ms);
    if (leases(handoffs)) {
        arm(handoffs, 0);
    }
}

struct handoffs *handoffs_open(
    struct loop *loop, struct push *push, const struct push_settings *settings)
{
    struct handoffs *handoffs = mem_alloc(sizeof(*handoffs));
    handoffs->shard = loop_shard(loop);
    handoffs->push = push;
    timer_init(&handoffs->timer, on_timer);
    if (sched_shard(handoffs->shard->sched) == 0) {
        push_arranger_start(&handoffs->arranger, handoffs->shard);
    }
    handoffs_set(handoffs, settings);
    return handoffs;
}

void handoffs_close(struct handoffs *handoffs)
{
    if (!handoffs->closed) {
        handoffs->closed = true;
        stop_leasing(handoffs);
        push_arranger_stop(&handoffs->arranger);
    }
}

uint64_t handoffs_count_open(const struct handoffs *handoffs)
{
    return handoffs->under_way + handoffs->leasing + push_arranger_is_busy(&handoffs->arranger);
}

void handoffs_destroy(struct handoffs *handoffs)
{
    if (handoffs != NULL) {
        push_arranger_finish(&handoffs->arranger);
        mem_free(handoffs);
    }
}

const struct handoff_stats *handoffs_get_stats(struct handoffs *handoffs)
{
    struct handoff_stats *stats = &handoffs->stats;
    stats->arranged = handoffs->arranger.arranged;
    stats->arrange_failures = handoffs->arranger.failures;
    stats->arrange_late_ms = handoffs->arranger.late_ms;
    stats->under_way = handoffs->under_way;
    return stats;
}
