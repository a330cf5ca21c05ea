/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor that all stand on: numbers, builders, maps, lists, ids, copies for other threads,
 * memory and its reserve.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>

#include "codec/base/buf.h"
#include "codec/base/list.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "codec/base/published.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"

TestSuite(base, .timeout = 60);

Test(base, numbers_are_parsed_strictly)
{
    static const struct {
        const char *text;
        int status;
        uint64_t value;
    } cases[] = {
        {"0", 0, 0},
        {"7", 0, 7},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", STATUS_TOO_LARGE, 0},
        {"99999999999999999999999", STATUS_TOO_LARGE, 0},
        {"", STATUS_INVALID, 0},
        {"01", STATUS_INVALID, 0},
        {"+1", STATUS_INVALID, 0},
        {"-1", STATUS_INVALID, 0},
        {" 1", STATUS_INVALID, 0},
        {"1e3", STATUS_INVALID, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t value = 0;
        int status = bytes_to_u64(bytes_str(cases[i].text), UINT64_MAX, &value);
        cr_expect_eq(status, cases[i].status, "%s: %d", cases[i].text, status);
        cr_expect_eq(value, cases[i].value, "%s", cases[i].text);
    }
}

Test(base, blanks_at_both_ends_are_trimmed)
{
    static const struct {
        const char *text;
        const char *rest;
    } cases[] = {{"", ""}, {" \t ", ""}, {"a", "a"}, {" a\tb \t", "a\tb"}, {"\na ", "\na"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bytes rest = bytes_trim(bytes_str(cases[i].text), " \t");
        cr_expect(bytes_eq_str(rest, cases[i].rest), "%zu", i);
    }
    cr_expect_eq(bytes_trim(bytes_of(" \0 ", 3), " ").len, 1, "NUL is no blank");
    cr_expect_eq(bytes_trim(bytes_of(NULL, 0), " ").len, 0);
}

Test(base, builder_stops_at_its_limit_and_stays_failed)
{
    struct builder builder = {.max = 10};
    builder_str(&builder, "12345");
    builder_u64(&builder, 67890);
    cr_expect_not(builder_failed(&builder));
    builder_byte(&builder, 'x');
    cr_expect(builder_failed(&builder));
    builder_truncate(&builder, 0);
    builder_byte(&builder, 'x');
    cr_expect_null(builder_finish(&builder));
    builder_i64(&builder, INT64_MIN);
    cr_expect(builder_failed(&builder), "20 characters do not fit in 10");
    builder_reset(&builder);
    builder.max = 100;
    builder_i64(&builder, INT64_MIN);
    builder_printf(&builder, " %s", "and text");
    struct buf *buf = builder_finish(&builder);
    cr_assert_not_null(buf);
    cr_expect(bytes_eq(buf_bytes(buf), BYTES("-9223372036854775808 and text")));
    buf_unref(buf);
}

struct item {
    char key[16];
    size_t len;
};

static struct bytes item_key(const void *object)
{
    const struct item *item = object;
    return bytes_of(item->key, item->len);
}

/* The model is an array of flags: 20,000 random puts, gets and removals must agree with it. */
Test(base, map_agrees_with_a_model)
{
    enum { ITEMS = 500, STEPS = 20000 };
    static struct item items[ITEMS];
    bool present[ITEMS] = {false};
    struct map map;
    map_init(&map, item_key);
    struct rand rand;
    rand_init(&rand, 42);
    size_t count = 0;
    for (int i = 0; i < ITEMS; i++) {
        items[i].len = (size_t)snprintf(items[i].key, sizeof(items[i].key), "key-%d", i);
    }
    for (int step = 0; step < STEPS; step++) {
        size_t i = rand_below(&rand, ITEMS);
        struct bytes key = item_key(&items[i]);
        cr_assert_eq(map_get(&map, key), present[i] ? &items[i] : NULL);
        if (!present[i]) {
            cr_assert(map_put(&map, &items[i]));
            count++;
        } else {
            cr_assert_eq(map_remove(&map, key), &items[i]);
            count--;
        }
        present[i] = !present[i];
        cr_assert_eq(map_count(&map), count);
    }
    size_t cursor = 0;
    size_t seen = 0;
    while (map_next(&map, &cursor) != NULL) {
        seen++;
    }
    cr_expect_eq(seen, count);
    map_finish(&map);
}

Test(base, map_walk_may_remove_what_it_was_given)
{
    enum { ITEMS = 100 };
    static struct item items[ITEMS];
    struct map map;
    map_init(&map, item_key);
    for (int i = 0; i < ITEMS; i++) {
        items[i].len = (size_t)snprintf(items[i].key, sizeof(items[i].key), "%d", i);
        cr_assert(map_put(&map, &items[i]));
    }
    size_t cursor = 0;
    int seen = 0;
    for (struct item *item; (item = map_next(&map, &cursor)) != NULL; seen++) {
        cr_assert_eq(map_remove(&map, item_key(item)), item);
    }
    cr_expect_eq(seen, ITEMS);
    cr_expect_eq(map_count(&map), 0);
    map_finish(&map);
}

Test(base, map_costs_twelve_bytes_a_slot)
{
    struct map map;
    static struct item items[100];
    map_init(&map, item_key);
    cr_expect_eq(map_bytes(&map), 0);
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        items[i].len = (size_t)snprintf(items[i].key, sizeof(items[i].key), "%zu", i);
        cr_assert(map_put(&map, &items[i]));
    }
    cr_expect_leq(map_bytes(&map), 256 * 12);
    cr_expect_geq(map_bytes(&map), 100 * 12);
    map_finish(&map);
    cr_expect_eq(map_bytes(&map), 0);
}

Test(base, uuids_are_version_7_ordered_and_parse_back)
{
    uint8_t early[16];
    uint8_t late[16];
    uint8_t parsed[16];
    char text[UUID_TEXT_LEN];
    uuid7_make(1700000000000, 0xfff, early);
    uuid7_make(1700000000001, 0, late);
    cr_expect_lt(memcmp(early, late, 16), 0);
    uuid_format(early, text);
    cr_expect_eq(text[14], '7');
    cr_expect(strchr("89ab", text[19]) != NULL);
    cr_expect_eq(uuid_parse(text, sizeof(text), parsed), 0);
    cr_expect_eq(memcmp(early, parsed, 16), 0);
    text[8] = '0';
    cr_expect_eq(uuid_parse(text, sizeof(text), parsed), STATUS_INVALID);
    cr_expect_eq(uuid_parse(text, 35, parsed), STATUS_INVALID);
}

struct node {
    int value;
    struct list link; /* nodes in the test */
};

Test(base, list_keeps_order_through_splice_and_removal)
{
    struct list a;
    struct list b;
    list_init(&a);
    list_init(&b);
    struct node nodes[4] = {{.value = 1}, {.value = 2}, {.value = 3}, {.value = 4}};
    list_append(&a, &nodes[1].link);
    list_prepend(&a, &nodes[0].link);
    list_append(&b, &nodes[2].link);
    list_append(&b, &nodes[3].link);
    list_splice(&a, &b);
    cr_expect(list_empty(&b));
    list_remove(&nodes[2].link);
    int expected[] = {1, 2, 4};
    int i = 0;
    list_for_each_safe (link, following, &a) {
        cr_assert_lt(i, 3);
        cr_expect_eq(container_of(link, struct node, link)->value, expected[i++]);
        list_remove(link);
    }
    cr_expect_eq(i, 3);
    cr_expect_null(list_pop(&a));
}

Test(base, a_published_copy_holds_what_was_published_last)
{
    struct {
        uint64_t one;
        uint64_t two;
    } counts = {1, UINT64_MAX}, seen = {0};
    _Atomic(uint64_t) copy[PUBLISHED_WORDS(counts)] = {0};
    published_write(copy, &counts, PUBLISHED_WORDS(counts));
    counts.one = 7;
    published_read(copy, PUBLISHED_WORDS(seen), &seen);
    cr_expect_eq(seen.one, 1);
    cr_expect_eq(seen.two, UINT64_MAX);
}

Test(base, a_copy_of_any_length_is_published_whole_and_nothing_behind_it)
{
    enum { MOST = 40 };
    uint64_t words[MOST];
    for (size_t i = 0; i < MOST; i++) {
        words[i] = i + 1;
    }
    for (size_t count = 0; count < MOST; count++) {
        _Atomic(uint64_t) copy[MOST] = {0};
        uint64_t seen[MOST];
        published_write(copy, words, count);
        published_read(copy, MOST, seen);
        for (size_t i = 0; i < MOST; i++) {
            cr_assert_eq(seen[i], i < count ? i + 1 : 0, "word %zu of %zu", i, count);
        }
    }
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { OWN_MALLOC = 0 }; /* a sanitizer ends when it gets no memory */
#else
enum { OWN_MALLOC = 1 };
#endif

/* Take all there is, in pieces of `most` bytes and smaller; returns a list of what was taken, the
 * smallest first. */
static void **take_all(size_t most)
{
    void **last = NULL;
    for (size_t size = most; size >= 64; size /= 2) {
        for (void **more; (more = mem_try_alloc(size)) != NULL; last = more) {
            *more = last;
        }
    }
    return last;
}

enum { RESERVE = 1 << 20, SPACE = 64 << 20 };

/* Let the address space end soon, and keep a reserve. */
static void limit_space(void)
{
    if (!OWN_MALLOC) {
        cr_skip("malloc is not ours");
    }
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    cr_assert_eq(fscanf(file, "%lu", &pages), 1);
    fclose(file);
    const struct rlimit limit = {.rlim_cur = pages * 4096 + SPACE, .rlim_max = RLIM_INFINITY};
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
    cr_assert(mem_keep_reserve(RESERVE));
}

Test(base, the_reserve_is_made_of_holes_where_nothing_large_is_free)
{
    enum { PIECE = 8 << 10 };
    limit_space();
    void **taken = take_all(PIECE);
    void *volatile lost;
    while (!mem_is_low()) {
        lost = mem_alloc(500);
    }
    while ((lost = malloc(PIECE * 2)) != NULL) {
        /* what the reserve was made of */
    }
    cr_assert(!mem_keep_reserve(RESERVE));
    for (bool keep = true; taken != NULL; keep = !keep) {
        void **next = *taken;
        if (!keep) {
            mem_free(taken);
        }
        taken = next;
    }
    cr_assert_null(malloc(64 << 10), "nothing but holes");
    cr_assert(mem_keep_reserve(RESERVE));
    cr_assert(!mem_is_low());
    for (unsigned i = 0; !mem_is_low(); i++) {
        lost = mem_alloc(500); /* all of the other half first */
        cr_assert_lt(i, SPACE / 500);
    }
    for (unsigned i = 0; i < RESERVE / 640; i++) {
        lost = mem_alloc(500);
    }
}

Test(base, small_allocations_use_the_reserve_and_the_others_fail_then)
{
    limit_space();
    void **taken = take_all(1 << 20);
    cr_assert(!mem_is_low(), "what may fail does not touch it");
    void *small[1000];
    for (size_t i = 0; i < ARRAY_LEN(small); i++) {
        small[i] = mem_alloc(500);
    }
    cr_assert(mem_is_low());
    cr_assert_null(mem_try_alloc(16));
    cr_assert(!mem_keep_reserve(RESERVE), "there is nothing to keep");
    while (taken != NULL) {
        void **next = *taken;
        mem_free(taken);
        taken = next;
    }
    cr_assert(mem_keep_reserve(RESERVE));
    cr_assert(!mem_is_low());
    void *again = mem_try_alloc(16);
    cr_assert_not_null(again);
    mem_free(again);
    for (size_t i = 0; i < ARRAY_LEN(small); i++) {
        mem_free(small[i]);
    }
}

static pthread_barrier_t both; /* the two threads of the next test */

/* A thread that keeps a reserve, and needs none. */
static void *keep_only(void *arg)
{
    mem_free(mem_alloc(100)); /* it has a heap of its own */
    *(bool *)arg = mem_keep_reserve(1 << 20);
    pthread_barrier_wait(&both);
    pthread_barrier_wait(&both);
    return NULL;
}

/* A thread that keeps one, and lives on it when nothing else is left. */
static void *keep_and_use(void *arg)
{
    void *small[1000];
    mem_free(mem_alloc(100));
    pthread_barrier_wait(&both);
    bool kept = mem_keep_reserve(1 << 20); /* the second one */
    void **taken = take_all(1 << 20);
    for (size_t i = 0; i < ARRAY_LEN(small); i++) {
        small[i] = mem_alloc(500);
    }
    *(bool *)arg = kept && mem_is_low();
    for (size_t i = 0; i < ARRAY_LEN(small); i++) {
        mem_free(small[i]);
    }
    for (void **next; taken != NULL; taken = next) {
        next = *taken;
        mem_free(taken);
    }
    *(bool *)arg = *(bool *)arg && mem_keep_reserve(1 << 20) && !mem_is_low();
    taken = take_all(1 << 20);
    while (!mem_is_low()) {
        small[0] = mem_alloc(500);
    }
    mem_drop_reserve(); /* who ends lacks nothing */
    *(bool *)arg = *(bool *)arg && !mem_is_low() && taken != NULL;
    pthread_barrier_wait(&both);
    return NULL;
}

/* The heap of one thread is of no use to another. */
Test(base, each_thread_has_a_reserve_of_its_own)
{
    pthread_t threads[2];
    bool good[2] = {false, false};
    if (!OWN_MALLOC) {
        cr_skip("malloc is not ours");
    }
    const struct rlimit limit = {.rlim_cur = 512 << 20, .rlim_max = RLIM_INFINITY};
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
    cr_assert_eq(pthread_barrier_init(&both, NULL, 2), 0);
    cr_assert_eq(pthread_create(&threads[0], NULL, keep_only, &good[0]), 0);
    cr_assert_eq(pthread_create(&threads[1], NULL, keep_and_use, &good[1]), 0);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        cr_assert(good[i], "%u", i);
    }
}

Test(base, map_replace_needs_no_memory)
{
    struct map map;
    struct item first = {.key = "a", .len = 1};
    struct item second = first;
    struct item other = {.key = "b", .len = 1};
    map_init(&map, item_key);
    cr_assert(map_put(&map, &first));
    cr_assert_eq(map_replace(&map, &second), &first);
    cr_assert_eq(map_get(&map, BYTES("a")), &second);
    cr_assert_null(map_replace(&map, &other));
    cr_assert_eq(map_count(&map), 1);
    map_finish(&map);
}
