/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two lines of a client: what stands in them, that both are written or neither, and not more
 * than is bearable. Over a whole node; each client is a session of long-polling.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/clock.h"
#include "codec/base/log.h"
#include "tests/support/node_rig.h"

TestSuite(connect_log, .timeout = 120);

#define PATH "/socket.io/?EIO=4&transport=polling"

enum { LINES_MAX = 256, LINE_MAX = 512, WINDOW_MS = 10000, PER_WINDOW = 10 };

static struct node_rig rig;
static struct node_answer answer;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char lines[LINES_MAX][LINE_MAX];
static unsigned count;

static void keep(enum log_level level, const char *line, size_t len)
{
    (void)level;
    pthread_mutex_lock(&lock);
    if (count < LINES_MAX) {
        snprintf(lines[count++], LINE_MAX, "%.*s", (int)len, line);
    }
    pthread_mutex_unlock(&lock);
}

/* How many lines have `id`; the last of them goes to `ret_line`. */
static unsigned find(const char *id, char ret_line[LINE_MAX])
{
    unsigned found = 0;
    char word[32];
    snprintf(word, sizeof(word), " info %s ", id);
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < count; i++) {
        if (strstr(lines[i], word) != NULL) {
            found++;
            memcpy(ret_line, lines[i], LINE_MAX);
        }
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static void start(const char *settings)
{
    log_set_sink(keep);
    node_rig_start(&rig, settings);
    log_set_level(LOG_INFO);
}

/* A client comes as `user` and goes again. */
static void visit(const char *user)
{
    char sid[64];
    char target[160];
    char token[NODE_RIG_TOKEN_MAX];
    char packet[NODE_RIG_TOKEN_MAX + 32];
    const struct node_call open = {.method = "GET", .target = PATH};
    node_rig_ask(&rig, &open, &answer);
    cr_assert_eq(sscanf(answer.body, "0{\"sid\":\"%63[^\"]\"", sid), 1, "%s", answer.body);
    snprintf(target, sizeof(target), PATH "&sid=%s", sid);
    node_rig_token(user, "", token);
    snprintf(packet, sizeof(packet), "40{\"token\":\"%s\"}", token);
    const struct node_call join = {.method = "POST", .target = target, .body = packet};
    node_rig_ask(&rig, &join, &answer);
    cr_assert_eq(answer.status, 200, "%s", answer.body);
    const struct node_call poll = {.method = "GET", .target = target};
    do {
        node_rig_ask(&rig, &poll, &answer);
        cr_assert_eq(answer.status, 200, "%s", answer.body);
    } while (strstr(answer.body, "40{\"sid\":\"") == NULL);
    const struct node_call leave = {.method = "POST", .target = target, .body = "41"};
    node_rig_ask(&rig, &leave, &answer);
    cr_assert_eq(answer.status, 200, "%s", answer.body);
}

static void expect_has(const char *line, const char *text)
{
    cr_expect_not_null(strstr(line, text), "%s in %s", text, line);
}

/* What `name=` says in a line. */
static const char *value_of(const char *line, const char *name)
{
    static char value[64];
    const char *at = strstr(line, name);
    cr_assert_not_null(at, "%s in %s", name, line);
    snprintf(
        value, sizeof(value), "%.*s", (int)strcspn(at + strlen(name), " \n"), at + strlen(name));
    return value;
}

Test(connect_log, tells_who_came_where_and_why_they_went)
{
    char came[LINE_MAX];
    char gone[LINE_MAX];
    char socket[64];
    start("shards = 1\n");
    visit("ann \"x\"");
    node_rig_stop(&rig);
    cr_assert_eq(find("CONNECT", came), 1);
    cr_assert_eq(find("CLOSED", gone), 1);
    expect_has(came, " user=\"ann \\\"x\\\"\" node=");
    expect_has(came, " transport=polling nsp=\"/\" remote=\"127.0.0.1\" ");
    expect_has(came, " resumed=0 suppressed=0\n");
    expect_has(gone, " user=\"ann \\\"x\\\"\" node=");
    expect_has(gone, " transport=polling nsp=\"/\" reason=peer ms=");
    expect_has(gone, " suppressed=0\n");
    snprintf(socket, sizeof(socket), "%s", value_of(came, " socket="));
    cr_expect_eq(strlen(socket), 23 + strlen("\"\""));
    cr_expect_str_eq(value_of(gone, " socket="), socket, "the same one");
    cr_expect_str_neq(value_of(gone, " node="), "");
}

Test(connect_log, a_crowd_is_counted)
{
    enum { CROWD = 60 };
    char line[LINE_MAX];
    start("shards = 1\n");
    unsigned long long from = clock_mono_ms() / WINDOW_MS;
    for (unsigned i = 0; i < CROWD; i++) {
        visit("ann");
    }
    unsigned most = (unsigned)(clock_mono_ms() / WINDOW_MS - from + 1) * PER_WINDOW;
    node_rig_stop(&rig);
    unsigned came = find("CONNECT", line);
    cr_expect(came > 0 && came <= most, "%u of at most %u", came, most);
    unsigned gone = find("CLOSED", line);
    cr_expect(gone > 0 && gone <= most + PER_WINDOW, "%u of at most %u", gone, most);
}

/* One of 1,000,000: with the sids of a test hardly one in a lifetime. */
Test(connect_log, few_or_none_are_told_of_as_wanted)
{
    static const char *const settings[] = {
        "shards = 1\nlog { connections = 0 }\n", "shards = 1\nlog { connections = 1000000 }\n"};
    char line[LINE_MAX];
    for (unsigned i = 0; i < 2; i++) {
        start(settings[i]);
        visit("ann");
        node_rig_stop(&rig);
        cr_expect_eq(find("CONNECT", line), 0);
        cr_expect_eq(find("CLOSED", line), 0);
    }
    start("shards = 1\n");
    visit("ann");
    node_rig_stop(&rig);
    cr_expect_eq(find("CONNECT", line), 1);
}

/* Of a client both lines or neither: every fourth sid, whichever it is. */
Test(connect_log, of_a_client_both_lines_are_written_or_neither)
{
    char came[LINE_MAX];
    char gone[LINE_MAX];
    char socket[64];
    unsigned seen = 0;
    unsigned missing = 0;
    start("shards = 1\nlog { connections = 2 }\n");
    for (unsigned i = 0; i < 64 && (seen == 0 || missing == 0); i++) {
        unsigned before = find("CONNECT", came);
        visit("ann");
        if (find("CONNECT", came) == before) {
            missing++;
            continue;
        }
        seen++;
        snprintf(socket, sizeof(socket), " socket=%s ", value_of(came, " socket="));
    }
    node_rig_stop(&rig);
    cr_assert(seen > 0 && missing > 0, "%u %u", seen, missing);
    cr_expect_eq(find("CLOSED", gone), seen);
    cr_expect_not_null(strstr(gone, socket), "%s", gone);
}
