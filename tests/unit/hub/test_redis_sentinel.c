/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bus behind a sentinel, with real servers: the master is found, verified, followed, and what
 * is wrong is told.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "codec/base/clock.h"
#include "codec/base/log.h"
#include "codec/base/status.h"
#include "tests/support/bus_client.h"
#include "tests/support/redis_server.h"

enum { CHECK_MS = 3000, PATIENCE_MS = 60000 };

static struct redis_server one;
static struct redis_server two;
static struct redis_server sentinel;
static struct bus_client client;
static char url[128];

static void set_up(void)
{
    char line[64];
    log_set_level(LOG_ERROR);
    redis_server_start(&one);
    redis_server_start(&two);
    snprintf(line, sizeof(line), "REPLICAOF 127.0.0.1 %d", one.port);
    cr_assert_str_eq(redis_server_say(&two, line), "+OK");
    redis_server_start_sentinel(&sentinel, "peal", one.port);
    snprintf(url, sizeof(url), "redis+sentinel://127.0.0.1:%d/peal/3", sentinel.port);
}

static void tear_down(void)
{
    redis_server_finish(&sentinel);
    redis_server_finish(&one);
    redis_server_finish(&two);
}

TestSuite(redis_sentinel, .init = set_up, .fini = tear_down, .timeout = 180);

static void open_client(void)
{
    const struct redis_options options = {
        .target = bus_client_target(url), .backoff_min_ms = 10, .backoff_max_ms = 100};
    bus_client_open(&client, &options);
    bus_client_wait_up(&client, true);
}

/* Say `line` to the sentinel until it answers +OK. */
static void tell_sentinel(const char *line)
{
    uint64_t until = clock_mono_ms() + PATIENCE_MS;
    const struct timespec pause = {.tv_nsec = 50000000};
    const char *answer = redis_server_say(&sentinel, line);
    while (strcmp(answer, "+OK") != 0) {
        cr_assert_lt(clock_mono_ms(), until, "%s: %s", line, answer);
        nanosleep(&pause, NULL);
        answer = redis_server_say(&sentinel, line);
    }
}

/* Make `two` the master, or `one` again. */
static void fail_over(void)
{
    unsigned ups = client.ups;
    tell_sentinel("SENTINEL FAILOVER peal");
    bus_client_wait(&client, &client.ups, ups + 1);
}

/* Until the replica has what was written; its first copy of the master may take some seconds. */
static void replicate(void)
{
    uint64_t until = clock_mono_ms() + PATIENCE_MS;
    do {
        cr_assert_lt(clock_mono_ms(), until, "no replica has it");
        client.last_integer = 0;
        bus_client_ask(&client, "WAIT 1 1000");
    } while (client.last_integer < 1);
}

static void say(const struct redis_server *server, const char *payload)
{
    char line[64];
    snprintf(line, sizeof(line), "PUBLISH news %s", payload);
    redis_server_say(server, line);
}

Test(redis_sentinel, finds_the_master_and_follows_failovers)
{
    open_client();
    cr_assert_str_eq(bus_client_ask(&client, "SET where there"), "OK");
    bus_client_ask(&client, "CLIENT INFO");
    cr_assert_not_null(strstr(client.last_text, " db=3 "), "%s", client.last_text);
    replicate();
    for (unsigned i = 0; i < 2; i++) {
        fail_over();
        cr_assert_str_eq(bus_client_ask(&client, "GET where"), "there");
        cr_assert_str_eq(bus_client_ask(&client, "SET other again"), "OK");
    }
    bus_client_close(&client);
}

/* What is published at a replica is heard by nobody at the master. */
Test(redis_sentinel, channels_are_subscribed_at_the_new_master)
{
    open_client();
    cr_assert(client.bus->ops->subscribe(client.link, BYTES("news")));
    bus_client_wait(&client, &client.subscribed, 1);
    say(&one, "one");
    bus_client_wait(&client, &client.messages, 1);
    fail_over();
    bus_client_wait(&client, &client.subscribed, 2);
    say(&one, "lost");
    say(&two, "two");
    bus_client_wait(&client, &client.messages, 2);
    cr_assert_str_eq(client.last_payload, "two");
    bus_client_close(&client);
}

Test(redis_sentinel, a_master_that_dies_is_replaced_and_not_taken_when_it_is_back)
{
    open_client();
    cr_assert_str_eq(bus_client_ask(&client, "SET where there"), "OK");
    replicate();
    unsigned ups = client.ups;
    redis_server_kill(&one);
    bus_client_wait(&client, &client.ups, ups + 1);
    cr_assert_str_eq(bus_client_ask(&client, "GET where"), "there");
    redis_server_restart(&one); /* as a master, until the sentinel makes it a replica */
    for (unsigned i = 0; i < 20; i++) {
        cr_assert_str_eq(bus_client_ask(&client, "SET where still"), "OK");
    }
    redis_server_say(&two, "CLIENT KILL TYPE normal");
    ups = client.ups;
    bus_client_wait_up(&client, false);
    bus_client_wait(&client, &client.ups, ups + 1);
    cr_assert_str_eq(bus_client_ask(&client, "GET where"), "still");
    bus_client_close(&client);
}

/* What redis_check says of `text`. */
static void expect(const char *text, const char *part)
{
    char line[700];
    struct builder error = {.max = 600};
    struct redis_report report;
    const struct redis_options options = {.target = bus_client_target(text),
        .connect_timeout_ms = 500,
        .backoff_min_ms = 10,
        .backoff_max_ms = 50};
    int status = redis_check(&options, CHECK_MS, &error, &report);
    struct bytes why = builder_bytes(&error);
    snprintf(line, sizeof(line), "%.*s", (int)why.len, why.len > 0 ? why.at : "");
    cr_expect_neq(status, 0, "%s", text);
    cr_expect_not_null(strstr(line, part), "\"%s\" is not in \"%s\"", part, line);
    builder_reset(&error);
}

Test(redis_sentinel, what_is_wrong_is_told)
{
    char text[128];
    snprintf(text, sizeof(text), "redis+sentinel://127.0.0.1:%d/nobody", sentinel.port);
    expect(text, "no sentinel says where the master is: ERR No such master with that name");
    expect("redis+sentinel://127.0.0.1:1,127.0.0.1:2/peal", "no sentinel says where the master is");
    snprintf(text, sizeof(text), "redis://127.0.0.1:%d", sentinel.port);
    expect(text, "this is a sentinel");
    redis_server_say(&sentinel, "ACL SETUSER default resetpass >secret");
    expect(url, "no sentinel says where the master is: the server is not ready: NOAUTH");
}

/* One of several sentinels is enough, and it need not be the first. */
Test(redis_sentinel, sentinels_that_do_not_answer_are_passed_over)
{
    snprintf(
        url, sizeof(url), "redis+sentinel://127.0.0.1:1,[::1]:1,127.0.0.1:%d/peal", sentinel.port);
    open_client();
    redis_server_freeze(&sentinel);
    cr_assert_str_eq(bus_client_ask(&client, "SET where there"), "OK");
    redis_server_thaw(&sentinel);
    bus_client_close(&client);
}

/* A sentinel names a server that is none: a replica is not written to, and what comes is followed.
 */
Test(redis_sentinel, a_replica_that_is_named_as_the_master_is_not_taken)
{
    char line[64];
    open_client();
    bus_client_ask(&client, "SET where there");
    snprintf(line, sizeof(line), "REPLICAOF 127.0.0.1 %d", two.port);
    redis_server_say(&two, "REPLICAOF NO ONE");
    unsigned downs = client.downs;
    redis_server_say(&one, line); /* which cuts nobody off */
    bus_client_send(&client, "SET where else", 0); /* READONLY */
    bus_client_wait(&client, &client.downs, downs + 1);
    cr_assert_eq(client.last_type, BUS_ERROR);
    tell_sentinel("SENTINEL FAILOVER peal");
    bus_client_wait_up(&client, true);
    cr_assert_str_eq(bus_client_ask(&client, "SET where now"), "OK");
    bus_client_close(&client);
}
