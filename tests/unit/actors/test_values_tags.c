/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of a shard with Redis, which the test plays: tags, and what they and prefixes let go.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "actors/values/value_drop.h"
#include "codec/base/status.h"
#include "tests/support/played_redis.h"

TestSuite(values_tags, .timeout = 60);

Test(values_tags, a_value_is_added_to_its_tags_before_it_is_written)
{
    played_set_up();
    played_come_up();
    struct played_ask *one = played_ask(VALUE_PUT, "\nx\ny\n", "", 0);
    cr_assert_eq(played_redis->count, 2); /* one for each tag */
    played_answer_number(0, 1);
    cr_assert_eq(played_redis->count, 1);
    played_answer_number(0, 1);
    cr_assert_eq(played_redis->count, 1);
    cr_assert_str_eq(played_redis->commands[0].words[8], "\nx\ny\n"); /* the value itself */
    PLAYED_ANSWER(0, "D", "8", "99");
    cr_assert_eq(played_end(one), VALUE_DONE);
    one = played_ask(VALUE_PUT, "\nx\ny\n", "0:123", 0);
    played_answer_number(0, 0); /* let go since then */
    played_answer_number(0, 1);
    cr_assert_eq(played_redis->count, 0);
    cr_assert_eq(played_end(one), VALUE_LEASE_LOST);
    played_tear_down();
}

Test(values_tags, entries_of_tags_end_by_the_clock_of_redis)
{
    enum { LIFE_MS = PLAYED_TTL_MS + PLAYED_STALE_MS + 60000, TIE_BITS = 10 };
    played_set_up();
    played_come_up();
    struct played_ask *one = played_ask(VALUE_PUT, "\nt\n", "x:1", 0);
    int index = played_find("EVALSHA");
    cr_assert_geq(index, 0);
    char *const *words = played_redis->commands[index].words;
    cr_expect_eq(
        strtoull(words[6], NULL, 10) >> TIE_BITS, PLAYED_REDIS_MS + LIFE_MS, "%s", words[6]);
    cr_expect_eq(strtoull(words[9], NULL, 10) >> TIE_BITS, PLAYED_REDIS_MS, "%s", words[9]);
    played_answer_number(index, 0);
    cr_expect_eq(played_end(one), VALUE_LEASE_LOST);
    played_tear_down();
}

Test(values_tags, a_token_that_nobody_made_is_a_number_for_redis)
{
    static const char *const tokens[][2] = {{"", ""}, {"nobodys", "0"}, {"x:y", "0"}, {"x:", "0"},
        {"x:-1", "0"}, {"x:1e9", "0"}, {"x:99999999999999999999", "0"}, {"x:17", "17"}};
    played_set_up();
    played_come_up();
    for (size_t i = 0; i < sizeof(tokens) / sizeof(*tokens); i++) {
        struct played_ask *one = played_ask(VALUE_PUT, "\nt\n", tokens[i][0], 0);
        int index = played_find("EVALSHA");
        cr_assert_geq(index, 0);
        /* EVALSHA digest 2 set mark name stamp since life floor */
        cr_expect_str_eq(played_redis->commands[index].words[7], tokens[i][1], "%s", tokens[i][0]);
        played_answer_number(index, 0);
        cr_expect_eq(played_end(one), VALUE_LEASE_LOST);
    }
    played_tear_down();
}

/* Letting go. */

struct going {
    struct value_drop drop; /* first */
    bool done;
};

static void on_gone(struct value_drop *drop)
{
    container_of(drop, struct going, drop)->done = true;
}

static void answer_scan(const char *cursor, size_t count, const char *const *texts)
{
    struct bus_reply items[4];
    struct bus_reply *list[4];
    struct bus_reply head = played_text(cursor);
    for (size_t i = 0; i < count; i++) {
        items[i] = played_text(texts[i]);
        list[i] = &items[i];
    }
    struct bus_reply found = {.type = BUS_ARRAY, .count = count, .items = list};
    struct bus_reply *both[] = {&head, &found};
    played_answer(0, 0, &(struct bus_reply){.type = BUS_ARRAY, .count = 2, .items = both});
}

static void answer_dropped(int64_t count, int64_t same)
{
    struct bus_reply numbers[] = {
        {.type = BUS_INTEGER, .integer = count}, {.type = BUS_INTEGER, .integer = same}};
    struct bus_reply *list[] = {&numbers[0], &numbers[1]};
    played_answer(0, 0, &(struct bus_reply){.type = BUS_ARRAY, .count = 2, .items = list});
}

Test(values_tags, a_tag_is_marked_and_its_values_go_step_by_step)
{
    struct going going = {.drop = {.done = on_gone}};
    played_set_up();
    played_come_up();
    going.drop.tags = buf_new(BYTES("\nx\n"));
    cr_assert_eq(value_drop_begin(&going.drop, &played_redis->shard), VALUE_DROP_BEGUN);
    played_answer_number(0, 1000); /* the mark */
    cr_assert_str_eq(played_redis->commands[0].words[0], "ZSCAN");
    answer_scan("5", 4, (const char *[]){"/a", "11", "/b", "12"});
    cr_assert_eq(played_redis->count, 2);
    answer_dropped(1, 1);
    answer_dropped(1, 0); /* another put of it has the tag, too: its entry stays */
    cr_assert_eq(played_redis->count, 1);
    cr_assert_eq(played_redis->commands[0].argc, 6);
    cr_assert_str_eq(played_redis->commands[0].words[4], "/a");
    cr_assert_str_eq(played_redis->commands[0].words[5], "11");
    played_answer_number(0, 1);
    cr_assert_str_eq(played_redis->commands[0].words[2], "5"); /* the next step */
    answer_scan("0", 0, NULL);
    cr_assert(going.done);
    cr_assert_eq(going.drop.outcome, VALUE_DONE);
    cr_assert_eq(going.drop.count, 2);
    played_tear_down();
}

Test(values_tags, a_prefix_goes_through_the_keys_and_stops_when_redis_goes)
{
    struct going going = {.drop = {.done = on_gone}};
    played_set_up();
    played_come_up();
    memcpy(going.drop.prefix, "a:", 2);
    going.drop.prefix_len = 2;
    cr_assert_eq(value_drop_begin(&going.drop, &played_redis->shard), VALUE_DROP_BEGUN);
    cr_assert_str_eq(played_redis->commands[0].words[3], "v:{*}:v:/a:*");
    answer_scan("7", 3, (const char *[]){"v:{1}:v:/a:1", "foreign", "v:{2}:v:/a:2"});
    cr_assert_eq(played_redis->count, 2);
    answer_dropped(1, 0);
    played_answer(0, STATUS_UNAVAILABLE, NULL);
    cr_assert(going.done);
    cr_assert_eq(going.drop.outcome, VALUE_UNKNOWN);
    going.done = false;
    cr_assert_eq(value_drop_begin(&going.drop, &played_redis->shard), VALUE_DROP_BEGUN);
    played_tear_down(); /* under way: it is told by that */
    cr_assert(going.done);
}
