/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What both engines have in common: opening, and the way of requests in and back to the shard that
 * asked.
 */
#include "sql/store.h"

#include <stdio.h>

#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/audience.h"
#include "sql/engine.h"
#include "sql/history.h"
#include "sql/job.h"
#include "sql/steps.h"
#include "sql/store_edit.h"

/* What a turn of a shard completes: requests, those that stored rows counted by these. */
enum { COMPLETE_MAX = 500 };

/* Opening and closing first, then a request's way in, then its way out. */

const char *const store_forgotten_names[STORE_FORGOTTEN_COUNT] = {
#define X(name, label, table) label,
#include "sql/forget.def"
#undef X
};

static const struct engine *engine_of(struct bytes url)
{
    if (bytes_starts(url, BYTES("postgres://")) || bytes_starts(url, BYTES("postgresql://"))) {
        return &engine_postgres;
    }
    if (bytes_starts(url, BYTES("sqlite:"))) {
        return &engine_sqlite;
    }
    return NULL;
}

static void destroy(struct store *store)
{
    for (unsigned i = 0; i < store->config.port_count; i++) {
        if (store->ports[i]) {
            CHECK(store->ports[i]->released);
            store->engine->port_destroy(store->ports[i]);
        }
    }
    mem_free(store->ports);
    struct stats *stats = store->stats;
    health_finish(&store->health);
    char *url = (char *)store->config.url.at;
    store->engine->close(store);
    stats_destroy(stats);
    mem_free(url);
}

static void make_epoch(char ret_text[STORE_EPOCH_LEN + 1])
{
    uint8_t uuid[NOTIFICATION_ID_LEN];
    uuid7_make(clock_wall_ms(), SLOT_NONE, uuid);
    uuid_format(uuid, ret_text);
    ret_text[STORE_EPOCH_LEN] = '\0';
}

/* Settings that the nodes of a store share: the first node's are kept. */
static int check_shared(struct store *store, char *ret_error, size_t error_size)
{
    const struct store_config *config = &store->config;
    for (size_t i = 0; i < config->shared_count; i++) {
        const struct store_shared *shared = &config->shared[i];
        char ours[16];
        char theirs[META_VALUE_MAX + 1];
        (void)snprintf(ours, sizeof(ours), "%u", shared->value);
        int status = store->engine->meta_first(store, shared->name, ours, theirs);
        if (status == 0 && strcmp(ours, theirs) != 0 && config->replace_shared) {
            status = store->engine->meta_replace(store, shared->name, theirs, ours);
        } else if (status == 0 && strcmp(ours, theirs) != 0) {
            (void)snprintf(ret_error, error_size,
                "%s is %s here and %s on the nodes that share this store: set it to %s, or stop "
                "all "
                "nodes and run `peal migrate --set-bus` with the new value",
                shared->name, ours, theirs, theirs);
            return STATUS_CONFLICT;
        }
        if (status == STATUS_CONFLICT) {
            (void)snprintf(
                ret_error, error_size, "%s was changed by another process meanwhile", shared->name);
        } else if (status < 0) {
            store->engine->reason(store, ret_error, error_size);
        }
        if (status < 0) {
            return status;
        }
    }
    return 0;
}

/* Epoch and identity: made by whoever comes first. */
static int read_names(struct store *store)
{
    char value[META_VALUE_MAX + 1];
    char fresh[STORE_EPOCH_LEN + 1];
    make_epoch(fresh);
    int status = store->engine->meta_first(store, "epoch", fresh, value);
    if (status < 0) {
        return status;
    }
    (void)snprintf(store->epoch, sizeof(store->epoch), "%.*s", STORE_EPOCH_LEN, value);
    status = store->engine->identify(store, store->identity);
    if (status == 0 && store->identity[0] == '\0') {
        make_epoch(fresh); /* ids of this form are as good for stores */
        status = store->engine->meta_first(store, "identity", fresh, value);
        (void)snprintf(store->identity, sizeof(store->identity), "%s", status == 0 ? value : "");
    }
    return status;
}

static int read_meta(struct store *store, char *ret_error, size_t error_size)
{
    int status = read_names(store);
    if (status < 0) {
        store->engine->reason(store, ret_error, error_size);
        return status;
    }
    return check_shared(store, ret_error, error_size);
}

int store_open(
    const struct store_config *config, struct store **ret_store, char *ret_error, size_t error_size)
{
    const struct engine *engine = engine_of(config->url);
    if (!engine) {
        (void)snprintf(ret_error, error_size,
            "the store's URL must begin with postgres:// or be sqlite: and the path of a file");
        return STATUS_INVALID;
    }
    CHECK(config->port_count > 0 && config->post);
    struct store *store;
    int status = engine->create(config, &store, ret_error, error_size);
    if (status < 0) {
        return status;
    }
    store->engine = engine;
    health_init(&store->health);
    store->config = *config;
    store->config.url = bytes_of(mem_dup(config->url.at, config->url.len), config->url.len);
    store->stats = stats_create(engine->statement_names, engine->statement_count, config->slow_ms);
    store->ports = mem_alloc_array(config->port_count, sizeof(struct store_port *));
    status = engine->start(store, ret_error, error_size);
    if (status == 0) {
        status = read_meta(store, ret_error, error_size);
    }
    if (status == 0) {
        status = engine->serve(store, ret_error, error_size);
    }
    if (status < 0) {
        destroy(store);
        return status;
    }
    *ret_store = store;
    return 0;
}

void store_close(struct store *store)
{
    if (store) {
        destroy(store);
    }
}

const char *store_epoch(const struct store *store)
{
    return store->epoch;
}

const char *store_engine(const struct store *store)
{
    return store->engine->name;
}

const char *store_identity(const struct store *store)
{
    return store->identity;
}

uint32_t store_connections(const struct store *store)
{
    return store->connections;
}

int store_new_epoch(struct store *store)
{
    char epoch[STORE_EPOCH_LEN + 1];
    make_epoch(epoch);
    int status = store->engine->meta_replace(store, "epoch", store->epoch, epoch);
    if (status == 0) {
        memcpy(store->epoch, epoch, sizeof(epoch));
    }
    return status;
}

void store_get_health(const struct store *store, struct store_health *ret_health)
{
    struct health *health = (struct health *)(uintptr_t)&store->health; /* for its lock */
    ret_health->write_failed_ms =
        atomic_load_explicit(&health->write_failed_ms, memory_order_relaxed);
    ret_health->read_failed_ms =
        atomic_load_explicit(&health->read_failed_ms, memory_order_relaxed);
    ret_health->pooled_ms = atomic_load_explicit(&health->pooled_ms, memory_order_relaxed);
    ret_health->failures = atomic_load_explicit(&health->failures, memory_order_relaxed);
    ret_health->sessions = atomic_load_explicit(&health->sessions, memory_order_relaxed);
    CHECK(pthread_mutex_lock(&health->lock) == 0);
    memcpy(ret_health->reason, health->reason, sizeof(ret_health->reason));
    ret_health->explained_ms = health->explained_ms;
    ret_health->loss = health->loss;
    CHECK(pthread_mutex_unlock(&health->lock) == 0);
}

uint64_t store_sessions(const struct store *store)
{
    return atomic_load_explicit(&store->health.sessions, memory_order_relaxed);
}

void store_tell_loss(struct store *store, const struct store_loss *loss)
{
    struct health *health = &store->health;
    CHECK(pthread_mutex_lock(&health->lock) == 0);
    if (health->loss.proof == NULL) {
        health->loss = *loss;
    }
    CHECK(pthread_mutex_unlock(&health->lock) == 0);
}

void store_set_writable(struct store *store, bool writable)
{
    atomic_store_explicit(&store->health.unwritable, !writable, memory_order_relaxed);
}

bool store_is_writable(const struct store *store)
{
    return !atomic_load_explicit(&store->health.unwritable, memory_order_relaxed);
}

void store_set_slow(struct store *store, uint32_t slow_ms)
{
    stats_set_slow(store->stats, slow_ms);
}

size_t store_statements(
    const struct store *store, struct store_statement_stats *ret_stats, size_t max)
{
    return stats_statements(store->stats, ret_stats, max);
}

size_t store_slow_log(const struct store *store, struct store_slow *ret_slow, size_t max)
{
    return stats_slow_log(store->stats, ret_slow, max);
}

int store_port_open(
    struct store *store, unsigned index, struct uv_loop_s *loop, struct store_port **ret_port)
{
    CHECK(index < store->config.port_count && !store->ports[index]);
    int status = store->engine->port_open(store, index, loop, &store->ports[index]);
    if (status == 0) {
        *ret_port = store->ports[index];
    }
    return status;
}

void port_init(struct store_port *port, struct store *store, unsigned index)
{
    *port = (struct store_port){.store = store, .index = index};
    list_init(&port->done);
    list_init(&port->marking);
    list_init(&port->kept_back);
    CHECK(pthread_mutex_init(&port->lock, NULL) == 0);
}

void port_finish(struct store_port *port)
{
    CHECK(pthread_mutex_destroy(&port->lock) == 0);
}

/* Those of store_audience.h and store_schedule.h. */
static bool op_writes_for_many_or_later(enum store_op op)
{
    return op == STORE_AUDIENCE_POST || op == STORE_AUDIENCE_SWEEP || op == STORE_RETRACT ||
           op == STORE_REVISE || op == STORE_SUBSCRIBE || op == STORE_DUE || op == STORE_RESCHEDULE;
}

bool op_is_of_meta(enum store_op op)
{
    return op == STORE_EPOCH || op == STORE_NOTE;
}

bool op_is_of_push(enum store_op op)
{
    return op >= STORE_PUSH_ARRANGE && op <= STORE_PUSH_LOOK;
}

static bool op_writes_devices_or_history(enum store_op op)
{
    return (op >= STORE_DEVICE_PUT && op < STORE_DEVICE_LIST) || history_writes(op) ||
           (op_is_of_push(op) && op < STORE_PUSH_LOOK);
}

bool op_writes(enum store_op op)
{
    return op == STORE_PUT || op == STORE_MARK || op == STORE_EDIT || op == STORE_CLAIM ||
           op == STORE_SWEEP || op == STORE_FORGET || op == STORE_WITNESS_RAISE ||
           op_is_of_meta(op) || op == STORE_PREFERENCE_WRITE || op == STORE_SUMMARY_SWEEP ||
           op == STORE_RETAIN || op_writes_devices_or_history(op) ||
           op_writes_for_many_or_later(op) || (op_is_of_jobs(op) && op < STORE_JOB_GET);
}

bool op_checks(enum store_op op)
{
    return op == STORE_PING || op == STORE_WITNESS_RAISE;
}

size_t store_port_pending(const struct store_port *port)
{
    return port->pending;
}

uint64_t store_port_refused(const struct store_port *port)
{
    return port->refused;
}

static void give_back(struct store_request *request, int status);

void store_submit(struct store_port *port, struct store_request *request)
{
    request->port = port;
    request->status = 0;
    request->started_ns = clock_mono_ns();
    request->result = NULL;
    request->lacking = NULL;
    request->lacking_count = 0;
    list_init(&request->link);
    request_reset(request);
    steps_begin(request);
    port->pending++;
    size_t most = PORT_PENDING_MAX + (op_checks(request->op) ? PORT_CHECKS_MAX : 0);
    if (port->closing || port->pending > most) {
        port->refused += !port->closing;
        give_back(request, STATUS_UNAVAILABLE);
    } else if (!request_is_valid(request)) {
        port_complete(request, STATUS_INVALID);
    } else if (!steps_keep_back(port, request)) {
        if (request->op == STORE_EPOCH) {
            make_epoch(((struct store_renewal *)request)->fresh);
        }
        port->store->engine->submit(port, request);
    }
}

struct result *request_result(struct store_request *request)
{
    if (!request->result) {
        request->result = mem_alloc(sizeof(struct result));
    }
    return request->result;
}

/* Where the outputs of a request lie that are pointers, counts or flags: from a member to its end.
 */
struct outputs {
    size_t from;
    size_t to;
};

#define OUTPUTS(type, first)                                                                       \
    {                                                                                              \
        offsetof(struct type, first), sizeof(struct type)                                          \
    }

static const struct outputs outputs[STORE_OP_COUNT] = {
    [STORE_MARK] = OUTPUTS(store_mark, position),
    [STORE_EDIT] = OUTPUTS(store_edit, delivered),
    [STORE_DUE] = OUTPUTS(store_due, items),
    [STORE_RESCHEDULE] = OUTPUTS(store_reschedule, item),
    [STORE_LIST] = OUTPUTS(store_list, items),
    [STORE_PAGE] = OUTPUTS(store_page, total),
    [STORE_TEXTS] = OUTPUTS(store_list, items),
    [STORE_ROWS] = OUTPUTS(store_list, items),
    [STORE_PICK] = OUTPUTS(store_pick, items),
    [STORE_COUNTS] = OUTPUTS(store_counts, groups),
    [STORE_SYNC] = OUTPUTS(store_sync, items),
    [STORE_GET] = OUTPUTS(store_get, item),
    [STORE_POSITIONS] = OUTPUTS(store_positions, positions),
    [STORE_CHANGED] = OUTPUTS(store_changed, users),
    [STORE_PREFERENCE_READ] = OUTPUTS(store_preference, body),
    [STORE_PREFERENCE_WRITE] = OUTPUTS(store_preference, rev),
    [STORE_CLAIM] = OUTPUTS(store_claim, token),
    [STORE_FORGET] = OUTPUTS(store_forget, position),
    [STORE_SWEEP] = OUTPUTS(store_sweep, users),
    [STORE_SUMMARY] = OUTPUTS(store_summary, rows),
    [STORE_SUMMARY_SWEEP] = OUTPUTS(store_sweep, users),
    [STORE_RETAIN] = OUTPUTS(store_retention, looked),
    [STORE_HISTORY_SWEEP] = OUTPUTS(store_history_sweep, dropped),
    [STORE_HISTORY_LIST] = OUTPUTS(store_history_list, messages),
    [STORE_JOB_ADD] = OUTPUTS(store_job_add, added),
    [STORE_JOB_LEASE] = OUTPUTS(store_job_lease, jobs),
    [STORE_JOB_STEP] = OUTPUTS(store_job_step, outcome),
    [STORE_JOB_PAUSE] = OUTPUTS(store_job_pause, changed),
    [STORE_JOB_SWEEP] = OUTPUTS(store_job_sweep, jobs),
    [STORE_JOB_GET] = OUTPUTS(store_job_get, job),
    [STORE_JOB_LIST] = OUTPUTS(store_job_list, jobs),
    [STORE_QUEUES] = OUTPUTS(store_queues, queues),
    [STORE_DEVICE_PUT] = OUTPUTS(store_devices, devices),
    [STORE_DEVICE_STATE] = OUTPUTS(store_devices, devices),
    [STORE_DEVICE_REMOVE] = OUTPUTS(store_devices, devices),
    [STORE_DEVICE_LIST] = OUTPUTS(store_devices, devices),
    [STORE_PUSH_ARRANGE] = OUTPUTS(store_push_arrange, jobs),
    [STORE_PUSH_NOTE] = OUTPUTS(store_push_note, closed),
    [STORE_PUSH_RECEIVED] = OUTPUTS(store_push_received, known),
    [STORE_PUSH_LOOK] = OUTPUTS(store_push_look, has_row),
    [STORE_WITNESS_RAISE] = OUTPUTS(store_witness, number),
    [STORE_WITNESS_READ] = OUTPUTS(store_witness, number),
    [STORE_EPOCH] = {offsetof(struct store_renewal, epoch), offsetof(struct store_renewal, fresh)},
    [STORE_NOTE] = OUTPUTS(store_note, text),
    /* STORE_HISTORY_ADD has none; STORE_PUT: the rows are the caller's memory; those about
       audiences: audience.c */
};

static void clear(struct store_request *request, const struct outputs *range)
{
    memset((char *)request + range->from, 0, range->to - range->from);
}

static void clear_outputs(struct store_request *request)
{
    if (request->op >= STORE_OP_COUNT) {
        return; /* no such request */
    }
    clear(request, &outputs[request->op]);
    if (request->op == STORE_RETAIN) { /* and those of the sweep in it */
        clear(request, &outputs[STORE_SWEEP]);
    }
    if (request->op == STORE_PAGE) { /* those of the list in it too */
        clear(request, &outputs[STORE_LIST]);
    }
    audience_clear(request);
}

void request_reset(struct store_request *request)
{
    if (request->result) {
        result_reset(request->result);
        mem_free(request->result);
        request->result = NULL;
    }
    clear_outputs(request);
}

void store_request_finish(struct store_request *request)
{
    request_reset(request);
    steps_finish(request);
}

void results_apply(struct store_request *request, const struct put_result *results)
{
    if (request->op == STORE_AUDIENCE_POST) {
        audience_apply((struct store_audience_post *)request, results);
        return;
    }
    struct store_put *put = (struct store_put *)request;
    for (size_t i = 0; i < put->count; i++) {
        struct store_row *row = &put->rows[i];
        row->outcome = results[i].outcome;
        memcpy(row->id, results[i].id, NOTIFICATION_ID_LEN);
        row->seq = results[i].seq;
        row->rev = results[i].rev;
        row->unread = results[i].unread;
        row->unseen = results[i].unseen;
        row->head = results[i].head;
        row->count = results[i].count;
        row->first_at = results[i].first_at;
        row->till = results[i].till;
        row->digest = results[i].digest;
    }
}

bool list_is_full(const struct store_list *list)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < list->count && list->max_bytes > 0; i++) {
        const struct notification_item *item = &list->items[i];
        bytes += item->title.len + item->message.len + item->data.len + item->digest.len;
    }
    return list->count == list->limit ||
           (list->max_bytes > 0 && list->count > 0 && bytes >= list->max_bytes);
}

struct store_cursor cursor_of(const struct notification_item *item)
{
    return (struct store_cursor){.new_rev = item->new_rev, .seq = item->seq};
}

void change_append(struct result *result, struct notification_change **changes, size_t *count,
    const struct notification_change *change)
{
    struct notification_change *grown = result_grow(result, *changes, *count, sizeof(*change));
    if (grown) {
        *changes = grown;
        grown[(*count)++] = *change;
    }
}

/* Take what is done off the list; on the shard's thread. */
static struct list *pop_done(struct store_port *port, struct list *batch)
{
    struct list *link = list_pop(batch);
    if (link) {
        port->pending--;
    }
    return link;
}

static void release_if_idle(struct store_port *port)
{
    if (port->closing && !port->released && port->pending == 0) {
        port->released = true;
        port->store->engine->port_close(port);
    }
}

static void complete(struct store_port *port, struct store_request *request)
{
    bool more = steps_go_on(port, request);
    if (more || request->status < 0) {
        request_reset(request);
    }
    if (more) {
        port->pending++;
        steps_submit(port, request);
    } else {
        request->done(request);
    }
}

static void complete_all(void *arg, bool cancelled);

/* Have what is done completed in a turn of the port's shard. Called with the lock: complete_all
 * waits for it, and with it the end of all that is woken. */
static void post_completion(struct store_port *port)
{
    const struct store_config *config = &port->store->config;
    if (!port->posted) {
        port->posted = true;
        config->post(config->post_context, port->index, complete_all, port);
    }
}

/* What a request takes of a turn: what is answered and announced of its rows. */
static size_t weight_of(const struct store_request *request)
{
    size_t rows = request->op == STORE_PUT ? ((const struct store_put *)request)->count : 0;
    return rows > 0 ? rows : 1;
}

/* Complete as many as a turn does; the others stay in `batch`. */
static void complete_some(struct store_port *port, struct list *batch)
{
    struct list *link;
    for (size_t weight = 0; weight < COMPLETE_MAX && (link = pop_done(port, batch)) != NULL;) {
        struct store_request *request = container_of(link, struct store_request, link);
        weight += weight_of(request);
        complete(port, request);
    }
}

static void complete_all(void *arg, bool cancelled)
{
    struct store_port *port = arg;
    struct list batch;
    list_init(&batch);
    CHECK(pthread_mutex_lock(&port->lock) == 0);
    port->posted = false;
    if (!cancelled) { /* else the shard is gone and nobody is left to be told */
        list_splice(&batch, &port->done);
    }
    CHECK(pthread_mutex_unlock(&port->lock) == 0);
    port->draining = true;
    complete_some(port, &batch);
    port->draining = false;
    if (!list_empty(&batch)) { /* in the next turn, in front of what has come meanwhile */
        CHECK(pthread_mutex_lock(&port->lock) == 0);
        list_splice(&batch, &port->done);
        list_splice(&port->done, &batch);
        post_completion(port);
        CHECK(pthread_mutex_unlock(&port->lock) == 0);
    }
    if (!cancelled) {
        release_if_idle(port);
    }
}

/* A put that only moves a position may find room where rows find none. */
static enum health_of health_of(const struct store_request *request)
{
    if (!op_writes(request->op)) {
        return HEALTH_OF_READS;
    }
    bool puts = request->op == STORE_PUT && ((const struct store_put *)request)->count > 0;
    return puts ? HEALTH_OF_WRITES : HEALTH_OF_NOTHING;
}

/* Have `done` called, in a later turn of its shard. */
static void give_back(struct store_request *request, int status)
{
    struct store_port *port = request->port;
    request->status = status;
    audience_forget(request);
    if (status < 0) {
        request_reset(request);
    }
    CHECK(pthread_mutex_lock(&port->lock) == 0);
    list_append(&port->done, &request->link);
    post_completion(port);
    CHECK(pthread_mutex_unlock(&port->lock) == 0);
}

void port_complete(struct store_request *request, int status)
{
    health_note(&request->port->store->health, health_of(request), status);
    give_back(request, status);
}

static void close_idle(void *arg, bool cancelled)
{
    if (!cancelled) {
        release_if_idle(arg);
    }
}

void store_port_close(struct store_port *port, void (*closed)(void *context), void *context)
{
    CHECK(!port->closing);
    port->closing = true;
    port->closed = closed;
    port->closed_context = context;
    if (port->pending == 0 && !port->draining) {
        const struct store_config *config = &port->store->config;
        config->post(config->post_context, port->index, close_idle, port);
    }
}

void port_closed(struct store_port *port)
{
    port->closed(port->closed_context);
}
