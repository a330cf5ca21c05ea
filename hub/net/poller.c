/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers sockets with epoll, takes events in batches, and calls those whose interest still
 * stands.
 */
#include "hub/net/poller.h"

#include <sys/epoll.h>
#include <unistd.h>
#include <uv.h>

#include "codec/base/mem.h"

enum { EVENTS_MAX = 256 };

struct poller {
    uv_poll_t watch; /* of the set itself */
    int epoll;
    poller_ready_fn ready;
};

static bool control(struct poller *poller, struct poller_socket *socket, int operation)
{
    struct epoll_event event = {.data.ptr = socket};
    event.events |= socket->wanted & POLLER_READ ? EPOLLIN : 0;
    event.events |= socket->wanted & POLLER_WRITE ? EPOLLOUT : 0;
    if (epoll_ctl(poller->epoll, operation, socket->fd, &event) != 0) {
        return false;
    }
    socket->added = operation != EPOLL_CTL_DEL;
    socket->armed = socket->added ? socket->wanted : 0;
    return true;
}

bool poller_want(struct poller *poller, struct poller_socket *socket, unsigned wanted)
{
    socket->wanted = (uint8_t)wanted;
    if ((wanted & ~(unsigned)socket->armed) == 0) {
        return true;
    }
    return control(poller, socket, socket->added ? EPOLL_CTL_MOD : EPOLL_CTL_ADD);
}

void poller_remove(struct poller *poller, struct poller_socket *socket)
{
    socket->wanted = 0;
    if (socket->added) {
        CHECK(control(poller, socket, EPOLL_CTL_DEL));
    }
}

void poller_close(struct poller_socket *socket)
{
    socket->wanted = 0;
    socket->armed = 0;
    socket->added = 0;
    close(socket->fd);
    socket->fd = -1;
}

/* An event came that is not wanted any more: do not hear of it again. */
static void disarm(struct poller *poller, struct poller_socket *socket)
{
    CHECK(control(poller, socket, socket->wanted ? EPOLL_CTL_MOD : EPOLL_CTL_DEL));
}

static void on_events(uv_poll_t *watch, int status, int bits)
{
    struct poller *poller = container_of(watch, struct poller, watch);
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(poller->epoll, events, EVENTS_MAX, 0);
    for (int i = 0; i < count; i++) {
        struct poller_socket *socket = events[i].data.ptr;
        unsigned ready = 0;
        if (!socket->added) {
            continue; /* taken out by one before it */
        }
        if (events[i].events & (EPOLLERR | EPOLLHUP)) {
            ready = POLLER_READ | POLLER_WRITE;
        }
        ready |= events[i].events & EPOLLIN ? POLLER_READ : 0;
        ready |= events[i].events & EPOLLOUT ? POLLER_WRITE : 0;
        if (ready & ~(unsigned)socket->wanted & (socket->armed | (socket->wanted ? 0U : ready))) {
            disarm(poller, socket);
        }
        if (ready & socket->wanted) {
            poller->ready(socket, ready & socket->wanted);
        }
    }
}

struct poller *poller_create(struct uv_loop_s *loop, poller_ready_fn ready)
{
    struct poller *poller = mem_alloc(sizeof(*poller));
    poller->ready = ready;
    poller->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (poller->epoll >= 0 && uv_poll_init(loop, &poller->watch, poller->epoll) == 0) {
        CHECK(uv_poll_start(&poller->watch, UV_READABLE, on_events) == 0);
        uv_unref((uv_handle_t *)&poller->watch);
        return poller;
    }
    if (poller->epoll >= 0) {
        close(poller->epoll);
    }
    mem_free(poller);
    return NULL;
}

void poller_hold(struct poller *poller, bool hold)
{
    if (hold) {
        uv_ref((uv_handle_t *)&poller->watch);
    } else {
        uv_unref((uv_handle_t *)&poller->watch);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct poller *poller = container_of((uv_poll_t *)handle, struct poller, watch);
    close(poller->epoll);
    mem_free(poller);
}

void poller_destroy(struct poller *poller)
{
    uv_close((uv_handle_t *)&poller->watch, on_closed);
}
