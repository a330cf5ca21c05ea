/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much one turn of a shard does of what concerns many users: rows that were stored or swept,
 * users that have changed, everybody when the bus or the store has come back. Counted, not timed.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "actors/assembly/shard_floors.h"
#include "actors/bus.h"
#include "actors/inbox/announce.h"
#include "actors/inbox/announce_queue.h"
#include "actors/inbox/audience.h"
#include "actors/inbox/inbox.h"
#include "actors/inbox/inbox_bus.h"
#include "actors/inbox/positions.h"
#include "actors/inbox/post.h"
#include "actors/inbox/teller.h"
#include "actors/inbox/walk.h"
#include "actors/order/bus_origin.h"
#include "actors/shard.h"
#include "actors/user/user.h"
#include "codec/announce.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "tests/support/client.h"
#include "tests/support/fake_store.h"
#include "tests/support/one_shard.h"

TestSuite(turns, .timeout = 120);

enum {
    START_MS = 5000,
    RECHECK_MS = 1000,
    ROWS = 1000,
    SWEPT = 500,
    CHANGED = 20000,
    LATE = 4000,
    USERS = 3 * WALK_USERS,
    SETTLE_TURNS = 400,
    SENT_MAX = 8192
};

/* A bus that is up and answers nothing; it notes what is published. */
struct bus_link {
    const struct bus_events *events;
    void *context;
    const char *name;
};

struct world {
    struct actor_system *system;
    struct sched *sched;
    struct actor_config config;
    struct shard shard;
    struct fake_store *store;
    struct bus bus;
    struct client *clients;
    size_t client_count;
    uint64_t now_ms;
};

static struct bus_link links[8];
static size_t link_count;
static uint64_t published; /* on users' channels */
static uint64_t sent_revs[SENT_MAX]; /* of these */
static bus_reply_fn answers[SENT_MAX];
static void *answer_contexts[SENT_MAX];
static size_t answer_count;

static struct bus_link *open_link(
    struct bus *bus, const char *name, const struct bus_events *events, void *context)
{
    (void)bus;
    cr_assert_lt(link_count, ARRAY_LEN(links));
    links[link_count] = (struct bus_link){events, context, name};
    return &links[link_count++];
}

static void close_link(struct bus_link *link)
{
    (void)link;
}

static bool is_up(const struct bus_link *link)
{
    (void)link;
    return true;
}

static void command(struct bus_link *link, const struct bytes *argv, size_t argc,
    uint32_t timeout_ms, bus_reply_fn fn, void *context)
{
    struct announce announce;
    (void)link;
    (void)timeout_ms;
    if (argc == 3 && announce_decode(argv[2], &announce) == 0) {
        sent_revs[published++ % SENT_MAX] = announce.rev;
    }
    cr_assert_lt(answer_count, SENT_MAX);
    answers[answer_count] = fn;
    answer_contexts[answer_count++] = context;
}

static bool subscribe(struct bus_link *link, struct bytes channel)
{
    (void)link;
    (void)channel;
    return true;
}

static void unsubscribe(struct bus_link *link, struct bytes channel)
{
    (void)link;
    (void)channel;
}

static const struct bus_ops bus_ops = {
    .open = open_link,
    .close = close_link,
    .is_up = is_up,
    .command = command,
    .subscribe = subscribe,
    .unsubscribe = unsubscribe,
    .subscribe_quietly = subscribe,
};

static struct bus_link *link_named(const char *name)
{
    for (size_t i = 0; i < link_count; i++) {
        if (strcmp(links[i].name, name) == 0) {
            return &links[i];
        }
    }
    cr_assert_fail("no link %s", name);
    return NULL;
}

/* The answers of all that was published, as the link has it. */
static void answer_all(int status)
{
    static const struct bus_reply taken = {.type = BUS_INTEGER, .integer = 1};
    size_t count = answer_count;
    answer_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (answers[i] != NULL) {
            answers[i](answer_contexts[i], status, status == 0 ? &taken : NULL);
        }
    }
}

static uint64_t handled[3]; /* messages to users: announcements, feed, moved */

static void count_message(
    void *context, enum sched_trace event, const struct actor *actor, const struct msg *msg)
{
    static const char *const names[] = {"user.announce", "user.feed", "user.moved"};
    (void)context;
    (void)event;
    (void)actor;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        handled[i] += strcmp(msg->kind->name, names[i]) == 0;
    }
}

static void enter_store(void *context)
{
    (void)context;
}

static void turn(struct world *world)
{
    one_shard_turn(&world->shard, world->now_ms);
}

/* So many turns, a millisecond each, in which the store answers. */
static void turns(struct world *world, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        while (fake_store_step(world->store)) {
        }
        world->now_ms++;
        turn(world);
    }
}

static void set_up(struct world *world, bool bus)
{
    *world = (struct world){.now_ms = START_MS, .bus = {&bus_ops}};
    link_count = answer_count = 0;
    published = 0;
    world->config = (struct actor_config){.node = "n",
        .epoch = "e",
        .names = {.prefix = "peal", .slots = 1024},
        .adapter_key = "socket.io",
        .connections_per_user = 1,
        .recheck_ms = RECHECK_MS,
        .probe_ms = 1000000};
    world->store = fake_store_create(1);
    world->system = actor_system_create(1);
    world->sched = actor_system_sched(world->system, 0);
    sched_bind(world->sched, one_shard_wake, NULL, &world->shard);
    sched_set_trace(world->sched, count_message, NULL);
    shard_init(&world->shard, world->sched, &world->config);
    world->shard.store = fake_store_port(world->store, enter_store, NULL);
    turn(world);
    world->shard.positions = positions_create(&world->shard);
    world->shard.audience = audience_create(&world->shard);
    if (bus) {
        world->shard.bus = &world->bus;
        world->shard.inbox_bus = inbox_bus_create(&world->shard);
        audience_connect(world->shard.audience);
    }
    (void)shard_open_nsp(&world->shard, BYTES("/"));
    turns(world, 10);
    memset(handled, 0, sizeof(handled));
}

static void attach_all(struct world *world, size_t count)
{
    world->clients = mem_alloc_array(count, sizeof(*world->clients));
    memset(world->clients, 0, count * sizeof(*world->clients));
    world->client_count = count;
    for (size_t i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof(name), "acme/%zu", i);
        client_init(&world->clients[i], &world->shard, "/", name, WIRE_SIO);
        cr_assert_eq(user_attach(&world->shard, &world->clients[i].socket), 0);
    }
}

static void tear_down(struct world *world)
{
    for (size_t i = 0; i < world->client_count; i++) {
        client_finish(&world->clients[i], CLOSE_NORMAL);
    }
    mem_free(world->clients);
    turns(world, SETTLE_TURNS);
    fake_store_drain(world->shard.store);
    inbox_bus_destroy(world->shard.inbox_bus);
    answer_all(STATUS_CANCELLED);
    world->shard.inbox_bus = NULL;
    audience_destroy(world->shard.audience);
    world->shard.audience = NULL;
    positions_destroy(world->shard.positions);
    actor_system_destroy(world->system);
    shard_finish(&world->shard);
    fake_store_destroy(world->store);
}

/* What was stored, and swept. */

static struct store_row *rows_of(const char *user, size_t count)
{
    struct store_row *rows = mem_alloc_array(count, sizeof(*rows));
    memset(rows, 0, count * sizeof(*rows));
    for (size_t i = 0; i < count; i++) {
        rows[i].who.user = bytes_str(user);
        rows[i].type = BYTES("t");
        rows[i].title = BYTES("title");
        rows[i].message = BYTES("message");
        rows[i].seq = rows[i].rev = rows[i].head = i + 1;
        rows[i].outcome = OUTCOME_STORED;
        rows[i].priority = NOTIFICATION_MEDIUM;
    }
    return rows;
}

Test(turns, the_rows_of_a_put_are_announced_some_in_a_turn_in_order)
{
    static struct world world;
    set_up(&world, true);
    struct store_row *rows = rows_of("ann", ROWS);
    post_announce(&world.shard, rows, ROWS);
    turn(&world);
    cr_expect_leq(published, 200, "%llu in one turn", (unsigned long long)published);
    cr_expect_leq(handled[0], 200, "%llu in one turn", (unsigned long long)handled[0]);
    for (unsigned i = 0; i < 10; i++) {
        uint64_t before = published;
        turns(&world, 1);
        cr_expect_leq(published - before, 200);
    }
    cr_expect_eq(published, ROWS, "%llu", (unsigned long long)published);
    cr_expect_eq(handled[0], ROWS);
    for (uint64_t i = 0; i < published; i++) {
        cr_expect_eq(sent_revs[i], i + 1);
    }
    mem_free(rows);
    tear_down(&world);
}

Test(turns, a_sweep_is_announced_some_in_a_turn)
{
    static struct world world;
    set_up(&world, true);
    struct store_swept *swept = mem_alloc_array(SWEPT, sizeof(*swept));
    memset(swept, 0, SWEPT * sizeof(*swept));
    for (size_t i = 0; i < SWEPT; i++) {
        swept[i].who.user = BYTES("ann");
        swept[i].news = true;
        swept[i].position.rev = i + 1;
        announce_swept(&world.shard, &swept[i]);
    }
    turn(&world);
    cr_expect_leq(published, 200, "%llu in one turn", (unsigned long long)published);
    turns(&world, 10);
    cr_expect_eq(published, SWEPT);
    mem_free(swept);
    tear_down(&world);
}

Test(turns, an_urgent_row_does_not_wait_and_its_inbox_stays_in_order)
{
    static struct world world;
    set_up(&world, true);
    struct store_row *many = rows_of("many", ROWS);
    struct store_row *ann = rows_of("ann", 3);
    struct store_row *bob = rows_of("bob", 1);
    for (size_t i = 0; i < ROWS; i++) {
        many[i].rev += 10000;
    }
    ann[2].priority = bob[0].priority = NOTIFICATION_URGENT;
    bob[0].rev = 77;
    post_announce(&world.shard, many, ROWS);
    post_announce(&world.shard, ann, 2); /* they wait */
    turn(&world);
    published = 0;
    post_announce(&world.shard, ann + 2, 1);
    post_announce(&world.shard, bob, 1);
    turns(&world, 1);
    unsigned at_ann = 0;
    bool heard_bob = false;
    for (uint64_t i = 0; i < published; i++) {
        heard_bob |= sent_revs[i] == 77;
        if (sent_revs[i] <= 3) {
            cr_expect_eq(sent_revs[i], ++at_ann, "ann's, in order");
            cr_expect_lt(i, 10, "before the many");
        }
    }
    cr_expect_eq(at_ann, 3);
    cr_expect(heard_bob);
    turns(&world, 10);
    cr_expect_eq(published, ROWS - 200 + 4);
    cr_expect_eq(world.shard.stats.announce_waiting, 0);
    cr_expect_eq(world.shard.stats.announce_waiting_bytes, 0);
    mem_free(many);
    mem_free(ann);
    mem_free(bob);
    tear_down(&world);
}

Test(turns, what_waits_is_bounded_and_nothing_is_lost)
{
    static struct world world;
    set_up(&world, false);
    struct store_row *rows = rows_of("ann", ROWS);
    for (unsigned i = 0; i < ANNOUNCE_WAITING_MAX / ROWS + 1; i++) {
        post_announce(&world.shard, rows, ROWS);
    }
    cr_expect_eq(world.shard.stats.announce_waiting, ANNOUNCE_WAITING_MAX);
    cr_expect_eq(world.shard.stats.announce_hurried, ROWS - ANNOUNCE_TURN);
    announce_queue_send_all(world.shard.announcements);
    cr_expect_eq(world.shard.stats.announce_waiting, 0);
    turn(&world);
    cr_expect_eq(handled[0], ANNOUNCE_WAITING_MAX + ROWS);
    post_announce(&world.shard, rows, ROWS); /* what is left when the shard ends is dropped */
    mem_free(rows);
    tear_down(&world);
}

/* Who has changed. */

Test(turns, users_that_have_changed_are_told_some_in_a_turn)
{
    static struct world world;
    set_up(&world, false);
    for (unsigned i = 0; i < CHANGED; i++) {
        char name[32];
        snprintf(name, sizeof(name), "u%u", i);
        fake_store_post(world.store, name, "new");
    }
    world.now_ms += RECHECK_MS;
    turn(&world);
    while (fake_store_step(world.store)) {
    }
    uint64_t most = 0;
    for (unsigned i = 0; i < CHANGED / TELLER_USERS * TELLER_MS + 50; i++) {
        uint64_t before = handled[2];
        turns(&world, 1);
        most = handled[2] - before > most ? handled[2] - before : most;
    }
    cr_expect_geq(handled[2], CHANGED, "%llu", (unsigned long long)handled[2]);
    cr_expect_leq(most, TELLER_USERS, "%llu in one turn", (unsigned long long)most);
    tear_down(&world);
}

/* Everybody. */

static uint64_t count_asked(const struct world *world)
{
    uint64_t count = 0;
    list_for_each (link, &world->shard.users) {
        const struct inbox *inbox = container_of(link, struct inbox, shard_link);
        count += inbox->asked || inbox->called;
    }
    return count;
}

Test(turns, a_bus_that_goes_down_is_told_to_some_users_in_a_turn)
{
    static struct world world;
    set_up(&world, true);
    attach_all(&world, USERS); /* no channel is confirmed */
    turn(&world);
    memset(handled, 0, sizeof(handled));
    struct bus_link *listener = link_named("inbox-listener");
    listener->events->on_down(listener->context);
    turn(&world);
    turn(&world); /* what the end of the first one has sent */
    cr_expect_leq(handled[1], WALK_USERS, "%llu in one turn", (unsigned long long)handled[1]);
    turns(&world, 50);
    cr_expect_eq(handled[1], USERS, "%llu", (unsigned long long)handled[1]);
    tear_down(&world);
}

Test(turns, a_node_that_lost_announcements_has_some_users_looked_at_in_a_turn)
{
    static struct world world;
    struct builder uid = {0};
    char all[BUS_NAME_MAX];
    set_up(&world, true);
    attach_all(&world, USERS);
    turn(&world);
    struct bus_link *listener = link_named("inbox-listener");
    listener->events->on_down(listener->context);
    turns(&world, SETTLE_TURNS); /* all are ready: without channels */
    memset(handled, 0, sizeof(handled));
    bus_name_all(&world.config.names, all);
    world.config.node = "other";
    bus_origin_write_uid(&world.shard, &uid);
    world.config.node = "n";
    uint64_t users = world.shard.stats.audience_users;
    listener->events->on_message(listener->context, bytes_str(all), builder_bytes(&uid));
    turn(&world);
    uint64_t looked = world.shard.stats.audience_users - users;
    cr_expect_leq(handled[0] + looked, WALK_USERS, "%llu in one turn",
        (unsigned long long)(handled[0] + looked));
    turns(&world, SETTLE_TURNS);
    looked = world.shard.stats.audience_users - users;
    cr_expect_geq(handled[0] + looked, USERS, "%llu", (unsigned long long)(handled[0] + looked));
    builder_reset(&uid);
    tear_down(&world);
}

Test(turns, a_store_that_is_another_one_has_some_users_compared_in_a_turn)
{
    static struct world world;
    set_up(&world, false);
    attach_all(&world, USERS);
    turns(&world, SETTLE_TURNS);
    cr_assert_eq(count_asked(&world), 0, "all are ready");
    positions_compare(&world.shard);
    turn(&world);
    cr_expect_leq(count_asked(&world), WALK_USERS, "%llu in one turn",
        (unsigned long long)count_asked(&world));
    turns(&world, 50);
    cr_expect_eq(count_asked(&world), 0);
    tear_down(&world);
}

Test(turns, users_who_go_or_are_looked_at_do_not_end_a_walk_over_everybody)
{
    static struct world world;
    struct user_recheck counts = {0};
    set_up(&world, true);
    attach_all(&world, USERS);
    turn(&world);
    memset(handled, 0, sizeof(handled));
    struct bus_link *listener = link_named("inbox-listener");
    listener->events->on_down(listener->context);
    turn(&world);
    user_recheck_begin(&world.shard); /* the front goes to the end */
    while (user_recheck_some(&world.shard, &counts)) {
    }
    client_finish(&world.clients[WALK_USERS], CLOSE_NORMAL); /* the walk comes to it next */
    turns(&world, 50);
    uint64_t waiting = 0;
    list_for_each (link, &world.shard.users) {
        waiting += container_of(link, struct inbox, shard_link)->phase == INBOX_WAITS_FEED;
    }
    cr_expect_eq(waiting, 0, "%llu were not told", (unsigned long long)waiting);
    tear_down(&world);
}

/* What was late. */

Test(turns, what_was_not_announced_is_announced_some_in_a_turn)
{
    static struct world world;
    set_up(&world, true);
    for (unsigned i = 0; i < LATE; i++) {
        char name[32];
        snprintf(name, sizeof(name), "u%u", i);
        announce_repeat(&world.shard, (struct store_user){.user = bytes_str(name)});
    }
    turns(&world, 50);
    cr_assert_eq(published, LATE);
    answer_all(STATUS_UNAVAILABLE);
    published = 0;
    struct bus_link *sender = link_named("inbox-sender");
    sender->events->on_up(sender->context);
    turn(&world);
    cr_expect_leq(published, TELLER_USERS, "%llu in one turn", (unsigned long long)published);
    turns(&world, 30);
    answer_all(STATUS_UNAVAILABLE); /* the link is down again in the middle of it */
    sender->events->on_up(sender->context);
    turns(&world, LATE / TELLER_USERS * TELLER_MS + 50);
    cr_expect_gt(published, LATE, "those that were not taken are announced again");
    answer_all(0);
    published = 0;
    sender->events->on_up(sender->context);
    turns(&world, 10);
    cr_expect_eq(published, 0, "nothing is left");
    tear_down(&world);
}
