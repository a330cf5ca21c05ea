/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads exactly the header and not a byte more: what follows is the connection's.
 *
 * Most have it when they are accepted, or a moment later. One that must be waited for has a handle
 * of its own until then: poller.h knows connections only.
 */
#include "hub/net/preface.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/proxy_header.h"
#include "hub/net/address.h"
#include "hub/net/loop.h"

/* What has come. */
struct progress {
    size_t len; /* bytes of the header */
    size_t whole; /* of how many; PROXY_HEADER_FIXED until these are there */
    uint8_t at[PROXY_HEADER_FIXED + PROXY_HEADER_ADDRESSES]; /* the first of them */
};

struct prefaces {
    struct loop *loop;
    preface_done_fn done;
    void *context;
    struct list waiting; /* struct waiting.link */
    size_t count; /* of these */
    struct log_limit log_limit;
};

struct waiting {
    uv_poll_t poll;
    struct prefaces *prefaces;
    struct list link;
    struct timer timer;
    int fd;
    struct sockaddr_storage peer;
    struct progress progress;
};

static void refuse(struct prefaces *prefaces, int fd, const struct sockaddr *peer, const char *why)
{
    unsigned suppressed;
    struct shard_stats *stats = &loop_shard(prefaces->loop)->stats;
    stats->connections_refused++;
    stats->prefaces_refused++;
    close(fd);
    if (log_allow(&prefaces->log_limit, &suppressed)) {
        char text[ADDRESS_TEXT_MAX];
        address_write(peer, text);
        log_warn("LISTEN-PROXY", "a trusted proxy did not begin with a PROXY header of version 2",
            "remote=%s reason=%s suppressed=%u", text, log_quote(bytes_str(why)), suppressed);
    }
}

/* --- reading --- */

/* Read up to `end` bytes of the header, and keep the first. 0: they are there. */
static int read_to(int fd, struct progress *progress, size_t end)
{
    uint8_t dropped[PROXY_HEADER_REST_MAX];
    while (progress->len < end) {
        size_t room = progress->len < sizeof(progress->at) ? sizeof(progress->at) - progress->len
                                                           : sizeof(dropped);
        uint8_t *at = progress->len < sizeof(progress->at) ? progress->at + progress->len : dropped;
        size_t most = end - progress->len < room ? end - progress->len : room;
        ssize_t got = recv(fd, at, most, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 && errno == EAGAIN ? STATUS_AGAIN : STATUS_IO;
        }
        progress->len += (size_t)got;
    }
    return 0;
}

/* Read what is there. 0: all of it; STATUS_AGAIN: not yet; else what is wrong. */
static int advance(int fd, struct progress *progress)
{
    int status = read_to(fd, progress, progress->whole);
    if (status == 0 && progress->whole == PROXY_HEADER_FIXED) {
        size_t rest;
        status = proxy_header_begin(progress->at, &rest);
        progress->whole += status == 0 ? rest : 0;
        status = status == 0 ? read_to(fd, progress, progress->whole) : status;
    }
    return status;
}

static const char *reason_of(int status)
{
    return status == STATUS_TOO_LARGE ? "its header is too large"
           : status == STATUS_IO      ? "it has ended the connection"
                                      : "what it sent is none";
}

/* The header is there, or never will be: hand `fd` on, or close it. */
static void settle(struct prefaces *prefaces, int fd, const struct sockaddr *peer,
    const struct progress *progress, int status)
{
    struct proxy_source source = {0};
    if (status == 0) {
        size_t kept = progress->len < sizeof(progress->at) ? progress->len : sizeof(progress->at);
        struct bytes rest =
            bytes_of((const char *)progress->at + PROXY_HEADER_FIXED, kept - PROXY_HEADER_FIXED);
        status = proxy_header_source(progress->at, rest, &source);
    }
    if (status != 0) {
        refuse(prefaces, fd, peer, reason_of(status));
        return;
    }
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(source.port)};
    memcpy(&address.sin6_addr, source.address, sizeof(address.sin6_addr));
    prefaces->done(prefaces->context, fd, peer, source.known ? &address : NULL);
}

/* --- waiting --- */

static void on_closed(uv_handle_t *handle)
{
    mem_free(container_of(handle, struct waiting, poll));
}

/* It is waited for no more. The descriptor is the caller's. */
static void stop_waiting(struct waiting *waiting)
{
    struct prefaces *prefaces = waiting->prefaces;
    timer_cancel(sched_timers(loop_shard(prefaces->loop)->sched), &waiting->timer);
    list_remove(&waiting->link);
    prefaces->count--;
    uv_poll_stop(&waiting->poll);
    uv_close((uv_handle_t *)&waiting->poll, on_closed);
}

static void on_readable(uv_poll_t *poll, int error, int events)
{
    struct waiting *waiting = container_of(poll, struct waiting, poll);
    loop_begin(waiting->prefaces->loop);
    int status = error == 0 ? advance(waiting->fd, &waiting->progress) : STATUS_IO;
    if (status != STATUS_AGAIN) {
        stop_waiting(waiting);
        settle(waiting->prefaces, waiting->fd, (const struct sockaddr *)&waiting->peer,
            &waiting->progress, status);
    }
}

static void on_late(struct timer *timer)
{
    struct waiting *waiting = container_of(timer, struct waiting, timer);
    stop_waiting(waiting);
    refuse(waiting->prefaces, waiting->fd, (const struct sockaddr *)&waiting->peer,
        "it did not come in time");
}

static struct waiting *make_waiting(struct prefaces *prefaces, int fd)
{
    struct waiting *waiting =
        prefaces->count < PREFACES_MAX ? mem_try_calloc(1, sizeof(*waiting)) : NULL;
    if (waiting != NULL && uv_poll_init(loop_uv(prefaces->loop), &waiting->poll, fd) != 0) {
        mem_free(waiting);
        waiting = NULL;
    }
    return waiting;
}

static void wait_for(
    struct prefaces *prefaces, int fd, const struct sockaddr *peer, const struct progress *progress)
{
    struct waiting *waiting = make_waiting(prefaces, fd);
    if (waiting == NULL) {
        refuse(prefaces, fd, peer, "too many are waited for");
        return;
    }
    struct sched *sched = loop_shard(prefaces->loop)->sched;
    waiting->prefaces = prefaces;
    waiting->fd = fd;
    waiting->progress = *progress;
    memcpy(&waiting->peer, peer,
        peer->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    list_init(&waiting->link);
    list_append(&prefaces->waiting, &waiting->link);
    prefaces->count++;
    timer_init(&waiting->timer, on_late);
    timer_set(sched_timers(sched), &waiting->timer, sched_now(sched) + PREFACE_MS);
    if (uv_poll_start(&waiting->poll, UV_READABLE, on_readable) != 0) {
        stop_waiting(waiting);
        refuse(prefaces, fd, peer, "it cannot be waited for");
    }
}

/* --- life --- */

struct prefaces *prefaces_create(struct loop *loop, preface_done_fn done, void *context)
{
    struct prefaces *prefaces = mem_alloc(sizeof(*prefaces));
    *prefaces = (struct prefaces){.loop = loop, .done = done, .context = context};
    list_init(&prefaces->waiting);
    return prefaces;
}

void prefaces_take(struct prefaces *prefaces, int fd, const struct sockaddr *peer)
{
    struct progress progress = {.whole = PROXY_HEADER_FIXED};
    int status = advance(fd, &progress);
    if (status == STATUS_AGAIN) {
        wait_for(prefaces, fd, peer, &progress);
    } else {
        settle(prefaces, fd, peer, &progress, status);
    }
}

void prefaces_destroy(struct prefaces *prefaces)
{
    if (prefaces == NULL) {
        return;
    }
    list_for_each_safe (link, following, &prefaces->waiting) {
        struct waiting *waiting = container_of(link, struct waiting, link);
        stop_waiting(waiting);
        close(waiting->fd);
    }
    mem_free(prefaces);
}
