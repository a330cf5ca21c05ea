/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler: order of messages, fairness, names, stopping, wake-ups and counters.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/core/internal.h"
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

/* Let `shard` handle all it has, without others. */
static void run(unsigned shard)
{
    while (sched_run(scheds[shard], 1000)) {
    }
}

/* --- sending and order --- */

Test(sched, delivers_to_its_own_and_to_other_shards, .init = begin, .fini = end)
{
    struct actor_ref near = pupil_start(scheds[0], "near")->self;
    struct actor_ref far = pupil_start(scheds[2], "far")->self;
    pupil_note(scheds[0], near, 1);
    pupil_note(scheds[0], far, 2);
    cr_assert_not(sched_run(scheds[2], 100), "nothing is handed over before the flush");
    sched_flush(scheds[0]);
    settle();
    ASSERT_RECORD(0, 1);
    ASSERT_RECORD(2, 2);
    cr_assert_eq(sched_stats(scheds[0])->sent_out, 1);
    cr_assert_eq(sched_stats(scheds[0])->handled, 1);
    cr_assert_eq(sched_stats(scheds[2])->handled, 1);
}

/* What was handed over before a socket is read comes before what the socket leads to. */
Test(sched, what_is_taken_in_comes_before_what_is_sent_here, .init = begin, .fini = end)
{
    struct actor_ref here = pupil_start(scheds[1], "here")->self;
    run(1);
    pupil_note(scheds[0], here, 1);
    sched_flush(scheds[0]);
    sched_take_in(scheds[1]);
    pupil_note(scheds[1], here, 2);
    sched_take_in(scheds[1]);
    run(1);
    ASSERT_RECORD(1, 1, 2);
}

Test(sched, wakes_a_destination_once_until_it_has_run, .init = begin, .fini = end)
{
    struct actor_ref a = pupil_start(scheds[1], "a")->self;
    struct actor_ref b = pupil_start(scheds[1], "b")->self;
    for (unsigned i = 0; i < 10; i++) {
        pupil_note(scheds[0], i % 2 ? a : b, i);
    }
    sched_flush(scheds[0]);
    sched_flush(scheds[0]);
    pupil_note(scheds[2], a, 10);
    sched_flush(scheds[2]);
    pupil_note(scheds[0], a, 11);
    sched_flush(scheds[0]);
    cr_assert_eq(woken[1], 1);
    cr_assert_eq(woken[2], 0);
    run(1);
    cr_assert_eq(records[1]->count, 12);
    pupil_note(scheds[0], a, 12);
    sched_flush(scheds[0]);
    cr_assert_eq(woken[1], 2);
    cr_assert_eq(sched_stats(scheds[0])->wakes, 2);
}

Test(sched, wakes_itself_for_what_was_sent_after_its_run, .init = begin, .fini = end)
{
    struct actor_ref pupil = pupil_start(scheds[0], "p")->self;
    pupil_note(scheds[0], pupil, 1);
    run(0);
    sched_flush(scheds[0]);
    cr_assert_eq(woken[0], 0, "nothing is left to do");
    pupil_note(scheds[0], pupil, 2);
    pupil_note(scheds[0], pupil, 3);
    sched_flush(scheds[0]);
    sched_flush(scheds[0]);
    cr_assert_eq(woken[0], 1);
    run(0);
    ASSERT_RECORD(0, 1, 2, 3);
}

Test(sched, keeps_order_of_a_line_across_lanes_names_and_posts, .init = begin, .fini = end)
{
    struct actor_ref pupil = pupil_start(scheds[1], "p")->self;
    for (unsigned from = 0; from < 2; from++) {
        records[1]->count = 0;
        pupil_note(scheds[from], pupil, 1);
        pupil_hint(scheds[from], pupil, 2);
        pupil_note_named(scheds[from], 1, "p", 3);
        pupil_hint_named(scheds[from], 1, "p", 4);
        pupil_note(scheds[from], pupil, 5);
        pupil_visit_named(scheds[from], 1, "nobody", 0);
        pupil_hint(scheds[from], pupil, 6);
        settle();
        unsigned expected = 1;
        for (unsigned i = 0; i < records[1]->count; i++) {
            uint64_t number = records[1]->numbers[i];
            cr_assert(number == 0 || number == expected);
            expected += number != 0;
        }
        cr_assert_eq(expected, 7);
    }
}

Test(sched, gives_each_actor_a_batch_in_turn, .init = begin, .fini = end)
{
    struct actor_ref a = pupil_start(scheds[0], "a")->self;
    struct actor_ref b = pupil_start(scheds[0], "b")->self;
    for (unsigned i = 0; i < 3 * SCHED_ACTOR_BATCH; i++) {
        pupil_note(scheds[0], a, 1);
    }
    pupil_note(scheds[0], b, 2);
    cr_assert(sched_run(scheds[0], SCHED_ACTOR_BATCH + 1));
    cr_assert_eq(sched_stats(scheds[0])->handled, SCHED_ACTOR_BATCH + 1);
    cr_assert_eq(sched_stats(scheds[0])->run_queue, 1);
    cr_assert_eq(records[0]->numbers[SCHED_ACTOR_BATCH - 1], 1);
    cr_assert_eq(records[0]->numbers[SCHED_ACTOR_BATCH], 2, "b has waited for one batch of a");
    cr_assert(sched_run(scheds[0], 1));
    cr_assert_eq(records[0]->count, SCHED_ACTOR_BATCH + 2);
    cr_assert_not(sched_run(scheds[0], 10000));
    cr_assert_eq(records[0]->count, 3 * SCHED_ACTOR_BATCH + 1);
    cr_assert_eq(sched_stats(scheds[0])->run_queue, 0);
}

static void send_to_itself(struct actor *self, void *arg)
{
    unsigned *left = arg;
    if (*left > 0) {
        --*left;
        pupil_call(self->sched, self->self, send_to_itself, arg);
    }
}

Test(sched, budget_bounds_an_actor_that_sends_to_itself, .init = begin, .fini = end)
{
    unsigned left = 100000;
    pupil_call(scheds[0], pupil_start(scheds[0], "a")->self, send_to_itself, &left);
    cr_assert(sched_run(scheds[0], 1000));
    cr_assert_eq(left, 100000 - 1000);
    settle();
    cr_assert_eq(left, 0);
}

/* --- names --- */

Test(sched, drops_messages_to_stale_unset_and_foreign_refs, .init = begin, .fini = end)
{
    struct actor *first = pupil_start(scheds[1], "first");
    struct actor_ref stale = first->self;
    actor_stop(first);
    cr_assert_eq(records[1]->destroyed, 1, "outside of a handler at once");
    struct actor_ref second = pupil_start(scheds[1], "second")->self;
    cr_assert_eq(second.slot, stale.slot, "the slot is used again");
    cr_assert_not(ref_eq(second, stale));
    cr_assert_null(actor_get(scheds[1], stale));
    cr_assert_null(actor_get(scheds[0], second), "lives on another shard");
    cr_assert_not_null(actor_get(scheds[1], second));
    pupil_note(scheds[0], stale, 1);
    pupil_note(scheds[0], (struct actor_ref){0}, 2);
    pupil_note(scheds[0], (struct actor_ref){.slot = 9, .generation = 1, .shard = 200}, 3);
    pupil_note(scheds[0], (struct actor_ref){.slot = 99, .generation = 1, .shard = 1}, 4);
    pupil_note(scheds[0], second, 5);
    settle();
    ASSERT_RECORD(1, 5);
    cr_assert_eq(sched_stats(scheds[0])->dropped, 2);
    cr_assert_eq(sched_stats(scheds[1])->dropped, 2);
}

Test(sched, retires_a_slot_whose_generations_are_used_up, .init = begin, .fini = end)
{
    struct actor *actor = pupil_start(scheds[0], "a");
    struct actor_ref first = actor->self;
    cr_assert_eq(first.generation, 1);
    actor_stop(actor);
    scheds[0]->registry.slots[first.slot].generation = GENERATION_MAX - 1;
    actor = pupil_start(scheds[0], "a");
    struct actor_ref last = actor->self;
    cr_assert_eq(last.slot, first.slot);
    cr_assert_eq(last.generation, GENERATION_MAX);
    actor_stop(actor);
    struct actor_ref next = pupil_start(scheds[0], "a")->self;
    cr_assert_neq(next.slot, first.slot);
    cr_assert_eq(next.generation, 1);
    cr_assert_null(actor_get(scheds[0], first));
    cr_assert_null(actor_get(scheds[0], last));
}

Test(sched, finds_thousands_of_actors_by_ref_and_by_key, .init = begin, .fini = end)
{
    enum { COUNT = 5000 };
    static struct actor_ref refs[COUNT];
    char name[PUPIL_NAME_MAX];
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        refs[i] = pupil_start(scheds[0], name)->self;
    }
    for (unsigned i = 0; i < COUNT; i += 2) {
        actor_stop(actor_get(scheds[0], refs[i]));
    }
    cr_assert_eq(sched_stats(scheds[0])->actors, COUNT / 2);
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        struct actor *actor = actor_find(scheds[0], &pupil_behaviour, bytes_str(name));
        cr_assert_eq(actor, actor_get(scheds[0], refs[i]));
        cr_assert_eq(actor == NULL, i % 2 == 0);
    }
}

Test(sched, refuses_two_behaviours_with_one_id, .init = begin, .signal = SIGABRT)
{
    static struct behaviour impostor;
    static struct actor actor;
    impostor = pupil_behaviour;
    pupil_start(scheds[0], "p");
    cr_assert_fail("%d", actor_start(&actor, &impostor, scheds[0]));
}

Test(sched, spawns_by_name_only_for_kinds_that_create, .init = begin, .fini = end)
{
    pupil_hint_named(scheds[0], 1, "x", 1);
    pupil_note_named(scheds[0], 1, "x", 2);
    pupil_hint_named(scheds[0], 1, "x", 3);
    pupil_note_named(scheds[0], 1, "y", 4);
    settle();
    ASSERT_RECORD(1, 2, 3, 4);
    cr_assert_eq(records[1]->spawned, 2);
    cr_assert_eq(sched_stats(scheds[1])->dropped, 1);
    cr_assert_eq(sched_stats(scheds[1])->actors, 2);
    records[1]->refuse_spawn = true;
    pupil_note_named(scheds[0], 1, "z", 5);
    settle();
    cr_assert_eq(records[1]->count, 3);
    cr_assert_eq(sched_stats(scheds[1])->dropped, 2);
}

Test(sched, message_that_creates_is_not_lost_to_an_actor_that_stops, .init = begin, .fini = end)
{
    struct actor_ref old = pupil_start(scheds[1], "v")->self;
    pupil_visit_named(scheds[0], 1, "v", 1);
    pupil_note(scheds[0], old, 100); /* by ref: to the first one only */
    pupil_note_named(scheds[0], 1, "v", 2);
    pupil_hint_named(scheds[0], 1, "v", 3);
    pupil_visit_named(scheds[0], 1, "v", 4);
    pupil_hint_named(scheds[0], 1, "v", 5); /* there is nobody then, and it does not create */
    pupil_visit_named(scheds[0], 1, "v", 6);
    settle();
    ASSERT_RECORD(1, 1, 2, 3, 4, 6);
    cr_assert_eq(records[1]->destroyed, 3);
    cr_assert_eq(records[1]->spawned, 2);
    cr_assert_eq(sched_stats(scheds[1])->dropped, 2);
    cr_assert_eq(sched_stats(scheds[1])->actors, 0);
}

/* --- stopping --- */

static void stop_twice(struct actor *self, void *arg)
{
    struct pupil_record *record = sched_user(self->sched);
    actor_stop(self);
    actor_stop(self);
    cr_assert_null(actor_get(self->sched, self->self));
    cr_assert_eq(record->destroyed, 0, "not before the handler has returned");
    *(bool *)arg = true;
}

Test(sched, actor_stops_itself_in_its_handler, .init = begin, .fini = end)
{
    struct actor_ref pupil = pupil_start(scheds[0], "p")->self;
    bool called = false;
    pupil_note(scheds[0], pupil, 1);
    pupil_call(scheds[0], pupil, stop_twice, &called);
    pupil_note(scheds[0], pupil, 2);
    settle();
    ASSERT_RECORD(0, 1);
    cr_assert(called);
    cr_assert_eq(records[0]->destroyed, 1);
    cr_assert_eq(sched_stats(scheds[0])->dropped, 1);
    cr_assert_eq(sched_stats(scheds[0])->actors, 0);
}

static void stop_other(struct actor *self, void *arg)
{
    struct pupil_record *record = sched_user(self->sched);
    actor_stop(arg);
    actor_stop(arg);
    cr_assert_eq(record->destroyed, 0, "not before the handler has returned");
    cr_assert_null(actor_get(self->sched, ((struct actor *)arg)->self));
}

Test(sched, actor_is_stopped_by_another_with_and_without_mail, .init = begin, .fini = end)
{
    for (unsigned mail = 0; mail < 2; mail++) {
        records[0]->destroyed = 0;
        struct actor *killer = pupil_start(scheds[0], "killer");
        struct actor *victim = pupil_start(scheds[0], "victim");
        struct actor *other = pupil_start(scheds[0], "other");
        pupil_call(scheds[0], killer->self, stop_other, victim);
        for (unsigned i = 0; i < mail * 5; i++) {
            pupil_note(scheds[0], victim->self, i);
        }
        pupil_note(scheds[0], other->self, 77);
        records[0]->count = 0;
        settle();
        ASSERT_RECORD(0, 77);
        cr_assert_eq(records[0]->destroyed, 1);
        cr_assert_eq(sched_stats(scheds[0])->run_queue, 0);
        actor_stop(killer);
        actor_stop(other);
    }
    cr_assert_eq(sched_stats(scheds[0])->dropped, 5);
}

static void on_stop_timer(struct timer *timer);

struct alarm {
    struct timer timer;
    struct actor *actor;
};

static void on_stop_timer(struct timer *timer)
{
    struct actor *actor = container_of(timer, struct alarm, timer)->actor;
    struct pupil_record *record = sched_user(actor->sched);
    actor_stop(actor);
    cr_assert_eq(record->destroyed, 1, "outside of a handler at once");
}

Test(sched, actor_with_waiting_mail_is_stopped_by_a_timer, .init = begin, .fini = end)
{
    struct alarm alarm = {.actor = pupil_start(scheds[0], "p")};
    sched_set_time(scheds[0], 1000, 5000);
    cr_assert_eq(sched_now(scheds[0]), 1000);
    cr_assert_eq(sched_wall(scheds[0]), 5000);
    timer_init(&alarm.timer, on_stop_timer);
    timer_set(sched_timers(scheds[0]), &alarm.timer, 1010);
    for (unsigned i = 0; i < 5; i++) {
        pupil_note(scheds[0], alarm.actor->self, i);
    }
    cr_assert(sched_run(scheds[0], 1));
    cr_assert_eq(timer_wheel_advance(sched_timers(scheds[0]), 1010), 1);
    cr_assert_not(sched_run(scheds[0], 100));
    cr_assert_eq(records[0]->count, 1);
    cr_assert_eq(sched_stats(scheds[0])->dropped, 4);
}

Test(sched, wakes_itself_for_what_a_late_stop_leaves_to_do, .init = begin, .fini = end)
{
    struct actor *named = pupil_start(scheds[0], "n");
    struct actor *full = pupil_start(scheds[0], "f");
    pupil_note(scheds[0], full->self, 0);
    pupil_note(scheds[0], full->self, 0);
    pupil_note_named(scheds[0], 0, "n", 1);
    cr_assert(sched_run(scheds[0], 1));
    actor_stop(named);
    sched_flush(scheds[0]);
    cr_assert_eq(woken[0], 1, "the message that creates waits in no mailbox");
    cr_assert(sched_run(scheds[0], 0));
    actor_stop(full);
    sched_flush(scheds[0]);
    cr_assert_eq(woken[0], 2, "the line must get its credit");
    run(0);
    ASSERT_RECORD(0, 0, 1);
}

/* --- bounds --- */

Test(sched, sheds_the_oldest_hints_and_never_a_note, .init = begin, .fini = end)
{
    struct actor_ref pupil = pupil_start(scheds[1], "p")->self;
    for (unsigned i = 1; i <= 100; i++) {
        pupil_hint(scheds[0], pupil, i);
        if (i % 10 == 0) {
            pupil_note(scheds[0], pupil, 1000 + i);
        }
    }
    settle();
    uint64_t hints = 0;
    uint64_t notes = 0;
    for (unsigned i = 0; i < records[1]->count; i++) {
        uint64_t number = records[1]->numbers[i];
        notes += number > 1000;
        hints += number < 1000;
        cr_assert(number > 1000 || number > 100 - PUPIL_SHED_BOUND, "the newest are kept");
    }
    cr_assert_eq(notes, 10);
    cr_assert_eq(hints, PUPIL_SHED_BOUND);
    cr_assert_eq(sched_stats(scheds[1])->shed, 100 - PUPIL_SHED_BOUND);
}

Test(sched, a_flood_of_hints_does_not_wait_in_memory, .init = begin, .fini = end)
{
    struct actor *pupil = pupil_start(scheds[1], "p");
    for (unsigned i = 1; i <= 900; i++) {
        pupil_hint(scheds[0], pupil->self, i);
    }
    sched_flush(scheds[0]);
    cr_assert(sched_run(scheds[1], 1));
    cr_assert_leq(pupil->queued, PUPIL_SHED_BOUND);
}

Test(sched, tells_pressure_of_a_line_and_wakes_who_waits_for_its_end, .init = begin, .fini = end)
{
    struct actor_ref pupil = pupil_start(scheds[1], "p")->self;
    for (unsigned i = 0; i < SCHED_LINE_BOUND - 1; i++) {
        pupil_note(scheds[0], pupil, i);
    }
    cr_assert_not(sched_pressured(scheds[0], 1));
    pupil_note(scheds[0], pupil, 0);
    cr_assert(sched_pressured(scheds[0], 1));
    cr_assert_not(sched_pressured(scheds[0], 2), "another line");
    cr_assert_not(sched_pressured(scheds[1], 0), "the other direction");
    sched_flush(scheds[0]);
    cr_assert(sched_run(scheds[1], SCHED_LINE_BOUND - SCHED_LINE_LOW - 1));
    cr_assert(sched_pressured(scheds[0], 1));
    cr_assert_eq(woken[0], 0);
    sched_run(scheds[1], 1);
    cr_assert_eq(woken[0], 1);
    cr_assert_not(sched_pressured(scheds[0], 1));
    settle();
    cr_assert_eq(woken[0], 1);
}

Test(sched, dropped_and_shed_messages_leave_their_line, .init = begin, .fini = end)
{
    struct actor *gone = pupil_start(scheds[1], "gone");
    struct actor_ref pupil = pupil_start(scheds[1], "p")->self;
    struct actor_ref ref = gone->self;
    actor_stop(gone);
    for (unsigned i = 0; i < SCHED_LINE_BOUND; i++) {
        pupil_note(scheds[0], ref, i);
        pupil_hint(scheds[0], pupil, i);
    }
    cr_assert(sched_pressured(scheds[0], 1));
    settle();
    cr_assert_not(sched_pressured(scheds[0], 1));
    const struct line *line = &the_system->lines[0 * SHARDS + 1];
    cr_assert_eq(line->sent, 2 * SCHED_LINE_BOUND);
    cr_assert_eq(atomic_load(&line->handled), line->sent);
}

Test(sched, its_own_line_knows_pressure_too, .init = begin, .fini = end)
{
    struct actor_ref pupil = pupil_start(scheds[0], "p")->self;
    for (unsigned i = 0; i < SCHED_LINE_BOUND; i++) {
        pupil_note(scheds[0], pupil, i);
    }
    cr_assert(sched_pressured(scheds[0], 0));
    settle();
    cr_assert_not(sched_pressured(scheds[0], 0));
    cr_assert_eq(woken[0], 0);
}

Test(sched, publishes_its_counters_at_the_end_of_a_turn, .init = begin, .fini = end)
{
    struct sched_stats stats;
    pupil_note(scheds[0], pupil_start(scheds[0], "p")->self, 1);
    sched_stats_read(scheds[0], &stats);
    cr_assert_eq(stats.actors, 0);
    settle();
    sched_stats_read(scheds[0], &stats);
    cr_assert_eq(stats.actors, 1);
    cr_assert_eq(stats.handled, 1);
    cr_assert_eq(memcmp(&stats, sched_stats(scheds[0]), sizeof(stats)), 0);
}

/* --- other threads --- */

struct posted {
    unsigned number;
    bool called;
    bool cancelled;
};

static struct posted *last_posted;

static void on_posted(void *arg, bool cancelled)
{
    struct posted *posted = arg;
    cr_assert(last_posted == NULL || last_posted->number < posted->number, "out of order");
    last_posted = posted;
    posted->called = true;
    posted->cancelled = cancelled;
}

Test(sched, takes_messages_and_functions_from_foreign_threads, .init = begin, .fini = end)
{
    struct posted posts[3] = {{1}, {2}, {3}};
    struct actor_ref pupil = pupil_start(scheds[1], "p")->self;
    pupil_note_foreign(the_system, pupil, 1);
    cr_assert_eq(woken[1], 1);
    for (unsigned i = 0; i < 3; i++) {
        sched_post(the_system, 1, on_posted, &posts[i]);
    }
    pupil_note_foreign(the_system, pupil, 2);
    pupil_note_foreign(the_system, (struct actor_ref){0}, 3);
    pupil_note_foreign(the_system, (struct actor_ref){.generation = 1, .shard = 99}, 4);
    cr_assert_eq(woken[1], 1);
    run(1);
    ASSERT_RECORD(1, 1, 2);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(posts[i].called && !posts[i].cancelled);
    }
}

static void post_stops(void *arg, bool cancelled)
{
    struct actor *actor = arg;
    struct pupil_record *record = sched_user(actor->sched);
    actor_stop(actor);
    cr_assert_eq(record->destroyed, 0, "the function may still use what it stopped");
}

Test(sched, a_posted_function_may_stop_an_actor, .init = begin, .fini = end)
{
    sched_post(the_system, 0, post_stops, pupil_start(scheds[0], "p"));
    run(0);
    cr_assert_eq(records[0]->destroyed, 1);
}

/* --- the end --- */

Test(sched, destroying_the_system_leaves_nothing_behind, .init = begin)
{
    struct posted posts[2] = {{1}, {2}};
    struct actor_ref refs[SHARDS];
    for (unsigned i = 0; i < SHARDS; i++) {
        refs[i] = pupil_start(scheds[i], "p")->self;
    }
    for (unsigned i = 0; i < 1000; i++) {
        pupil_note(scheds[i % SHARDS], refs[(i / 7) % SHARDS], i);
        pupil_note_named(scheds[i % SHARDS], i % 2, "new", i);
        if (i == 600) { /* some are in mailboxes then, some in inboxes, some not handed over */
            sched_flush(scheds[0]);
            sched_run(scheds[0], 5);
            sched_run(scheds[1], 5);
        }
        if (i == 800) {
            sched_flush(scheds[1]);
        }
    }
    pupil_note_foreign(the_system, refs[2], 1);
    sched_post(the_system, 0, on_posted, &posts[0]);
    sched_post(the_system, 1, on_posted, &posts[1]);
    actor_system_destroy(the_system);
    cr_assert_eq(pupil_payloads(), 0);
    cr_assert(posts[0].called && posts[0].cancelled && posts[1].called && posts[1].cancelled);
    for (unsigned i = 0; i < SHARDS; i++) {
        cr_assert_eq(records[i]->destroyed, 1 + records[i]->spawned);
        free(records[i]);
    }
    actor_system_destroy(NULL);
}

Test(sched, keys_spread_over_the_shards_and_stay, .init = begin, .fini = end)
{
    unsigned counts[SHARDS] = {0};
    for (unsigned i = 0; i < 3000; i++) {
        char key[16];
        struct bytes bytes = bytes_of(key, (size_t)snprintf(key, sizeof(key), "user%u", i));
        unsigned shard = actor_system_shard_of(the_system, bytes);
        cr_assert_lt(shard, SHARDS);
        cr_assert_eq(shard, actor_system_shard_of(the_system, bytes));
        counts[shard]++;
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        cr_assert(counts[i] > 800 && counts[i] < 1200, "%u", counts[i]);
    }
}
