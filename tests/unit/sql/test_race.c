/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight workers on the ports of three stores of one database (SQLite: of one store) subscribe,
 * post, change, take back, connect, mark, read, erase and sweep at once, and (race_own.h) post to
 * single users, also for later, deliver, cancel, prefer, mark and delete. What they see meanwhile,
 * and what there is at each checkpoint, must be what race.h can say for sure.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/notification_digest.h"
#include "sql/store_edit.h"
#include "sql/store_forget.h"
#include "tests/support/seed.h"
#include "tests/unit/sql/audience.h"
#include "tests/unit/sql/both.h"
#include "tests/unit/sql/race_run.h"

enum {
    OPERATIONS = 30, /* of a worker between two checkpoints, at which all stand still */
    CHECKPOINTS = 4, /* of a round */
    OPERATIONS_FULL = 13, /* with PEAL_FULL=1: of all 104,000, with 1,000 checkpoints */
    CHECKPOINTS_FULL = 40,
    ROUNDS_FULL = 25,
    TRIES = 50,
    SPAN_MS = 1000000000, /* all are within it */
};

const char *const race_users[RACE_USERS] = {
    "u00", "u01", "u02", "u03", "u04", "u05", "u06", "u07", "u08", "u09", "u10", "u11"};
const char *const race_topics[RACE_TOPICS] = {"news", "sport", "weather"};

static uint64_t draw(struct worker *worker, uint64_t bound)
{
    return rand_below(&worker->rand, bound);
}

static unsigned draw_user(struct worker *worker)
{
    return (unsigned)draw(worker, RACE_USERS);
}

int race_ask(struct worker *worker, struct store_request *request)
{
    int status = STATUS_UNAVAILABLE;
    bool again = true;
    for (unsigned i = 0; again && i < TRIES; i++) {
        store_request_finish(request);
        status = harness_run(worker->harness, worker->shard, request);
        again =
            status == STATUS_UNAVAILABLE || status == STATUS_TIMEOUT || status == STATUS_UNKNOWN;
        if (status == STATUS_UNKNOWN) {
            race_own_lose(worker->arena->own);
        }
    }
    if (status != 0 && status != STATUS_NOT_FOUND && status != STATUS_FENCED) {
        race_fail(&worker->arena->race, "request %d: %d", request->op, status);
    }
    return status;
}

/* --- subscriptions, posts to many --- */

static void change_topic(struct worker *worker)
{
    struct race *race = &worker->arena->race;
    struct race_change change = {.topic = (unsigned)draw(worker, RACE_TOPICS),
        .user = draw_user(worker),
        .joins = draw(worker, 5) < 3};
    struct bytes name = bytes_str(race_users[change.user]);
    struct store_subscribe subscribe = {.base.op = STORE_SUBSCRIBE,
        .topic = bytes_str(race_topics[change.topic]),
        .users = &name,
        .user_count = 1,
        .remove = !change.joins};
    if (change.joins) {
        race_may_come(race, change.user);
    }
    size_t at = race_begin(race, &change);
    int status = race_ask(worker, &subscribe.base);
    race_end(race, at);
    if (change.joins && status == 0) {
        race_has_come(race, change.user);
    }
    store_request_finish(&subscribe.base);
}

/* What a key of a post to many stands for: whoever uses it posts the same. */
static void fill_post(uint64_t key, struct race_post *post)
{
    struct rand rand;
    rand_init(&rand, key);
    uint64_t dice = rand_below(&rand, 10);
    post->kind = dice < 6 ? AUDIENCE_TOPIC : dice < 8 ? AUDIENCE_ALL : AUDIENCE_LIST;
    post->topic = (unsigned)rand_below(&rand, RACE_TOPICS);
    post->gathers = rand_below(&rand, 3) == 0;
    post->include_new = post->kind == AUDIENCE_ALL && rand_below(&rand, 3) == 0;
    for (unsigned i = 0; i < RACE_USERS; i++) {
        post->listed[i] = post->kind == AUDIENCE_LIST && (i == 0 || rand_below(&rand, 3) == 0);
    }
}

static void post_to_audience(struct worker *worker)
{
    struct race *race = &worker->arena->race;
    struct race_post post = {.worker = worker->index, .retract = {RACE_OPEN, RACE_OPEN}};
    struct bytes names[RACE_USERS];
    uint64_t key = 1 + draw(worker, worker->arena->keys);
    fill_post(key, &post);
    struct store_audience_post request =
        post_of(post.kind == AUDIENCE_TOPIC ? race_topics[post.topic] : NULL, key);
    request.kind = post.kind;
    request.include_new = post.include_new;
    if (post.gathers) {
        request.type = BYTES("comment");
        request.digest_ms = SPAN_MS;
    }
    for (unsigned i = 0; i < RACE_USERS; i++) {
        if (post.listed[i]) {
            names[request.user_count++] = bytes_str(race_users[i]);
        }
    }
    request.users = names;
    uint8_t proposed[NOTIFICATION_ID_LEN];
    memcpy(proposed, request.id, NOTIFICATION_ID_LEN);
    post.span.begin = race_tick(race);
    int status = race_ask(worker, &request.base);
    post.span.end = race_tick(race);
    /* A repeat of our own, whose first answer was lost, is told with the id that we proposed. */
    bool stored =
        request.outcome == OUTCOME_STORED || memcmp(proposed, request.id, NOTIFICATION_ID_LEN) == 0;
    if (status == 0 && request.outcome == OUTCOME_CONFLICT) {
        race_fail(race, "post %lu: a conflict", request.n);
    } else if (status == 0 && stored) {
        memcpy(post.id, request.id, NOTIFICATION_ID_LEN);
        post.n = request.n;
        race_add_post(race, &post);
    }
    store_request_finish(&request.base);
}

static void sweep_once(struct worker *worker, enum store_op op)
{
    struct store_sweep request = {.base.op = op,
        .now = EXPIRED,
        .limit = 1 + (uint32_t)draw(worker, 50),
        .tombstone_ms = EXPIRED};
    (void)race_ask(worker, &request.base);
    race_own_sweep(worker, &request);
    store_request_finish(&request.base);
}

static void sweep(struct worker *worker)
{
    sweep_once(worker, draw(worker, 2) ? STORE_SWEEP : STORE_AUDIENCE_SWEEP);
}

static void retract(struct worker *worker)
{
    struct race *race = &worker->arena->race;
    struct store_retract request = {.base.op = STORE_RETRACT};
    struct race_post *post = NULL;
    pthread_mutex_lock(&race->lock);
    if (race->post_count > 0) {
        post = &race->posts[draw(worker, race->post_count)];
        bool first = post->retract.begin == RACE_OPEN;
        post->retract.begin = first ? ++race->tick : post->retract.begin;
        memcpy(request.id, post->id, NOTIFICATION_ID_LEN);
    }
    pthread_mutex_unlock(&race->lock);
    if (post == NULL) {
        return;
    }
    (void)race_ask(worker, &request.base); /* by whomever it was taken back: it is */
    pthread_mutex_lock(&race->lock);
    uint64_t end = ++race->tick;
    post->retract.end = end < post->retract.end ? end : post->retract.end;
    pthread_mutex_unlock(&race->lock);
    store_request_finish(&request.base);
    for (uint64_t i = draw(worker, 4); i > 0; i--) { /* while others still make rows of it */
        sweep_once(worker, STORE_AUDIENCE_SWEEP);
    }
}

static size_t revision_of(struct bytes text)
{
    char title[REVISED_MAX + 1] = {0};
    bool is_first = text.len == 0 || text.len > REVISED_MAX;
    memcpy(title, text.at, is_first ? 0 : text.len);
    return strtoul(title, NULL, 10); /* the first one is no number */
}

unsigned race_count_in(const struct notification_item *item, const uint8_t id[NOTIFICATION_ID_LEN],
    size_t *ret_revision)
{
    unsigned count = 0;
    struct bytes digest = item->digest;
    struct notification_digest_entry entry;
    if (digest.len == 0 && item->audience != AUDIENCE_NONE &&
        memcmp(item->audience_id, id, NOTIFICATION_ID_LEN) == 0) {
        *ret_revision = revision_of(item->title);
        return 1;
    }
    while (notification_digest_take(&digest, &entry)) {
        if (memcmp(entry.id, id, NOTIFICATION_ID_LEN) == 0) {
            *ret_revision = revision_of(entry.title);
            count++;
        }
    }
    return count;
}

static void revise(struct worker *worker)
{
    struct race *race = &worker->arena->race;
    struct store_revise request = {
        .base.op = STORE_REVISE, .fields = NOTIFICATION_EDIT_TITLE, .at = 5};
    const struct race_post *post = NULL;
    char title[REVISED_MAX + 1];
    pthread_mutex_lock(&race->lock);
    if (race->post_count > 0) {
        post = &race->posts[race->post_count - 1 - draw(worker, race->post_count) / 2];
        memcpy(request.id, post->id, NOTIFICATION_ID_LEN);
    }
    pthread_mutex_unlock(&race->lock);
    if (post == NULL) {
        return;
    }
    size_t number = race_begin_revision(race, post);
    (void)snprintf(title, sizeof(title), "%zu", number);
    request.title = bytes_str(title);
    int status = race_ask(worker, &request.base);
    race_end_revision(race, number, status == 0);
    store_request_finish(&request.base);
}

/* --- one user's rows --- */

static void put(struct worker *worker)
{
    struct race *race = &worker->arena->race;
    struct store_row rows[4];
    unsigned whose[ARRAY_LEN(rows)];
    size_t count = 1 + draw(worker, ARRAY_LEN(rows));
    for (size_t i = 0; i < count; i++) {
        uint64_t key = ((uint64_t)worker->index << 32) + ++worker->key;
        whose[i] = draw_user(worker);
        rows[i] = row_of(user_of(race_users[whose[i]]), key, key);
        rows[i].expires_at = draw(worker, 10) == 0 ? EXPIRED : 0;
    }
    struct store_put request = {.base.op = STORE_PUT, .rows = rows, .count = count};
    for (size_t i = 0; i < count; i++) {
        race_may_come(race, whose[i]);
    }
    int status = race_ask(worker, &request.base);
    for (size_t i = 0; status == 0 && i < count; i++) {
        race_has_come(race, whose[i]);
        struct single *single = &worker->singles[worker->single_count];
        if (rows[i].outcome == OUTCOME_CONFLICT) {
            race_fail(race, "a key of our own is another's");
        }
        worker->single_count += worker->single_count + 1 < SINGLES_MAX;
        *single =
            (struct single){.user = whose[i], .seq = rows[i].seq, .gone = rows[i].expires_at > 0};
        memcpy(single->id, rows[i].id, NOTIFICATION_ID_LEN);
    }
    store_request_finish(&request.base);
}

/* Its poster takes a row back, or changes it. */
static void edit(struct worker *worker)
{
    if (worker->single_count == 0) {
        return;
    }
    struct single *single = &worker->singles[draw(worker, worker->single_count)];
    struct store_edit request = {.base.op = STORE_EDIT,
        .erase = draw(worker, 2) == 0,
        .fields = NOTIFICATION_EDIT_TITLE,
        .title = BYTES("edited"),
        .at = 5};
    memcpy(request.id, single->id, NOTIFICATION_ID_LEN);
    (void)race_ask(worker, &request.base);
    single->gone |= request.erase;
    store_request_finish(&request.base);
}

static void mark(struct worker *worker)
{
    struct race *race = &worker->arena->race;
    unsigned user = draw_user(worker);
    enum notification_verb verb = (enum notification_verb)draw(worker, NOTIFICATION_MARK_DELETE);
    struct store_mark request = mark_of(user_of(race_users[user]), verb, 5);
    request.states = notification_mark_states(verb, true);
    request.up_to = 1 + draw(worker, 100);
    request.until = EXPIRED / 2 + draw(worker, EXPIRED);
    race_may_come(race, user);
    if (race_ask(worker, &request.base) == 0) {
        race_has_come(race, user);
    }
    store_request_finish(&request.base);
}

static void erase_user(struct worker *worker)
{
    struct race *race = &worker->arena->race;
    const struct race_change change = {.user = ERASED, .erases = true};
    struct store_forget request = {.base.op = STORE_FORGET, .who = user_of(race_users[ERASED])};
    size_t at = race_begin(race, &change);
    (void)race_ask(worker, &request.base);
    race_end(race, at);
    store_request_finish(&request.base);
}

/* --- reading --- */

/* As nodes do: whose users are online, and those who come. */
static void come(struct worker *worker)
{
    struct race *race = &worker->arena->race;
    struct store_user who[4];
    unsigned whose[ARRAY_LEN(who)];
    for (size_t i = 0; i < ARRAY_LEN(who); i++) {
        whose[i] = draw_user(worker);
        who[i] = user_of(race_users[whose[i]]);
    }
    struct store_positions request = {.base.op = STORE_POSITIONS,
        .users = who,
        .count = 1 + draw(worker, ARRAY_LEN(who)),
        .begin = draw(worker, 2) == 0};
    for (size_t i = 0; i < request.count; i++) {
        race_may_come(race, whose[i]);
    }
    int status = race_ask(worker, &request.base);
    for (size_t i = 0; i < request.count && status == 0 && request.begin; i++) {
        race_has_come(race, whose[i]);
    }
    store_request_finish(&request.base);
}

/* How often a list has a post; *ret_may: what it says may be said. */
static unsigned count_in(const struct race *race, const struct store_list *list,
    const struct race_post *post, uint64_t begin, bool *ret_may)
{
    unsigned count = 0;
    *ret_may = true;
    for (size_t i = 0; i < list->count; i++) {
        size_t revision;
        unsigned here = race_count_in(&list->items[i], post->id, &revision);
        *ret_may = *ret_may && (here == 0 || race_may_say(race, post, revision, begin));
        count += here;
    }
    return count;
}

/* What is wrong with a list that was asked for at `begin` and has all there is; NULL: nothing. */
static const char *judge(const struct race *race, const struct store_list *list,
    const struct race_post *post, unsigned user, uint64_t begin)
{
    bool may;
    unsigned count = count_in(race, list, post, begin, &may);
    if (count > 1) {
        return "is there twice";
    }
    if (count > 0 && post->retract.end < begin) {
        return "had been taken back";
    }
    if (!may) {
        return "says what it said before";
    }
    if (post->span.end >= begin) {
        return NULL;
    }
    enum race_answer answer = race_is_for(race, post, user, begin);
    bool forgotten = post->retract.begin != RACE_OPEN || post->gathers; /* maybe */
    return count > 0 && answer == RACE_NO                   ? "is not for this user"
           : count == 0 && answer == RACE_YES && !forgotten ? "is missing"
                                                            : NULL;
}

static void judge_list(
    struct race *race, const struct store_list *list, unsigned user, uint64_t begin)
{
    enum { JUDGED_MAX = 100 };
    const char *wrong = NULL;
    const struct race_post *post = NULL;
    pthread_mutex_lock(&race->lock);
    size_t first = race->post_count > JUDGED_MAX ? race->post_count - JUDGED_MAX : 0;
    for (size_t i = first; i < race->post_count && wrong == NULL; i++) {
        post = &race->posts[i];
        wrong = judge(race, list, post, user, begin);
    }
    if (wrong != NULL && race->failure[0] == '\0') {
        (void)fprintf(stderr, "at %lu:\n", begin);
        race_tell(race, post, user);
    }
    pthread_mutex_unlock(&race->lock);
    if (wrong != NULL) {
        race_fail(race, "post %lu, user %u: %s", post->n, user, wrong);
    }
}

/* The counters of a list are those of its rows, when it has all. */
static void judge_counters(struct race *race, const struct store_list *list, unsigned user)
{
    uint64_t unread = 0;
    uint64_t unseen = 0;
    for (size_t i = 0; i < list->count; i++) {
        unread += list->items[i].state <= NOTIFICATION_SEEN;
        unseen += list->items[i].state == NOTIFICATION_UNREAD;
    }
    if (unread != list->position.unread || unseen != list->position.unseen) {
        race_fail(race, "user %u: unread %lu, unseen %lu, of rows %lu, %lu", user,
            list->position.unread, list->position.unseen, unread, unseen);
    }
}

static void read_list(struct worker *worker)
{
    struct race *race = &worker->arena->race;
    unsigned user = draw_user(worker);
    struct store_list list = {.base.op = STORE_LIST,
        .who = user_of(race_users[user]),
        .limit = 100,
        .states = NOTIFICATION_ALL_STATES};
    race_may_come(race, user); /* a post to a list may be for one who was not there */
    uint64_t begin = race_tick(race);
    int status = race_ask(worker, &list.base);
    if (status == 0 && list.next.new_rev == 0) {
        judge_list(race, &list, user, begin);
        judge_counters(race, &list, user);
    }
    store_request_finish(&list.base);
}

static void apply(struct device *device, const struct store_sync *sync)
{
    if (sync->resync) { /* it is told as it is in the end */
        memset(device, 0, sizeof(*device));
        return;
    }
    for (size_t i = 0; i < sync->item_count; i++) {
        const struct notification_item *item = &sync->items[i];
        cr_assert_lt(item->seq, ROWS_MAX);
        device->has[item->seq] = item->state != NOTIFICATION_ARCHIVED;
        device->state[item->seq] = item->state;
    }
    for (size_t i = 0; i < sync->change_count; i++) {
        const struct notification_change *change = &sync->changes[i];
        bool stays = change->state < NOTIFICATION_EXPIRED && change->state != NOTIFICATION_ARCHIVED;
        device->has[change->seq] = device->has[change->seq] && stays;
        device->state[change->seq] = change->state;
    }
    device->rev = sync->through_rev;
}

bool race_sync(struct worker *worker, unsigned user, uint32_t limit)
{
    struct race *race = &worker->arena->race;
    struct store_sync sync = {.base.op = STORE_SYNC,
        .who = user_of(race_users[user]),
        .rev = worker->devices[user].rev,
        .limit = limit};
    race_may_come(race, user);
    int status = race_ask(worker, &sync.base);
    if (status == 0) {
        apply(&worker->devices[user], &sync);
    }
    bool done = status != 0 || sync.done || sync.resync;
    store_request_finish(&sync.base);
    return done;
}

static void sync_one(struct worker *worker)
{
    (void)race_sync(worker, draw_user(worker), 1 + (uint32_t)draw(worker, 30));
}

/* --- a round --- */

static void *run_worker(void *arg)
{
    static const struct {
        void (*what)(struct worker *worker);
        uint64_t weight;
    } operations[] = {{post_to_audience, 25}, {change_topic, 18}, {put, 12}, {read_list, 12},
        {come, 10}, {sync_one, 8}, {mark, 6}, {retract, 6}, {revise, 8}, {edit, 4}, {sweep, 3},
        {erase_user, 1}, {race_own_operate, 60}};
    struct worker *worker = arg;
    uint64_t total = 0;
    for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
        total += operations[i].weight;
    }
    for (unsigned i = 0; i < worker->arena->operations; i++) {
        uint64_t dice = draw(worker, total);
        size_t which = 0;
        for (; dice >= operations[which].weight; which++) {
            dice -= operations[which].weight;
        }
        operations[which].what(worker);
    }
    return NULL;
}

static void open_stores(struct arena *arena, const char *engine)
{
    char url[URL_MAX];
    harness_url(engine, url);
    arena->stores = engine[0] == 's' ? 1 : STORES;
    for (unsigned i = 0; i < arena->stores; i++) {
        harness_open_ports(
            &arena->harnesses[i], url, (WORKERS + arena->stores - 1) / arena->stores);
    }
}

static void run_workers(struct arena *arena)
{
    pthread_t threads[WORKERS];
    for (unsigned i = 0; i < WORKERS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, run_worker, &arena->workers[i]), 0);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
}

static void run_round(const char *engine, uint64_t seed, unsigned operations, unsigned checkpoints)
{
    struct arena *arena = mem_alloc(sizeof(*arena));
    arena->operations = operations;
    arena->keys = (uint64_t)WORKERS * operations * checkpoints;
    open_stores(arena, engine);
    race_init(&arena->race);
    arena->own = race_own_create();
    for (unsigned i = 0; i < WORKERS; i++) {
        struct worker *worker = &arena->workers[i];
        worker->arena = arena;
        worker->index = i;
        worker->harness = &arena->harnesses[i % arena->stores];
        worker->shard = i / arena->stores;
        rand_init(&worker->rand, seed * WORKERS + i);
    }
    struct store_row row = row_of(user_of(race_users[ERASED]), 0, 0);
    put_row(&arena->harnesses[0], &row);
    race_may_come(&arena->race, ERASED);
    race_has_come(&arena->race, ERASED);
    for (unsigned i = 0; i < checkpoints; i++) {
        run_workers(arena);
        race_expect_all(arena, i + 1 < checkpoints ? i % WORKERS : WORKERS);
    }
    for (unsigned i = 0; i < arena->stores; i++) {
        harness_close(&arena->harnesses[i]);
    }
    race_finish(&arena->race);
    race_own_destroy(arena->own);
    mem_free(arena);
}

static void run_rounds(const char *engine)
{
    const char *full = getenv("PEAL_FULL");
    bool heavy = full != NULL && *full != '\0';
    uint64_t first = seed_draw();
    for (uint64_t i = 0; i < (heavy ? ROUNDS_FULL : 1); i++) {
        (void)fprintf(stderr, "PEAL_SEED=%lu\n", first + i);
        run_round(engine, first + i, heavy ? OPERATIONS_FULL : OPERATIONS,
            heavy ? CHECKPOINTS_FULL : CHECKPOINTS);
    }
}

Test(sqlite, workers_race_and_all_is_exact_in_the_end, .timeout = 3000)
{
    run_rounds("sqlite");
}

Test(postgres, workers_race_and_all_is_exact_in_the_end, .timeout = 3000)
{
    run_rounds("postgres");
}
