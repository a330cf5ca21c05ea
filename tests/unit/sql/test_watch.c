/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches share a loop, and the numbers of closed sockets are given out again.
 */
#include <criterion/criterion.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "codec/base/status.h"
#include "sql/pg_watch.h"

TestSuite(watch, .timeout = 60);

struct user {
    struct pg_watch *watch;
    unsigned ready;
    unsigned closed;
};

static void on_ready(void *context)
{
    struct user *user = context;
    user->ready++;
    pg_watch_stop(user->watch);
}

static void on_timer(void *context)
{
    cr_assert_fail("no timer was asked for");
}

static void on_closed(void *context)
{
    struct user *user = context;
    user->closed++;
}

static const struct pg_watch_events events = {on_ready, on_timer, on_closed};

/* A pair of sockets whose first one has the number `fd`. */
static void open_pair_at(int fd, int ret_pair[2])
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ret_pair), 0);
    if (ret_pair[0] != fd) {
        cr_assert_eq(dup2(ret_pair[0], fd), fd);
        close(ret_pair[0]);
        ret_pair[0] = fd;
    }
}

Test(watch, one_that_moves_on_leaves_alone_who_got_its_old_number)
{
    uv_loop_t loop;
    cr_assert_eq(uv_loop_init(&loop), 0);
    struct user first = {.watch = pg_watch_create(&loop, &events, &first)};
    struct user second = {.watch = pg_watch_create(&loop, &events, &second)};

    int old[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, old), 0);
    cr_assert_eq(pg_watch_start(first.watch, old[0], true, false), 0);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    pg_watch_stop(first.watch);
    close(old[0]);

    int theirs[2];
    open_pair_at(old[0], theirs);
    cr_assert_eq(pg_watch_start(second.watch, theirs[0], true, false), 0);
    (void)uv_run(&loop, UV_RUN_NOWAIT);

    int own[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, own), 0);
    pg_watch_stop(first.watch); /* once more, as when an attempt has failed at once */
    cr_assert_eq(pg_watch_start(first.watch, own[0], true, false), 0);
    (void)uv_run(&loop, UV_RUN_NOWAIT);

    cr_assert_eq(write(theirs[1], "x", 1), 1);
    cr_assert_eq(write(own[1], "x", 1), 1);
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    cr_expect_eq(second.ready, 1);
    cr_expect_eq(first.ready, 1);

    pg_watch_close(first.watch);
    pg_watch_close(second.watch);
    cr_assert_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    cr_expect_eq(first.closed, 1);
    cr_expect_eq(second.closed, 1);
    cr_assert_eq(uv_loop_close(&loop), 0);
    int fds[] = {old[1], theirs[0], theirs[1], own[0], own[1]};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        close(fds[i]);
    }
}
