/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is told of a committed change for webhooks: what of it, once, and only what somebody wants.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "actors/inbox/announce.h"
#include "actors/webhook_note.h"
#include "sql/store.h"
#include "tests/support/nodes.h"

TestSuite(webhook_note, .timeout = 60);

enum { NOTES_MAX = 16, NOTE_TEXT = 512 };

static struct {
    enum webhook_event event;
    char tenant[32];
    char data[NOTE_TEXT];
} notes[NOTES_MAX];
static unsigned note_count;

static void take(struct shard *shard, const struct webhook_note *note)
{
    (void)shard;
    cr_assert_lt(note_count, NOTES_MAX);
    notes[note_count].event = note->event;
    snprintf(notes[note_count].tenant, sizeof(notes[0].tenant), "%.*s", (int)note->tenant.len,
        note->tenant.len > 0 ? note->tenant.at : "");
    snprintf(notes[note_count++].data, NOTE_TEXT, "%.*s", (int)note->data.len, note->data.at);
}

static struct nodes *begin(uint32_t wanted)
{
    struct nodes *nodes = nodes_create(7, &(struct nodes_options){.nodes = 1, .shards = 1});
    nodes->node[0].shards[0].shard.webhooks.tell = take;
    nodes->node[0].shards[0].shard.webhooks.events = wanted;
    note_count = 0;
    return nodes;
}

static struct shard *on(struct nodes *nodes)
{
    return nodes_on(nodes, 0, 0);
}

static void end(struct nodes *nodes)
{
    nodes_settle(nodes);
    nodes_destroy(nodes);
}

static const struct store_user ann = {{"acme", 4}, {"ann", 3}};

static void mark(struct shard *shard, enum notification_verb verb, bool changed)
{
    struct notification_change changes[2] = {{.seq = 1, .rev = 3}, {.seq = 2, .rev = 3}};
    memset(changes[0].id, 0x11, sizeof(changes[0].id));
    memset(changes[1].id, 0x22, sizeof(changes[1].id));
    const struct store_mark told = {.who = ann,
        .verb = verb,
        .position = {.rev = 3},
        .changed = changed,
        .changes = changes,
        .change_count = changed ? 2 : 0};
    announce_mark(shard, &told);
}

static void sweep(struct shard *shard, enum notification_state state, bool news)
{
    struct notification_change change = {.seq = 1, .rev = 4, .state = state};
    memset(change.id, 0x33, sizeof(change.id));
    const struct store_swept swept = {
        .who = ann, .position = {.rev = 4}, .news = news, .changes = &change, .change_count = 1};
    announce_swept(shard, &swept);
}

Test(webhook_note, tells_of_marks_by_what_was_done)
{
    static const struct {
        enum notification_verb verb;
        int event; /* -1: none */
    } rows[] = {
        {NOTIFICATION_MARK_SEEN, WEBHOOK_SEEN},
        {NOTIFICATION_MARK_READ, WEBHOOK_READ},
        {NOTIFICATION_MARK_UNREAD, -1}, /* which leads to seen, and nobody has seen it now */
        {NOTIFICATION_MARK_ARCHIVE, WEBHOOK_ARCHIVED},
        {NOTIFICATION_MARK_UNARCHIVE, -1},
        {NOTIFICATION_MARK_SNOOZE, -1},
        {NOTIFICATION_MARK_WAKE, -1},
        {NOTIFICATION_MARK_DELETE, -1},
    };
    struct nodes *nodes = begin(UINT32_MAX);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        note_count = 0;
        mark(on(nodes), rows[i].verb, false);
        cr_expect_eq(note_count, 0, "nothing has changed");
        mark(on(nodes), rows[i].verb, true);
        cr_assert_eq(note_count, rows[i].event >= 0, "verb %d", (int)rows[i].verb);
        if (rows[i].event >= 0) {
            cr_expect_eq((int)notes[0].event, rows[i].event);
            cr_expect_str_eq(notes[0].tenant, "acme");
            cr_expect_str_eq(notes[0].data,
                "{\"tenant\":\"acme\",\"userId\":\"ann\",\"ids\":[\"11111111-1111-1111-1111-"
                "111111111111\",\"22222222-2222-2222-2222-222222222222\"]}");
        }
    }
    end(nodes);
}

Test(webhook_note, tells_of_what_expired_and_not_of_what_was_taken_back)
{
    struct nodes *nodes = begin(UINT32_MAX);
    sweep(on(nodes), NOTIFICATION_ERASED, false);
    sweep(on(nodes), NOTIFICATION_UNREAD, true);
    cr_expect_eq(note_count, 0);
    sweep(on(nodes), NOTIFICATION_EXPIRED, false);
    cr_assert_eq(note_count, 1);
    cr_expect_eq(notes[0].event, WEBHOOK_EXPIRED);
    end(nodes);
}

Test(webhook_note, tells_of_rows_and_of_posts_to_many)
{
    struct nodes *nodes = begin(UINT32_MAX);
    const struct store_row row = {.who = ann,
        .type = BYTES("news"),
        .title = BYTES("a \"b\""),
        .priority = NOTIFICATION_HIGH,
        .created_at = 1764500000000,
        .first_at = 1764500000000,
        .seq = 5,
        .rev = 9,
        .head = 5};
    announce_row(on(nodes), &row);
    cr_assert_eq(note_count, 1);
    cr_expect_eq(notes[0].event, WEBHOOK_STORED);
    cr_expect(strncmp(notes[0].data, "{\"tenant\":\"acme\",\"notification\":{\"id\":", 38) == 0,
        "%s", notes[0].data);
    cr_expect_not_null(strstr(notes[0].data, "\"userId\":\"ann\""));
    cr_expect_not_null(strstr(notes[0].data, "\"title\":\"a \\\"b\\\"\""));
    const struct store_audience_post post = {.tenant = BYTES("acme"),
        .kind = AUDIENCE_TOPIC,
        .name = BYTES("shop"),
        .type = BYTES("news"),
        .title = BYTES("t"),
        .priority = NOTIFICATION_MEDIUM,
        .created_at = 1764500000000};
    webhook_note_posted(on(nodes), &post);
    cr_assert_eq(note_count, 2);
    cr_expect_str_eq(notes[1].data,
        "{\"tenant\":\"acme\",\"audience\":{\"id\":\"00000000-0000-0000-0000-000000000000\","
        "\"kind\":\"topic\",\"name\":\"shop\"},\"notification\":{\"type\":\"news\",\"title\":\"t\","
        "\"message\":\"\",\"data\":null,\"priority\":\"medium\",\"createdAt\":"
        "\"2025-11-30T10:53:20.000Z\",\"expiresAt\":null}}");
    end(nodes);
}

/* Else a webhook whose job is dead would be told of it by a job, which is dead in its turn. */
Test(webhook_note, does_not_tell_of_its_own_jobs)
{
    struct nodes *nodes = begin(UINT32_MAX);
    const struct store_job own = {.queue = BYTES("webhook.crm"), .type = BYTES("webhook")};
    const struct store_job job = {
        .queue = BYTES("email"), .type = BYTES("letter"), .error = BYTES("no paper"), .attempt = 3};
    webhook_note_job(on(nodes), &own);
    cr_expect_eq(note_count, 0);
    webhook_note_job(on(nodes), &job);
    cr_assert_eq(note_count, 1);
    cr_expect_str_eq(notes[0].data,
        "{\"id\":\"00000000-0000-0000-0000-000000000000\",\"queue\":\"email\",\"type\":\"letter\","
        "\"attempt\":3,\"error\":\"no paper\"}");
    end(nodes);
}

Test(webhook_note, writes_nothing_that_nobody_wants)
{
    struct nodes *nodes = begin(1u << WEBHOOK_READ);
    mark(on(nodes), NOTIFICATION_MARK_SEEN, true);
    sweep(on(nodes), NOTIFICATION_EXPIRED, false);
    cr_expect_eq(note_count, 0);
    mark(on(nodes), NOTIFICATION_MARK_READ, true);
    cr_expect_eq(note_count, 1);
    on(nodes)->webhooks.tell = NULL;
    mark(on(nodes), NOTIFICATION_MARK_READ, true);
    cr_expect_eq(note_count, 1);
    end(nodes);
}
