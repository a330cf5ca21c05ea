/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stores what is said, a batch at a time, and then has it told; drops what is over.
 *
 * Order of this file: what is kept, batches, calls, what is over, life.
 */
#include "actors/history/room_history.h"

#include "actors/core/timer.h"
#include "actors/deliver/broadcast.h"
#include "actors/shard.h"
#include "actors/wire_name.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/store.h"

enum {
    BATCH_BYTES = 1 << 20,
    WAITING_BYTES = 16 << 20, /* the most that waits on a shard */
    GIVE_UP_MS = 5000, /* behind the first try of a batch of which nobody knows */
    RETRY_MS = 200,
    SWEEP_MS = 10000,
    JITTER_MS = 1000
};

/* A message that is to be kept, or what waits for those before it. */
struct entry {
    struct list link; /* room_history.waiting, or of the batch */
    struct history_call *call;
    struct event *event; /* NULL: it is not kept */
    struct store_message message;
    char texts[]; /* room (wire name), user */
};

struct room_history {
    struct shard *shard;
    struct list waiting;
    /* the batch that the store has */
    bool busy;
    struct store_history_add add;
    struct store_message messages[STORE_HISTORY_ADD_MAX];
    struct list batch;
    bool unsure; /* an answer to it was lost */
    uint64_t give_up_ms;
    struct timer retry;
    /* of shard 0 */
    bool sweeping;
    struct store_history_sweep sweep;
    struct timer sweep_timer;
    bool closing;
    struct log_limit log;
};

/* What is kept. */

static uint64_t kept_ms(const struct shard *shard, struct bytes room)
{
    const struct actor_config *config = shard->config;
    struct room_memory_rules rules = {0};
    if (config->memory.history) {
        config->room_memory(config->context, wire_name_client(room), &rules);
    }
    return rules.history_ms;
}

bool room_history_keeps(const struct shard *shard, struct bytes room)
{
    return kept_ms(shard, room) > 0;
}

static bool is_to_be_kept(const struct broadcast *broadcast)
{
    return broadcast->event->form == EVENT_JSON &&
           !(broadcast->event->flags & (EVENT_VOLATILE | EVENT_BINARY)) &&
           !(broadcast->retain != NULL && broadcast->retain->removes);
}

bool room_history_takes(const struct broadcast *broadcast)
{
    return !is_to_be_kept(broadcast) || broadcast->event->args.len <= STORE_MESSAGE_MAX;
}

bool room_history_wants(const struct shard *shard, const struct broadcast *broadcast)
{
    for (uint32_t i = 0; shard->config->memory.history && i < broadcast->room_count; i++) {
        if (kept_ms(shard, broadcast_rooms(broadcast)[i]) > 0) {
            return true;
        }
    }
    return false;
}

struct bytes room_history_space(struct bytes room)
{
    size_t name = wire_name_client(room).len;
    return bytes_of(room.at, room.len > name ? room.len - name - 1 : 0);
}

/* Batches. */

static size_t cost_of(const struct entry *entry)
{
    size_t texts = entry->message.tenant.len + 1 + entry->message.room.len;
    return mem_cost(sizeof(*entry) + texts + entry->message.user.len) +
           (entry->event != NULL ? event_cost(entry->event) : 0);
}

static void end_entry(struct room_history *history, struct entry *entry, int status)
{
    struct history_stats *stats = &history->shard->stats.history;
    struct history_call *call = entry->call;
    stats->waiting--;
    stats->waiting_bytes -= cost_of(entry);
    stats->kept += status == 0 && entry->event != NULL;
    stats->refused += status != 0;
    event_unref(entry->event);
    mem_free(entry);
    call->status = status != 0 ? status : call->status;
    if (--call->left == 0) {
        call->done(call, call->status);
    }
}

/* Take what fits into a batch. */
static void fill_batch(struct room_history *history)
{
    size_t bytes = 0;
    size_t count = 0;
    while (!list_empty(&history->waiting) && count < STORE_HISTORY_ADD_MAX && bytes < BATCH_BYTES) {
        struct list *link = list_pop(&history->waiting);
        struct entry *entry = container_of(link, struct entry, link);
        list_append(&history->batch, link);
        if (entry->event != NULL) {
            history->messages[count++] = entry->message;
            bytes += entry->message.args.len;
        }
    }
    history->add = (struct store_history_add){.messages = history->messages, .count = count};
}

static void on_added(struct store_request *request);

/* Who waited is told; that adds more only behind what waits. */
static void end_batch(struct room_history *history, int status)
{
    struct list batch;
    unsigned suppressed;
    list_init(&batch);
    list_splice(&batch, &history->batch);
    if (status != 0 && log_allow(&history->log, &suppressed)) {
        log_warn("HISTORY-REFUSED", "the store did not take what is to be kept of rooms",
            "status=%s messages=%zu suppressed=%u", status_name(status), history->add.count,
            suppressed);
    }
    while (!list_empty(&batch)) {
        end_entry(history, container_of(list_pop(&batch), struct entry, link),
            status == 0 || status == STATUS_UNKNOWN ? status : STATUS_UNAVAILABLE);
    }
}

static void submit(struct room_history *history)
{
    history->add.base = (struct store_request){.op = STORE_HISTORY_ADD, .done = on_added};
    store_submit(history->shard->store, &history->add.base);
}

static void store_next(struct room_history *history)
{
    struct sched *sched = history->shard->sched;
    if (history->busy || list_empty(&history->waiting) || history->shard->store == NULL) {
        return;
    }
    fill_batch(history);
    if (history->add.count == 0) { /* there is nothing before them any more */
        end_batch(history, 0);
        return;
    }
    history->busy = true;
    history->unsure = false;
    history->give_up_ms = sched_now(sched) + GIVE_UP_MS;
    submit(history);
}

/*
 * Of a batch whose answer was lost nobody knows whether it is kept. It is sent again, which changes
 * nothing where it is, until it is answered for sure or for too long.
 */
static void on_added(struct store_request *request)
{
    struct room_history *history = container_of(request, struct room_history, add.base);
    struct sched *sched = history->shard->sched;
    int status = request->status;
    store_request_finish(request);
    history->unsure = history->unsure || status == STATUS_UNKNOWN;
    if (status != 0 && history->unsure) {
        status = STATUS_UNKNOWN;
        if (!history->closing && sched_now(sched) < history->give_up_ms) {
            timer_set(sched_timers(sched), &history->retry, sched_now(sched) + RETRY_MS);
            return;
        }
    }
    history->busy = false;
    end_batch(history, status);
    store_next(history);
}

static void on_retry(struct timer *timer)
{
    submit(container_of(timer, struct room_history, retry));
}

/* Calls. */

void history_call_begin(
    struct history_call *call, void (*done)(struct history_call *call, int status))
{
    *call = (struct history_call){.done = done, .left = 1};
}

/* What waits for those before it. NULL: no memory. */
static struct entry *make_follower(void)
{
    return mem_try_calloc(1, sizeof(struct entry));
}

/* NULL: no memory. */
static struct entry *make_entry(const struct room_history *history,
    const struct broadcast *broadcast, struct bytes room, struct bytes user, const uint8_t *id)
{
    uint64_t now = sched_wall(history->shard->sched);
    struct entry *entry = mem_try_alloc(sizeof(*entry) + room.len + user.len);
    if (entry == NULL) {
        return NULL;
    }
    memcpy(entry->texts, room.at, room.len);
    memcpy(entry->texts + room.len, user.at != NULL ? user.at : "", user.len);
    struct bytes copy = bytes_of(entry->texts, room.len);
    entry->event = event_ref(broadcast->event);
    entry->message = (struct store_message){
        .tenant = room_history_space(copy),
        .room = wire_name_client(copy),
        .user = bytes_of(entry->texts + room.len, user.len),
        .event = entry->event->name,
        .args = entry->event->args,
        .at = now,
        .expires_at = now + kept_ms(history->shard, room),
    };
    if (id != NULL) {
        memcpy(entry->message.id, id, sizeof(entry->message.id));
    } else {
        uuid7_make(now, slot_of(entry->message.tenant, entry->message.room), entry->message.id);
    }
    return entry;
}

static bool has_room(const struct room_history *history)
{
    return history->shard->stats.history.waiting_bytes < WAITING_BYTES;
}

/* `entry` may be NULL: there was no room for it. */
static void add_entry(struct room_history *history, struct history_call *call, struct entry *entry)
{
    struct history_stats *stats = &history->shard->stats.history;
    if (entry == NULL) {
        stats->refused++;
        call->status = STATUS_UNAVAILABLE;
        return;
    }
    entry->call = call;
    call->left++;
    stats->waiting++;
    stats->waiting_bytes += cost_of(entry);
    list_init(&entry->link);
    list_append(&history->waiting, &entry->link);
}

/* NULL: nothing is kept any more, and `call` is refused. */
static struct room_history *open_of(const struct shard *shard, struct history_call *call)
{
    struct room_history *history = shard->history;
    if (history == NULL || history->closing || shard->store == NULL) {
        call->status = STATUS_UNAVAILABLE;
        return NULL;
    }
    return history;
}

void history_call_follow(struct history_call *call, struct shard *shard)
{
    struct room_history *history = open_of(shard, call);
    if (history != NULL && (history->busy || !list_empty(&history->waiting))) {
        add_entry(history, call, has_room(history) ? make_follower() : NULL);
    }
}

void history_call_add(struct history_call *call, struct shard *shard,
    const struct broadcast *broadcast, struct bytes user, const uint8_t *id)
{
    struct room_history *history = open_of(shard, call);
    if (history == NULL) {
        return;
    }
    if (!is_to_be_kept(broadcast)) {
        history_call_follow(call, shard);
        return;
    }
    bool takes = room_history_takes(broadcast);
    for (uint32_t i = 0; i < broadcast->room_count; i++) {
        struct bytes room = broadcast_rooms(broadcast)[i];
        if (kept_ms(shard, room) > 0) {
            add_entry(history, call,
                takes && has_room(history)
                    ? make_entry(history, broadcast, room, user, i == 0 ? id : NULL)
                    : NULL);
        }
    }
    store_next(history);
}

int history_call_end(struct history_call *call)
{
    return --call->left > 0 ? STATUS_AGAIN : call->status;
}

/* What is over. */

static void arm_sweep(struct room_history *history)
{
    struct sched *sched = history->shard->sched;
    uint64_t wait_ms = SWEEP_MS + rand_below(&history->shard->rand, JITTER_MS);
    timer_set(sched_timers(sched), &history->sweep_timer, sched_now(sched) + wait_ms);
}

static void sweep(struct room_history *history);

/* A store that is away is told of by who watches it. */
static void tell_refused(struct room_history *history, int status)
{
    unsigned suppressed;
    if (status != 0 && status != STATUS_UNAVAILABLE && status != STATUS_UNKNOWN &&
        log_allow(&history->log, &suppressed)) {
        log_warn("HISTORY-SWEEP", "the store does not drop what is over of what was said in rooms",
            "status=%s suppressed=%u", status_name(status), suppressed);
    }
}

static void on_swept(struct store_request *request)
{
    struct room_history *history = container_of(request, struct room_history, sweep.base);
    bool more = request->status == 0 && history->sweep.more;
    history->shard->stats.history.dropped += request->status == 0 ? history->sweep.dropped : 0;
    history->sweeping = false;
    tell_refused(history, request->status);
    store_request_finish(request);
    if (!history->closing && more) {
        sweep(history);
    } else if (!history->closing) {
        arm_sweep(history);
    }
}

/* Also where no type keeps anything any more: what was kept ends. */
static void sweep(struct room_history *history)
{
    if (history->shard->store == NULL) {
        return;
    }
    history->sweeping = true;
    history->sweep = (struct store_history_sweep){
        .base = {.op = STORE_HISTORY_SWEEP, .done = on_swept}, .limit = STORE_HISTORY_SWEEP_MAX};
    store_submit(history->shard->store, &history->sweep.base);
}

static void on_sweep_timer(struct timer *timer)
{
    sweep(container_of(timer, struct room_history, sweep_timer));
}

/* Life. */

struct room_history *room_history_create(struct shard *shard)
{
    struct room_history *history = mem_alloc(sizeof(*history));
    history->shard = shard;
    list_init(&history->waiting);
    list_init(&history->batch);
    timer_init(&history->retry, on_retry);
    timer_init(&history->sweep_timer, on_sweep_timer);
    if (sched_shard(shard->sched) == 0) {
        arm_sweep(history);
    }
    return history;
}

void room_history_close(struct room_history *history)
{
    struct timer_wheel *timers = sched_timers(history->shard->sched);
    bool waits = timer_armed(&history->retry);
    history->closing = true;
    timer_cancel(timers, &history->retry);
    timer_cancel(timers, &history->sweep_timer);
    while (!list_empty(&history->waiting)) {
        end_entry(history, container_of(list_pop(&history->waiting), struct entry, link),
            STATUS_UNAVAILABLE);
    }
    if (waits) { /* to be sent again */
        history->busy = false;
        end_batch(history, STATUS_UNKNOWN);
    }
}

uint64_t room_history_pending(const struct room_history *history)
{
    return (history->busy ? 1 : 0) + (history->sweeping ? 1 : 0);
}

void room_history_destroy(struct room_history *history)
{
    if (history != NULL) {
        CHECK(list_empty(&history->waiting) && list_empty(&history->batch));
        mem_free(history);
    }
}
