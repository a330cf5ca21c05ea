/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of single users in a race, noted and judged. Order of this file: what is noted, posts, posts
 * for later, what users do, what is expected.
 */
#include "tests/unit/sql/race_own.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/check.h"
#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "sql/store_edit.h"
#include "sql/store_preference.h"
#include "sql/store_schedule.h"
#include "tests/unit/sql/race_run.h"

enum {
    USERS = 4,
    SEQS_MAX = 3000,
    REVS_MAX = 40000, /* of a user */
    NOTES_MAX = 400000,
    POSTS_MAX = 8000,
    GUARDS_MAX = 8000,
    WRITES_MAX = 2000,
    KEYS = 1500, /* so few that workers repeat each other's */
    PUT_MAX = 3,
    IDS_MAX = 3,
    BULK_MAX = 40,
    SPAN_MS = 1000000,
    CREATED = 5,
    ALL_PARTS = (1 << STORE_SCHEDULE_PARTS) - 1,
};

#define TENANT BYTES("own")
#define REFUSES "{\"types\": {\"quiet\": {\"inbox\": false}}}" /* as jsonb writes it */
#define WANTS "{\"types\": {\"quiet\": {\"inbox\": true}}}"

static const char *const users[USERS] = {"ann", "ben", "cid", "dan"};

/* --- what is noted --- */

enum kind { PUT, CHANGE, GONE };

/* A row that an operation has changed. */
struct note {
    unsigned user;
    uint64_t op; /* of all */
    enum kind kind;
    uint64_t rev;
    uint64_t seq;
    uint64_t count; /* PUT: of posts that the row stands for by then */
};

/* What a key stands for; what is kept for later is found by `id`. */
struct own_post {
    unsigned key;
    uint8_t id[NOTIFICATION_ID_LEN];
    bool later;
    unsigned delivered;
    unsigned cancelled;
};

/* A row that was to change if it had not since `if_rev`. */
struct guard {
    unsigned user;
    uint64_t seq;
    uint64_t if_rev;
    uint64_t rev; /* at which it did, or (late) stood */
    bool late;
};

/* Preferences that were written. */
struct write {
    struct race_span span;
    unsigned user;
    uint64_t rev;
    bool wants;
};

struct race_own {
    pthread_mutex_t lock; /* of all below */
    bool lost;
    uint64_t ops;
    struct note notes[NOTES_MAX];
    size_t note_count;
    struct own_post posts[POSTS_MAX];
    size_t post_count;
    struct guard guards[GUARDS_MAX];
    size_t guard_count;
    size_t judged; /* of the guards */
    struct write writes[WRITES_MAX];
    size_t write_count;
    uint8_t ids[USERS][SEQS_MAX][NOTIFICATION_ID_LEN]; /* by seq */
    uint64_t known[USERS]; /* the highest seq that was told */
    uint64_t revs[USERS][SEQS_MAX]; /* that was told last of a row */
};

struct race_own *race_own_create(void)
{
    struct race_own *own = mem_alloc(sizeof(*own));
    pthread_mutex_init(&own->lock, NULL);
    return own;
}

void race_own_destroy(struct race_own *own)
{
    pthread_mutex_destroy(&own->lock);
    mem_free(own);
}

void race_own_lose(struct race_own *own)
{
    pthread_mutex_lock(&own->lock);
    own->lost = true;
    pthread_mutex_unlock(&own->lock);
}

static struct store_user who_of(unsigned user)
{
    return (struct store_user){.tenant = TENANT, .user = bytes_str(users[user])};
}

/* The lock is held. */
static uint64_t begin_op(struct race_own *own)
{
    return ++own->ops;
}

/* The lock is held; `id` is that of the row. */
static void add_note(
    struct race_own *own, const struct note *note, const uint8_t id[NOTIFICATION_ID_LEN])
{
    CHECK(own->note_count < NOTES_MAX && note->seq < SEQS_MAX && note->rev < REVS_MAX);
    own->notes[own->note_count++] = *note;
    memcpy(own->ids[note->user][note->seq], id, NOTIFICATION_ID_LEN);
    uint64_t *rev = &own->revs[note->user][note->seq];
    uint64_t *known = &own->known[note->user];
    *rev = note->rev > *rev ? note->rev : *rev;
    *known = note->seq > *known ? note->seq : *known;
}

/* The lock is held. */
static void note_changes(struct race_own *own, unsigned user,
    const struct notification_change *changes, size_t count, uint64_t op)
{
    for (size_t i = 0; i < count; i++) {
        const struct notification_change *change = &changes[i];
        const struct note note = {.user = user,
            .op = op,
            .kind = change->state >= NOTIFICATION_EXPIRED ? GONE : CHANGE,
            .rev = change->rev,
            .seq = change->seq};
        add_note(own, &note, change->id);
    }
}

void race_own_sweep(struct worker *worker, const struct store_sweep *sweep)
{
    struct race_own *own = worker->arena->own;
    pthread_mutex_lock(&own->lock);
    for (size_t i = 0; i < sweep->user_count; i++) {
        const struct store_swept *swept = &sweep->users[i];
        for (unsigned user = 0; user < USERS && bytes_eq(swept->who.tenant, TENANT); user++) {
            if (bytes_eq_str(swept->who.user, users[user])) {
                note_changes(own, user, swept->changes, swept->change_count, begin_op(own));
            }
        }
    }
    pthread_mutex_unlock(&own->lock);
}

static uint64_t draw(struct worker *worker, uint64_t bound)
{
    return rand_below(&worker->rand, bound);
}

/* --- posts --- */

/* Whether a put of `span` of what is refused by default may, and may not, have been stored. The
 * lock is held. */
static void judge_wish(struct worker *worker, unsigned user, struct race_span span, bool stored)
{
    const struct race_own *own = worker->arena->own;
    bool may_be_first = true;
    bool possible[2] = {0};
    for (size_t i = 0; i < own->write_count; i++) {
        const struct write *write = &own->writes[i];
        if (write->user != user || write->span.begin > span.end) {
            continue;
        }
        may_be_first = may_be_first && write->span.end >= span.begin;
        bool over = false; /* another one came behind it, and was there */
        for (size_t j = 0; j < own->write_count && !over; j++) {
            const struct write *other = &own->writes[j];
            over = other->user == user && other->span.begin > write->span.end &&
                   other->span.end < span.begin;
        }
        possible[write->wants] = possible[write->wants] || !over;
    }
    possible[0] = possible[0] || may_be_first;
    if (!possible[stored]) {
        race_fail(&worker->arena->race, "%s: a row of a type that is %s", users[user],
            stored ? "not wanted" : "wanted");
    }
}

/* What a key stands for: whoever uses it posts the same. */
static struct store_row make_row(unsigned key, unsigned *ret_user)
{
    static const char *const names[] = {"a", "b"};
    struct rand rand;
    rand_init(&rand, key);
    *ret_user = (unsigned)rand_below(&rand, USERS);
    struct store_row row = row_of(who_of(*ret_user), key, key);
    uint64_t dice = rand_below(&rand, 8);
    row.created_at = CREATED;
    give_row(&row, who_of(*ret_user));
    if (dice < 2) {
        row.collapse = bytes_str(names[rand_below(&rand, 2)]);
    } else if (dice < 5) {
        row.type = BYTES("comment");
        row.digest_ms = SPAN_MS;
    } else if (dice < 6) {
        row.type = BYTES("quiet");
        row.unwanted = true;
    }
    return row;
}

/* Note one row that was put in `span`; the lock is held. */
static void note_put(struct worker *worker, const struct store_row *row, unsigned user,
    struct race_span span, uint64_t op)
{
    bool stored = row->outcome == OUTCOME_STORED || row->outcome == OUTCOME_COLLAPSED;
    if (stored) {
        const struct note note = {.user = user,
            .op = op,
            .kind = PUT,
            .rev = row->rev,
            .seq = row->seq,
            .count = row->count};
        add_note(worker->arena->own, &note, row->id);
    }
    if (bytes_eq_str(row->type, "quiet") && (stored || row->outcome == OUTCOME_SUPPRESSED)) {
        judge_wish(worker, user, span, stored);
    }
}

/* What is kept for later has one entry, whoever is answered first. The lock is held. */
static struct own_post *find_or_add(
    struct race_own *own, const uint8_t id[NOTIFICATION_ID_LEN], bool later)
{
    for (size_t i = 0; i < own->post_count && later; i++) {
        if (own->posts[i].later && memcmp(own->posts[i].id, id, NOTIFICATION_ID_LEN) == 0) {
            return &own->posts[i];
        }
    }
    CHECK(own->post_count < POSTS_MAX);
    struct own_post *post = &own->posts[own->post_count++];
    *post = (struct own_post){.key = KEYS, .later = later}; /* as long as it is not known */
    memcpy(post->id, id, NOTIFICATION_ID_LEN);
    return post;
}

/* A key was used first. The lock is held. */
static void note_key(struct worker *worker, unsigned key, const struct store_row *row)
{
    struct race_own *own = worker->arena->own;
    bool first = row->outcome != OUTCOME_DUPLICATE && row->outcome != OUTCOME_CONFLICT;
    for (size_t i = 0; i < own->post_count && first; i++) {
        if (own->posts[i].key == key) {
            race_fail(&worker->arena->race, "key %u was new twice", key);
        }
    }
    if (row->outcome == OUTCOME_CONFLICT) {
        race_fail(&worker->arena->race, "key %u: a conflict", key);
    }
    if (first) {
        bool later = row->outcome == OUTCOME_SCHEDULED;
        find_or_add(own, row->id, later)->key = key;
    }
}

/* One of three requests keeps its rows for later: they are due at once. */
static void put(struct worker *worker)
{
    struct race_own *own = worker->arena->own;
    struct store_row rows[PUT_MAX];
    unsigned keys[PUT_MAX];
    unsigned whose[PUT_MAX];
    size_t count = 1 + draw(worker, PUT_MAX);
    bool later = draw(worker, 3) == 0;
    for (size_t i = 0; i < count; i++) {
        keys[i] = (unsigned)draw(worker, KEYS);
        rows[i] = make_row(keys[i], &whose[i]);
        rows[i].deliver_at = later ? clock_wall_ms() - 1 : 0;
    }
    struct store_put request = {.base.op = STORE_PUT, .rows = rows, .count = count};
    struct race_span span = {.begin = race_tick(&worker->arena->race)};
    int status = race_ask(worker, &request.base);
    span.end = race_tick(&worker->arena->race);
    pthread_mutex_lock(&own->lock);
    for (size_t i = 0; status == 0 && i < count; i++) {
        note_key(worker, keys[i], &rows[i]);
        note_put(worker, &rows[i], whose[i], span, begin_op(own)); /* each takes a rev */
    }
    pthread_mutex_unlock(&own->lock);
    store_request_finish(&request.base);
}

/* --- posts for later --- */

static unsigned find_user(struct bytes name)
{
    unsigned user = 0;
    while (user + 1 < USERS && !bytes_eq_str(name, users[user])) {
        user++;
    }
    return user;
}

/* Who else delivers it, or cancels it, wins or does not. */
static void deliver_one(struct worker *worker, const struct store_scheduled *item)
{
    struct race_own *own = worker->arena->own;
    struct store_row row = item->row;
    uint8_t id[NOTIFICATION_ID_LEN];
    memcpy(id, row.id, NOTIFICATION_ID_LEN);
    row.created_at = CREATED;
    row.digest_ms = bytes_eq_str(row.type, "comment") ? SPAN_MS : 0;
    row.unwanted = bytes_eq_str(row.type, "quiet");
    struct store_put request = {.base.op = STORE_PUT, .rows = &row, .count = 1};
    struct race_span span = {.begin = race_tick(&worker->arena->race)};
    int status = race_ask(worker, &request.base);
    span.end = race_tick(&worker->arena->race);
    pthread_mutex_lock(&own->lock);
    if (status == 0) {
        find_or_add(own, id, true)->delivered++; /* its poster may not have been answered yet */
        note_put(worker, &row, find_user(item->row.who.user), span, begin_op(own));
    }
    pthread_mutex_unlock(&own->lock);
    store_request_finish(&request.base);
}

/* How many were due. */
static size_t deliver(struct worker *worker)
{
    struct store_due due = {.base.op = STORE_DUE,
        .parts = ALL_PARTS,
        .limit = 1 + (uint32_t)draw(worker, 5),
        .max_bytes = INT64_MAX};
    int status = race_ask(worker, &due.base);
    for (size_t i = 0; status == 0 && i < due.count; i++) {
        deliver_one(worker, &due.items[i]);
    }
    size_t count = status == 0 ? due.count : 0;
    store_request_finish(&due.base);
    return count;
}

static void deliver_some(struct worker *worker)
{
    (void)deliver(worker);
}

static void cancel(struct worker *worker)
{
    struct race_own *own = worker->arena->own;
    struct store_reschedule request = {
        .base.op = STORE_RESCHEDULE, .tenant = TENANT, .cancel = true};
    pthread_mutex_lock(&own->lock);
    size_t at = own->post_count;
    for (unsigned i = 0; i < 20 && own->post_count > 0; i++) {
        size_t drawn = draw(worker, own->post_count);
        at = own->posts[drawn].later && own->posts[drawn].delivered == 0 ? drawn : at;
    }
    bool any = at < own->post_count;
    if (any) {
        memcpy(request.id, own->posts[at].id, NOTIFICATION_ID_LEN);
    }
    pthread_mutex_unlock(&own->lock);
    if (any && race_ask(worker, &request.base) == 0) {
        pthread_mutex_lock(&own->lock);
        own->posts[at].cancelled++;
        pthread_mutex_unlock(&own->lock);
    }
    store_request_finish(&request.base);
}

/* --- what users do --- */

/* Rows that were told, one of four with an id that nobody has; the rev that one of them has had. */
static uint64_t draw_rows(
    struct worker *worker, unsigned user, uint8_t (*ret_ids)[NOTIFICATION_ID_LEN], size_t count)
{
    struct race_own *own = worker->arena->own;
    uint64_t rev = 0;
    pthread_mutex_lock(&own->lock);
    for (size_t i = 0; i < count; i++) {
        uint64_t seq = draw(worker, own->known[user] + 1);
        memcpy(ret_ids[i], own->ids[user][seq], NOTIFICATION_ID_LEN);
        rev = own->revs[user][seq] > rev ? own->revs[user][seq] : rev;
    }
    pthread_mutex_unlock(&own->lock);
    return rev;
}

static void note_guards(struct race_own *own, unsigned user, const struct store_mark *mark)
{
    for (size_t i = 0; i < mark->change_count + mark->late_count; i++) {
        bool late = i >= mark->change_count;
        const struct notification_change *row =
            late ? &mark->late[i - mark->change_count] : &mark->changes[i];
        CHECK(own->guard_count < GUARDS_MAX);
        own->guards[own->guard_count++] = (struct guard){.user = user,
            .seq = row->seq,
            .if_rev = mark->if_rev,
            .rev = late ? mark->position.rev : row->rev,
            .late = late};
    }
}

static void mark_rows(struct worker *worker)
{
    struct race_own *own = worker->arena->own;
    unsigned user = (unsigned)draw(worker, USERS);
    uint8_t ids[IDS_MAX][NOTIFICATION_ID_LEN];
    enum notification_verb verb = (enum notification_verb)draw(worker, NOTIFICATION_VERB_COUNT);
    struct store_mark mark = mark_of(who_of(user), verb, CREATED);
    bool guarded = draw(worker, 2) == 0;
    mark.until = EXPIRED / 2 + draw(worker, EXPIRED);
    if (draw(worker, 4) > 0) {
        mark.id_count = 1 + draw(worker, IDS_MAX);
        mark.ids = (const uint8_t(*)[NOTIFICATION_ID_LEN])ids;
        uint64_t rev = draw_rows(worker, user, ids, mark.id_count);
        uint64_t behind = draw(worker, 3);
        mark.if_rev = guarded ? (rev > behind ? rev - behind : 0) : mark.if_rev;
    } else {
        mark.states = notification_mark_states(verb, true);
        mark.up_to = draw(worker, BULK_MAX);
        guarded = false;
    }
    int status = race_ask(worker, &mark.base);
    pthread_mutex_lock(&own->lock);
    if (status == 0) {
        note_changes(own, user, mark.changes, mark.change_count, begin_op(own));
    }
    if (status == 0 && guarded) {
        note_guards(own, user, &mark);
    }
    pthread_mutex_unlock(&own->lock);
    store_request_finish(&mark.base);
}

/* Its poster changes a row, or takes it back. */
static void edit(struct worker *worker)
{
    struct race_own *own = worker->arena->own;
    unsigned user = (unsigned)draw(worker, USERS);
    struct store_edit request = {.base.op = STORE_EDIT,
        .tenant = TENANT,
        .erase = draw(worker, 4) == 0,
        .fields = NOTIFICATION_EDIT_TITLE,
        .title = BYTES("edited"),
        .at = CREATED};
    (void)draw_rows(worker, user, &request.id, 1);
    int status = race_ask(worker, &request.base);
    if (status == 0) {
        const struct note note = {.user = user,
            .kind = request.erase ? GONE : CHANGE,
            .rev = request.position.rev,
            .seq = request.item.seq};
        pthread_mutex_lock(&own->lock);
        struct note noted = note;
        noted.op = begin_op(own);
        add_note(own, &noted, request.id);
        pthread_mutex_unlock(&own->lock);
    }
    store_request_finish(&request.base);
}

static void prefer(struct worker *worker)
{
    struct race_own *own = worker->arena->own;
    struct write write = {.user = (unsigned)draw(worker, USERS),
        .wants = draw(worker, 2) == 0,
        .span = {.begin = race_tick(&worker->arena->race), .end = RACE_OPEN}};
    struct store_preference request = {.base.op = STORE_PREFERENCE_WRITE,
        .who = who_of(write.user),
        .body = write.wants ? BYTES(WANTS) : BYTES(REFUSES)};
    pthread_mutex_lock(&own->lock);
    CHECK(own->write_count < WRITES_MAX);
    size_t at = own->write_count++;
    own->writes[at] = write;
    pthread_mutex_unlock(&own->lock);
    (void)race_ask(worker, &request.base);
    uint64_t end = race_tick(&worker->arena->race);
    pthread_mutex_lock(&own->lock);
    own->writes[at].rev = request.rev;
    own->writes[at].span.end = end;
    pthread_mutex_unlock(&own->lock);
    store_request_finish(&request.base);
}

void race_own_operate(struct worker *worker)
{
    static const struct {
        void (*what)(struct worker *worker);
        uint64_t weight;
    } operations[] = {
        {put, 40}, {mark_rows, 25}, {deliver_some, 12}, {edit, 8}, {cancel, 8}, {prefer, 7}};
    uint64_t dice = draw(worker, 100);
    size_t which = 0;
    for (; dice >= operations[which].weight; which++) {
        dice -= operations[which].weight;
    }
    operations[which].what(worker);
}

/* --- what is expected --- */

/* What is noted of a user's rows, by seq. */
struct told {
    uint64_t ops[REVS_MAX]; /* by rev: which operation took it; 0: none */
    uint64_t last[SEQS_MAX]; /* the last rev of a row, */
    enum kind kind[SEQS_MAX]; /* and what it was */
    uint64_t puts[SEQS_MAX];
    uint64_t counts[SEQS_MAX]; /* the highest of them */
    uint64_t rev; /* the highest one */
};

static void collect(const struct race_own *own, unsigned user, struct told *told)
{
    for (size_t i = 0; i < own->note_count; i++) {
        const struct note *note = &own->notes[i];
        if (note->user != user) {
            continue;
        }
        cr_assert(told->ops[note->rev] == 0 || told->ops[note->rev] == note->op,
            "%s: rev %lu was told twice", users[user], note->rev);
        told->ops[note->rev] = note->op;
        cr_assert_neq(told->last[note->seq], note->rev, "%s: seq %lu twice at rev %lu", users[user],
            note->seq, note->rev);
        if (note->rev > told->last[note->seq]) {
            told->last[note->seq] = note->rev;
            told->kind[note->seq] = note->kind;
        }
        told->puts[note->seq] += note->kind == PUT;
        told->counts[note->seq] =
            note->count > told->counts[note->seq] ? note->count : told->counts[note->seq];
        told->rev = note->rev > told->rev ? note->rev : told->rev;
    }
}

static void expect_item(
    unsigned user, const struct told *told, const struct notification_item *item)
{
    uint64_t seq = item->seq;
    cr_assert_eq(item->rev, told->last[seq], "%s: seq %lu is at rev %lu, told at %lu", users[user],
        seq, item->rev, told->last[seq]);
    cr_assert_neq(told->kind[seq], GONE, "%s: seq %lu has gone", users[user], seq);
    cr_assert_eq(item->count, told->counts[seq], "%s: seq %lu is %lu posts, told %lu", users[user],
        seq, item->count, told->counts[seq]);
}

/* Rows, counters and revs of a user are what was told. */
static void expect_rows(struct worker *worker, unsigned user, const struct told *told, bool exact)
{
    struct store_list list = {.base.op = STORE_LIST,
        .who = who_of(user),
        .limit = 100,
        .ascending = true,
        .states = NOTIFICATION_ALL_STATES};
    bool *there = mem_alloc_array(SEQS_MAX, sizeof(*there));
    struct store_position position = {0};
    uint64_t open[2] = {0};
    do {
        cr_assert_eq(race_ask(worker, &list.base), 0);
        for (size_t i = 0; i < list.count; i++) {
            const struct notification_item *item = &list.items[i];
            cr_assert(item->seq < SEQS_MAX && !there[item->seq], "%s: seq %lu twice", users[user],
                item->seq);
            there[item->seq] = true;
            open[0] += item->state <= NOTIFICATION_SEEN;
            open[1] += item->state == NOTIFICATION_UNREAD;
            if (exact) {
                expect_item(user, told, item);
            }
        }
        position = list.position;
        struct store_cursor next = list.next;
        store_request_finish(&list.base);
        list.before = next;
    } while (list.before.new_rev > 0);
    cr_assert(position.unread == open[0] && position.unseen == open[1],
        "%s: unread %lu, unseen %lu, of rows %lu, %lu", users[user], position.unread,
        position.unseen, open[0], open[1]);
    for (uint64_t seq = 1; seq <= position.seq && exact; seq++) {
        cr_assert_gt(told->last[seq], 0, "%s: seq %lu was not told", users[user], seq);
        cr_assert_eq(there[seq], told->kind[seq] != GONE, "%s: seq %lu", users[user], seq);
        cr_assert_eq(told->puts[seq], told->counts[seq], "%s: seq %lu is of %lu posts, told %lu",
            users[user], seq, told->counts[seq], told->puts[seq]);
    }
    for (uint64_t rev = 1; rev <= position.rev && exact; rev++) {
        cr_assert_gt(told->ops[rev], 0, "%s: nobody was told of rev %lu", users[user], rev);
    }
    cr_assert(!exact || told->rev == position.rev, "%s: rev %lu, told %lu", users[user],
        position.rev, told->rev);
    mem_free(there);
}

/* What was to stay if it had changed did, and what did not had not. */
static void expect_guards(struct race_own *own)
{
    for (; own->judged < own->guard_count; own->judged++) {
        const struct guard *guard = &own->guards[own->judged];
        bool between = false;
        for (size_t i = 0; i < own->note_count; i++) {
            const struct note *note = &own->notes[i];
            bool is_it = note->user == guard->user && note->seq == guard->seq;
            between |= is_it && note->rev > guard->if_rev &&
                       (guard->late ? note->rev <= guard->rev : note->rev < guard->rev);
        }
        cr_assert_eq(between, guard->late, "%s: seq %lu, if not above %lu, at %lu: %s",
            users[guard->user], guard->seq, guard->if_rev, guard->rev,
            guard->late ? "was late" : "changed");
    }
}

/* What the last one wrote is there. */
static void expect_preferences(struct worker *worker, unsigned user)
{
    const struct race_own *own = worker->arena->own;
    const struct write *last = NULL;
    for (size_t i = 0; i < own->write_count; i++) {
        const struct write *write = &own->writes[i];
        if (write->user != user) {
            continue;
        }
        cr_assert(
            last == NULL || write->rev != last->rev, "%s: rev %lu twice", users[user], write->rev);
        last = last == NULL || write->rev > last->rev ? write : last;
    }
    struct store_preference read = {.base.op = STORE_PREFERENCE_READ, .who = who_of(user)};
    cr_assert_eq(race_ask(worker, &read.base), 0);
    if (last != NULL) {
        cr_assert_eq(read.rev, last->rev, "%s: %lu, not %lu", users[user], read.rev, last->rev);
        cr_assert(bytes_eq(read.body, last->wants ? BYTES(WANTS) : BYTES(REFUSES)), "%.*s",
            (int)read.body.len, read.body.at);
    }
    store_request_finish(&read.base);
}

/* Each that was kept for later was delivered once, or cancelled. */
static void expect_delivered(const struct race_own *own)
{
    for (size_t i = 0; i < own->post_count; i++) {
        const struct own_post *post = &own->posts[i];
        unsigned ends = post->delivered + post->cancelled;
        cr_assert(!post->later || ends == 1, "key %u: delivered %u times, cancelled %u", post->key,
            post->delivered, post->cancelled);
    }
}

void race_own_expect(struct arena *arena)
{
    struct race_own *own = arena->own;
    struct worker *first = &arena->workers[0];
    while (deliver(first) > 0) {
    }
    bool exact = !own->lost;
    for (unsigned user = 0; user < USERS; user++) {
        struct told *told = mem_alloc(sizeof(*told));
        collect(own, user, told);
        expect_rows(first, user, told, exact);
        if (exact) {
            expect_preferences(first, user);
        }
        mem_free(told);
    }
    if (exact) {
        expect_guards(own);
        expect_delivered(own);
    }
}
