/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The specification of the inbox; model_many.c has posts to many. Order of this file: states, posts
 * to one, posts for later, what users do, time, reading.
 */
#include "tests/unit/sql/model_parts.h"

#include <stdlib.h>
#include <string.h>

#include "sql/store_schedule.h"

/* --- states --- */

void model_init(struct model *model, uint64_t now)
{
    static const struct model_inbox users[MODEL_INBOXES] = {{.user = "ann"}, {.user = "ben"},
        {.user = "cid"}, {.user = "dan"}, {.tenant = 1, .user = "ann"},
        {.tenant = 1, .user = "eve"}};
    memset(model, 0, sizeof(*model));
    memcpy(model->inboxes, users, sizeof(users));
    model->now = now;
}

enum notification_state model_state(const struct model_row *row)
{
    if (row->presence != MODEL_IS_THERE) {
        return row->gone;
    }
    if (row->snoozed_until > 0) {
        return NOTIFICATION_SNOOZED;
    }
    if (row->archived_at > 0) {
        return NOTIFICATION_ARCHIVED;
    }
    if (row->read_at > 0) {
        return NOTIFICATION_READ;
    }
    return row->seen_at > 0 ? NOTIFICATION_SEEN : NOTIFICATION_UNREAD;
}

uint64_t model_count(const struct model_inbox *inbox, enum notification_state most)
{
    uint64_t count = 0;
    for (size_t i = 0; i < inbox->count; i++) {
        count += inbox->rows[i].presence == MODEL_IS_THERE && model_state(&inbox->rows[i]) <= most;
    }
    return count;
}

/* As good as new: on top of the list, told as a whole. */
void model_make_new(struct model_inbox *inbox, struct model_row *row)
{
    row->rev = row->new_rev = row->whole_rev = ++inbox->rev;
    row->seen_at = row->read_at = row->snoozed_until = 0;
}

struct model_row *model_add_row(struct model_inbox *inbox, const struct model_content *content)
{
    struct model_row *row = &inbox->rows[inbox->count++];
    *row = (struct model_row){.seq = inbox->count, .content = *content, .count = 1};
    model_make_new(inbox, row);
    return row;
}

/* Whether a user has rows of this type, as the preferences are now. */
bool model_wants(
    const struct model_inbox *inbox, const struct model_content *content, bool unwanted)
{
    enum model_wish wish = inbox->wishes[content->type];
    return wish == MODEL_WANTS || (wish == MODEL_SAYS_NOTHING && !unwanted);
}

/* --- posts to one --- */

/* The newest row of a name that is open: unread or seen. */
static struct model_row *find_open(struct model_inbox *inbox, char name)
{
    for (size_t i = inbox->count; i > 0 && name != 0; i--) {
        struct model_row *row = &inbox->rows[i - 1];
        if (row->presence == MODEL_IS_THERE && row->name == name &&
            model_state(row) <= NOTIFICATION_SEEN) {
            return row;
        }
    }
    return NULL;
}

uint64_t model_span(const struct model_inbox *inbox, unsigned type, uint64_t usual_span)
{
    return inbox->says_span[type] ? inbox->spans[type] : usual_span;
}

/* How long after its first post a digest takes in what is put; 0: none does. */
static uint64_t span_of(const struct model_inbox *inbox, const struct model_put *put)
{
    bool apart = put->name != 0 || put->content.priority == NOTIFICATION_URGENT;
    return apart ? 0 : model_span(inbox, put->content.type, put->usual_span);
}

struct model_row *model_find_digest(
    struct model_inbox *inbox, unsigned type, uint64_t span, uint64_t created_at)
{
    for (size_t i = inbox->count; i > 0 && span > 0; i--) {
        struct model_row *row = &inbox->rows[i - 1];
        if (row->presence == MODEL_IS_THERE && row->gathers && row->content.type == type &&
            model_state(row) <= NOTIFICATION_SEEN) {
            return row->created_at + span > created_at ? row : NULL;
        }
    }
    return NULL;
}

void model_gather(struct model_row *row, const struct model_gathered *gathered)
{
    if (row->digest_count == NOTIFICATION_DIGEST_MAX) {
        row->digest_count--;
        memmove(row->digest, row->digest + 1, row->digest_count * sizeof(row->digest[0]));
    }
    row->digest[row->digest_count++] = *gathered;
}

uint64_t model_last_end(uint64_t one, uint64_t other)
{
    bool stays = one == 0 || other == 0;
    return stays ? 0 : one > other ? one : other;
}

static struct model_row *store(
    struct model_inbox *inbox, const struct model_put *put, struct model_row *open)
{
    struct model_row *row = open;
    if (row == NULL) {
        row = model_add_row(inbox, &put->content);
        row->created_at = put->created_at;
        row->expires_at = put->expires_at;
        row->name = put->name;
        row->gathers = span_of(inbox, put) > 0;
        row->id_known = true;
        memcpy(row->id, put->id, NOTIFICATION_ID_LEN);
    } else {
        model_make_new(inbox, row);
        row->content = put->content;
        row->updated_at = put->created_at;
        row->expires_at =
            row->gathers ? model_last_end(row->expires_at, put->expires_at) : put->expires_at;
        row->shown = 0;
        row->resurfaced_at = 0;
        row->count++;
    }
    if (row->gathers) {
        struct model_gathered gathered = {.at = put->created_at, .content = put->content};
        memcpy(gathered.id, put->id, NOTIFICATION_ID_LEN);
        model_gather(row, &gathered);
    }
    return row;
}

enum store_outcome model_deliver(
    struct model_inbox *inbox, const struct model_put *put, struct model_row **ret_row)
{
    struct model_key *key = &inbox->keys[put->key];
    *ret_row = NULL;
    key->seq = 0;
    if (!model_wants(inbox, &put->content, put->unwanted)) {
        return OUTCOME_SUPPRESSED;
    }
    struct model_row *open = put->name != 0 ? find_open(inbox, put->name)
                                            : model_find_digest(inbox, put->content.type,
                                                  span_of(inbox, put), put->created_at);
    *ret_row = store(inbox, put, open);
    key->seq = (*ret_row)->seq;
    memcpy(key->id, (*ret_row)->id, NOTIFICATION_ID_LEN);
    return open != NULL ? OUTCOME_COLLAPSED : OUTCOME_STORED;
}

/* Of a key that was used before: what it was used for. */
static enum store_outcome repeat(
    struct model_inbox *inbox, const struct model_put *put, struct model_row **ret_row)
{
    const struct model_key *key = &inbox->keys[put->key];
    bool has_row = key->seq > 0 && key->seq != STORE_SEQ_SCHEDULED;
    *ret_row = has_row ? &inbox->rows[key->seq - 1] : NULL;
    return put->other_content == key->other_content ? OUTCOME_DUPLICATE : OUTCOME_CONFLICT;
}

static void take_key(struct model_inbox *inbox, const struct model_put *put, uint64_t seq)
{
    struct model_key *key = &inbox->keys[put->key];
    *key = (struct model_key){.used = true, .other_content = put->other_content, .seq = seq};
    memcpy(key->id, put->id, NOTIFICATION_ID_LEN);
}

enum store_outcome model_put(
    struct model_inbox *inbox, const struct model_put *put, struct model_row **ret_row)
{
    if (inbox->keys[put->key].used) {
        return repeat(inbox, put, ret_row);
    }
    take_key(inbox, put, 0);
    return model_deliver(inbox, put, ret_row);
}

void model_edit(struct model_inbox *inbox, struct model_row *row, const struct model_edit *edit)
{
    inbox->rev++;
    if (edit->erase) {
        model_remove(inbox, row, NOTIFICATION_ERASED, edit->at);
        return;
    }
    model_change(&row->content, edit->fields, &edit->content);
    row->expires_at = edit->fields & NOTIFICATION_EDIT_EXPIRES ? edit->expires_at : row->expires_at;
    row->updated_at = edit->at;
    row->rev = row->whole_rev = inbox->rev; /* state and place in lists stay */
    if (row->digest_count > 0) {
        row->digest[row->digest_count - 1].content = row->content;
    }
}

/* --- posts for later --- */

struct model_kept *model_keep(struct model *model, const struct model_kept *kept)
{
    struct model_kept *added = &model->kept[model->kept_count++];
    *added = *kept;
    added->there = true;
    if (kept->inbox != NULL) {
        take_key(kept->inbox, &kept->put, STORE_SEQ_SCHEDULED);
    }
    return added;
}

struct model_kept *model_find_kept(struct model *model, const struct model_post *like)
{
    for (size_t i = 0; i < model->kept_count; i++) {
        struct model_kept *kept = &model->kept[i];
        const struct model_post *post = &kept->post;
        if (kept->inbox == NULL && !kept->delivered && post->tenant == like->tenant &&
            post->kind == like->kind && post->topic == like->topic && post->key == like->key) {
            return kept;
        }
    }
    return NULL;
}

/* Nothing is kept for a user any more, nor is it on a list that is. */
static void forget_kept(struct model *model, struct model_inbox *inbox)
{
    for (size_t i = 0; i < model->kept_count; i++) {
        struct model_kept *kept = &model->kept[i];
        kept->there = kept->there && kept->inbox != inbox;
        kept->listed[inbox - model->inboxes] = false;
    }
}

/* --- what users do --- */

bool model_subscribe(struct model *model, struct model_inbox *inbox, unsigned topic, bool remove)
{
    if (!remove) {
        model_begin(model, inbox);
    }
    bool changed = inbox->topics[topic] == remove;
    inbox->topics[topic] = !remove;
    return changed;
}

/* Whether a verb does something to a row of this state. */
static bool may_change(enum notification_verb verb, enum notification_state state, bool bulk)
{
    bool listed = state <= NOTIFICATION_READ;
    bool snoozed = state == NOTIFICATION_SNOOZED;
    switch (verb) {
    case NOTIFICATION_MARK_SEEN:
        return state == NOTIFICATION_UNREAD;
    case NOTIFICATION_MARK_READ:
        return state <= NOTIFICATION_SEEN;
    case NOTIFICATION_MARK_UNREAD:
        return state == NOTIFICATION_READ;
    case NOTIFICATION_MARK_ARCHIVE:
    case NOTIFICATION_MARK_SNOOZE:
        return listed || (snoozed && !bulk);
    case NOTIFICATION_MARK_UNARCHIVE:
        return state == NOTIFICATION_ARCHIVED;
    case NOTIFICATION_MARK_WAKE:
        return snoozed;
    case NOTIFICATION_MARK_DELETE:
        return listed || (!bulk && state <= NOTIFICATION_SNOOZED);
    case NOTIFICATION_VERB_COUNT:
        break;
    }
    return false;
}

/* Whether a verb cannot come to what was meant any more by a row that is in this state now. */
static bool has_lost(enum notification_verb verb, enum notification_state state)
{
    bool wants_list = verb <= NOTIFICATION_MARK_UNREAD || verb == NOTIFICATION_MARK_UNARCHIVE;
    bool undone = verb == NOTIFICATION_MARK_UNREAD || verb == NOTIFICATION_MARK_SNOOZE ||
                  verb == NOTIFICATION_MARK_WAKE;
    return (state == NOTIFICATION_SNOOZED && wants_list) ||
           (state == NOTIFICATION_ARCHIVED && undone);
}

static void change_row(
    struct model_inbox *inbox, struct model_row *row, const struct model_mark *mark)
{
    row->rev = inbox->rev;
    switch (mark->verb) {
    case NOTIFICATION_MARK_SEEN:
        row->seen_at = mark->at;
        break;
    case NOTIFICATION_MARK_READ:
        row->read_at = mark->at;
        row->seen_at = row->seen_at > 0 ? row->seen_at : mark->at;
        break;
    case NOTIFICATION_MARK_UNREAD:
        row->read_at = 0;
        break;
    case NOTIFICATION_MARK_ARCHIVE:
        row->archived_at = mark->at;
        row->snoozed_until = 0;
        break;
    case NOTIFICATION_MARK_UNARCHIVE: /* whoever listed meanwhile does not have it */
        row->archived_at = 0;
        row->whole_rev = inbox->rev;
        break;
    case NOTIFICATION_MARK_SNOOZE:
        row->snoozed_until = mark->until;
        break;
    case NOTIFICATION_MARK_WAKE:
        model_wake(inbox, row, mark->at);
        break;
    case NOTIFICATION_MARK_DELETE:
        model_remove(inbox, row, NOTIFICATION_ERASED, mark->at);
        break;
    case NOTIFICATION_VERB_COUNT:
        break;
    }
}

size_t model_mark(
    struct model_inbox *inbox, const struct model_mark *mark, bool ret_late[MODEL_ROWS_MAX])
{
    uint64_t before = inbox->rev;
    size_t changed = 0;
    for (size_t i = 0; i < inbox->count; i++) {
        struct model_row *row = &inbox->rows[i];
        enum notification_state state = model_state(row);
        bool is_late = row->rev > mark->if_rev;
        bool counts = may_change(mark->verb, state, mark->bulk) ||
                      (is_late && mark->named && has_lost(mark->verb, state));
        bool is_target = row->presence == MODEL_IS_THERE && mark->meant[i] && counts;
        ret_late[i] = is_target && is_late;
        if (is_target && !is_late) {
            inbox->rev = before + 1; /* one for all that change */
            change_row(inbox, row, mark);
            changed++;
        }
    }
    return changed;
}

void model_forget(struct model *model, struct model_inbox *inbox)
{
    inbox->missing_count = 0;
    forget_kept(model, inbox);
    memset(inbox->keys, 0, sizeof(inbox->keys));
    if (!inbox->exists) {
        return;
    }
    for (size_t i = 0; i < inbox->count; i++) {
        inbox->rows[i].presence = MODEL_IS_FORGOTTEN;
        inbox->rows[i].gone = NOTIFICATION_ERASED;
    }
    memset(inbox->held, 0, sizeof(inbox->held));
    memset(inbox->topics, 0, sizeof(inbox->topics));
    memset(inbox->wishes, 0, sizeof(inbox->wishes));
    memset(inbox->says_span, 0, sizeof(inbox->says_span));
    inbox->preferences[0] = '\0';
    inbox->preference_rev += inbox->preference_rev > 0;
    inbox->floor = ++inbox->rev;
}

/* --- time --- */

void model_remove(
    struct model_inbox *inbox, struct model_row *row, enum notification_state how, uint64_t at)
{
    row->presence = MODEL_IS_BURIED;
    row->gone = how;
    row->gone_at = at;
    row->rev = inbox->rev;
}

void model_wake(struct model_inbox *inbox, struct model_row *row, uint64_t at)
{
    row->rev = row->new_rev = row->whole_rev = inbox->rev;
    row->seen_at = row->read_at = row->snoozed_until = 0;
    row->resurfaced_at = at;
}

void model_drop_tombstones(struct model *model, uint64_t until)
{
    for (size_t i = 0; i < MODEL_INBOXES; i++) {
        struct model_inbox *inbox = &model->inboxes[i];
        for (size_t j = 0; j < inbox->count; j++) {
            struct model_row *row = &inbox->rows[j];
            if (row->presence == MODEL_IS_BURIED && row->gone_at <= until) {
                row->presence = MODEL_IS_FORGOTTEN;
                inbox->floor = row->rev > inbox->floor ? row->rev : inbox->floor;
            }
        }
    }
}

void model_find_overdue(const struct model *model, const struct model_inbox *inbox,
    const struct model_rule *rule, bool ret_goes[MODEL_ROWS_MAX])
{
    const struct model_filter all = {.states = UINT32_MAX};
    const struct model_row *rows[MODEL_ROWS_MAX];
    memset(ret_goes, 0, MODEL_ROWS_MAX * sizeof(*ret_goes));
    for (size_t i = model_list(inbox, &all, rows); i > 0; i--) { /* the oldest first */
        const struct model_row *row = rows[i - 1];
        uint64_t at = model_later(row->created_at, row->resurfaced_at);
        at = row->count > 1 ? model_later(at, row->updated_at) : at;
        bool old = rule->age_ms > 0 && at + rule->age_ms <= model->now;
        bool beyond = rule->rows > 0 && i > rule->rows;
        if (row->snoozed_until == 0 && !old && !beyond) {
            return;
        }
        ret_goes[row->seq - 1] = row->snoozed_until == 0;
    }
}

/* --- reading --- */

bool model_resyncs(const struct model_inbox *inbox, uint64_t rev)
{
    return rev > inbox->rev || rev < inbox->floor;
}

bool model_is_item(const struct model_row *row, uint64_t rev, uint64_t through)
{
    bool renewed = row->new_rev > rev && row->new_rev <= through;
    bool back = row->new_rev <= rev && row->whole_rev > rev && row->whole_rev <= through;
    return row->presence == MODEL_IS_THERE && (renewed || back);
}

bool model_is_change(const struct model_row *row, uint64_t rev, uint64_t through)
{
    bool changed = row->rev > rev && row->rev <= through;
    bool had_before = row->new_rev <= rev && row->whole_rev <= rev;
    return changed &&
           (row->presence == MODEL_IS_BURIED || (row->presence == MODEL_IS_THERE && had_before));
}

static bool is_meant(const struct model_filter *filter, const struct model_row *row)
{
    uint32_t states = filter->states ? filter->states : NOTIFICATION_LISTED_STATES;
    bool priority =
        filter->priorities == 0 || (filter->priorities >> row->content.priority & 1) != 0;
    bool type = filter->types == 0 || (filter->types >> row->content.type & 1) != 0;
    return row->presence == MODEL_IS_THERE && (states >> model_state(row) & 1) != 0 && priority &&
           type && row->created_at >= filter->from &&
           (filter->to == 0 || row->created_at < filter->to);
}

static int compare(uint64_t a, uint64_t b)
{
    return a < b ? 1 : a > b ? -1 : 0;
}

/* Newest first. */
static int compare_rows(const void *a, const void *b)
{
    const struct model_row *one = *(const struct model_row *const *)a;
    const struct model_row *other = *(const struct model_row *const *)b;
    int order = compare(one->new_rev, other->new_rev);
    return order != 0 ? order : compare(one->seq, other->seq);
}

/* The urgent ones first. */
static int compare_priorities(const void *a, const void *b)
{
    const struct model_row *one = *(const struct model_row *const *)a;
    const struct model_row *other = *(const struct model_row *const *)b;
    int order = compare(one->content.priority, other->content.priority);
    return order != 0 ? order : compare_rows(a, b);
}

size_t model_list(const struct model_inbox *inbox, const struct model_filter *filter,
    const struct model_row *ret_rows[MODEL_ROWS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < inbox->count; i++) {
        if (is_meant(filter, &inbox->rows[i])) {
            ret_rows[count++] = &inbox->rows[i];
        }
    }
    qsort(ret_rows, count, sizeof(*ret_rows),
        filter->by_priority ? compare_priorities : compare_rows);
    for (size_t i = 0; filter->ascending && i < count / 2; i++) {
        const struct model_row *row = ret_rows[i];
        ret_rows[i] = ret_rows[count - 1 - i];
        ret_rows[count - 1 - i] = row;
    }
    return count;
}
