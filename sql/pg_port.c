/* SPDX-License-Identifier: Apache-2.0 */
#include "sql/pg_port.h"

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "sql/pg_engine.h"
#include "sql/pg_watch.h"

enum { READS_PER_CONN = 8, SIZE_MAX_PUT = 256 << 20, PATIENCE_MS = 250 };

static struct pg_port *of(struct store_port *port)
{
    return container_of(port, struct pg_port, base);
}

static struct pg_conn *idlest_reader(struct pg_port *port)
{
    struct pg_conn *best = NULL;
    for (size_t i = 0; i < port->reader_count; i++) {
        struct pg_conn *conn = &port->readers[i];
        if (pg_conn_is_up(conn) && conn->flight_count < READS_PER_CONN &&
            (!best || conn->flight_count < best->flight_count)) {
            best = conn;
        }
    }
    return best;
}

static void dispatch_reads(struct pg_port *port)
{
    struct pg_conn *conn = idlest_reader(port);
    while (conn && !list_empty(&port->reads)) {
        struct list *link = list_pop(&port->reads);
        pg_read_send(conn, container_of(link, struct store_request, link));
        conn = idlest_reader(port);
    }
}

/* Give up what waits in a queue. */
static void fail_queue(struct list *queue)
{
    for (struct list *link = list_pop(queue); link; link = list_pop(queue)) {
        port_complete(container_of(link, struct store_request, link), STATUS_UNAVAILABLE);
    }
}

/* --- the connection that writes --- */

static void on_writer_up(struct pg_conn *conn)
{
    struct pg_port *port = conn->owner;
    atomic_store(&port->base.store->healthy, true);
    pg_write_dispatch(port);
}

static void on_writer_down(struct pg_conn *conn, bool was_up)
{
    struct pg_port *port = conn->owner;
    atomic_store(&port->base.store->healthy, false);
    if (!was_up) { /* what arrived since the loss has waited for one attempt in vain */
        port->isolate_left = 0;
        fail_queue(&port->writes);
    }
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
        any_up |= pg_conn_is_up(&port->readers[i]);
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
    int status = flight->status;
    if (status == 0 && request->result && result_failed(request->result)) {
        status = STATUS_UNAVAILABLE;
    }
    pg_flight_destroy(flight);
    port_complete(request, status);
}

static void on_reader_idle(struct pg_conn *conn)
{
    dispatch_reads(conn->owner);
}

static void close_one(struct pg_port *port)
{
    port->open_count--;
    if (port->open_count == 0) {
        port_closed(&port->base);
    }
}

static void on_conn_closed(struct pg_conn *conn)
{
    close_one(conn->owner);
}

/* --- writes that are blocked --- */

void pg_port_wait(struct pg_port *port)
{
    if (!port->waiting) {
        port->waiting = true;
        pg_watch_timer(port->patience, PATIENCE_MS);
    }
}

/*
 * A session of ours that holds locks and waits for its client belongs to a node that was stopped or
 * cut off in the middle of a transaction; no timeout of the database ends it before its Sync.
 */
static void on_patience(void *context)
{
    struct pg_port *port = context;
    port->waiting = false;
    if (port->writer.flight_count == 0) {
        return;
    }
    pg_port_wait(port);
    struct pg_conn *conn = idlest_reader(port);
    bool slow = pg_conn_waited_ms(&port->writer) >= PATIENCE_MS;
    if (slow && conn && pg_conn_is_up(&port->writer)) {
        pg_read_unblock(conn, pg_conn_pid(&port->writer));
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
    .on_rows = pg_write_rows,
    .on_landed = on_writer_landed,
    .on_idle = on_writer_idle,
    .on_closed = on_conn_closed,
};

static const struct pg_conn_events reader_events = {
    .on_up = on_reader_up,
    .on_down = on_reader_down,
    .on_rows = pg_read_rows,
    .on_landed = on_reader_landed,
    .on_idle = on_reader_idle,
    .on_closed = on_conn_closed,
};

/* --- the port --- */

int pg_port_open(
    struct store *store, unsigned index, struct uv_loop_s *loop, struct store_port **ret_port)
{
    struct pg_port *port = mem_alloc(sizeof(*port));
    port_init(&port->base, store, index);
    list_init(&port->writes);
    list_init(&port->reads);
    const char *url = pg_store_url(store);
    uint32_t pool = store->config.pool_size;
    port->reader_count = pool < 2 ? 1 : pool > 8 ? 7 : pool - 1;
    port->readers = mem_alloc_array(port->reader_count, sizeof(*port->readers));
    port->open_count = 2 + port->reader_count;
    port->patience = pg_watch_create(loop, &patience_events, port);
    port->writer.owner = port;
    pg_conn_open(&port->writer, loop, url, store->stats, &writer_events);
    for (size_t i = 0; i < port->reader_count; i++) {
        port->readers[i].owner = port;
        pg_conn_open(&port->readers[i], loop, url, store->stats, &reader_events);
    }
    *ret_port = &port->base;
    return 0;
}

void pg_port_submit(struct store_port *base, struct store_request *request)
{
    struct pg_port *port = of(base);
    /* A raise is no part of the writer's transactions: it must not wait for their locks. */
    if (!op_writes(request->op) || request->op == STORE_WITNESS_RAISE) {
        list_append(&port->reads, &request->link);
        dispatch_reads(port);
    } else if (pg_write_size(request) > SIZE_MAX_PUT) {
        port_complete(request, STATUS_INVALID);
    } else {
        list_append(&port->writes, &request->link);
        pg_write_dispatch(port);
    }
}

void pg_port_release(struct store_port *base)
{
    struct pg_port *port = of(base);
    pg_watch_close(port->patience);
    pg_conn_close(&port->writer);
    for (size_t i = 0; i < port->reader_count; i++) {
        pg_conn_close(&port->readers[i]);
    }
}

void pg_port_free(struct store_port *base)
{
    struct pg_port *port = of(base);
    port_finish(base);
    mem_free(port->readers);
    mem_free(port);
}
