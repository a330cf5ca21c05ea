/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Posts to many as statements: who lacks rows, making them, posting, subscribing, taking back.
 */
#include "sql/pg_audience.h"

#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/audience.h"

/* --- users as arrays --- */

/* Visits the users of a flight that a statement is about. */
struct users {
    const struct pg_flight *flight;
    bool lacking; /* only those who were found to lack rows */
};

static size_t count_in(const struct users *users, const struct store_request *request)
{
    return users->lacking ? request->lacking_count : audience_user_count(request);
}

static size_t count_all(const struct users *users)
{
    size_t count = 0;
    for (size_t i = 0; i < users->flight->request_count; i++) {
        count += count_in(users, users->flight->requests[i]);
    }
    return count;
}

enum column { COLUMN_SLOT, COLUMN_TENANT, COLUMN_USER, COLUMN_COUNT };

static const enum pg_type column_types[COLUMN_COUNT] = {PG_INT2, PG_TEXT, PG_TEXT};

static void add_element(struct pg_params *params, enum column column, const struct store_user *who)
{
    if (column == COLUMN_SLOT) {
        pg_add_element_i16(params, (int16_t)slot_of(who->tenant, who->user));
    } else {
        pg_add_element(params, column == COLUMN_TENANT ? who->tenant : who->user);
    }
}

static void add_users(struct pg_params *params, const struct users *users)
{
    size_t count = count_all(users);
    for (unsigned column = 0; column < COLUMN_COUNT; column++) {
        pg_add_array(params, column_types[column], count);
        for (size_t i = 0; i < users->flight->request_count; i++) {
            const struct store_request *request = users->flight->requests[i];
            for (size_t j = 0; j < count_in(users, request); j++) {
                size_t index = users->lacking ? request->lacking[j] : j;
                add_element(params, (enum column)column, audience_user(request, index));
            }
        }
    }
}

void pg_audience_ask(struct pg_conn *conn, struct pg_flight *flight)
{
    const struct store_request *request = flight->requests[0];
    bool begin = request->op == STORE_POSITIONS && ((const struct store_positions *)request)->begin;
    struct pg_params *params = pg_conn_params(conn);
    add_users(params, &(struct users){.flight = flight});
    pg_add_i16(params, begin);
    pg_conn_send(conn, flight, (struct pg_run){.which = PG_STMT_AUDIENCE_BEHIND, .count = 1});
}

void pg_audience_mend(struct pg_conn *conn, struct pg_flight *flight)
{
    struct pg_params *params = pg_conn_params(conn);
    add_users(params, &(struct users){.flight = flight, .lacking = true});
    pg_add_u64(params, AUDIENCE_STEP_MAX);
    pg_conn_send(conn, flight, (struct pg_run){.which = PG_STMT_AUDIENCE_MEND});
}

void pg_audience_enter(struct pg_conn *conn, struct pg_flight *flight)
{
    struct pg_params *params = pg_conn_params(conn);
    add_users(params, &(struct users){.flight = flight});
    pg_add_u64(params, AUDIENCE_INLINE_MAX);
    pg_conn_send(conn, flight, (struct pg_run){.which = PG_STMT_ENTER});
}

/* --- sending --- */

static void add_names(struct pg_params *params, const struct bytes *names, size_t count)
{
    pg_add_array(params, PG_TEXT, count);
    for (size_t i = 0; i < count; i++) {
        pg_add_element(params, names[i]);
    }
}

static void add_slots(
    struct pg_params *params, struct bytes tenant, const struct bytes *names, size_t count)
{
    pg_add_array(params, PG_INT2, count);
    for (size_t i = 0; i < count; i++) {
        pg_add_element_i16(params, (int16_t)slot_of(tenant, names[i]));
    }
}

static enum pg_statement add_post(struct pg_params *params, const struct store_audience_post *post)
{
    pg_add_text(params, post->tenant);
    pg_add_i16(params, (int16_t)post->kind);
    pg_add_text(params, post->name);
    pg_add_i16(params, post->include_new);
    pg_add_uuid(params, post->key_hash);
    pg_add_uuid(params, post->content_hash);
    pg_add_uuid(params, post->id);
    pg_add_text(params, post->type);
    pg_add_text(params, post->title);
    pg_add_text(params, post->message);
    pg_add_text(params, post->data);
    pg_add_i16(params, (int16_t)post->priority);
    bool keeps = post->deliver_at > 0 && !post->due;
    if (!keeps) {
        pg_add_u64(params, post->created_at);
    }
    pg_add_u64(params, post->expires_at);
    if (!keeps) {
        pg_add_i16(params, post->unwanted);
        pg_add_u64(params, post->digest_ms);
    }
    size_t count = post->kind == AUDIENCE_LIST ? post->user_count : 0;
    add_slots(params, post->tenant, post->users, count);
    add_names(params, post->users, count);
    if (keeps) {
        pg_add_u64(params, post->deliver_at);
        return PG_STMT_SCHEDULE_MANY;
    }
    return PG_STMT_AUDIENCE_POST;
}

static enum pg_statement add_posted(struct pg_params *params, const struct store_posted *posted)
{
    pg_add_array(params, PG_TEXT, posted->tenant_count);
    for (size_t i = 0; i < posted->tenant_count; i++) {
        pg_add_element(params, posted->tenants[i].tenant);
    }
    pg_add_array(params, PG_INT8, posted->tenant_count);
    for (size_t i = 0; i < posted->tenant_count; i++) {
        uint64_t after = posted->tenants[i].after;
        pg_add_element_i64(params, after < INT64_MAX ? after : INT64_MAX);
    }
    pg_add_u64(params, posted->limit);
    return PG_STMT_AUDIENCE_POSTED;
}

static enum pg_statement add_sweep(struct pg_params *params, const struct store_sweep *sweep)
{
    bool keep_all = sweep->tombstone_ms >= sweep->now;
    pg_add_u64(params, sweep->now);
    pg_add_i64(params, keep_all ? -1 : (int64_t)(sweep->now - sweep->tombstone_ms));
    pg_add_u64(params, sweep->limit);
    return PG_STMT_AUDIENCE_SWEEP;
}

static enum pg_statement add_subscribe(
    struct pg_params *params, const struct store_subscribe *subscribe)
{
    if (!subscribe->remove) {
        add_slots(params, subscribe->tenant, subscribe->users, subscribe->user_count);
    }
    pg_add_text(params, subscribe->tenant);
    add_names(params, subscribe->users, subscribe->user_count);
    pg_add_text(params, subscribe->topic);
    if (!subscribe->remove) {
        pg_add_u64(params, STORE_TOPICS_MAX);
    }
    return subscribe->remove ? PG_STMT_UNSUBSCRIBE : PG_STMT_SUBSCRIBE;
}

static enum pg_statement add_subscribers(
    struct pg_params *params, const struct store_subscribers *subscribers)
{
    pg_add_text(params, subscribers->tenant);
    pg_add_text(params, subscribers->topic);
    pg_add_text(params, subscribers->after);
    pg_add_u64(params, (uint64_t)subscribers->limit + 1);
    return PG_STMT_SUBSCRIBERS;
}

static enum pg_statement add_topics(struct pg_params *params, const struct store_topics *topics)
{
    if (topics->of_user) {
        pg_add_user(params, topics->tenant, topics->user);
    } else {
        pg_add_text(params, topics->tenant);
    }
    pg_add_text(params, topics->after);
    pg_add_u64(params, (uint64_t)topics->limit + 1);
    return topics->of_user ? PG_STMT_TOPICS_OF_USER : PG_STMT_TOPICS;
}

static enum pg_statement add_retract(struct pg_params *params, const struct store_retract *retract)
{
    pg_add_text(params, retract->tenant);
    pg_add_uuid(params, retract->id);
    return retract->only_find ? PG_STMT_AUDIENCE_BY_ID : PG_STMT_AUDIENCE_RETRACT;
}

static enum pg_statement add_revise(struct pg_params *params, const struct store_revise *revise)
{
    pg_add_text(params, revise->tenant);
    pg_add_uuid(params, revise->id);
    pg_add_i32(params, (int32_t)revise->fields);
    pg_add_text(params, revise->title);
    pg_add_text(params, revise->message);
    pg_add_text(params, revise->data);
    pg_add_i16(params, (int16_t)revise->priority);
    pg_add_u64(params, revise->expires_at);
    pg_add_u64(params, revise->at);
    return PG_STMT_AUDIENCE_REVISE;
}

static enum pg_statement add_params(struct pg_params *params, const struct store_request *request)
{
    switch ((unsigned)request->op) {
    case STORE_AUDIENCE_POST:
        return add_post(params, (const struct store_audience_post *)request);
    case STORE_AUDIENCE_SWEEP:
        return add_sweep(params, (const struct store_sweep *)request);
    case STORE_POSTED:
        return add_posted(params, (const struct store_posted *)request);
    case STORE_RETRACT:
        return add_retract(params, (const struct store_retract *)request);
    case STORE_REVISE:
        return add_revise(params, (const struct store_revise *)request);
    case STORE_SUBSCRIBE:
        return add_subscribe(params, (const struct store_subscribe *)request);
    case STORE_SUBSCRIBERS:
        return add_subscribers(params, (const struct store_subscribers *)request);
    case STORE_TOPICS:
        return add_topics(params, (const struct store_topics *)request);
    default:
        break;
    }
    CHECK(false);
    return PG_STMT_PING;
}

void pg_audience_add(struct pg_conn *conn, struct pg_flight *flight)
{
    enum pg_statement which = add_params(pg_conn_params(conn), flight->requests[0]);
    pg_conn_send(conn, flight, (struct pg_run){.which = which, .count = 1});
}

/* --- taking in the answers --- */

static int read_lacking(struct store_request *request, const PGresult *rows)
{
    for (int row = 0; row < PQntuples(rows); row++) {
        uint64_t n = pg_u64(rows, row, 0);
        if (n < 1 || n > audience_user_count(request)) {
            return STATUS_UNAVAILABLE;
        }
        audience_lack(request, (uint32_t)n - 1);
    }
    return 0;
}

static int read_post(struct pg_flight *flight, const PGresult *rows)
{
    struct put_result *result = result_alloc(request_result(flight->requests[0]), sizeof(*result));
    if (!result || PQntuples(rows) != 1) {
        return STATUS_UNAVAILABLE;
    }
    int16_t outcome = pg_i16(rows, 0, 0);
    bool known =
        (outcome >= OUTCOME_STORED && outcome <= OUTCOME_CONFLICT) || outcome == OUTCOME_SCHEDULED;
    if (!known) {
        return STATUS_UNAVAILABLE;
    }
    result->outcome = (enum store_outcome)outcome;
    pg_uuid(rows, 0, 1, result->id);
    result->seq = pg_u64(rows, 0, 2);
    result->nobody = pg_bool(rows, 0, 3);
    flight->results[0] = result;
    return 0;
}

/* A post of a tenant, or where the tenant stands if there is none. */
static int read_posted_row(struct store_posted *posted, const PGresult *rows, int row)
{
    enum { TENANT, HEAD, N, KIND, NAME };
    struct result *arena = request_result(&posted->base);
    uint64_t place = pg_u64(rows, row, TENANT);
    if (place < 1 || place > posted->tenant_count) {
        return STATUS_UNAVAILABLE;
    }
    if (PQgetisnull(rows, row, N)) {
        posted->heads[place - 1] = pg_u64(rows, row, HEAD);
        return 0;
    }
    if (posted->post_count == posted->limit) {
        posted->more = true;
        return 0;
    }
    struct store_posted_one *grown =
        result_grow(arena, posted->posts, posted->post_count, sizeof(*grown));
    if (!grown) {
        return STATUS_UNAVAILABLE;
    }
    posted->posts = grown;
    grown[posted->post_count++] = (struct store_posted_one){
        .tenant = (size_t)place - 1,
        .n = pg_u64(rows, row, N),
        .kind = (enum notification_audience)pg_i16(rows, row, KIND),
        .name = result_copy(arena, pg_bytes(rows, row, NAME)),
    };
    posted->heads[place - 1] = pg_u64(rows, row, N);
    return 0;
}

/* A row for each post, one more than is told, and one for each tenant without. */
static int read_posted(struct store_posted *posted, const PGresult *rows)
{
    size_t size = posted->tenant_count * sizeof(*posted->heads);
    posted->heads = result_alloc(request_result(&posted->base), size);
    if (!posted->heads) {
        return STATUS_UNAVAILABLE;
    }
    for (size_t i = 0; i < posted->tenant_count; i++) {
        posted->heads[i] = posted->tenants[i].after;
    }
    int status = 0;
    for (int row = 0; row < PQntuples(rows) && status == 0; row++) {
        status = read_posted_row(posted, rows, row);
    }
    return status;
}

/* The post that was found, in the answer's order. */
static int read_found(struct store_request *request, const PGresult *rows, uint64_t *ret_n,
    enum notification_audience *ret_kind, struct bytes *ret_name)
{
    if (PQntuples(rows) != 1) {
        return STATUS_NOT_FOUND;
    }
    *ret_n = pg_u64(rows, 0, 0);
    *ret_kind = (enum notification_audience)pg_i16(rows, 0, 1);
    *ret_name = result_copy(request_result(request), pg_bytes(rows, 0, 2));
    return 0;
}

static int read_subscribe(struct store_subscribe *subscribe, const PGresult *rows)
{
    if (PQntuples(rows) != 1) {
        return STATUS_UNAVAILABLE;
    }
    subscribe->changed = pg_u64(rows, 0, 0);
    subscribe->full = pg_u64(rows, 0, 1);
    return 0;
}

static struct bytes *read_names(struct store_request *request, const PGresult *rows, uint32_t limit,
    size_t *ret_count, bool *ret_more)
{
    struct result *arena = request_result(request);
    size_t count = (size_t)PQntuples(rows);
    *ret_more = count > limit;
    *ret_count = *ret_more ? limit : count;
    struct bytes *names = result_alloc(arena, *ret_count * sizeof(*names));
    for (size_t i = 0; names && i < *ret_count; i++) {
        names[i] = result_copy(arena, pg_bytes(rows, (int)i, 0));
    }
    return names;
}

int pg_audience_rows(struct pg_flight *flight, const struct pg_run *run, const PGresult *rows)
{
    struct store_request *request = flight->requests[run->first];
    if (run->which == PG_STMT_AUDIENCE_BEHIND) {
        return read_lacking(request, rows);
    }
    switch ((unsigned)request->op) {
    case STORE_AUDIENCE_POST:
        return read_post(flight, rows);
    case STORE_POSTED:
        return read_posted((struct store_posted *)request, rows);
    case STORE_RETRACT: {
        struct store_retract *retract = (struct store_retract *)request;
        return read_found(request, rows, &retract->n, &retract->kind, &retract->name);
    }
    case STORE_REVISE: {
        struct store_revise *revise = (struct store_revise *)request;
        return read_found(request, rows, &revise->n, &revise->kind, &revise->name);
    }
    case STORE_SUBSCRIBE:
        return read_subscribe((struct store_subscribe *)request, rows);
    case STORE_SUBSCRIBERS: {
        struct store_subscribers *asked = (struct store_subscribers *)request;
        asked->names = read_names(request, rows, asked->limit, &asked->count, &asked->more);
        return asked->names ? 0 : STATUS_UNAVAILABLE;
    }
    case STORE_TOPICS: {
        struct store_topics *asked = (struct store_topics *)request;
        asked->names = read_names(request, rows, asked->limit, &asked->count, &asked->more);
        return asked->names ? 0 : STATUS_UNAVAILABLE;
    }
    default:
        return STATUS_UNAVAILABLE;
    }
}
