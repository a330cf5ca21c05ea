/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP API of a whole node over SQLite: which scope each route wants, what is said of a request
 * that is wrong, and what right ones are answered.
 */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actors/core/sched.h"
#include "actors/inbox/teller.h"
#include "codec/base/buf.h"
#include "codec/base/check.h"
#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "hub/api/api.h"
#include "hub/net/loop.h"
#include "hub/node/node.h"
#include "tests/support/node_rig.h"

TestSuite(api, .timeout = 120);

#define PUBLISHER "publisher-0123456789"
#define READER "reader-0123456789ab"
#define WRITER "writer-0123456789ab"
#define ADMIN "admin-0123456789abc"
#define VALUER "valuer-0123456789ab"
#define JOBBER "jobber-0123456789ab"
#define METER "meter-0123456789abc"
#define ALL "everything-01234567"

#define KEYS                                                                                       \
    "api_key \"publisher\" { key = \"" PUBLISHER "\" scopes = {publish} }\n"                       \
    "api_key \"reader\" { key = \"" READER "\" scopes = {read} }\n"                                \
    "api_key \"writer\" { key = \"" WRITER "\" scopes = {write} }\n"                               \
    "api_key \"admin\" { key = \"" ADMIN "\" scopes = {admin} }\n"                                 \
    "api_key \"valuer\" { key = \"" VALUER "\" scopes = {values} }\n"                              \
    "api_key \"jobber\" { key = \"" JOBBER "\" scopes = {jobs} }\n"                                \
    "api_key \"meter\" { key = \"" METER "\" scopes = {metrics} }\n"                               \
    "api_key \"all\" { key = \"" ALL "\" scopes = {publish, read, write, values, jobs, metrics, "  \
    "admin} }\n"
#define PATIENT "limits { refusals_per_minute = 100000 }\n"
#define POSTS "/api/v1/notifications"
#define NOBODYS "01980000-0000-7000-8000-000000000000"
#define INBOX "/api/v1/users/ann/notifications"
#define VALUES "/api/v1/values"
#define PRESENCE "/api/v1/presence"
#define TOPIC "/api/v1/topics/news/subscribers"

static struct node_rig rig;
static struct node_answer answer;

/* Ask with these lines of the head besides; the answer is in `answer`. */
static unsigned ask_with(
    const char *headers, const char *key, const char *method, const char *target, const char *body)
{
    const struct node_call call = {
        .method = method, .target = target, .key = key, .headers = headers, .body = body};
    node_rig_ask(&rig, &call, &answer);
    return answer.status;
}

static unsigned ask(const char *key, const char *method, const char *target, const char *body)
{
    return ask_with(NULL, key, method, target, body);
}

static void expect_in(const char *text)
{
    cr_expect_not_null(strstr(answer.body, text), "%s in %s", text, answer.body);
}

static void expect_header(const char *name, const char *value)
{
    const char *found = node_answer_header(&answer, name);
    cr_expect(found != NULL && strcmp(found, value) == 0, "%s: %s", name, found);
}

/* The last answer is this refusal; `field` NULL: none is at fault. */
static void expect_refusal(unsigned status, const char *code, const char *field, const char *what)
{
    char text[256];
    cr_expect_eq(answer.status, status, "%s: %u %s", what, answer.status, answer.body);
    snprintf(text, sizeof(text), "{\"error\":{\"code\":\"%s\",\"message\":\"", code);
    cr_expect_eq(strncmp(answer.body, text, strlen(text)), 0, "%s: %s", what, answer.body);
    snprintf(text, sizeof(text), "\"field\":\"%s\"", field != NULL ? field : "");
    bool named = strstr(answer.body, field != NULL ? text : "\"field\"") != NULL;
    cr_expect_eq(named, field != NULL, "%s: %s", what, answer.body);
    expect_header("Content-Type", "application/json");
}

/* One route: its scope, whether the user's own token is good for it, and a request that is well. */
static const struct {
    const char *method;
    const char *path;
    const char *scope;
    bool own;
    const char *target;
    const char *body;
    unsigned status;
} rows[] = {
    {"DELETE", POSTS "/{}", "publish", false, POSTS "/" NOBODYS, NULL, 404},
    {"DELETE", "/api/v1/users/{}", "admin", false, "/api/v1/users/ann", NULL, 200},
    {"DELETE", "/api/v1/users/{}/notifications", "admin", false, INBOX, NULL, 200},
    {"DELETE", "/api/v1/topics/{}/subscribers", "publish", false, TOPIC, "{\"users\":[\"ann\"]}",
        200},
    {"GET", POSTS "/{}", "read", true, POSTS "/" NOBODYS, NULL, 404},
#include "tests/unit/hub/api_room_routes.def"
    {"GET", "/api/v1/presence", "read", true, PRESENCE "?users=ann", NULL, 200},
    {"GET", "/api/v1/presence/count", "read", false, PRESENCE "/count", NULL, 200},
    {"GET", "/api/v1/users/{}/presence", "read", true, "/api/v1/users/ann/presence", NULL, 200},
    {"POST", "/api/v1/presence/query", "read", true, PRESENCE "/query", "{\"users\":[\"ann\"]}",
        200},
#include "tests/unit/hub/api_devices.def"
#include "tests/unit/hub/api_jobs.def"
    {"POST", "/api/v1/metrics", "metrics", false, "/api/v1/metrics",
        "{\"name\":\"a\",\"type\":\"counter\",\"value\":1}", 202},
    {"GET", "/api/v1/metrics/summary", "read", false, "/api/v1/metrics/summary", NULL, 200},
    {"GET", "/api/v1/summary", "read", false, "/api/v1/summary", NULL, 200},
    {"GET", "/api/v1/topics", "read", false, "/api/v1/topics", NULL, 200},
    {"GET", "/api/v1/topics/{}/subscribers", "read", false, TOPIC, NULL, 200},
    {"DELETE", VALUES "/{}", "values", false, VALUES "/b", NULL, 204},
    {"GET", VALUES "/stats", "values", false, VALUES "/stats", NULL, 200},
    {"GET", VALUES "/{}", "values", false, VALUES "/nothing", NULL, 404},
    {"POST", VALUES "/invalidate", "values", false, VALUES "/invalidate", "{\"tags\":[\"t\"]}",
        200},
    {"POST", VALUES "/mget", "values", false, VALUES "/mget", "{\"keys\":[\"a\"]}", 200},
    {"POST", VALUES "/mset", "values", false, VALUES "/mset",
        "{\"items\":[{\"key\":\"a\",\"value\":1}]}", 200},
    {"POST", VALUES "/{}/increment", "values", false, VALUES "/n/increment", NULL, 200},
    {"POST", VALUES "/{}/lease", "values", false, VALUES "/l/lease", NULL, 200},
    {"POST", VALUES "/{}/release", "values", false, VALUES "/l/release", "{\"lease\":\"x\"}", 204},
    {"PUT", VALUES "/{}", "values", false, VALUES "/a", "{\"value\":{}}", 200},
    {"GET", "/api/v1/users/{}/topics", "read", true, "/api/v1/users/ann/topics", NULL, 200},
    {"GET", "/api/v1/users/{}/counts", "read", true, "/api/v1/users/ann/counts", NULL, 200},
    {"GET", "/api/v1/users/{}/export", "read", true, "/api/v1/users/ann/export", NULL, 200},
    {"GET", "/api/v1/users/{}/overview", "read", true, "/api/v1/users/ann/overview", NULL, 200},
    {"GET", "/api/v1/users/{}/notifications", "read", true, INBOX, NULL, 200},
    {"GET", "/api/v1/users/{}/notifications/unread", "read", true, INBOX "/unread", NULL, 200},
    {"PATCH", POSTS "/{}", "publish", false, POSTS "/" NOBODYS, "{\"title\":\"t\"}", 404},
    {"GET", "/api/v1/users/{}/preferences", "read", true, "/api/v1/users/ann/preferences", NULL,
        200},
    {"POST", "/api/v1/events", "publish", false, "/api/v1/events",
        "{\"event\":\"e\",\"to\":{\"all\":true}}", 202},
    {"POST", POSTS, "publish", false, POSTS, "{\"user\":\"ann\",\"type\":\"t\"}", 201},
    {"POST", "/api/v1/topics/{}/subscribers/remove", "publish", false, TOPIC "/remove",
        "{\"users\":[\"ann\"]}", 200},
    {"POST", "/api/v1/users/{}/disconnect", "admin", false, "/api/v1/users/ann/disconnect", NULL,
        202},
    {"POST", "/api/v1/users/{}/notifications/{}", "write", true, INBOX "/read-all", NULL, 200},
    {"POST", "/api/v1/users/{}/rooms", "publish", false, "/api/v1/users/ann/rooms",
        "{\"join\":[\"public:a\"]}", 202},
    {"PUT", "/api/v1/topics/{}/subscribers", "publish", false, TOPIC, "{\"users\":[\"ann\"]}", 200},
    {"PUT", "/api/v1/users/{}/preferences", "write", true, "/api/v1/users/ann/preferences",
        "{\"types\":{}}", 200},
};

static size_t row_of(const struct http_route *route)
{
    size_t i = 0;
    while (i < ARRAY_LEN(rows) &&
           (strcmp(route->method, rows[i].method) != 0 || strcmp(route->path, rows[i].path) != 0)) {
        i++;
    }
    cr_assert_lt(i, ARRAY_LEN(rows), "%s %s has no row here", route->method, route->path);
    return i;
}

static unsigned ask_row(size_t row, const char *key)
{
    return ask(key, rows[row].method, rows[row].target, rows[row].body);
}

Test(api, each_route_wants_its_scope)
{
    static const struct {
        const char *scope;
        const char *key;
    } keys[] = {{"publish", PUBLISHER}, {"read", READER}, {"write", WRITER}, {"values", VALUER},
        {"jobs", JOBBER}, {"metrics", METER}, {"admin", ADMIN}};
    node_rig_start(&rig, KEYS PATIENT);
    for (size_t i = 0; i < api_route_count; i++) {
        size_t row = row_of(&api_routes[i]);
        char what[128];
        char needs[32];
        snprintf(what, sizeof(what), "%s %s", rows[row].method, rows[row].path);
        snprintf(needs, sizeof(needs), "scope %s", rows[row].scope);
        ask_row(row, NULL);
        expect_refusal(401, "unauthorized", NULL, what);
        cr_expect_not_null(node_answer_header(&answer, "WWW-Authenticate"), "%s", what);
        ask_row(row, "wrong-key-0123456789");
        expect_refusal(401, "unauthorized", NULL, what);
        for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
            unsigned status = ask_row(row, keys[k].key);
            if (strcmp(keys[k].scope, rows[row].scope) == 0) {
                cr_expect_eq(status, rows[row].status, "%s: %u %s", what, status, answer.body);
            } else {
                expect_refusal(403, "forbidden", NULL, what);
                expect_in(needs);
            }
        }
    }
    node_rig_stop(&rig);
}

Test(api, a_token_is_good_for_the_inbox_of_its_user)
{
    char own[NODE_RIG_TOKEN_MAX];
    char anothers[NODE_RIG_TOKEN_MAX];
    node_rig_start(&rig, KEYS PATIENT);
    node_rig_token("ann", "", own);
    node_rig_token("bob", "", anothers);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned status = ask_row(i, own);
        if (!rows[i].own) {
            expect_refusal(401, "unauthorized", NULL, rows[i].path);
            continue;
        }
        cr_expect_eq(status, rows[i].status, "%s: %u %s", rows[i].path, status, answer.body);
        bool shared = strstr(rows[i].path, "/presence") != NULL; /* what is hidden is offline */
        if (!shared && strstr(rows[i].path, "/users/") != NULL) {
            ask_row(i, anothers);
            expect_refusal(403, "forbidden", NULL, rows[i].path);
        }
    }
    char id[64];
    char target[128];
    ask(ALL, "POST", POSTS, "{\"user\":\"ann\",\"type\":\"t\"}");
    cr_assert_eq(sscanf(answer.body, "{\"id\":\"%36[^\"]\"", id), 1, "%s", answer.body);
    snprintf(target, sizeof(target), POSTS "/%s", id);
    cr_expect_eq(ask(own, "GET", target, NULL), 200);
    ask(anothers, "GET", target, NULL);
    expect_refusal(404, "not_found", NULL, "whose it is is not told");
    own[strlen(own) - 5] ^= 1; /* of the signature */
    ask(own, "GET", INBOX, NULL);
    expect_refusal(401, "unauthorized", NULL, "a token that was changed");
    node_rig_stop(&rig);
}

Test(api, unknown_parameters_are_refused_by_name)
{
    node_rig_start(&rig, KEYS);
    for (size_t i = 0; i < api_route_count; i++) {
        size_t row = row_of(&api_routes[i]);
        const char *query = api_routes[i].query;
        char target[256];
        char known[256];
        const char *mark = strchr(rows[row].target, '?') != NULL ? "&" : "?";
        snprintf(target, sizeof(target), "%s%slimt=1", rows[row].target, mark);
        snprintf(known, sizeof(known), "known here: %s\"", query[0] != '\0' ? query : "none");
        ask(ALL, rows[row].method, target, rows[row].body);
        expect_refusal(400, "bad_request", "limt", rows[row].path);
        expect_in(known);
    }
    node_rig_stop(&rig);
}

#define USER "\"user\":\"ann\",\"type\":\"t\""

/* A request that is wrong, and what is said of it. */
static const struct {
    const char *method;
    const char *target;
    const char *body;
    unsigned status;
    const char *code;
    const char *field;
    const char *says; /* NULL: whatever it is */
} faults[] = {
    {"POST", POSTS, "", 400, "bad_request", NULL, "no JSON"},
    {"POST", POSTS, "[1", 400, "bad_request", NULL, NULL},
    {"POST", POSTS, "\"text\"", 400, "bad_request", NULL, "object or array"},
    {"POST", POSTS, "{\"type\":\"t\"}", 422, "invalid_field", "user", NULL},
    {"POST", POSTS, "{\"user\":\"ann\"}", 422, "invalid_field", "type", NULL},
    {"POST", POSTS, "{\"user\":\"a/b\",\"type\":\"t\"}", 422, "invalid_field", "user", NULL},
    {"POST", POSTS, "{" USER ",\"mesage\":\"m\"}", 422, "invalid_field", "mesage",
        "known here: user, users"},
    {"POST", POSTS, "{" USER ",\"room\":\"r\"}", 422, "invalid_field", "room", "known here"},
    {"POST", POSTS, "{" USER ",\"priority\":\"huge\"}", 422, "invalid_field", "priority",
        "low, medium, high, urgent"},
    {"POST", POSTS, "{" USER ",\"expires_at\":1700000000}", 422, "invalid_field", "expires_at",
        NULL},
    {"POST", POSTS, "{" USER ",\"expires_at\":\"soon\"}", 422, "invalid_field", "expires_at", NULL},
    {"POST", POSTS, "{" USER ",\"expires_at\":\"2000-12-31\"}", 422, "invalid_field", "expires_at",
        NULL},
    {"POST", POSTS, "{\"users\":[],\"type\":\"t\"}", 422, "invalid_field", "users", NULL},
    {"POST", "/api/v1/events", "{\"event\":\"e\"}", 422, "invalid_field", "to", NULL},
    {"POST", "/api/v1/events", "{\"to\":{\"all\":true}}", 422, "invalid_field", "event", NULL},
    {"POST", "/api/v1/events", "{\"event\":\"disconnect\",\"to\":{\"all\":true}}", 422,
        "invalid_field", "event", NULL},
    {"POST", "/api/v1/events", "{\"event\":\"e\",\"to\":{\"all\":true},\"retain\":true}", 422,
        "invalid_field", "retain", NULL},
    {"POST", "/api/v1/events",
        "[{\"event\":\"e\",\"to\":{\"all\":true}},{\"event\":\"e\",\"to\":{\"al\":true}}]", 422,
        "invalid_field", "al", "\"index\":1"},
    {"POST", "/api/v1/events", "null", 400, "bad_request", NULL, NULL},
    {"PATCH", POSTS "/" NOBODYS, "{\"type\":\"t\"}", 422, "invalid_field", "type", NULL},
    {"PATCH", POSTS "/" NOBODYS, "[]", 400, "bad_request", NULL, "no JSON object"},
    {"PATCH", POSTS "/nothing", "{\"title\":\"t\"}", 404, "not_found", NULL, NULL},
    {"DELETE", POSTS "/" NOBODYS "?if=seen", NULL, 422, "invalid_field", "if", "undelivered"},
    {"GET", POSTS "/nothing", NULL, 404, "not_found", NULL, NULL},
    {"GET", INBOX "?limit=0", NULL, 422, "invalid_field", "limit", "1 to 100"},
    {"GET", INBOX "?limit=101", NULL, 422, "invalid_field", "limit", "1 to 100"},
    {"GET", INBOX "?type=a&limit=1&type=b", NULL, 400, "bad_request", "type", "commas"},
    {"GET", INBOX "?limit=1&l%69mit=1", NULL, 400, "bad_request", "limit", "more than once"},
    {"GET", INBOX "?after=nowhere", NULL, 422, "invalid_field", "after", NULL},
    {"GET", INBOX "?state=open", NULL, 422, "invalid_field", "state", "unread, seen, read"},
    {"GET", INBOX "?priority=huge", NULL, 422, "invalid_field", "priority", "low, medium"},
    {"GET", INBOX "?order=up", NULL, 422, "invalid_field", "order", "asc"},
    {"GET", INBOX "?sort=title", NULL, 422, "invalid_field", "sort", "createdAt"},
    {"GET", INBOX "?nulls=keep", NULL, 422, "invalid_field", "nulls", "omit"},
    {"GET", INBOX "?search=a&sort=priority", NULL, 400, "bad_request", "sort", NULL},
    {"GET", "/api/v1/users/ann/counts?by=age", NULL, 422, "invalid_field", "by",
        "type or priority"},
    {"GET", "/api/v1/users/a%2Fb/counts", NULL, 422, "invalid_field", "user", "1 to 128 bytes"},
    {"GET", "/api/v1/users/ann/counts?tenant=a%2Fb", NULL, 422, "invalid_field", "tenant",
        "1 to 128 bytes"},
#include "tests/unit/hub/api_rooms.def"
    {"GET", "/api/v1/topics?limit=1001", NULL, 422, "invalid_field", "limit", "1 to 1000"},
    {"POST", INBOX "/reed", "{\"upTo\":1}", 404, "not_found", NULL, NULL},
    {"POST", INBOX "/read", "", 400, "bad_request", NULL, "no JSON"},
    {"POST", INBOX "/read", "{\"upTo\":-1}", 422, "invalid_field", "upTo", NULL},
    {"POST", INBOX "/read", "{\"ids\":[1]}", 422, "invalid_field", "ids", NULL},
    {"POST", INBOX "/read", "{\"up_to\":1}", 422, "invalid_field", "up_to", "known here"},
    {"POST", INBOX "/snooze", "{\"ids\":[\"" NOBODYS "\"]}", 422, "invalid_field", "until", NULL},
    {"POST", "/api/v1/users/ann/rooms", "{\"join\":\"r\"}", 422, "invalid_field", "join",
        "list of room names"},
    {"POST", "/api/v1/users/ann/rooms", "{\"jion\":[]}", 422, "invalid_field", "jion",
        "known here"},
    {"POST", "/api/v1/users/ann/rooms", "7", 400, "bad_request", NULL, NULL},
    {"POST", "/api/v1/users/ann/disconnect", "{\"now\":true}", 422, "invalid_field", "now",
        "known here: none"},
    {"PUT", TOPIC, "{\"users\":[]}", 422, "invalid_field", "users", "1 to 10,000"},
    {"PUT", TOPIC, "{\"users\":[\"a/b\"]}", 422, "invalid_field", "users", NULL},
    {"PUT", TOPIC, "{\"user\":\"a\"}", 422, "invalid_field", "user", "known here"},
    {"PUT", "/api/v1/users/ann/devices/1", "{\"platform\":\"other\",\"token\":\"t\"}", 422,
        "invalid_field", "id", "UUID"},
    {"PUT", "/api/v1/users/ann/devices/" NOBODYS, "[]", 400, "bad_request", NULL, NULL},
    {"PUT", "/api/v1/users/ann/devices/" NOBODYS, "{\"id\":null}", 422, "invalid_field", "id",
        "known here"},
    {"PUT", "/api/v1/users/ann/devices/" NOBODYS, "{\"platform\":\"tv\"}", 422, "invalid_field",
        "platform", "web, android"},
    {"PUT", "/api/v1/users/ann/preferences", "{\"timezone\":\"Nowhere/Here\"}", 422,
        "invalid_field", "timezone", NULL},
    {"PUT", "/api/v1/users/ann/preferences", "{\"types\":{\"t\":{\"loud\":true}}}", 422,
        "invalid_field", "types.t", "inbox, push, digest, limit"},
    {"POST", VALUES "/invalidate", "{\"tags\":[]}", 422, "invalid_field", "tags", "1 to 16"},
    {"POST", VALUES "/invalidate", "{\"tags\":[\"\"]}", 422, "invalid_field", "tags", "up to 16"},
    {"POST", VALUES "/invalidate", "{\"pattern\":\"*\"}", 422, "invalid_field", "pattern", NULL},
    {"PUT", VALUES "/a", "{\"tags\":[]}", 422, "invalid_field", "value", NULL},
    {"GET", "/api/v1/nothing", NULL, 404, "not_found", NULL, NULL},
    {"GET", "/api/v1/events", NULL, 405, "method_not_allowed", NULL, NULL},
};

Test(api, what_is_wrong_is_named)
{
    node_rig_start(&rig, KEYS);
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        char what[256];
        snprintf(what, sizeof(what), "%s %s %s", faults[i].method, faults[i].target,
            faults[i].body != NULL ? faults[i].body : "");
        ask(ALL, faults[i].method, faults[i].target, faults[i].body);
        expect_refusal(faults[i].status, faults[i].code, faults[i].field, what);
        if (faults[i].says != NULL) {
            expect_in(faults[i].says);
        }
    }
    expect_header("Allow", "POST");
    node_rig_stop(&rig);
}

Test(api, limits_are_said_before_a_body_is_read)
{
    static char large[70000];
    node_rig_start(&rig, KEYS "limits { body_bytes = 1KiB data_bytes = 64 posts = 2 targets = 3 "
                              "title_bytes = 4 }\n");
    memset(large, 'x', sizeof(large) - 1);
    ask(ALL, "POST", POSTS, large);
    expect_refusal(413, "too_large", NULL, "the body");
    ask("wrong-key-0123456789", "POST", POSTS, large);
    expect_refusal(401, "unauthorized", NULL, "who may not post is told so first");
    ask(ALL, "POST", POSTS, "{" USER ",\"title\":\"12345\"}");
    expect_refusal(413, "too_large", "title", "a title");
    ask(ALL, "POST", POSTS, "[{" USER "},{" USER "},{" USER "}]");
    expect_refusal(413, "too_large", NULL, "an array");
    ask(ALL, "POST", POSTS, "{\"users\":[\"a\",\"b\",\"c\",\"d\"],\"type\":\"t\"}");
    expect_refusal(413, "too_large", "users", "users");
    ask_with("Content-Encoding: br\r\n", ALL, "POST", POSTS, "{" USER "}");
    expect_refusal(415, "unsupported_encoding", NULL, "brotli");
    ask_with("Idempotency-Key: a b\r\n", ALL, "POST", POSTS, "{" USER "}");
    expect_refusal(400, "bad_request", "Idempotency-Key", "a key with a blank");
    ask_with("Idempotency-Key: a\r\nIdempotency-Key: b\r\n", ALL, "POST", POSTS, "{" USER "}");
    expect_refusal(400, "bad_request", "Idempotency-Key", "two keys");
    node_rig_stop(&rig);
}

Test(api, a_post_is_stored_once_by_its_key)
{
    char first[64];
    char text[128];
    node_rig_start(&rig, KEYS);
    cr_assert_eq(ask(ALL, "POST", POSTS, "{" USER ",\"key\":\"k\"}"), 201, "%s", answer.body);
    cr_assert_eq(sscanf(answer.body, "{\"id\":\"%36[^\"]\"", first), 1, "%s", answer.body);
    expect_in("\"seq\":1,\"duplicate\":false}");
    cr_expect_eq(ask(ALL, "POST", POSTS, "{" USER ",\"key\":\"k\"}"), 200);
    expect_header("Idempotency-Replayed", "true");
    snprintf(text, sizeof(text), "{\"id\":\"%s\",\"seq\":1,\"duplicate\":true}", first);
    cr_expect_str_eq(answer.body, text);
    ask_with("Idempotency-Key: k\r\n", ALL, "POST", POSTS, "{" USER ",\"title\":\"other\"}");
    expect_refusal(409, "key_conflict", "key", "other content");
    expect_in(first);
    cr_expect_eq(ask(ALL, "POST", POSTS,
                     "[{" USER ",\"key\":\"k\"},{\"user\":\"a/b\"},{\"users\":[\"bob\",\"cid\"],"
                     "\"type\":\"t\"}]"),
        200);
    expect_in("{\"results\":[{\"status\":200,");
    expect_in("{\"status\":422,\"error\":{\"code\":\"invalid_field\"");
    expect_in("\"results\":[{\"status\":201,\"user\":\"bob\",");
    ask(ALL, "GET", INBOX "?fields=seq", NULL);
    cr_expect_str_eq(answer.body, "{\"items\":[{\"seq\":1}],\"next\":null}");
    node_rig_stop(&rig);
}

/* Post `count` to ann, one after the other. */
static void post_to_ann(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        cr_assert_eq(ask(ALL, "POST", POSTS, "{" USER "}"), 201, "%s", answer.body);
    }
}

Test(api, an_inbox_is_read_in_pages_and_its_answers_have_an_etag)
{
    char etag[128];
    char line[256];
    char next[128];
    char target[256];
    node_rig_start(&rig, KEYS);
    post_to_ann(3);
    cr_expect_eq(ask(ALL, "GET", INBOX "?limit=2&fields=seq", NULL), 200);
    cr_assert_eq(
        sscanf(answer.body, "{\"items\":[{\"seq\":3},{\"seq\":2}],\"next\":\"%127[^\"]", next), 1,
        "%s", answer.body);
    snprintf(target, sizeof(target), INBOX "?limit=2&fields=seq&after=%s", next);
    ask(ALL, "GET", target, NULL);
    cr_expect_str_eq(answer.body, "{\"items\":[{\"seq\":1}],\"next\":null}");
    expect_header("X-Cache", "MISS");
    snprintf(etag, sizeof(etag), "%s", node_answer_header(&answer, "ETag"));
    cr_expect_eq(strncmp(etag, "W/\"", 3), 0, "%s", etag);
    snprintf(line, sizeof(line), "If-None-Match: \"other\", %s\r\n", etag);
    cr_expect_eq(ask_with(line, ALL, "GET", target, NULL), 304);
    cr_expect_str_eq(answer.body, "");
    cr_expect_eq(ask(ALL, "HEAD", target, NULL), 200);
    cr_expect_str_eq(answer.body, "");
    expect_header("ETag", etag);
    cr_expect_eq(ask(ALL, "POST", INBOX "/read", "{\"upTo\":2}"), 200);
    expect_in("\"ok\":true");
    expect_in("\"unread\":1,");
    cr_expect_eq(ask_with(line, ALL, "GET", target, NULL), 200, "the inbox has changed");
    ask(ALL, "GET", INBOX "/unread", NULL);
    cr_expect_eq(strncmp(answer.body, "{\"count\":1,", strlen("{\"count\":1,")), 0);
    ask(ALL, "GET", "/api/v1/users/ann/counts", NULL);
    expect_in("\"by\":{\"t\":{\"unread\":1,");
    cr_expect_eq(ask(ALL, "POST", INBOX "/read-all", NULL), 200);
    ask(ALL, "GET", INBOX "?state=unread", NULL);
    cr_expect_str_eq(answer.body, "{\"items\":[],\"next\":null}");
    node_rig_stop(&rig);
}

Test(api, what_was_posted_is_changed_taken_back_and_erased)
{
    char target[128] = POSTS "/";
    node_rig_start(&rig, KEYS);
    post_to_ann(2);
    cr_assert_eq(sscanf(answer.body, "{\"id\":\"%36[^\"]\"", target + strlen(target)), 1);
    cr_expect_eq(ask(ALL, "PATCH", target, "{\"title\":\"new\"}"), 200, "%s", answer.body);
    expect_in("\"title\":\"new\"");
    ask(ALL, "GET", target, NULL);
    expect_in("\"title\":\"new\"");
    cr_expect_eq(ask(ALL, "DELETE", target, NULL), 204);
    ask(ALL, "GET", target, NULL);
    expect_refusal(404, "not_found", NULL, "taken back");
    ask(ALL, "DELETE", target, NULL);
    expect_refusal(404, "not_found", NULL, "taken back twice");
    cr_expect_eq(ask(ALL, "DELETE", "/api/v1/users/ann", NULL), 200);
    expect_in("{\"erased\":{\"notifications\":1,");
    ask(ALL, "GET", INBOX, NULL);
    cr_expect_str_eq(answer.body, "{\"items\":[],\"next\":null}");
    post_to_ann(1);
    expect_in("\"seq\":3,");
    node_rig_stop(&rig);
}

Test(api, topics_say_what_they_have_changed)
{
    node_rig_start(&rig, KEYS);
    ask(ALL, "PUT", TOPIC, "{\"users\":[\"ann\",\"bob\",\"ann\"]}");
    cr_expect_str_eq(answer.body, "{\"added\":2}");
    ask(ALL, "GET", TOPIC "?limit=1", NULL);
    cr_expect_str_eq(answer.body, "{\"items\":[\"ann\"],\"next\":\"ann\"}");
    ask(ALL, "GET", TOPIC "?limit=1&after=ann", NULL);
    cr_expect_str_eq(answer.body, "{\"items\":[\"bob\"],\"next\":null}");
    cr_expect_eq(ask(ALL, "POST", POSTS, "{\"topic\":\"news\",\"type\":\"t\"}"), 201);
    expect_in("\"duplicate\":false}");
    ask(ALL, "GET", "/api/v1/users/bob/notifications?fields=seq", NULL);
    cr_expect_str_eq(answer.body, "{\"items\":[{\"seq\":1}],\"next\":null}");
    ask(ALL, "POST", TOPIC "/remove", "{\"users\":[\"bob\",\"cid\"]}");
    cr_expect_str_eq(answer.body, "{\"removed\":1}");
    ask(ALL, "GET", "/api/v1/topics", NULL);
    cr_expect_str_eq(answer.body, "{\"items\":[\"news\"],\"next\":null}");
    ask(ALL, "GET", "/api/v1/users/bob/topics", NULL);
    cr_expect_str_eq(answer.body, "{\"items\":[],\"next\":null}");
    node_rig_stop(&rig);
}

/* Announcements that a shard has handled, and most of them in one turn of its loop; its thread. */
struct told {
    const struct hub_shard *shard;
    uint64_t turn;
    unsigned in_turn;
    unsigned most;
    uint64_t waited; /* most that were made and waited for a turn */
    atomic_uint count;
    atomic_bool set;
};

static struct told told; /* of a node with one shard */

static void count_told(
    void *context, enum sched_trace event, const struct actor *actor, const struct msg *msg)
{
    struct told *one = context;
    (void)event;
    (void)actor;
    if (strcmp(msg->kind->name, "user.announce") != 0) {
        return;
    }
    uint64_t turn = loop_turn(one->shard->loop);
    one->in_turn = turn == one->turn ? one->in_turn + 1 : 1;
    one->turn = turn;
    one->most = one->in_turn > one->most ? one->in_turn : one->most;
    uint64_t waiting = one->shard->shard.stats.announce_waiting;
    one->waited = waiting > one->waited ? waiting : one->waited;
    atomic_fetch_add(&one->count, 1);
}

static void set_trace(void *arg, bool cancelled)
{
    struct told *one = arg;
    (void)cancelled;
    sched_set_trace(one->shard->shard.sched, count_told, one);
    atomic_store(&one->set, true);
}

static void count_announcements(void)
{
    told = (struct told){.shard = &rig.hub->shards[0]};
    sched_post(rig.hub->system, 0, set_trace, &told);
    while (!atomic_load(&told.set)) {
        usleep(100);
    }
}

static char *list_users(size_t count)
{
    struct builder body = {0};
    builder_str(&body, "{\"users\":[");
    for (size_t i = 0; i < count; i++) {
        builder_printf(&body, "%s\"u%zu\"", i > 0 ? "," : "", i);
    }
    builder_str(&body, "]}");
    char *text = mem_alloc(builder_bytes(&body).len + 1);
    memcpy(text, builder_bytes(&body).at, builder_bytes(&body).len);
    builder_reset(&body);
    return text;
}

Test(api, a_call_for_many_users_tells_200_of_them_in_a_turn)
{
    enum { USERS = 10000 };
    node_rig_start(&rig, "shards = 1\n" KEYS);
    cr_assert_eq(rig.hub->shard_count, 1);
    char *users = list_users(USERS);
    count_announcements();
    cr_expect_eq(ask(ALL, "PUT", TOPIC, users), 200, "%s", answer.body);
    cr_expect_str_eq(answer.body, "{\"added\":10000}");
    while (atomic_load(&told.count) < USERS) {
        usleep(1000);
    }
    cr_expect_leq(told.most, TELLER_USERS, "%u in one turn", told.most);
    cr_expect_leq(told.waited, TELLER_USERS, "no more are made than a turn tells");
    cr_expect_eq(atomic_load(&told.count), USERS);
    mem_free(users);
    node_rig_stop(&rig);
}

Test(api, a_key_of_a_tenant_acts_for_it_alone)
{
    static const char red[] = "red-key-0123456789ab";
    char token[NODE_RIG_TOKEN_MAX];
    node_rig_start(&rig, KEYS "auth { tenants = on }\n"
                              "api_key \"red\" { key = \"red-key-0123456789ab\" tenant = \"red\" "
                              "scopes = {publish, read, write, admin} }\n");
    cr_expect_eq(ask(red, "POST", POSTS, "{" USER "}"), 201, "%s", answer.body);
    ask(red, "POST", POSTS, "{" USER ",\"tenant\":\"blue\"}");
    expect_refusal(403, "forbidden", "tenant", "another tenant in a post");
    static const char *const others[] = {INBOX "?tenant=blue", "/api/v1/rooms/public:a?tenant=blue",
        "/api/v1/rooms/public:a/history?tenant=blue", "/api/v1/rooms/public:a/members?tenant=blue",
        "/api/v1/rooms/public:a/position?tenant=blue", "/api/v1/topics?tenant=blue",
        "/api/v1/users/ann/preferences?tenant=blue", "/api/v1/rooms?tenant=blue",
        "/api/v1/connections?tenant=blue"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        ask(red, "GET", others[i], NULL);
        expect_refusal(403, "forbidden", "tenant", others[i]);
    }
    ask(red, "DELETE", POSTS "/" NOBODYS "?tenant=blue", NULL);
    expect_refusal(403, "forbidden", "tenant", "taking back");
    ask(red, "POST", "/api/v1/events", "{\"event\":\"e\",\"to\":{\"all\":true}}");
    expect_refusal(403, "forbidden", "all", "all are those of all tenants");
    ask(red, "GET", INBOX "?fields=seq", NULL);
    cr_expect_str_eq(answer.body, "{\"items\":[{\"seq\":1}],\"next\":null}");
    ask(ALL, "GET", INBOX "?fields=seq&tenant=red", NULL);
    cr_expect_str_eq(answer.body, "{\"items\":[{\"seq\":1}],\"next\":null}");
    ask(ALL, "GET", INBOX "?fields=seq&tenant=blue", NULL);
    cr_expect_str_eq(answer.body, "{\"items\":[],\"next\":null}");
    node_rig_token("ann", "blue", token);
    ask(token, "GET", INBOX "?fields=seq", NULL);
    cr_expect_str_eq(answer.body, "{\"items\":[],\"next\":null}", "of the tenant in the token");
    node_rig_stop(&rig);
}

Test(api, who_calls_too_often_is_told_when_to_come_again)
{
    char token[NODE_RIG_TOKEN_MAX];
    unsigned status = 200;
    node_rig_start(&rig, KEYS "limits { refusals_per_minute = 3 api_per_minute = 3 }\n");
    for (unsigned i = 0; i < 3; i++) {
        ask("wrong-key-0123456789", "GET", INBOX, NULL);
        expect_refusal(401, "unauthorized", NULL, "a wrong key");
    }
    ask("wrong-key-0123456789", "GET", INBOX, NULL);
    expect_refusal(429, "rate_limited", NULL, "one more");
    cr_expect_not_null(node_answer_header(&answer, "Retry-After"));
    cr_expect_eq(ask(ALL, "GET", INBOX, NULL), 200, "a right key of the same address");
    node_rig_token("ann", "", token);
    for (unsigned i = 0; i < 10 && status == 200; i++) { /* a token comes back in 20 s */
        status = ask(token, "GET", INBOX, NULL);
    }
    expect_refusal(429, "rate_limited", NULL, "calls of a user");
    cr_expect_not_null(node_answer_header(&answer, "Retry-After"));
    node_rig_stop(&rig);
}

Test(api, a_value_may_have_an_empty_list_of_tags)
{
    node_rig_start(&rig, KEYS);
    cr_expect_eq(ask(ALL, "PUT", VALUES "/a", "{\"value\":1,\"tags\":[]}"), 200, "%s", answer.body);
    cr_expect_eq(ask(ALL, "POST", VALUES "/invalidate", "{\"tags\":[\"t\"]}"), 200);
    cr_expect_str_eq(answer.body, "{\"invalidated\":0}");
    cr_expect_eq(ask(ALL, "GET", VALUES "/a", NULL), 200, "%s", answer.body);
    node_rig_stop(&rig);
}

/* Ask until the answer has `status`. */
static void ask_until(unsigned status, const char *method, const char *target, const char *body)
{
    uint64_t deadline = clock_mono_ms() + 60000;
    while (ask(ALL, method, target, body) != status) {
        cr_assert_lt(clock_mono_ms(), deadline, "%s: %u %s", target, answer.status, answer.body);
        usleep(20000);
    }
}

Test(api, nothing_is_accepted_while_the_store_is_away)
{
    char away[128];
    node_rig_start(&rig, KEYS);
    post_to_ann(1);
    snprintf(away, sizeof(away), "%s.away", rig.path);
    cr_assert_eq(rename(rig.path, away), 0);
    ask_until(503, "POST", POSTS, "{" USER ",\"key\":\"away\"}");
    expect_refusal(503, "unavailable", NULL, "a post");
    cr_expect_not_null(node_answer_header(&answer, "Retry-After"));
    ask_until(503, "POST", INBOX "/read-all", NULL);
    expect_refusal(503, "unavailable", NULL, "a mark");
    cr_assert_eq(rename(away, rig.path), 0);
    ask_until(200, "POST", INBOX "/read-all", NULL);
    ask_until(201, "POST", POSTS, "{" USER ",\"key\":\"back\"}");
    ask(ALL, "GET", INBOX "?fields=key", NULL);
    cr_expect_eq(ask(ALL, "GET", INBOX "?fields=seq", NULL), 200);
    cr_expect_str_eq(answer.body, "{\"items\":[{\"seq\":2},{\"seq\":1}],\"next\":null}");
    node_rig_stop(&rig);
}
