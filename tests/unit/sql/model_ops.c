/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random operations on a store and the model. Order of this file: posts, posts to many, marks, the
 * dice.
 */
#include "tests/unit/sql/model_ops.h"

#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/store_audience.h"
#include "sql/store_edit.h"
#include "tests/unit/sql/audience.h"

enum {
    PUT_MAX = 4,
    BURST = 12, /* more of a type than a digest remembers */
    IDS_MAX = 5,
};

static struct model_inbox *draw_inbox(struct run *run)
{
    return &run->model.inboxes[run_draw(run, MODEL_INBOXES)];
}

struct model_content run_draw_content(struct run *run)
{
    return (struct model_content){.type = (unsigned)run_draw(run, MODEL_TYPES),
        .title = (unsigned)run_draw(run, 4),
        .message = (unsigned)run_draw(run, 4),
        .data = (unsigned)run_draw(run, 3),
        .priority = (enum notification_priority)run_draw(run, NOTIFICATION_PRIORITY_COUNT)};
}

/* --- posts --- */

struct posted run_draw_put(struct run *run, struct model_inbox *inbox, struct store_row *ret_row)
{
    static const char names[] = {0, 0, 'a', 'b'};
    bool repeats = run_draws(run, 4) && inbox->key_count > 0;
    struct posted posted = {.inbox = inbox,
        .before = inbox->rev,
        .put = {.key = repeats ? run_draw(run, inbox->key_count) : inbox->key_count,
            .content = run_draw_content(run),
            .unwanted = run_draws(run, 8),
            .name = names[run_draw(run, ARRAY_LEN(names))],
            .usual_span = run->usual_span,
            .created_at = run->model.now,
            .expires_at = run_draws(run, 4) ? run->model.now + 1 + run_draw(run, 2000) : 0}};
    struct model_put *put = &posted.put;
    inbox->key_count += !repeats;
    put->other_content = repeats && run_draws(run, 4);
    *ret_row = row_of(run_user(inbox), put->key, put->key + (put->other_content ? 1000000 : 0));
    ret_row->type = run_type(put->content.type);
    ret_row->title = run_title(put->content.title);
    ret_row->message = run_message(put->content.message);
    ret_row->data = run_data(put->content.data);
    ret_row->priority = put->content.priority;
    ret_row->unwanted = put->unwanted;
    ret_row->digest_ms = put->usual_span;
    ret_row->created_at = put->created_at;
    ret_row->expires_at = put->expires_at;
    ret_row->collapse = bytes_of(&names[put->name == 'a' ? 2 : 3], put->name != 0);
    give_row(ret_row, run_user(inbox));
    memcpy(put->id, ret_row->id, NOTIFICATION_ID_LEN);
    return posted;
}

/* What a repeat is told: the first one's id and number, and where that row is now. */
void run_expect_repeat(struct run *run, const struct posted *posted, const struct store_row *told,
    const struct model_row *first)
{
    const struct model_key *key = &posted->inbox->keys[posted->put.key];
    bool there = first != NULL && first->presence == MODEL_IS_THERE;
    MUST(run, told->seq == key->seq, "%lu, not %lu", told->seq, key->seq);
    MUST(run, memcmp(told->id, key->id, NOTIFICATION_ID_LEN) == 0, "another id");
    MUST(run, (told->rev != 0) == there, "rev %lu", told->rev);
    bool same = there && first->rev <= posted->before; /* what this request did may be left out */
    MUST(run, !same || told->rev == first->rev, "rev %lu, not %lu", told->rev, first->rev);
}

void run_expect_stored(struct run *run, struct model_inbox *inbox, const struct model_put *put,
    struct model_row *row, const struct store_row *told)
{
    if (row == NULL) {
        MUST(run, told->seq == 0 && told->rev == 0, "seq %lu", told->seq);
        return;
    }
    if (!row->id_known) { /* a digest that a post to many began */
        memcpy(row->id, told->id, NOTIFICATION_ID_LEN);
        row->id_known = true;
    }
    memcpy(inbox->keys[put->key].id, row->id, NOTIFICATION_ID_LEN);
    MUST(run, memcmp(told->id, row->id, NOTIFICATION_ID_LEN) == 0, "another id");
    MUST(run, told->seq == row->seq, "%lu, not %lu", told->seq, row->seq);
    MUST(run, told->rev == row->rev, "%lu, not %lu", told->rev, row->rev);
    MUST(run, told->count == row->count, "%lu, not %lu", told->count, row->count);
    MUST(run, told->first_at == row->created_at, "%lu", told->first_at);
    MUST(run, told->till == row->expires_at, "%lu, not %lu", told->till, row->expires_at);
    MUST(run, told->head == inbox->count, "%lu, not %zu", told->head, inbox->count);
    MUST(run, told->unread == model_count(inbox, NOTIFICATION_SEEN), "%lu", told->unread);
    MUST(run, told->unseen == model_count(inbox, NOTIFICATION_UNREAD), "%lu", told->unseen);
    run_expect_digest(run, row, told->digest);
}

static void expect_put(struct run *run, const struct posted *posted, const struct store_row *told)
{
    struct model_row *row;
    enum store_outcome outcome = model_put(posted->inbox, &posted->put, &row);
    MUST(run, told->outcome == outcome, "%d, not %d", told->outcome, outcome);
    if (outcome == OUTCOME_DUPLICATE || outcome == OUTCOME_CONFLICT) {
        run_expect_repeat(run, posted, told, row);
    } else {
        run_expect_stored(run, posted->inbox, &posted->put, row, told);
    }
}

static void post_to_users(struct run *run)
{
    struct model_inbox *inboxes[2] = {draw_inbox(run), draw_inbox(run)};
    struct store_row rows[BURST];
    struct posted posted[BURST];
    bool bursts = run_draws(run, 20);
    size_t count = bursts ? BURST : 1 + run_draw(run, PUT_MAX);
    run_tell(run, "put %zu for %s %s", count, inboxes[0]->user, inboxes[1]->user);
    for (size_t i = 0; i < count; i++) {
        posted[i] = run_draw_put(run, inboxes[bursts ? 0 : run_draw(run, 2)], &rows[i]);
        if (bursts) {
            posted[i].put.content.type = posted[0].put.content.type;
            rows[i].type = rows[0].type;
        }
    }
    struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = count};
    run_ask(run, &put.base);
    for (size_t i = 0; i < count; i++) {
        model_enter(&run->model, posted[i].inbox);
        expect_put(run, &posted[i], &rows[i]);
    }
    store_request_finish(&put.base);
}

/* A row whose id is known, also of those that are gone; NULL: there is none. */
static struct model_row *draw_row(struct run *run, struct model_inbox *inbox)
{
    uint64_t at = run_draw(run, inbox->count + 1);
    bool any = at < inbox->count && inbox->rows[at].id_known;
    return any ? &inbox->rows[at] : NULL;
}

static void expect_edited(struct run *run, struct model_inbox *inbox, struct model_row *row,
    const struct model_edit *change, const struct store_edit *edit)
{
    if (model_count_behind(&run->model, inbox, row) >
        0) { /* what its posts were given comes first */
        inbox->rev++;
        model_renew(&run->model, inbox, row);
    }
    if (!edit->erase) { /* what is taken back is told as it was */
        model_edit(inbox, row, change);
    }
    MUST(run, edit->item.seq == row->seq, "%lu", edit->item.seq);
    MUST(run, bytes_eq(edit->item.title, run_title(row->content.title)), "another title");
    if (edit->erase) {
        model_edit(inbox, row, change);
    }
    run_expect_position(run, inbox, &edit->position);
}

/* One row, by its poster: other content, or taken back. */
static void edit_row(struct run *run)
{
    struct model_inbox *inbox = draw_inbox(run);
    struct model_row *row = draw_row(run, inbox);
    bool elsewhere = run_draws(run, 8);
    struct model_edit change = {.erase = run_draws(run, 2),
        .fields = 1 + (uint32_t)run_draw(run, NOTIFICATION_EDIT_ALL),
        .content = run_draw_content(run),
        .expires_at = run_draws(run, 2) ? run->model.now + 1 + run_draw(run, 2000) : 0,
        .at = run->model.now};
    struct store_edit edit = {.base.op = STORE_EDIT,
        .tenant = run_tenant(elsewhere ? 1 - inbox->tenant : inbox->tenant),
        .erase = change.erase,
        .fields = change.fields,
        .title = run_title(change.content.title),
        .message = run_message(change.content.message),
        .data = run_data(change.content.data),
        .priority = change.content.priority,
        .expires_at = change.expires_at,
        .at = change.at};
    if (row != NULL) {
        memcpy(edit.id, row->id, NOTIFICATION_ID_LEN);
    }
    run_tell(run, "%s seq %lu of %s%s", edit.erase ? "take back" : "edit", row ? row->seq : 0,
        inbox->user, elsewhere ? ", by the other tenant" : "");
    bool found = row != NULL && row->presence == MODEL_IS_THERE && !elsewhere &&
                 !model_is_retracted(&run->model, row);
    int status = run_try(run, &edit.base);
    MUST(run, status == (found ? 0 : STATUS_NOT_FOUND), "%d", status);
    if (found) {
        expect_edited(run, inbox, row, &change, &edit);
    }
    store_request_finish(&edit.base);
}

/* --- posts to many --- */

struct model_post run_draw_post(struct run *run)
{
    struct model_post post = {.tenant = (unsigned)run_draw(run, MODEL_TENANTS),
        .kind = (enum notification_audience)(AUDIENCE_ALL + run_draw(run, 3)),
        .key = (unsigned)run_draw(run, 60),
        .content = run_draw_content(run),
        .unwanted = run_draws(run, 8),
        .created_at = run->model.now,
        .has_expired = run_draws(run, 12)};
    post.apart = post.content.priority == NOTIFICATION_URGENT;
    post.usual_span = run->usual_span;
    post.topic = post.kind == AUDIENCE_TOPIC ? (unsigned)run_draw(run, MODEL_TOPICS) : 0;
    post.include_new = post.kind == AUDIENCE_ALL && run_draws(run, 3);
    post.expires_at = post.has_expired    ? 1
                      : run_draws(run, 3) ? post.created_at + 1 + run_draw(run, 3000)
                                          : 0;
    return post;
}

/* Some users of a tenant, one of them twice; `ret_listed` by inbox. */
size_t run_draw_users(struct run *run, unsigned tenant, struct bytes ret_users[MODEL_INBOXES],
    bool ret_listed[MODEL_INBOXES])
{
    size_t count = 0;
    memset(ret_listed, 0, MODEL_INBOXES * sizeof(*ret_listed));
    for (size_t i = 0; i < MODEL_INBOXES; i++) {
        const struct model_inbox *inbox = &run->model.inboxes[i];
        if (inbox->tenant == tenant && (run_draws(run, 2) || count == 0)) {
            ret_users[count++] = bytes_str(inbox->user);
            ret_listed[i] = true;
        }
    }
    ret_users[count] = ret_users[0];
    return count + (count < MODEL_INBOXES && run_draws(run, 2));
}

static bool has_subscriber(const struct model *model, const struct model_post *post)
{
    bool any = false;
    for (size_t i = 0; i < MODEL_INBOXES; i++) {
        any |= model->inboxes[i].tenant == post->tenant && model->inboxes[i].topics[post->topic];
    }
    return any;
}

struct store_audience_post run_make_request(const struct model_post *post, bool other_content)
{
    const char *topic = post->kind == AUDIENCE_TOPIC ? run_topic(post->topic).at : NULL;
    struct store_audience_post request = post_of(topic, post->key);
    request.content_hash[0] ^= other_content;
    request.tenant = run_tenant(post->tenant);
    request.kind = post->kind;
    request.include_new = post->include_new;
    request.type = run_type(post->content.type);
    request.title = run_title(post->content.title);
    request.message = run_message(post->content.message);
    request.data = run_data(post->content.data);
    request.priority = post->content.priority;
    request.unwanted = post->unwanted;
    request.digest_ms = post->usual_span;
    request.created_at = post->created_at;
    request.expires_at = post->expires_at;
    return request;
}

static void post_to_many(struct run *run)
{
    struct model_post post = run_draw_post(run);
    struct model_post *first = model_find_post(&run->model, &post);
    struct model_kept *kept = model_find_kept(&run->model, &post);
    first = kept != NULL ? &kept->post : first;
    bool other_content = first != NULL && run_draws(run, 3);
    struct store_audience_post request = run_make_request(&post, other_content);
    struct bytes users[MODEL_INBOXES + 1];
    bool listed[MODEL_INBOXES] = {0};
    if (post.kind == AUDIENCE_LIST) {
        request.user_count = run_draw_users(run, post.tenant, users, listed);
        request.users = users;
    }
    memcpy(post.id, request.id, NOTIFICATION_ID_LEN);
    run_tell(run, "post to kind %d topic %u of tenant %u%s", post.kind, post.topic, post.tenant,
        post.include_new ? ", new ones too" : "");
    run_ask(run, &request.base);
    enum store_outcome outcome = first == NULL   ? OUTCOME_STORED
                                 : other_content ? OUTCOME_CONFLICT
                                                 : OUTCOME_DUPLICATE;
    MUST(run, request.outcome == outcome, "%d, not %d", request.outcome, outcome);
    if (first == NULL) {
        bool nobody = post.kind == AUDIENCE_TOPIC && !has_subscriber(&run->model, &post);
        MUST(run, request.nobody == nobody, "%d", request.nobody);
        first = model_add_post(&run->model, &post, listed);
    }
    MUST(run, request.n == first->n, "%lu, not %lu", request.n, first->n);
    MUST(run, memcmp(request.id, first->id, NOTIFICATION_ID_LEN) == 0, "another id");
    store_request_finish(&request.base);
}

static void take_back_post(struct run *run)
{
    if (run->model.post_count == 0) {
        return;
    }
    struct model_post *post = &run->model.posts[run_draw(run, run->model.post_count)];
    bool elsewhere = run_draws(run, 8);
    struct store_retract retract = {.base.op = STORE_RETRACT,
        .tenant = run_tenant(elsewhere ? 1 - post->tenant : post->tenant),
        .only_find = run_draws(run, 4)};
    memcpy(retract.id, post->id, NOTIFICATION_ID_LEN);
    run_tell(run, "%s post %lu of tenant %u%s", retract.only_find ? "find" : "take back", post->n,
        post->tenant, elsewhere ? ", by the other" : "");
    bool found = !post->retracted && !post->dropped && !elsewhere;
    int status = run_try(run, &retract.base);
    MUST(run, status == (found ? 0 : STATUS_NOT_FOUND), "%d", status);
    if (found) {
        MUST(run, retract.n == post->n && retract.kind == post->kind, "%lu", retract.n);
        post->retracted = !retract.only_find;
    }
    store_request_finish(&retract.base);
}

static void change_topic(struct run *run)
{
    unsigned tenant = (unsigned)run_draw(run, MODEL_TENANTS);
    unsigned topic = (unsigned)run_draw(run, MODEL_TOPICS);
    struct bytes users[MODEL_INBOXES + 1];
    bool listed[MODEL_INBOXES];
    size_t count = run_draw_users(run, tenant, users, listed);
    struct store_subscribe subscribe = {.base.op = STORE_SUBSCRIBE,
        .tenant = run_tenant(tenant),
        .topic = run_topic(topic),
        .users = users,
        .user_count = count,
        .remove = run_draw(run, 5) < 2};
    run_tell(run, "%s %zu of tenant %u, topic %u", subscribe.remove ? "unsubscribe" : "subscribe",
        count, tenant, topic);
    run_ask(run, &subscribe.base);
    uint64_t changed = 0;
    for (size_t i = 0; i < MODEL_INBOXES; i++) {
        changed += listed[i] &&
                   model_subscribe(&run->model, &run->model.inboxes[i], topic, subscribe.remove);
    }
    MUST(run, subscribe.changed == changed, "%lu, not %lu", subscribe.changed, changed);
    MUST(run, subscribe.full == 0, "%lu", subscribe.full);
    store_request_finish(&subscribe.base);
}

/* --- marks --- */

/* Name some rows, one more than once, some that are gone, one that nobody knows; how many. */
static size_t draw_ids(struct run *run, struct model_inbox *inbox,
    uint8_t (*ret_ids)[NOTIFICATION_ID_LEN], bool ret_meant[MODEL_ROWS_MAX])
{
    size_t count = 1 + run_draw(run, IDS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct model_row *row = draw_row(run, inbox);
        memset(ret_ids[i], 0xee, NOTIFICATION_ID_LEN);
        if (row != NULL) {
            memcpy(ret_ids[i], row->id, NOTIFICATION_ID_LEN);
            ret_meant[row->seq - 1] = true;
        }
    }
    return count;
}

/* Up to a seq, or all; of one type, or any. */
static void draw_bulk(struct run *run, struct model_inbox *inbox, struct store_mark *mark,
    bool ret_meant[MODEL_ROWS_MAX])
{
    unsigned type = (unsigned)run_draw(run, 2 * MODEL_TYPES);
    bool all = run_draws(run, mark->verb == NOTIFICATION_MARK_DELETE ? 60 : 12);
    if (all && run_draws(run, 2)) { /* as when all is deleted, whatever its state */
        mark->states = notification_mark_states(mark->verb, false);
    }
    mark->up_to = all ? UINT64_MAX : run_draw(run, inbox->count / 2 + 2);
    mark->type = type < MODEL_TYPES ? run_type(type) : BYTES("");
    for (size_t i = 0; i < inbox->count; i++) {
        const struct model_row *row = &inbox->rows[i];
        ret_meant[i] =
            row->seq <= mark->up_to && (type >= MODEL_TYPES || row->content.type == type);
    }
}

static void expect_marked(struct run *run, struct model_inbox *inbox, const struct store_mark *mark,
    size_t changed, const bool late[MODEL_ROWS_MAX])
{
    bool told[MODEL_ROWS_MAX] = {0};
    size_t late_count = 0;
    for (size_t i = 0; i < inbox->count; i++) {
        late_count += late[i];
    }
    MUST(run, mark->changed == (changed > 0), "%d", mark->changed);
    MUST(run, mark->change_count == changed, "%zu, not %zu", mark->change_count, changed);
    MUST(run, mark->late_count == late_count, "%zu, not %zu", mark->late_count, late_count);
    for (size_t i = 0; i < mark->change_count; i++) {
        run_expect_change(run, inbox, &mark->changes[i]);
        size_t at = mark->changes[i].seq - 1;
        MUST(run, mark->changes[i].rev == inbox->rev && !told[at], "seq %zu", at + 1);
        told[at] = true;
    }
    for (size_t i = 0; i < mark->late_count; i++) {
        size_t at = mark->late[i].seq - 1;
        MUST(run, at < inbox->count && late[at] && !told[at], "seq %zu", at + 1);
        told[at] = true;
    }
    run_expect_position(run, inbox, &mark->position);
}

static void mark_rows(struct run *run)
{
    struct model_inbox *inbox = draw_inbox(run);
    uint8_t ids[IDS_MAX][NOTIFICATION_ID_LEN];
    bool meant[MODEL_ROWS_MAX] = {0};
    bool late[MODEL_ROWS_MAX];
    bool by_id = run_draw(run, 3) > 0;
    enum notification_verb verb = (enum notification_verb)run_draw(run, NOTIFICATION_VERB_COUNT);
    struct store_mark mark = mark_of(run_user(inbox), verb, run->model.now);
    mark.states = notification_mark_states(verb, !by_id);
    mark.ids = (const uint8_t(*)[NOTIFICATION_ID_LEN])ids;
    mark.if_rev = run_draw(run, 3) > 0 ? (uint64_t)INT64_MAX : run_draw(run, inbox->rev + 2);
    mark.until = run->model.now + 1 + run_draw(run, 1500);
    model_enter(&run->model, inbox); /* "up to now" means what is missing too */
    if (by_id) {
        mark.id_count = draw_ids(run, inbox, ids, meant);
    } else {
        draw_bulk(run, inbox, &mark, meant);
    }
    run_tell(run, "mark %d of %s, %zu ids, up to %ld, ifRev %ld", verb, inbox->user, mark.id_count,
        (long)mark.up_to, (long)mark.if_rev);
    run_ask(run, &mark.base);
    const struct model_mark same = {.verb = verb,
        .bulk = mark.states == notification_mark_states(verb, true) && !by_id,
        .named = by_id,
        .meant = meant,
        .if_rev = mark.if_rev,
        .at = mark.at,
        .until = mark.until};
    size_t changed = model_mark(inbox, &same, late);
    expect_marked(run, inbox, &mark, changed, late);
    store_request_finish(&mark.base);
}

/* --- the dice --- */

static void sync_device(struct run *run)
{
    size_t at = run_draw(run, MODEL_INBOXES);
    size_t device = run_draw(run, RUN_REPLICAS);
    run_tell(run, "device %zu of %s syncs", device, run->model.inboxes[at].user);
    (void)run_sync_page(run, &run->model.inboxes[at], &run->replicas[at][device]);
}

static void list_inbox(struct run *run)
{
    struct model_inbox *inbox = draw_inbox(run);
    run_tell(run, "list of %s", inbox->user);
    run_check_list(run, inbox);
}

void run_operation(struct run *run)
{
    static const struct {
        void (*what)(struct run *run);
        uint64_t weight;
    } operations[] = {
        {post_to_users, 22},
        {mark_rows, 18},
        {post_to_many, 12},
        {change_topic, 9},
        {run_ask_positions, 8},
        {sync_device, 10},
        {edit_row, 6},
        {take_back_post, 4},
        {run_revise_post, 5},
        {run_post_later, 6},
        {run_deliver, 5},
        {run_change_kept, 4},
        {run_expire, 4},
        {list_inbox, 3},
        {run_sweep_posts, 2},
        {run_retain, 2},
        {run_prefer, 2},
        {run_forget_user, 1},
    };
    static const uint64_t spans[] = {0, 700, 5000};
    run->usual_span = run->gathers ? spans[run_draw(run, ARRAY_LEN(spans))] : 0;
    uint64_t total = 0;
    for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
        total += operations[i].weight;
    }
    uint64_t dice = run_draw(run, total);
    size_t which = 0;
    for (; dice >= operations[which].weight; which++) {
        dice -= operations[which].weight;
    }
    operations[which].what(run);
}
