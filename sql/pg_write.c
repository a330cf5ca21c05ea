/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing requests as transactions: which may share one, their statements, their answers, and which
 * one was at fault.
 */
#include "sql/pg_port.h"

#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "sql/audience.h"
#include "sql/history.h"
#include "sql/job.h"
#include "sql/pg_audience.h"
#include "sql/pg_device.h"
#include "sql/pg_edit.h"
#include "sql/pg_forget.h"
#include "sql/pg_history.h"
#include "sql/pg_job.h"
#include "sql/pg_meta.h"
#include "sql/pg_push.h"
#include "sql/pg_put.h"
#include "sql/pg_retention.h"
#include "sql/pg_schedule.h"
#include "sql/steps.h"

/*
 * While a transaction is under way writes queue; when it is over, all that is queued leaves as one
 * round of flights: neighbours without a fence share a flight, anything else has its own. A shared
 * flight that fails for a value is queued again in halves until the request at fault is alone.
 *
 * Who has a digest is known to the database alone. A put by the statement for rows of their own
 * that meets such a user stores nothing; the flight comes again, before what waits, and for a while
 * every put takes the other statement.
 *
 * The flights of a round are carried out in their order though all are sent at once: one that comes
 * again must not be passed by those behind it. So each tells its number, and undoes itself where
 * the one before it was undone (peal.follow).
 */

enum {
    SHARES_MS = 5000,
    ROUND_MAX = 8,
    SHARED_REQUESTS = 256,
    SHARED_ROWS = 1000,
    SHARED_BYTES = 8 << 20
};

static struct store_request *request_of(struct list *link)
{
    return container_of(link, struct store_request, link);
}

/* --- building a flight --- */

/* Whether it waits, before it is carried out, for rows that its users lack. */
static bool waits(const struct store_request *request)
{
    return request->lacking_count > 0;
}

static bool is_plain(const struct store_put *put)
{
    return !put->fenced && !store_put_keeps(put) && !store_put_delivers(put);
}

static bool can_share(const struct store_request *request)
{
    return !waits(request) &&
           (request->op == STORE_MARK || request->op == STORE_PREFERENCE_WRITE ||
               (request->op == STORE_PUT && is_plain((const struct store_put *)request)));
}

static size_t rows_of(const struct store_request *request)
{
    return request->op == STORE_PUT ? ((const struct store_put *)request)->count
                                    : steps_weight(request, 1);
}

size_t pg_write_size(const struct store_request *request)
{
    if (request->op == STORE_AUDIENCE_POST) {
        return audience_size((const struct store_audience_post *)request);
    }
    if (request->op == STORE_JOB_ADD) {
        return job_size((const struct store_job_add *)request);
    }
    if (request->op == STORE_HISTORY_ADD) {
        return history_size((const struct store_history_add *)request);
    }
    if (request->op != STORE_PUT) {
        return 0;
    }
    const struct store_put *put = (const struct store_put *)request;
    size_t size = 0;
    for (size_t i = 0; i < put->count; i++) {
        const struct store_row *row = &put->rows[i];
        size += row->who.tenant.len + row->who.user.len + row->type.len + row->title.len +
                row->message.len + row->data.len + row->collapse.len + 150;
    }
    return size;
}

static void add_ids(
    struct pg_params *params, const uint8_t (*ids)[NOTIFICATION_ID_LEN], size_t count)
{
    pg_add_array(params, PG_UUID, count);
    for (size_t i = 0; i < count; i++) {
        pg_add_element(params, bytes_of(ids[i], NOTIFICATION_ID_LEN));
    }
}

static enum pg_statement mark_statement(const struct store_mark *mark)
{
    if (mark->verb == NOTIFICATION_MARK_DELETE) {
        return mark->id_count > 0 ? PG_STMT_ERASE_IDS : PG_STMT_ERASE_UP_TO;
    }
    bool open = (mark->states & ~NOTIFICATION_OPEN_STATES) == 0;
    return mark->id_count > 0 ? PG_STMT_MARK_IDS
           : open             ? PG_STMT_MARK_UP_TO_OPEN
                              : PG_STMT_MARK_UP_TO;
}

static void send_preference(struct pg_conn *conn, struct pg_flight *flight, size_t index)
{
    const struct store_request *request = flight->requests[index];
    enum pg_statement which =
        pg_preference_add(pg_conn_params(conn), (const struct store_preference *)request);
    pg_conn_send(conn, flight, (struct pg_run){.which = which, .first = index, .count = 1});
}

static void send_mark(struct pg_conn *conn, struct pg_flight *flight, size_t index)
{
    const struct store_mark *mark = (const struct store_mark *)flight->requests[index];
    struct pg_params *params = pg_conn_params(conn);
    pg_add_user(params, mark->who.tenant, mark->who.user);
    pg_add_i16(params, (int16_t)mark->verb);
    pg_add_u64(params, mark->at);
    pg_add_i32(params, (int32_t)mark->states);
    pg_add_text(params, mark->type);
    pg_add_u64(params, mark->step.if_rev);
    if (mark->id_count > 0) {
        add_ids(params, mark->ids, mark->id_count);
    } else {
        pg_add_u64(params, mark->step.up_to);
        pg_add_u64(params, mark->step.above);
        pg_add_i16(params, mark->step.floors);
    }
    if (mark->verb != NOTIFICATION_MARK_DELETE) {
        pg_add_u64(params, mark->until);
        if (mark->id_count > 0) {
            pg_add_i32(params, (int32_t)mark->late_states);
        }
    }
    pg_conn_send(
        conn, flight, (struct pg_run){.which = mark_statement(mark), .first = index, .count = 1});
}

/* Neighbouring puts are one statement; everything keeps the order of the queue. */
static void send_shared(struct pg_conn *conn, struct pg_flight *flight)
{
    pg_audience_enter(conn, flight);
    for (size_t i = 0; i < flight->request_count;) {
        size_t puts = 0;
        while (i + puts < flight->request_count && flight->requests[i + puts]->op == STORE_PUT) {
            puts++;
        }
        if (puts > 0) {
            pg_put_send(conn, flight, i, puts);
            i += puts;
        } else if (flight->requests[i]->op == STORE_MARK) {
            send_mark(conn, flight, i++);
        } else {
            send_preference(conn, flight, i++);
        }
    }
}

static void send_fence(struct pg_conn *conn, struct pg_flight *flight, uint32_t partition,
    uint64_t token, struct bytes last_id)
{
    struct pg_params *params = pg_conn_params(conn);
    pg_add_u64(params, partition);
    pg_add_u64(params, token);
    pg_add_text(params, last_id);
    pg_conn_send(conn, flight, (struct pg_run){.which = PG_STMT_FENCE});
}

static void send_audience(struct pg_conn *conn, struct pg_flight *flight)
{
    const struct store_audience_post *post = (struct store_audience_post *)flight->requests[0];
    bool posts = post->base.op == STORE_AUDIENCE_POST;
    if (posts && post->fenced) {
        send_fence(conn, flight, post->partition, post->token, post->last_id);
    }
    if (posts && post->due) {
        pg_schedule_take(conn, flight);
    }
    pg_audience_add(conn, flight);
    if (posts && post->due && post->kind == AUDIENCE_LIST) {
        pg_schedule_list(conn, flight);
    }
}

/* A put with a fence, or for later, or of what is due: the only request of its flight. */
static void send_put_alone(struct pg_conn *conn, struct pg_flight *flight)
{
    const struct store_put *put = (const struct store_put *)flight->requests[0];
    if (put->fenced) {
        send_fence(conn, flight, put->partition, put->token, put->last_id);
    }
    if (put->count > 0) {
        pg_audience_enter(conn, flight);
        if (store_put_delivers(put)) {
            pg_schedule_take(conn, flight);
        }
        pg_put_send(conn, flight, 0, 1);
    }
}

static void send_claim(struct pg_conn *conn, struct pg_flight *flight)
{
    const struct store_claim *claim = (const struct store_claim *)flight->requests[0];
    struct pg_params *params = pg_conn_params(conn);
    pg_add_u64(params, claim->partition);
    pg_add_text(params, claim->owner);
    pg_conn_send(conn, flight, (struct pg_run){.which = PG_STMT_CLAIM, .count = 1});
}

static void send_sweep(struct pg_conn *conn, struct pg_flight *flight)
{
    const struct store_sweep *sweep = (const struct store_sweep *)flight->requests[0];
    struct pg_params *params = pg_conn_params(conn);
    bool keep_all = sweep->tombstone_ms >= sweep->now;
    pg_add_u64(params, sweep->now);
    pg_add_i64(params, keep_all ? -1 : (int64_t)(sweep->now - sweep->tombstone_ms));
    pg_add_u64(params, sweep->limit);
    pg_conn_send(conn, flight, (struct pg_run){.which = PG_STMT_SWEEP, .count = 1});
}

static void send_retention(struct pg_conn *conn, struct pg_flight *flight)
{
    enum pg_statement which =
        pg_retention_add(pg_conn_params(conn), (const struct store_retention *)flight->requests[0]);
    pg_conn_send(conn, flight, (struct pg_run){.which = which, .count = 1});
}

static void send_jobs(struct pg_conn *conn, struct pg_flight *flight)
{
    const struct store_job_add *add = (const struct store_job_add *)flight->requests[0];
    bool adds = add->base.op == STORE_JOB_ADD;
    if (adds && add->fenced) {
        send_fence(conn, flight, add->partition, add->token, add->last_id);
    }
    if (!adds || add->count > 0) {
        pg_job_send(conn, flight);
    }
}

/* How many requests from the head of the queue make the next flight. */
static size_t count_shared(const struct pg_port *port)
{
    size_t max = SHARED_REQUESTS;
    if (port->isolate_left > 0) {
        max = port->isolate_max < port->isolate_left ? port->isolate_max : port->isolate_left;
    }
    size_t count = 0;
    size_t rows = 0;
    size_t size = 0;
    list_for_each (link, &port->writes) {
        const struct store_request *request = request_of(link);
        rows += rows_of(request);
        size += pg_write_size(request);
        bool fits = rows <= SHARED_ROWS && size <= SHARED_BYTES && count < max;
        if (count > 0 && (!fits || !can_share(request))) {
            break;
        }
        count++;
        if (!can_share(request)) {
            break;
        }
    }
    return count;
}

/* The statements of its requests, with one to follow the flight before. */
enum { MORE_RUNS = PG_FORGET_RUNS + 1 };

static struct pg_flight *take_flight(struct pg_port *port)
{
    size_t count = count_shared(port);
    struct pg_flight *flight;
    while ((flight = pg_flight_create(count, count + MORE_RUNS)) == NULL) {
        count /= 2; /* fewer at a time, while there is no memory */
    }
    for (size_t i = 0; i < count; i++) {
        flight->requests[flight->request_count++] = request_of(list_pop(&port->writes));
    }
    port->isolate_left -= count < port->isolate_left ? count : port->isolate_left;
    return flight;
}

/* What reads does so at once, with the server that has the rows: a standby may lack them. */
static void send_mend(struct pg_conn *conn, struct pg_flight *flight)
{
    struct store_request *request = flight->requests[0];
    pg_audience_mend(conn, flight);
    if (!op_writes(request->op)) {
        audience_forget(request);
        pg_read_add(conn, flight);
    }
}

/* Whether what the flight does must come behind what was sent before it. */
static bool keeps_order(const struct pg_flight *flight)
{
    return op_writes(flight->requests[0]->op) && !waits(flight->requests[0]);
}

/* Number the flight, behind `before` (0: it is the first); its number. */
static uint64_t send_follow(struct pg_port *port, struct pg_flight *flight, uint64_t before)
{
    struct pg_params *params = pg_conn_params(&port->writer);
    pg_add_u64(params, before);
    pg_add_u64(params, ++port->flown);
    pg_conn_send(&port->writer, flight, (struct pg_run){.which = PG_STMT_FOLLOW});
    return port->flown;
}

static bool is_of_user(enum store_op op)
{
    return op == STORE_EDIT || pg_device_writes(op) || op_is_of_push(op);
}

static void send_of_user(struct pg_conn *conn, struct pg_flight *flight)
{
    if (flight->requests[0]->op == STORE_EDIT) {
        pg_edit_send(conn, flight);
    } else if (op_is_of_push(flight->requests[0]->op)) {
        pg_push_send(conn, flight);
    } else {
        pg_device_send(conn, flight);
    }
}

/* What is done now and then, and what is said in rooms. */
static void send_the_rest(struct pg_conn *conn, struct pg_flight *flight)
{
    enum store_op op = flight->requests[0]->op;
    if (history_writes(op)) {
        pg_history_send(conn, flight);
    } else if (op == STORE_POSITIONS || op == STORE_SUMMARY_SWEEP) {
        pg_read_add(conn, flight);
    } else if (op == STORE_RETAIN) {
        send_retention(conn, flight);
    } else {
        send_sweep(conn, flight);
    }
}

static void send_flight(struct pg_conn *conn, struct pg_flight *flight)
{
    const struct store_request *request = flight->requests[0];
    if (waits(request)) {
        send_mend(conn, flight);
    } else if (request->op >= STORE_AUDIENCE_POST) {
        send_audience(conn, flight);
    } else if (can_share(request)) {
        send_shared(conn, flight);
    } else if (request->op == STORE_PUT) {
        send_put_alone(conn, flight);
    } else if (request->op == STORE_CLAIM) {
        send_claim(conn, flight);
    } else if (request->op == STORE_FORGET) {
        pg_forget_send(conn, flight);
    } else if (op_is_of_meta(request->op)) {
        pg_meta_send(conn, flight);
    } else if (is_of_user(request->op)) {
        send_of_user(conn, flight);
    } else if (request->op == STORE_DUE || request->op == STORE_RESCHEDULE) {
        pg_schedule_send(conn, flight);
    } else if (op_is_of_jobs(request->op)) {
        send_jobs(conn, flight);
    } else {
        send_the_rest(conn, flight);
    }
    pg_conn_commit(conn, flight);
}

void pg_write_gather(struct pg_port *port)
{
    port->isolate_left += port->isolate_left > 0 ? port->again_count : 0;
    port->again_count = 0;
    list_splice(&port->again, &port->writes);
    list_splice(&port->writes, &port->again);
}

void pg_write_dispatch(struct pg_port *port)
{
    struct pg_conn *conn = &port->writer;
    if (!pg_conn_is_up(conn) || conn->flight_count > 0) {
        return;
    }
    pg_write_gather(port);
    uint64_t before = 0;
    for (unsigned i = 0; i < ROUND_MAX && !list_empty(&port->writes) && pg_conn_is_up(conn); i++) {
        const struct store_request *first = request_of(port->writes.next);
        bool comes_again = port->isolate_left > 0 || (waits(first) && op_writes(first->op));
        struct pg_flight *flight = take_flight(port);
        bool last = comes_again || i == ROUND_MAX - 1 || list_empty(&port->writes);
        if (keeps_order(flight) && (before > 0 || !last)) {
            before = send_follow(port, flight, before);
        }
        send_flight(conn, flight);
        pg_patience_arm(port);
        if (comes_again) {
            break; /* a half that fails, or what waits, must come again before what is behind it */
        }
    }
}

/* --- taking in the answers --- */

static int read_mark(struct store_mark *mark, const PGresult *rows)
{
    enum { ID = 4, SEQ, STATE, LATE, REACH };
    struct result *arena = request_result(&mark->base);
    if (PQntuples(rows) == 0) {
        return STATUS_UNAVAILABLE;
    }
    mark->through = mark->id_count == 0 ? pg_u64(rows, 0, REACH) : 0; /* NULL: no more */
    mark->position = (struct store_position){
        .seq = pg_u64(rows, 0, 0),
        .rev = pg_u64(rows, 0, 1),
        .unread = pg_u64(rows, 0, 2),
        .unseen = pg_u64(rows, 0, 3),
    };
    for (int row = 0; row < PQntuples(rows) && !PQgetisnull(rows, row, ID); row++) {
        struct notification_change change = {
            .seq = pg_u64(rows, row, SEQ),
            .rev = mark->position.rev,
            .state = (enum notification_state)pg_i16(rows, row, STATE),
            .at = mark->at,
            .snoozed_until = mark->verb == NOTIFICATION_MARK_SNOOZE ? mark->until : 0,
        };
        pg_uuid(rows, row, ID, change.id);
        if (pg_bool(rows, row, LATE)) {
            change_append(arena, &mark->late, &mark->late_count, &change);
        } else {
            change_append(arena, &mark->changes, &mark->change_count, &change);
            mark->changed = true;
        }
    }
    return 0;
}

static int read_claim(struct store_claim *claim, const PGresult *rows)
{
    if (PQntuples(rows) != 1) {
        return STATUS_UNAVAILABLE;
    }
    claim->token = pg_u64(rows, 0, 0);
    claim->last_id = result_copy(request_result(&claim->base), pg_bytes(rows, 0, 1));
    return 0;
}

/* The user and kind of change of `row`, appended when it is another than the last one's. */
static struct store_swept *swept_of(
    struct store_sweep *sweep, const PGresult *rows, int row, bool news)
{
    struct result *arena = request_result(&sweep->base);
    struct bytes tenant = pg_bytes(rows, row, 0);
    struct bytes user = pg_bytes(rows, row, 1);
    if (sweep->user_count > 0) {
        struct store_swept *last = &sweep->users[sweep->user_count - 1];
        if (last->news == news && last->position.rev == pg_u64(rows, row, 3) &&
            bytes_eq(last->who.tenant, tenant) && bytes_eq(last->who.user, user)) {
            return last;
        }
    }
    struct store_swept *grown = result_grow(arena, sweep->users, sweep->user_count, sizeof(*grown));
    if (!grown) {
        return NULL;
    }
    sweep->users = grown;
    struct store_swept *swept = &grown[sweep->user_count++];
    *swept = (struct store_swept){
        .who.tenant = result_copy(arena, tenant),
        .who.user = result_copy(arena, user),
        .position.seq = pg_u64(rows, row, 2),
        .position.rev = pg_u64(rows, row, 3),
        .position.unread = pg_u64(rows, row, 4),
        .position.unseen = pg_u64(rows, row, 5),
        .news = news,
    };
    return swept;
}

static int read_sweep(struct store_sweep *sweep, const PGresult *rows)
{
    enum { USER = 1, ID = 6, SEQ, STATE, MORE, LATE };
    struct result *arena = request_result(&sweep->base);
    for (int row = 0; row < PQntuples(rows); row++) {
        if (PQgetisnull(rows, row, USER)) {
            sweep->more = pg_bool(rows, row, MORE);
            sweep->late_ms = pg_u64(rows, row, LATE);
            continue;
        }
        bool renewed = pg_i16(rows, row, STATE) < 0;
        enum notification_state state =
            renewed ? NOTIFICATION_UNREAD : (enum notification_state)pg_i16(rows, row, STATE);
        struct store_swept *swept = swept_of(sweep, rows, row, state == NOTIFICATION_UNREAD);
        if (!swept) {
            return STATUS_UNAVAILABLE;
        }
        swept->renewed = renewed || (swept->news && sweep->base.op == STORE_AUDIENCE_SWEEP);
        struct notification_change change = {
            .seq = pg_u64(rows, row, SEQ),
            .rev = swept->position.rev,
            .state = state,
            .at = sweep->now,
        };
        pg_uuid(rows, row, ID, change.id);
        change_append(arena, &swept->changes, &swept->change_count, &change);
    }
    return 0;
}

int pg_write_rows(struct pg_flight *flight, const struct pg_run *run, const PGresult *rows)
{
    if (run->count == 0) {
        return 0; /* a lock, a fence */
    }
    struct store_request *request = flight->requests[run->first];
    if (op_is_of_jobs(request->op)) {
        return pg_job_rows(request, run->which, rows);
    }
    if (op_is_of_push(request->op)) {
        return pg_push_rows(request, rows);
    }
    switch ((unsigned)request->op) {
    case STORE_AUDIENCE_POST:
    case STORE_RETRACT:
    case STORE_REVISE:
    case STORE_SUBSCRIBE:
        return pg_audience_rows(flight, run, rows);
    case STORE_PUT:
        return pg_put_read(flight, run, rows);
    case STORE_MARK:
        return read_mark((struct store_mark *)request, rows);
    case STORE_EDIT:
        return pg_edit_read((struct store_edit *)request, run->which, rows);
    case STORE_DUE:
    case STORE_RESCHEDULE:
        return pg_schedule_rows(request, rows);
    case STORE_DEVICE_PUT:
    case STORE_DEVICE_STATE:
    case STORE_DEVICE_REMOVE:
        return pg_device_rows((struct store_devices *)request, rows);
    case STORE_HISTORY_ADD:
    case STORE_HISTORY_SWEEP:
        return pg_history_rows(request, rows);
    case STORE_CLAIM:
        return read_claim((struct store_claim *)request, rows);
    case STORE_FORGET:
        return pg_forget_read((struct store_forget *)request, run->which, rows);
    case STORE_RETAIN:
        pg_retention_read((struct store_retention *)request, rows);
        return read_sweep((struct store_sweep *)request, rows);
    case STORE_SWEEP:
    case STORE_AUDIENCE_SWEEP:
        return read_sweep((struct store_sweep *)request, rows);
    case STORE_EPOCH:
    case STORE_NOTE:
        return pg_meta_rows(request, rows);
    case STORE_PREFERENCE_WRITE:
        return pg_preference_rows((struct store_preference *)request, rows);
    case STORE_LIST:
    case STORE_PAGE:
    case STORE_TEXTS:
    case STORE_ROWS:
    case STORE_PICK:
    case STORE_COUNTS:
    case STORE_SYNC:
    case STORE_GET:
    case STORE_POSITIONS:
    case STORE_SUMMARY_SWEEP:
        return pg_read_rows(flight, run, rows);
    default:
        break;
    }
    return STATUS_UNAVAILABLE;
}

static void complete(struct pg_flight *flight, size_t index)
{
    struct store_request *request = flight->requests[index];
    int status = flight->status;
    if (status == 0 && request->result && result_failed(request->result)) {
        status = STATUS_UNAVAILABLE;
    }
    if (status == STATUS_UNKNOWN && !op_writes(request->op)) {
        status = STATUS_UNAVAILABLE; /* a read that was not answered changed nothing */
    }
    if (status == 0 && flight->results[index]) {
        results_apply(request, flight->results[index]);
    }
    port_complete(request, status);
}

/* Queue the flight's requests again, before what was asked behind them. */
static void queue_again(struct pg_port *port, struct pg_flight *flight)
{
    for (size_t i = 0; i < flight->request_count; i++) {
        struct store_request *request = flight->requests[i];
        request_reset(request);
        list_append(&port->again, &request->link);
    }
}

/* The same, to be sent in halves. */
static void isolate(struct pg_port *port, struct pg_flight *flight)
{
    queue_again(port, flight);
    port->isolate_left += flight->request_count;
    port->isolate_max = flight->request_count / 2;
}

/* The fault is found, or not in these: what is left goes in larger parts again. */
static void go_on_isolating(struct pg_port *port)
{
    port->isolate_max = port->isolate_left > 0 ? 2 * port->isolate_max : 0;
}

/* Rows have been made: who writes is carried out now, who has read still lacks some. */
static void go_on(struct pg_port *port, struct pg_flight *flight)
{
    struct store_request *request = flight->requests[0];
    if (flight->status != 0) {
        complete(flight, 0);
    } else if (op_writes(request->op)) {
        audience_forget(request);
        list_append(&port->again, &request->link);
    } else {
        request_reset(request);
        list_append(&port->writes, &request->link);
    }
}

/* The flight met a user who has a digest. Others of the round may still come back, too. */
static void share(struct pg_port *port, struct pg_flight *flight)
{
    port->shares_until_ms = clock_mono_ms() + SHARES_MS;
    port->again_count += flight->request_count;
    queue_again(port, flight);
}

/* More is missing than is made beside. */
static void wait_for_rows(struct pg_port *port, struct store_request *request)
{
    request_reset(request);
    audience_lack_all(request);
    list_append(&port->again, &request->link);
}

static void take_verdict(struct pg_port *port, struct pg_flight *flight)
{
    bool many = flight->request_count > 1;
    if (waits(flight->requests[0])) {
        go_on(port, flight);
    } else if (flight->passed_over) {
        queue_again(port, flight);
    } else if (flight->status == STATUS_UNSUPPORTED) {
        share(port, flight);
    } else if (many && (flight->status == STATUS_INVALID || flight->status == STATUS_AGAIN)) {
        isolate(port, flight);
    } else if (flight->status == STATUS_AGAIN) {
        go_on_isolating(port);
        wait_for_rows(port, flight->requests[0]);
    } else {
        go_on_isolating(port);
        if (flight->status == 0) {
            pg_last_note(&port->last, flight);
        }
        for (size_t i = 0; i < flight->request_count; i++) {
            complete(flight, i);
        }
    }
}

void pg_write_landed(struct pg_port *port, struct pg_flight *flight)
{
    if (pg_last_landed(&port->last, flight)) {
        pg_patience_arm(port); /* where it was not answered */
        pg_flight_destroy(flight);
        return;
    }
    take_verdict(port, flight);
    pg_flight_destroy(flight);
}
