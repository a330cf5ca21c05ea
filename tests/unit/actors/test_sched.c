/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/support/pupil_proto.h"

TestSuite(sched, .timeout = 60);

enum { SHARDS = 3 };

static struct actor_system *the_system;
static struct sched *scheds[SHARDS];
static struct pupil_record *records[SHARDS];
static unsigned woken[SHARDS];

static void on_wake(void *context)
{
    ++*(unsigned *)context;
}

static void begin(void)
{
    the_system = actor_system_create(SHARDS);
    for (unsigned i = 0; i < SHARDS; i++) {
        records[i] = calloc(1, sizeof(*records[i]));
        woken[i] = 0;
        scheds[i] = actor_system_sched(the_system, i);
        sched_bind(scheds[i], on_wake, &woken[i], records[i]);
    }
}

static void end(void)
{
    actor_system_destroy(the_system);
    for (unsigned i = 0; i < SHARDS; i++) {
        free(records[i]);
    }
    cr_assert_eq(pupil_payloads(), 0);
}

/* Run all shards until nobody has anything to do. */
static void settle(void)
{
    bool more = true;
    while (more) {
        more = false;
        for (unsigned i = 0; i < SHARDS; i++) {
            more = sched_run(scheds[i], 1000) || more;
        }
        for (unsigned i = 0; i < SHARDS; i++) {
            uint64_t wakes = sched_stats(scheds[i])->wakes;
            sched_flush(scheds[i]);
            more = more || sched_stats(scheds[i])->wakes != wakes;
        }
    }
}

static void assert_record(unsigned shard, const uint64_t *numbers, unsigned count)
{
    cr_assert_eq(records[shard]->count, count, "%u recorded", records[shard]->count);
    for (unsigned i = 0; i < count; i++) {
        cr_assert_eq(records[shard]->numbers[i], numbers[i], "at %u", i);
    }
}

#define ASSERT_RECORD(shard, ...)                                                                  \
    assert_record(shard, (const uint64_t[]){__VA_ARGS__},                                          \
        sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

Test(sched, delivers_to_its_own_and_to_other_shards, .init = begin, .fini = end)
{
    struct actor_ref near = pupil_start(scheds[0], "near")->self;
    struct actor_ref far = pupil_start(scheds[2], "far")->self;
    pupil_note(scheds[0], near, 1);
    pupil_note(scheds[0], far, 2);
    cr_assert_not(sched_run(scheds[2], 100), "nothing is handed over before the flush");
    sched_flush(scheds[0]);
    cr_assert_eq(woken[2], 1);
    settle();
    ASSERT_RECORD(0, 1);
    ASSERT_RECORD(2, 2);
}
