/* SPDX-License-Identifier: Apache-2.0 */
/* The bus against a real redis-server. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/log.h"
#include "codec/base/status.h"
#include "codec/redis_error.h"
#include "tests/support/bus_client.h"
#include "tests/support/redis_server.h"

static struct redis_server server;
static struct bus_client client;

static void start_server(void)
{
    log_set_level(LOG_ERROR);
    redis_server_start(&server);
}

static void finish_server(void)
{
    redis_server_finish(&server);
}

static struct redis_options patient(const char *url)
{
    return (struct redis_options){
        .target = bus_client_target(url), .backoff_min_ms = 10, .backoff_max_ms = 100};
}

TestSuite(redis, .init = start_server, .fini = finish_server, .timeout = 60);

Test(redis, carries_commands_over_tcp_and_unix_sockets)
{
    char named[64];
    char unix_db[192];
    snprintf(named, sizeof(named), "redis://localhost:%d/3", server.port);
    snprintf(unix_db, sizeof(unix_db), "%s?db=4", server.unix_url);
    const char *const urls[] = {server.url, server.unix_url, named, unix_db};
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct redis_options options = patient(urls[i]);
        bus_client_open(&client, &options);
        bus_client_wait_up(&client, true);
        cr_assert_str_eq(bus_client_ask(&client, "SET greeting hello"), "OK");
        cr_assert_eq(client.last_type, BUS_STATUS);
        cr_assert_str_eq(bus_client_ask(&client, "GET greeting"), "hello");
        cr_assert_eq(client.last_type, BUS_STRING);
        bus_client_ask(&client, "GET nothing");
        cr_assert_eq(client.last_type, BUS_NIL);
        bus_client_ask(&client, "DEL greeting");
        cr_assert_eq(client.last_type, BUS_INTEGER);
        cr_assert_eq(client.last_integer, 1);
        bus_client_ask(&client, "GET");
        cr_assert_eq(client.last_type, BUS_ERROR);
        bus_client_ask(&client, "COMMAND INFO get");
        cr_assert_eq(client.last_type, BUS_ARRAY);
        cr_assert_str_eq(bus_client_ask(&client, "CLIENT GETNAME"), "client");
        bus_client_close(&client);
    }
}

Test(redis, selects_the_database_of_the_url)
{
    char url[80];
    snprintf(url, sizeof(url), "redis://127.0.0.1:%d/5", server.port);
    struct redis_options options = patient(url);
    bus_client_open(&client, &options);
    bus_client_wait_up(&client, true);
    bus_client_ask(&client, "CLIENT LIST");
    cr_assert_not_null(strstr(client.last_text, " db=5 "), "%s", client.last_text);
    bus_client_close(&client);
}

Test(redis, answers_pipelined_commands_in_order)
{
    enum { COUNT = 100000 };
    struct redis_options options = patient(server.unix_url);
    bus_client_open(&client, &options);
    bus_client_wait_up(&client, true);
    for (unsigned i = 0; i < COUNT; i++) {
        bus_client_send(&client, "INCR counter", 15000);
    }
    bus_client_wait(&client, &client.answered, COUNT);
    cr_assert_eq(client.out_of_order, 0);
    cr_assert_eq(client.errors, 0);
    cr_assert_eq(client.last_integer, COUNT);
    cr_assert_eq(redis_get_stats(client.bus).commands, COUNT);
    bus_client_close(&client);
}

static void on_binary(void *context, int status, const struct bus_reply *reply)
{
    const struct bytes *expected = context;
    cr_assert_eq(status, 0);
    cr_assert_eq(reply->type, BUS_STRING);
    cr_assert(bytes_eq(reply->text, *expected));
    client.answered++;
}

Test(redis, keeps_binary_values_of_any_size)
{
    static const size_t sizes[] = {0, 1, 1023, 65536, 3000001};
    struct redis_options options = patient(server.url);
    bus_client_open(&client, &options);
    bus_client_wait_up(&client, true);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char *content = malloc(sizes[i] + 1);
        for (size_t j = 0; j < sizes[i]; j++) {
            content[j] = (char)(j * 7 + j / 251);
        }
        struct bytes value = bytes_of(content, sizes[i]);
        const struct bytes set[] = {BYTES("SET"), BYTES("a\0b\r\nc"), value};
        const struct bytes get[] = {BYTES("GET"), BYTES("a\0b\r\nc")};
        unsigned before = client.answered;
        client.bus->ops->command(client.link, set, 3, 0, NULL, NULL);
        client.bus->ops->command(client.link, get, 2, 0, on_binary, &value);
        bus_client_wait(&client, &client.answered, before + 1);
        free(content);
    }
    bus_client_close(&client);
}

static void publish(const char *channel, const char *payload)
{
    char line[256];
    snprintf(line, sizeof(line), "PUBLISH %s %s", channel, payload);
    redis_server_say(&server, line);
}

Test(redis, delivers_messages_of_subscribed_channels_only)
{
    struct redis_options options = patient(server.url);
    bus_client_open(&client, &options);
    const struct bus_ops *ops = client.bus->ops;
    ops->subscribe(client.link, BYTES("before"));
    bus_client_wait(&client, &client.subscribed, 1);
    cr_assert_str_eq(client.last_channel, "before");
    ops->subscribe(client.link, BYTES("after"));
    ops->subscribe(client.link, BYTES("after"));
    bus_client_wait(&client, &client.subscribed, 2);
    publish("before", "one");
    publish("after", "two");
    bus_client_wait(&client, &client.messages, 2);
    cr_assert_str_eq(client.last_channel, "after");
    cr_assert_str_eq(client.last_payload, "two");
    ops->unsubscribe(client.link, BYTES("before"));
    ops->unsubscribe(client.link, BYTES("before"));
    ops->unsubscribe(client.link, BYTES("never"));
    ops->subscribe(client.link, BYTES("last"));
    bus_client_wait(&client, &client.subscribed, 3);
    publish("before", "three");
    publish("last", "four");
    bus_client_wait(&client, &client.messages, 3);
    cr_assert_str_eq(client.last_payload, "four");
    bus_client_close(&client);
}

Test(redis, a_quiet_subscriber_hears_its_channel_alone_and_is_not_counted)
{
    struct redis_options options = patient(server.url);
    bus_client_open(&client, &options);
    const struct bus_ops *ops = client.bus->ops;
    ops->subscribe_quietly(client.link, BYTES("a*b[c]?\\d#/#"));
    bus_client_wait(&client, &client.subscribed, 1);
    cr_assert_str_eq(client.last_channel, "a*b[c]?\\d#/#");
    ops->subscribe(client.link, BYTES("counted"));
    bus_client_wait(&client, &client.subscribed, 2);
    publish("aXbc?\\d#/#", "matches where the name is a pattern");
    publish("a*b[c]?\\d#/#", "mine");
    bus_client_wait(&client, &client.messages, 1);
    cr_assert_str_eq(client.last_payload, "mine");
    cr_assert_str_eq(client.last_channel, "a*b[c]?\\d#/#");
    ops->unsubscribe(client.link, BYTES("a*b[c]?\\d#/#"));
    ops->subscribe(client.link, BYTES("last"));
    bus_client_wait(&client, &client.subscribed, 3);
    publish("a*b[c]?\\d#/#", "too late");
    publish("last", "end");
    bus_client_wait(&client, &client.messages, 2);
    cr_assert_str_eq(client.last_payload, "end");
    bus_client_close(&client);
}

Test(redis, confirms_a_renewed_subscription_only_once)
{
    struct redis_options options = patient(server.url);
    bus_client_open(&client, &options);
    bus_client_wait_up(&client, true);
    const struct bus_ops *ops = client.bus->ops;
    for (int i = 0; i < 10; i++) {
        ops->subscribe(client.link, BYTES("flapping"));
        ops->unsubscribe(client.link, BYTES("flapping"));
    }
    ops->subscribe(client.link, BYTES("flapping"));
    ops->subscribe(client.link, BYTES("steady"));
    bus_client_wait(&client, &client.subscribed, 2);
    cr_assert_str_eq(client.last_channel, "steady");
    publish("flapping", "here");
    bus_client_wait(&client, &client.messages, 1);
    cr_assert_eq(client.subscribed, 2);
    bus_client_close(&client);
}

Test(redis, subscribes_again_after_a_restart)
{
    enum { CHANNELS = 500 };
    struct redis_options options = patient(server.url);
    bus_client_open(&client, &options);
    for (int i = 0; i < CHANNELS; i++) {
        char name[16];
        int len = snprintf(name, sizeof(name), "c%d", i);
        client.bus->ops->subscribe(client.link, bytes_of(name, (size_t)len));
    }
    bus_client_wait(&client, &client.subscribed, CHANNELS);
    redis_server_kill(&server);
    bus_client_wait(&client, &client.downs, 1);
    client.bus->ops->unsubscribe(client.link, BYTES("c1"));
    redis_server_restart(&server);
    bus_client_wait(&client, &client.subscribed, 2 * CHANNELS - 1);
    cr_assert_eq(client.ups, 2);
    publish("c1", "none");
    publish("c499", "again");
    bus_client_wait(&client, &client.messages, 1);
    cr_assert_str_eq(client.last_payload, "again");
    bus_client_close(&client);
}

Test(redis, answers_what_was_pending_when_the_server_dies)
{
    struct redis_options options = patient(server.url);
    bus_client_open(&client, &options);
    bus_client_wait_up(&client, true);
    redis_server_freeze(&server);
    for (int i = 0; i < 1000; i++) {
        bus_client_send(&client, "INCR counter", 15000);
    }
    redis_server_kill(&server);
    bus_client_wait(&client, &client.replies, 1000);
    cr_assert_eq(client.unavailable, 1000);
    bus_client_send(&client, "INCR counter", 0);
    bus_client_wait(&client, &client.unavailable, 1001);
    redis_server_restart(&server);
    bus_client_wait_up(&client, true);
    bus_client_ask(&client, "PING");
    cr_assert_str_eq(client.last_text, "PONG");
    cr_assert_eq(client.downs, 1);
    bus_client_close(&client);
}

Test(redis, comes_up_when_a_refusing_server_appears)
{
    redis_server_stop(&server);
    struct redis_options options = patient(server.url);
    bus_client_open(&client, &options);
    bus_client_send(&client, "PING", 0);
    bus_client_wait(&client, &client.unavailable, 1);
    cr_assert_eq(client.ups, 0);
    redis_server_restart(&server);
    bus_client_wait_up(&client, true);
    cr_assert_eq(client.downs, 0);
    bus_client_close(&client);
}

Test(redis, gives_up_on_a_silent_server)
{
    struct redis_options options = patient(server.url);
    options.ping_ms = 50;
    options.silence_ms = 200;
    options.connect_timeout_ms = 300;
    for (int subscribed = 0; subscribed < 2; subscribed++) {
        bus_client_open(&client, &options);
        if (subscribed) {
            client.bus->ops->subscribe(client.link, BYTES("quiet"));
            bus_client_wait(&client, &client.subscribed, 1);
        }
        bus_client_wait_up(&client, true);
        redis_server_freeze(&server);
        bus_client_wait(&client, &client.downs, 1);
        cr_assert_geq(redis_get_stats(client.bus).timeouts, 1);
        redis_server_thaw(&server);
        bus_client_wait(&client, &client.ups, 2);
        bus_client_close(&client);
    }
}

Test(redis, stays_up_while_it_is_idle_or_blocked)
{
    struct redis_options options = patient(server.url);
    options.ping_ms = 20;
    options.silence_ms = 2000;
    bus_client_open(&client, &options);
    bus_client_wait_up(&client, true);
    bus_client_send(&client, "BLPOP nothing 0.5", 5000);
    bus_client_wait(&client, &client.replies, 1);
    cr_assert_eq(client.last_type, BUS_NIL);
    bus_client_send(&client, "BLPOP nothing 0.3", 5000);
    bus_client_send(&client, "PING", 100);
    bus_client_wait(&client, &client.replies, 3);
    cr_assert_str_eq(client.last_text, "PONG");
    cr_assert_eq(client.downs, 0);
    bus_client_close(&client);
}

Test(redis, closes_a_connection_whose_reply_is_late)
{
    struct redis_options options = patient(server.url);
    bus_client_open(&client, &options);
    bus_client_wait_up(&client, true);
    bus_client_send(&client, "BLPOP nothing 0", 100);
    bus_client_send(&client, "PING", 100);
    bus_client_wait(&client, &client.unavailable, 2);
    bus_client_wait(&client, &client.ups, 2);
    cr_assert_eq(redis_get_stats(client.bus).timeouts, 1);
    bus_client_close(&client);
}

Test(redis, cancels_what_is_pending_when_it_is_closed)
{
    struct redis_options options = patient(server.url);
    bus_client_open(&client, &options);
    bus_client_send(&client, "PING", 0);
    bus_client_close(&client);
    cr_assert_eq(client.cancelled, 1);

    bus_client_open(&client, &options);
    bus_client_wait_up(&client, true);
    bus_client_send(&client, "BLPOP nothing 0", 0);
    bus_client_send(&client, "PING", 0);
    bus_client_close(&client);
    cr_assert_eq(client.cancelled, 2);
}

static void close_in_callback(void *context, int status, const struct bus_reply *reply)
{
    (void)status;
    (void)reply;
    unsigned *count = context;
    (*count)++;
    if (client.link != NULL) {
        struct bus_link *link = client.link;
        client.link = NULL;
        client.bus->ops->close(link);
    }
}

Test(redis, may_be_closed_from_any_reply)
{
    const struct bytes ping[] = {BYTES("PING")};
    struct redis_options options = patient(server.url);
    for (int how = 0; how < 3; how++) {
        unsigned count = 0;
        bus_client_open(&client, &options);
        if (how > 0) {
            bus_client_wait_up(&client, true);
        }
        if (how > 1) {
            redis_server_freeze(&server);
        }
        for (int i = 0; i < 10; i++) {
            client.bus->ops->command(client.link, ping, 1, 0, close_in_callback, &count);
        }
        if (how > 1) {
            redis_server_kill(&server);
        }
        bus_client_wait(&client, &count, 10);
        bus_client_close(&client);
        cr_assert_eq(count, 10);
    }
}

static void send_again(void *context, int status, const struct bus_reply *reply)
{
    (void)reply;
    const struct bytes ping[] = {BYTES("PING")};
    unsigned *count = context;
    if (status == STATUS_UNAVAILABLE && ++*count < 50) {
        client.bus->ops->command(client.link, ping, 1, 0, send_again, count);
    }
}

Test(redis, does_not_hang_the_loop_when_refused_commands_are_repeated)
{
    const struct bytes ping[] = {BYTES("PING")};
    redis_server_stop(&server);
    struct redis_options options = patient(server.url);
    unsigned count = 0;
    bus_client_open(&client, &options);
    client.bus->ops->command(client.link, ping, 1, 0, send_again, &count);
    unsigned turns = 0;
    while (count < 50 && turns < 5000) {
        unsigned before = count;
        uv_run(&client.loop, UV_RUN_NOWAIT);
        cr_assert_leq(count, before + 1);
        turns++;
    }
    cr_assert_eq(count, 50);
    bus_client_close(&client);
}

Test(redis, refuses_commands_above_its_bound)
{
    struct redis_options options = patient(server.url);
    options.send_max = 100000;
    bus_client_open(&client, &options);
    bus_client_wait_up(&client, true);
    char *value = malloc(60000);
    memset(value, 'x', 60000);
    const struct bytes set[] = {BYTES("SET"), BYTES("big"), bytes_of(value, 60000)};
    client.bus->ops->command(client.link, set, 3, 0, NULL, NULL);
    client.bus->ops->command(client.link, set, 3, 0, NULL, NULL);
    bus_client_send(&client, "STRLEN big", 0);
    cr_assert_eq(redis_get_stats(client.bus).refused, 1);
    bus_client_wait(&client, &client.answered, 1);
    cr_assert_eq(client.last_integer, 60000);
    bus_client_close(&client);
    free(value);
}

Test(redis, drops_a_connection_with_too_large_a_reply)
{
    struct redis_options options = patient(server.url);
    options.reply_max = 100000;
    bus_client_open(&client, &options);
    bus_client_wait_up(&client, true);
    bus_client_ask(&client, "SETRANGE small 89999 x");
    bus_client_ask(&client, "SETRANGE big 199999 x");
    bus_client_ask(&client, "GET small");
    cr_assert_eq(client.last_type, BUS_STRING);
    bus_client_send(&client, "GET big", 0);
    bus_client_wait(&client, &client.unavailable, 1);
    cr_assert_eq(redis_get_stats(client.bus).protocol_errors, 1);
    bus_client_wait(&client, &client.ups, 2);
    bus_client_close(&client);
}

Test(redis, leaves_a_server_that_became_a_replica)
{
    struct redis_options options = patient(server.url);
    bus_client_open(&client, &options);
    bus_client_wait_up(&client, true);
    redis_server_say(&server, "REPLICAOF 127.0.0.1 1");
    bus_client_send(&client, "SET a b", 0);
    bus_client_wait(&client, &client.downs, 1);
    cr_assert_eq(client.errors, 1);
    cr_assert_eq(redis_error_class(bytes_str(client.last_text)), REDIS_ERROR_RECONNECT);
    redis_server_say(&server, "REPLICAOF NO ONE");
    bus_client_wait(&client, &client.ups, 2);
    cr_assert_str_eq(bus_client_ask(&client, "SET a b"), "OK");
    bus_client_close(&client);
}

Test(redis, reports_errors_that_need_an_operator)
{
    struct redis_options options = patient(server.url);
    bus_client_open(&client, &options);
    bus_client_wait_up(&client, true);
    bus_client_ask(&client, "CONFIG SET maxmemory 1");
    bus_client_ask(&client, "SET a b");
    cr_assert_eq(client.last_type, BUS_ERROR);
    cr_assert_eq(redis_error_class(bytes_str(client.last_text)), REDIS_ERROR_OPERATOR, "%s",
        client.last_text);
    cr_assert_eq(client.downs, 0);
    bus_client_close(&client);
}

/* --- passwords ----------------------------------------------------------------------------- */

static void start_guarded(void)
{
    log_set_level(LOG_ERROR);
    server.password = "s3cret/@:%";
    redis_server_start(&server);
}

TestSuite(redis_auth, .init = start_guarded, .fini = finish_server, .timeout = 60);

Test(redis_auth, authenticates_with_and_without_a_user)
{
    static const char *const logins[] = {":s3cret%2F%40%3A%25", "default:s3cret%2f%40:%25"};
    for (size_t i = 0; i < ARRAY_LEN(logins); i++) {
        char url[128];
        snprintf(url, sizeof(url), "redis://%s@127.0.0.1:%d", logins[i], server.port);
        struct redis_options options = patient(url);
        bus_client_open(&client, &options);
        bus_client_wait_up(&client, true);
        cr_assert_str_eq(bus_client_ask(&client, "PING"), "PONG");
        bus_client_close(&client);
    }
}

Test(redis_auth, refusals_are_told_apart_from_silence)
{
    static const char *const logins[] = {"", ":wrong@", "nobody:s3cret@"};
    for (size_t i = 0; i < ARRAY_LEN(logins); i++) {
        char url[128];
        snprintf(url, sizeof(url), "redis://%s127.0.0.1:%d", logins[i], server.port);
        struct redis_options options = patient(url);
        struct redis_report report;
        struct builder error = {.max = 1024};
        int status = redis_check(&options, 15000, &error, &report);
        cr_assert_eq(status, STATUS_UNAUTHORIZED, "%s: %s", url, status_name(status));
        struct bytes text = builder_bytes(&error);
        cr_assert_null(memmem(text.at, text.len, "s3cret", 6));
        builder_reset(&error);
    }
}

/* --- redis_check --------------------------------------------------------------------------- */

static int check(const char *url, uint32_t timeout_ms, struct redis_report *ret_report)
{
    struct redis_options options = patient(url);
    struct builder error = {.max = 1024};
    int status = redis_check(&options, timeout_ms, &error, ret_report);
    cr_assert_eq(status == 0, builder_bytes(&error).len == 0);
    builder_reset(&error);
    return status;
}

Test(redis, checks_version_eviction_role_and_durability)
{
    struct redis_report report = {0};
    cr_assert_eq(check(server.url, 0, &report), 0);
    cr_assert_geq(report.version_major, 7);
    cr_assert_not(report.append_only);
    cr_assert_str_eq(report.eviction, "noeviction");

    redis_server_say(&server, "CONFIG SET appendonly yes");
    redis_server_say(&server, "CONFIG SET maxmemory-policy volatile-lru");
    cr_assert_eq(check(server.unix_url, 0, &report), 0);
    cr_assert(report.append_only);

    redis_server_say(&server, "CONFIG SET maxmemory-policy allkeys-lru");
    cr_assert_eq(check(server.url, 0, &report), STATUS_UNSUPPORTED);
    redis_server_say(&server, "CONFIG SET maxmemory-policy noeviction");
    redis_server_say(&server, "REPLICAOF 127.0.0.1 1");
    cr_assert_eq(check(server.url, 0, &report), STATUS_UNSUPPORTED);

    redis_server_freeze(&server);
    cr_assert_eq(check(server.url, 100, &report), STATUS_UNAVAILABLE);
    redis_server_kill(&server);
    cr_assert_eq(check(server.url, 100, &report), STATUS_UNAVAILABLE);
}
