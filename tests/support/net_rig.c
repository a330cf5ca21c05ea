/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts loops and stops them, and talks to them over blocking sockets with deadlines.
 */
#include "tests/support/net_rig.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <semaphore.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "actors/assembly/shard_floors.h"
#include "codec/base/clock.h"
#include "hub/net/name_counts.h"

static int on_start(struct loop *loop, void *context)
{
    struct rig *rig = context;
    if (loop != rig->loops[0] || rig->on_accept == NULL) {
        return 0;
    }
    struct listener_config config = {
        .host = "127.0.0.1",
        .per_address = rig->per_address,
        .unsent_bytes = rig->unsent_bytes,
        .addresses = rig->addresses,
        .proxies = rig->proxies,
        .prefaces = rig->prefaces,
        .tls = rig->tls,
        .on_accept = rig->on_accept,
        .context = rig->context,
    };
    int status = listener_open(loop, &config, &rig->listener);
    rig->port = status == 0 ? listener_port(rig->listener) : 0;
    return status;
}

static void on_stop(struct loop *loop, void *context)
{
    struct rig *rig = context;
    if (loop == rig->loops[0] && rig->listener != NULL) {
        listener_close(rig->listener);
    }
}

void rig_start(struct rig *rig, unsigned count, listener_accept_fn on_accept, void *context)
{
    rig->count = count;
    rig->on_accept = on_accept;
    rig->context = context;
    rig->system = actor_system_create(count);
    rig->addresses = name_counts_create(16);
    for (unsigned i = 0; i < count; i++) {
        struct shard *shard = &rig->shards[i];
        shard_init(shard, actor_system_sched(rig->system, i), &rig->config);
        struct loop_config config = {.system = rig->system,
            .index = i,
            .shard = shard,
            .on_start = on_start,
            .on_stop = on_stop,
            .context = rig};
        cr_assert_eq(loop_create(&config, &rig->loops[i]), 0);
    }
    for (unsigned i = 0; i < count; i++) {
        cr_assert_eq(loop_start(rig->loops[i]), 0);
    }
}

void rig_stop(struct rig *rig)
{
    for (unsigned i = 0; i < rig->count; i++) {
        loop_stop(rig->loops[i]);
    }
    for (unsigned i = 0; i < rig->count; i++) {
        loop_join(rig->loops[i]);
    }
    for (unsigned i = 0; i < rig->count; i++) {
        loop_destroy(rig->loops[i]);
        cr_expect_eq(rig->shards[i].stats.connections, 0, "a connection was not closed");
    }
    name_counts_destroy(rig->addresses);
    actor_system_destroy(rig->system);
    for (unsigned i = 0; i < rig->count; i++) {
        shard_finish(&rig->shards[i]);
    }
}

struct call {
    void (*fn)(void *arg);
    void *arg;
    sem_t done;
};

static void run_call(void *arg, bool cancelled)
{
    struct call *call = arg;
    if (!cancelled) {
        call->fn(call->arg);
    }
    sem_post(&call->done);
}

void rig_call(struct rig *rig, unsigned index, void (*fn)(void *arg), void *arg)
{
    struct call call = {.fn = fn, .arg = arg};
    sem_init(&call.done, 0, 0);
    sched_post(rig->system, index, run_call, &call);
    while (sem_wait(&call.done) != 0) {
    }
    sem_destroy(&call.done);
}

struct question {
    bool (*done)(void *arg);
    void *arg;
    bool answer;
};

static void ask(void *arg)
{
    struct question *question = arg;
    question->answer = question->done(question->arg);
}

bool rig_wait(struct rig *rig, unsigned index, bool (*done)(void *arg), void *arg)
{
    struct question question = {.done = done, .arg = arg};
    uint64_t deadline = clock_mono_ms() + RIG_WAIT_MS;
    while (clock_mono_ms() < deadline) {
        rig_call(rig, index, ask, &question);
        if (question.answer) {
            return true;
        }
        usleep(1000);
    }
    return false;
}

struct expected {
    struct shard *shard;
    uint64_t count;
};

static bool has_connections(void *arg)
{
    struct expected *expected = arg;
    return expected->shard->stats.connections == expected->count;
}

bool rig_wait_connections(struct rig *rig, unsigned index, uint64_t count)
{
    struct expected expected = {&rig->shards[index], count};
    return rig_wait(rig, index, has_connections, &expected);
}

void rig_connect_socket(struct rig *rig, int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct timeval wait = {.tv_sec = RIG_WAIT_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(rig->port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
}

int rig_connect(struct rig *rig)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    rig_connect_socket(rig, fd);
    return fd;
}

bool rig_send(int fd, struct bytes bytes)
{
    while (bytes.len > 0) {
        ssize_t sent = send(fd, bytes.at, bytes.len, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        bytes = bytes_skip(bytes, (size_t)sent);
    }
    return true;
}

size_t rig_recv(int fd, void *at, size_t len)
{
    size_t got = 0;
    while (got < len) {
        ssize_t n = recv(fd, (char *)at + got, len - got, 0);
        if (n <= 0) {
            break;
        }
        got += (size_t)n;
    }
    return got;
}

bool rig_recv_all(int fd, char *at, size_t size, size_t *ret_len)
{
    size_t len = 0;
    char scratch[4096];
    for (;;) {
        ssize_t n =
            len < size ? recv(fd, at + len, size - len, 0) : recv(fd, scratch, sizeof(scratch), 0);
        if (n <= 0) {
            *ret_len = len;
            return n == 0;
        }
        len += len < size ? (size_t)n : 0;
    }
}

void rig_reset(int fd)
{
    struct linger linger = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
}
