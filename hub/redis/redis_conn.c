/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One attempt from the name to the socket: its number chooses the address, and what is written
 * waits in one buffer.
 */
#include "hub/redis/redis_conn.h"

#include <stdio.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"

enum { KEEP_OUT = 64 * 1024 };

/*
 * `owner` is NULL once the connection is closed. The memory goes when neither the resolver nor the
 * socket handle needs it (`holds`).
 */
struct redis_conn {
    uv_loop_t *loop;
    const struct redis_conn_ops *ops;
    void *owner;
    struct redis_input *input;
    unsigned attempt;
    unsigned addresses;
    unsigned holds;
    bool has_handle;
    bool resolving;
    bool connected;
    bool writing;
    bool failed; /* on_failed was called, or will be */
    struct builder out; /* collects */
    struct builder sending; /* in the kernel's hands while `writing` */
    uv_getaddrinfo_t resolver;
    uv_connect_t connect;
    uv_write_t write;
    uv_timer_t starter; /* begins in a turn of its own, so that no call reports its own failure */
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } socket;
    struct redis_url url;
};

static void drop_hold(struct redis_conn *conn)
{
    CHECK(conn->holds > 0);
    if (--conn->holds == 0) {
        builder_reset(&conn->out);
        builder_reset(&conn->sending);
        mem_free(conn);
    }
}

static void fail(struct redis_conn *conn, int uv_status, const char *what)
{
    if (conn->owner == NULL || conn->failed) {
        return;
    }
    conn->failed = true;
    char why[160];
    if (uv_status == 0) {
        snprintf(why, sizeof(why), "%s", what);
    } else {
        snprintf(why, sizeof(why), "%s: %s", what, uv_strerror(uv_status));
    }
    int status = uv_status == UV_ENOMEM ? STATUS_NOMEM : STATUS_UNAVAILABLE;
    conn->ops->on_failed(conn->owner, status, why);
}

/* --- reading and writing ------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    (void)suggested;
    struct redis_conn *conn = handle->data;
    *ret_buf = uv_buf_init(conn->input->at, sizeof(conn->input->at));
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    struct redis_conn *conn = stream->data;
    if (count == UV_EOF) {
        fail(conn, 0, "the server closed the connection");
    } else if (count < 0) {
        fail(conn, (int)count, "reading failed");
    } else if (count > 0 && conn->owner != NULL) {
        conn->ops->on_bytes(conn->owner, bytes_of(buf->base, (size_t)count));
    }
}

static void start_write(struct redis_conn *conn);

static void on_written(uv_write_t *write, int uv_status)
{
    struct redis_conn *conn = write->data;
    conn->writing = false;
    if (conn->owner == NULL) {
        return;
    }
    if (uv_status < 0) {
        fail(conn, uv_status, "writing failed");
        return;
    }
    if (builder_bytes(&conn->sending).len > KEEP_OUT) {
        builder_reset(&conn->sending);
    }
    builder_clear(&conn->sending);
    start_write(conn);
}

static void start_write(struct redis_conn *conn)
{
    if (!conn->connected || conn->writing || conn->failed) {
        return;
    }
    if (builder_failed(&conn->out)) {
        fail(conn, UV_ENOMEM, "no memory for what is to be sent");
        return;
    }
    if (builder_bytes(&conn->out).len == 0) {
        return;
    }
    struct builder swap = conn->sending;
    conn->sending = conn->out;
    conn->out = swap;
    struct bytes content = builder_bytes(&conn->sending);
    uv_buf_t buf = {.base = (char *)content.at, .len = content.len};
    conn->write.data = conn;
    int uv_status = uv_write(&conn->write, &conn->socket.stream, &buf, 1, on_written);
    if (uv_status < 0) {
        fail(conn, uv_status, "writing failed");
        return;
    }
    conn->writing = true;
}

/* --- connecting ---------------------------------------------------------------------------- */

static void on_connect(uv_connect_t *connect, int uv_status)
{
    struct redis_conn *conn = connect->data;
    if (conn->owner == NULL) {
        return;
    }
    if (uv_status == 0) {
        uv_status = uv_read_start(&conn->socket.stream, on_alloc, on_read);
    }
    if (uv_status < 0) {
        fail(conn, uv_status, "connecting failed");
        return;
    }
    conn->connected = true;
    conn->ops->on_connected(conn->owner);
}

static void connect_address(struct redis_conn *conn, const struct sockaddr *address)
{
    int uv_status = uv_tcp_init(conn->loop, &conn->socket.tcp);
    if (uv_status == 0) {
        conn->has_handle = true;
        conn->holds++;
        conn->socket.handle.data = conn;
        uv_tcp_nodelay(&conn->socket.tcp, 1);
        conn->connect.data = conn;
        uv_status = uv_tcp_connect(&conn->connect, &conn->socket.tcp, address, on_connect);
    }
    if (uv_status < 0) {
        fail(conn, uv_status, "connecting failed");
    }
}

static void on_resolved(uv_getaddrinfo_t *resolver, int uv_status, struct addrinfo *found)
{
    struct redis_conn *conn = resolver->data;
    conn->resolving = false;
    if (conn->owner != NULL && uv_status < 0) {
        fail(conn, uv_status, "the host name was not resolved");
    } else if (conn->owner != NULL) {
        unsigned count = 0;
        for (struct addrinfo *each = found; each != NULL; each = each->ai_next) {
            count++;
        }
        conn->addresses = count;
        struct addrinfo *chosen = found;
        for (unsigned skip = count > 0 ? conn->attempt % count : 0; skip > 0; skip--) {
            chosen = chosen->ai_next;
        }
        if (chosen == NULL) {
            fail(conn, 0, "the host name has no address");
        } else {
            connect_address(conn, chosen->ai_addr);
        }
    }
    uv_freeaddrinfo(found);
    drop_hold(conn);
}

static void resolve(struct redis_conn *conn)
{
    char port[8];
    snprintf(port, sizeof(port), "%u", conn->url.port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    conn->resolver.data = conn;
    int uv_status =
        uv_getaddrinfo(conn->loop, &conn->resolver, on_resolved, conn->url.host, port, &hints);
    if (uv_status < 0) {
        fail(conn, uv_status, "the host name was not resolved");
        return;
    }
    conn->resolving = true;
    conn->holds++;
}

static void connect_unix(struct redis_conn *conn)
{
    int uv_status = uv_pipe_init(conn->loop, &conn->socket.pipe, 0);
    if (uv_status < 0) {
        fail(conn, uv_status, "connecting failed");
        return;
    }
    conn->has_handle = true;
    conn->holds++;
    conn->socket.handle.data = conn;
    conn->connect.data = conn;
    uv_pipe_connect(&conn->connect, &conn->socket.pipe, conn->url.host, on_connect);
}

static void on_start(uv_timer_t *timer)
{
    struct redis_conn *conn = timer->data;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (conn->url.is_unix) {
        connect_unix(conn);
    } else if (uv_ip4_addr(conn->url.host, conn->url.port, &v4) == 0) {
        connect_address(conn, (const struct sockaddr *)&v4);
    } else if (uv_ip6_addr(conn->url.host, conn->url.port, &v6) == 0) {
        connect_address(conn, (const struct sockaddr *)&v6);
    } else {
        resolve(conn);
    }
}

/* --- public -------------------------------------------------------------------------------- */

struct redis_conn *redis_conn_open(uv_loop_t *loop, const struct redis_url *url, unsigned attempt,
    const struct redis_conn_ops *ops, void *owner, struct redis_input *input)
{
    struct redis_conn *conn = mem_alloc(sizeof(*conn));
    conn->loop = loop;
    conn->ops = ops;
    conn->owner = owner;
    conn->input = input;
    conn->attempt = attempt;
    conn->addresses = 1;
    conn->url = *url;
    conn->out.max = SIZE_MAX / 4; /* the link bounds commands; subscriptions by their number */
    conn->sending.max = SIZE_MAX / 4;
    conn->holds = 1;
    uv_timer_init(loop, &conn->starter);
    conn->starter.data = conn;
    uv_timer_start(&conn->starter, on_start, 0, 0);
    return conn;
}

struct builder *redis_conn_out(struct redis_conn *conn)
{
    return &conn->out;
}

size_t redis_conn_unsent(const struct redis_conn *conn)
{
    size_t queued = conn->writing ? uv_stream_get_write_queue_size(&conn->socket.stream) : 0;
    return queued + builder_bytes(&conn->out).len;
}

unsigned redis_conn_addresses(const struct redis_conn *conn)
{
    return conn->addresses;
}

void redis_conn_flush(struct redis_conn *conn)
{
    start_write(conn);
}

static void on_handle_closed(uv_handle_t *handle)
{
    drop_hold(handle->data);
}

void redis_conn_close(struct redis_conn *conn)
{
    if (conn == NULL || conn->owner == NULL) {
        return;
    }
    conn->owner = NULL;
    if (conn->resolving) {
        uv_cancel((uv_req_t *)&conn->resolver);
    }
    if (conn->has_handle) {
        uv_close(&conn->socket.handle, on_handle_closed);
    }
    uv_close((uv_handle_t *)&conn->starter, on_handle_closed);
}
