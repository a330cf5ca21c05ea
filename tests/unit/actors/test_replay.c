/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log under a model: random events for rooms, users and sids, with bounds that drop them. A
 * reader at any position gets what was for it behind that, or is told that it cannot be known.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/resource.h>

#include "actors/deliver/broadcast.h"
#include "actors/recover/replay.h"
#include "actors/wire_name.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"

TestSuite(replay, .timeout = 60);

#define ME "AAAAAAAAAAAAAAAAAAAAAAA"
#define OTHER "BBBBBBBBBBBBBBBBBBBBBBB"

enum { AGE_MS = 1000, EVENTS = 16, BYTES_MAX = 1 << 20, STEPS = 400, RUNS = 200 };

static const struct replay_limits limits = {.age_ms = AGE_MS, .bytes = BYTES_MAX, .events = EVENTS};

static struct event *make_event(unsigned value, unsigned flags)
{
    char text[32];
    struct event *event;
    snprintf(text, sizeof(text), "[\"e\",%u]", value);
    cr_assert_eq(event_from_json(bytes_str(text), NULL, 0, flags, &event), 0);
    return event;
}

/* Add a broadcast to `room` (NULL: everyone) without those in `except` (NULL: nobody). */
static uint64_t add(
    struct replay *replay, const char *room, const char *except, unsigned flags, uint64_t now_ms)
{
    struct bytes rooms = bytes_str(room);
    struct bytes excepts = bytes_str(except);
    struct broadcast *broadcast =
        broadcast_new(make_event(1, flags), &rooms, room != NULL, &excepts, except != NULL);
    uint64_t number = replay_add(replay, broadcast, now_ms);
    broadcast_unref(broadcast);
    return number;
}

static uint64_t add_direct(struct replay *replay, const char *sid, uint64_t now_ms)
{
    struct event *event = make_event(1, 0);
    uint64_t number = replay_add_direct(replay, bytes_str(sid), event, now_ms);
    event_unref(event);
    return number;
}

static struct replay_reader reader_at(uint64_t after, const struct room_span *spans, uint32_t count)
{
    return (struct replay_reader){.sid = BYTES(ME),
        .user = BYTES("user:me"),
        .spans = spans,
        .span_count = count,
        .after = after};
}

static unsigned count_for(const struct replay *replay, const struct replay_reader *reader)
{
    struct replay_at at = {.number = reader->after};
    unsigned count = 0;
    while (replay_next(replay, reader, &at) != NULL) {
        count++;
    }
    return count;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { OWN_MALLOC = 0 }; /* a sanitizer ends when it gets no memory */
#else
enum { OWN_MALLOC = 1 };
#endif

/* The address space has 64 MiB left. */
static void limit_memory(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    cr_assert_eq(fscanf(file, "%lu", &pages), 1);
    fclose(file);
    const struct rlimit limit = {.rlim_cur = pages * 4096 + (64 << 20), .rlim_max = RLIM_INFINITY};
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
}

Test(replay, a_log_at_the_end_of_memory_forgets_instead_of_growing)
{
    enum { ADDED = 40000 };
    if (!OWN_MALLOC) {
        cr_skip("malloc is not ours");
    }
    struct replay *replay =
        replay_create(&(struct replay_limits){.age_ms = AGE_MS, .bytes = 1 << 30, .events = 65536});
    struct bytes room = BYTES("red");
    struct broadcast *broadcast = broadcast_new(make_event(1, 0), &room, 1, NULL, 0);
    limit_memory();
    cr_assert(mem_keep_reserve(1 << 20));
    void **taken = NULL;
    for (size_t size = 1 << 20; size >= 64; size /= 2) {
        for (void **more; (more = mem_try_alloc(size)) != NULL; taken = more) {
            *more = taken;
        }
    }
    for (unsigned i = 0; i < ADDED; i++) {
        replay_add(replay, broadcast, 1);
    }
    bool low = mem_is_low();
    for (void **next; taken != NULL; taken = next) {
        next = *taken;
        mem_free(taken);
    }
    cr_assert(!low, "the reserve is for others");
    const struct room_span span = {.name = room};
    struct replay_reader reader = reader_at(0, &span, 1);
    cr_assert(!replay_is_whole(replay, &reader, BYTES_MAX), "who wants all of it is told so");
    reader.after = replay_last(replay).number;
    cr_assert(replay_is_whole(replay, &reader, BYTES_MAX));
    replay_destroy(replay);
    broadcast_unref(broadcast);
}

/* Thousands may come back at once, each behind what was for the others. */
Test(replay, a_reader_looks_at_what_is_for_its_names_only)
{
    enum { SOCKETS = 20000, EACH = 3 };
    const struct replay_limits large = {
        .age_ms = AGE_MS, .bytes = 1 << 26, .events = SOCKETS * EACH};
    struct replay *replay = replay_create(&large);
    for (unsigned i = 0; i < SOCKETS * EACH; i++) {
        char sid[WIRE_SID_LEN + 1];
        snprintf(sid, sizeof(sid), "%0*u", WIRE_SID_LEN, i % SOCKETS);
        add_direct(replay, sid, 1);
    }
    for (unsigned i = 0; i < SOCKETS; i++) {
        char sid[WIRE_SID_LEN + 1];
        snprintf(sid, sizeof(sid), "%0*u", WIRE_SID_LEN, i);
        struct replay_reader reader = {.sid = bytes_str(sid), .user = BYTES("user:me")};
        cr_assert_eq(count_for(replay, &reader), EACH);
    }
    /* Names share slots now and then, as that of all readers may do with some; all of the others
     * would be 1,200 million. */
    cr_assert_lt(replay_looked(replay), 10u * SOCKETS * EACH);
    replay_destroy(replay);
}

Test(replay, gives_what_was_for_the_reader)
{
    struct replay *replay = replay_create(&limits);
    const struct room_span spans[] = {
        {.name = BYTES("red"), .from.number = 1, .to.number = 5, .over = true},
        {.name = BYTES("blue")}};
    static const struct {
        const char *room;
        const char *except;
        unsigned flags;
        bool mine;
    } cases[] = {
        {"red", NULL, 0, false}, /* 1: before it joined */
        {"red", NULL, 0, true},
        {"red", ME, 0, false},
        {"green", NULL, 0, false},
        {"red", "blue", 0, false}, /* 5: in a room that is excepted */
        {"red", NULL, 0, false}, /* after it left */
        {"user:me", NULL, 0, true},
        {ME, NULL, 0, true},
        {OTHER, NULL, 0, false},
        {NULL, NULL, 0, true},
        {"blue", NULL, EVENT_VOLATILE, false},
        {"blue", "green", 0, true},
    };
    struct replay_reader reader = reader_at(0, spans, 2);
    struct replay_at at = {0};
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(add(replay, cases[i].room, cases[i].except, cases[i].flags, 1), i + 1);
        bool got = replay_next(replay, &reader, &at) != NULL;
        cr_expect_eq(got, cases[i].mine, "%u", i + 1);
        cr_expect(!got || at.number == i + 1);
    }
    cr_expect_eq(add_direct(replay, ME, 1), 13);
    cr_expect_eq(add_direct(replay, OTHER, 1), 14);
    cr_expect_not_null(replay_next(replay, &reader, &at));
    cr_expect_eq(at.number, 13);
    cr_expect_null(replay_next(replay, &reader, &at));
    cr_expect_eq(replay_last(replay).number, 14);
    replay_destroy(replay);
}

Test(replay, forgets_by_age_and_knows_whom_it_concerned)
{
    struct replay *replay = replay_create(&limits);
    const struct room_span span = {.name = BYTES("red")};
    struct replay_reader reader = reader_at(0, &span, 1);
    add(replay, "green", NULL, 0, 1);
    replay_expire(replay, 1 + AGE_MS);
    cr_expect(replay_is_empty(replay));
    cr_expect(replay_is_whole(replay, &reader, BYTES_MAX), "nothing was for it");
    add(replay, "red", NULL, 0, 2000);
    replay_expire(replay, 1999 + AGE_MS);
    cr_expect_not(replay_is_empty(replay), "not yet");
    replay_expire(replay, 2000 + AGE_MS);
    cr_expect_not(replay_is_whole(replay, &reader, BYTES_MAX));
    reader.after = 2;
    cr_expect(replay_is_whole(replay, &reader, BYTES_MAX), "it has had that");
    replay_destroy(replay);
}

Test(replay, refuses_more_than_a_reader_may_get_at_once)
{
    struct replay *replay = replay_create(&limits);
    struct replay_reader reader = reader_at(0, NULL, 0);
    add(replay, NULL, NULL, 0, 1);
    cr_expect(replay_is_whole(replay, &reader, 1000));
    cr_expect_not(replay_is_whole(replay, &reader, 10));
    replay_destroy(replay);
}

/* Add an event for `room` that came by the stream. */
static void add_streamed(struct replay *replay, const char *room, uint64_t ms, uint64_t now_ms)
{
    struct bytes rooms = bytes_str(room);
    struct broadcast *broadcast = broadcast_new(make_event(1, 0), &rooms, 1, NULL, 0);
    broadcast->stream = (struct stream_id){.ms = ms, .seq = 1};
    replay_add(replay, broadcast, now_ms);
    broadcast_unref(broadcast);
}

static void check_offset(const char *text, int status, uint64_t number, uint64_t ms, uint64_t seq)
{
    struct replay_offset offset = {0};
    cr_expect_eq(replay_read_offset(bytes_str(text), &offset), status, "%s", text);
    if (status == 0) {
        cr_expect(bytes_eq(offset.name, BYTES("abcdefgh")));
        cr_expect_eq(offset.at.number, number, "%s", text);
        cr_expect_eq(offset.at.stream.ms, ms, "%s", text);
        cr_expect_eq(offset.at.stream.seq, seq, "%s", text);
    }
}

Test(replay, reads_the_offsets_that_it_writes)
{
    struct replay *replay = replay_create(&limits);
    char text[REPLAY_OFFSET_MAX];
    struct replay_offset read;
    add(replay, NULL, NULL, 0, 1);
    for (unsigned i = 0; i < 2; i++) {
        struct replay_at last = replay_last(replay);
        struct bytes offset = replay_write_offset(replay, last, text);
        cr_assert_eq(replay_read_offset(offset, &read), 0);
        cr_expect(bytes_eq(read.name, replay_name(replay)));
        cr_expect_eq(read.at.number, i + 1);
        cr_expect_eq(stream_id_cmp(read.at.stream, last.stream), 0);
        add_streamed(replay, "red", 77, 1);
    }
    replay_destroy(replay);
    check_offset("abcdefgh-12", 0, 12, 0, 0);
    check_offset("abcdefgh-12-1795164798844-3", 0, 12, 1795164798844, 3);
    check_offset(
        "abcdefgh-18446744073709551615-18446744073709551615-0", 0, UINT64_MAX, UINT64_MAX, 0);
    static const char *const bad[] = {"", "a", "abcdefgh", "abcdefgh-", "abcdefg-12",
        "abcdefghi-12", "abcdefgh-x", "abcdefgh-012", "abcdefgh--12",
        "abcdefgh-18446744073709551616", "abcdefgh-1-", "abcdefgh-1-2", "abcdefgh-1-2-",
        "abcdefgh-1--3", "abcdefgh-1-2-3-4", "abcdefgh-1 2"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        check_offset(bad[i], STATUS_INVALID, 0, 0, 0);
    }
}

static struct stream_id place(uint64_t ms)
{
    return (struct stream_id){.ms = ms, .seq = 1};
}

Test(replay, finds_places_of_the_stream)
{
    struct replay *replay = replay_create(&limits);
    const struct room_span span = {.name = BYTES("red")};
    struct replay_reader reader = reader_at(0, &span, 1);
    uint64_t number = 99;
    cr_expect_eq(replay_find(replay, place(10), &number), STATUS_NOT_FOUND, "nothing is known");
    replay_stream_from(replay, place(10));
    cr_expect_eq(replay_find(replay, place(9), &number), STATUS_NOT_FOUND);
    cr_expect_eq(replay_find(replay, place(10), &number), 0);
    cr_expect_eq(number, 0);
    cr_expect_eq(replay_find(replay, place(11), &number), STATUS_AGAIN);
    add_streamed(replay, "red", 11, 1);
    add_direct(replay, ME, 1); /* of an earlier span here: not for who comes from elsewhere */
    add_streamed(replay, "red", 13, 1);
    cr_expect_eq(replay_find(replay, place(11), &number), 0);
    cr_expect_eq(number, 2);
    cr_expect_eq(replay_find(replay, place(12), &number), 0, "an entry of which nothing is kept");
    cr_expect_eq(number, 2);
    cr_expect_eq(replay_find(replay, place(13), &number), 0);
    cr_expect_eq(number, 3);
    reader.adopted_at = 3;
    cr_expect_eq(count_for(replay, &reader), 2);
    cr_expect_not(replay_lacks(replay, &reader, place(10)));
    add_streamed(replay, "green", 14, 1 + AGE_MS); /* and what was before is dropped */
    cr_expect(replay_lacks(replay, &reader, place(12)));
    cr_expect_not(replay_lacks(replay, &reader, place(13)));
    replay_stream_from(replay, place(20));
    cr_expect_eq(replay_find(replay, place(14), &number), STATUS_NOT_FOUND, "there was a gap");
    reader.after = 4;
    cr_expect_not(replay_is_whole(replay, &reader, BYTES_MAX), "nor has it what came in the gap");
    add_streamed(replay, "red", 21, 1 + AGE_MS);
    reader.after = replay_last(replay).number;
    cr_expect(replay_is_whole(replay, &reader, BYTES_MAX));
    replay_destroy(replay);
}

/* --- the model --- */

static const char *const names[] = {"red", "green", "user:me", ME, OTHER, NULL};

struct run {
    struct replay *replay;
    struct rand dice;
    bool mine[STEPS + 1]; /* by number */
    bool volatiles[STEPS + 1];
};

static void step(struct run *run, uint64_t now_ms)
{
    const char *name = names[rand_below(&run->dice, ARRAY_LEN(names))];
    bool is_volatile = rand_below(&run->dice, 5) == 0;
    uint64_t number;
    if (name != NULL && strlen(name) == WIRE_SID_LEN && rand_below(&run->dice, 2) == 0) {
        is_volatile = false;
        number = add_direct(run->replay, name, now_ms);
    } else {
        number = add(run->replay, name, NULL, is_volatile ? EVENT_VOLATILE : 0, now_ms);
    }
    bool for_me = name == NULL || strcmp(name, "green") != 0;
    run->mine[number] = for_me && (name == NULL || strcmp(name, OTHER) != 0);
    run->volatiles[number] = is_volatile;
}

/* What is said to be whole is: every event that was for the reader is there. */
static void check(const struct run *run, uint64_t seed)
{
    const struct room_span span = {.name = BYTES("red")};
    uint64_t last = replay_last(run->replay).number;
    for (uint64_t after = 0; after <= last; after++) {
        struct replay_reader reader = reader_at(after, &span, 1);
        unsigned expected = 0;
        for (uint64_t i = after + 1; i <= last; i++) {
            expected += run->mine[i] && !run->volatiles[i];
        }
        bool whole = replay_is_whole(run->replay, &reader, BYTES_MAX);
        unsigned there = count_for(run->replay, &reader);
        cr_assert(!whole || there == expected, "seed %llu, after %llu: %u of %u",
            (unsigned long long)seed, (unsigned long long)after, there, expected);
        cr_assert(whole || there < expected, "seed %llu, after %llu: nothing is missing",
            (unsigned long long)seed, (unsigned long long)after);
    }
}

/* What the stream has lost stays lost, also when older events are dropped after that. */
Test(replay, a_gap_of_the_stream_is_not_forgotten)
{
    struct replay *replay = replay_create(&limits);
    replay_stream_from(replay, place(1));
    uint64_t first = add(replay, NULL, NULL, 0, 1);
    uint64_t last = add(replay, NULL, NULL, 0, AGE_MS);
    const struct replay_reader behind_first = reader_at(first, NULL, 0);
    const struct replay_reader behind_last = reader_at(last, NULL, 0);
    cr_assert(replay_is_whole(replay, &behind_first, 1000));
    cr_assert(replay_is_whole(replay, &behind_last, 1000));
    replay_stream_from(replay, place(20)); /* what was before that is not known */
    cr_expect_not(replay_is_whole(replay, &behind_first, 1000));
    cr_expect_not(replay_is_whole(replay, &behind_last, 1000), "it has not had what is missing");
    replay_expire(replay, AGE_MS + 1);
    cr_expect_eq(count_for(replay, &behind_first), 1, "the first one is dropped");
    cr_expect_not(replay_is_whole(replay, &behind_first, 1000));
    uint64_t later = add(replay, NULL, NULL, 0, AGE_MS + 2);
    const struct replay_reader behind_gap = reader_at(later, NULL, 0);
    cr_expect(replay_is_whole(replay, &behind_gap, 1000));
    replay_destroy(replay);
}

Test(replay, says_whole_when_nothing_is_missing)
{
    for (uint64_t seed = 1; seed <= RUNS; seed++) {
        struct run run = {.replay = replay_create(&limits)};
        uint64_t now_ms = 1;
        rand_init(&run.dice, seed);
        hash_fix_seed(seed);
        for (unsigned i = 0; i < STEPS; i++) {
            now_ms += rand_below(&run.dice, 100);
            step(&run, now_ms);
            if (i % 40 == 39) {
                check(&run, seed);
            }
        }
        replay_destroy(run.replay);
    }
}
