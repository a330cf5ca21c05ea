/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of the rows of a store and the model by themselves. Order of this file: what is due,
 * posts to many, what is kept.
 */
#include <string.h>

#include "codec/base/status.h"
#include "sql/store_retention.h"
#include "tests/unit/sql/model_ops.h"

enum {
    POSTS_KEPT_MS = 4000,
    TOMBSTONES_KEPT_MS = 3000,
    STEPS_MAX = 2000,
    LEAP_MS = 61000, /* as long as a digest that users may choose */
    AGE_MS = 5000,
    AGE_OTHER_MS = 2500,
    ROWS_MOST = 60,
    WALK_STEPS_MAX = 100000,
};

/* --- what is due --- */

static struct model_inbox *find_inbox(struct run *run, const struct store_user *who)
{
    for (size_t i = 0; i < MODEL_INBOXES; i++) {
        struct store_user user = run_user(&run->model.inboxes[i]);
        if (bytes_eq(user.user, who->user) && bytes_eq(user.tenant, who->tenant)) {
            return &run->model.inboxes[i];
        }
    }
    run_fail(run, "a user that nobody knows");
}

/* Whether a row must go, or be new again, by now. */
static bool is_due(const struct run *run, const struct model_row *row, bool woken)
{
    uint64_t due = woken ? row->snoozed_until : row->expires_at;
    return row->presence == MODEL_IS_THERE && due > 0 && due <= run->model.now;
}

/* Rows that have other content: what their posts were given, or without what was taken back. */
static void expect_renewed(
    struct run *run, struct model_inbox *inbox, struct model_row *row, bool taken_back)
{
    if (model_count_behind(&run->model, inbox, row) > 0) {
        MUST(run, taken_back || is_due(run, row, false), "seq %lu of %s", row->seq, inbox->user);
        model_renew(&run->model, inbox, row);
        return;
    }
    bool loses = model_count_lost(&run->model, inbox, row) > 0;
    MUST(run, taken_back && loses && model_goes_on(&run->model, inbox, row), "seq %lu of %s",
        row->seq, inbox->user);
    model_take_out(&run->model, inbox, row);
}

/* A row goes, or is new again. */
static void expect_gone(struct run *run, struct model_inbox *inbox, struct model_row *row,
    const struct store_swept *swept, bool taken_back)
{
    bool lost = model_count_lost(&run->model, inbox, row) > 0;
    bool behind = model_count_behind(&run->model, inbox, row) > 0;
    bool due = taken_back ? lost && !model_goes_on(&run->model, inbox, row)
                          : is_due(run, row, swept->news) && (swept->news || !behind);
    MUST(run, row->presence == MODEL_IS_THERE && due, "seq %lu of %s", row->seq, inbox->user);
    if (swept->news) {
        model_wake(inbox, row, run->model.now);
    } else {
        model_remove(
            inbox, row, taken_back ? NOTIFICATION_ERASED : NOTIFICATION_EXPIRED, run->model.now);
    }
}

/* What a sweep did to one inbox: all at one rev. */
static void expect_swept(struct run *run, const struct store_swept *swept, bool taken_back)
{
    struct model_inbox *inbox = find_inbox(run, &swept->who);
    MUST(run, swept->change_count > 0, "nothing");
    inbox->rev++;
    for (size_t i = 0; i < swept->change_count; i++) {
        const struct notification_change *change = &swept->changes[i];
        MUST(run, change->seq >= 1 && change->seq <= inbox->count, "seq %lu", change->seq);
        struct model_row *row = &inbox->rows[change->seq - 1];
        MUST(run, row->presence == MODEL_IS_THERE, "seq %lu", change->seq);
        if (swept->renewed) {
            expect_renewed(run, inbox, row, taken_back);
            MUST(run, change->rev == row->rev, "%lu, not %lu", change->rev, row->rev);
        } else {
            expect_gone(run, inbox, row, swept, taken_back);
            run_expect_change(run, inbox, change);
        }
    }
    run_expect_position(run, inbox, &swept->position);
}

/* Sweep in steps until nothing is left to do. */
static void sweep(struct run *run, enum store_op op, uint64_t kept_ms)
{
    struct store_sweep request = {.base.op = op,
        .now = run->model.now,
        .limit = 1 + (uint32_t)run_draw(run, 12),
        .tombstone_ms = kept_ms};
    size_t steps = 0;
    do {
        MUST(run, ++steps < STEPS_MAX, "it never ends");
        run_ask(run, &request.base);
        for (size_t i = 0; i < request.user_count; i++) {
            expect_swept(run, &request.users[i], op == STORE_AUDIENCE_SWEEP);
        }
        bool more = request.more;
        store_request_finish(&request.base);
        request.more = more;
    } while (request.more);
}

void run_expire(struct run *run)
{
    run->model.now += run_draws(run, 16) ? LEAP_MS : run_draw(run, 400);
    run_tell(run, "sweep at %lu", run->model.now);
    sweep(run, STORE_SWEEP, TOMBSTONES_KEPT_MS);
    for (size_t i = 0; i < MODEL_INBOXES; i++) {
        const struct model_inbox *inbox = &run->model.inboxes[i];
        for (size_t j = 0; j < inbox->count; j++) {
            const struct model_row *row = &inbox->rows[j];
            MUST(run, !is_due(run, row, true) && !is_due(run, row, false), "%s seq %lu is left",
                inbox->user, row->seq);
        }
    }
    model_drop_tombstones(&run->model, run->model.now - TOMBSTONES_KEPT_MS);
}

/* --- posts to many --- */

/* Whether a post is told yet. */
static bool is_told(struct run *run, const struct model_post *post)
{
    struct store_posted_from from = {.tenant = run_tenant(post->tenant), .after = post->n - 1};
    struct store_posted posted = {
        .base.op = STORE_POSTED, .tenants = &from, .tenant_count = 1, .limit = 1};
    run_ask(run, &posted.base);
    bool told = posted.post_count == 1 && posted.posts[0].n == post->n;
    store_request_finish(&posted.base);
    return told;
}

/*
 * Whether an old post to many is there yet, because it is taken back or its content is given out:
 * how long that takes depends on transactions of others. It is dropped when all rows have that.
 */
static bool is_kept_longer(struct run *run, const struct model_post *post)
{
    if (post->retracted) {
        return is_told(run, post);
    }
    struct store_retract find = {
        .base.op = STORE_RETRACT, .tenant = run_tenant(post->tenant), .only_find = true};
    memcpy(find.id, post->id, NOTIFICATION_ID_LEN);
    bool there = run_try(run, &find.base) == 0;
    store_request_finish(&find.base);
    size_t which = (size_t)(post - run->model.posts) + 1;
    for (size_t i = 0; i < MODEL_INBOXES && !there; i++) {
        struct model_inbox *inbox = &run->model.inboxes[i];
        const struct model_row *row = model_find_holder(inbox, which);
        MUST(run, row == NULL || inbox->held[which - 1].edit == post->edits,
            "%s seq %lu will never get what its post says", inbox->user, row->seq);
    }
    return there;
}

/* How far a step comes is not told; so of what several posts of a row have to become it is done by
 * reading. */
static void settle_digests(struct run *run)
{
    for (size_t i = 0; i < MODEL_INBOXES; i++) {
        struct model_inbox *inbox = &run->model.inboxes[i];
        bool unclear = false;
        for (size_t j = 0; j < inbox->count && !unclear; j++) {
            const struct model_row *row = &inbox->rows[j];
            unclear = row->gathers && row->presence == MODEL_IS_THERE &&
                      model_count_lost(&run->model, inbox, row) +
                              model_count_behind(&run->model, inbox, row) >
                          1;
        }
        if (unclear) {
            run_check_position(run, inbox);
        }
    }
}

void run_sweep_posts(struct run *run)
{
    run_tell(run, "sweep posts to many");
    settle_digests(run);
    sweep(run, STORE_AUDIENCE_SWEEP, POSTS_KEPT_MS);
    for (size_t i = 0; i < MODEL_INBOXES; i++) {
        struct model_inbox *inbox = &run->model.inboxes[i];
        for (size_t j = 1; j <= run->model.post_count; j++) {
            bool left = run->model.posts[j - 1].retracted && model_find_holder(inbox, j) != NULL;
            MUST(run, !left, "%s still has post %zu", inbox->user, j);
        }
    }
    for (size_t i = 0; i < run->model.post_count; i++) {
        struct model_post *post = &run->model.posts[i];
        bool old = model_is_old(&run->model, post, run->model.now - POSTS_KEPT_MS);
        bool changes = post->edits > 0 || post->retracted;
        if (!post->dropped && old && !(changes && is_kept_longer(run, post))) {
            model_drop_post(&run->model, post);
        }
    }
}

/* --- what is kept --- */

/* What the walk is to take: by inbox, and seq - 1. */
static bool goes[MODEL_INBOXES][MODEL_ROWS_MAX];

static void expect_taken(struct run *run, const struct store_swept *swept)
{
    struct model_inbox *inbox = find_inbox(run, &swept->who);
    bool *mine = goes[inbox - run->model.inboxes];
    MUST(run, swept->change_count > 0 && !swept->news, "nothing");
    inbox->rev++; /* one for all of the step */
    for (size_t i = 0; i < swept->change_count; i++) {
        uint64_t seq = swept->changes[i].seq;
        MUST(run, seq > 0 && seq <= inbox->count && mine[seq - 1], "%s seq %lu is kept",
            inbox->user, seq);
        mine[seq - 1] = false;
        model_remove(inbox, &inbox->rows[seq - 1], NOTIFICATION_EXPIRED, run->model.now);
        run_expect_change(run, inbox, &swept->changes[i]);
    }
    run_expect_position(run, inbox, &swept->position);
}

/* Posts end behind the inboxes of the walk; one whose change is under way is not dropped. */
static void expect_ended(struct run *run, const struct model_rule rules[MODEL_TENANTS])
{
    bool unused[MODEL_POSTS_MAX];
    model_end_posts(&run->model, rules, unused);
    for (size_t i = 0; i < run->model.post_count; i++) {
        struct model_post *post = &run->model.posts[i];
        bool changes = post->edits > 0 || post->retracted;
        if (unused[i] && !(changes && is_kept_longer(run, post))) {
            model_drop_post(&run->model, post);
        }
    }
}

/* Step through all parts once; they come in turns, that of the posts last. */
static void walk(struct run *run, struct store_retention *retention,
    const struct model_rule rules[MODEL_TENANTS])
{
    size_t steps = 0;
    for (unsigned done = 0; done < STORE_RETENTION_PARTS;) {
        MUST(run, ++steps < WALK_STEPS_MAX, "it never ends");
        run_ask(run, &retention->sweep.base);
        for (size_t i = 0; i < retention->sweep.user_count; i++) {
            expect_taken(run, &retention->sweep.users[i]);
        }
        bool posts = retention->part == STORE_RETENTION_PARTS - 1;
        MUST(run, !posts || done == STORE_RETENTION_PARTS - 1, "part %u", done);
        done += retention->done;
        store_request_finish(&retention->sweep.base);
    }
    expect_ended(run, rules);
}

void run_retain(struct run *run)
{
    struct model_rule rules[MODEL_TENANTS] = {{.age_ms = AGE_MS}, {.age_ms = AGE_OTHER_MS}};
    for (size_t i = 0; i < MODEL_TENANTS; i++) {
        rules[i].rows = (uint32_t)run_draw(run, 2 * ROWS_MOST);
        rules[i].rows = rules[i].rows > ROWS_MOST ? 0 : rules[i].rows;
    }
    run_tell(run, "take all but %u and %u rows", rules[0].rows, rules[1].rows);
    for (size_t i = 0; i < MODEL_INBOXES; i++) {
        const struct model_inbox *inbox = &run->model.inboxes[i];
        model_find_overdue(&run->model, inbox, &rules[inbox->tenant], goes[i]);
    }
    const struct store_retention_rule other = {
        .tenant = run_tenant(1), .age_ms = rules[1].age_ms, .rows = rules[1].rows};
    struct store_retention retention = {.sweep = {.base.op = STORE_RETAIN,
                                            .now = run->model.now,
                                            .limit = 1 + (uint32_t)run_draw(run, 40)},
        .usual = {.age_ms = rules[0].age_ms, .rows = rules[0].rows},
        .rules = &other,
        .rule_count = 1};
    walk(run, &retention, rules);
    for (size_t i = 0; i < MODEL_INBOXES; i++) {
        for (size_t j = 0; j < MODEL_ROWS_MAX; j++) {
            MUST(run, !goes[i][j], "%s seq %zu is left", run->model.inboxes[i].user, j + 1);
        }
    }
}
