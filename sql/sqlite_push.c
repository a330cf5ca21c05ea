/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hand-offs to devices in SQLite: arranged, noted, looked at. Order of this file: jobs, one user, a
 * step over users, notes, looking. There is one writer, so nothing comes between the statements of
 * a request.
 */
#include "sql/sqlite_push.h"

#include "codec/base/clock.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/json_write.h"
#include "codec/notification.h"
#include "codec/slot.h"
#include "sql/engine.h"
#include "sql/sqlite_items.h"
#include "sql/sqlite_job.h"
#include "sql/sqlite_ops.h"

enum { BEGIN_OVERLAP = 60000 / STORE_CHANGED_UNIT_MS };

/* A user whose hand-offs are arranged. */
struct turn {
    struct sqlite_db *db;
    struct store_push_arrange *arrange;
    struct store_user who;
    uint64_t now;
    uint8_t (*devices)[NOTIFICATION_ID_LEN];
    size_t device_count;
    bool rest; /* there may be more rows */
};

static int run(struct query *query)
{
    int changed = query_run(query);
    return changed < 0 ? changed : 0;
}

static void open_user(struct query *query, struct sqlite_db *db, enum sqlite_statement which,
    const struct store_user *who)
{
    query_open(query, db, which);
    sqlite_bind_user(query, who);
}

/* --- jobs --- */

static void write_user(struct builder *out, const struct store_user *who)
{
    json_write_open(out, '{');
    json_write_text(out, "tenant", who->tenant);
    json_write_text(out, "user", who->user);
}

/* Add a job; takes the payload. */
static int add_job(struct turn *turn, struct bytes type, enum notification_priority priority,
    uint64_t run_at, struct builder *payload)
{
    struct store_job_new job = {.queue = BYTES(STORE_PUSH_QUEUE),
        .type = type,
        .payload = builder_bytes(payload),
        .priority = priority,
        .run_at = run_at};
    int status = builder_failed(payload) ? STATUS_NOMEM : 0;
    uuid7_make(turn->now, slot_of(turn->who.tenant, turn->who.user), job.id);
    status = status < 0 ? status : sqlite_job_insert(turn->db, &job, turn->now);
    builder_reset(payload);
    return status;
}

static int add_push(struct turn *turn, const uint8_t id[NOTIFICATION_ID_LEN], uint64_t rev,
    enum notification_priority priority)
{
    int status = 0;
    for (size_t i = 0; status == 0 && i < turn->device_count; i++) {
        struct builder payload = {0};
        write_user(&payload, &turn->who);
        json_write_uuid(&payload, "id", id);
        json_write_uuid(&payload, "device", turn->devices[i]);
        json_write_u64(&payload, "rev", rev);
        json_write_close(&payload, '}');
        status =
            add_job(turn, BYTES("push"), priority, turn->now + turn->arrange->after_ms, &payload);
        turn->arrange->jobs++;
    }
    return status;
}

/* --- one user --- */

static int read_devices(struct turn *turn)
{
    struct result *arena = request_result(&turn->arrange->base);
    struct query query;
    turn->devices = result_alloc(arena, STORE_DEVICES_MAX * sizeof(*turn->devices));
    if (turn->devices == NULL) {
        return STATUS_NOMEM;
    }
    open_user(&query, turn->db, SQLITE_STMT_PUSH_DEVICES, &turn->who);
    int more = query_step(&query);
    while (more > 0 && turn->device_count < STORE_DEVICES_MAX) {
        query_column_id(&query, 0, turn->devices[turn->device_count++]);
        more = query_step(&query);
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

/* Jobs of rows that are new above `done`, and up to which rev: of one rev all. */
static int arrange_rows(struct turn *turn, uint64_t done, uint64_t *ret_through)
{
    struct query query;
    size_t looked = 0;
    int status = 0;
    open_user(&query, turn->db, SQLITE_STMT_PUSH_FRESH, &turn->who);
    query_u64(&query, 4, done);
    int more = query_step(&query);
    while (more > 0 && status == 0) {
        uint8_t id[NOTIFICATION_ID_LEN] = {0};
        uint64_t rev = query_column_u64(&query, 1);
        if (looked >= STORE_PUSH_ROWS_MAX && rev != *ret_through) {
            turn->rest = true;
            break;
        }
        looked++;
        *ret_through = rev;
        query_column_id(&query, 0, id);
        if (query_column_u64(&query, 3) < NOTIFICATION_READ) {
            status =
                add_push(turn, id, rev, (enum notification_priority)query_column_u64(&query, 2));
        }
        more = query_step(&query);
    }
    query_close(&query);
    return status < 0 ? status : more < 0 ? more : 0;
}

/* What was pushed and is read, or gone. */
struct shown {
    uint8_t id[NOTIFICATION_ID_LEN];
    uint8_t device[NOTIFICATION_ID_LEN];
};

static int read_over(struct turn *turn, struct shown **ret_shown, size_t *ret_count)
{
    struct result *arena = request_result(&turn->arrange->base);
    struct query query;
    open_user(&query, turn->db, SQLITE_STMT_PUSH_OVER, &turn->who);
    int more = query_step(&query);
    while (more > 0) {
        struct shown *grown = result_grow(arena, *ret_shown, *ret_count, sizeof(*grown));
        if (grown == NULL) {
            more = STATUS_NOMEM;
            break;
        }
        *ret_shown = grown;
        query_column_id(&query, 0, grown[*ret_count].id);
        query_column_id(&query, 1, grown[*ret_count].device);
        (*ret_count)++;
        more = query_step(&query);
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

static int note_cleared(struct turn *turn, const struct shown *shown)
{
    struct query query;
    open_user(&query, turn->db, SQLITE_STMT_PUSH_CLEAR, &turn->who);
    query_id(&query, 4, shown->id);
    query_id(&query, 5, shown->device);
    query_u64(&query, 6, turn->now);
    return run(&query);
}

/* One job for some rows of one device. */
static int add_clear(struct turn *turn, const struct shown *shown, size_t count)
{
    struct builder payload = {0};
    int status = 0;
    write_user(&payload, &turn->who);
    json_write_uuid(&payload, "device", shown->device);
    json_write_key(&payload, "clear");
    json_write_open(&payload, '[');
    for (size_t i = 0; status == 0 && i < count; i++) {
        json_write_uuid_item(&payload, shown[i].id);
        status = note_cleared(turn, &shown[i]);
    }
    json_write_close(&payload, ']');
    json_write_close(&payload, '}');
    if (status < 0) {
        builder_reset(&payload);
        return status;
    }
    turn->arrange->clears++;
    return add_job(turn, BYTES("clear"), NOTIFICATION_URGENT, turn->now, &payload);
}

static int arrange_clears(struct turn *turn)
{
    struct shown *shown = NULL;
    size_t count = 0;
    int status = read_over(turn, &shown, &count);
    for (size_t from = 0, to = 0; status == 0 && from < count; from = to) {
        while (to < count && to - from < STORE_PUSH_CLEAR_MAX &&
               memcmp(shown[to].device, shown[from].device, NOTIFICATION_ID_LEN) == 0) {
            to++;
        }
        status = add_clear(turn, &shown[from], to - from);
    }
    return status;
}

/* 1: the user has a position, `ret_rev`; 0: it has none. */
static int read_reach(
    struct sqlite_db *db, const struct store_user *who, uint64_t *ret_rev, uint64_t *ret_received)
{
    struct query query;
    open_user(&query, db, SQLITE_STMT_PUSH_REACH, who);
    int more = query_step(&query);
    if (more > 0) {
        *ret_rev = query_column_u64(&query, 0);
        *ret_received = query_column_u64(&query, 1);
    }
    query_close(&query);
    return more;
}

static int arrange_user(struct turn *turn)
{
    struct store_position position;
    uint64_t floor;
    uint64_t received;
    uint64_t through = 0;
    int status = read_reach(turn->db, &turn->who, &through, &received);
    if (status <= 0) {
        return status; /* it was erased */
    }
    status = sqlite_read_position(turn->db, &turn->who, &position, &floor);
    status = status < 0 ? status : read_devices(turn);
    status = status < 0 ? status : arrange_rows(turn, through, &through);
    status = status < 0 ? status : arrange_clears(turn);
    if (status < 0) {
        return status;
    }
    struct query query;
    open_user(&query, turn->db, SQLITE_STMT_PUSH_REACHED, &turn->who);
    query_u64(&query, 4, turn->rest ? through : position.rev);
    return run(&query);
}

/* --- a step over users --- */

struct behind {
    struct store_user *users;
    size_t count;
};

static int read_behind(struct sqlite_db *db, struct store_push_arrange *arrange, size_t *ret_looked,
    struct behind *behind)
{
    enum { CHANGED, SLOT, TENANT, USER, REV, REACHED };
    struct result *arena = request_result(&arrange->base);
    struct query query;
    query_open(&query, db, SQLITE_STMT_PUSH_BEHIND);
    query_u64(&query, 1, arrange->from.changed_at);
    query_u64(&query, 2, arrange->from.slot);
    query_text(&query, 3, arrange->from.tenant);
    query_text(&query, 4, arrange->from.user);
    query_u64(&query, 5, STORE_PUSH_LOOK_MAX);
    int more = query_step(&query);
    while (more > 0 && behind->count < STORE_PUSH_USERS_MAX) {
        bool reached = query_column_u64(&query, REACHED) >= query_column_u64(&query, REV);
        (*ret_looked)++;
        arrange->next = (struct store_push_place){
            .changed_at = query_column_u64(&query, CHANGED),
            .slot = (uint32_t)query_column_u64(&query, SLOT),
            .tenant = result_copy(arena, query_column(&query, TENANT)),
            .user = result_copy(arena, query_column(&query, USER)),
        };
        if (!reached) {
            struct store_user *grown =
                result_grow(arena, behind->users, behind->count, sizeof(*grown));
            if (grown == NULL) {
                more = STATUS_NOMEM;
                break;
            }
            behind->users = grown;
            grown[behind->count++] =
                (struct store_user){.tenant = arrange->next.tenant, .user = arrange->next.user};
        }
        more = query_step(&query);
    }
    query_close(&query);
    return more < 0 ? more : result_failed(arena) ? STATUS_NOMEM : 0;
}

static int drop_old(struct sqlite_db *db, uint64_t now)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_PUSH_DROP);
    query_u64(&query, 1, now - STORE_PUSH_KEEP_MS);
    return run(&query);
}

static int arrange_one(struct sqlite_db *db, struct store_push_arrange *arrange,
    const struct store_user *who, uint64_t now, bool *ret_rest)
{
    struct turn turn = {.db = db, .arrange = arrange, .who = *who, .now = now};
    int status = arrange_user(&turn);
    *ret_rest = *ret_rest || turn.rest;
    return status;
}

static int run_arrange(struct sqlite_db *db, struct store_push_arrange *arrange)
{
    uint64_t now = clock_wall_ms();
    struct behind behind = {0};
    size_t looked = 0;
    bool rest = false;
    if (arrange->who.user.len > 0) {
        return arrange_one(db, arrange, &arrange->who, now, &arrange->more);
    }
    arrange->begin = now / STORE_CHANGED_UNIT_MS - BEGIN_OVERLAP;
    int status = read_behind(db, arrange, &looked, &behind);
    for (size_t i = 0; status == 0 && i < behind.count; i++) {
        status = arrange_one(db, arrange, &behind.users[i], now, &rest);
    }
    arrange->more = looked == STORE_PUSH_LOOK_MAX || behind.count == STORE_PUSH_USERS_MAX;
    uint64_t from = arrange->from.changed_at > 0 ? arrange->from.changed_at : 1;
    arrange->held_at = rest ? from : 0;
    return status < 0 || arrange->more ? status : drop_old(db, now);
}

/* --- notes --- */

int sqlite_push_begin(struct sqlite_db *db, const struct store_user *who)
{
    struct query query;
    open_user(&query, db, SQLITE_STMT_PUSH_HAS, who);
    int status = run(&query);
    if (status == 0) {
        open_user(&query, db, SQLITE_STMT_PUSH_BEGIN, who);
        status = run(&query);
    }
    return status;
}

/* 1: the row may be on a lock screen. */
static int is_open(struct sqlite_db *db, const struct store_push_note *note)
{
    struct query query;
    open_user(&query, db, SQLITE_STMT_PUSH_OPEN, &note->who);
    query_id(&query, 4, note->id);
    int more = query_step(&query);
    query_close(&query);
    return more;
}

static int run_note(struct sqlite_db *db, struct store_push_note *note)
{
    struct store_position position = {0};
    uint64_t rev;
    uint64_t received;
    int there = read_reach(db, &note->who, &rev, &received);
    int open = there > 0 ? is_open(db, note) : there;
    int status = sqlite_read_position(db, &note->who, &position, &rev);
    if (open < 0 || status < 0) {
        return open < 0 ? open : status;
    }
    note->unread = position.unread;
    note->closed = !note->failed && open == 0;
    if (there == 0) {
        return 0; /* the user was erased */
    }
    struct query query;
    open_user(&query, db, SQLITE_STMT_PUSH_NOTE, &note->who);
    query_id(&query, 4, note->id);
    query_id(&query, 5, note->device_id);
    query_u64(&query, 6, note->rev);
    query_text(&query, 7, note->type);
    query_u64(&query, 8,
        (uint64_t)(note->failed   ? PUSH_STATE_FAILED
                   : note->closed ? PUSH_STATE_CLEARED
                                  : PUSH_STATE_SHOWN));
    query_u64(&query, 9, clock_wall_ms());
    query_text(&query, 10, note->error);
    return run(&query);
}

static int run_received(struct sqlite_db *db, struct store_push_received *received)
{
    struct query query;
    open_user(&query, db, SQLITE_STMT_PUSH_RECEIVED, &received->who);
    query_u64(&query, 4, received->seq);
    int changed = query_run(&query);
    received->known = changed > 0;
    return changed < 0 ? changed : 0;
}

int sqlite_push_write(struct sqlite_db *db, struct store_request *request)
{
    switch ((unsigned)request->op) {
    case STORE_PUSH_ARRANGE:
        return run_arrange(db, (struct store_push_arrange *)request);
    case STORE_PUSH_NOTE:
        return run_note(db, (struct store_push_note *)request);
    default:
        return run_received(db, (struct store_push_received *)request);
    }
}

/* --- looking --- */

static int find_device(struct sqlite_db *db, struct store_push_look *look)
{
    enum { BODY, CREATED, REGISTERED, FOREGROUND, ADDRESS };
    struct query query;
    open_user(&query, db, SQLITE_STMT_PUSH_DEVICE, &look->who);
    query_id(&query, 4, look->device_id);
    int more = query_step(&query);
    if (more > 0) {
        look->has_device = true;
        look->device = (struct store_device){
            .body = result_copy(request_result(&look->base), query_column(&query, BODY)),
            .created_at = query_column_u64(&query, CREATED),
            .registered_at = query_column_u64(&query, REGISTERED),
            .foreground_at = query_column_u64(&query, FOREGROUND),
        };
        memcpy(look->device.id, look->device_id, NOTIFICATION_ID_LEN);
        query_column_id(&query, ADDRESS, look->device.address_hash);
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

static int find_state(struct sqlite_db *db, struct store_push_look *look)
{
    struct query query;
    open_user(&query, db, SQLITE_STMT_PUSH_FIND, &look->who);
    query_id(&query, 4, look->id);
    query_id(&query, 5, look->device_id);
    int more = query_step(&query);
    if (more > 0) {
        look->state = (enum store_push_state)query_column_u64(&query, 0);
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

static int count_recent(struct sqlite_db *db, struct store_push_look *look)
{
    struct query query;
    if (look->recent_ms == 0 || !look->has_row) {
        return 0;
    }
    open_user(&query, db, SQLITE_STMT_PUSH_RECENT, &look->who);
    query_id(&query, 4, look->device_id);
    query_text(&query, 5, look->item.type);
    query_u64(&query, 6, look->now - look->recent_ms);
    int more = query_step(&query);
    if (more > 0) {
        look->recent = query_column_u64(&query, 0);
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

static int find_preferences(struct sqlite_db *db, struct store_push_look *look)
{
    struct query query;
    open_user(&query, db, SQLITE_STMT_PREFERENCE_READ, &look->who);
    int more = query_step(&query);
    if (more > 0) {
        look->preferences = result_copy(request_result(&look->base), query_column(&query, 1));
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

static int find_row(struct sqlite_db *db, struct store_push_look *look)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_GET);
    query_u64(&query, 1, slot_of_id(look->id));
    query_id(&query, 2, look->id);
    query_text(&query, 3, look->who.tenant);
    int more = query_step(&query);
    if (more > 0) {
        sqlite_items_read(&query, request_result(&look->base), &look->item);
        look->has_row = bytes_eq(look->item.user, look->who.user);
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

int sqlite_push_look(struct sqlite_db *db, struct store_push_look *look)
{
    uint64_t rev;
    uint64_t floor;
    look->now = clock_wall_ms();
    int status = find_row(db, look);
    status = status < 0 ? status : find_device(db, look);
    status = status < 0 ? status : find_state(db, look);
    status = status < 0 ? status : find_preferences(db, look);
    status = status < 0 ? status : count_recent(db, look);
    status = status < 0 ? status : sqlite_read_position(db, &look->who, &look->position, &floor);
    return status < 0                                              ? status
           : read_reach(db, &look->who, &rev, &look->received) < 0 ? STATUS_UNAVAILABLE
                                                                   : 0;
}
