/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading requests as statements, and their rows as results.
 */
#include "sql/pg_port.h"

#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/audience.h"
#include "sql/pg_audience.h"
#include "sql/pg_device.h"
#include "sql/pg_history.h"
#include "sql/pg_items.h"
#include "sql/pg_job.h"
#include "sql/pg_page.h"
#include "sql/pg_push.h"
#include "sql/pg_search.h"
#include "sql/pg_summary.h"

/* Sending first, then reading; each read is one statement, so it sees one snapshot. */

static enum pg_statement add_list(struct pg_params *params, const struct store_list *list)
{
    pg_items_add_list(params, list);
    pg_add_u64(params, STORE_LOOKED_MAX);
    return list->ascending ? PG_STMT_LIST_ASC : PG_STMT_LIST;
}

static enum pg_statement add_rows(struct pg_params *params, const struct store_list *rows)
{
    pg_add_user(params, rows->who.tenant, rows->who.user);
    pg_add_u64(params, rows->before.seq);
    pg_add_u64(params, (uint64_t)rows->limit + 1);
    pg_add_u64(params, rows->max_bytes > 0 ? rows->max_bytes : INT64_MAX);
    return PG_STMT_ROWS;
}

static enum pg_statement add_counts(struct pg_params *params, const struct store_counts *counts)
{
    pg_add_user(params, counts->who.tenant, counts->who.user);
    pg_add_u64(params, STORE_GROUPS_MAX);
    return counts->by_priority ? PG_STMT_COUNTS_PRIORITY : PG_STMT_COUNTS_TYPE;
}

static enum pg_statement add_sync(struct pg_params *params, const struct store_sync *sync)
{
    pg_add_user(params, sync->who.tenant, sync->who.user);
    pg_add_u64(params, sync->rev);
    pg_add_u64(params, sync->limit);
    pg_add_u64(params, STORE_REV_MAX);
    pg_add_u64(params, sync->max_bytes > 0 ? sync->max_bytes : INT64_MAX);
    return PG_STMT_SYNC;
}

static enum pg_statement add_get(struct pg_params *params, const struct store_get *get)
{
    pg_add_i16(params, (int16_t)slot_of_id(get->id));
    pg_add_uuid(params, get->id);
    pg_add_text(params, get->who.tenant);
    return PG_STMT_GET;
}

static enum pg_statement add_positions(
    struct pg_params *params, const struct store_positions *positions)
{
    pg_add_array(params, PG_INT2, positions->count);
    for (size_t i = 0; i < positions->count; i++) {
        const struct store_user *who = &positions->users[i];
        pg_add_element_i16(params, (int16_t)slot_of(who->tenant, who->user));
    }
    pg_add_array(params, PG_TEXT, positions->count);
    for (size_t i = 0; i < positions->count; i++) {
        pg_add_element(params, positions->users[i].tenant);
    }
    pg_add_array(params, PG_TEXT, positions->count);
    for (size_t i = 0; i < positions->count; i++) {
        pg_add_element(params, positions->users[i].user);
    }
    return PG_STMT_POSITIONS;
}

static enum pg_statement add_params(struct pg_params *params, const struct store_request *request)
{
    switch ((unsigned)request->op) {
    case STORE_LIST:
        return add_list(params, (const struct store_list *)request);
    case STORE_PAGE:
        return pg_page_add(params, (const struct store_page *)request);
    case STORE_ROWS:
        return add_rows(params, (const struct store_list *)request);
    case STORE_TEXTS:
        return pg_search_add_texts(params, (const struct store_list *)request);
    case STORE_PICK:
        return pg_search_add_pick(params, (const struct store_pick *)request);
    case STORE_COUNTS:
        return add_counts(params, (const struct store_counts *)request);
    case STORE_SYNC:
        return add_sync(params, (const struct store_sync *)request);
    case STORE_GET:
        return add_get(params, (const struct store_get *)request);
    case STORE_POSITIONS:
        return add_positions(params, (const struct store_positions *)request);
    case STORE_PREFERENCE_READ:
        return pg_preference_add(params, (const struct store_preference *)request);
    case STORE_WITNESS_RAISE:
        pg_add_text(params, ((const struct store_witness *)request)->node);
        return PG_STMT_WITNESS_RAISE;
    case STORE_WITNESS_READ:
        pg_add_text(params, ((const struct store_witness *)request)->node);
        return PG_STMT_WITNESS_READ;
    case STORE_SUMMARY:
        return pg_summary_add(params, (const struct store_summary *)request);
    case STORE_SUMMARY_SWEEP:
        return pg_summary_add_sweep(params, (const struct store_sweep *)request);
    case STORE_JOB_GET:
    case STORE_JOB_LIST:
    case STORE_QUEUES:
        return pg_job_add_read(params, request);
    case STORE_DEVICE_LIST:
        return pg_device_add(params, (const struct store_devices *)request);
    case STORE_HISTORY_LIST:
        return pg_history_add_read(params, (const struct store_history_list *)request);
    case STORE_PUSH_LOOK:
        return pg_push_add(params, request);
    default: /* STORE_CHANGED has two statements */
        break;
    }
    return PG_STMT_PING;
}

/*
 * What is asked for next is read first: all that is not seen then by the second statement, in its
 * later snapshot, has a time that is not below it. One unit more is for clocks of servers that
 * took over from each other.
 */
static void send_changed(struct pg_conn *conn, struct store_changed *changed)
{
    struct pg_flight *flight = pg_flight_create(1, 2);
    flight->requests[flight->request_count++] = &changed->base;
    (void)pg_conn_params(conn);
    pg_conn_send(conn, flight, (struct pg_run){.which = PG_STMT_CHANGED_NEXT, .count = 1});
    if (changed->since > 0) {
        struct pg_params *params = pg_conn_params(conn);
        pg_add_i32(params, (int32_t)changed->since - 1);
        pg_add_u64(params, (uint64_t)changed->limit + 1);
        pg_conn_send(conn, flight, (struct pg_run){.which = PG_STMT_CHANGED, .count = 1});
    }
    pg_conn_commit(conn, flight);
}

void pg_read_add(struct pg_conn *conn, struct pg_flight *flight)
{
    const struct store_request *request = flight->requests[0];
    if (request->op >= STORE_AUDIENCE_POST) {
        pg_audience_add(conn, flight);
        return;
    }
    if (audience_is_asked(
            request)) { /* first: what is missing then was made by the snapshot behind */
        pg_audience_ask(conn, flight);
    }
    enum pg_statement which = add_params(pg_conn_params(conn), request);
    pg_conn_send(conn, flight, (struct pg_run){.which = which, .count = 1});
}

void pg_read_send(struct pg_conn *conn, struct store_request *request)
{
    if (request->op == STORE_CHANGED) {
        send_changed(conn, (struct store_changed *)request);
        return;
    }
    struct pg_flight *flight = pg_flight_create(1, 2);
    flight->requests[flight->request_count++] = request;
    pg_read_add(conn, flight);
    pg_conn_commit(conn, flight);
}

void pg_read_unblock(struct pg_conn *conn, int blocked)
{
    struct pg_flight *flight = pg_flight_create(0, 1);
    pg_add_i32(pg_conn_params(conn), blocked);
    pg_conn_send(conn, flight, (struct pg_run){.which = PG_STMT_UNBLOCK});
    pg_conn_commit(conn, flight);
}

static int read_list(struct store_list *list, const PGresult *rows)
{
    enum { ITEM = 4 };
    list->next = pg_items_edge(rows, PQnfields(rows) - 2); /* behind the items */
    pg_items_read_list(list, rows, ITEM);
    return 0;
}

static int read_rows(struct store_list *list, const PGresult *rows)
{
    enum { ITEM = 4 };
    pg_items_read_list(list, rows, ITEM);
    return 0;
}

static int read_counts(struct store_counts *counts, const PGresult *rows)
{
    enum { NAME = 4, PRIORITY, UNREAD, UNSEEN };
    struct result *arena = request_result(&counts->base);
    counts->position = pg_items_position(rows);
    counts->groups = result_alloc(arena, (size_t)PQntuples(rows) * sizeof(*counts->groups));
    for (int row = 0; row < PQntuples(rows) && !PQgetisnull(rows, row, UNREAD); row++) {
        if (!counts->groups) {
            return STATUS_UNAVAILABLE;
        }
        counts->groups[counts->group_count++] = (struct store_group){
            .type = result_copy(arena, pg_bytes(rows, row, NAME)),
            .priority = (enum notification_priority)pg_i16(rows, row, PRIORITY),
            .unread = pg_u64(rows, row, UNREAD),
            .unseen = pg_u64(rows, row, UNSEEN),
        };
    }
    return 0;
}

/* Where the bytes were too many, the page ends with the last rev that is told. */
static void end_page(struct store_sync *sync, const PGresult *rows, int key, int most)
{
    uint64_t last = 0;
    for (int row = 0; row < PQntuples(rows) && !PQgetisnull(rows, row, key); row++) {
        uint64_t told = pg_u64(rows, row, key);
        last = told > last ? told : last;
    }
    if (last > 0 && last < pg_u64(rows, 0, most)) {
        sync->through_rev = last;
    }
}

static int read_sync(struct store_sync *sync, const PGresult *rows)
{
    enum { RESYNC = 4, THROUGH, KEY, MOST, KIND, AT, ITEM };
    struct result *arena = request_result(&sync->base);
    sync->position = pg_items_position(rows);
    sync->resync = pg_bool(rows, 0, RESYNC);
    sync->through_rev = pg_u64(rows, 0, THROUGH);
    end_page(sync, rows, KEY, MOST);
    sync->done = !sync->resync && sync->through_rev == sync->position.rev;
    for (int row = 0; row < PQntuples(rows) && !PQgetisnull(rows, row, KIND); row++) {
        if (pg_i16(rows, row, KIND) == 0) {
            pg_items_append(rows, row, ITEM, arena, &sync->items, &sync->item_count);
            continue;
        }
        struct notification_change change = {
            .seq = pg_u64(rows, row, ITEM + 1),
            .rev = pg_u64(rows, row, ITEM + 2),
            .state = (enum notification_state)pg_i16(rows, row, ITEM + 3),
            .at = pg_u64(rows, row, AT),
            .snoozed_until = pg_u64(rows, row, ITEM + 17),
        };
        pg_uuid(rows, row, ITEM, change.id);
        change_append(arena, &sync->changes, &sync->change_count, &change);
    }
    return 0;
}

static int read_get(struct store_get *get, const PGresult *rows)
{
    if (PQntuples(rows) == 0) {
        return STATUS_NOT_FOUND;
    }
    pg_items_read(rows, 0, 0, request_result(&get->base), &get->item);
    return 0;
}

static int read_positions(struct store_positions *positions, const PGresult *rows)
{
    size_t size = positions->count * sizeof(struct store_position);
    positions->positions = result_alloc(request_result(&positions->base), size);
    for (int row = 0; row < PQntuples(rows) && positions->positions; row++) {
        uint64_t n = pg_u64(rows, row, 0);
        if (n < 1 || n > positions->count) {
            return STATUS_UNAVAILABLE;
        }
        positions->positions[n - 1] = (struct store_position){
            .seq = pg_u64(rows, row, 1),
            .rev = pg_u64(rows, row, 2),
            .unread = pg_u64(rows, row, 3),
            .unseen = pg_u64(rows, row, 4),
            .preference_rev = pg_u64(rows, row, 5),
        };
    }
    return 0;
}

static int read_changed(
    struct store_changed *changed, enum pg_statement which, const PGresult *rows)
{
    if (which == PG_STMT_CHANGED_NEXT) {
        changed->next = PQntuples(rows) == 1 ? pg_u64(rows, 0, 0) : 0;
        return changed->next > 0 ? 0 : STATUS_UNAVAILABLE;
    }
    struct result *arena = request_result(&changed->base);
    size_t count = (size_t)PQntuples(rows);
    changed->more = count > changed->limit;
    count = changed->more ? changed->limit : count;
    changed->users = result_alloc(arena, count * sizeof(*changed->users));
    if (!changed->users) {
        return STATUS_UNAVAILABLE;
    }
    for (int row = 0; (size_t)row < count; row++) {
        changed->users[changed->user_count++] = (struct store_moved){
            .who.tenant = result_copy(arena, pg_bytes(rows, row, 0)),
            .who.user = result_copy(arena, pg_bytes(rows, row, 1)),
            .position.seq = pg_u64(rows, row, 2),
            .position.rev = pg_u64(rows, row, 3),
            .position.unread = pg_u64(rows, row, 4),
            .position.unseen = pg_u64(rows, row, 5),
            .position.preference_rev = pg_u64(rows, row, 6),
        };
    }
    return 0;
}

static int read_witness(struct store_witness *witness, const PGresult *rows)
{
    witness->number = PQntuples(rows) > 0 ? pg_u64(rows, 0, 0) : 0;
    return 0;
}

int pg_read_rows(struct pg_flight *flight, const struct pg_run *run, const PGresult *rows)
{
    if (run->count == 0) {
        return 0; /* what pg_read_unblock has sent */
    }
    struct store_request *request = flight->requests[run->first];
    if (request->op >= STORE_AUDIENCE_POST || run->which == PG_STMT_AUDIENCE_BEHIND) {
        return pg_audience_rows(flight, run, rows);
    }
    switch ((unsigned)request->op) {
    case STORE_LIST:
        return PQntuples(rows) > 0 ? read_list((struct store_list *)request, rows)
                                   : STATUS_UNAVAILABLE;
    case STORE_ROWS:
        return PQntuples(rows) > 0 ? read_rows((struct store_list *)request, rows)
                                   : STATUS_UNAVAILABLE;
    case STORE_PAGE:
        return pg_page_read((struct store_page *)request, rows);
    case STORE_TEXTS:
        return pg_search_read_texts((struct store_list *)request, rows);
    case STORE_PICK:
        return pg_search_read_pick((struct store_pick *)request, rows);
    case STORE_COUNTS:
        return PQntuples(rows) > 0 ? read_counts((struct store_counts *)request, rows)
                                   : STATUS_UNAVAILABLE;
    case STORE_SYNC:
        return PQntuples(rows) > 0 ? read_sync((struct store_sync *)request, rows)
                                   : STATUS_UNAVAILABLE;
    case STORE_GET:
        return read_get((struct store_get *)request, rows);
    case STORE_POSITIONS:
        return read_positions((struct store_positions *)request, rows);
    case STORE_CHANGED:
        return read_changed((struct store_changed *)request, run->which, rows);
    case STORE_PREFERENCE_READ:
        return pg_preference_rows((struct store_preference *)request, rows);
    case STORE_WITNESS_RAISE:
    case STORE_WITNESS_READ:
        return read_witness((struct store_witness *)request, rows);
    case STORE_SUMMARY:
        return pg_summary_read((struct store_summary *)request, rows);
    case STORE_SUMMARY_SWEEP:
        return pg_summary_read_sweep((struct store_sweep *)request, rows);
    case STORE_JOB_GET:
    case STORE_JOB_LIST:
    case STORE_QUEUES:
        return pg_job_read(request, rows);
    case STORE_DEVICE_LIST:
        return pg_device_rows((struct store_devices *)request, rows);
    case STORE_HISTORY_LIST:
        return pg_history_rows(request, rows);
    case STORE_PUSH_LOOK:
        return pg_push_rows(request, rows);
    case STORE_PING:
        return 0;
    default:
        break;
    }
    return STATUS_UNAVAILABLE;
}
