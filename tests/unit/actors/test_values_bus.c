/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of a shard with Redis, which the test plays: what is kept, who reads,
 * who writes and who fills.
 */
#include <criterion/criterion.h>

#include "actors/values/value_link.h"
#include "actors/values/value_scripts.h"
#include "actors/values/values.h"
#include "codec/base/status.h"
#include "tests/support/played_redis.h"

TestSuite(values_bus, .timeout = 60);

Test(values_bus, memory_serves_only_while_changes_are_heard)
{
    played_set_up();
    played_come_up();
    played_read("7");
    cr_assert(played_is_here());
    played_move(VALUE_LINK_GOOD_MS - 1); /* probes are sent, and do not come back */
    cr_assert(played_is_here());
    played_move(1);
    cr_assert_not(played_is_here());
    played_bring_probes();
    played_read("7");
    cr_assert(played_is_here());
    played_move(5000);
    played_bring_probes();
    cr_assert_not(played_is_here()); /* it has ended */
    played_tear_down();
}

Test(values_bus, channels_that_found_no_memory_are_asked_for_later)
{
    played_refuses_channels = true;
    played_set_up();
    played_come_up();
    played_read("7");
    cr_assert_not(played_is_here()); /* nobody would tell of a change */
    played_move(VALUE_LINK_PROBE_MS);
    played_confirm();
    played_read("7");
    cr_assert_not(played_is_here());
    played_refuses_channels = false;
    played_move(VALUE_LINK_PROBE_MS);
    played_confirm();
    played_read("7");
    cr_assert(played_is_here());
    played_tear_down();
}

Test(values_bus, what_others_change_is_asked_for_again)
{
    played_set_up();
    played_come_up();
    played_read("7");
    played_announce("7 /a"); /* that is what it has */
    cr_assert(played_is_here());
    played_announce("8 /b");
    played_announce("nonsense");
    played_announce("");
    cr_assert(played_is_here());
    played_announce("8 /a");
    cr_assert_not(played_is_here());
    played_tear_down();
}

Test(values_bus, an_answer_that_was_overtaken_is_not_kept)
{
    played_set_up();
    played_come_up();
    struct played_ask *one = played_get();
    played_announce("8 /a");
    PLAYED_ANSWER(played_find("EVALSHA"), "V", "1", "0", "7", "99", "5000");
    cr_assert_eq(played_end(one), VALUE_HIT);
    cr_assert_not(played_is_here());
    one = played_get();
    played_announce("9 /a");
    PLAYED_ANSWER(
        played_find("EVALSHA"), "V", "2", "0", "9", "99", "5000"); /* it shows what was announced */
    cr_assert_eq(played_end(one), VALUE_HIT);
    cr_assert(played_is_here());
    played_tear_down();
}

Test(values_bus, a_connection_that_is_lost_forgets_all)
{
    played_set_up();
    played_come_up();
    played_read("7");
    struct played_ask *under_way = played_ask(VALUE_PUT, NULL, "", 0);
    played_listener()->events->on_down(played_listener()->context);
    cr_assert_not(played_is_here());
    played_listener()->events->on_up(played_listener()->context);
    for (unsigned i = 0; i <= PLAYED_SLOTS; i++) {
        played_listener()->events->on_subscribed(played_listener()->context, BYTES("any"));
    }
    played_turn();
    played_bring_probes();
    PLAYED_ANSWER(played_find("EVALSHA"), "D", "8",
        "99"); /* asked while the connection of before was there */
    cr_assert_eq(played_end(under_way), VALUE_DONE);
    cr_assert_not(played_is_here());
    played_tear_down();
}

Test(values_bus, one_read_serves_those_who_read_meanwhile_and_none_behind_a_write)
{
    played_set_up();
    played_come_up();
    struct played_ask *first = played_get();
    struct played_ask *second = played_get();
    cr_assert_eq(played_redis->count, 1);
    struct played_ask *put = played_ask(VALUE_PUT, NULL, "", 0);
    cr_assert_eq(played_redis->count, 2);
    PLAYED_ANSWER(1, "D", "8", "99");
    cr_assert_eq(played_end(put), VALUE_DONE);
    played_announce("8 /a");
    cr_assert(played_is_here());
    played_announce("9 /a");
    struct played_ask *third = played_get(); /* behind the answer to a write: it asks for itself */
    cr_assert_eq(played_redis->count, 2);
    PLAYED_ANSWER(0, "V", "1", "0", "7", "99", "5000");
    cr_assert(first->done && second->done && !third->done);
    cr_assert_eq(played_end(first), VALUE_HIT);
    cr_assert_eq(played_end(second), VALUE_HIT);
    PLAYED_ANSWER(0, "M");
    cr_assert_eq(played_end(third), VALUE_MISS);
    played_tear_down();
}

Test(values_bus, redis_that_is_away_is_a_miss_for_reads_and_told_to_writes)
{
    played_set_up();
    cr_assert_eq(played_end(played_get()), VALUE_MISS);
    cr_assert_eq(played_end(played_ask(VALUE_PUT, NULL, "", 0)), VALUE_UNAVAILABLE);
    cr_assert_eq(played_end(played_ask(VALUE_LEASE, NULL, "", 100)), VALUE_MISS);
    played_come_up();
    struct played_ask *read = played_get();
    struct played_ask *put = played_ask(VALUE_PUT, NULL, "", 0);
    struct played_ask *lease = played_ask(VALUE_LEASE, NULL, "", 100);
    for (unsigned i = 0; i < 3; i++) {
        played_answer(0, STATUS_UNAVAILABLE, NULL);
    }
    cr_assert_eq(played_end(read), VALUE_MISS);
    cr_assert_eq(played_end(put), VALUE_UNKNOWN);
    cr_assert_eq(played_end(lease), VALUE_MISS);
    put = played_ask(VALUE_PUT, NULL, "", 0);
    played_answer(
        0, 0, &(struct bus_reply){.type = BUS_ERROR, .text = BYTES("OOM command not allowed")});
    cr_assert_eq(played_end(put), VALUE_UNAVAILABLE);
    cr_assert_eq(values_get_stats(played_redis->shard.values)->deaf, 1);
    played_tear_down();
}

Test(values_bus, a_script_that_redis_has_forgotten_is_told_again)
{
    played_set_up();
    played_come_up();
    struct played_ask *one = played_get();
    played_answer(played_find("EVALSHA"), 0,
        &(struct bus_reply){.type = BUS_ERROR, .text = BYTES("NOSCRIPT x")});
    cr_assert_not(one->done);
    int index = played_find("EVAL");
    cr_assert_str_eq(played_redis->commands[index].words[1], value_scripts[VALUE_SCRIPT_READ]);
    PLAYED_ANSWER(index, "M");
    cr_assert_eq(played_end(one), VALUE_MISS);
    cr_assert_geq(played_find("SCRIPT"), 0);
    played_tear_down();
}

Test(values_bus, what_redis_should_not_answer_is_borne)
{
    static const char *const letters[] = {"V", "S", "D", "F", "H", "C", "X", "", "VV"};
    played_set_up();
    played_come_up();
    for (size_t i = 0; i < ARRAY_LEN(letters); i++) {
        struct played_ask *one = played_get();
        PLAYED_ANSWER(0, letters[i]);
        cr_assert_eq(played_end(one), VALUE_MISS);
        one = played_ask(VALUE_PUT, NULL, "", 0);
        PLAYED_ANSWER(0, letters[i], "-1", "text");
        cr_assert_eq(played_end(one), VALUE_UNKNOWN);
        one = played_ask(VALUE_INCREMENT, NULL, "", 0);
        played_answer(0, 0, &(struct bus_reply){.type = BUS_NIL});
        cr_assert_eq(played_end(one), VALUE_UNKNOWN);
    }
    played_tear_down();
}

Test(values_bus, who_waits_asks_again_when_something_changes)
{
    played_set_up();
    played_come_up();
    struct played_ask *one = played_ask(VALUE_LEASE, NULL, "", 1000);
    PLAYED_ANSWER(0, "H", "200");
    struct played_ask *two = played_ask(VALUE_LEASE, NULL, "", 1000);
    cr_assert_eq(played_redis->count, 0); /* it waits with the other one */
    played_announce("8 /a");
    cr_assert_eq(played_redis->count, 1);
    PLAYED_ANSWER(0, "V", "1", "0", "8", "99", "5000");
    cr_assert_eq(played_end(one), VALUE_HIT);
    cr_assert_eq(played_end(two), VALUE_HIT);
    cr_assert_eq(values_get_stats(played_redis->shard.values)->waiting, 0);
    played_tear_down();
}

Test(values_bus, who_fills_and_cannot_says_so_and_redis_tells_who_waits)
{
    played_set_up();
    played_come_up();
    struct played_ask *one = played_ask(VALUE_RELEASE, NULL, "0123:45", 0);
    cr_assert_str_eq(played_redis->commands[0].words[4], "0123:45");
    PLAYED_ANSWER(0, "M");
    cr_assert_eq(played_end(one), VALUE_MISS);
    one = played_ask(VALUE_RELEASE, NULL, "0123:45", 0);
    PLAYED_ANSWER(0, "V", "1", "0", "8", "99", "5000"); /* no answer to that */
    cr_assert_eq(played_end(one), VALUE_UNKNOWN);
    played_redis->up = false;
    cr_assert_eq(played_end(played_ask(VALUE_RELEASE, NULL, "0123:45", 0)), VALUE_UNAVAILABLE);
    played_redis->up = true;
    played_tear_down();
}

Test(values_bus, of_those_who_wait_one_fills_when_the_time_of_the_first_is_over)
{
    played_set_up();
    played_come_up();
    struct played_ask *one = played_ask(VALUE_LEASE, NULL, "", 1000);
    PLAYED_ANSWER(0, "H", "200");
    struct played_ask *two = played_ask(VALUE_LEASE, NULL, "", 1000);
    played_move(200);
    played_bring_probes();
    cr_assert_eq(played_redis->count, 1);
    PLAYED_ANSWER(0, "F", "0123:45");
    cr_assert(one->done && !two->done);
    cr_assert_str_eq(one->op.result.token, "0123:45");
    cr_assert_eq(played_end(one), VALUE_FILL);
    played_move(PLAYED_FILL_MS);
    played_bring_probes();
    cr_assert_eq(played_redis->count, 1);
    PLAYED_ANSWER(0, "S", "1", "0", "8", "99");
    cr_assert_eq(played_end(two), VALUE_STALE);
    played_tear_down();
}

Test(values_bus, an_old_question_is_not_answered_to_who_comes_later)
{
    played_set_up();
    played_come_up();
    struct played_ask *first = played_get();
    played_move(VALUE_LINK_GOOD_MS - 1);
    struct played_ask *second = played_get(); /* shares it */
    played_move(1);
    struct played_ask *third = played_get(); /* it may have been answered before the last change */
    PLAYED_ANSWER(played_find_read(), "V", "1", "0", "7", "99", "5000");
    cr_assert_eq(played_end(first), VALUE_HIT);
    cr_assert_eq(played_end(second), VALUE_HIT);
    cr_assert_not(third->done);
    PLAYED_ANSWER(played_find_read(), "M");
    cr_assert_eq(played_end(third), VALUE_MISS);
    played_tear_down();
}

Test(values_bus, nor_is_an_old_question_for_a_lease)
{
    played_set_up();
    played_come_up();
    struct played_ask *asks[4];
    asks[0] = played_ask(VALUE_LEASE, NULL, "", 0);
    asks[1] = played_ask(VALUE_LEASE, NULL, "", 5000); /* waits for what that one is told */
    played_move(VALUE_LINK_GOOD_MS);
    asks[2] = played_ask(VALUE_LEASE, NULL, "", 5000);
    asks[3] = played_ask(VALUE_LEASE, NULL, "", 5000);
    played_bring_probes();
    cr_assert_eq(played_redis->count, 1);
    PLAYED_ANSWER(played_find("EVALSHA"), "V", "1", "0", "7", "99", "5000");
    cr_assert_eq(played_end(asks[0]), VALUE_HIT);
    cr_assert_eq(played_end(asks[1]), VALUE_HIT);
    cr_assert_not(asks[2]->done || asks[3]->done);
    PLAYED_ANSWER(played_find("EVALSHA"), "V", "2", "0", "8", "99", "5000"); /* one for both */
    for (unsigned i = 2; i < 4; i++) {
        cr_assert(bytes_eq(buf_bytes(asks[i]->op.result.body.bytes), BYTES("2")));
        cr_assert_eq(played_end(asks[i]), VALUE_HIT);
    }
    played_tear_down();
}
