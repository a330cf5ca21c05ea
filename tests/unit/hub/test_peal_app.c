/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a whole node decides of CONNECT: whose token is good, in which namespace, for which session.
 * Over long-polling, each packet is a request.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/check.h"
#include "tests/support/node_rig.h"

TestSuite(peal_app, .timeout = 120);

#define PATH "/socket.io/?EIO=4&transport=polling"
#define SETTINGS                                                                                   \
    "namespace \"/staff\" { access = {\"role:admin\"} }\n"                                         \
    "namespace \"/open\" { }\n"                                                                    \
    "limits { namespaces = 3 }\n"

static struct node_rig rig;
static struct node_answer answer;
static char target[160]; /* of the session */

/* Among the packets that come next, until the session is over. */
static void expect_comes(const char *packet)
{
    const struct node_call call = {.method = "GET", .target = target};
    bool found = false;
    do {
        node_rig_ask(&rig, &call, &answer);
        found = answer.status == 200 && strstr(answer.body, packet) != NULL;
    } while (!found && answer.status == 200);
    cr_expect(found, "%s: %u %s", packet, answer.status, answer.body);
}

static void say(const char *packet)
{
    const struct node_call call = {.method = "POST", .target = target, .body = packet};
    node_rig_ask(&rig, &call, &answer);
}

static void begin(void)
{
    char sid[64];
    const struct node_call call = {.method = "GET", .target = PATH};
    node_rig_ask(&rig, &call, &answer);
    cr_assert_eq(sscanf(answer.body, "0{\"sid\":\"%63[^\"]\"", sid), 1, "%s", answer.body);
    snprintf(target, sizeof(target), PATH "&sid=%s", sid);
}

/* CONNECT to `nsp` ("": the main one) with a token, or none. */
static void connect_with(const char *nsp, const char *token)
{
    char packet[NODE_RIG_TOKEN_MAX + 64];
    const char *comma = nsp[0] != '\0' ? "," : "";
    if (token == NULL) {
        snprintf(packet, sizeof(packet), "40%s%s", nsp, comma);
    } else {
        snprintf(packet, sizeof(packet), "40%s%s{\"token\":\"%s\"}", nsp, comma, token);
    }
    say(packet);
    cr_assert_eq(answer.status, 200, "%s", answer.body);
}

static void connect_as(const char *nsp, const char *user)
{
    char token[NODE_RIG_TOKEN_MAX];
    node_rig_token(user, "", token);
    connect_with(nsp, token);
}

Test(peal_app, who_shows_no_good_token_is_told_so)
{
    char token[NODE_RIG_TOKEN_MAX];
    node_rig_start(&rig, SETTINGS);
    begin();
    connect_with("", NULL);
    expect_comes("44{\"message\":\"Authentication required\"}");
    connect_with("", "a.b.c");
    expect_comes("44{\"message\":\"Invalid token\"}");
    node_rig_token("ann", "", token);
    token[strlen(token) - 5] ^= 1; /* of the signature */
    connect_with("", token);
    expect_comes("44{\"message\":\"Invalid token\"}");
    connect_as("", "ann");
    expect_comes("40{\"sid\":\"");
    node_rig_stop(&rig);
}

/* The second one is refused, and the session goes on as the first one's. */
Test(peal_app, a_session_belongs_to_one_user)
{
    node_rig_start(&rig, SETTINGS);
    for (unsigned i = 0; i < 8; i++) { /* users of both shards */
        char first[16];
        char second[16];
        snprintf(first, sizeof(first), "ann-%u", i);
        snprintf(second, sizeof(second), "bob-%u", i);
        begin();
        connect_as("", first);
        expect_comes("40{\"sid\":\"");
        connect_as("/open", second);
        expect_comes("44/open,{\"message\":\"Invalid token\"}");
        connect_as("/open", first);
        expect_comes("40/open,{\"sid\":\"");
    }
    node_rig_stop(&rig);
}

Test(peal_app, further_namespaces_are_joined_as_the_same_user)
{
    node_rig_start(&rig, SETTINGS);
    begin();
    connect_as("", "ann");
    expect_comes("40{\"sid\":\"");
    connect_with("/open", NULL);
    expect_comes("40/open,{\"sid\":\"");
    connect_with("/nowhere", NULL);
    expect_comes("44/nowhere,{\"message\":\"Invalid namespace\"}");
    connect_with("/staff", NULL);
    expect_comes("\"data\":{\"code\":\"forbidden\"}}");
    node_rig_stop(&rig);
}
