/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings from file, environment and flags: which wins, and what is told of a mistake.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/base/buf.h"
#include "codec/base/status.h"
#include "hub/config/config.h"
#include "hub/config/config_ask.h"
#include "hub/config/config_load.h"
#include "hub/config/config_print.h"
#include "hub/config/config_table.h"
#include "hub/config/config_value.h"

TestSuite(config, .timeout = 60);

enum { ARGS_MOST = 16 };

static struct config_error error;
static char *rest[ARGS_MOST + 1];

/* Write `text` to a temporary file; its name stays valid until the next call. */
static const char *write_file(const char *text)
{
    static char path[64];
    strcpy(path, "/tmp/peal-config-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return path;
}

/* Load from a file's text (NULL: none), variables and flags, each list ended by NULL. */
static struct config *load(const char *file, char *const *environment, char *const *flags)
{
    char *argv[ARGS_MOST];
    size_t argc = 0;
    const char *path = file != NULL ? write_file(file) : NULL;
    if (path != NULL) {
        argv[argc++] = (char *)"--config";
        argv[argc++] = (char *)(uintptr_t)path;
    }
    for (; flags != NULL && *flags != NULL; flags++) {
        argv[argc++] = *flags;
    }
    struct config_input input = {.argc = argc, .argv = argv, .environment = environment};
    struct config *config = NULL;
    error.text[0] = 0;
    int status = config_load(&input, &error, rest, &config);
    cr_assert_eq(status, config == NULL ? STATUS_INVALID : 0, "%s", error.text);
    cr_assert_eq(error.text[0] == 0, config != NULL, "an error without a text, or the reverse");
    if (path != NULL) {
        unlink(path);
    }
    return config;
}

#define LIST(...) ((char *[]){__VA_ARGS__, NULL})

Test(config, every_row_has_a_valid_default_and_prose)
{
    struct config *config = load(NULL, NULL, NULL);
    for (size_t i = 0; i < CONFIG_COUNT; i++) {
        const struct config_setting *row = &config_settings[i];
        cr_expect_eq(config_table_find(row->key), row, "%s: not found, or twice", row->key);
        cr_expect_eq(row->prose[strlen(row->prose) - 1], '.', "%s: prose", row->key);
        cr_expect_leq(row->least, row->most, "%s: range", row->key);
        cr_expect_eq(row->type == CONFIG_CHOICE, row->words[0] != 0 && row->type != CONFIG_LIST,
            "%s: words", row->key);
        cr_expect_str_eq(config_source(config, (enum config_place)i), "default");
    }
    cr_expect_eq(config->listen_port, 3000);
    cr_expect_eq(config->engine_ping_interval_ms, 25000);
    cr_expect_eq(config->limits_outbound_bytes, 256 * 1024);
    cr_expect_eq(config->store_tombstones_ms, 30ull * 86400 * 1000);
    cr_expect_str_eq(config->listen_host, "0.0.0.0");
    cr_expect_eq(config->warnings.count, 0);
    config_destroy(config);
}

Test(config, words_stand_in_the_order_of_their_enums)
{
    struct config *config = load("batching { mode = off }\nevents { unknown = relay }\n"
                                 "log { level = debug format = json }\n"
                                 "auth { on_expiry = keep }\n"
                                 "jwt_key \"k\" { algorithm = ES256 file = \"/k.pem\" }\n",
        NULL, NULL);
    cr_assert_not_null(config, "%s", error.text);
    cr_expect_eq(config->batching_mode, CONFIG_BATCHING_OFF);
    cr_expect_eq(config->events_unknown, UNKNOWN_RELAY);
    cr_expect_eq(config->log_level, 3, "LOG_DEBUG");
    cr_expect_eq(config->log_format, LOG_FORMAT_JSON);
    cr_expect_eq(config->auth_on_expiry, ON_EXPIRY_KEEP);
    cr_expect_eq(config->jwt_keys[0].algorithm, ALGORITHM_ES256);
    config_destroy(config);
}

Test(config, later_sources_override_earlier_ones)
{
    const char *file = "listen { port = 1001 host = \"127.0.0.1\" }\nshards = 3\n"
                       "limits { rooms = 5 }\n";
    char **environment = LIST((char *)"PORT=1002", (char *)"PEAL_SHARDS=4",
        (char *)"PEAL_LIMITS_ROOMS=", (char *)"HOME=/x");
    struct config *config = load(file, environment, LIST((char *)"--port=1003"));
    cr_assert_not_null(config, "%s", error.text);
    cr_expect_eq(config->listen_port, 1003);
    cr_expect_str_eq(config_source(config, CONFIG_AT_listen_port), "--port");
    cr_expect_eq(config->shards, 4);
    cr_expect_str_eq(config_source(config, CONFIG_AT_shards), "PEAL_SHARDS");
    cr_expect_eq(config->limits_rooms, 5, "an empty variable counts as not set");
    cr_expect_str_eq(config->listen_host, "127.0.0.1");
    const char *origin = config_source(config, CONFIG_AT_listen_host);
    cr_expect_str_eq(strchr(origin, ':'), ":1");
    config_destroy(config);
}

Test(config, aliases_yield_to_the_full_name)
{
    char **environment = LIST((char *)"PEAL_STORE_URL=postgres://full/db",
        (char *)"DATABASE_URL=postgres://alias/db", (char *)"REDIS_URL=redis://h:6379/0",
        (char *)"JWT_SECRET=0123456789012345678901234567890123456789",
        (char *)"CORS_ORIGINS=https://a.example, https://b.example",
        (char *)"SLOW_QUERY_THRESHOLD_MS=250");
    struct config *config = load(NULL, environment, NULL);
    cr_assert_not_null(config, "%s", error.text);
    cr_expect_str_eq(config->store_url, "postgres://full/db");
    cr_expect_str_eq(config->bus_url, "redis://h:6379/0");
    cr_expect_eq(strlen(config->auth_secret), 40);
    cr_expect_eq(config->store_slow_query_ms, 250);
    cr_assert_eq(config->origins.count, 2);
    cr_expect_str_eq(config->origins.items[1], "https://b.example");
    config_destroy(config);
}

static void expect_bus(char **environment, const char *url, const char *password)
{
    struct config *config = load(NULL, environment, NULL);
    cr_assert_not_null(config, "%s", error.text);
    cr_expect_str_eq(config->bus_url, url);
    cr_expect_str_eq(config->bus_password, password);
    config_destroy(config);
}

static void expect_no_bus(char **environment, const char *why)
{
    cr_expect_null(load(NULL, environment, NULL));
    cr_expect_not_null(strstr(error.text, why), "%s", error.text);
}

Test(config, a_host_stands_for_the_address_of_redis)
{
    expect_bus(LIST((char *)"REDIS_HOST=h"), "redis://h:6379/0", "");
    expect_bus(LIST((char *)"REDIS_HOST=::1", (char *)"REDIS_PORT=7", (char *)"REDIS_DB=3",
                   (char *)"REDIS_PASSWORD=a%/@:?#"),
        "redis://[::1]:7/3", "a%/@:?#");
    expect_bus(
        LIST((char *)"REDIS_HOST=h", (char *)"REDIS_URL=redis://other"), "redis://other", "");
    /* What Kubernetes tells every container beside a service called redis. */
    expect_bus(LIST((char *)"REDIS_PORT=tcp://10.0.0.1:6379"), "", "");
    expect_bus(LIST((char *)"REDIS_PORT=tcp://10.0.0.1:6379", (char *)"REDIS_HOST=redis"),
        "redis://redis:6379/0", "");
    expect_no_bus(
        LIST((char *)"REDIS_HOST=h", (char *)"PEAL_BUS_USER=u"), "goes with bus.password");
    static const char *const of_tls[] = {"CA", "CERT", "KEY", "NAME"};
    for (size_t i = 0; i < ARRAY_LEN(of_tls); i++) {
        char variable[40];
        snprintf(variable, sizeof(variable), "PEAL_BUS_TLS_%s=x", of_tls[i]);
        expect_no_bus(LIST((char *)"REDIS_URL=redis://h", variable), "not one with TLS");
        expect_no_bus(LIST((char *)"REDIS_HOST=h", variable), "not one with TLS");
    }
}

Test(config, flags_leave_what_is_not_theirs)
{
    char **flags = LIST((char *)"--user", (char *)"alice", (char *)"--dev",
        (char *)"--auth-tenants", (char *)"on", (char *)"--limits-rooms", (char *)"9",
        (char *)"--auth-query-token", (char *)"extra", (char *)"--", (char *)"--port=1");
    struct config *config = load(NULL, NULL, flags);
    cr_assert_not_null(config, "%s", error.text);
    const char *expected[] = {"--user", "alice", "extra", "--", "--port=1"};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        cr_assert_not_null(rest[i]);
        cr_expect_str_eq(rest[i], expected[i]);
    }
    cr_expect_null(rest[ARRAY_LEN(expected)]);
    cr_expect(config->dev && config->auth_tenants && config->auth_query_token);
    cr_expect_eq(config->limits_rooms, 9);
    cr_expect_eq(config->listen_port, 3000);
    config_destroy(config);
}

Test(config, values_are_parsed_strictly)
{
    static const struct {
        const char *flag;
        const char *part; /* of the error; NULL: accepted */
    } cases[] = {
        {"--listen-port=0", NULL},
        {"--listen-port=65536", "out of range; allowed: 0 to 65535"},
        {"--listen-port=-1", "not a number"},
        {"--listen-port=0x10", "not a number"},
        {"--listen-port=99999999999999999999999", "out of range"},
        {"--listen-port=", "not a number"},
        {"--drain-deadline=2h", "out of range; allowed: 0 to 1h"},
        {"--drain-deadline=90s", NULL},
        {"--drain-deadline=1.5s", "not a number"},
        {"--drain-deadline=10 s", "not a number"},
        {"--drain-deadline=18446744073709551615d", "of this kind"},
        {"--limits-body-bytes=2MiB", NULL},
        {"--limits-body-bytes=2MB", "not a number"},
        {"--limits-body-bytes=1023", "out of range; allowed: 1KiB to 256MiB"},
        {"--batching-mode=sometimes", "allowed: adaptive, always or off"},
        {"--dev=maybe", "neither on nor off"},
        {"--shards=64", NULL}, /* SHARD_MAX */
        {"--shards=65", "out of range; allowed: 0 to 64"},
        {"--bus-partitions=256", NULL},
        {"--bus-partitions=3", "bus.partitions: 3 is no power of two; allowed: 1, 2, 4"},
        {"--bus-partitions=512", "out of range; allowed: 1 to 256"},
        {"--bus-slots=4096", NULL},
        {"--store-pool-min=9", "store.pool_min: 9 is more than store.pool_max, 8"},
        {"--store-pool-max=1", "out of range; allowed: 2 to 1024"},
        {"--bus-slots=1000", "bus.slots: 1000 is no power of two"},
        {"--bus-prefix=", "wrong length; allowed: 1 to 64 bytes"},
        {"--bus-prefix=a\nb", "control character"},
        {"--bus-prefix=a{b}", "has a brace"},
        {"--values-prefix=a{b}", "values.prefix: \"a{b}\" has a brace"},
        {"--cache-prefix=peal", "values.prefix: is bus.prefix"},
        {"--values-ttl=31d", "values.ttl: more than values.ttl_max"},
        {"--values-bytes=1MiB", NULL},
        {"--events-alias=a=send_message,", "empty"},
        {"--events-alias=chat:message=send_message", NULL},
        {"--events-alias=plain", "theirs=ours"},
        {"--events-alias=a=b,x=disconnect", "\"x=disconnect\": Socket.IO keeps the name"},
        {"--origins=https://x.example/", "is not an origin"},
        {"--origins=x.example", "is not an origin"},
        {"--store-url=mysql://secret@h/", "store.url: must begin with postgres://"},
        {"--bus-url=http://h", "redis://, rediss://, redis+sentinel://"},
        {"--bus-url=rediss://h", NULL},
        {"--bus-url=redis+sentinel://a,b/name", NULL},
        {"--redis-host=[::1]", "bus.host: \"[::1]\" is not a host"},
        {"--redis-host=u:p@h", "bus.host: \"u:p@h\" is not a host"},
        {"--redis-port=tcp://10.0.0.1:6379", "not a number"}, /* as a flag it is meant */
        {"--bus-tls-cert=a.crt", "goes with bus.tls_cert: give both"},
        {"--bus-tls-key=a.key", "goes with bus.tls_cert: give both"},
        {"--port", "needs a value"},
        {"--listen-internal-port=3000", NULL}, /* on another address */
        {"--auth-api-key=short", "too short"},
        {"--listen-tls-cert=a.crt", "listen.tls_key: 0 for 1 of listen.tls_cert; allowed: one for"},
        {"--listen-tls-key=a.key", "listen.tls_key: 1 for 0 of listen.tls_cert"},
        {"--listen-tls-min=1.1", "allowed: 1.2 or 1.3"},
        {"--listen-tls-client-ca=a.crt", "listen.tls_client_ca: there is no certificate"},
        {"--listen-internal-tls-cert=a.crt", "goes with listen.internal_tls_cert: give both"},
        {"--listen-internal-tls-key=a.key", "goes with listen.internal_tls_cert: give both"},
        {"--listen-internal-tls-client-ca=a.crt", "there is no certificate to go with it"},
        {"--cluster-tls-cert=a.crt", "cluster.tls_ca: missing"},
        {"--cluster-tls-key=a.key", "goes with cluster.tls_cert: give both or neither"},
        {"--cluster-tls-ca=a.crt", "cluster.tls_ca: there is no certificate to go with it"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config *config = load(NULL, NULL, LIST((char *)(uintptr_t)cases[i].flag));
        bool accepted = cases[i].part == NULL;
        cr_expect_eq(config != NULL, accepted, "%s: %s", cases[i].flag, error.text);
        if (!accepted) {
            cr_expect_not_null(
                strstr(error.text, cases[i].part), "%s: %s", cases[i].flag, error.text);
        }
        config_destroy(config);
    }
}

Test(config, mistakes_in_a_file_name_their_line)
{
    static const struct {
        const char *text;
        const char *part;
    } cases[] = {
        {"shards = 1\nlisten {\n  prt = 1\n}\n", ":3: no such option 'prt'"},
        {"# one\n// two\n/* three\n*/ lisen { }\n", ":4: no such option 'lisen'"},
        {"listen {\n  # a comment\n  port = 70000 }\n", ":3: listen.port: \"70000\""},
        {"shards = 1 # and\n\nshards = 2\n", ":3: shards: set twice"},
        {"log {\n level = info\n", "the file ends within a section"},
        {"shards = 1\n/* for ever", "ends within a comment"},
        {"bus { prefix = \"x\n", "premature end of file"},
        {"api_key \"a\" {\n key = 0123456789abcdef\n}\napi_key \"a\" {\n}\n", "duplicate title"},
        {"api_key \"a\" {\n key = short\n}\n", "api_key \"a\": key: the value has the wrong"},
        {"api_key \"a\" { }\n", ":1: api_key \"a\": needs a key"},
        {"jwt_key \"k\" {\n algorithm = none\n secret = x }", "\"none\" is unknown"},
        {"jwt_key \"k\" { secret = x file = y }", "needs either secret or file"},
        {"jwt_key \"k\" { secret = x }", ":1: jwt_key \"k\": the secret is shorter than 32"},
        {"auth { secret = x }", ":1: auth.secret: too short"},
        {"jwt_key \"k\" { algorithm = RS256 secret = x }", "a secret is for HS256 only"},
        {"room_type \"a:b\" { }", "without / and :"},
        {"room_type \"a\" { access = {any, friends} }", "\"a\": access: unknown rule \"friends\""},
        {"room_type \"*\" { replay = 1 }", "rooms of no other type have no memory"},
        {"room_type \"a\" { replay = 10001 }", "replay"},
        {"room_type \"a\" { batching = never }", "batching"},
        {"room_type \"a\" { access = {\"role:\"} }", "unknown rule \"role:\""},
        {"value_type \"a:b\" { }", "value_type \"a:b\": a name without / and :"},
        {"value_type \"a\" { access = {claim} }", "\"a\": access: unknown rule \"claim\""},
        {"hook \"A b\" { url = \"https://a\" secret = x }",
            "hook \"A b\": allowed as name: 1 to 64"},
        {"hook \"a\" { secret = x }", ":1: hook \"a\": needs a url and a secret"},
        {"hook \"a\" { url = \"https://a\" }", "hook \"a\": needs a url and a secret"},
        {"hook \"a\" { timeout = 31s }", "hook \"a\": timeout"},
        {"hook \"a\" { parallel = 0 }", "hook \"a\": parallel"},
        {"room_type \"a\" { join = \"hook:b\" }",
            "room_type \"a\": join: \"hook:b\"; allowed: hook:NAME of a hook block"},
        {"hook \"b\" { url = \"https://b\" secret = x }\nroom_type \"a\" { join = b }",
            ":2: room_type \"a\": join: \"b\""},
        {"hook \"b\" { url = \"https://b\" secret = x }\nroom_type \"a\" { join = \"hook:b\" "
         "auto_join = {\"a:{sub}\"} }",
            ":2: room_type \"a\": auto_join: \"a:{sub}\": who may join rooms of \"a\" is asked"},
        {"events { to = {\"order:*\"} }", ":1: events.to: \"order:*\"; allowed: name=hook:NAME"},
        {"events { to = {\"order:*=hook:b\"} }", "events.to: \"order:*=hook:b\"; allowed"},
        {"values { warm = \"hook:b\" }", ":1: values.warm: \"hook:b\"; allowed: hook:NAME"},
        {"namespace \"admin\" { }", "must begin with /"},
        {"limits { message_bytes = 2KiB }", "more than limits.message_bytes"},
        {"room_type \"a\" { access = {\"webhook:http://x\"} }", "unknown rule"},
        {"engine { recovery = 2m }", "no such option 'recovery'"},
        {"engine { transports = telepathy }", "telepathy"},
        {"engine { cookie = \"a;b\" }", "is no name of a cookie"},
        {"listen { internal_host = \"0.0.0.0\" internal_port = 3000 }", "is also listen.port"},
        {"origins = {\"a,b\"}", "may not hold a comma"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config *config = load(cases[i].text, NULL, NULL);
        cr_expect_null(config, "accepted: %s", cases[i].text);
        cr_expect(strncmp(error.text, "/tmp/peal-config-", 17) == 0, "no place: %s", error.text);
        cr_expect_not_null(
            strstr(error.text, cases[i].part), "%s\n-> %s", cases[i].text, error.text);
        config_destroy(config);
    }
    cr_expect_null(load(NULL, NULL, LIST((char *)"--config", (char *)"/nonexistent/peal.conf")));
    cr_expect_not_null(strstr(error.text, "/nonexistent/peal.conf: No such file"));
}

Test(config, a_file_without_a_break_is_read_whole)
{
    const char *file =
        "origins = { # those of the shop\n  \"https://a.example\", // two\n"
        "  \"https://b.example:8443\" }\n"
        "bus { url = redis://h:6379/1 prefix = 'a#b' }\n"
        "auth { secret = \"${PEAL_TEST_UNSET:-0123456789012345678901234567890123}\" }\n"
        "api_key \"orders\" { key = \"k0123456789abcdef\" scopes = {publish, read}\n"
        "  tenant = acme }\n"
        "room_type \"project\" { access = {\"role:staff\", claim} max_members = "
        "5\n"
        "  presence = off auto_join = {\"customer:{sub}\"} }\n"
        "namespace \"/admin\" { access = {\"role:admin\"} }\n";
    struct config *config = load(file, NULL, NULL);
    cr_assert_not_null(config, "%s", error.text);
    cr_expect_eq(config->origins.count, 2);
    cr_expect_str_eq(config->bus_url, "redis://h:6379/1");
    cr_expect_str_eq(config->bus_prefix, "a#b");
    cr_expect_str_eq(config->auth_secret, "0123456789012345678901234567890123");
    cr_assert_eq(config->api_key_count, 1);
    cr_expect_str_eq(config->api_keys[0].name, "orders");
    cr_expect_str_eq(config->api_keys[0].key, "k0123456789abcdef");
    cr_expect_str_eq(config->api_keys[0].tenant, "acme");
    cr_expect_eq(config->api_keys[0].scopes.count, 2);
    const struct config_room_type *type = config_room_type(config, BYTES("project:7"));
    cr_expect_str_eq(type->name, "project");
    cr_expect_str_eq(type->access.items[0], "role:staff");
    cr_expect_eq(type->max_members, 5);
    cr_expect_not(type->presence);
    cr_expect_str_eq(type->auto_join.items[0], "customer:{sub}");
    cr_expect_str_eq(config->namespaces[0].access.items[0], "role:admin");
    config_destroy(config);
}

Test(config, rooms_find_their_type)
{
    struct config *config =
        load("room_type \"public\" { access = {\"role:x\"} match = {\"lobby*\"} }\n"
             "room_type \"chat\" { match = {\"general\"} }\n",
            NULL, NULL);
    cr_assert_not_null(config, "%s", error.text);
    static const struct {
        const char *room;
        const char *type;
    } cases[] = {
        {"public:news", "public"},
        {"public", "*"},
        {"lobby", "public"},
        {"lobby-2", "public"},
        {"lobby:2", "*"},
        {"general", "chat"},
        {"chat:general", "chat"},
        {"acme/chat:1", "chat"},
        {"acme/general", "chat"},
        {"company:acme", "company"},
        {"admin", "admin"},
        {"admin:1", "admin"},
        {"project:1", "*"},
        {"*:1", "*"},
        {"", "*"},
        {":", "*"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct config_room_type *type = config_room_type(config, bytes_str(cases[i].room));
        cr_expect_str_eq(type->name, cases[i].type, "%s: %s", cases[i].room, type->name);
    }
    cr_expect_str_eq(config_room_type(config, BYTES("public:a"))->access.items[0], "role:x");
    cr_expect_str_eq(config_room_type(config, BYTES("other"))->access.items[0], "claim");
    config_destroy(config);
}

Test(config, development_stays_on_loopback)
{
    struct config *config = load(NULL, NULL, LIST((char *)"--dev"));
    cr_assert_not_null(config, "%s", error.text);
    cr_expect_str_eq(config->listen_host, "127.0.0.1");
    cr_expect_str_eq(config_source(config, CONFIG_AT_listen_host), "dev");
    cr_expect_str_eq(config_room_type(config, BYTES("project:1"))->access.items[0], "any");
    cr_expect_str_eq(config_room_type(config, BYTES("admin:1"))->access.items[0], "role:admin");
    config_destroy(config);
    cr_expect_null(load("dev = on\nlisten { host = \"0.0.0.0\" }\n", NULL, NULL));
    cr_expect_not_null(strstr(error.text, ":1: dev: listen.host \"0.0.0.0\""), "%s", error.text);
    cr_expect_null(
        load(NULL, NULL, LIST((char *)"--dev", (char *)"--listen-internal-host=10.0.0.1")));
    config = load(NULL, NULL, LIST((char *)"--dev", (char *)"--listen-host=127.8.0.1"));
    cr_expect_not_null(config, "%s", error.text);
    config_destroy(config);
}

Test(config, doubtful_values_are_warned_about)
{
    char **environment = LIST((char *)"PEAL_SERVICE_HOST=10.0.0.1", (char *)"PEAL_DEV=off");
    struct config *config = load(NULL, environment, LIST((char *)"--origins=*"));
    cr_assert_not_null(config, "%s", error.text);
    cr_assert_eq(config->warnings.count, 2);
    cr_expect_not_null(strstr(config->warnings.items[0], "PEAL_SERVICE_HOST"));
    cr_expect_not_null(strstr(config->warnings.items[1], "origins"));
    config_destroy(config);
}

Test(config, secrets_never_appear)
{
    struct config *config = load("store { url = \"postgres://peal:hunter2@db/peal\" }\n"
                                 "bus { url = \"redis://:hunter2@h:1/0\" }\n"
                                 "auth { secret = \"hunter2hunter2hunter2hunter2hunter2\" }\n"
                                 "api_key \"a\" { key = \"hunter2hunter2hunter2\" }\n",
        NULL, NULL);
    cr_assert_not_null(config, "%s", error.text);
    struct builder text = {0};
    config_print(config, &text);
    builder_byte(&text, 0);
    const char *out = builder_bytes(&text).at;
    cr_expect_null(strstr(out, "hunter2"), "%s", out);
    cr_expect_not_null(
        strstr(out, "url = \"postgres://peal:********@db/peal\" # /tmp/peal-config"));
    cr_expect_not_null(strstr(out, "url = \"redis://:********@h:1/0\""));
    builder_reset(&text);
    config_destroy(config);
    cr_expect_null(load(NULL, NULL, LIST((char *)"--store-url=mysql://hunter2")));
    cr_expect_null(strstr(error.text, "hunter2"));
    cr_expect_null(load(NULL, NULL, LIST((char *)"--auth-secret=hunter2\n")));
    cr_expect_null(strstr(error.text, "hunter2"));
}

/* A file with `text` and these permissions; the caller frees its name and removes it. */
static char *make_file(const char *text, mode_t mode)
{
    const char *path = write_file(text);
    cr_assert_eq(chmod(path, mode), 0);
    return strdup(path);
}

Test(config, every_secret_may_lie_in_a_file)
{
    static const char secret[] = "0123456789abcdef0123456789abcdef";
    char *path = make_file("0123456789abcdef0123456789abcdef\n", 0600);
    char *url = make_file("redis://:pw@h:1/0\r\n", 0600);
    char text[1000];
    snprintf(text, sizeof(text),
        "auth { secret_file = \"%s\" api_key_file = '%s' }\ncluster { secret_file = \"%s\" }\n"
        "bus { url_file = \"%s\" }\napi_key \"a\" { key_file = \"%s\" }\n"
        "jwt_key \"k\" { secret_file = \"%s\" }\n",
        path, path, path, url, path, path);
    struct config *config = load(text, NULL, NULL);
    cr_assert_not_null(config, "%s", error.text);
    cr_expect_str_eq(config->auth_secret, secret);
    cr_expect_str_eq(config->auth_api_key, secret);
    cr_expect_str_eq(config->cluster_secret, secret);
    cr_expect_str_eq(config->bus_url, "redis://:pw@h:1/0");
    cr_expect_str_eq(config->api_keys[0].key, secret);
    cr_expect_str_eq(config->jwt_keys[0].secret, secret);
    cr_expect_eq(config->warnings.count, 0);
    config_destroy(config);
    static const char *const names[] = {"PEAL_AUTH_SECRET", "JWT_SECRET"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(text, sizeof(text), "%s_FILE=%s", names[i], path);
        config = load(NULL, LIST(text), NULL);
        cr_assert_not_null(config, "%s", error.text);
        cr_expect_str_eq(config->auth_secret, secret);
        cr_expect_eq(config->warnings.count, 0);
        config_destroy(config);
    }
    char flag[1000];
    snprintf(text, sizeof(text), "REDIS_URL_FILE=%s", url);
    snprintf(flag, sizeof(flag), "--auth-secret-file=%s", path);
    config = load(NULL, LIST(text), LIST(flag, (char *)"--redis-url-file", url));
    cr_assert_not_null(config, "%s", error.text);
    cr_expect_str_eq(config->auth_secret, secret);
    cr_expect_str_eq(config->bus_url, "redis://:pw@h:1/0");
    config_destroy(config);
    unlink(path);
    unlink(url);
    free(path);
    free(url);
}

Test(config, a_secret_file_that_is_no_good_is_named)
{
    char *empty = make_file("\n", 0600);
    char *path = make_file("0123456789abcdef0123456789abcdef", 0600);
    char variable[500];
    char other[] = "PEAL_AUTH_SECRET=0123456789abcdef0123456789abcdef";
    snprintf(variable, sizeof(variable), "PEAL_AUTH_SECRET_FILE=%s", empty);
    cr_expect_null(load(NULL, LIST(variable), NULL));
    cr_expect_not_null(strstr(error.text, empty), "%s", error.text);
    cr_expect_not_null(strstr(error.text, "empty"), "%s", error.text);
    cr_expect_null(load(NULL, LIST((char *)"PEAL_AUTH_SECRET_FILE=/nowhere/x"), NULL));
    cr_expect_not_null(strstr(error.text, "No such file"), "%s", error.text);
    /* A file without an end is read no further than what fits. */
    cr_expect_null(load(NULL, LIST((char *)"PEAL_AUTH_SECRET_FILE=/dev/zero"), NULL));
    cr_expect_not_null(strstr(error.text, "larger than 64 KiB"), "%s", error.text);
    snprintf(variable, sizeof(variable), "PEAL_AUTH_SECRET_FILE=%s", path);
    cr_expect_null(load(NULL, LIST(variable, other), NULL));
    cr_expect_not_null(strstr(error.text, "PEAL_AUTH_SECRET is set"), "%s", error.text);
    char text[1000];
    snprintf(text, sizeof(text), "auth { secret = \"%s\" secret_file = \"%s\" }", other, path);
    cr_expect_null(load(text, NULL, NULL));
    snprintf(text, sizeof(text), "api_key \"a\" { key = \"%s\" key_file = \"%s\" }", other, path);
    cr_expect_null(load(text, NULL, NULL));
    cr_expect_null(strstr(error.text, "0123456789"), "%s", error.text);
    cr_expect_null(load("listen { port_file = \"/x\" }", NULL, NULL));
    struct config *config = load(NULL, LIST((char *)"PEAL_LISTEN_PORT_FILE=/x"), NULL);
    cr_assert_not_null(config);
    cr_expect_eq(config->warnings.count, 1, "no secret: a variable that is no setting");
    config_destroy(config);
    unlink(empty);
    unlink(path);
    free(empty);
    free(path);
}

Test(config, files_that_others_can_read_or_change_are_warned_about)
{
    static const char with[] = "auth { secret = \"0123456789abcdef0123456789abcdef\" }\n";
    static const char without[] = "listen { port = 1 }\n";
    static const struct {
        const char *text;
        mode_t mode;
        const char *says; /* NULL: nothing */
    } cases[] = {
        {with, 0600, NULL},
        {with, 0640, NULL}, /* a group is given by hand */
        {with, 0644, "chmod o-r"},
        {with, 0660, "chmod go-w"},
        {with, 0602, "chmod go-w"},
        {without, 0644, NULL},
        {without, 0664, "chmod go-w"},
        {without, 0666, "chmod go-w"},
        {"api_key \"a\" { key = \"0123456789abcdef\" }\n", 0644, "chmod o-r"},
        {"store { url = \"postgres://u:p@h/d\" }\n", 0644, "chmod o-r"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *path = make_file(cases[i].text, cases[i].mode);
        struct config *config = load(NULL, NULL, LIST((char *)"--config", path));
        cr_assert_not_null(config, "%s", error.text);
        cr_expect_eq(config->warnings.count, cases[i].says != NULL, "case %zu", i);
        if (cases[i].says != NULL && config->warnings.count == 1) {
            cr_expect_not_null(strstr(config->warnings.items[0], cases[i].says), "case %zu", i);
            cr_expect_not_null(strstr(config->warnings.items[0], path), "case %zu", i);
        }
        config_destroy(config);
        unlink(path);
        free(path);
    }
    char *path = make_file("0123456789abcdef0123456789abcdef", 0644);
    struct config *config = load(NULL, NULL, LIST((char *)"--auth-secret-file", path));
    cr_assert_not_null(config, "%s", error.text);
    cr_expect_eq(config->warnings.count, 1);
    config_destroy(config);
    unlink(path);
    free(path);
}

Test(config, secrets_among_arguments_are_hidden)
{
    char args[][48] = {"--auth-secret", "hunter2hunter2", "--redis-url=redis://:hunter2@h",
        "--listen-port", "4000", "--auth-secret-file", "/run/secret", "--api-key", "hunter2",
        "--jwt-secret", "ab", "--auth-secret"};
    char *argv[ARRAY_LEN(args)];
    for (size_t i = 0; i < ARRAY_LEN(args); i++) {
        argv[i] = args[i];
    }
    config_hide_secrets(ARRAY_LEN(args), argv);
    for (size_t i = 0; i < ARRAY_LEN(args); i++) {
        cr_expect_null(memmem(args[i], sizeof(args[i]), "hunter", 6), "%s", args[i]);
    }
    cr_expect_str_eq(args[1], "***");
    cr_expect_str_eq(args[2], "--redis-url=***");
    cr_expect_str_eq(args[4], "4000");
    cr_expect_str_eq(args[6], "/run/secret");
    cr_expect_str_eq(args[10], "**");
}

/* The printed text of a configuration, without its comments; the caller resets `ret_text`. */
static void print_bare(const struct config *config, struct builder *ret_text)
{
    struct builder full = {0};
    config_print(config, &full);
    struct bytes rest_of_text = builder_bytes(&full);
    while (rest_of_text.len > 0) {
        const char *end = memchr(rest_of_text.at, '\n', rest_of_text.len);
        size_t len = (size_t)(end - rest_of_text.at);
        const char *comment = memmem(rest_of_text.at, len, " # ", 3);
        builder_add(ret_text,
            bytes_of(rest_of_text.at, comment != NULL ? (size_t)(comment - rest_of_text.at) : len));
        builder_byte(ret_text, '\n');
        rest_of_text = bytes_skip(rest_of_text, len + 1);
    }
    builder_byte(ret_text, 0);
    builder_reset(&full);
}

Test(config, what_is_printed_loads_to_the_same)
{
    const char *file = "bus { prefix = 'quote\" back\\\\slash $' }\nlimits { body_bytes = 3KiB }\n"
                       "drain { deadline = 61s }\norigins = {\"https://a.example\"}\n"
                       "room_type \"project\" { access = {any} max_members = 90 }\n";
    struct config *config = load(file, NULL, NULL);
    cr_assert_not_null(config, "%s", error.text);
    cr_expect_str_eq(config->bus_prefix, "quote\" back\\slash $");
    struct builder first = {0};
    struct builder second = {0};
    print_bare(config, &first);
    struct config *again = load(builder_bytes(&first).at, NULL, NULL);
    cr_assert_not_null(again, "%s", error.text);
    print_bare(again, &second);
    cr_expect_str_eq(builder_bytes(&first).at, builder_bytes(&second).at);
    for (size_t i = 0; i < CONFIG_COUNT; i++) {
        cr_expect(
            config_value_eq(&config_settings[i], config, again), "%s", config_settings[i].key);
    }
    builder_reset(&first);
    builder_reset(&second);
    config_destroy(config);
    config_destroy(again);
}

Test(config, the_sample_loads_to_the_defaults)
{
    struct builder sample = {0};
    config_print_sample(&sample);
    builder_byte(&sample, 0);
    struct config *config = load(builder_bytes(&sample).at, NULL, NULL);
    cr_assert_not_null(config, "%s", error.text);
    for (size_t i = 0; i < CONFIG_COUNT; i++) {
        cr_expect_str_eq(config_source(config, (enum config_place)i), "default");
        cr_expect_not_null(strstr(builder_bytes(&sample).at, config_settings[i].prose));
    }
    builder_reset(&sample);
    config_destroy(config);
}

Test(config, reload_changes_only_what_it_may)
{
    struct config *current = load(NULL, NULL, NULL);
    struct config *fine = load("limits { rooms = 5 }\norigins = {\"*\"}\nlog { level = debug }\n"
                               "auth { secret = \"01234567890123456789012345678901\" }\n"
                               "api_key \"a\" { key = \"0123456789abcdef\" }\n",
        NULL, NULL);
    struct config *moved = load("limits { rooms = 5 }\nlisten { port = 1 }\n", NULL, NULL);
    cr_assert(current != NULL && fine != NULL && moved != NULL, "%s", error.text);
    cr_expect_null(config_fixed_change(current, fine));
    cr_expect_str_eq(config_fixed_change(current, moved), "listen.port");
    config_destroy(current);
    config_destroy(fine);
    config_destroy(moved);
}
