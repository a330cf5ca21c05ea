/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bus over a cluster of three real masters: commands find their slot, also while it moves, and
 * messages are heard wherever they are published.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "codec/base/clock.h"
#include "codec/base/log.h"
#include "codec/base/status.h"
#include "codec/redis_keys.h"
#include "tests/support/bus_client.h"
#include "tests/support/redis_server.h"

enum { SERVERS = 3, CHECK_MS = 3000, PATIENCE_MS = 60000, COMMANDS = 400 };

/* Keys of each of them: slots 0 to 5461, 5462 to 10922, and the rest. */
static const char *const keys[SERVERS] = {"{b}", "{c}", "{a}"};
static const int first_slots[SERVERS + 1] = {0, 5462, 10923, 16384};

static struct redis_server servers[SERVERS];
static char ids[SERVERS][64];
static struct bus_client client;
static char url[128];

static void expect_ok(const struct redis_server *server, const char *line)
{
    cr_assert_str_eq(
        redis_server_say(server, line), "+OK", "%s: %s", line, redis_server_say(server, line));
}

/* Until each of them knows who has the slots of all. */
static void wait_agreed(void)
{
    const struct timespec pause = {.tv_nsec = 20000000};
    uint64_t until = clock_mono_ms() + PATIENCE_MS;
    for (size_t i = 0; i < SERVERS * SERVERS;) {
        char line[32];
        snprintf(line, sizeof(line), "GET %s", keys[i % SERVERS]);
        if (strncmp(redis_server_say(&servers[i / SERVERS], line), "-CLUSTERDOWN", 12) != 0) {
            i++;
            continue;
        }
        cr_assert_lt(clock_mono_ms(), until, "the cluster does not agree");
        nanosleep(&pause, NULL);
    }
}

static void set_up(void)
{
    char line[96];
    log_set_level(LOG_ERROR);
    for (size_t i = 0; i < SERVERS; i++) {
        servers[i].clustered = true;
        redis_server_start(&servers[i]);
        snprintf(ids[i], sizeof(ids[i]), "%s", redis_server_say(&servers[i], "CLUSTER MYID"));
        snprintf(line, sizeof(line), "CLUSTER SET-CONFIG-EPOCH %zu", i + 1);
        expect_ok(&servers[i], line);
        snprintf(line, sizeof(line), "CLUSTER ADDSLOTSRANGE %d %d", first_slots[i],
            first_slots[i + 1] - 1);
        expect_ok(&servers[i], line);
    }
    for (size_t i = 1; i < SERVERS; i++) {
        snprintf(line, sizeof(line), "CLUSTER MEET 127.0.0.1 %d", servers[i].port);
        expect_ok(&servers[0], line);
    }
    wait_agreed();
    snprintf(url, sizeof(url), "redis+cluster://127.0.0.1:%d,127.0.0.1:%d", servers[2].port,
        servers[0].port);
}

static void tear_down(void)
{
    for (size_t i = 0; i < SERVERS; i++) {
        redis_server_finish(&servers[i]);
    }
}

TestSuite(redis_cluster, .init = set_up, .fini = tear_down, .timeout = 180);

static void open_client(void)
{
    const struct redis_options options = {
        .target = bus_client_target(url), .backoff_min_ms = 10, .backoff_max_ms = 100};
    bus_client_open(&client, &options);
    bus_client_wait_up(&client, true);
}

/* The slot of `key` begins to move from one server to another. */
static void begin_move(const char *key, size_t from, size_t to)
{
    char line[160];
    unsigned slot = redis_keys_slot(bytes_str(key));
    snprintf(line, sizeof(line), "CLUSTER SETSLOT %u IMPORTING %s", slot, ids[from]);
    expect_ok(&servers[to], line);
    snprintf(line, sizeof(line), "CLUSTER SETSLOT %u MIGRATING %s", slot, ids[to]);
    expect_ok(&servers[from], line);
}

static void move_key(const char *key, size_t from, size_t to)
{
    char line[160];
    snprintf(line, sizeof(line), "MIGRATE 127.0.0.1 %d %s 0 5000", servers[to].port, key);
    expect_ok(&servers[from], line);
}

static void end_move(const char *key, size_t to)
{
    char line[160];
    unsigned slot = redis_keys_slot(bytes_str(key));
    snprintf(line, sizeof(line), "CLUSTER SETSLOT %u NODE %s", slot, ids[to]);
    expect_ok(&servers[to], line);
    for (size_t i = 0; i < SERVERS; i++) {
        expect_ok(&servers[i], line);
    }
}

Test(redis_cluster, commands_go_to_who_has_the_slot)
{
    char line[64];
    open_client();
    for (unsigned i = 0; i < 100; i++) {
        snprintf(line, sizeof(line), "SET key%u %u", i, i);
        cr_assert_str_eq(bus_client_ask(&client, line), "OK");
    }
    for (unsigned i = 0; i < 100; i++) {
        char value[12];
        snprintf(line, sizeof(line), "GET key%u", i);
        snprintf(value, sizeof(value), "%u", i);
        cr_assert_str_eq(bus_client_ask(&client, line), value);
    }
    struct redis_stats stats = redis_get_stats(client.bus);
    cr_assert_eq(stats.masters, SERVERS);
    cr_assert_eq(stats.uncovered, 0);
    cr_assert_eq(stats.moved, 0);
    cr_assert_eq(stats.links, SERVERS);
    cr_assert_eq(stats.links_up, SERVERS);
    cr_assert_str_eq(bus_client_ask(&client, "PING"), "PONG");
    bus_client_ask(&client, "MGET a b"); /* it is not among those that Peal sends */
    cr_assert_eq(client.last_type, BUS_ERROR);
    bus_client_close(&client);
}

/* Before anybody has asked again, MOVED says where a slot is. */
Test(redis_cluster, a_slot_that_has_moved_is_followed)
{
    open_client();
    cr_assert_str_eq(bus_client_ask(&client, "SET {a}1 one"), "OK");
    begin_move("{a}", 2, 0);
    cr_assert_str_eq(bus_client_ask(&client, "GET {a}1"), "one"); /* still where it was */
    move_key("{a}1", 2, 0);
    cr_assert_str_eq(bus_client_ask(&client, "GET {a}1"), "one"); /* ASK */
    cr_assert_str_eq(bus_client_ask(&client, "SET {a}2 two"), "OK"); /* ASK, as it is new */
    cr_assert_geq(redis_get_stats(client.bus).asked, 2);
    end_move("{a}", 0);
    cr_assert_str_eq(bus_client_ask(&client, "GET {a}1"), "one");
    cr_assert_str_eq(bus_client_ask(&client, "GET {a}2"), "two");
    cr_assert_geq(redis_get_stats(client.bus).moved, 1);
    uint64_t moved = redis_get_stats(client.bus).moved;
    cr_assert_str_eq(bus_client_ask(&client, "SET {a}1 three"), "OK");
    cr_assert_eq(redis_get_stats(client.bus).moved, moved); /* it is known now */
    bus_client_close(&client);
}

/* TRYAGAIN, as long as only one of two keys has moved. */
Test(redis_cluster, commands_with_several_keys_wait_until_all_have_moved)
{
    static const char both[] =
        "EVAL return(redis.call('get',KEYS[1])..redis.call('get',KEYS[2])) 2 {a}1 {a}2";
    open_client();
    bus_client_ask(&client, "SET {a}1 one");
    bus_client_ask(&client, "SET {a}2 two");
    begin_move("{a}", 2, 0);
    move_key("{a}1", 2, 0);
    bus_client_send(&client, both, 0);
    while (redis_get_stats(client.bus).retried == 0) {
        uv_run(&client.loop, UV_RUN_ONCE);
    }
    move_key("{a}2", 2, 0);
    bus_client_wait(&client, &client.replies, client.sent);
    cr_assert_str_eq(client.last_text, "onetwo");
    end_move("{a}", 0);
    cr_assert_str_eq(bus_client_ask(&client, both), "onetwo");
    bus_client_close(&client);
}

/* Each says how long the list is: no two changed places, none was carried out twice. */
Test(redis_cluster, what_is_asked_of_a_slot_stays_in_order_while_it_moves)
{
    open_client();
    for (unsigned i = 1; i <= COMMANDS; i++) {
        if (i == COMMANDS / 4) {
            bus_client_wait(&client, &client.replies, 1);
            begin_move("{a}", 2, 0);
        } else if (i == COMMANDS / 3) {
            move_key("{a}list", 2, 0);
        } else if (i == COMMANDS / 2) {
            bus_client_wait(&client, &client.replies, i / 2);
            end_move("{a}", 0);
        }
        char line[128];
        snprintf(line, sizeof(line),
            "EVAL return(redis.call('rpush',KEYS[1],ARGV[1])==%u) 1 {a}list %u", i, i);
        bus_client_send(&client, line, 0);
        if (i % 7 == 0) {
            uv_run(&client.loop, UV_RUN_NOWAIT);
        }
    }
    bus_client_wait(&client, &client.replies, COMMANDS);
    cr_assert_eq(client.errors, 0, "%s", client.last_text);
    cr_assert_eq(client.unavailable, 0);
    cr_assert_eq(client.out_of_order, 0);
    cr_assert_eq(client.last_type, BUS_INTEGER); /* true */
    bus_client_close(&client);
}

Test(redis_cluster, what_is_published_anywhere_is_heard)
{
    open_client();
    cr_assert(client.bus->ops->subscribe(client.link, BYTES("news")));
    bus_client_wait(&client, &client.subscribed, 1);
    for (unsigned i = 0; i < SERVERS; i++) {
        redis_server_say(&servers[i], "PUBLISH news one");
        bus_client_wait(&client, &client.messages, i + 1);
    }
    /* Another server than the one at which it is heard is found. */
    unsigned ups = client.ups;
    for (unsigned i = 0; i < SERVERS; i++) {
        redis_server_say(&servers[i], "CLIENT KILL TYPE pubsub");
    }
    bus_client_wait(&client, &client.ups, ups + 1);
    bus_client_wait(&client, &client.subscribed, 2);
    redis_server_say(&servers[0], "PUBLISH news two");
    bus_client_wait(&client, &client.messages, SERVERS + 1);
    cr_assert_str_eq(client.last_payload, "two");
    bus_client_close(&client);
}

static void on_each(void *context, int status, const struct bus_reply *reply)
{
    unsigned *count = context;
    cr_assert_eq(status, 0);
    cr_assert_neq(reply->type, BUS_ERROR);
    ++*count;
}

Test(redis_cluster, some_commands_are_for_all_servers)
{
    const struct bytes argv[] = {BYTES("INFO"), BYTES("replication")};
    struct bus_client other;
    unsigned count = 0;
    open_client();
    cr_assert_eq(
        bus_command_each(client.bus, client.link, argv, ARRAY_LEN(argv), on_each, &count), SERVERS);
    bus_client_wait(&client, &count, SERVERS);
    bus_command_near(client.bus, client.link, BYTES("{a}"),
        &(struct bus_command){argv, ARRAY_LEN(argv), on_each, &count});
    bus_client_wait(&client, &count, SERVERS + 1);

    const struct redis_options options = {.target = bus_client_target(url)};
    bus_client_open(&other, &options);
    cr_assert(other.bus->ops->subscribe(other.link, BYTES("news")));
    bus_client_wait(&other, &other.subscribed, 1);
    bus_client_ask(&client, "PUBSUB NUMSUB news");
    cr_assert_eq(client.last_type, BUS_ARRAY);
    bus_client_close(&other);

    char line[64];
    char sha[44];
    snprintf(sha, sizeof(sha), "%.40s", bus_client_ask(&client, "SCRIPT LOAD return(KEYS[1])"));
    for (size_t i = 0; i < SERVERS; i++) {
        snprintf(line, sizeof(line), "EVALSHA %s 1 %s", sha, keys[i]);
        char expected[8];
        snprintf(expected, sizeof(expected), "%s", keys[i]);
        cr_assert_str_eq(bus_client_ask(&client, line), expected);
    }
    bus_client_ask(&client, "SCRIPT NOSUCH");
    cr_assert_eq(client.last_type, BUS_ERROR);
    bus_client_close(&client);
}

struct scanned {
    bool done;
    unsigned found;
    char cursor[32];
};

static void on_page(void *context, int status, const struct bus_reply *reply)
{
    struct scanned *scanned = context;
    cr_assert_eq(status, 0);
    cr_assert_eq(reply->type, BUS_ARRAY);
    scanned->found += (unsigned)reply->items[1]->count;
    snprintf(scanned->cursor, sizeof(scanned->cursor), "%s", reply->items[0]->text.at);
    scanned->done = true;
}

Test(redis_cluster, a_scan_goes_over_all_servers)
{
    struct scanned scanned = {.cursor = "0"};
    char line[64];
    open_client();
    for (unsigned i = 0; i < 200; i++) {
        snprintf(line, sizeof(line), "SET key%u 1", i);
        bus_client_ask(&client, line);
    }
    do {
        const struct bytes argv[] = {
            BYTES("SCAN"), bytes_str(scanned.cursor), BYTES("COUNT"), BYTES("20")};
        scanned.done = false;
        client.bus->ops->command(client.link, argv, ARRAY_LEN(argv), 0, on_page, &scanned);
        while (!scanned.done) {
            uv_run(&client.loop, UV_RUN_ONCE);
        }
    } while (strcmp(scanned.cursor, "0") != 0);
    cr_assert_eq(scanned.found, 200);
    bus_client_ask(&client, "SCAN 99-0"); /* nobody is the hundredth */
    bus_client_close(&client);
}

/* A link of commands is down while a server that it has used is; others answer. */
Test(redis_cluster, a_server_that_stops_is_one_of_several)
{
    open_client();
    for (size_t i = 0; i < SERVERS; i++) {
        char line[32];
        snprintf(line, sizeof(line), "SET %s 1", keys[i]);
        bus_client_ask(&client, line);
    }
    redis_server_kill(&servers[1]);
    bus_client_wait(&client, &client.downs, 1);
    cr_assert_not(client.bus->ops->is_up(client.link));
    cr_assert_lt(redis_get_stats(client.bus).links_up, redis_get_stats(client.bus).links);
    bus_client_send(&client, "GET {c}", 0);
    bus_client_wait(&client, &client.replies, client.sent);
    cr_assert_eq(client.unavailable, 1);
    redis_server_restart(&servers[1]);
    bus_client_wait(&client, &client.ups, 2);
    bus_client_close(&client);
}

Test(redis_cluster, what_is_under_way_is_answered_at_the_end)
{
    open_client();
    begin_move("{a}", 2, 0);
    bus_client_ask(&client, "SET {a}1 one");
    for (unsigned i = 0; i < 10; i++) {
        bus_client_send(&client, "EVAL return(1) 2 {a}1 {a}2", 0); /* TRYAGAIN for ever */
        bus_client_send(&client, "GET {b}", 0);
    }
    while (redis_get_stats(client.bus).retried == 0 && client.replies < client.sent) {
        uv_run(&client.loop, UV_RUN_ONCE);
    }
    bus_client_send(&client, "GET {c}", 0);
    bus_client_close(&client); /* sees that each has its answer */
}

/* What redis_check says of `text`. */
static int expect(const char *text, const char *part)
{
    char line[700];
    struct builder error = {.max = 600};
    struct redis_report report = {0};
    const struct redis_options options = {.target = bus_client_target(text),
        .connect_timeout_ms = 500,
        .backoff_min_ms = 10,
        .backoff_max_ms = 50};
    int status = redis_check(&options, CHECK_MS, &error, &report);
    struct bytes why = builder_bytes(&error);
    snprintf(line, sizeof(line), "%.*s", (int)why.len, why.len > 0 ? why.at : "");
    cr_expect_not_null(strstr(line, part), "\"%s\" is not in \"%s\"", part, line);
    builder_reset(&error);
    cr_expect(status != 0 || report.masters == SERVERS);
    return status;
}

Test(redis_cluster, what_is_wrong_is_told)
{
    char text[128];
    struct redis_server single = {0};
    cr_assert_eq(expect(url, ""), 0);
    snprintf(text, sizeof(text), "redis://127.0.0.1:%d", servers[0].port);
    cr_assert_eq(expect(text, "its address begins with redis+cluster://"), STATUS_UNSUPPORTED);
    redis_server_start(&single);
    snprintf(text, sizeof(text), "redis+cluster://127.0.0.1:%d", single.port);
    cr_assert_eq(expect(text, "cluster support disabled"), STATUS_UNAVAILABLE);
    redis_server_finish(&single);
    cr_assert_eq(expect("redis+cluster://127.0.0.1:1,127.0.0.1:2", "refused"), STATUS_UNAVAILABLE);
    redis_server_say(&servers[1], "CONFIG SET maxmemory-policy allkeys-lru");
    cr_assert_eq(expect(url, "evicts keys"), STATUS_UNSUPPORTED);
}
