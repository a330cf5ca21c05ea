/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stores posts to many, keeps who is subscribed, and lists both.
 */
#include "sql/sqlite_topics.h"

#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/audience.h"
#include "sql/sqlite_audience.h"
#include "sql/sqlite_change.h"
#include "sql/sqlite_items.h"
#include "sql/sqlite_ops.h"
#include "sql/sqlite_schedule.h"

enum { ONE_LESS = 0, ONE_MORE = 2 }; /* topics of a user: parameters are not below 0 */

static const struct bytes for_ever = {"+", 1};

static struct bytes hash_bytes(const uint8_t *hash)
{
    return bytes_of(hash, STORE_HASH_LEN);
}

/* --- posting --- */

/* 1: the key was used before, and *result tells; 0: it is new. */
static int find_repeat(
    struct sqlite_db *db, const struct store_audience_post *post, struct put_result *result)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_AUDIENCE_KEY_FIND);
    query_text(&query, 1, post->tenant);
    query_u64(&query, 2, (uint64_t)post->kind);
    query_text(&query, 3, post->name);
    query_blob(&query, 4, hash_bytes(post->key_hash));
    int more = query_step(&query);
    if (more > 0) {
        bool same = bytes_eq(query_column(&query, 2), hash_bytes(post->content_hash));
        result->outcome = same ? OUTCOME_DUPLICATE : OUTCOME_CONFLICT;
        result->seq = query_column_u64(&query, 0);
        query_column_id(&query, 1, result->id);
    }
    query_close(&query);
    return more;
}

static int raise_head(struct sqlite_db *db, struct bytes tenant, uint64_t *ret_n)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_AUDIENCE_RAISE);
    query_text(&query, 1, tenant);
    int more = query_step(&query);
    if (more > 0) {
        *ret_n = query_column_u64(&query, 0);
        more = query_step(&query);
    }
    query_close(&query);
    return more;
}

static int insert_key(struct sqlite_db *db, const struct store_audience_post *post, uint64_t n)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_AUDIENCE_KEY_INSERT);
    query_text(&query, 1, post->tenant);
    query_u64(&query, 2, (uint64_t)post->kind);
    query_text(&query, 3, post->name);
    query_blob(&query, 4, hash_bytes(post->key_hash));
    query_blob(&query, 5, hash_bytes(post->content_hash));
    query_u64(&query, 6, n);
    query_id(&query, 7, post->id);
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

static int insert_post(
    struct sqlite_db *db, const struct store_audience_post *post, uint64_t n, struct bytes name)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_AUDIENCE_INSERT);
    query_text(&query, 1, post->tenant);
    query_u64(&query, 2, n);
    query_u64(&query, 3, (uint64_t)post->kind);
    query_text(&query, 4, name);
    query_id(&query, 5, post->id);
    query_text(&query, 6, post->type);
    query_text(&query, 7, post->title);
    query_text(&query, 8, post->message);
    query_blob(&query, 9, post->data);
    query_u64(&query, 10, (uint64_t)post->priority);
    query_u64(&query, 11, post->created_at);
    query_u64(&query, 12, post->expires_at);
    query_u64(&query, 13, post->unwanted);
    query_u64(&query, 14, post->digest_ms);
    int changed = query_run(&query);
    return changed < 0 ? changed : insert_key(db, post, n);
}

/* 1: a new member; 0: there was one. */
static int insert_member(struct sqlite_db *db, const struct store_user *who,
    enum notification_audience kind, struct bytes name, const uint64_t range[2])
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_MEMBER_INSERT);
    sqlite_bind_user(&query, who);
    query_u64(&query, 4, (uint64_t)kind);
    query_text(&query, 5, name);
    query_u64(&query, 6, range[0]);
    query_u64(&query, 7, range[1]);
    return query_run(&query);
}

static int has_subscriber(struct sqlite_db *db, struct bytes tenant, struct bytes topic)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_MEMBER_SOME);
    query_text(&query, 1, tenant);
    query_text(&query, 2, topic);
    int more = query_step(&query);
    query_close(&query);
    return more;
}

static int store_post(
    struct sqlite_db *db, const struct store_audience_post *post, struct put_result *result)
{
    char text[UUID_TEXT_LEN];
    uuid_format(post->id, text);
    struct bytes name = post->kind == AUDIENCE_LIST ? bytes_of(text, UUID_TEXT_LEN)
                        : post->include_new         ? for_ever
                                                    : post->name;
    uint64_t n = 0;
    int status = raise_head(db, post->tenant, &n);
    status = status < 0 ? status : insert_post(db, post, n, name);
    bool list = post->kind == AUDIENCE_LIST;
    for (size_t i = 0; list && i < post->user_count && status >= 0; i++) {
        const struct store_user who = {.tenant = post->tenant, .user = post->users[i]};
        status = insert_member(db, &who, AUDIENCE_LIST, name, (const uint64_t[]){n - 1, n});
    }
    if (status >= 0 && list && post->due) {
        status = sqlite_schedule_list(db, post->tenant, name, n);
    }
    result->outcome = OUTCOME_STORED;
    memcpy(result->id, post->id, NOTIFICATION_ID_LEN);
    result->seq = n;
    if (status >= 0 && post->kind == AUDIENCE_TOPIC) {
        status = has_subscriber(db, post->tenant, post->name);
        result->nobody = status == 0;
    }
    return status < 0 ? status : 0;
}

/* Keep a post until it is due; the users of a list are members from never to never. */
static int keep_post(
    struct sqlite_db *db, const struct store_audience_post *post, struct put_result *result)
{
    char text[UUID_TEXT_LEN];
    uuid_format(post->id, text);
    struct bytes name = bytes_of(text, UUID_TEXT_LEN);
    bool list = post->kind == AUDIENCE_LIST;
    *result = (struct put_result){.outcome = OUTCOME_SCHEDULED, .seq = STORE_SEQ_SCHEDULED};
    memcpy(result->id, post->id, NOTIFICATION_ID_LEN);
    int status = sqlite_schedule_keep_many(db, post);
    status = status < 0 ? status : insert_key(db, post, STORE_SEQ_SCHEDULED);
    for (size_t i = 0; list && i < post->user_count && status >= 0; i++) {
        const struct store_user who = {.tenant = post->tenant, .user = post->users[i]};
        status =
            insert_member(db, &who, AUDIENCE_LIST, name, (const uint64_t[]){INT64_MAX, INT64_MAX});
    }
    return status < 0 ? status : 0;
}

static int run_post(
    struct sqlite_db *db, struct store_audience_post *post, struct put_result **ret_results)
{
    int status =
        post->fenced ? sqlite_check_fence(db, post->partition, post->token, post->last_id) : 0;
    if (status < 0) {
        return status;
    }
    struct put_result *result = result_alloc(request_result(&post->base), sizeof(*result));
    if (!result) {
        return STATUS_NOMEM;
    }
    *ret_results = result;
    status = post->due ? sqlite_schedule_take(db, post->id, post->version) : 0;
    int found = status < 0 ? status : find_repeat(db, post, result);
    if (found != 0) {
        return found < 0 ? found : 0;
    }
    bool keeps = post->deliver_at > 0 && !post->due;
    return keeps ? keep_post(db, post, result) : store_post(db, post, result);
}

/* A post is taken back (`edit` 0), or has other content: the sweep goes through all who have it. */
static int note_change(
    struct sqlite_db *db, struct bytes tenant, uint64_t n, uint64_t edit, uint32_t fields)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_AUDIENCE_CHANGE);
    query_text(&query, 1, tenant);
    query_u64(&query, 2, n);
    query_u64(&query, 3, edit);
    query_u64(&query, 4, fields);
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

static int run_retract(struct sqlite_db *db, struct store_retract *retract)
{
    struct query query;
    query_open(
        &query, db, retract->only_find ? SQLITE_STMT_AUDIENCE_BY_ID : SQLITE_STMT_AUDIENCE_RETRACT);
    query_text(&query, 1, retract->tenant);
    query_id(&query, 2, retract->id);
    int more = query_step(&query);
    bool found = more > 0;
    if (found) {
        retract->n = query_column_u64(&query, 0);
        retract->kind = (enum notification_audience)query_column_u64(&query, 1);
        retract->name = result_copy(request_result(&retract->base), query_column(&query, 2));
        more = query_step(&query);
    }
    query_close(&query);
    if (more < 0 || !found || retract->only_find) {
        return more < 0 ? more : found ? 0 : STATUS_NOT_FOUND;
    }
    return note_change(db, retract->tenant, retract->n, 0, 0);
}

static int run_revise(struct sqlite_db *db, struct store_revise *revise)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_AUDIENCE_REVISE);
    query_text(&query, 1, revise->tenant);
    query_id(&query, 2, revise->id);
    query_u64(&query, 3, revise->fields);
    query_text(&query, 4, revise->title);
    query_text(&query, 5, revise->message);
    query_blob(&query, 6, revise->data);
    query_u64(&query, 7, (uint64_t)revise->priority);
    query_u64(&query, 8, revise->expires_at);
    query_u64(&query, 9, revise->at);
    int more = query_step(&query);
    bool found = more > 0;
    uint64_t edit = 0;
    if (found) {
        revise->n = query_column_u64(&query, 0);
        revise->kind = (enum notification_audience)query_column_u64(&query, 1);
        revise->name = result_copy(request_result(&revise->base), query_column(&query, 2));
        edit = query_column_u64(&query, 3);
        more = query_step(&query);
    }
    query_close(&query);
    if (more < 0 || !found) {
        return more < 0 ? more : STATUS_NOT_FOUND;
    }
    return note_change(db, revise->tenant, revise->n, edit, revise->fields);
}

/* --- subscriptions --- */

/* A statement about a user with one value more. */
static int run_on(struct sqlite_db *db, enum sqlite_statement which, const struct store_user *who,
    struct bytes topic, uint64_t number)
{
    struct query query;
    query_open(&query, db, which);
    sqlite_bind_user(&query, who);
    if (topic.len > 0) {
        query_text(&query, 4, topic);
    }
    if (which == SQLITE_STMT_MEMBER_CLOSE) {
        query_u64(&query, 5, number);
    } else if (which != SQLITE_STMT_MEMBER_DROP) {
        query_u64(&query, 4, number);
    }
    return query_run(&query);
}

static int read_two(struct sqlite_db *db, enum sqlite_statement which, const struct store_user *who,
    struct bytes topic, uint64_t ret_values[3])
{
    struct query query;
    query_open(&query, db, which);
    sqlite_bind_user(&query, who);
    if (topic.len > 0) {
        query_text(&query, 4, topic);
    }
    int more = query_step(&query);
    for (int i = 0; more > 0 && i < (topic.len > 0 ? 1 : 3); i++) {
        ret_values[i] = query_column_u64(&query, i);
    }
    query_close(&query);
    return more;
}

static int subscribe_one(struct sqlite_db *db, struct store_subscribe *subscribe,
    const struct store_user *who, uint64_t head)
{
    enum { TOPICS = 2 };
    uint64_t stands[3] = {0};
    uint64_t open[3];
    int status = run_on(db, SQLITE_STMT_INBOX_BEGIN, who, (struct bytes){0}, head);
    status = status < 0 ? status
                        : read_two(db, SQLITE_STMT_INBOX_STANDS, who, (struct bytes){0}, stands);
    status =
        status < 0 ? status : read_two(db, SQLITE_STMT_MEMBER_OPEN, who, subscribe->topic, open);
    if (status != 0) {
        return status < 0 ? status : 0;
    }
    if (stands[TOPICS] >= STORE_TOPICS_MAX) {
        subscribe->full++;
        return 0;
    }
    status = insert_member(
        db, who, AUDIENCE_TOPIC, subscribe->topic, (const uint64_t[]){head, INT64_MAX});
    subscribe->changed++;
    return status < 0 ? status
                      : run_on(db, SQLITE_STMT_INBOX_TOPICS, who, (struct bytes){0}, ONE_MORE);
}

/* The interval is kept as long as it may hold posts that the user lacks. */
static int unsubscribe_one(struct sqlite_db *db, struct store_subscribe *subscribe,
    const struct store_user *who, uint64_t head)
{
    uint64_t stands[3] = {0};
    uint64_t open[3] = {0};
    int status = read_two(db, SQLITE_STMT_MEMBER_OPEN, who, subscribe->topic, open);
    if (status <= 0) {
        return status;
    }
    status = read_two(db, SQLITE_STMT_INBOX_STANDS, who, (struct bytes){0}, stands);
    if (status < 0) {
        return status;
    }
    bool empty = open[0] >= head || stands[0] >= head;
    status = run_on(db, empty ? SQLITE_STMT_MEMBER_DROP : SQLITE_STMT_MEMBER_CLOSE, who,
        subscribe->topic, head);
    subscribe->changed++;
    return status < 0 ? status
                      : run_on(db, SQLITE_STMT_INBOX_TOPICS, who, (struct bytes){0}, ONE_LESS);
}

static int run_subscribe(struct sqlite_db *db, struct store_subscribe *subscribe)
{
    uint64_t head;
    int status = sqlite_audience_head(db, subscribe->tenant, &head);
    for (size_t i = 0; i < subscribe->user_count && status >= 0; i++) {
        const struct store_user who = {.tenant = subscribe->tenant, .user = subscribe->users[i]};
        status = (subscribe->remove ? unsubscribe_one : subscribe_one)(db, subscribe, &who, head);
    }
    return status < 0 ? status : 0;
}

int sqlite_topics_write(
    struct sqlite_db *db, struct store_request *request, struct put_result **ret_results)
{
    switch ((unsigned)request->op) {
    case STORE_AUDIENCE_POST:
        return run_post(db, (struct store_audience_post *)request, ret_results);
    case STORE_RETRACT:
        return run_retract(db, (struct store_retract *)request);
    case STORE_REVISE:
        return run_revise(db, (struct store_revise *)request);
    case STORE_SUBSCRIBE:
        return run_subscribe(db, (struct store_subscribe *)request);
    default:
        return STATUS_INVALID;
    }
}

/* --- lists --- */

/* A list of names in the arena, at most `limit`. */
struct names {
    struct result *arena;
    uint32_t limit;
    struct bytes *at;
    size_t count;
    bool more;
};

/* Append one, or note that there are more. */
static int add_name(struct names *names, struct bytes name)
{
    if (names->count == names->limit) {
        names->more = true;
        return 0;
    }
    struct bytes *grown = result_grow(names->arena, names->at, names->count, sizeof(*grown));
    if (!grown) {
        return STATUS_NOMEM;
    }
    names->at = grown;
    grown[names->count++] = result_copy(names->arena, name);
    return 0;
}

static int add_all(struct query *query, struct names *names)
{
    int more = query_step(query);
    while (more > 0) {
        int status = add_name(names, query_column(query, 0));
        more = status < 0 ? status : query_step(query);
    }
    query_close(query);
    return more;
}

static int run_subscribers(struct sqlite_db *db, struct store_subscribers *subscribers)
{
    struct names names = {.arena = request_result(&subscribers->base), .limit = subscribers->limit};
    struct query query;
    query_open(&query, db, SQLITE_STMT_SUBSCRIBERS);
    query_text(&query, 1, subscribers->tenant);
    query_text(&query, 2, subscribers->topic);
    query_text(&query, 3, subscribers->after);
    query_u64(&query, 4, (uint64_t)subscribers->limit + 1);
    int status = add_all(&query, &names);
    subscribers->names = names.at;
    subscribers->count = names.count;
    subscribers->more = names.more;
    return status;
}

/* From one topic of the tenant to the next above it: not through all subscribers. */
static int list_topics(struct sqlite_db *db, const struct store_topics *topics, struct names *names)
{
    struct bytes after = topics->after;
    int more = 1;
    while (more > 0 && !names->more) {
        struct query query;
        query_open(&query, db, SQLITE_STMT_TOPICS_NEXT);
        query_text(&query, 1, topics->tenant);
        query_text(&query, 2, after);
        more = query_step(&query);
        if (more > 0) {
            int status = add_name(names, query_column(&query, 0));
            more = status < 0 ? status : more;
        }
        query_close(&query);
        after = names->count > 0 ? names->at[names->count - 1] : after;
    }
    return more < 0 ? more : 0;
}

static int run_topics(struct sqlite_db *db, struct store_topics *topics)
{
    struct names names = {.arena = request_result(&topics->base), .limit = topics->limit};
    int status;
    if (topics->of_user) {
        const struct store_user who = {.tenant = topics->tenant, .user = topics->user};
        struct query query;
        query_open(&query, db, SQLITE_STMT_TOPICS_OF_USER);
        sqlite_bind_user(&query, &who);
        query_text(&query, 4, topics->after);
        query_u64(&query, 5, (uint64_t)topics->limit + 1);
        status = add_all(&query, &names);
    } else {
        status = list_topics(db, topics, &names);
    }
    topics->names = names.at;
    topics->count = names.count;
    topics->more = names.more;
    return status;
}

static int read_posts(struct sqlite_db *db, struct store_posted *posted, size_t tenant)
{
    struct result *arena = request_result(&posted->base);
    uint64_t after = posted->tenants[tenant].after;
    struct query query;
    query_open(&query, db, SQLITE_STMT_AUDIENCE_POSTED);
    query_text(&query, 1, posted->tenants[tenant].tenant);
    query_u64(&query, 2, after < INT64_MAX ? after : INT64_MAX);
    query_u64(&query, 3, posted->limit - posted->post_count + 1);
    int more = query_step(&query);
    while (more > 0 && !posted->more) {
        if (posted->post_count == posted->limit) {
            posted->more = true;
            break;
        }
        struct store_posted_one *grown =
            result_grow(arena, posted->posts, posted->post_count, sizeof(*grown));
        if (!grown) {
            more = STATUS_NOMEM;
            break;
        }
        posted->posts = grown;
        posted->heads[tenant] = query_column_u64(&query, 0);
        grown[posted->post_count++] = (struct store_posted_one){.tenant = tenant,
            .n = posted->heads[tenant],
            .kind = (enum notification_audience)query_column_u64(&query, 1),
            .name = result_copy(arena, query_column(&query, 2))};
        more = query_step(&query);
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

static int run_posted(struct sqlite_db *db, struct store_posted *posted)
{
    size_t size = posted->tenant_count * sizeof(*posted->heads);
    posted->heads = result_alloc(request_result(&posted->base), size);
    int status = posted->heads ? 0 : STATUS_NOMEM;
    for (size_t i = 0; i < posted->tenant_count && status == 0; i++) {
        posted->heads[i] = posted->tenants[i].after;
        size_t before = posted->post_count;
        status = posted->more ? 0 : read_posts(db, posted, i);
        if (status == 0 && !posted->more && posted->post_count == before) {
            status = sqlite_audience_head(db, posted->tenants[i].tenant, &posted->heads[i]);
        }
    }
    return status;
}

int sqlite_topics_read(struct sqlite_db *db, struct store_request *request)
{
    switch ((unsigned)request->op) {
    case STORE_POSTED:
        return run_posted(db, (struct store_posted *)request);
    case STORE_SUBSCRIBERS:
        return run_subscribers(db, (struct store_subscribers *)request);
    case STORE_TOPICS:
        return run_topics(db, (struct store_topics *)request);
    default:
        return STATUS_INVALID;
    }
}
