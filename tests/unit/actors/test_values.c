/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of a node without Redis, over three shards: what is read is what was written, who fills,
 * who waits, what goes, and what goes first when there is no room.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/assembly/shard_floors.h"
#include "actors/shard.h"
#include "actors/values/value_call.h"
#include "actors/values/value_drop.h"
#include "actors/values/value_memory.h"
#include "actors/values/value_op.h"
#include "actors/values/values.h"
#include "codec/base/mem.h"
#include "tests/support/one_shard.h"

TestSuite(values, .timeout = 60);

enum { SHARDS = 3, START_MS = 5000, TTL_MS = 1000, STALE_MS = 500, FILL_MS = 200, ROOM = 1 << 20 };

struct world {
    struct actor_system *system;
    struct actor_config config;
    struct shard shards[SHARDS];
    uint64_t now_ms;
};

static void turn(struct world *world)
{
    for (unsigned round = 0; round < 8; round++) {
        for (unsigned i = 0; i < SHARDS; i++) {
            one_shard_turn(&world->shards[i], world->now_ms);
        }
    }
}

static void move(struct world *world, uint64_t ms)
{
    world->now_ms += ms;
    turn(world);
}

static struct world *set_up(void)
{
    struct world *world = mem_alloc(sizeof(*world));
    world->now_ms = START_MS;
    world->config = (struct actor_config){.node = "n",
        .epoch = "e",
        .names = {.prefix = "peal", .slots = 64},
        .adapter_key = "socket.io",
        .values = {.wanted = true,
            .prefix = "v",
            .bytes = ROOM,
            .stale_ms = STALE_MS,
            .fill_ms = FILL_MS,
            .waiting = 100,
            .drops = 2}};
    world->system = actor_system_create(SHARDS);
    for (unsigned i = 0; i < SHARDS; i++) {
        struct sched *sched = actor_system_sched(world->system, i);
        sched_bind(sched, one_shard_wake, NULL, &world->shards[i]);
        shard_init(&world->shards[i], sched, &world->config);
        world->shards[i].values = values_create(&world->shards[i]);
    }
    turn(world);
    return world;
}

static void tear_down(struct world *world)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        values_close(world->shards[i].values);
    }
    turn(world);
    for (unsigned i = 0; i < SHARDS; i++) {
        cr_assert_eq(values_get_stats(world->shards[i].values)->calls, 0);
        values_destroy(world->shards[i].values);
        world->shards[i].values = NULL;
    }
    actor_system_destroy(world->system);
    for (unsigned i = 0; i < SHARDS; i++) {
        shard_finish(&world->shards[i]);
    }
    mem_free(world);
}

static uint64_t sum(const struct world *world, size_t offset)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < SHARDS; i++) {
        const struct values_stats *stats = values_get_stats(world->shards[i].values);
        total += *(const uint64_t *)((const char *)stats + offset);
    }
    return total;
}

#define SUM(world, member) sum(world, offsetof(struct values_stats, member))

/* One op at a time. */

struct one {
    struct value_call call; /* first */
    struct value_op op;
    bool done;
};

static void on_done(struct value_call *call)
{
    container_of(call, struct one, call)->done = true;
}

static struct one *make_one(enum value_verb verb, const char *tenant, const char *key)
{
    struct one *one = mem_alloc(sizeof(*one));
    one->call = (struct value_call){.ops = &one->op, .count = 1, .done = on_done};
    one->op.verb = verb;
    one->op.ttl_ms = TTL_MS;
    one->op.name_len = value_name_write(bytes_str(tenant), bytes_str(key), one->op.name).len;
    return one;
}

static void begin(struct world *world, struct one *one)
{
    cr_assert(value_call_begin(&one->call, &world->shards[0]));
    turn(world);
}

static void drop_one(struct one *one)
{
    value_op_finish(&one->op);
    mem_free(one);
}

/* Ask, and return what came of it; the bytes are in `at`. */
static struct value_result ask(struct world *world, struct one *one, char *at)
{
    begin(world, one);
    cr_assert(one->done);
    struct value_result result = one->op.result;
    at[0] = '\0';
    if (result.body.bytes != NULL) {
        struct bytes bytes = buf_bytes(result.body.bytes);
        snprintf(at, 64, "%.*s", (int)bytes.len, bytes.at);
    }
    result.body.bytes = NULL;
    drop_one(one);
    return result;
}

static struct one *make_put(
    const char *tenant, const char *key, const char *value, const char *tags)
{
    struct one *one = make_one(VALUE_PUT, tenant, key);
    one->op.body.bytes = buf_new(bytes_str(value));
    one->op.tags = tags != NULL ? buf_new(bytes_str(tags)) : NULL;
    return one;
}

static struct value_result put(struct world *world, const char *key, const char *value)
{
    char at[64];
    return ask(world, make_put("", key, value, NULL), at);
}

static struct value_result get(struct world *world, const char *key, char *at)
{
    return ask(world, make_one(VALUE_GET, "", key), at);
}

Test(values, are_there_until_they_end)
{
    struct world *world = set_up();
    char at[64];
    cr_assert_eq(get(world, "a", at).outcome, VALUE_MISS);
    struct value_result first = put(world, "a", "1");
    cr_assert_eq(first.outcome, VALUE_DONE);
    struct value_result seen = get(world, "a", at);
    cr_assert_eq(seen.outcome, VALUE_HIT);
    cr_assert_str_eq(at, "1");
    cr_assert_eq(seen.version, first.version);
    cr_assert_eq(seen.expires_ms, START_MS + TTL_MS);
    cr_assert_gt(put(world, "a", "2").version, first.version);
    move(world, TTL_MS - 1);
    cr_assert_eq(get(world, "a", at).outcome, VALUE_HIT);
    cr_assert_str_eq(at, "2");
    move(world, 1);
    cr_assert_eq(get(world, "a", at).outcome, VALUE_MISS);
    tear_down(world);
}

Test(values, of_tenants_are_apart)
{
    struct world *world = set_up();
    char at[64];
    (void)ask(world, make_put("one", "a", "1", "\nt\n"), at);
    (void)ask(world, make_put("two", "a", "2", "\nt\n"), at);
    cr_assert_eq(ask(world, make_one(VALUE_GET, "one", "a"), at).outcome, VALUE_HIT);
    cr_assert_str_eq(at, "1");
    cr_assert_eq(ask(world, make_one(VALUE_DELETE, "one", "a"), at).outcome, VALUE_DONE);
    cr_assert_eq(ask(world, make_one(VALUE_GET, "two", "a"), at).outcome, VALUE_HIT);
    cr_assert_str_eq(at, "2");
    tear_down(world);
}

Test(values, a_put_on_another_version_is_refused)
{
    struct world *world = set_up();
    char at[64];
    struct one *one = make_put("", "a", "1", NULL);
    one->op.conditional = true; /* and nothing is there */
    struct value_result made = ask(world, one, at);
    cr_assert_eq(made.outcome, VALUE_DONE);
    one = make_put("", "a", "2", NULL);
    one->op.conditional = true;
    struct value_result refused = ask(world, one, at);
    cr_assert_eq(refused.outcome, VALUE_CONFLICT);
    cr_assert_eq(refused.version, made.version);
    one = make_put("", "a", "2", NULL);
    one->op.conditional = true;
    one->op.if_version = made.version;
    cr_assert_eq(ask(world, one, at).outcome, VALUE_DONE);
    (void)ask(world, make_one(VALUE_DELETE, "", "a"), at);
    one = make_put("", "a", "3", NULL); /* deleted and put again is another version */
    one->op.conditional = true;
    one->op.if_version = put(world, "a", "4").version - 1;
    cr_assert_eq(ask(world, one, at).outcome, VALUE_CONFLICT);
    tear_down(world);
}

static struct value_result add(struct world *world, const char *key, int64_t by, char *at)
{
    struct one *one = make_one(VALUE_INCREMENT, "", key);
    one->op.by = by;
    return ask(world, one, at);
}

Test(values, counters_count_and_keep_their_end)
{
    struct world *world = set_up();
    char at[64];
    cr_assert_eq(add(world, "n", 5, at).outcome, VALUE_DONE);
    cr_assert_str_eq(at, "5");
    move(world, TTL_MS / 2);
    struct value_result second = add(world, "n", -7, at);
    cr_assert_str_eq(at, "-2");
    cr_assert_eq(second.expires_ms, START_MS + TTL_MS);
    move(world, TTL_MS / 2);
    (void)add(world, "n", 1, at);
    cr_assert_str_eq(at, "1");
    (void)put(world, "s", "\"text\"");
    cr_assert_eq(add(world, "s", 1, at).outcome, VALUE_NO_INTEGER);
    (void)put(world, "m", "9223372036854775807");
    cr_assert_eq(add(world, "m", 1, at).outcome, VALUE_OVERFLOW);
    (void)get(world, "m", at);
    cr_assert_str_eq(at, "9223372036854775807");
    tear_down(world);
}

/* Who fills. */

static struct one *make_lease(const char *key, uint64_t wait_ms)
{
    struct one *one = make_one(VALUE_LEASE, "", key);
    one->op.wait_ms = wait_ms;
    return one;
}

static struct one *make_fill(
    const char *key, const char *value, const char *tags, const char *token)
{
    struct one *one = make_put("", key, value, tags);
    strcpy(one->op.token, token);
    return one;
}

static struct one *make_release(const char *key, const char *token)
{
    struct one *one = make_lease(key, 0);
    one->op.verb = VALUE_RELEASE;
    strcpy(one->op.token, token);
    return one;
}

Test(values, of_many_callers_one_fills_and_the_others_wait)
{
    enum { CALLERS = 50 };
    struct world *world = set_up();
    struct one *callers[CALLERS];
    char at[64];
    const struct one *filler = NULL;
    for (unsigned i = 0; i < CALLERS; i++) {
        callers[i] = make_lease("a", 10 * FILL_MS);
        begin(world, callers[i]);
        if (callers[i]->done) {
            cr_assert_null(filler);
            cr_assert_eq(callers[i]->op.result.outcome, VALUE_FILL);
            filler = callers[i];
        }
    }
    cr_assert_not_null(filler);
    cr_assert_eq(SUM(world, waiting), CALLERS - 1);
    cr_assert_eq(
        ask(world, make_fill("a", "7", NULL, filler->op.result.token), at).outcome, VALUE_DONE);
    for (unsigned i = 0; i < CALLERS; i++) {
        cr_assert(callers[i]->done);
        if (callers[i] != filler) {
            cr_assert_eq(callers[i]->op.result.outcome, VALUE_HIT);
            cr_assert(bytes_eq(buf_bytes(callers[i]->op.result.body.bytes), BYTES("7")));
        }
        drop_one(callers[i]);
    }
    cr_assert_eq(SUM(world, waiting), 0);
    cr_assert_eq(SUM(world, fills), 1);
    tear_down(world);
}

Test(values, what_a_lease_finds_stays)
{
    struct world *world = set_up();
    char at[64];
    (void)put(world, "a", "1");
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(ask(world, make_lease("a", 0), at).outcome, VALUE_HIT);
        cr_assert_str_eq(at, "1");
    }
    cr_assert_eq(get(world, "a", at).outcome, VALUE_HIT);
    cr_assert_str_eq(at, "1");
    struct value_result first = ask(world, make_lease("b", 0), at);
    struct one *waiter = make_lease("b", FILL_MS);
    begin(world, waiter);
    cr_assert_eq(ask(world, make_fill("b", "2", NULL, first.token), at).outcome, VALUE_DONE);
    cr_assert_eq(waiter->op.result.outcome, VALUE_HIT);
    drop_one(waiter);
    cr_assert_eq(
        ask(world, make_lease("b", 0), at).outcome, VALUE_HIT); /* it came too late to wait */
    cr_assert_eq(SUM(world, fills), 1);
    tear_down(world);
}

Test(values, who_fills_too_late_has_lost_it_and_the_next_one_fills)
{
    struct world *world = set_up();
    char at[64];
    struct value_result first = ask(world, make_lease("a", 0), at);
    cr_assert_eq(first.outcome, VALUE_FILL);
    struct value_result second = ask(world, make_lease("a", 0), at);
    cr_assert_eq(second.outcome, VALUE_MISS); /* it does not wait: it computes it */
    struct one *waiter = make_lease("a", 10 * FILL_MS);
    begin(world, waiter);
    cr_assert_not(waiter->done);
    move(world, FILL_MS);
    cr_assert(waiter->done);
    cr_assert_eq(waiter->op.result.outcome, VALUE_FILL);
    cr_assert_eq(ask(world, make_fill("a", "1", NULL, first.token), at).outcome, VALUE_LEASE_LOST);
    cr_assert_eq(
        ask(world, make_fill("a", "2", NULL, waiter->op.result.token), at).outcome, VALUE_DONE);
    drop_one(waiter);
    tear_down(world);
}

Test(values, who_fills_and_cannot_gives_the_turn_to_one_who_waits)
{
    struct world *world = set_up();
    char at[64];
    struct value_result first = ask(world, make_lease("a", 0), at);
    struct one *waiter = make_lease("a", 10 * FILL_MS);
    begin(world, waiter);
    (void)ask(world, make_release("a", "0123456789abcdef0123456789abcdef:1"), at);
    cr_assert_not(waiter->done); /* nobody's */
    (void)ask(world, make_release("a", first.token), at);
    cr_assert(waiter->done);
    cr_assert_eq(waiter->op.result.outcome, VALUE_FILL);
    cr_assert_eq(ask(world, make_fill("a", "1", NULL, first.token), at).outcome, VALUE_LEASE_LOST);
    (void)ask(world, make_release("a", first.token), at); /* once more: that of the waiter stays */
    cr_assert_eq(
        ask(world, make_fill("a", "2", NULL, waiter->op.result.token), at).outcome, VALUE_DONE);
    drop_one(waiter);
    tear_down(world);
}

Test(values, who_waits_in_vain_is_told)
{
    struct world *world = set_up();
    char at[64];
    (void)ask(world, make_lease("a", 0), at);
    struct one *waiter = make_lease("a", FILL_MS / 2);
    begin(world, waiter);
    move(world, FILL_MS / 2 - 1);
    cr_assert_not(waiter->done);
    move(world, 1);
    cr_assert(waiter->done);
    cr_assert_eq(waiter->op.result.outcome, VALUE_MISS);
    drop_one(waiter);
    tear_down(world);
}

Test(values, what_was_is_shown_while_somebody_fills)
{
    struct world *world = set_up();
    char at[64];
    (void)put(world, "a", "1");
    move(world, TTL_MS);
    cr_assert_eq(get(world, "a", at).outcome, VALUE_MISS);
    struct value_result filler = ask(world, make_lease("a", 0), at);
    cr_assert_eq(filler.outcome, VALUE_FILL);
    cr_assert_eq(get(world, "a", at).outcome, VALUE_STALE);
    cr_assert_str_eq(at, "1");
    cr_assert_eq(ask(world, make_lease("a", 1000), at).outcome, VALUE_STALE);
    cr_assert_eq(ask(world, make_fill("a", "2", NULL, filler.token), at).outcome, VALUE_DONE);
    cr_assert_eq(get(world, "a", at).outcome, VALUE_HIT);
    cr_assert_str_eq(at, "2");
    tear_down(world);
}

/* What goes. */

struct going {
    struct value_drop drop; /* first */
    bool done;
};

static void on_gone(struct value_drop *drop)
{
    container_of(drop, struct going, drop)->done = true;
}

/* How many went. */
static uint64_t let_go(
    struct world *world, const char *tenant, const char *tags, const char *prefix)
{
    struct going going = {.drop = {.done = on_gone}};
    going.drop.tenant_len = strlen(tenant);
    memcpy(going.drop.tenant, tenant, going.drop.tenant_len);
    going.drop.tags = tags != NULL ? buf_new(bytes_str(tags)) : NULL;
    if (prefix != NULL) {
        going.drop.prefix_len = strlen(prefix);
        memcpy(going.drop.prefix, prefix, going.drop.prefix_len);
    }
    cr_assert_eq(value_drop_begin(&going.drop, &world->shards[1]), VALUE_DROP_BEGUN);
    turn(world);
    cr_assert(going.done);
    cr_assert_eq(going.drop.outcome, VALUE_DONE);
    return going.drop.count;
}

Test(values, go_by_tag_and_by_the_beginning_of_their_key)
{
    struct world *world = set_up();
    char at[64];
    char key[16];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "%s:%u", i % 2 == 0 ? "even" : "odd", i);
        const char *tags = i % 5 == 0 ? "\nfive\nall\n" : "\nall\n";
        (void)ask(world, make_put("t", key, "1", tags), at);
    }
    (void)ask(world, make_put("u", "even:0", "1", "\nall\n"), at);
    cr_assert_eq(let_go(world, "t", "\nfiv\n", NULL), 0);
    cr_assert_eq(let_go(world, "t", "\nfive\n", NULL), 20);
    cr_assert_eq(let_go(world, "t", NULL, "even:"), 40);
    cr_assert_eq(ask(world, make_one(VALUE_GET, "t", "odd:1"), at).outcome, VALUE_HIT);
    cr_assert_eq(ask(world, make_one(VALUE_GET, "t", "even:2"), at).outcome, VALUE_MISS);
    cr_assert_eq(let_go(world, "t", "\nnone\nall\n", NULL), 40);
    cr_assert_eq(ask(world, make_one(VALUE_GET, "u", "even:0"), at).outcome, VALUE_HIT);
    tear_down(world);
}

Test(values, who_fills_what_was_let_go_meanwhile_is_refused)
{
    struct world *world = set_up();
    char at[64];
    struct value_result by_prefix = ask(world, make_lease("a:1", 0), at);
    (void)let_go(world, "", NULL, "a:");
    cr_assert_eq(
        ask(world, make_fill("a:1", "1", NULL, by_prefix.token), at).outcome, VALUE_LEASE_LOST);
    struct value_result by_tag = ask(world, make_lease("b", 0), at);
    (void)let_go(world, "", "\nt\n", NULL);
    cr_assert_eq(
        ask(world, make_fill("b", "1", "\nt\n", by_tag.token), at).outcome, VALUE_LEASE_LOST);
    cr_assert_eq(
        ask(world, make_fill("b", "1", "\nother\n", by_tag.token), at).outcome, VALUE_DONE);
    struct value_result by_name = ask(world, make_lease("c", 0), at);
    (void)ask(world, make_one(VALUE_DELETE, "", "c"), at);
    cr_assert_eq(
        ask(world, make_fill("c", "1", NULL, by_name.token), at).outcome, VALUE_LEASE_LOST);
    tear_down(world);
}

Test(values, who_waits_for_what_is_let_go_fills_it)
{
    struct world *world = set_up();
    char at[64];
    (void)ask(world, make_lease("a:1", 0), at);
    struct one *waiter = make_lease("a:1", 10 * FILL_MS);
    begin(world, waiter);
    (void)let_go(world, "", NULL, "a:");
    turn(world);
    cr_assert(waiter->done);
    cr_assert_eq(waiter->op.result.outcome, VALUE_FILL);
    drop_one(waiter);
    tear_down(world);
}

/* Room. */

Test(values, memory_is_bounded_and_what_was_used_longest_ago_goes)
{
    enum { COUNT = 10000, BYTES_EACH = 3000 };
    struct value_memory *memory = value_memory_create(true);
    char *text = mem_alloc(BYTES_EACH);
    memset(text, 'x', BYTES_EACH);
    value_memory_set_max(memory, ROOM);
    struct buf *body = buf_new(bytes_of(text, BYTES_EACH));
    const struct value_item item = {.body.bytes = body, .stale_ms = UINT64_MAX};
    cr_assert_not_null(value_memory_put(memory, BYTES("small/kept"), &item));
    cr_assert_not_null(value_memory_put(memory, BYTES("large/first"), &item));
    cr_assert_not_null(value_memory_put(memory, BYTES("large/used"), &item));
    for (unsigned i = 0; i < COUNT; i++) {
        char name[32];
        snprintf(name, sizeof(name), "large/%u", i);
        (void)value_memory_put(memory, bytes_str(name), &item);
        cr_assert_not_null(value_memory_get(memory, BYTES("large/used")));
        cr_assert_leq(value_memory_stats(memory)->bytes, ROOM);
    }
    cr_assert_not_null(value_memory_get(memory, BYTES("small/kept")));
    cr_assert_null(value_memory_get(memory, BYTES("large/first")));
    cr_assert_gt(value_memory_stats(memory)->items, ROOM / BYTES_EACH / 2);
    cr_assert_gt(value_memory_stats(memory)->evicted, COUNT / 2);
    value_memory_destroy(memory);
    buf_unref(body);
    mem_free(text);
}

static bool none(void *context, const struct value_item *item)
{
    (void)item;
    (*(unsigned *)context)++;
    return false;
}

Test(values, a_walk_bears_that_all_changes_under_it)
{
    struct value_memory *memory = value_memory_create(false);
    struct buf *body = buf_new(BYTES("1"));
    const struct value_item item = {.body.bytes = body, .stale_ms = UINT64_MAX};
    struct value_walk walk = {0};
    unsigned seen = 0;
    value_memory_set_max(memory, ROOM);
    for (unsigned i = 0; i < 10; i++) {
        char name[8] = {'/', (char)('a' + i)};
        (void)value_memory_put(memory, bytes_str(name), &item);
    }
    cr_assert(value_walk_some(memory, &walk, 3, none, &seen));
    value_memory_remove(memory, BYTES("/d")); /* the next one */
    value_memory_remove(memory, BYTES("/e"));
    (void)value_memory_put(memory, BYTES("/a"), &item); /* born after it began */
    while (value_walk_some(memory, &walk, 3, none, &seen)) {
    }
    cr_assert_eq(seen, 8);
    cr_assert(value_walk_some(memory, &walk, 1, none, &seen));
    value_walk_cancel(&walk);
    value_memory_destroy(memory);
    buf_unref(body);
}

Test(values, what_is_too_large_is_refused_where_memory_is_all_there_is)
{
    struct world *world = set_up();
    char *text = mem_alloc(ROOM / VALUE_MEMORY_PART + 1);
    memset(text, 'x', ROOM / VALUE_MEMORY_PART);
    char at[64];
    cr_assert_eq(put(world, "a", text).outcome, VALUE_TOO_LARGE);
    cr_assert_eq(get(world, "a", at).outcome, VALUE_MISS);
    mem_free(text);
    tear_down(world);
}

/* Names. */

Test(values, names_in_redis_are_read_back)
{
    const struct value_names names = {.prefix = "peal:values", .slots = 1024, .db = 2};
    char at[VALUE_NAME_MAX];
    struct bytes name = value_name_write(BYTES("t"), BYTES("a:*}"), at);
    struct builder key = {0};
    struct bytes read;
    value_name_redis(&names, VALUE_KIND_VALUE, name, &key);
    cr_assert(value_name_read(&names, builder_bytes(&key), &read));
    cr_assert(bytes_eq(read, name));
    builder_clear(&key);
    value_name_redis(&names, VALUE_KIND_TAG, name, &key);
    cr_assert_not(value_name_read(&names, builder_bytes(&key), &read));
    cr_assert_not(value_name_read(&names, BYTES("peal:values:{1"), &read));
    cr_assert_not(value_name_read(&names, BYTES("peal:values:{1}:v:"), &read));
    builder_clear(&key);
    value_name_pattern(&names, BYTES("t?"), BYTES("a:[*"), &key);
    cr_assert(bytes_eq_str(builder_bytes(&key), "peal:values:{*}:v:t\\?/a:\\[\\**"));
    builder_reset(&key);
}
