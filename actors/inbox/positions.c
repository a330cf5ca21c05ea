/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks where inboxes stand, many with one query: those that just came, those that may be stale, and
 * all, when the store may have lost commits.
 */
#include "actors/inbox/positions.h"

#include "actors/deliver/outbox.h"
#include "actors/inbox/inbox.h"
#include "actors/inbox/teller.h"
#include "actors/inbox/walk.h"
#include "actors/shard.h"
#include "actors/user_proto.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "sql/store.h"

enum { SLICE = 200, READS_MAX = 400, PACE_MS = 5 }; /* of those whom a post to many concerns */
enum { BATCH = 500, HOLD_MS = 2, AGAIN_MS = 500 /* compare, when the store was away */ };

/* More inboxes than this are not listed: asking for the users online costs no more then. */
enum { CHANGED_MAX = 20000, UNIT_MS = STORE_CHANGED_UNIT_MS };

/* Users to ask for, one query at a time. */
struct asking {
    struct list queue; /* page.link; all but the last page are full */
    struct query *query; /* under way; NULL: none */
};

struct positions {
    struct shard *shard;
    struct timer recheck;
    struct timer release; /* of `held` */
    struct timer again; /* to compare */
    struct list held; /* outbox.dirty_link */
    struct timer pace; /* of `later` */
    struct asking first;
    struct asking later; /* whom a post to many may concern: nobody else waits behind them */
    struct walk asked_all; /* everybody: who has changed is not known */
    struct walk compared; /* everybody: with what the store is sure of */
    struct look *look; /* under way, or being told of; NULL: none */
    uint64_t since; /* what the next look begins with; 0: nothing was learned yet */
    bool comparing; /* what is in `first`, with what the store is sure of */
    bool look_again; /* as soon as the one under way has been answered */
    bool closed;
};

/* Users of one query: so that no number of them makes an allocation large. */
struct page {
    struct list link; /* asking.queue */
    size_t count;
    uint64_t since; /* when the first of them began to wait */
    struct actor_ref users[BATCH];
};

/* One request for what has changed; its users are told some in a turn. */
struct look {
    struct store_changed request;
    struct positions *positions;
    struct telling telling;
    size_t told;
};

/* A user of a query. */
struct asked {
    struct actor_ref ref;
    uint64_t rev; /* that it had when it was asked; 0: none yet */
    size_t offsets[3]; /* tenant, inbox, end: into keys */
};

/* One query. The keys are copies: a user may go while it is under way. */
struct query {
    struct store_positions request;
    struct positions *positions;
    struct asking *asking;
    struct builder keys;
    struct store_user *users;
    struct asked asked[];
};

static void next_query(struct positions *positions, struct asking *asking);
static void on_positions(struct store_request *request);

/* The last answer frees what a shard that ended has left. */
static void free_if_closed(struct positions *positions)
{
    if (positions->closed && positions->first.query == NULL && positions->later.query == NULL &&
        positions->look == NULL) {
        mem_free(positions);
    }
}

static void tell(struct positions *positions, const struct query *query, size_t i)
{
    struct user_position *msg = user_position_new();
    msg->status = query->request.base.status;
    if (msg->status == 0) {
        msg->seq = query->request.positions[i].seq;
        msg->rev = query->request.positions[i].rev;
        msg->unread = query->request.positions[i].unread;
        msg->unseen = query->request.positions[i].unseen;
        msg->preference_rev = query->request.positions[i].preference_rev;
    }
    msg_send(positions->shard->sched, query->asked[i].ref, msg);
}

static void compare_again(struct positions *positions)
{
    struct sched *sched = positions->shard->sched;
    timer_set(sched_timers(sched), &positions->again, sched_now(sched) + AGAIN_MS);
}

/* What a user was told was committed: a store that is sure of less lost commits. */
static void compare(struct positions *positions, const struct query *query)
{
    if (query->request.base.status != 0) {
        compare_again(positions);
        return;
    }
    for (size_t i = 0; i < query->request.count; i++) {
        uint64_t rev = query->request.positions[i].rev;
        if (rev < query->asked[i].rev) {
            const struct store_loss loss = {"position", query->asked[i].rev, rev};
            store_tell_loss(positions->shard->store_root, &loss);
        }
    }
}

/* For so many users; NULL: no memory. */
static struct query *create_query(struct positions *positions, struct asking *asking, size_t users)
{
    struct query *query = mem_try_calloc(1, sizeof(*query) + users * sizeof(query->asked[0]));
    struct store_user *room = query != NULL ? mem_try_calloc(users, sizeof(*room)) : NULL;
    if (room == NULL) {
        mem_free(query);
        return NULL;
    }
    query->positions = positions;
    query->asking = asking;
    query->users = room;
    query->request.base.op = STORE_POSITIONS;
    query->request.base.done = on_positions;
    query->request.users = room;
    return query;
}

static void destroy_query(struct query *query)
{
    builder_reset(&query->keys);
    mem_free(query->users);
    mem_free(query);
}

static void wait_ms(struct positions *positions, uint64_t delay_ms)
{
    struct sched *sched = positions->shard->sched;
    if (!timer_armed(&positions->pace)) {
        timer_set(sched_timers(sched), &positions->pace, sched_now(sched) + delay_ms);
    }
}

/* Nobody else asks for those whom a post to many concerns: until it is known where they stand. */
static void ask_again(struct positions *positions, const struct query *query)
{
    for (size_t i = 0; i < query->request.count; i++) {
        struct actor *actor = actor_get(positions->shard->sched, query->asked[i].ref);
        if (actor != NULL) {
            positions_ask_later(positions, (struct inbox *)(void *)actor);
        }
    }
    wait_ms(positions, AGAIN_MS);
}

static void on_positions(struct store_request *request)
{
    struct query *query = container_of(request, struct query, request.base);
    struct positions *positions = query->positions;
    struct asking *asking = query->asking;
    if (query->request.current && !positions->closed) {
        compare(positions, query);
    }
    for (size_t i = 0; i < query->request.count && !positions->closed; i++) {
        tell(positions, query, i);
    }
    if (asking == &positions->later && request->status != 0 && !positions->closed) {
        ask_again(positions, query);
    }
    asking->query = NULL;
    store_request_finish(request);
    destroy_query(query);
    if (positions->closed) {
        free_if_closed(positions);
        return;
    }
    next_query(positions, asking);
}

static void add(struct query *query, struct inbox *inbox)
{
    struct asked *asked = &query->asked[query->request.count++];
    asked->ref = inbox->owner.actor.self;
    asked->rev = inbox->phase == INBOX_READY ? inbox->rev : 0;
    asked->offsets[0] = builder_bytes(&query->keys).len;
    builder_add(&query->keys, owner_space(&inbox->owner));
    asked->offsets[1] = builder_bytes(&query->keys).len;
    builder_add(&query->keys, owner_id(&inbox->owner));
    asked->offsets[2] = builder_bytes(&query->keys).len;
}

/* Point the users at the keys, which do not move any more. */
static void point(struct query *query)
{
    const char *base = builder_bytes(&query->keys).at;
    for (size_t i = 0; i < query->request.count; i++) {
        const size_t *at = query->asked[i].offsets;
        query->users[i].tenant = bytes_of(base + at[0], at[1] - at[0]);
        query->users[i].user = bytes_of(base + at[1], at[2] - at[1]);
    }
}

/* Have the users of the page in the query, or, where there is none, as if the store were away. */
static void take_page(struct positions *positions, struct asking *asking, const struct page *page,
    struct query *query)
{
    struct sched *sched = positions->shard->sched;
    for (size_t i = 0; i < page->count; i++) {
        struct actor *actor = actor_get(sched, page->users[i]);
        if (actor == NULL) {
            continue;
        }
        struct inbox *inbox = (struct inbox *)(void *)actor;
        *(asking == &positions->first ? &inbox->asked : &inbox->called) = false;
        if (query != NULL) {
            add(query, inbox);
        } else if (asking == &positions->later) {
            positions_ask_later(positions, inbox);
            wait_ms(positions, AGAIN_MS);
        } else {
            struct user_position *msg = user_position_new();
            msg->status = STATUS_NOMEM;
            msg_send(sched, actor->self, msg);
        }
    }
}

/* The query for the next page of users; NULL: nobody of them is here, or all were refused. */
static struct query *begin_query(struct positions *positions, struct asking *asking)
{
    struct page *page = container_of(list_pop(&asking->queue), struct page, link);
    struct query *query = create_query(positions, asking, page->count);
    bool first = asking == &positions->first;
    bool comparing = first && positions->comparing;
    if (first) {
        positions->comparing =
            comparing && (!list_empty(&asking->queue) || walk_is_due(&positions->compared));
    } else {
        positions->shard->stats.audience_waiting -= page->count;
    }
    take_page(positions, asking, page, query);
    mem_free(page);
    if (query == NULL) {
        if (comparing) {
            compare_again(positions);
        }
        return NULL;
    }
    query->request.current = comparing;
    query->request.begin = !comparing;
    if (query->request.count == 0) {
        destroy_query(query);
        return NULL;
    }
    return query;
}

/* They read what they have got then: no more at once than READS_MAX. */
static bool must_wait(struct positions *positions, const struct asking *asking)
{
    if (asking == &positions->later && positions->shard->inbox_reads >= READS_MAX) {
        wait_ms(positions, PACE_MS);
    }
    return asking == &positions->later && timer_armed(&positions->pace);
}

static void next_query(struct positions *positions, struct asking *asking)
{
    struct query *query = NULL;
    if (asking->query != NULL || positions->shard->store == NULL) {
        return;
    }
    while (query == NULL && !list_empty(&asking->queue) && !must_wait(positions, asking)) {
        query = begin_query(positions, asking);
    }
    if (query == NULL) {
        return;
    }
    point(query);
    asking->query = query;
    if (builder_failed(&query->keys)) { /* no memory for all of them: as if the store were away */
        query->request.base.status = STATUS_NOMEM;
        on_positions(&query->request.base);
        return;
    }
    store_submit(positions->shard->store, &query->request.base);
}

/* The last page, which has room for one more. */
static struct page *open_page(struct positions *positions, struct asking *asking, size_t most)
{
    if (!list_empty(&asking->queue)) {
        struct page *last = container_of(asking->queue.prev, struct page, link);
        if (last->count < most) {
            return last;
        }
    }
    struct page *page = mem_alloc(sizeof(*page));
    page->since = sched_now(positions->shard->sched);
    list_append(&asking->queue, &page->link);
    return page;
}

void positions_ask(struct positions *positions, struct inbox *inbox)
{
    if (inbox->asked) {
        return;
    }
    inbox->asked = true;
    struct page *page = open_page(positions, &positions->first, BATCH);
    page->users[page->count++] = inbox->owner.actor.self;
}

void positions_ask_later(struct positions *positions, struct inbox *inbox)
{
    if (inbox->called) {
        return;
    }
    inbox->called = true;
    struct page *page = open_page(positions, &positions->later, SLICE);
    page->users[page->count++] = inbox->owner.actor.self;
    positions->shard->stats.audience_users++;
    positions->shard->stats.audience_waiting++;
}

/* How long the first of those who are asked for later has waited. */
static uint64_t waiting_ms(const struct positions *positions)
{
    if (list_empty(&positions->later.queue)) {
        return 0;
    }
    const struct page *page = container_of(positions->later.queue.next, struct page, link);
    return sched_now(positions->shard->sched) - page->since;
}

void positions_flush(struct positions *positions)
{
    next_query(positions, &positions->first);
    next_query(positions, &positions->later);
    positions->shard->stats.audience_waiting_ms = waiting_ms(positions);
}

static void on_pace(struct timer *timer)
{
    struct positions *positions = container_of(timer, struct positions, pace);
    next_query(positions, &positions->later);
}

void positions_hold(struct positions *positions, struct outbox *outbox)
{
    struct sched *sched = positions->shard->sched;
    outbox_defer(outbox, &positions->held);
    if (!timer_armed(&positions->release)) {
        timer_set(sched_timers(sched), &positions->release, sched_now(sched) + HOLD_MS);
    }
}

static void release(struct positions *positions)
{
    list_splice(&positions->shard->dirty_outboxes, &positions->held);
}

static void on_release(struct timer *timer)
{
    release(container_of(timer, struct positions, release));
}

static void visit_asked(struct walk *walk, struct list *link)
{
    struct positions *positions = container_of(walk, struct positions, asked_all);
    positions_ask_later(positions, container_of(link, struct inbox, shard_link));
}

static void visit_compared(struct walk *walk, struct list *link)
{
    struct positions *positions = container_of(walk, struct positions, compared);
    positions_ask(positions, container_of(link, struct inbox, shard_link));
}

/* Ask for all users of the node, one by one, from shard 0. */
static void ask_here(void *sched, bool cancelled)
{
    const struct shard *shard = cancelled ? NULL : sched_user(sched);
    if (shard != NULL && shard->positions != NULL) {
        walk_everybody(sched_user(sched), &shard->positions->asked_all);
    }
}

static void ask_node(struct positions *positions)
{
    struct actor_system *system = sched_system(positions->shard->sched);
    for (unsigned i = 0; i < actor_system_shards(system); i++) {
        sched_post(system, i, ask_here, actor_system_sched(system, i));
    }
}

static void compare_all(struct positions *positions)
{
    positions->comparing = !list_empty(&positions->shard->users);
    walk_everybody(positions->shard, &positions->compared);
}

static void on_again(struct timer *timer)
{
    compare_all(container_of(timer, struct positions, again));
}

static void compare_here(void *sched, bool cancelled)
{
    const struct shard *shard = cancelled ? NULL : sched_user(sched);
    if (shard != NULL && shard->positions != NULL) {
        compare_all(shard->positions);
    }
}

void positions_compare(struct shard *shard)
{
    struct actor_system *system = sched_system(shard->sched);
    for (unsigned i = 0; i < actor_system_shards(system); i++) {
        sched_post(system, i, compare_here, actor_system_sched(system, i));
    }
}

/* What has changed: shard 0 asks for the node, and tells the users that are online. */

static void tell_moved(struct shard *shard, const struct store_moved *moved)
{
    struct user_moved *msg = user_moved_new();
    struct builder key = {0};
    builder_add(&key, moved->who.tenant);
    builder_str(&key, moved->who.tenant.len > 0 ? "/" : "");
    builder_add(&key, moved->who.user);
    msg->key = builder_finish(&key);
    CHECK(msg->key != NULL);
    msg->rev = moved->position.rev;
    msg->preference_rev = moved->position.preference_rev;
    msg_send_home(shard->sched, msg);
}

/* The users who connected before the first answer were asked for within an interval of it. */
static uint64_t first_since(const struct positions *positions, uint64_t next)
{
    uint64_t back = positions->shard->config->recheck_ms / UNIT_MS + 2;
    return next > back ? next - back : 1;
}

static void look(struct positions *positions);

static void end_look(struct look *done)
{
    struct positions *positions = done->positions;
    positions->look = NULL;
    store_request_finish(&done->request.base);
    mem_free(done);
    if (positions->closed) {
        free_if_closed(positions);
    } else if (positions->look_again) {
        look(positions);
    }
}

static bool tell_some(struct telling *telling, unsigned most)
{
    struct look *look = container_of(telling, struct look, telling);
    for (; most > 0 && look->told < look->request.user_count; most--) {
        tell_moved(look->positions->shard, &look->request.users[look->told++]);
    }
    if (look->told < look->request.user_count) {
        return true;
    }
    end_look(look);
    return false;
}

/* The shard ends: it is not to look again. */
static void drop_told(struct telling *telling)
{
    struct look *look = container_of(telling, struct look, telling);
    look->positions->look_again = false;
    end_look(look);
}

static void take_in(struct look *done)
{
    struct positions *positions = done->positions;
    const struct store_changed *changed = &done->request;
    bool all = changed->more || changed->next < positions->since;
    positions->since =
        positions->since == 0 ? first_since(positions, changed->next) : changed->next;
    if (all) {
        ask_node(positions); /* too many; or the clock was set back, and times mean nothing */
        end_look(done);
    } else {
        done->telling = (struct telling){.tell = tell_some, .drop = drop_told};
        teller_tell(positions->shard, &done->telling);
    }
}

static void on_changed(struct store_request *request)
{
    struct look *done = container_of(request, struct look, request.base);
    if (request->status == 0 && !done->positions->closed) {
        take_in(done);
    } else {
        end_look(done);
    }
}

static void look(struct positions *positions)
{
    positions->look_again = positions->look != NULL;
    if (positions->look != NULL || positions->shard->store == NULL) {
        return;
    }
    struct look *look = mem_alloc(sizeof(*look));
    look->positions = positions;
    look->request.base.op = STORE_CHANGED;
    look->request.base.done = on_changed;
    look->request.since = positions->since;
    look->request.limit = CHANGED_MAX;
    positions->look = look;
    store_submit(positions->shard->store, &look->request.base);
}

static void look_here(void *sched, bool cancelled)
{
    const struct shard *shard = cancelled ? NULL : sched_user(sched);
    if (shard != NULL && shard->positions != NULL) {
        look(shard->positions);
    }
}

void positions_look(struct shard *shard)
{
    struct actor_system *system = sched_system(shard->sched);
    sched_post(system, 0, look_here, actor_system_sched(system, 0));
}

/* Nodes must not all ask in the same moment: between half and the whole of the interval. */
static void arm(struct positions *positions)
{
    struct shard *shard = positions->shard;
    uint64_t half = shard->config->recheck_ms / 2;
    uint64_t delay = half + rand_below(&shard->rand, half + 1);
    timer_set(sched_timers(shard->sched), &positions->recheck, sched_now(shard->sched) + delay);
}

static void on_recheck(struct timer *timer)
{
    struct positions *positions = container_of(timer, struct positions, recheck);
    look(positions);
    arm(positions);
}

struct positions *positions_create(struct shard *shard)
{
    struct positions *positions = mem_alloc(sizeof(*positions));
    positions->shard = shard;
    timer_init(&positions->release, on_release);
    timer_init(&positions->pace, on_pace);
    list_init(&positions->first.queue);
    list_init(&positions->later.queue);
    list_init(&positions->held);
    timer_init(&positions->recheck, on_recheck);
    timer_init(&positions->again, on_again);
    walk_init_everybody(&positions->asked_all, shard, visit_asked);
    walk_init_everybody(&positions->compared, shard, visit_compared);
    if (sched_shard(shard->sched) == 0) {
        arm(positions);
        positions_look(shard); /* from when on */
    }
    return positions;
}

void positions_destroy(struct positions *positions)
{
    if (positions == NULL) {
        return;
    }
    timer_cancel(sched_timers(positions->shard->sched), &positions->recheck);
    timer_cancel(sched_timers(positions->shard->sched), &positions->again);
    timer_cancel(sched_timers(positions->shard->sched), &positions->pace);
    list_splice(&positions->first.queue, &positions->later.queue);
    for (struct list *link; (link = list_pop(&positions->first.queue)) != NULL;) {
        mem_free(container_of(link, struct page, link));
    }
    timer_cancel(sched_timers(positions->shard->sched), &positions->release);
    release(positions);
    positions->closed = true;
    free_if_closed(positions);
}
