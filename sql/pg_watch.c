/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A poll handle for each socket that libpq opens, and one timer.
 */
#include "sql/pg_watch.h"

#include <uv.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"

/* A handle for one descriptor number; closing is asynchronous, so each is memory of its own. */
struct poll {
    uv_poll_t handle;
    struct pg_watch *watch;
    int fd;
};

struct pg_watch {
    uv_timer_t timer;
    uv_loop_t *loop;
    const struct pg_watch_events *events;
    void *context;
    struct poll *poll; /* NULL: none yet */
    unsigned handles; /* not yet closed, the timer included */
    bool closing;
};

struct pg_watch *pg_watch_create(
    struct uv_loop_s *loop, const struct pg_watch_events *events, void *context)
{
    struct pg_watch *watch = mem_alloc(sizeof(*watch));
    watch->loop = loop;
    watch->events = events;
    watch->context = context;
    watch->handles = 1;
    CHECK(uv_timer_init(loop, &watch->timer) == 0);
    watch->timer.data = watch;
    return watch;
}

/* A handle is closed: with the last one the watch goes. */
static void drop_handle(struct pg_watch *watch)
{
    watch->handles--;
    if (watch->closing && watch->handles == 0) {
        const struct pg_watch_events *events = watch->events;
        void *context = watch->context;
        mem_free(watch);
        events->on_closed(context);
    }
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct poll *poll = handle->data;
    struct pg_watch *watch = poll->watch;
    mem_free(poll);
    drop_handle(watch);
}

static void on_timer_closed(uv_handle_t *handle)
{
    drop_handle(handle->data);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct poll *poll = handle->data;
    poll->watch->events->on_ready(poll->watch->context);
}

static int open_poll(struct pg_watch *watch, int fd)
{
    struct poll *poll = mem_alloc(sizeof(*poll));
    if (uv_poll_init(watch->loop, &poll->handle, fd) != 0) {
        mem_free(poll);
        return STATUS_IO;
    }
    poll->watch = watch;
    poll->fd = fd;
    poll->handle.data = poll;
    watch->poll = poll;
    watch->handles++;
    return 0;
}

int pg_watch_start(struct pg_watch *watch, int fd, bool readable, bool writable)
{
    if (watch->poll && watch->poll->fd != fd) {
        return STATUS_IO; /* the socket was replaced without a stop */
    }
    int status = watch->poll ? 0 : open_poll(watch, fd);
    if (status < 0) {
        return status;
    }
    int events = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);
    return uv_poll_start(&watch->poll->handle, events, on_poll) == 0 ? 0 : STATUS_IO;
}

/*
 * The handle goes while the number is still this socket's: one kept for later takes the number out
 * of the loop's epoll set when it is stopped again or closed, and by then it may be another's.
 */
void pg_watch_stop(struct pg_watch *watch)
{
    if (watch->poll) {
        uv_close((uv_handle_t *)&watch->poll->handle, on_poll_closed);
        watch->poll = NULL;
    }
}

static void on_timeout(uv_timer_t *timer)
{
    struct pg_watch *watch = timer->data;
    watch->events->on_timer(watch->context);
}

void pg_watch_timer(struct pg_watch *watch, uint64_t ms)
{
    if (ms == UINT64_MAX) {
        (void)uv_timer_stop(&watch->timer);
    } else {
        uv_update_time(watch->loop);
        (void)uv_timer_start(&watch->timer, on_timeout, ms, 0);
    }
}

void pg_watch_close(struct pg_watch *watch)
{
    watch->closing = true;
    pg_watch_stop(watch);
    uv_close((uv_handle_t *)&watch->timer, on_timer_closed);
}
