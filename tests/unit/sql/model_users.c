/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random operations on what users prefer, and on users as a whole: erasing one, who comes.
 */
#include <stdio.h>
#include <string.h>

#include "codec/base/buf.h"
#include "codec/preferences.h"
#include "sql/store_forget.h"
#include "sql/store_preference.h"
#include "tests/unit/sql/model_ops.h"

/* What the user says is written as the hub does it. */
static void keep_preferences(struct run *run, struct model_inbox *inbox, const char *said)
{
    struct preferences *preferences = NULL;
    struct preferences_fault fault;
    struct builder out = {.max = sizeof(inbox->preferences) - 1};
    int status = preferences_parse(bytes_str(said), NULL, &preferences, &fault);
    MUST(run, status == 0, "%s", said);
    preferences_store(preferences, &out);
    struct bytes kept = builder_bytes(&out);
    MUST(run, !builder_failed(&out), "%s", said);
    memcpy(inbox->preferences, kept.at, kept.len);
    inbox->preferences[kept.len] = '\0';
    builder_reset(&out);
    preferences_destroy(preferences);
}

/* Types that are not wanted, digests; a mute, quiet hours and a limit, which hold back sound and
 * change no row. */
void run_prefer(struct run *run)
{
    struct model_inbox *inbox = &run->model.inboxes[run_draw(run, MODEL_INBOXES)];
    static const char *const words[] = {
        [MODEL_WANTS] = "\"inbox\": true", [MODEL_REFUSES] = "\"inbox\": false"};
    enum model_wish wishes[MODEL_TYPES];
    static const char *const digests[] = {"", ", \"digest\": null", ", \"digest\": \"1m\""};
    uint64_t digest[MODEL_TYPES];
    char said[600];
    size_t len =
        (size_t)snprintf(said, sizeof(said), "{\"muteUntil\": %s, \"quiet\": %s, \"types\": {",
            run_draws(run, 2) ? "null" : "4000000000000",
            run_draws(run, 2) ? "null" : "{\"from\": \"22:00\", \"to\": \"07:00\"}");
    for (unsigned i = 0; i < MODEL_TYPES; i++) {
        const char *limit = run_draws(run, 2) ? "{\"count\": 1, \"per\": \"1h\"}" : "null";
        wishes[i] = (enum model_wish)run_draw(run, 3);
        digest[i] = run_draw(run, ARRAY_LEN(digests));
        len += (size_t)snprintf(said + len, sizeof(said) - len, "%s\"%s\": {\"limit\": %s%s%s%s}",
            i > 0 ? ", " : "", run_type(i).at, limit, wishes[i] == MODEL_SAYS_NOTHING ? "" : ", ",
            wishes[i] == MODEL_SAYS_NOTHING ? "" : words[wishes[i]], digests[digest[i]]);
    }
    (void)snprintf(said + len, sizeof(said) - len, "}}");
    run_tell(run, "%s prefers %s", inbox->user, said);
    keep_preferences(run, inbox, said);
    struct store_preference write = {.base.op = STORE_PREFERENCE_WRITE,
        .who = run_user(inbox),
        .body = bytes_str(inbox->preferences)};
    run_ask(run, &write.base);
    model_enter(&run->model, inbox); /* what was posted before is as it was wanted before */
    memcpy(inbox->wishes, wishes, sizeof(wishes));
    for (unsigned i = 0; i < MODEL_TYPES; i++) {
        inbox->says_span[i] = digest[i] > 0;
        inbox->spans[i] = digest[i] == 2 ? 60000 : 0;
    }
    inbox->preference_rev++;
    MUST(run, write.rev == inbox->preference_rev, "%lu", write.rev);
    store_request_finish(&write.base);
}

void run_forget_user(struct run *run)
{
    struct model_inbox *inbox = &run->model.inboxes[run_draw(run, MODEL_INBOXES)];
    run_tell(run, "erase %s", inbox->user);
    uint64_t rows = 0;
    uint64_t topics = 0;
    for (size_t i = 0; i < inbox->count; i++) {
        rows += inbox->rows[i].presence == MODEL_IS_THERE;
    }
    for (size_t i = 0; i < MODEL_TOPICS; i++) {
        topics += inbox->topics[i];
    }
    uint64_t kept = 0;
    for (size_t i = 0; i < run->model.kept_count; i++) {
        kept += run->model.kept[i].there && run->model.kept[i].inbox == inbox;
    }
    struct store_forget forget = {.base.op = STORE_FORGET, .who = run_user(inbox)};
    run_ask(run, &forget.base);
    MUST(run, !forget.more, "more");
    MUST(run, forget.erased[STORE_FORGOTTEN_NOTIFICATIONS] == rows, "%lu, not %lu",
        forget.erased[STORE_FORGOTTEN_NOTIFICATIONS], rows);
    MUST(run, forget.erased[STORE_FORGOTTEN_TOPICS] >= topics, "%lu, not %lu",
        forget.erased[STORE_FORGOTTEN_TOPICS], topics);
    MUST(run, forget.erased[STORE_FORGOTTEN_SCHEDULED] == kept, "%lu, not %lu",
        forget.erased[STORE_FORGOTTEN_SCHEDULED], kept);
    model_forget(&run->model, inbox);
    run_expect_position(run, inbox, &forget.position);
    store_request_finish(&forget.base);
}

/* Users come, or are only looked at. */
void run_ask_positions(struct run *run)
{
    struct store_user users[MODEL_INBOXES];
    struct model_inbox *inboxes[MODEL_INBOXES];
    size_t count = 0;
    for (size_t i = 0; i < MODEL_INBOXES; i++) {
        if (run_draws(run, 3)) {
            inboxes[count] = &run->model.inboxes[i];
            users[count] = run_user(inboxes[count]);
            count++;
        }
    }
    bool current = run_draws(run, 4);
    struct store_positions positions = {.base.op = STORE_POSITIONS,
        .users = users,
        .count = count,
        .current = current,
        .begin = !current && run_draws(run, 2)};
    run_tell(run, "positions of %zu%s%s", count, positions.begin ? ", who come" : "",
        current ? ", as they are" : "");
    run_ask(run, &positions.base);
    for (size_t i = 0; i < count; i++) {
        if (!current) {
            model_read(&run->model, inboxes[i], positions.begin);
        }
        run_expect_position(run, inboxes[i], &positions.positions[i]);
        MUST(run, positions.positions[i].preference_rev == inboxes[i]->preference_rev, "%lu",
            positions.positions[i].preference_rev);
    }
    store_request_finish(&positions.base);
}
