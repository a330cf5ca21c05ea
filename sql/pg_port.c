/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues requests of a shard and gives them to connections; ports without connections pass theirs
 * on to one that has some.
 */
#include "sql/pg_port.h"

#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/audience.h"
#include "sql/history.h"
#include "sql/job.h"
#include "sql/pg_engine.h"
#include "sql/pg_watch.h"
#include "sql/store_device.h"
#include "sql/store_edit.h"

enum {
    READS_PER_CONN = 8,
    SIZE_MAX_PUT = 256 << 20,
    READER_IDLE_MS = 60000,
    QUEUE_MS = 4000, /* what could not be sent for so long is given back: nothing was done */
};

static struct pg_port *as_port(struct store_port *port)
{
    return container_of(port, struct pg_port, base);
}

static const struct pg_conn_events reader_events;

/* --- lanes: the ports that have connections --- */

/* How many: the first ones, each with two connections at least. */
static unsigned count_lanes(const struct store_config *config)
{
    unsigned pairs = config->pool_max >= 2 ? config->pool_max / 2 : 1;
    return pairs < config->port_count ? pairs : config->port_count;
}

static uint32_t slot_of_user(const struct store_user *who)
{
    return slot_of(who->tenant, who->user);
}

/* The slot of what a request is about; those about several go by the first. */
static uint32_t slot_of_request(const struct store_request *request)
{
    switch ((unsigned)request->op) {
    case STORE_PUT: {
        const struct store_put *put = (const struct store_put *)request;
        return put->count > 0 ? slot_of_id(put->rows[0].id) : put->partition;
    }
    case STORE_MARK:
        return slot_of_user(&((const struct store_mark *)request)->who);
    case STORE_PICK:
        return slot_of_user(&((const struct store_pick *)request)->who);
    case STORE_EDIT:
        return slot_of_id(((const struct store_edit *)request)->id);
    case STORE_RESCHEDULE:
        return slot_of_id(((const struct store_reschedule *)request)->id);
    case STORE_LIST:
    case STORE_PAGE:
    case STORE_TEXTS:
    case STORE_ROWS:
        return slot_of_user(&((const struct store_list *)request)->who);
    case STORE_COUNTS:
        return slot_of_user(&((const struct store_counts *)request)->who);
    case STORE_SYNC:
        return slot_of_user(&((const struct store_sync *)request)->who);
    case STORE_GET:
        return slot_of_id(((const struct store_get *)request)->id);
    case STORE_POSITIONS: {
        const struct store_positions *positions = (const struct store_positions *)request;
        return positions->count > 0 ? slot_of_user(&positions->users[0]) : SLOT_NONE;
    }
    case STORE_PREFERENCE_READ:
    case STORE_PREFERENCE_WRITE:
        return slot_of_user(&((const struct store_preference *)request)->who);
    case STORE_DEVICE_PUT:
    case STORE_DEVICE_STATE:
    case STORE_DEVICE_REMOVE:
    case STORE_DEVICE_LIST:
        return slot_of_user(&((const struct store_devices *)request)->who);
    case STORE_PUSH_NOTE:
        return slot_of_user(&((const struct store_push_note *)request)->who);
    case STORE_PUSH_RECEIVED:
        return slot_of_user(&((const struct store_push_received *)request)->who);
    case STORE_PUSH_LOOK:
        return slot_of_user(&((const struct store_push_look *)request)->who);
    case STORE_CLAIM:
        return ((const struct store_claim *)request)->partition;
    case STORE_FORGET:
        return slot_of_user(&((const struct store_forget *)request)->who);
    case STORE_HISTORY_ADD:
    case STORE_HISTORY_SWEEP:
    case STORE_HISTORY_LIST:
        return history_slot(request);
    case STORE_JOB_ADD:
    case STORE_JOB_LEASE:
    case STORE_JOB_STEP:
    case STORE_JOB_PAUSE:
    case STORE_JOB_SWEEP:
    case STORE_JOB_GET:
    case STORE_JOB_LIST:
    case STORE_QUEUES:
        return job_slot(request);
    default:
        break;
    }
    return SLOT_NONE;
}

/* --- reading --- */

static struct pg_reader *reader_of(struct pg_conn *conn)
{
    return container_of(conn, struct pg_reader, conn);
}

static void open_reader(struct pg_port *port)
{
    struct pg_reader *reader = &port->readers[port->reader_count++];
    *reader = (struct pg_reader){.open = true, .used_ms = clock_mono_ms()};
    reader->conn.owner = port;
    port->open_count++;
    struct store *store = port->base.store;
    pg_conn_open(&reader->conn, port->loop, store->config.url.at, store->stats, &reader_events);
}

static struct pg_conn *idlest_reader(struct pg_port *port)
{
    struct pg_conn *best = NULL;
    for (size_t i = 0; i < port->reader_count; i++) {
        struct pg_conn *conn = &port->readers[i].conn;
        if (pg_conn_is_up(conn) && conn->flight_count < READS_PER_CONN &&
            (!best || conn->flight_count < best->flight_count)) {
            best = conn;
        }
    }
    return best;
}

/* One more connection, where all that there are work and reads wait all the same. */
static void open_reader_if_busy(struct pg_port *port)
{
    if (port->released || port->reader_count == port->reader_max ||
        port->readers[port->reader_count].open) {
        return;
    }
    for (size_t i = 0; i < port->reader_count; i++) {
        if (!pg_conn_is_up(&port->readers[i].conn)) {
            return; /* the database is away, or one is on its way */
        }
    }
    open_reader(port);
    pg_patience_arm(port);
}

static void dispatch_reads(struct pg_port *port)
{
    struct pg_conn *conn = idlest_reader(port);
    while (conn && !list_empty(&port->reads)) {
        struct list *link = list_pop(&port->reads);
        reader_of(conn)->used_ms = clock_mono_ms();
        pg_read_send(conn, container_of(link, struct store_request, link));
        conn = idlest_reader(port);
    }
    if (!list_empty(&port->reads)) {
        open_reader_if_busy(port);
    }
}

/* The last of the additional connections goes when it has had nothing to do for a minute. */
static void close_idle_reader(struct pg_port *port)
{
    if (port->reader_count <= port->reader_min) {
        return;
    }
    struct pg_reader *reader = &port->readers[port->reader_count - 1];
    if (reader->conn.flight_count == 0 && clock_mono_ms() - reader->used_ms >= READER_IDLE_MS) {
        port->reader_count--;
        pg_conn_close(&reader->conn);
    }
}

/* Give up what waits in a queue. */
static void fail_queue(struct list *queue)
{
    for (struct list *link = list_pop(queue); link; link = list_pop(queue)) {
        port_complete(container_of(link, struct store_request, link), STATUS_UNAVAILABLE);
    }
}

/* Give up what has waited in a queue for too long, the oldest being first but for what checks the
 * store; tell how many. */
static size_t expire_queue(struct list *queue)
{
    size_t count = 0;
    uint64_t now = clock_mono_ns();
    list_for_each_safe (link, following, queue) {
        struct store_request *request = container_of(link, struct store_request, link);
        if (now - request->started_ns >= QUEUE_MS * UINT64_C(1000000)) {
            list_remove(&request->link);
            port_complete(request, STATUS_UNAVAILABLE);
            count++;
        } else if (!op_checks(request->op)) {
            break;
        }
    }
    return count;
}

/* --- the connection that writes --- */

static void ask_last(struct pg_port *port)
{
    struct store_request *question = pg_last_question(&port->last, &port->base);
    if (question != NULL) {
        pg_read_send(&port->writer, question);
    }
}

static void on_writer_up(struct pg_conn *conn)
{
    struct pg_port *port = conn->owner;
    if (port->writer_lost) { /* the first one is no other than those of the ports beside it */
        atomic_fetch_add_explicit(&port->base.store->health.sessions, 1, memory_order_relaxed);
    }
    ask_last(port);
    pg_write_dispatch(port);
}

static void on_writer_down(struct pg_conn *conn, bool was_up)
{
    struct pg_port *port = conn->owner;
    port->writer_lost = true;
    if (!was_up) { /* what arrived since the loss has waited for one attempt in vain */
        port->isolate_left = 0;
        pg_write_gather(port);
        fail_queue(&port->writes);
    }
}

static void on_trouble(struct pg_conn *conn, const char *text, const char *remedy)
{
    struct pg_port *port = conn->owner;
    if (remedy == pg_pooler_text) {
        health_met_pooler(&port->base.store->health);
    }
    health_explain(&port->base.store->health, text, remedy);
}

static void on_writer_landed(struct pg_conn *conn, struct pg_flight *flight)
{
    pg_write_landed(conn->owner, flight);
}

static void on_writer_idle(struct pg_conn *conn)
{
    pg_write_dispatch(conn->owner);
}

/* --- the connections that read --- */

static void on_reader_up(struct pg_conn *conn)
{
    dispatch_reads(conn->owner);
}

static void on_reader_down(struct pg_conn *conn, bool was_up)
{
    struct pg_port *port = conn->owner;
    bool any_up = false;
    for (size_t i = 0; i < port->reader_count; i++) {
        any_up |= pg_conn_is_up(&port->readers[i].conn);
    }
    if (!was_up && !any_up) {
        fail_queue(&port->reads);
    }
}

static void on_reader_landed(struct pg_conn *conn, struct pg_flight *flight)
{
    if (flight->request_count == 0) {
        pg_flight_destroy(flight);
        return;
    }
    struct store_request *request = flight->requests[0];
    struct pg_port *port = conn->owner;
    int status = flight->status;
    if (status == 0 && request->lacking_count > 0) {
        pg_flight_destroy(flight);
        request_reset(request);
        list_append(&port->writes, &request->link); /* sent when the connection is idle */
        return;
    }
    if (status == 0 && request->result && result_failed(request->result)) {
        status = STATUS_UNAVAILABLE;
    }
    if (status == STATUS_UNKNOWN && !op_writes(request->op)) {
        status = STATUS_UNAVAILABLE; /* a read that was not answered changed nothing */
    }
    pg_flight_destroy(flight);
    port_complete(request, status);
}

static void on_reader_idle(struct pg_conn *conn)
{
    struct pg_port *port = conn->owner;
    dispatch_reads(port);
    pg_write_dispatch(port); /* reads that wait for rows */
    pg_patience_arm(port);
}

static void close_one(struct pg_port *port)
{
    port->open_count--;
    if (port->open_count == 0) {
        port_closed(&port->base);
    }
}

static void on_writer_closed(struct pg_conn *conn)
{
    close_one(conn->owner);
}

static void on_reader_closed(struct pg_conn *conn)
{
    reader_of(conn)->open = false;
    close_one(conn->owner);
}

/* --- what is looked at from time to time --- */

/*
 * A session of ours that holds locks and waits for its client belongs to a node that was stopped or
 * cut off in the middle of a transaction; no timeout of the database ends it before its Sync.
 */
static void unblock(struct pg_port *port)
{
    struct pg_conn *conn = idlest_reader(port);
    bool slow = pg_conn_waited_ms(&port->writer) >= PG_PATIENCE_MS;
    if (slow && conn && pg_conn_is_up(&port->writer)) {
        pg_read_unblock(conn, pg_conn_pid(&port->writer));
    }
}

static void on_patience(void *context)
{
    struct pg_port *port = context;
    port->waiting = false;
    (void)expire_queue(&port->reads);
    size_t gone = expire_queue(&port->writes);
    port->isolate_left -= gone < port->isolate_left ? gone : port->isolate_left;
    unblock(port);
    if (port->last.asked && pg_conn_is_up(&port->writer) && port->writer.flight_count == 0) {
        ask_last(port);
    }
    close_idle_reader(port);
    if (pg_patience_busy(port) || port->reader_count > port->reader_min) {
        pg_patience_arm(port);
    }
}

static void on_no_socket(void *context)
{
}

static void on_patience_closed(void *context)
{
    close_one(context);
}

static const struct pg_watch_events patience_events = {
    .on_ready = on_no_socket,
    .on_timer = on_patience,
    .on_closed = on_patience_closed,
};

static const struct pg_conn_events writer_events = {
    .on_up = on_writer_up,
    .on_down = on_writer_down,
    .on_trouble = on_trouble,
    .on_rows = pg_write_rows,
    .on_landed = on_writer_landed,
    .on_idle = on_writer_idle,
    .on_closed = on_writer_closed,
};

static const struct pg_conn_events reader_events = {
    .on_up = on_reader_up,
    .on_down = on_reader_down,
    .on_trouble = on_trouble,
    .on_rows = pg_read_rows,
    .on_landed = on_reader_landed,
    .on_idle = on_reader_idle,
    .on_closed = on_reader_closed,
};

/* --- the port --- */

/* Its share of the connections. */
static void open_lane(struct pg_port *port)
{
    struct store *store = port->base.store;
    const struct store_config *config = &store->config;
    unsigned lanes = count_lanes(config);
    uint32_t most = config->pool_max / lanes;
    uint32_t least = config->pool_min / lanes;
    port->lane = true;
    port->reader_max = most > 2 ? most - 1 : 1;
    port->reader_min = least > 2 ? least - 1 : 1;
    port->reader_min = port->reader_min < port->reader_max ? port->reader_min : port->reader_max;
    port->readers = mem_alloc_array(port->reader_max, sizeof(*port->readers));
    port->open_count = 2;
    port->patience = pg_watch_create(port->loop, &patience_events, port);
    port->writer.owner = port;
    port->writer.writes = true;
    pg_conn_open(&port->writer, port->loop, store->config.url.at, store->stats, &writer_events);
    while (port->reader_count < port->reader_min) {
        open_reader(port);
    }
}

int pg_port_open(
    struct store *store, unsigned index, struct uv_loop_s *loop, struct store_port **ret_port)
{
    struct pg_port *port = mem_alloc(sizeof(*port));
    port_init(&port->base, store, index);
    list_init(&port->writes);
    list_init(&port->reads);
    list_init(&port->again);
    port->loop = loop;
    if (index < count_lanes(&store->config)) {
        open_lane(port);
    }
    *ret_port = &port->base;
    return 0;
}

/* A raise is no part of the writer's transactions: it must not wait for their locks. */
static bool is_for_writer(const struct store_request *request)
{
    bool current =
        request->op == STORE_POSITIONS && ((const struct store_positions *)request)->current;
    return current || (op_writes(request->op) && request->op != STORE_WITNESS_RAISE);
}

/* On the thread of a port with connections; `request` may be another port's. */
static void enqueue(struct pg_port *port, struct store_request *request)
{
    if (port->released) {
        port_complete(request, STATUS_UNAVAILABLE);
    } else if (!is_for_writer(request)) {
        (op_checks(request->op) ? list_prepend : list_append)(&port->reads, &request->link);
        dispatch_reads(port);
    } else if (pg_write_size(request) > SIZE_MAX_PUT) {
        port_complete(request, STATUS_INVALID);
    } else {
        list_append(&port->writes, &request->link);
        pg_write_dispatch(port);
    }
    if (!list_empty(&port->reads) || !list_empty(&port->writes)) {
        pg_patience_arm(port);
    }
}

static unsigned lane_of(const struct store_request *request)
{
    return slot_of_request(request) % count_lanes(&request->port->store->config);
}

/* What another port has passed on; cancelled: the shard has ended. */
static void on_passed(void *arg, bool cancelled)
{
    struct store_request *request = arg;
    struct store_port *lane = cancelled ? NULL : request->port->store->ports[lane_of(request)];
    if (lane) {
        enqueue(as_port(lane), request);
    } else {
        port_complete(request, STATUS_UNAVAILABLE);
    }
}

void pg_port_submit(struct store_port *base, struct store_request *request)
{
    struct pg_port *port = as_port(base);
    if (port->lane) {
        enqueue(port, request);
        return;
    }
    const struct store_config *config = &base->store->config;
    config->post(config->post_context, lane_of(request), on_passed, request);
}

/* Requests of other ports may still be here, and come later. */
void pg_port_close(struct store_port *base)
{
    struct pg_port *port = as_port(base);
    port->released = true;
    if (!port->lane) {
        port_closed(base);
        return;
    }
    pg_write_gather(port);
    fail_queue(&port->writes);
    fail_queue(&port->reads);
    pg_watch_close(port->patience);
    pg_conn_close(&port->writer);
    for (size_t i = 0; i < port->reader_count; i++) {
        pg_conn_close(&port->readers[i].conn);
    }
}

void pg_port_destroy(struct store_port *base)
{
    struct pg_port *port = as_port(base);
    port_finish(base);
    mem_free(port->readers);
    mem_free(port);
}
