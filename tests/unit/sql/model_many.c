/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of posts to many. Order of this file: making rows, taking back, other content,
 * posting, the end.
 */
#include "tests/unit/sql/model_many.h"

#include <string.h>

#include "tests/unit/sql/model_parts.h"

/* --- making rows --- */

static void add_missing(struct model_inbox *inbox, size_t post)
{
    size_t at = inbox->missing_count++;
    for (; at > 0 && inbox->missing[at - 1] > post; at--) {
        inbox->missing[at] = inbox->missing[at - 1];
    }
    inbox->missing[at] = post;
}

static void drop_missing(struct model_inbox *inbox, size_t post)
{
    size_t kept = 0;
    for (size_t i = 0; i < inbox->missing_count; i++) {
        if (inbox->missing[i] != post) {
            inbox->missing[kept++] = inbox->missing[i];
        }
    }
    inbox->missing_count = kept;
}

void model_begin(struct model *model, struct model_inbox *inbox)
{
    for (size_t i = 0; i < model->post_count && !inbox->exists; i++) {
        const struct model_post *post = &model->posts[i];
        if (post->tenant == inbox->tenant && post->include_new && !post->dropped) {
            add_missing(inbox, i + 1);
        }
    }
    inbox->exists = true;
}

/* The row of a post, or the digest that it joins. */
static void make_row(struct model *model, struct model_inbox *inbox, size_t which)
{
    const struct model_post *post = &model->posts[which - 1];
    unsigned type = post->content.type;
    uint64_t span = post->apart ? 0 : model_span(inbox, type, post->usual_span);
    struct model_row *row = model_find_digest(inbox, type, span, post->created_at);
    if (row == NULL) {
        row = model_add_row(inbox, &post->content);
        row->post = which;
        row->created_at = post->created_at;
        row->updated_at = post->updated_at;
        row->expires_at = post->expires_at;
        row->gathers = span > 0;
    } else {
        model_make_new(inbox, row);
        row->content = post->content;
        row->updated_at =
            model_later(row->updated_at, model_later(post->created_at, post->updated_at));
        row->expires_at = model_last_end(row->expires_at, post->expires_at);
        row->resurfaced_at = 0;
        row->count++;
    }
    row->shown = which;
    inbox->held[which - 1] = (struct model_held){.seq = row->seq, .edit = post->edits};
    if (row->gathers) {
        struct model_gathered gathered = {
            .post = which, .at = post->created_at, .content = post->content};
        memcpy(gathered.id, post->id, NOTIFICATION_ID_LEN);
        model_gather(row, &gathered);
    }
}

void model_enter(struct model *model, struct model_inbox *inbox)
{
    model_begin(model, inbox);
    for (size_t i = 0; i < inbox->missing_count; i++) {
        const struct model_post *post = &model->posts[inbox->missing[i] - 1];
        bool wanted = model_wants(inbox, &post->content, post->unwanted);
        if (!post->retracted && !post->has_expired && !post->ended && wanted) {
            make_row(model, inbox, inbox->missing[i]);
        }
    }
    inbox->missing_count = 0;
}

struct model_row *model_find_holder(struct model_inbox *inbox, size_t post)
{
    uint64_t seq = inbox->held[post - 1].seq;
    struct model_row *row = seq > 0 ? &inbox->rows[seq - 1] : NULL;
    return row != NULL && row->presence == MODEL_IS_THERE ? row : NULL;
}

/* --- taking back --- */

bool model_is_retracted(const struct model *model, const struct model_row *row)
{
    return row->post > 0 && row->count == 1 && model->posts[row->post - 1].retracted;
}

/* Whether the row holds the post, which was taken back. */
static bool has_lost(const struct model *model, const struct model_inbox *inbox,
    const struct model_row *row, size_t post)
{
    return post > 0 && inbox->held[post - 1].seq == row->seq && model->posts[post - 1].retracted;
}

size_t model_count_lost(
    const struct model *model, const struct model_inbox *inbox, const struct model_row *row)
{
    size_t count = 0;
    for (size_t i = 1; i <= model->post_count; i++) {
        count += has_lost(model, inbox, row, i);
    }
    return count;
}

bool model_goes_on(
    const struct model *model, const struct model_inbox *inbox, const struct model_row *row)
{
    bool remembers = false;
    for (size_t i = 0; i < row->digest_count; i++) {
        remembers |= !has_lost(model, inbox, row, row->digest[i].post);
    }
    return remembers && row->count > model_count_lost(model, inbox, row);
}

/* What the row remembers of the newest post is what it shows. */
static void show_newest(const struct model *model, struct model_row *row)
{
    const struct model_gathered *newest = &row->digest[row->digest_count - 1];
    bool known = newest->post > 0 && !model->posts[newest->post - 1].dropped;
    row->content = newest->content;
    row->shown = known ? newest->post : 0;
    row->updated_at = newest->at;
}

void model_take_out(const struct model *model, struct model_inbox *inbox, struct model_row *row)
{
    size_t kept = 0;
    bool shown = false;
    for (size_t i = 0; i < row->digest_count; i++) {
        bool lost = has_lost(model, inbox, row, row->digest[i].post);
        row->digest[kept] = row->digest[i];
        kept += !lost;
        shown = lost; /* the last one is what it shows */
    }
    row->digest_count = kept;
    row->count -= model_count_lost(model, inbox, row);
    row->post = has_lost(model, inbox, row, row->post) ? 0 : row->post;
    if (shown) {
        show_newest(model, row);
    }
    for (size_t i = 1; i <= model->post_count; i++) {
        inbox->held[i - 1].seq = has_lost(model, inbox, row, i) ? 0 : inbox->held[i - 1].seq;
    }
    row->rev = row->whole_rev = inbox->rev; /* state and place in lists stay */
}

/* All that goes on without what was taken back does so at one rev, all that goes does at the next,
 * or (mends_at_once) at the same; the time is the store's own, long before the model's. */
static void take_back(struct model *model, struct model_inbox *inbox)
{
    uint64_t before = inbox->rev;
    for (unsigned goes = 0; goes < 2; goes++) {
        uint64_t rev = model->mends_at_once ? before : inbox->rev;
        for (size_t i = 1; i <= model->post_count; i++) {
            struct model_row *row =
                model->posts[i - 1].retracted ? model_find_holder(inbox, i) : NULL;
            if (row == NULL || model_goes_on(model, inbox, row) == (goes > 0)) {
                continue;
            }
            inbox->rev = rev + 1;
            if (goes > 0) {
                model_remove(inbox, row, NOTIFICATION_ERASED, 1);
            } else {
                model_take_out(model, inbox, row);
            }
        }
    }
}

/* --- other content --- */

void model_change(struct model_content *content, uint32_t fields, const struct model_content *other)
{
    content->title = fields & NOTIFICATION_EDIT_TITLE ? other->title : content->title;
    content->message = fields & NOTIFICATION_EDIT_MESSAGE ? other->message : content->message;
    content->data = fields & NOTIFICATION_EDIT_DATA ? other->data : content->data;
    content->priority = fields & NOTIFICATION_EDIT_PRIORITY ? other->priority : content->priority;
}

void model_revise(struct model_post *post, const struct model_edit *edit)
{
    bool expires = (edit->fields & NOTIFICATION_EDIT_EXPIRES) != 0;
    model_change(&post->content, edit->fields, &edit->content);
    post->expires_at = expires ? edit->expires_at : post->expires_at;
    post->updated_at = edit->at;
    post->edits++;
    for (unsigned i = 0; i < MODEL_FIELDS; i++) {
        post->field_edits[i] = edit->fields >> i & 1 ? post->edits : post->field_edits[i];
    }
}

static bool is_behind(const struct model_post *post, const struct model_held *held)
{
    return held->edit < post->edits && !post->retracted;
}

size_t model_count_behind(
    const struct model *model, const struct model_inbox *inbox, const struct model_row *row)
{
    size_t count = 0;
    for (size_t i = 0; i < model->post_count; i++) {
        const struct model_held *held = &inbox->held[i];
        count += held->seq == row->seq && is_behind(&model->posts[i], held);
    }
    return row->presence == MODEL_IS_THERE ? count : 0;
}

/* What the digest remembers of a post, and what it shows if that is its newest. */
static void renew_digest(
    struct model_row *row, size_t which, const struct model_post *post, uint32_t fields)
{
    for (size_t i = 0; i < row->digest_count; i++) {
        if (row->digest[i].post != which) {
            continue;
        }
        model_change(&row->digest[i].content, fields, &post->content);
        if (i + 1 == row->digest_count) {
            model_change(&row->content, fields, &post->content);
        }
    }
    if (fields & NOTIFICATION_EDIT_EXPIRES) {
        row->expires_at =
            row->count == 1 ? post->expires_at : model_last_end(row->expires_at, post->expires_at);
    }
    row->updated_at = model_later(row->updated_at, post->updated_at);
}

static void renew_post(
    const struct model *model, struct model_inbox *inbox, struct model_row *row, size_t which)
{
    const struct model_post *post = &model->posts[which - 1];
    struct model_held *held = &inbox->held[which - 1];
    uint32_t fields = 0;
    for (unsigned i = 0; i < MODEL_FIELDS; i++) {
        fields |= post->field_edits[i] > held->edit ? 1u << i : 0;
    }
    held->edit = post->edits;
    if (row->gathers) {
        renew_digest(row, which, post, fields);
        return;
    }
    model_change(&row->content, fields, &post->content);
    row->expires_at = fields & NOTIFICATION_EDIT_EXPIRES ? post->expires_at : row->expires_at;
    row->updated_at = post->updated_at;
}

void model_renew(const struct model *model, struct model_inbox *inbox, struct model_row *row)
{
    for (size_t i = 0; i < model->post_count; i++) {
        const struct model_held *held = &inbox->held[i];
        if (held->seq == row->seq && is_behind(&model->posts[i], held)) {
            renew_post(model, inbox, row, i + 1);
        }
    }
    row->rev = row->whole_rev = inbox->rev; /* state and place in lists stay */
}

/* All that has other content gets it at one rev: the one that comes after `rev`. */
static void renew_rows(struct model *model, struct model_inbox *inbox, uint64_t rev)
{
    for (size_t i = 0; i < model->post_count; i++) {
        bool behind = is_behind(&model->posts[i], &inbox->held[i]);
        struct model_row *row = behind ? model_find_holder(inbox, i + 1) : NULL;
        if (row != NULL) {
            inbox->rev = rev + 1;
            model_renew(model, inbox, row);
        }
    }
}

void model_read(struct model *model, struct model_inbox *inbox, bool comes)
{
    bool is_named = inbox->missing_count > 0;
    if (inbox->exists || comes || is_named) {
        model_enter(model, inbox);
        uint64_t before = inbox->rev;
        take_back(model, inbox);
        renew_rows(model, inbox, model->mends_at_once ? before : inbox->rev);
    }
}

/* --- posting --- */

struct model_post *model_find_post(struct model *model, const struct model_post *like)
{
    for (size_t i = 0; i < model->post_count; i++) {
        struct model_post *post = &model->posts[i];
        if (post->tenant == like->tenant && post->kind == like->kind &&
            post->topic == like->topic && post->key == like->key) {
            return post;
        }
    }
    return NULL;
}

struct model_post *model_add_post(
    struct model *model, const struct model_post *post, const bool listed[MODEL_INBOXES])
{
    struct model_post *added = &model->posts[model->post_count++];
    *added = *post;
    added->n = ++model->heads[post->tenant];
    for (size_t i = 0; i < MODEL_INBOXES; i++) {
        struct model_inbox *inbox = &model->inboxes[i];
        bool is_member = post->kind == AUDIENCE_ALL     ? inbox->exists
                         : post->kind == AUDIENCE_TOPIC ? inbox->topics[post->topic]
                                                        : listed[i];
        if (is_member && inbox->tenant == post->tenant) {
            add_missing(inbox, model->post_count);
        }
    }
    return added;
}

/* --- the end --- */

bool model_is_old(const struct model *model, const struct model_post *post, uint64_t created_until)
{
    bool expired = post->expires_at > 0 && post->expires_at <= model->now;
    return expired || post->created_at <= created_until;
}

void model_drop_post(struct model *model, struct model_post *post)
{
    post->dropped = true;
    for (size_t i = 0; i < MODEL_INBOXES; i++) {
        drop_missing(&model->inboxes[i], (size_t)(post - model->posts) + 1);
    }
}

static bool has_holder(struct model *model, size_t post)
{
    bool any = false;
    for (size_t i = 0; i < MODEL_INBOXES; i++) {
        any |= model_find_holder(&model->inboxes[i], post) != NULL;
    }
    return any;
}

void model_end_posts(struct model *model, const struct model_rule rules[MODEL_TENANTS],
    bool ret_unused[MODEL_POSTS_MAX])
{
    bool young[MODEL_TENANTS] = {0};
    memset(ret_unused, 0, MODEL_POSTS_MAX * sizeof(*ret_unused));
    for (size_t i = 0; i < model->post_count; i++) {
        struct model_post *post = &model->posts[i];
        uint64_t age_ms = rules[post->tenant].age_ms;
        bool stays = age_ms == 0 || post->created_at + age_ms > model->now;
        young[post->tenant] |= !post->dropped && stays;
        if (!post->dropped && !young[post->tenant]) {
            ret_unused[i] = post->ended && !has_holder(model, i + 1);
            post->ended = true;
        }
    }
}
