/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bus over TLS, against a real redis-server: whom it trusts and by what name, what it shows,
 * what it says of each failure, and that nothing is lost in records.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/log.h"
#include "codec/base/status.h"
#include "hub/config/config.h"
#include "hub/net/tls_context.h"
#include "hub/redis/redis_sync.h"
#include "tests/support/bus_client.h"
#include "tests/support/redis_server.h"
#include "tests/support/test_certs.h"

enum { CHECK_MS = 3000 };

static struct redis_server server;
static struct bus_client client;
static struct test_certs certs;
static const struct test_cert *ca;
static const struct test_cert *other_ca;
static const struct test_cert *own; /* the client's */
static char url[128];

static struct config settings(void)
{
    return (struct config){
        .bus_url = url,
        .bus_user = "",
        .bus_password = "",
        .bus_tls_ca = ca->cert,
        .bus_tls_cert = "",
        .bus_tls_key = "",
        .bus_tls_name = "",
        .bus_sentinel_user = "",
        .bus_sentinel_password = "",
    };
}

static struct config with_own(void)
{
    struct config config = settings();
    config.bus_tls_cert = own->cert;
    config.bus_tls_key = own->key;
    return config;
}

/* Start a server that shows a certificate of `shown`. */
static void start(const struct test_cert *shown, bool clients)
{
    server.tls_cert = shown->cert;
    server.tls_key = shown->key;
    server.tls_ca = ca->cert;
    server.tls_clients = clients;
    redis_server_start(&server);
    snprintf(url, sizeof(url), "rediss://127.0.0.1:%d", server.tls_port);
}

static const struct test_cert *make(const char *name, const struct test_cert *issuer)
{
    const struct test_cert_options options = {.name = name, .issuer = issuer};
    return test_certs_make(&certs, &options);
}

static void set_up(void)
{
    log_set_level(LOG_ERROR);
    test_certs_begin(&certs);
    ca = test_certs_make(&certs, &(struct test_cert_options){.name = "ca", .ca = true});
    other_ca = test_certs_make(&certs, &(struct test_cert_options){.name = "other", .ca = true});
    own = make("peal", ca);
}

static void tear_down(void)
{
    redis_server_finish(&server);
    test_certs_end(&certs);
}

TestSuite(redis_tls, .init = set_up, .fini = tear_down, .timeout = 120);

/* What redis_check says, "" when all is well; in static storage. */
static const char *ask(const struct config *config, int *ret_status)
{
    static char why[1024];
    struct redis_target target = {0};
    struct redis_report report;
    struct builder error = {.max = sizeof(why) - 1};
    const struct redis_options options = {
        .target = &target, .backoff_min_ms = 10, .backoff_max_ms = 50};
    *ret_status = redis_target_init(config, NULL, &error, &target);
    if (*ret_status == 0) {
        *ret_status = redis_check(&options, CHECK_MS, &error, &report);
    }
    struct bytes text = builder_bytes(&error);
    snprintf(why, sizeof(why), "%.*s", (int)text.len, text.len > 0 ? text.at : "");
    cr_assert_eq(*ret_status == 0, text.len == 0, "%s", why);
    builder_reset(&error);
    redis_target_finish(&target);
    return why;
}

static void expect(const struct config *config, const char *part)
{
    char shown[160];
    int status;
    snprintf(shown, sizeof(shown), "(%s/0)", url);
    const char *why = ask(config, &status);
    if (part == NULL) {
        cr_expect_eq(status, 0, "%s", why);
        return;
    }
    cr_expect_eq(status, STATUS_UNAVAILABLE, "%s: %s", part, status_name(status));
    cr_expect_not_null(strstr(why, part), "\"%s\" is not in \"%s\"", part, why);
    cr_expect_not_null(strstr(why, shown), "the address is not in \"%s\"", why);
}

/* --- whom it trusts ------------------------------------------------------------------------ */

Test(redis_tls, trusts_whom_the_authority_has_certified_under_the_name)
{
    start(make("127.0.0.1", ca), false);
    struct config config = settings();
    expect(&config, NULL);
    config.bus_tls_ca = other_ca->cert;
    expect(&config, "its certificate is not accepted (");
    config.bus_tls_ca = ""; /* those of the machine */
    expect(&config, "its certificate is not accepted (");
    config = settings();
    config.bus_tls_name = "redis.example";
    expect(&config, "its certificate is not accepted (hostname mismatch)");
    config.bus_tls_name = "127.0.0.2";
    expect(&config, "its certificate is not accepted (IP address mismatch)");
}

Test(redis_tls, the_name_may_be_another_than_the_host)
{
    start(make("redis.example", ca), false);
    struct config config = settings();
    expect(&config, "its certificate is not accepted (IP address mismatch)");
    config.bus_tls_name = "redis.example";
    expect(&config, NULL);
    snprintf(url, sizeof(url), "rediss://localhost:%d", server.tls_port);
    expect(&config, NULL);
    config.bus_tls_name = "";
    expect(&config, "its certificate is not accepted (hostname mismatch)");
}

Test(redis_tls, a_certificate_that_has_ended_or_signed_itself_is_refused)
{
    const struct test_cert_options ended = {
        .name = "127.0.0.1", .issuer = ca, .from_days = -9, .to_days = -2};
    start(test_certs_make(&certs, &ended), false);
    struct config config = settings();
    expect(&config, "its certificate is not accepted (certificate has expired)");
    redis_server_finish(&server);
    start(make("127.0.0.1", NULL), false);
    expect(&config, "its certificate is not accepted (self-signed certificate)");
}

/* --- what it shows ------------------------------------------------------------------------- */

Test(redis_tls, shows_its_certificate_where_one_is_wanted)
{
    start(make("127.0.0.1", ca), true);
    struct config config = with_own();
    expect(&config, NULL);
    config = settings();
    expect(&config, "certificate required)");
    const struct test_cert *strange = make("peal", other_ca);
    config.bus_tls_cert = strange->cert;
    config.bus_tls_key = strange->key;
    expect(&config, "unknown ca)");
}

Test(redis_tls, files_that_cannot_be_used_are_named)
{
    char broken[TEST_PATH_MAX];
    int status;
    test_certs_write(&certs, "broken", "no PEM", broken);
    snprintf(url, sizeof(url), "rediss://127.0.0.1:1");
    static const char *const parts[] = {"bus.tls_ca: ", "bus.tls_cert: ", "bus.tls_key: "};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        const char *const paths[] = {broken, "/nowhere/at/all"};
        for (size_t j = 0; j < ARRAY_LEN(paths); j++) {
            struct config config = with_own();
            config.bus_tls_ca = i == 0 ? paths[j] : config.bus_tls_ca;
            config.bus_tls_cert = i == 1 ? paths[j] : config.bus_tls_cert;
            config.bus_tls_key = i == 2 ? paths[j] : config.bus_tls_key;
            const char *why = ask(&config, &status);
            cr_expect_eq(strncmp(why, parts[i], strlen(parts[i])), 0, "%s", why);
            cr_expect_not_null(strstr(why, paths[j]), "%s", why);
        }
    }
    struct config config = with_own();
    config.bus_tls_key = ca->key;
    cr_expect_not_null(strstr(ask(&config, &status), "is not the key of its certificate"));
}

/* --- who does not speak TLS ---------------------------------------------------------------- */

Test(redis_tls, a_server_that_speaks_otherwise_is_told)
{
    start(make("127.0.0.1", ca), false);
    struct config config = settings();
    struct redis_target target;
    struct builder error = {0};
    struct redis_report report;
    snprintf(url, sizeof(url), "rediss://127.0.0.1:%d", server.port);
    cr_assert_eq(redis_target_init(&config, NULL, &error, &target), 0);
    const struct redis_options options = {.target = &target, .connect_timeout_ms = 200};
    cr_expect_eq(redis_check(&options, 1000, &error, &report), STATUS_UNAVAILABLE);
    struct bytes text = builder_bytes(&error);
    cr_expect(memmem(text.at, text.len, "TLS", 3) != NULL, "%.*s", (int)text.len, text.at);
    builder_reset(&error);
    redis_target_finish(&target);
    snprintf(url, sizeof(url), "redis://127.0.0.1:%d", server.tls_port);
    config.bus_tls_ca = "";
    expect(&config, "");
}

/* --- what travels -------------------------------------------------------------------------- */

static void open_client(const struct config *config, struct redis_target *target)
{
    struct builder error = {0};
    cr_assert_eq(redis_target_init(config, NULL, &error, target), 0);
    const struct redis_options options = {
        .target = target, .backoff_min_ms = 10, .backoff_max_ms = 100};
    bus_client_open(&client, &options);
    bus_client_wait_up(&client, true);
}

static void on_value(void *context, int status, const struct bus_reply *reply)
{
    const struct bytes *expected = context;
    cr_assert_eq(status, 0);
    cr_assert(reply->type == BUS_STRING && bytes_eq(reply->text, *expected));
    client.answered++;
}

Test(redis_tls, carries_values_of_any_size_and_many_commands_in_order)
{
    static const size_t sizes[] = {0, 1, 16383, 16384, 16385, 65536, 3000001};
    enum { COUNT = 50000 };
    struct redis_target target;
    start(make("127.0.0.1", ca), true);
    struct config config = with_own();
    open_client(&config, &target);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char *content = malloc(sizes[i] + 1);
        for (size_t j = 0; j < sizes[i]; j++) {
            content[j] = (char)(j * 7 + j / 251);
        }
        struct bytes value = bytes_of(content, sizes[i]);
        const struct bytes set[] = {BYTES("SET"), BYTES("key"), value};
        const struct bytes get[] = {BYTES("GET"), BYTES("key")};
        unsigned before = client.answered;
        client.bus->ops->command(client.link, set, 3, 0, NULL, NULL);
        client.bus->ops->command(client.link, get, 2, 0, on_value, &value);
        bus_client_wait(&client, &client.answered, before + 1);
        free(content);
    }
    unsigned before = client.answered;
    for (unsigned i = 0; i < COUNT; i++) {
        bus_client_send(&client, "INCR counter", 15000);
    }
    bus_client_wait(&client, &client.answered, before + COUNT);
    cr_assert_eq(client.out_of_order + client.errors, 0);
    cr_assert_eq(client.last_integer, COUNT);
    bus_client_close(&client);
    redis_target_finish(&target);
}

Test(redis_tls, channels_are_subscribed_again_after_an_outage)
{
    struct redis_target target;
    start(make("127.0.0.1", ca), false);
    struct config config = settings();
    open_client(&config, &target);
    cr_assert(client.bus->ops->subscribe(client.link, BYTES("news")));
    bus_client_wait(&client, &client.subscribed, 1);
    redis_server_say(&server, "PUBLISH news one");
    bus_client_wait(&client, &client.messages, 1);
    redis_server_kill(&server);
    bus_client_wait(&client, &client.downs, 1);
    redis_server_restart(&server);
    bus_client_wait(&client, &client.subscribed, 2);
    redis_server_say(&server, "PUBLISH news two");
    bus_client_wait(&client, &client.messages, 2);
    cr_assert_str_eq(client.last_payload, "two");
    bus_client_close(&client);
    redis_target_finish(&target);
}

/* A new certificate is shown by connections to come; those that are there go on. */
Test(redis_tls, rules_change_for_connections_to_come)
{
    struct redis_target target;
    struct redis_target renewed;
    struct builder error = {0};
    start(make("127.0.0.1", ca), true);
    struct config config = with_own();
    open_client(&config, &target);
    const struct test_cert *next = make("peal", ca);
    config.bus_tls_cert = next->cert;
    config.bus_tls_key = next->key;
    config.bus_tls_ca = other_ca->cert; /* which fails: so it is seen whose rules hold */
    cr_assert_eq(redis_target_init(&config, NULL, &error, &renewed), 0);
    redis_set_tls(client.bus, renewed.tls);
    cr_assert_str_eq(bus_client_ask(&client, "PING"), "PONG");
    redis_server_say(&server, "CLIENT KILL TYPE normal");
    bus_client_wait(&client, &client.downs, 1);
    uint64_t connects = redis_get_stats(client.bus).connects;
    bus_client_send(&client, "PING", 0);
    bus_client_wait(&client, &client.unavailable, 1);
    cr_assert_eq(redis_get_stats(client.bus).connects, connects);
    redis_set_tls(client.bus, target.tls);
    bus_client_wait_up(&client, true);
    bus_client_close(&client);
    redis_target_finish(&target);
    redis_target_finish(&renewed);
}

/* --- who logs in --------------------------------------------------------------------------- */

Test(redis_tls, users_and_passwords_have_any_character)
{
    start(make("127.0.0.1", ca), false);
    cr_assert_str_eq(
        redis_server_say(&server, "ACL SETUSER p@:/?#%e \">a b@:/?#%41\" on +@all"), "+OK");
    cr_assert_str_eq(redis_server_say(&server, "ACL SETUSER default off"), "+OK");
    struct config config = settings();
    config.bus_user = "p@:/?#%e";
    config.bus_password = "a b@:/?#%41";
    expect(&config, NULL);
    snprintf(url, sizeof(url),
        "rediss://p%%40%%3A%%2F%%3F%%23%%25e:a%%20b%%40:%%2f%%3F%%23%%2541"
        "@127.0.0.1:%d",
        server.tls_port);
    config = settings();
    config.bus_password = "that of the address is taken";
    int status;
    cr_expect_str_eq(ask(&config, &status), "");
    /* An address of a command brings its own password: that of the settings is for bus.url alone.
     */
    struct redis_sync *sync;
    struct builder error = {0};
    char bare[64];
    snprintf(bare, sizeof(bare), "rediss://127.0.0.1:%d", server.tls_port);
    config.bus_user = "p@:/?#%e";
    config.bus_password = "a b@:/?#%41";
    cr_expect_eq(redis_sync_reach(&config, bare, &error, &sync), STATUS_UNAUTHORIZED);
    builder_reset(&error);
    config.bus_url = bare;
    cr_assert_eq(redis_sync_reach(&config, NULL, &error, &sync), 0);
    redis_sync_close(sync);
}
