/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of one stream: it holds the lease, reads, has the store commit, and announces.
 *
 * Order of this file: life, the lease, becoming owner, reading, storing, what posters are told,
 * the end.
 *
 * States: STANDBY (another node owns the partition, or nobody yet), CLAIMING (the lease is ours,
 * the store is being told), OWNER. Fencing does not rest on the lease: a batch of an owner that was
 * overtaken is refused by the store, whatever this node believes.
 */
#include <stdio.h>

#include "actors/behaviours.h"
#include "actors/bus.h"
#include "actors/inbox/positions.h"
#include "actors/inbox/post.h"
#include "actors/ingest/ingest_batch.h"
#include "actors/ingest/ingest_gauges.h"
#include "actors/ingest/ingest_history.h"
#include "actors/ingest/ingest_look.h"
#include "actors/ingest/ingest_proto.h"
#include "actors/ingest/ingest_route.h"
#include "actors/ingest/ingest_streams.h"
#include "actors/lease.h"
#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/stream_id.h"

enum {
    STANDBY_MS = 250,
    RENEW_MS = 400,
    RETRY_MS = 300,
    BLOCK_MS = 1000,
    COMMAND_MS = 5000,
    LOOK_EVERY = 5, /* renewals between two looks at what waits */
};

struct ingest_claim {
    struct store_claim request;
    struct shard *shard;
    struct actor_ref owner;
};

enum ingest_state { STANDBY, CLAIMING, OWNER };

struct ingest {
    struct actor actor;
    struct buf *key;
    uint32_t number; /* of the stream (ingest_proto.h) */
    uint8_t state; /* enum ingest_state */
    bool reading;
    bool busy; /* `storing` is being routed or committed */
    uint64_t sessions; /* of the store, when it was claimed last */
    bool rewound; /* `storing` was read before the stream was begun again */
    bool claiming; /* the store has not answered to a claim yet */
    bool leaving; /* the node ends: what is being committed is the last */
    bool left; /* so it does */
    bool closing;
    struct ingest_gauge *gauge;
    struct ingest_look look;
    struct ingest_history history;
    struct bus_link *link; /* lease, dead letters, replies */
    struct bus_link *reader; /* blocking reads */
    struct lease lease;
    struct timer retry_timer;
    uint64_t token;
    char last_id[INGEST_ID_MAX]; /* committed */
    char read_id[INGEST_ID_MAX]; /* read so far */
    char asked_id[INGEST_ID_MAX]; /* what the read under way began from */
    struct ingest_batch *storing;
    struct ingest_batch *waiting; /* read while `storing` is being committed */
    uint64_t submitted_ms; /* when `storing` was, last */
    char stream[BUS_NAME_MAX];
};

static void free_ingest(struct actor *actor);
static struct actor *spawn_ingest(struct sched *sched, struct bytes key);
static struct bytes key_of_ingest(const void *ingest);

static void drop_claim(struct ingest_claim *claim)
{
    store_request_finish(&claim->request.base);
    mem_free(claim);
}

static void drop_stored_batch(struct ingest_batch *batch)
{
    ingest_batch_destroy(batch);
}

PROTOCOL_DEFINE(INGEST, ingest)

const struct behaviour ingest_behaviour = {
    PROTOCOL_BEHAVIOUR(INGEST, ingest),
    .id = BEHAVIOUR_INGEST,
    .key_of = key_of_ingest,
    .spawn = spawn_ingest,
    .destroy = free_ingest,
};

static void read_more(struct ingest *ingest);
static void store_next(struct ingest *ingest);
static void read_again(void *context, struct stream_id from);
static void go_on(void *context);
static void leave(struct ingest *ingest);

/* Life. */

static struct shard *shard_here(const struct ingest *ingest)
{
    return shard_of(&ingest->actor);
}

static void command(struct ingest *ingest, struct bus_link *link, const struct bytes *argv,
    size_t argc, bus_reply_fn fn)
{
    uint32_t timeout = link == ingest->reader ? BLOCK_MS + COMMAND_MS : COMMAND_MS;
    shard_here(ingest)->bus->ops->command(link, argv, argc, timeout, fn, ingest);
}

static void arm(struct ingest *ingest, struct timer *timer, uint64_t delay_ms)
{
    struct sched *sched = ingest->actor.sched;
    timer_set(sched_timers(sched), timer, sched_now(sched) + delay_ms);
}

static void on_retry_timer(struct timer *timer);

static struct bytes key_of_ingest(const void *ingest)
{
    return buf_bytes(((const struct ingest *)ingest)->key);
}

static struct actor *spawn_ingest(struct sched *sched, struct bytes key)
{
    struct ingest *ingest = mem_alloc(sizeof(*ingest));
    ingest->key = buf_new_name(key);
    timer_init(&ingest->retry_timer, on_retry_timer);
    CHECK(actor_start(&ingest->actor, &ingest_behaviour, sched)); /* as the node starts */
    return &ingest->actor;
}

static const struct bus_events no_events = {0};

/* Whether the entries of its stream go to partitions. */
static bool is_router(const struct ingest *ingest)
{
    return ingest->number == 0 && shard_here(ingest)->config->partitions > 1;
}

static const struct lease_events lease_events;

static void on_begin(struct ingest *ingest, struct ingest_begin *msg)
{
    struct shard *shard = shard_here(ingest);
    const struct actor_config *config = shard->config;
    if (ingest->link != NULL) {
        return;
    }
    ingest->number = msg->number;
    char key[BUS_NAME_MAX];
    uint64_t now = sched_now(shard->sched);
    ingest->gauge = &shard->streams->of[msg->number];
    ingest_gauge_set(&ingest->gauge->owned, now);
    ingest_gauge_set(&ingest->gauge->begun, now);
    bus_name_in(&config->names, msg->number, ingest->stream);
    bus_name_lease(&config->names, msg->number, key);
    ingest->link = shard->bus->ops->open(shard->bus, "ingest", &no_events, ingest);
    ingest->reader = shard->bus->ops->open(shard->bus, "ingest-reader", &no_events, ingest);
    const struct lease_config lease = {
        .key = key,
        .holder = config->holder != NULL ? config->holder : config->node,
        .ttl_ms = config->lease_ms,
        .renew_ms = RENEW_MS,
        .claim_ms = STANDBY_MS,
    };
    ingest_look_init(&ingest->look, shard, ingest->link, msg->number);
    ingest_history_init(&ingest->history, shard, ingest->link, msg->number);
    ingest->history.read_again = read_again;
    ingest->history.go_on = go_on;
    ingest->history.context = ingest;
    lease_start(&ingest->lease, shard, ingest->link, &lease, &lease_events, ingest);
}

static void close_links(struct ingest *ingest)
{
    struct bus_link *link = ingest->link;
    struct bus_link *reader = ingest->reader;
    ingest->link = NULL;
    ingest->reader = NULL;
    ingest->closing = true; /* replies that are cancelled now must not begin anything */
    if (link != NULL) {
        shard_here(ingest)->bus->ops->close(link);
        shard_here(ingest)->bus->ops->close(reader);
    }
}

static void free_ingest(struct actor *actor)
{
    struct ingest *ingest = (struct ingest *)(void *)actor;
    struct timer_wheel *timers = sched_timers(actor->sched);
    lease_stop(&ingest->lease);
    timer_cancel(timers, &ingest->retry_timer);
    close_links(ingest);
    ingest_batch_destroy(ingest->waiting);
    if (!ingest->busy) {
        ingest_batch_destroy(ingest->storing);
    }
    buf_unref(ingest->key);
    mem_free(ingest);
}

/* The lease. */

static void lose(struct ingest *ingest, const char *why)
{
    if (ingest->state == STANDBY) {
        return;
    }
    log_info("INGEST-LOST", "gave up a stream", "stream=%s why=%s", ingest->stream, why);
    ingest->state = STANDBY;
    ingest->token = 0;
    ingest_gauge_end_term(ingest->gauge);
    ingest_batch_destroy(ingest->waiting);
    ingest->waiting = NULL;
    if (!ingest->busy) {
        ingest_batch_destroy(ingest->storing);
        ingest->storing = NULL;
    }
    if (ingest->leaving) {
        arm(ingest, &ingest->retry_timer, 1); /* nothing else leads to the end */
    } else {
        timer_cancel(sched_timers(ingest->actor.sched), &ingest->retry_timer);
    }
}

/* Not while the answer to a batch or a claim of a former term is still to come, and not where
 * nothing could be stored, or what one store's node drains would be missing in another's. */
static bool may_claim(void *context)
{
    const struct ingest *ingest = context;
    return !ingest->busy && !ingest->claiming && !shard_has_strangers(shard_here(ingest)) &&
           store_is_writable(shard_here(ingest)->store_root);
}

static void on_held(void *context);

/* There is an owner: this node, or another. */
static void note_owner(void *context)
{
    struct ingest *ingest = context;
    ingest_gauge_set(&ingest->gauge->owned, sched_now(ingest->actor.sched));
    ingest_gauge_forgive(ingest->gauge, INGEST_TROUBLE_LEASE, ingest->stream);
}

static void on_refused(void *context, struct bytes text)
{
    struct ingest *ingest = context;
    ingest_gauge_complain(ingest->gauge, INGEST_TROUBLE_LEASE, ingest->stream, text);
}

static void on_lost(void *context, enum lease_end why)
{
    lose(context, lease_end_text(why));
}

static void ask_history(struct ingest *ingest)
{
    ingest_history_ask(
        &ingest->history, stream_id_of(ingest->last_id), stream_id_of(ingest->read_id));
}

/* Let go of the stream though the lease is ours, so that another node need not wait for its end. */
static void give_up(struct ingest *ingest, const char *why)
{
    lose(ingest, why);
    lease_release(&ingest->lease, NULL, NULL);
}

/* Whether the store has become another server since it was claimed: what it has is looked at again.
 */
static bool is_doubtful(const struct ingest *ingest)
{
    return store_sessions(shard_here(ingest)->store_root) != ingest->sessions;
}

static void on_renewed(void *context)
{
    struct ingest *ingest = context;
    if (!store_is_writable(shard_here(ingest)->store_root)) {
        give_up(ingest, "store");
        return;
    }
    note_owner(ingest);
    if (ingest->state == OWNER && !ingest->busy && is_doubtful(ingest)) {
        lose(ingest, "session");
        on_held(ingest); /* as the lease still is */
    } else if (ingest->state == OWNER) {
        ask_history(ingest);
        ingest_look_more(&ingest->look);
        if (ingest->look.renewals++ % LOOK_EVERY == 0) {
            ingest_look_waiting(&ingest->look, ingest->last_id);
        }
    }
}

static const struct lease_events lease_events = {
    .may_claim = may_claim,
    .on_held = on_held,
    .on_renewed = on_renewed,
    .on_denied = note_owner,
    .on_lost = on_lost,
    .on_refused = on_refused,
};

/* Becoming owner. */

static void on_claim_done(struct store_request *request)
{
    struct ingest_claim *claim = container_of(request, struct ingest_claim, request.base);
    struct ingest_claimed *msg = ingest_claimed_new();
    msg->claim = claim;
    msg_send(claim->shard->sched, claim->owner, msg);
}

static void on_held(void *context)
{
    struct ingest *ingest = context;
    struct ingest_claim *claim = mem_alloc(sizeof(*claim));
    claim->shard = shard_here(ingest);
    claim->owner = ingest->actor.self;
    claim->request.base.op = STORE_CLAIM;
    claim->request.base.done = on_claim_done;
    claim->request.partition = ingest->number;
    claim->request.owner = bytes_str(claim->shard->config->node);
    ingest->sessions = store_sessions(shard_here(ingest)->store_root);
    ingest->state = CLAIMING;
    ingest->claiming = true;
    store_submit(claim->shard->store, &claim->request.base);
}

static void set_id(char *id, struct bytes value)
{
    if (value.len == 0 || value.len >= INGEST_ID_MAX) {
        value = BYTES("0-0");
    }
    memcpy(id, value.at, value.len);
    id[value.len] = '\0';
}

/* Stand at `id`, with all before it committed and read. */
static void stand_at(struct ingest *ingest, struct stream_id id)
{
    snprintf(ingest->last_id, sizeof(ingest->last_id), "%llu-%llu", (unsigned long long)id.ms,
        (unsigned long long)id.seq);
    memcpy(ingest->read_id, ingest->last_id, sizeof(ingest->read_id));
    ingest_gauge_set_id(&ingest->gauge->position, bytes_str(ingest->last_id));
}

static void on_claimed(struct ingest *ingest, struct ingest_claimed *msg)
{
    const struct store_claim *request = &msg->claim->request;
    ingest->claiming = false;
    if (ingest->state != CLAIMING) {
        return;
    }
    if (request->base.status != 0) {
        give_up(ingest, "store");
        return;
    }
    ingest->state = OWNER;
    ingest->token = request->token;
    stand_at(ingest, ingest_history_begin(&ingest->history, ingest->token, request->last_id));
    note_owner(ingest);
    ingest_gauge_set(&ingest->gauge->owner, 1);
    log_info("INGEST-OWNER", "took over a stream", "stream=%s token=%llu position=%s",
        ingest->stream, (unsigned long long)ingest->token, ingest->last_id);
    ask_history(ingest);
    ingest_look_more(&ingest->look);
    /* Its last owner may have gone between a commit and its announcement. */
    positions_look(shard_here(ingest));
}

/* What has been read, and is not committed yet, is not known to be in the stream any more. */
static void read_again(void *context, struct stream_id from)
{
    struct ingest *ingest = context;
    stand_at(ingest, from);
    ingest_batch_destroy(ingest->waiting);
    ingest->waiting = NULL;
    ingest->rewound = ingest->storing != NULL; /* its ids say nothing about the new stream */
}

static void go_on(void *context)
{
    read_more(context);
}

/* Reading. */

/* Store what was read behind `read_id`; false: it is no answer to that. */
static bool take(struct ingest *ingest, const struct bus_reply *reply)
{
    if (reply->type == BUS_NIL && ingest->storing == NULL) {
        ingest_history_passed(&ingest->history, (struct stream_id){.ms = UINT64_MAX});
    }
    if (reply->type == BUS_NIL) {
        return true;
    }
    ingest->waiting = ingest_batch_create(shard_here(ingest), ingest->actor.self,
        &(struct ingest_source){.stream = bytes_str(ingest->stream),
            .rows = !is_router(ingest),
            .routed = ingest->number > 0,
            .repeats = ingest_history_repeats(&ingest->history)},
        reply);
    if (ingest->waiting == NULL) {
        return false;
    }
    set_id(ingest->read_id, ingest_batch_last_id(ingest->waiting));
    store_next(ingest);
    return true;
}

static void on_read(void *context, int status, const struct bus_reply *reply)
{
    struct ingest *ingest = context;
    if (ingest->closing) {
        return;
    }
    ingest->reading = false;
    if (ingest->state != OWNER) {
        return;
    }
    bool is_next = strcmp(ingest->asked_id, ingest->read_id) == 0;
    bool good = status == 0 && reply->type != BUS_ERROR && (!is_next || take(ingest, reply));
    if (!good) {
        if (status == 0) {
            ingest_gauge_complain(ingest->gauge, INGEST_TROUBLE_READ, ingest->stream,
                reply->type == BUS_ERROR ? reply->text : BYTES("no answer, or no memory for it"));
        }
        ingest->history.unsure = true;
        arm(ingest, &ingest->retry_timer, RETRY_MS);
        return;
    }
    ingest_gauge_forgive(ingest->gauge, INGEST_TROUBLE_READ, ingest->stream);
    read_more(ingest);
}

static void read_more(struct ingest *ingest)
{
    if (ingest->reading || ingest->waiting != NULL || ingest->state != OWNER || ingest->closing ||
        ingest->leaving || ingest->history.unsure) {
        return;
    }
    ingest->reading = true;
    memcpy(ingest->asked_id, ingest->read_id, sizeof(ingest->asked_id));
    char count[16];
    snprintf(count, sizeof(count), "%u", (unsigned)shard_here(ingest)->config->read_count);
    const struct bytes argv[] = {BYTES("XREAD"), BYTES("COUNT"), bytes_str(count), BYTES("BLOCK"),
        BYTES("1000"), BYTES("STREAMS"), bytes_str(ingest->stream), bytes_str(ingest->read_id)};
    command(ingest, ingest->reader, argv, ARRAY_LEN(argv), on_read);
}

static void on_retry_timer(struct timer *timer)
{
    struct ingest *ingest = container_of(timer, struct ingest, retry_timer);
    if (ingest->leaving) {
        leave(ingest); /* which may free it */
        return;
    }
    store_next(ingest);
    if (ingest->history.unsure && ingest->state == OWNER) {
        ask_history(ingest);
    }
    read_more(ingest);
}

/* Storing. */

static void on_put_done(struct store_request *request)
{
    struct ingest_batch *batch = container_of(request, struct ingest_batch, put.base);
    struct ingest_stored *msg = ingest_stored_new();
    msg->batch = batch;
    msg_send(batch->shard->sched, batch->owner, msg);
}

static void submit(struct ingest *ingest)
{
    struct ingest_batch *batch = ingest->storing;
    struct bytes kept = BYTES("");
    if (!ingest->rewound) {
        struct stream_id id = stream_id_of(batch->entries[batch->to - 1].id);
        kept = ingest_history_write(&ingest->history, id, batch->kept);
    }
    ingest->busy = true;
    ingest->submitted_ms = sched_now(ingest->actor.sched);
    ingest_batch_submit(batch, ingest->number, ingest->token, kept, on_put_done);
}

/* The batch is of a term that is over. */
static void drop_batch(struct ingest *ingest)
{
    ingest_batch_destroy(ingest->storing);
    ingest->storing = NULL;
    if (ingest->leaving) {
        leave(ingest);
    }
}

static void on_prepared(void *context, bool ok, struct bytes refusal)
{
    struct ingest *ingest = context;
    ingest->busy = false;
    if (ingest->closing) {
        return;
    }
    if (ingest->state != OWNER) {
        drop_batch(ingest);
        return;
    }
    if (ok) {
        ingest_gauge_forgive(ingest->gauge, INGEST_TROUBLE_WRITE, ingest->stream);
        submit(ingest);
        return;
    }
    if (refusal.len > 0) {
        ingest_gauge_complain(ingest->gauge, INGEST_TROUBLE_WRITE, ingest->stream, refusal);
    }
    arm(ingest, &ingest->retry_timer, RETRY_MS);
}

static void prepare(struct ingest *ingest)
{
    const struct ingest_writing writing = {
        .batch = ingest->storing,
        .link = ingest->link,
        .stream = ingest->stream,
        .route = is_router(ingest),
        .prepared = on_prepared,
        .context = ingest,
    };
    ingest->busy = true;
    ingest_prepare(&writing);
}

/* Commit what has been read, or go on with a batch that could not be committed. */
static void store_next(struct ingest *ingest)
{
    if (ingest->leaving) {
        leave(ingest);
        return;
    }
    if (ingest->busy || ingest->state != OWNER) {
        return;
    }
    if (ingest->storing == NULL) {
        ingest->storing = ingest->waiting;
        ingest->waiting = NULL;
        if (ingest->storing == NULL) {
            return;
        }
        ingest->rewound = false;
    }
    if (ingest_needs_writing(ingest->storing, is_router(ingest))) {
        prepare(ingest);
    } else {
        submit(ingest);
    }
}

/* What follows from an entry that is committed. The router's entries are published by those who
 * own their partitions. */
static void on_entry_committed(struct ingest *ingest, struct ingest_entry *entry)
{
    if (is_router(ingest)) {
        return;
    }
    bool tells = entry->parsed && entry->post.is_event && !entry->again;
    int status = tells ? post_event(shard_here(ingest), &entry->post) : 0;
    if (status != 0) {
        entry->fault = status == STATUS_NOMEM
                           ? (struct ingest_fault){.reason = ERROR_UNAVAILABLE}
                           : (struct ingest_fault){.reason = ERROR_INVALID_FIELD, .field = "args"};
        ingest_tell_fault(ingest->storing, entry, ingest->link, ingest->stream);
    }
    ingest_tell_result(ingest->storing, entry, ingest->link);
}

static void on_committed(struct ingest *ingest, struct ingest_batch *batch)
{
    if (!ingest->rewound) {
        set_id(ingest->last_id, ingest_batch_run_id(batch));
        ingest_gauge_set_id(&ingest->gauge->position, bytes_str(ingest->last_id));
        ingest_history_passed(&ingest->history, stream_id_of(ingest->last_id));
    }
    ingest_batch_announce(batch);
    for (uint32_t i = batch->from; i < batch->to; i++) {
        on_entry_committed(ingest, &batch->entries[i]);
    }
    uint64_t took_ms = sched_now(ingest->actor.sched) - ingest->submitted_ms;
    uint64_t pause_ms = ingest_batch_pause(batch, took_ms);
    if (!ingest_batch_advance(batch)) {
        ingest_batch_destroy(batch);
        ingest->storing = NULL;
    }
    if (pause_ms > 0) {
        arm(ingest, &ingest->retry_timer, pause_ms);
        return;
    }
    store_next(ingest);
    read_more(ingest);
}

/* Where nothing can be stored, another node may fare better; who leaves does not try again. */
static void retry(struct ingest *ingest)
{
    if (ingest->leaving) {
        leave(ingest);
    } else if (store_is_writable(shard_here(ingest)->store_root)) {
        arm(ingest, &ingest->retry_timer, RETRY_MS);
    } else {
        give_up(ingest, "store");
    }
}

static void on_stored(struct ingest *ingest, struct ingest_stored *msg)
{
    struct ingest_batch *batch = msg->batch;
    int status = batch->put.base.status;
    msg->batch = NULL;
    ingest_batch_take_in(batch);
    if (status == STATUS_FENCED) {
        give_up(ingest, "fenced"); /* still busy: the batch is freed below */
    }
    ingest->busy = false;
    if (status == 0) {
        ingest_history_committed(&ingest->history);
    }
    if (ingest->state != OWNER) {
        drop_batch(ingest);
        return;
    }
    if (status == STATUS_INVALID) {
        ingest_batch_narrow(batch);
        store_next(ingest);
    } else if (status != 0) {
        if (status == STATUS_TIMEOUT) {
            ingest_gauge_complain(
                ingest->gauge, INGEST_TROUBLE_LOCK, ingest->stream, ingest_batch_whom(batch));
        }
        retry(ingest);
    } else {
        ingest_gauge_forgive(ingest->gauge, INGEST_TROUBLE_LOCK, ingest->stream);
        on_committed(ingest, batch);
    }
}

/* The end: what is being committed is announced, then the lease is given back, or runs out. */

static void on_released(void *context, int status, const struct bus_reply *reply)
{
    struct ingest *ingest = context;
    if (status != STATUS_CANCELLED) {
        actor_stop(&ingest->actor);
    }
}

static void leave(struct ingest *ingest)
{
    if (ingest->busy || ingest->left) {
        return;
    }
    ingest->left = true;
    lease_stop(&ingest->lease);
    if (lease_is_held(&ingest->lease)) {
        lose(ingest, "stopping");
        lease_release(&ingest->lease, on_released, ingest);
    } else {
        actor_stop(&ingest->actor);
    }
}

static void on_close(struct ingest *ingest, struct ingest_close *msg)
{
    if (ingest->link != NULL) {
        ingest_look_end(&ingest->look);
    }
    ingest->leaving = true;
    leave(ingest);
}
