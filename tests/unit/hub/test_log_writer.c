/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that writes the log: order, readers that stand still or go, and its end.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "codec/base/log.h"
#include "hub/node/log_writer.h"

TestSuite(log_writer, .timeout = 60);

enum { RING = 65536, THREADS = 4, EACH = 20000 };

/* What was read of a pipe so far. */
struct seen {
    size_t len;
    unsigned lines; /* T-LINE */
    unsigned long long lost; /* as told */
    char text[1 << 20];
};

/* Read lines until one has `stop` in it. */
static void read_lines(int fd, struct seen *seen, const char *stop)
{
    for (bool ends = false; !ends;) {
        char *end = memchr(seen->text, '\n', seen->len);
        if (end == NULL) {
            ssize_t got = read(fd, seen->text + seen->len, sizeof(seen->text) - seen->len);
            cr_assert_gt(got, 0);
            seen->len += (size_t)got;
            continue;
        }
        *end = '\0';
        ends = strstr(seen->text, stop) != NULL;
        seen->lines += strstr(seen->text, "T-LINE") != NULL;
        const char *told = strstr(seen->text, "LOG-LOST") ? strstr(seen->text, "lost=") : NULL;
        seen->lost += told != NULL ? strtoull(told + 5, NULL, 10) : 0;
        seen->len -= (size_t)(end + 1 - seen->text);
        memmove(seen->text, end + 1, seen->len);
    }
}

static void log_many(void *context)
{
    for (unsigned i = 0; i < EACH; i++) {
        log_info("T-LINE", "a record of the test", "thread=%zu i=%u", (size_t)context, i);
    }
}

Test(log_writer, writes_everything_in_order)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    log_writer_start(ends[1], RING);
    for (unsigned i = 0; i < 100; i++) {
        log_info("T-LINE", "a record of the test", "i=%u", i);
    }
    log_writer_stop(30000);
    close(ends[1]);
    char text[32768];
    size_t len = 0;
    for (ssize_t got; (got = read(ends[0], text + len, sizeof(text) - 1 - len)) > 0;) {
        len += (size_t)got;
    }
    text[len] = '\0';
    const char *at = text;
    for (unsigned i = 0; i < 100; i++) {
        char pair[16];
        snprintf(pair, sizeof(pair), " i=%u\n", i);
        at = strstr(at, pair);
        cr_assert_not_null(at, "%u", i);
    }
    cr_assert_eq(log_writer_lost(), 0);
}

/* On a pipe that nobody reads, threads that log go on; what was lost is counted and told. */
Test(log_writer, a_reader_that_stands_still_stops_nobody)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    log_writer_start(ends[1], RING);
    uv_thread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        cr_assert_eq(uv_thread_create(&threads[i], log_many, (void *)i), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        uv_thread_join(&threads[i]);
    }
    static struct seen seen;
    cr_assert_gt(log_writer_lost(), 0);
    while (seen.lost < log_writer_lost()) {
        read_lines(ends[0], &seen, "LOG-LOST");
    }
    log_info("T-END", "the last one", "end=%d", 1);
    read_lines(ends[0], &seen, "T-END");
    cr_assert_eq(seen.lost, log_writer_lost());
    cr_assert_eq(
        seen.lines + seen.lost, THREADS * EACH, "%u kept, %llu lost", seen.lines, seen.lost);
    log_writer_stop(30000);
    close(ends[0]);
    close(ends[1]);
}

Test(log_writer, its_end_does_not_wait_for_ever)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    log_writer_start(ends[1], RING);
    log_many(NULL);
    log_writer_stop(50);
    log_writer_stop(50); /* nothing more */
}

Test(log_writer, a_descriptor_of_others_may_be_nonblocking)
{
    int ends[2];
    cr_assert_eq(pipe2(ends, O_NONBLOCK), 0);
    log_writer_start(ends[1], 1 << 20);
    for (unsigned i = 0; i < 5000; i++) {
        log_info("T-LINE", "a record of the test", "i=%u", i);
    }
    cr_assert_eq(fcntl(ends[0], F_SETFL, 0), 0);
    log_info("T-END", "the last one", "end=%d", 1);
    static struct seen seen;
    read_lines(ends[0], &seen, "T-END");
    cr_assert_eq(seen.lines, 5000);
    log_writer_stop(30000);
}

Test(log_writer, a_reader_that_is_gone_is_no_reason_to_end)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    signal(SIGPIPE, SIG_IGN);
    close(ends[0]);
    log_writer_start(ends[1], RING);
    log_many(NULL);
    log_writer_stop(30000);
}
