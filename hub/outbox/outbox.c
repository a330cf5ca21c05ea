/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a page, has its posts stored in order, removes the page, publishes its events, and reads
 * on; where nothing is left it arms a wake-up and rests.
 *
 * Order of this file: what operators are told; a page; storing; removing; looking; the database;
 * the lease; life.
 */
#include "hub/outbox/outbox.h"

#include <stdio.h>

#include "actors/bus.h"
#include "actors/deliver/broadcast.h"
#include "actors/inbox/post.h"
#include "actors/lease.h"
#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "sql/pg_outbox.h"
#include "sql/store.h"

enum {
    LEASE_MS = 3000,
    RENEW_MS = 500,
    CLAIM_MS = 250,
    RETRY_MS = 250,
    QUIET_FIRST_MS = 20, /* until the next look, when the last one found nothing; then four times as
                            long each time, up to */
    QUIET_MS = 1000, /* where transactions wake us, */
    QUIET_BLIND_MS = 100, /* where they do not */
    MISSED_MAX = 3, /* looks in a row that found what nobody woke us for */
};

/* A row of the page. */
struct item {
    struct notification_post post; /* if `parsed` */
    bool parsed;
    struct broadcast *event; /* made, and not sent yet; NULL */
};

struct outbox {
    struct outbox_options options;
    struct bus_link *link; /* NULL: without a bus it is always ours */
    struct lease lease;
    struct pg_outbox *db; /* NULL: it is not ours */
    struct timer timer;
    struct pg_outbox_page *page; /* what is being taken; NULL */
    struct item *items; /* of its rows */
    struct store_row *rows; /* of a run of these */
    struct pg_outbox_fault *faults;
    size_t fault_count;
    size_t at; /* the first item that is not dealt with yet */
    size_t to; /* behind the last one of the run */
    size_t run_max; /* rows of a run: fewer after one was refused */
    struct store_put put;
    uint64_t page_ms; /* when the page was read */
    uint64_t quiet_ms;
    unsigned missed;
    bool putting;
    bool removing;
    bool again; /* the answer to a removal was lost: what is gone now was removed by us */
    bool armed; /* the look that comes next is behind an arming, */
    bool disarmed; /* which found that somebody had woken us, and we have not heard */
    bool resting;
    bool releasing;
    bool open; /* the database has not told that it is closed */
    bool closing;
    bool late;
    struct log_limit dead_limit;
};

static void go_on(struct outbox *outbox);
static void look(struct outbox *outbox);

static uint64_t now_of(const struct outbox *outbox)
{
    return sched_now(outbox->options.shard->sched);
}

static void arm_timer(struct outbox *outbox, uint64_t delay_ms)
{
    if (!outbox->closing && outbox->db != NULL) {
        timer_set(
            sched_timers(outbox->options.shard->sched), &outbox->timer, now_of(outbox) + delay_ms);
    }
}

/* --- what operators are told --- */

static void set_gauge(_Atomic(uint64_t) *gauge, uint64_t value)
{
    atomic_store_explicit(gauge, value, memory_order_relaxed);
}

static uint64_t get_gauge(const _Atomic(uint64_t) *gauge)
{
    return atomic_load_explicit(gauge, memory_order_relaxed);
}

static void add_gauge(_Atomic(uint64_t) *gauge, uint64_t value)
{
    set_gauge(gauge, get_gauge(gauge) + value);
}

bool outbox_is_late(const struct outbox_gauge *gauge, uint64_t now_ms)
{
    uint64_t down_ms = get_gauge(&gauge->down_ms);
    return get_gauge(&gauge->lag_ms) >= OUTBOX_LATE_MS ||
           (down_ms > 0 && now_ms >= down_ms + OUTBOX_LATE_MS);
}

static void judge(struct outbox *outbox)
{
    const struct pg_outbox_page *page = outbox->page;
    uint64_t lag = page != NULL ? page->waited_ms + now_of(outbox) - outbox->page_ms : 0;
    set_gauge(&outbox->options.gauge->lag_ms, lag);
    set_gauge(&outbox->options.gauge->waiting, page != NULL ? page->waiting : 0);
    if (lag >= OUTBOX_LATE_MS && !outbox->late) {
        log_warn("OUTBOX-LATE", "what applications have committed is not taken in time",
            "outbox=%s late_ms=%llu", outbox->options.name, (unsigned long long)lag);
    } else if (lag < OUTBOX_LATE_MS && outbox->late) {
        log_info("OUTBOX-IN-TIME", "what applications have committed is taken in time again",
            "outbox=%s", outbox->options.name);
    }
    outbox->late = lag >= OUTBOX_LATE_MS;
}

static void tell_dead(struct outbox *outbox)
{
    for (size_t i = 0; i < outbox->fault_count; i++) {
        const struct pg_outbox_fault *fault = &outbox->faults[i];
        unsigned suppressed;
        if (log_allow(&outbox->dead_limit, &suppressed)) {
            log_warn("OUTBOX-DEAD",
                "what was posted could not be stored; it is in peal.outbox_dead",
                "outbox=%s id=%llu field=%s reason=%s suppressed=%u", outbox->options.name,
                (unsigned long long)outbox->page->rows[fault->row].id,
                log_quote(bytes_str(fault->field)), log_quote(bytes_str(fault->reason)),
                suppressed);
        }
    }
    add_gauge(&outbox->options.gauge->dead, outbox->fault_count);
    outbox->options.shard->stats.dead += outbox->fault_count;
}

/* --- a page --- */

static void drop_page(struct outbox *outbox)
{
    for (size_t i = 0; outbox->items != NULL && i < outbox->page->count; i++) {
        struct item *item = &outbox->items[i];
        if (item->parsed) {
            notification_post_finish(&item->post);
        }
        if (item->event != NULL) {
            broadcast_unref(item->event);
        }
    }
    pg_outbox_page_destroy(outbox->page);
    mem_free(outbox->items);
    mem_free(outbox->rows);
    mem_free(outbox->faults);
    outbox->page = NULL;
    outbox->items = NULL;
    outbox->rows = NULL;
    outbox->faults = NULL;
    outbox->fault_count = 0;
    outbox->at = outbox->to = 0;
    outbox->removing = outbox->again = false;
}

static void add_fault(struct outbox *outbox, size_t row, const char *field, const char *reason)
{
    struct pg_outbox_fault *fault = &outbox->faults[outbox->fault_count++];
    fault->row = row;
    fault->reason = reason;
    (void)snprintf(fault->field, sizeof(fault->field), "%s", field);
}

static const char *reason_of(int status, const struct notification_fault *fault)
{
    if (fault->message != NULL) {
        return fault->message;
    }
    return status == STATUS_TOO_LARGE ? "It is too large"
           : status == STATUS_UTF8    ? "It is no UTF-8"
                                      : "It is not allowed";
}

static bool has_field(const struct pg_outbox_row *row, struct bytes name)
{
    bool has = false;
    for (size_t i = 0; i < row->field_count && !has; i++) {
        has = bytes_eq(row->fields[i].name, name) && row->fields[i].value.len > 0;
    }
    return has;
}

/* An event without a name would be taken for a notification. */
static int parse(struct outbox *outbox, const struct pg_outbox_row *row, struct item *item,
    struct notification_fault *fault)
{
    struct shard *shard = outbox->options.shard;
    struct notification_limits limits = shard->config->posts;
    limits.now_ms = sched_wall(shard->sched);
    limits.posted_ms = row->committed_ms < limits.now_ms ? row->committed_ms : limits.now_ms;
    limits.deliver_after_ms = limits.posted_ms;
    if (row->is_event && !has_field(row, BYTES("event"))) {
        *fault = (struct notification_fault){.field = "event", .message = "It has no name"};
        return STATUS_INVALID;
    }
    int status =
        notification_from_fields(row->fields, row->field_count, &limits, &item->post, fault);
    item->parsed = status == 0;
    status = status == 0 ? post_event_check(shard, &item->post, fault) : status;
    if (status != 0 || !row->is_event) {
        return status;
    }
    status = post_event_make(shard, &item->post, &item->event);
    if (status != 0 && status != STATUS_NOMEM) {
        *fault = (struct notification_fault){.field = "args"};
    }
    return status;
}

/* False: no memory, it is read again. */
static bool parse_page(struct outbox *outbox)
{
    const struct pg_outbox_page *page = outbox->page;
    outbox->items = mem_try_calloc(page->count + 1, sizeof(*outbox->items));
    outbox->rows = mem_try_calloc(page->count + 1, sizeof(*outbox->rows));
    outbox->faults = mem_try_calloc(page->count + 1, sizeof(*outbox->faults));
    if (outbox->items == NULL || outbox->rows == NULL || outbox->faults == NULL) {
        return false;
    }
    for (size_t i = 0; i < page->count; i++) {
        struct notification_fault fault = {0};
        int status =
            page->rows[i].id != 0 ? parse(outbox, &page->rows[i], &outbox->items[i], &fault) : 0;
        if (status == STATUS_NOMEM) {
            return false;
        }
        if (status != 0) {
            add_fault(outbox, i, fault.field, reason_of(status, &fault));
        }
    }
    return true;
}

/* --- storing --- */

/* Whether the row is to be stored, now or later. */
static bool is_post(const struct outbox *outbox, size_t i, bool later)
{
    const struct item *item = &outbox->items[i];
    bool post = item->parsed && !outbox->page->rows[i].is_event;
    for (size_t fault = 0; post && fault < outbox->fault_count; fault++) {
        post = outbox->faults[fault].row != i;
    }
    return post && (item->post.deliver_at > 0) == later;
}

/*
 * Fill in the rows of the run that begins at `at`: neighbours that are all for now, or all for
 * later. Returns how many; sets `to`. Negative without memory.
 */
static int fill_run(struct outbox *outbox)
{
    const struct pg_outbox_page *page = outbox->page;
    bool later = outbox->items[outbox->at].post.deliver_at > 0;
    size_t count = 0;
    outbox->to = outbox->at;
    while (
        outbox->to < page->count && count < outbox->run_max && is_post(outbox, outbox->to, later)) {
        char key[128];
        const struct pg_outbox_row *row = &page->rows[outbox->to];
        (void)snprintf(key, sizeof(key), "outbox:%s@%.*s-%llu", outbox->options.name,
            (int)row->xid.len, row->xid.at, (unsigned long long)row->id);
        outbox->rows[count] = (struct store_row){.seq = 0};
        int status = post_rows(outbox->options.shard, &outbox->items[outbox->to++].post,
            bytes_str(key), &outbox->rows[count++]);
        if (status != 0) {
            return status;
        }
    }
    return (int)count;
}

static void on_put(struct store_request *request);

static void store_next(struct outbox *outbox)
{
    const struct pg_outbox_page *page = outbox->page;
    while (outbox->at < page->count && !is_post(outbox, outbox->at, false) &&
           !is_post(outbox, outbox->at, true)) {
        outbox->at++;
    }
    if (outbox->at == page->count) {
        go_on(outbox);
        return;
    }
    int count = fill_run(outbox);
    if (count < 0) {
        arm_timer(outbox, RETRY_MS);
        return;
    }
    outbox->putting = true;
    outbox->put = (struct store_put){
        .base = {.op = STORE_PUT, .done = on_put}, .rows = outbox->rows, .count = (size_t)count};
    store_submit(outbox->options.shard->store, &outbox->put.base);
}

static void take_stored(struct outbox *outbox)
{
    for (size_t i = 0; i < outbox->put.count; i++) {
        if (outbox->rows[i].outcome == OUTCOME_CONFLICT) {
            add_fault(outbox, outbox->at + i, "key", "Another post of this user has this key");
        }
    }
    post_announce(outbox->options.shard, outbox->rows, outbox->put.count);
    add_gauge(&outbox->options.gauge->posts, outbox->put.count);
    outbox->at = outbox->to;
    outbox->run_max =
        outbox->run_max < PG_OUTBOX_ROWS_MAX / 2 ? 2 * outbox->run_max : PG_OUTBOX_ROWS_MAX;
}

/* By halves down to the one that is refused. */
static void take_refusal(struct outbox *outbox, int status)
{
    size_t count = outbox->put.count;
    if (status == STATUS_INVALID && count == 1) {
        add_fault(outbox, outbox->at++, "", "The store refuses it");
    } else if (status == STATUS_INVALID || status == STATUS_TIMEOUT) {
        outbox->run_max = count > 1 ? count / 2 : 1;
    }
}

static void on_put(struct store_request *request)
{
    struct outbox *outbox = container_of(request, struct outbox, put.base);
    int status = request->status;
    outbox->putting = false;
    if (status == 0) {
        take_stored(outbox);
    } else {
        take_refusal(outbox, status);
    }
    store_request_finish(request);
    if (outbox->closing || outbox->db == NULL) {
        drop_page(outbox);
        return;
    }
    judge(outbox);
    if (status == 0 || status == STATUS_INVALID) {
        store_next(outbox);
    } else {
        arm_timer(outbox, RETRY_MS); /* nobody knows whether it was stored: keys tell */
    }
}

/* --- removing --- */

static bool contains(const uint64_t *ids, size_t count, uint64_t id)
{
    bool found = false;
    for (size_t i = 0; i < count && !found; i++) {
        found = ids[i] == id;
    }
    return found;
}

static void publish(struct outbox *outbox, const uint64_t *ids, size_t count)
{
    for (size_t i = 0; i < outbox->page->count; i++) {
        struct item *item = &outbox->items[i];
        if (item->event != NULL &&
            (outbox->again || contains(ids, count, outbox->page->rows[i].id))) {
            post_event_send(outbox->options.shard, item->event);
            item->event = NULL;
            add_gauge(&outbox->options.gauge->events, 1);
        }
    }
}

static void on_removed(void *context, const uint64_t *events, size_t count)
{
    struct outbox *outbox = context;
    publish(outbox, events, count);
    tell_dead(outbox);
    drop_page(outbox);
    look(outbox);
}

/* All of the page is dealt with: it goes as soon as the database can be asked. */
static void go_on(struct outbox *outbox)
{
    bool dealt = outbox->at == outbox->page->count;
    if (!outbox->putting && !dealt) {
        store_next(outbox);
    } else if (dealt && pg_outbox_is_idle(outbox->db)) {
        outbox->removing = true;
        pg_outbox_remove(outbox->db, outbox->page, outbox->faults, outbox->fault_count);
    }
}

/* --- looking --- */

static void rest(struct outbox *outbox)
{
    bool blind = !outbox->options.wakes || outbox->missed >= MISSED_MAX;
    uint64_t most = blind ? QUIET_BLIND_MS : QUIET_MS;
    outbox->resting = true;
    arm_timer(outbox, outbox->quiet_ms < most ? outbox->quiet_ms : most);
    outbox->quiet_ms = outbox->quiet_ms < most ? 4 * outbox->quiet_ms : most;
}

static void look(struct outbox *outbox)
{
    outbox->resting = false;
    timer_cancel(sched_timers(outbox->options.shard->sched), &outbox->timer);
    if (!outbox->closing && outbox->page == NULL && pg_outbox_is_idle(outbox->db)) {
        add_gauge(&outbox->options.gauge->looks, 1);
        pg_outbox_read(outbox->db, PG_OUTBOX_ROWS_MAX);
    }
}

/* What commits from now on wakes us; what had committed is looked for once more. */
static void arm(struct outbox *outbox)
{
    if (pg_outbox_is_idle(outbox->db)) {
        outbox->armed = true;
        pg_outbox_arm(outbox->db);
    }
}

static void on_armed(void *context, bool still)
{
    struct outbox *outbox = context;
    outbox->disarmed = outbox->resting && !still;
    look(outbox);
}

static void on_timer(struct timer *timer)
{
    struct outbox *outbox = container_of(timer, struct outbox, timer);
    if (outbox->db == NULL) {
        return;
    }
    if (outbox->page != NULL) {
        judge(outbox);
        go_on(outbox);
    } else if (outbox->options.wakes) {
        arm(outbox);
    } else {
        outbox->armed = true;
        look(outbox);
    }
}

static void on_page(void *context, struct pg_outbox_page *page)
{
    struct outbox *outbox = context;
    bool armed = outbox->armed;
    outbox->armed = false;
    outbox->page = page;
    outbox->page_ms = now_of(outbox);
    if (page != NULL && page->count > 0 && parse_page(outbox)) {
        outbox->missed += outbox->disarmed && outbox->missed < MISSED_MAX;
        outbox->disarmed = false;
        outbox->quiet_ms = QUIET_FIRST_MS;
        judge(outbox);
        store_next(outbox);
        return;
    }
    bool empty = page != NULL && page->count == 0;
    drop_page(outbox);
    judge(outbox);
    if (!empty) {
        arm_timer(outbox, RETRY_MS); /* no memory */
    } else if (armed || !outbox->options.wakes) {
        rest(outbox);
    } else {
        arm(outbox);
    }
}

static void on_woken(void *context)
{
    struct outbox *outbox = context;
    outbox->missed = 0;
    outbox->quiet_ms = QUIET_FIRST_MS;
    if (outbox->resting) {
        look(outbox);
    }
}

/* --- the database --- */

static void on_up(void *context)
{
    struct outbox *outbox = context;
    struct outbox_gauge *gauge = outbox->options.gauge;
    if (get_gauge(&gauge->down_ms) != 0) {
        log_info("OUTBOX-BACK", "the database of an outbox answers again",
            "outbox=%s after_ms=%llu", outbox->options.name,
            (unsigned long long)(now_of(outbox) - get_gauge(&gauge->down_ms)));
    }
    set_gauge(&gauge->down, 0);
    set_gauge(&gauge->down_ms, 0);
    outbox->quiet_ms = QUIET_FIRST_MS;
    if (outbox->page != NULL) {
        go_on(outbox);
    } else {
        look(outbox);
    }
}

static void on_down(void *context, const char *text)
{
    struct outbox *outbox = context;
    struct outbox_gauge *gauge = outbox->options.gauge;
    outbox->again |= outbox->removing;
    outbox->removing = outbox->armed = outbox->disarmed = outbox->resting = false;
    if (get_gauge(&gauge->down_ms) == 0) {
        set_gauge(&gauge->down, 1);
        set_gauge(&gauge->down_ms, now_of(outbox));
        log_warn("OUTBOX-AWAY", "the database of an outbox does not answer, trying again",
            "outbox=%s reason=%s", outbox->options.name, log_quote(bytes_str(text)));
    }
}

static void on_closed(void *context)
{
    ((struct outbox *)context)->open = false;
}

static const struct pg_outbox_events db_events = {
    .on_up = on_up,
    .on_down = on_down,
    .on_woken = on_woken,
    .on_page = on_page,
    .on_armed = on_armed,
    .on_removed = on_removed,
    .on_closed = on_closed,
};

static void open_db(struct outbox *outbox)
{
    const struct outbox_options *options = &outbox->options;
    if (outbox->open || outbox->closing || outbox->putting) {
        return; /* of the term before; asked again when the lease is renewed */
    }
    log_info("OUTBOX-OWNER", "took over an outbox", "outbox=%s", options->name);
    set_gauge(&options->gauge->owner, 1);
    outbox->open = true;
    outbox->run_max = PG_OUTBOX_ROWS_MAX;
    outbox->missed = 0;
    outbox->db = pg_outbox_open(options->loop, options->url, options->wakes, &db_events, outbox);
}

static void close_db(struct outbox *outbox)
{
    struct outbox_gauge *gauge = outbox->options.gauge;
    if (outbox->db == NULL) {
        return;
    }
    timer_cancel(sched_timers(outbox->options.shard->sched), &outbox->timer);
    pg_outbox_close(outbox->db);
    outbox->db = NULL;
    outbox->armed = outbox->disarmed = outbox->resting = false;
    if (outbox->page != NULL && !outbox->putting) {
        drop_page(outbox);
    }
    set_gauge(&gauge->owner, 0);
    set_gauge(&gauge->down, 0);
    set_gauge(&gauge->down_ms, 0);
    set_gauge(&gauge->lag_ms, 0);
    set_gauge(&gauge->waiting, 0);
    outbox->late = false;
}

/* --- the lease --- */

/* Not where nothing could be stored, or what is of one store would be missing in another. */
static bool may_claim(void *context)
{
    const struct outbox *outbox = context;
    const struct shard *shard = outbox->options.shard;
    return !outbox->closing && !shard_has_strangers(shard) && store_is_writable(shard->store_root);
}

static void on_held(void *context)
{
    open_db(context);
}

static void on_renewed(void *context)
{
    struct outbox *outbox = context;
    if (!store_is_writable(outbox->options.shard->store_root)) {
        close_db(outbox);
        lease_release(&outbox->lease, NULL, NULL);
    } else if (outbox->db == NULL) {
        open_db(outbox);
    }
}

static void on_lost(void *context, enum lease_end why)
{
    struct outbox *outbox = context;
    log_info("OUTBOX-LOST", "gave up an outbox", "outbox=%s why=%s", outbox->options.name,
        lease_end_text(why));
    close_db(outbox);
}

static const struct lease_events lease_events = {
    .may_claim = may_claim, .on_held = on_held, .on_renewed = on_renewed, .on_lost = on_lost};

/* --- life --- */

static const struct bus_events no_events = {.on_up = NULL};

/* Without Redis nobody can take the lease, so it does not run out then. */
static void start_lease(struct outbox *outbox)
{
    struct shard *shard = outbox->options.shard;
    char key[BUS_NAME_MAX];
    bus_name_outbox(&shard->config->names, outbox->options.name, key);
    outbox->link = shard->bus->ops->open(shard->bus, "outbox", &no_events, outbox);
    const struct lease_config config = {.key = key,
        .holder = outbox->options.node,
        .ttl_ms = LEASE_MS,
        .renew_ms = RENEW_MS,
        .claim_ms = CLAIM_MS,
        .lasting = true};
    lease_start(&outbox->lease, shard, outbox->link, &config, &lease_events, outbox);
}

struct outbox *outbox_start(const struct outbox_options *options)
{
    struct outbox *outbox = mem_alloc(sizeof(*outbox));
    outbox->options = *options;
    timer_init(&outbox->timer, on_timer);
    if (options->shard->bus != NULL) {
        start_lease(outbox);
    } else {
        open_db(outbox);
    }
    return outbox;
}

static void close_link(struct outbox *outbox)
{
    outbox->options.shard->bus->ops->close(outbox->link);
    outbox->link = NULL;
}

static void on_released(void *context, int status, const struct bus_reply *reply)
{
    struct outbox *outbox = context;
    (void)status;
    (void)reply;
    outbox->releasing = false;
    close_link(outbox);
}

void outbox_stop(struct outbox *outbox)
{
    if (outbox->closing) {
        return;
    }
    outbox->closing = true;
    close_db(outbox);
    if (outbox->link != NULL) {
        lease_stop(&outbox->lease);
        outbox->releasing = lease_is_held(&outbox->lease);
    }
    if (outbox->releasing) {
        lease_release(&outbox->lease, on_released, outbox);
    } else if (outbox->link != NULL) {
        close_link(outbox);
    }
}

uint64_t outbox_count_open(const struct outbox *outbox)
{
    return (uint64_t)!outbox->closing + outbox->open + outbox->putting + outbox->releasing;
}

void outbox_destroy(struct outbox *outbox)
{
    mem_free(outbox);
}
