/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One attempt from the name to the socket and the end of the TLS handshake: its number chooses the
 * address, and what is written waits in one buffer, sealed when the kernel has taken the one
 * before.
 */
#include "hub/redis/redis_conn.h"

#include <stdio.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/net/tls_context.h"
#include "hub/net/tls_stream.h"

enum { KEEP_OUT = 64 * 1024, WHY_MAX = 250 };

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
    struct builder sealed; /* with TLS: records of what was in `out`, and of the handshake */
    struct builder sending; /* in the kernel's hands while `writing` */
    struct tls_stream *stream; /* NULL: plain, or not begun */
    struct tls_context *tls; /* one reference; NULL: plain */
    char tls_name[256];
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
    struct redis_place place;
};

static void drop_hold(struct redis_conn *conn)
{
    CHECK(conn->holds > 0);
    if (--conn->holds == 0) {
        builder_reset(&conn->out);
        builder_reset(&conn->sealed);
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
    char why[WHY_MAX];
    if (uv_status == 0) {
        snprintf(why, sizeof(why), "%s", what);
    } else {
        snprintf(why, sizeof(why), "%s: %s", what, uv_strerror(uv_status));
    }
    int status = uv_status == UV_ENOMEM ? STATUS_NOMEM : STATUS_UNAVAILABLE;
    conn->ops->on_failed(conn->owner, status, why);
}

static void start_write(struct redis_conn *conn);

/* --- TLS ----------------------------------------------------------------------------------- */

/* Why the stream that was called last is of no more use. */
static void write_failure(const struct tls_desk *desk, char ret_why[WHY_MAX])
{
    bool refused = desk->failure == TLS_FAILED_CERTIFICATE;
    snprintf(ret_why, WHY_MAX, "TLS with the server failed: %s%s%s%s",
        refused ? "its certificate is not accepted" : tls_failure_text(desk->failure),
        desk->detail[0] != '\0' ? " (" : "", desk->detail, desk->detail[0] != '\0' ? ")" : "");
}

/* What the stream has put on the desk is sent next. */
static void take_sealed(struct redis_conn *conn)
{
    builder_add(&conn->sealed, builder_bytes(&conn->input->desk->out));
}

/* Turn all of `out` into records. */
static void seal(struct redis_conn *conn)
{
    struct bytes plain = builder_bytes(&conn->out);
    if (tls_stream_state(conn->stream) != TLS_READY) {
        return;
    }
    while (plain.len > 0) {
        struct iovec range = {.iov_base = (void *)(uintptr_t)plain.at, .iov_len = plain.len};
        size_t taken = tls_stream_seal(conn->stream, conn->input->desk, &range, 1);
        if (taken == 0) {
            char why[WHY_MAX];
            write_failure(conn->input->desk, why);
            fail(conn, 0, why);
            return;
        }
        take_sealed(conn);
        plain = bytes_skip(plain, taken);
    }
    if (builder_bytes(&conn->out).len > KEEP_OUT) {
        builder_reset(&conn->out);
    }
    builder_clear(&conn->out);
}

static void begin_tls(struct redis_conn *conn)
{
    struct redis_input *input = conn->input;
    const char *name = conn->tls_name[0] != '\0' ? conn->tls_name : conn->place.host;
    if (input->desk == NULL) {
        input->desk = mem_try_calloc(1, sizeof(*input->desk));
    }
    if (input->plain == NULL && input->desk != NULL) {
        input->plain = mem_try_alloc(TLS_PLAIN_ROOM);
    }
    if (input->plain != NULL) {
        conn->stream = tls_stream_create(conn->tls, input->desk);
    }
    if (conn->stream == NULL || !tls_stream_begin(conn->stream, input->desk, name)) {
        fail(conn, UV_ENOMEM, "TLS cannot begin");
        return;
    }
    take_sealed(conn);
    start_write(conn);
}

/* Bytes of the wire: what they say goes to the owner, which may close the connection. */
static void open_sealed(struct redis_conn *conn, struct bytes wire)
{
    struct redis_input *input = conn->input;
    bool shook = tls_stream_state(conn->stream) == TLS_SHAKING;
    size_t len = tls_stream_open(conn->stream, input->desk, wire, input->plain);
    enum tls_state state = tls_stream_state(conn->stream);
    char why[WHY_MAX] = "the server closed the connection";
    if (state == TLS_BROKEN) {
        write_failure(input->desk, why);
    }
    take_sealed(conn);
    start_write(conn);
    if (shook && state != TLS_SHAKING && state != TLS_BROKEN && !conn->failed) {
        conn->ops->on_connected(conn->owner);
    }
    if (len > 0 && conn->owner != NULL && !conn->failed) {
        conn->ops->on_bytes(conn->owner, bytes_of(input->plain, len));
    }
    if (state == TLS_BROKEN || state == TLS_CLOSED) {
        fail(conn, 0, why);
    }
}

/* --- reading and writing ------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    (void)suggested;
    struct redis_conn *conn = handle->data;
    size_t most = conn->tls != NULL ? (size_t)TLS_INPUT_ROOM : sizeof(conn->input->at);
    *ret_buf = uv_buf_init(conn->input->at, (unsigned)most);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    struct redis_conn *conn = stream->data;
    if (count == UV_EOF) {
        bool shakes = redis_conn_shakes(conn);
        fail(conn, 0,
            shakes ? "the server closed the connection during the TLS handshake"
                   : "the server closed the connection");
    } else if (count < 0) {
        fail(conn, (int)count, "reading failed");
    } else if (count > 0 && conn->owner != NULL && !conn->failed) {
        struct bytes bytes = bytes_of(buf->base, (size_t)count);
        if (conn->stream != NULL) {
            open_sealed(conn, bytes);
        } else {
            conn->ops->on_bytes(conn->owner, bytes);
        }
    }
}

static void on_written(uv_write_t *write, int uv_status)
{
    struct redis_conn *conn = write->data;
    conn->writing = false;
    if (conn->owner == NULL) {
        return;
    }
    if (uv_status == UV_EPIPE || uv_status == UV_ECONNRESET) {
        conn->writing = true; /* for ever: reading ends, too, and what came before tells why */
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
    struct builder *made = &conn->out;
    if (conn->stream != NULL) {
        seal(conn);
        made = &conn->sealed;
    }
    if (builder_failed(&conn->out) || builder_failed(made)) {
        fail(conn, UV_ENOMEM, "no memory for what is to be sent");
        return;
    }
    if (conn->failed || builder_bytes(made).len == 0) {
        return;
    }
    struct builder swap = conn->sending;
    conn->sending = *made;
    *made = swap;
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
    if (conn->tls != NULL) {
        begin_tls(conn);
    } else {
        conn->ops->on_connected(conn->owner);
    }
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
    snprintf(port, sizeof(port), "%u", conn->place.port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    conn->resolver.data = conn;
    int uv_status =
        uv_getaddrinfo(conn->loop, &conn->resolver, on_resolved, conn->place.host, port, &hints);
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
    uv_pipe_connect(&conn->connect, &conn->socket.pipe, conn->place.host, on_connect);
}

static void on_start(uv_timer_t *timer)
{
    struct redis_conn *conn = timer->data;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (conn->place.is_unix) {
        connect_unix(conn);
    } else if (uv_ip4_addr(conn->place.host, conn->place.port, &v4) == 0) {
        connect_address(conn, (const struct sockaddr *)&v4);
    } else if (uv_ip6_addr(conn->place.host, conn->place.port, &v6) == 0) {
        connect_address(conn, (const struct sockaddr *)&v6);
    } else {
        resolve(conn);
    }
}

/* --- public -------------------------------------------------------------------------------- */

struct redis_conn *redis_conn_open(uv_loop_t *loop, const struct redis_goal *goal,
    const struct redis_conn_ops *ops, void *owner, struct redis_input *input)
{
    struct redis_conn *conn = mem_alloc(sizeof(*conn));
    conn->loop = loop;
    conn->ops = ops;
    conn->owner = owner;
    conn->input = input;
    conn->attempt = goal->attempt;
    conn->addresses = 1;
    conn->place = *goal->place;
    conn->tls = goal->tls != NULL ? tls_context_ref(goal->tls) : NULL;
    snprintf(conn->tls_name, sizeof(conn->tls_name), "%s", goal->tls_name);
    conn->out.max = SIZE_MAX / 4; /* the link bounds commands; subscriptions by their number */
    conn->sealed.max = SIZE_MAX / 4;
    conn->sending.max = SIZE_MAX / 4;
    conn->holds = 1;
    uv_timer_init(loop, &conn->starter);
    conn->starter.data = conn;
    uv_timer_start(&conn->starter, on_start, 0, 0);
    return conn;
}

void redis_input_finish(struct redis_input *input)
{
    if (input->desk != NULL) {
        builder_reset(&input->desk->out);
        mem_free(input->desk);
        mem_free(input->plain);
        input->desk = NULL;
        input->plain = NULL;
    }
}

bool redis_conn_shakes(const struct redis_conn *conn)
{
    return conn->stream != NULL && tls_stream_state(conn->stream) == TLS_SHAKING;
}

struct builder *redis_conn_out(struct redis_conn *conn)
{
    return &conn->out;
}

size_t redis_conn_unsent(const struct redis_conn *conn)
{
    size_t queued = conn->writing ? uv_stream_get_write_queue_size(&conn->socket.stream) : 0;
    return queued + builder_bytes(&conn->out).len + builder_bytes(&conn->sealed).len;
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
    if (conn->stream != NULL) {
        tls_stream_destroy(conn->stream, conn->input->desk);
        conn->stream = NULL;
    }
    tls_context_unref(conn->tls);
    conn->tls = NULL;
    if (conn->resolving) {
        uv_cancel((uv_req_t *)&conn->resolver);
    }
    if (conn->has_handle) {
        uv_close(&conn->socket.handle, on_handle_closed);
    }
    uv_close((uv_handle_t *)&conn->starter, on_handle_closed);
}
