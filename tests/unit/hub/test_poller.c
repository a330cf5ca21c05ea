/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interest in sockets: only what is wanted is told, and nothing of what was removed.
 */
#include <criterion/criterion.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "hub/net/poller.h"

TestSuite(poller, .timeout = 30);

static uv_loop_t loop;
static struct poller *poller;
static struct poller_socket sockets[2];
static int peers[2];
static unsigned heard[2];
static unsigned calls;
static bool removes_other;

static void on_ready(struct poller_socket *socket, unsigned ready)
{
    calls++;
    heard[socket - sockets] |= ready;
    if (removes_other) {
        poller_remove(poller, &sockets[socket == &sockets[0]]);
    }
}

static void turn(void)
{
    memset(heard, 0, sizeof(heard));
    calls = 0;
    uv_run(&loop, UV_RUN_NOWAIT);
}

static void set_up(void)
{
    cr_assert_eq(uv_loop_init(&loop), 0);
    poller = poller_create(&loop, on_ready);
    cr_assert_not_null(poller);
    poller_hold(poller, true);
    for (unsigned i = 0; i < 2; i++) {
        int pair[2];
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        sockets[i] = (struct poller_socket){.fd = pair[0]};
        peers[i] = pair[1];
    }
}

static void tear_down(void)
{
    for (unsigned i = 0; i < 2; i++) {
        poller_remove(poller, &sockets[i]);
        close(sockets[i].fd);
        close(peers[i]);
    }
    poller_destroy(poller);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

Test(poller, tells_only_what_is_wanted, .init = set_up, .fini = tear_down)
{
    cr_assert(poller_want(poller, &sockets[0], POLLER_READ));
    turn();
    cr_assert_eq(calls, 0);
    cr_assert_eq(write(peers[0], "x", 1), 1);
    turn();
    cr_assert_eq(heard[0], POLLER_READ);
    cr_assert(poller_want(poller, &sockets[0], POLLER_READ | POLLER_WRITE));
    turn();
    cr_assert_eq(heard[0], POLLER_READ | POLLER_WRITE);
    cr_assert(poller_want(poller, &sockets[0], POLLER_WRITE));
    turn();
    cr_assert_eq(heard[0], POLLER_WRITE);
    cr_assert_eq(sockets[0].armed, POLLER_WRITE, "what came unwanted is no longer watched");
}

Test(poller, a_hang_up_of_a_paused_socket_is_told_when_it_reads_again, .init = set_up,
    .fini = tear_down)
{
    cr_assert(poller_want(poller, &sockets[0], POLLER_READ));
    cr_assert(poller_want(poller, &sockets[0], 0));
    cr_assert_eq(shutdown(peers[0], SHUT_RDWR), 0);
    for (unsigned i = 0; i < 3; i++) {
        turn();
        cr_assert_eq(calls, 0);
    }
    cr_assert_not(sockets[0].added, "it would make the loop spin");
    cr_assert(poller_want(poller, &sockets[0], POLLER_READ));
    turn();
    cr_assert_eq(heard[0], POLLER_READ);
}

Test(poller, one_that_was_removed_in_the_same_turn_is_not_told, .init = set_up, .fini = tear_down)
{
    removes_other = true;
    for (unsigned i = 0; i < 2; i++) {
        cr_assert(poller_want(poller, &sockets[i], POLLER_READ));
        cr_assert_eq(write(peers[i], "x", 1), 1);
    }
    turn();
    cr_assert_eq(calls, 1);
    turn();
    cr_assert_eq(calls, 1);
}
