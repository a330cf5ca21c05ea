/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random operations on what was posted for later, and on the content of posts to many.
 *
 * The database's clock says what is due: it is due at once, or in hours that no run lasts. Order of
 * this file: other content, keeping, delivering, changing.
 */
#include <stdlib.h>
#include <string.h>

#include "codec/base/clock.h"
#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/store_edit.h"
#include "sql/store_schedule.h"
#include "tests/unit/sql/model_ops.h"

enum { PUT_MAX = 4, HOUR = 3600000, ALL_PARTS = (1 << STORE_SCHEDULE_PARTS) - 1 };

/* --- other content --- */

void run_revise_post(struct run *run)
{
    if (run->model.post_count == 0) {
        return;
    }
    struct model_post *post = &run->model.posts[run_draw(run, run->model.post_count)];
    bool elsewhere = run_draws(run, 8);
    struct model_edit change = {.fields = 1 + (uint32_t)run_draw(run, NOTIFICATION_EDIT_ALL),
        .content = run_draw_content(run),
        .expires_at = run_draws(run, 2) ? run->model.now + 1 + run_draw(run, 3000) : 0,
        .at = run->model.now};
    struct store_revise revise = {.base.op = STORE_REVISE,
        .tenant = run_tenant(elsewhere ? 1 - post->tenant : post->tenant),
        .fields = change.fields,
        .title = run_title(change.content.title),
        .message = run_message(change.content.message),
        .data = run_data(change.content.data),
        .priority = change.content.priority,
        .expires_at = change.expires_at,
        .at = change.at};
    memcpy(revise.id, post->id, NOTIFICATION_ID_LEN);
    run_tell(run, "change post %lu of tenant %u, fields %x%s", post->n, post->tenant, change.fields,
        elsewhere ? ", by the other" : "");
    bool found = !post->retracted && !post->dropped && !post->has_expired && !elsewhere;
    int status = run_try(run, &revise.base);
    MUST(run, status == (found ? 0 : STATUS_NOT_FOUND), "%d", status);
    if (found) {
        MUST(run, revise.n == post->n && revise.kind == post->kind, "%lu", revise.n);
        model_revise(post, &change);
    }
    store_request_finish(&revise.base);
}

/* --- keeping --- */

/* At once, or in hours; what expires by then is never told. */
static void draw_times(struct run *run, uint64_t *ret_deliver_at, uint64_t *ret_expires_at)
{
    uint64_t now = clock_wall_ms();
    uint64_t at =
        run_draws(run, 3) ? now + HOUR + run_draw(run, HOUR) : now - 1 - run_draw(run, 1000);
    *ret_deliver_at = at;
    *ret_expires_at = run_draws(run, 6)   ? at
                      : run_draws(run, 4) ? run->model.now + 1 + run_draw(run, 2000)
                                          : 0;
}

static void expect_kept(struct run *run, struct model_inbox *inbox, const struct posted *posted,
    const struct store_row *told)
{
    const struct model_put *put = &posted->put;
    if (inbox->keys[put->key].used) {
        struct model_row *first;
        enum store_outcome outcome = model_put(inbox, put, &first);
        MUST(run, told->outcome == outcome, "%d, not %d", told->outcome, outcome);
        run_expect_repeat(run, posted, told, first);
        return;
    }
    MUST(run, told->outcome == OUTCOME_SCHEDULED, "%d", told->outcome);
    MUST(run, told->seq == STORE_SEQ_SCHEDULED && told->rev == 0, "seq %lu", told->seq);
    MUST(run, memcmp(told->id, put->id, NOTIFICATION_ID_LEN) == 0, "another id");
    (void)model_keep(&run->model, &(struct model_kept){.inbox = inbox,
                                      .put = *put,
                                      .deliver_at = told->deliver_at,
                                      .expires_at = told->expires_at});
}

static void keep_for_users(struct run *run)
{
    struct model_inbox *inboxes[2] = {&run->model.inboxes[run_draw(run, MODEL_INBOXES)],
        &run->model.inboxes[run_draw(run, MODEL_INBOXES)]};
    struct store_row rows[PUT_MAX];
    struct posted posted[PUT_MAX];
    size_t count = 1 + run_draw(run, PUT_MAX);
    run_tell(run, "put %zu for later, for %s %s", count, inboxes[0]->user, inboxes[1]->user);
    for (size_t i = 0; i < count; i++) {
        posted[i] = run_draw_put(run, inboxes[run_draw(run, 2)], &rows[i]);
        draw_times(run, &rows[i].deliver_at, &rows[i].expires_at);
    }
    struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = count};
    run_ask(run, &put.base);
    for (size_t i = 0; i < count; i++) {
        model_enter(&run->model, posted[i].inbox); /* as any put does */
        expect_kept(run, posted[i].inbox, &posted[i], &rows[i]);
    }
    store_request_finish(&put.base);
}

static void keep_for_many(struct run *run)
{
    struct model_kept kept = {.post = run_draw_post(run)};
    struct bytes users[MODEL_INBOXES + 1];
    kept.post.has_expired = false;
    draw_times(run, &kept.deliver_at, &kept.expires_at);
    kept.post.expires_at = kept.expires_at;
    struct store_audience_post request = run_make_request(&kept.post, false);
    request.deliver_at = kept.deliver_at;
    if (kept.post.kind == AUDIENCE_LIST) {
        request.user_count = run_draw_users(run, kept.post.tenant, users, kept.listed);
        request.users = users;
    }
    const struct model_post *first = model_find_post(&run->model, &kept.post);
    const struct model_kept *before = model_find_kept(&run->model, &kept.post);
    first = before != NULL ? &before->post : first;
    memcpy(kept.post.id, request.id, NOTIFICATION_ID_LEN);
    memcpy(kept.put.id, request.id, NOTIFICATION_ID_LEN);
    kept.put.content = kept.post.content;
    kept.post.n = STORE_SEQ_SCHEDULED;
    run_tell(run, "post for later to kind %d topic %u of tenant %u", kept.post.kind,
        kept.post.topic, kept.post.tenant);
    run_ask(run, &request.base);
    enum store_outcome outcome = first == NULL ? OUTCOME_SCHEDULED : OUTCOME_DUPLICATE;
    first = first == NULL ? &model_keep(&run->model, &kept)->post : first;
    MUST(run, request.outcome == outcome, "%d, not %d", request.outcome, outcome);
    MUST(run, request.n == first->n, "%lu, not %lu", request.n, first->n);
    MUST(run, memcmp(request.id, first->id, NOTIFICATION_ID_LEN) == 0, "another id");
    store_request_finish(&request.base);
}

void run_post_later(struct run *run)
{
    if (run->model.kept_count + PUT_MAX > MODEL_KEPT_MAX) {
        return;
    }
    if (run_draws(run, 3)) {
        keep_for_many(run);
    } else {
        keep_for_users(run);
    }
}

/* --- delivering --- */

static bool is_due(const struct model_kept *kept, uint32_t parts)
{
    unsigned part = slot_part(slot_of_id(kept->put.id), STORE_SCHEDULE_PARTS);
    return kept->there && kept->deliver_at <= clock_wall_ms() && (parts >> part & 1) != 0;
}

static bool is_late(const struct model_kept *kept)
{
    return kept->expires_at > 0 && kept->expires_at <= clock_wall_ms();
}

static struct model_kept *find_kept(struct run *run, const uint8_t id[NOTIFICATION_ID_LEN])
{
    for (size_t i = 0; i < run->model.kept_count; i++) {
        struct model_kept *kept = &run->model.kept[i];
        if (memcmp(kept->put.id, id, NOTIFICATION_ID_LEN) == 0) {
            return kept;
        }
    }
    run_fail(run, "something that nobody posted for later");
}

static void expect_content(
    struct run *run, const struct model_kept *kept, const struct store_scheduled *told)
{
    const struct model_content *content = &kept->put.content;
    const struct store_row *row = &told->row;
    MUST(run, bytes_eq(row->type, run_type(content->type)), "another type");
    MUST(run, bytes_eq(row->title, run_title(content->title)), "another title");
    MUST(run, bytes_eq(row->message, run_message(content->message)), "another message");
    MUST(run, bytes_eq(row->data, run_data(content->data)), "other data");
    MUST(run, row->priority == content->priority, "%d", row->priority);
    MUST(run, row->expires_at == kept->expires_at, "%lu, not %lu", row->expires_at,
        kept->expires_at);
    MUST(run, row->deliver_at == kept->deliver_at, "%lu, not %lu", row->deliver_at,
        kept->deliver_at);
    struct bytes user = kept->inbox != NULL ? bytes_str(kept->inbox->user) : BYTES("");
    unsigned tenant = kept->inbox != NULL ? kept->inbox->tenant : kept->post.tenant;
    MUST(run, bytes_eq(row->who.user, user), "another user");
    MUST(run, bytes_eq(row->who.tenant, run_tenant(tenant)), "another tenant");
    MUST(run, told->kind == (kept->inbox != NULL ? AUDIENCE_NONE : kept->post.kind), "%d",
        told->kind);
}

static int compare(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a;
    uint64_t other = *(const uint64_t *)b;
    return one < other ? -1 : one > other;
}

/* What is due is told in the order of its times, and once it has expired it is dropped. */
static void expect_due(struct run *run, const struct store_due *due)
{
    uint64_t times[MODEL_KEPT_MAX];
    size_t count = 0;
    uint64_t expired = 0;
    for (size_t i = 0; i < run->model.kept_count; i++) {
        struct model_kept *kept = &run->model.kept[i];
        if (!is_due(kept, due->parts)) {
            continue;
        }
        if (is_late(kept)) {
            kept->there = false;
            expired++;
        } else {
            times[count++] = kept->deliver_at;
        }
    }
    qsort(times, count, sizeof(times[0]), compare);
    MUST(run, due->count == (count < due->limit ? count : due->limit), "%zu of %zu are due",
        due->count, count);
    MUST(run, due->expired == expired, "%lu, not %lu", due->expired, expired);
    MUST(run, due->more || due->count == count, "and no more");
    for (size_t i = 0; i < due->count; i++) {
        const struct model_kept *kept = find_kept(run, due->items[i].row.id);
        MUST(run, is_due(kept, due->parts) && kept->deliver_at == times[i],
            "%lu at place %zu, not %lu", kept->deliver_at, i, times[i]);
        expect_content(run, kept, &due->items[i]);
    }
}

/* Put those that are for users, twice: the second time nothing is there to take. */
static void deliver_rows(struct run *run, const struct store_due *due)
{
    struct store_row rows[STORE_DUE_MAX];
    size_t count = 0;
    for (size_t i = 0; i < due->count; i++) {
        if (due->items[i].kind == AUDIENCE_NONE) {
            rows[count] = due->items[i].row;
            rows[count].created_at = run->model.now;
            rows[count].unwanted = run_draws(run, 8);
            rows[count++].digest_ms = run->usual_span;
        }
    }
    if (count == 0) {
        return;
    }
    struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = count};
    run_ask(run, &put.base);
    for (size_t i = 0; i < count; i++) {
        struct model_kept *kept = find_kept(run, due->items[0].row.id);
        for (size_t j = 0, at = 0; j < due->count && at <= i; j++) {
            kept = find_kept(run, due->items[j].row.id);
            at += kept->inbox != NULL;
        }
        struct model_row *row;
        kept->put.created_at = run->model.now;
        kept->put.expires_at = kept->expires_at;
        kept->put.unwanted = rows[i].unwanted;
        kept->put.usual_span = rows[i].digest_ms;
        model_enter(&run->model, kept->inbox);
        enum store_outcome outcome = model_deliver(kept->inbox, &kept->put, &row);
        MUST(run, rows[i].outcome == outcome, "%d, not %d", rows[i].outcome, outcome);
        run_expect_stored(run, kept->inbox, &kept->put, row, &rows[i]);
        kept->there = false;
        kept->delivered = true;
    }
    store_request_finish(&put.base);
    int status = run_try(run, &put.base);
    MUST(run, status == STATUS_FENCED, "%d: delivered twice", status);
    store_request_finish(&put.base);
}

static void deliver_post(struct run *run, const struct store_scheduled *item)
{
    struct model_kept *kept = find_kept(run, item->row.id);
    struct model_post *post = &kept->post;
    post->created_at = run->model.now;
    post->expires_at = kept->expires_at;
    post->content = kept->put.content;
    post->apart = post->content.priority == NOTIFICATION_URGENT;
    post->usual_span = run->usual_span;
    post->unwanted = run_draws(run, 8);
    struct store_audience_post request = run_make_request(post, false);
    memcpy(request.id, post->id, NOTIFICATION_ID_LEN);
    request.deliver_at = item->row.deliver_at;
    request.due = true;
    request.version = item->row.version;
    run_ask(run, &request.base);
    MUST(run, request.outcome == OUTCOME_STORED, "%d", request.outcome);
    const struct model_post *added = model_add_post(&run->model, post, kept->listed);
    MUST(run, request.n == added->n, "%lu, not %lu", request.n, added->n);
    kept->there = false;
    kept->delivered = true;
    store_request_finish(&request.base);
    int status = run_try(run, &request.base);
    MUST(run, status == STATUS_FENCED, "%d: delivered twice", status);
    store_request_finish(&request.base);
}

void run_deliver(struct run *run)
{
    struct store_due due = {.base.op = STORE_DUE,
        .parts = run_draws(run, 2) ? ALL_PARTS : 1 + (uint32_t)run_draw(run, ALL_PARTS),
        .limit = STORE_DUE_MAX,
        .max_bytes = INT64_MAX};
    bool any_late = false;
    for (size_t i = 0; i < run->model.kept_count; i++) {
        any_late |= is_due(&run->model.kept[i], due.parts) && is_late(&run->model.kept[i]);
    }
    if (!any_late && run_draws(run, 2)) { /* else which are dropped is not told */
        due.limit = 1 + (uint32_t)run_draw(run, 6);
    }
    run_tell(run, "deliver what is due of parts %x, at most %u", due.parts, due.limit);
    run_ask(run, &due.base);
    expect_due(run, &due);
    deliver_rows(run, &due);
    for (size_t i = 0; i < due.count; i++) {
        if (due.items[i].kind != AUDIENCE_NONE) {
            deliver_post(run, &due.items[i]);
        }
    }
    store_request_finish(&due.base);
}

/* --- changing --- */

static void change_kept(struct model_kept *kept, const struct store_reschedule *change,
    const struct model_content *content)
{
    uint32_t fields = change->fields;
    kept->there = !change->cancel;
    if (change->cancel) {
        return;
    }
    model_change(&kept->put.content, fields, content);
    kept->expires_at = fields & NOTIFICATION_EDIT_EXPIRES ? change->expires_at : kept->expires_at;
    kept->deliver_at = fields & NOTIFICATION_EDIT_DELIVER ? change->deliver_at : kept->deliver_at;
}

/* What was told to be due before a change cannot be stored after it. */
static void expect_fenced(struct run *run, const struct model_kept *kept, uint64_t version)
{
    struct store_row row = row_of(run_user(kept->inbox), 0, 0);
    memcpy(row.id, kept->put.id, NOTIFICATION_ID_LEN);
    row.due = true;
    row.deliver_at = kept->deliver_at;
    row.version = version;
    struct store_put put = {.base.op = STORE_PUT, .rows = &row, .count = 1};
    int status = run_try(run, &put.base);
    MUST(run, status == STATUS_FENCED, "%d", status);
    store_request_finish(&put.base);
}

void run_change_kept(struct run *run)
{
    if (run->model.kept_count == 0) {
        return;
    }
    struct model_kept *kept = &run->model.kept[run_draw(run, run->model.kept_count)];
    struct model_content content = run_draw_content(run);
    unsigned tenant = kept->inbox != NULL ? kept->inbox->tenant : kept->post.tenant;
    bool elsewhere = run_draws(run, 8);
    struct store_reschedule change = {.base.op = STORE_RESCHEDULE,
        .tenant = run_tenant(elsewhere ? 1 - tenant : tenant),
        .cancel = run_draws(run, 3),
        .fields = (uint32_t)run_draw(run, NOTIFICATION_RESCHEDULE_ALL + 1),
        .title = run_title(content.title),
        .message = run_message(content.message),
        .data = run_data(content.data),
        .priority = content.priority};
    memcpy(change.id, kept->put.id, NOTIFICATION_ID_LEN);
    draw_times(run, &change.deliver_at, &change.expires_at);
    bool found = kept->there && !elsewhere;
    run_tell(run, "%s what is for later, fields %x%s%s", change.cancel ? "cancel" : "change",
        change.fields, kept->there ? "" : ", which is not there",
        elsewhere ? ", by the other" : "");
    int status = run_try(run, &change.base);
    MUST(run, status == (found ? 0 : STATUS_NOT_FOUND), "%d", status);
    if (found) {
        uint64_t version = change.item.row.version;
        change_kept(kept, &change, &content);
        expect_content(run, kept, &change.item);
        bool changed = change.cancel || change.fields != 0;
        if (changed && kept->inbox != NULL) {
            expect_fenced(run, kept, change.cancel ? version : version - 1);
        }
    }
    store_request_finish(&change.base);
}
