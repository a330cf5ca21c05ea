/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is online, asked of a whole node over HTTP: what is wrong with a request, and what is
 * answered of users who are not there; those who are need sockets (tests/e2e/presence.test.mjs).
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/buf.h"
#include "codec/base/check.h"
#include "tests/support/node_rig.h"

TestSuite(api_presence, .timeout = 120);

#define READER "reader-0123456789ab"
#define ADMIN "admin-0123456789abc"
#define ACME "acme-0123456789abcd"
#define PRESENCE "/api/v1/presence"
#define NOBODY "{\"online\":false,\"lastSeen\":null,\"nodes\":[],\"connections\":0}"

static struct node_rig rig;
static struct node_answer answer;

static void set_up(void)
{
    node_rig_start(&rig,
        "auth { tenants = on }\n"
        "api_key \"admin\" { key = \"" ADMIN "\" scopes = {admin} }\n"
        "api_key \"reader\" { key = \"" READER "\" scopes = {read} }\n"
        "api_key \"acme\" { key = \"" ACME "\" scopes = {read} tenant = \"acme\" }\n");
}

static void tear_down(void)
{
    node_rig_stop(&rig);
}

/* Ask; the answer must have this status, and `text` in it. */
static void expect(
    unsigned status, const char *text, const char *key, const char *target, const char *body)
{
    const struct node_call call = {
        .method = body != NULL ? "POST" : "GET", .target = target, .key = key, .body = body};
    node_rig_ask(&rig, &call, &answer);
    cr_expect_eq(answer.status, status, "%s: %u %s", target, answer.status, answer.body);
    cr_expect_not_null(strstr(answer.body, text), "%s: %s in %s", target, text, answer.body);
}

Test(api_presence, what_is_wrong_is_named, .init = set_up, .fini = tear_down)
{
    static const struct {
        const char *target;
        const char *body;
        unsigned status;
        const char *says;
    } faults[] = {
        {PRESENCE, NULL, 422, "1 to 1000"},
        {PRESENCE "?users=", NULL, 422, "\"field\":\"users\""},
        {PRESENCE "?users=a,,b", NULL, 422, "\"field\":\"users\",\"index\":1"},
        {PRESENCE "?users=a,b%2Fc", NULL, 422, "\"index\":1"},
        {PRESENCE "?users=%zz", NULL, 422, "\"index\":0"},
        {"/api/v1/users/a%2Fb/presence", NULL, 422, "\"field\":\"user\""},
        {PRESENCE "/query", "", 400, "no JSON"},
        {PRESENCE "/query", "[\"ann\"]", 400, "no JSON object"},
        {PRESENCE "/query", "{}", 422, "\"field\":\"users\""},
        {PRESENCE "/query", "{\"users\":\"ann\"}", 422, "1 to 1000"},
        {PRESENCE "/query", "{\"users\":[]}", 422, "1 to 1000"},
        {PRESENCE "/query", "{\"users\":[\"ann\",7]}", 422, "\"index\":1"},
        {PRESENCE "/query", "{\"users\":[\"ann\"],\"user\":1}", 422, "known here: users"},
    };
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        expect(faults[i].status, faults[i].says, READER, faults[i].target, faults[i].body);
    }
    struct builder many = {0};
    builder_str(&many, "{\"users\":[\"u\"");
    for (unsigned i = 0; i < 1000; i++) {
        builder_printf(&many, ",\"u%u\"", i);
    }
    builder_str(&many, "]}");
    builder_byte(&many, '\0');
    expect(413, "\"code\":\"too_large\"", READER, PRESENCE "/query", builder_bytes(&many).at);
    builder_reset(&many);
}

Test(api_presence, backends_see_more_than_users, .init = set_up, .fini = tear_down)
{
    char own[NODE_RIG_TOKEN_MAX];
    node_rig_token("ann", "acme", own);
    expect(200, "{\"users\":{\"b,a\":" NOBODY ",\"ann\":" NOBODY "},\"complete\":true}", READER,
        PRESENCE "?users=b%2Ca,ann,ann", NULL);
    expect(200, "{\"online\":false,\"lastSeen\":null,\"complete\":true}", own,
        "/api/v1/users/bob/presence", NULL);
    cr_expect_str_eq(node_answer_header(&answer, "Cache-Control"), "private, no-store");
    expect(200, "{\"users\":{\"bob\":{\"online\":false,\"lastSeen\":null}},\"complete\":true}", own,
        PRESENCE "/query", "{\"users\":[\"bob\"]}");
}

Test(api_presence, the_sums_are_of_all_tenants, .init = set_up, .fini = tear_down)
{
    char own[NODE_RIG_TOKEN_MAX];
    node_rig_token("ann", "acme", own);
    expect(200, "{\"users\":0,\"connections\":0,\"nodes\":1,\"complete\":true}", READER,
        PRESENCE "/count", NULL);
    expect(403, "forbidden", ACME, PRESENCE "/count", NULL);
    expect(401, "unauthorized", own, PRESENCE "/count", NULL);
    expect(403, "\"field\":\"tenant\"", ACME, PRESENCE "?users=ann&tenant=other", NULL);
}

Test(api_presence, who_ends_a_user_is_told_where_it_was, .init = set_up, .fini = tear_down)
{
    expect(202, "{\"accepted\":true,\"nodes\":[],\"connections\":0,\"complete\":true}", ADMIN,
        "/api/v1/users/ann/disconnect", "{}");
}
