/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that a shard keeps: which one is given, what goes when there is no room, and when.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "hub/api/read_cache.h"

TestSuite(read_cache, .timeout = 30);

enum { MAX = 256 * 1024, AGE_MS = 1000, BODY = 1000 };

static char body_at[MAX];

static struct read_cache *create(size_t bytes)
{
    struct read_cache *cache = read_cache_create();
    memset(body_at, 'x', sizeof(body_at));
    read_cache_set_limits(cache, bytes, AGE_MS);
    return cache;
}

static struct store_user who_of(const char *tenant, const char *user)
{
    return (struct store_user){.tenant = bytes_str(tenant), .user = bytes_str(user)};
}

static void put_sized(struct read_cache *cache, struct store_user who, const char *name,
    struct read_stamp stamp, size_t len)
{
    read_cache_put(cache,
        &(struct read_cache_answer){
            .who = who, .name = bytes_str(name), .body = bytes_of(body_at, len), .stamp = stamp},
        0);
}

static void put(struct read_cache *cache, struct store_user who, const char *name, uint64_t rev,
    const char *text)
{
    read_cache_put(cache,
        &(struct read_cache_answer){.who = who,
            .name = bytes_str(name),
            .body = bytes_str(text),
            .stamp = {.session = 1, .rev = rev}},
        0);
}

/* The rev of what is kept, 0: nothing; its text goes to `text`. */
static uint64_t get(
    struct read_cache *cache, struct store_user who, const char *name, char text[BODY + 1])
{
    struct read_stamp stamp = {0};
    struct buf *body = read_cache_get(cache, who, bytes_str(name), 1, 0, &stamp);
    text[0] = '\0';
    if (body == NULL) {
        return 0;
    }
    struct bytes bytes = buf_bytes(body);
    snprintf(text, BODY + 1, "%.*s", (int)bytes.len, bytes.at);
    buf_unref(body);
    return stamp.rev;
}

static bool has(struct read_cache *cache, const char *tenant, const char *user)
{
    char text[BODY + 1];
    return get(cache, who_of(tenant, user), "list?", text) > 0;
}

Test(read_cache, an_answer_is_that_of_its_user_tenant_and_name)
{
    char text[BODY + 1];
    struct read_cache *cache = create(MAX);
    put(cache, who_of("a", "u"), "list?", 7, "one");
    put(cache, who_of("a", "u"), "list?limit=5", 7, "two");
    put(cache, who_of("b", "u"), "list?", 8, "three");
    put(cache, who_of("", "u"), "list?", 9, "four");
    cr_assert_eq(get(cache, who_of("a", "u"), "list?", text), 7);
    cr_assert_str_eq(text, "one");
    cr_assert_eq(get(cache, who_of("a", "u"), "list?limit=5", text), 7);
    cr_assert_str_eq(text, "two");
    cr_assert_eq(get(cache, who_of("b", "u"), "list?", text), 8);
    cr_assert_str_eq(text, "three");
    cr_assert_eq(get(cache, who_of("", "u"), "list?", text), 9);
    cr_assert_str_eq(text, "four");
    cr_assert_eq(get(cache, who_of("a", "v"), "list?", text), 0);
    cr_assert_eq(get(cache, who_of("a", "u"), "counts?", text), 0);
    cr_assert_eq(read_cache_stats(cache)->answers, 4);
    read_cache_destroy(cache);
}

Test(read_cache, a_later_state_ends_all_answers_of_an_earlier_one)
{
    char text[BODY + 1];
    struct store_user who = who_of("", "u");
    struct read_cache *cache = create(MAX);
    put(cache, who, "list?", 7, "old");
    put(cache, who, "counts?", 7, "old");
    put(cache, who, "list?", 8, "new");
    cr_assert_eq(get(cache, who, "list?", text), 8);
    cr_assert_str_eq(text, "new");
    cr_assert_eq(get(cache, who, "counts?", text), 0);
    put(cache, who, "counts?", 7, "late"); /* it was read before */
    cr_assert_eq(get(cache, who, "counts?", text), 0);
    cr_assert_eq(get(cache, who, "list?", text), 8);
    cr_assert_eq(read_cache_stats(cache)->answers, 1);
    read_cache_destroy(cache);
}

Test(read_cache, behind_a_lost_session_nothing_is_as_it_was)
{
    struct store_user who = who_of("", "u");
    struct read_stamp stamp;
    struct read_cache *cache = create(MAX);
    put_sized(cache, who, "list?", (struct read_stamp){.session = 1, .rev = 9}, 10);
    cr_assert_null(read_cache_get(cache, who, BYTES("list?"), 2, 0, &stamp));
    put_sized(cache, who, "list?", (struct read_stamp){.session = 2, .rev = 8}, 10);
    struct buf *body = read_cache_get(cache, who, BYTES("list?"), 2, 0, &stamp);
    cr_assert_not_null(body);
    cr_assert_eq(stamp.rev, 8);
    buf_unref(body);
    put_sized(cache, who, "list?", (struct read_stamp){.session = 1, .rev = 9}, 10);
    cr_assert_null(read_cache_get(cache, who, BYTES("list?"), 1, 0, &stamp));
    read_cache_destroy(cache);
}

Test(read_cache, bytes_are_bounded_and_who_was_read_longest_ago_goes)
{
    char name[16];
    struct read_cache *cache = create(MAX);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "u%u", i);
        put_sized(cache, who_of("", name), "list?", (struct read_stamp){1, 5}, BODY);
        cr_assert(has(cache, "", "u0"), "what is read stays: %u", i);
        cr_assert_leq(read_cache_stats(cache)->bytes, MAX);
    }
    cr_assert(has(cache, "", "u999"));
    cr_assert(!has(cache, "", "u1"));
    cr_assert_geq(read_cache_stats(cache)->bytes, MAX / 2, "it is used");
    cr_assert_eq(read_cache_stats(cache)->evicted + read_cache_stats(cache)->answers, 1000);
    read_cache_destroy(cache);
}

Test(read_cache, a_tenant_that_has_most_does_not_push_out_the_others)
{
    char name[16];
    struct read_cache *cache = create(MAX);
    for (unsigned i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "small%u", i);
        put_sized(cache, who_of("small", name), "list?", (struct read_stamp){1, 5}, BODY);
    }
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(name, sizeof(name), "u%u", i);
        put_sized(cache, who_of("large", name), "list?", (struct read_stamp){1, 5}, BODY);
    }
    for (unsigned i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "small%u", i);
        cr_assert(has(cache, "small", name), "%s", name);
    }
    cr_assert_leq(read_cache_stats(cache)->bytes, MAX);
    read_cache_destroy(cache);
}

Test(read_cache, a_user_has_so_many_answers_and_so_many_bytes)
{
    char name[16];
    char text[BODY + 1];
    struct store_user who = who_of("", "u");
    struct read_cache *cache = create(MAX);
    for (unsigned i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "list?page=%u", i);
        put(cache, who, name, 5, "text");
    }
    cr_assert_eq(read_cache_stats(cache)->answers, READ_CACHE_ANSWERS);
    cr_assert_eq(get(cache, who, "list?page=99", text), 5);
    cr_assert_eq(get(cache, who, "list?page=0", text), 0);
    for (unsigned i = 0; i < READ_CACHE_ANSWERS; i++) {
        snprintf(name, sizeof(name), "list?page=%u", i);
        put_sized(cache, who, name, (struct read_stamp){1, 5}, MAX / READ_CACHE_PART / 4);
    }
    cr_assert_leq(read_cache_stats(cache)->answers, 4);
    put_sized(cache, who, "large", (struct read_stamp){1, 5}, MAX / READ_CACHE_PART);
    cr_assert_eq(get(cache, who, "large", text), 0, "larger than its part");
    read_cache_destroy(cache);
}

Test(read_cache, a_long_name_is_not_kept)
{
    char name[READ_CACHE_NAME_MAX + 2];
    struct read_cache *cache = create(MAX);
    memset(name, 'q', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    put_sized(cache, who_of("", "u"), name, (struct read_stamp){1, 5}, 10);
    cr_assert_eq(read_cache_stats(cache)->answers, 0);
    read_cache_destroy(cache);
}

Test(read_cache, answers_go_with_their_age)
{
    struct read_stamp stamp;
    struct store_user who = who_of("", "u");
    struct read_cache *cache = create(MAX);
    put_sized(cache, who, "list?", (struct read_stamp){1, 5}, 10);
    struct buf *body = read_cache_get(cache, who, BYTES("list?"), 1, AGE_MS - 1, &stamp);
    cr_assert_not_null(body);
    buf_unref(body);
    cr_assert_null(read_cache_get(cache, who, BYTES("list?"), 1, AGE_MS, &stamp));
    read_cache_tidy(cache, AGE_MS - 1);
    cr_assert_eq(read_cache_stats(cache)->answers, 1);
    read_cache_tidy(cache, AGE_MS);
    cr_assert_eq(read_cache_stats(cache)->answers, 0);
    read_cache_destroy(cache);
}

Test(read_cache, all_go_when_memory_is_asked_back)
{
    struct read_cache *cache = create(MAX);
    put_sized(cache, who_of("t", "u"), "list?", (struct read_stamp){1, 5}, 10);
    mem_ask_back();
    read_cache_tidy(cache, 0);
    cr_assert_eq(read_cache_stats(cache)->answers, 0);
    cr_assert_eq(read_cache_stats(cache)->bytes, 0);
    put_sized(cache, who_of("t", "u"), "list?", (struct read_stamp){1, 5}, 10);
    cr_assert_eq(read_cache_stats(cache)->answers, 1);
    read_cache_destroy(cache);
}

Test(read_cache, without_bytes_nothing_is_kept)
{
    struct read_cache *cache = create(MAX);
    put_sized(cache, who_of("", "u"), "list?", (struct read_stamp){1, 5}, 10);
    read_cache_set_limits(cache, 0, AGE_MS);
    cr_assert_eq(read_cache_stats(cache)->answers, 0);
    put_sized(cache, who_of("", "u"), "list?", (struct read_stamp){1, 5}, 0);
    cr_assert_eq(read_cache_stats(cache)->answers, 0);
    read_cache_destroy(cache);
}

/* Against a model that knows only what was put last: what is given is that, or nothing. */
Test(read_cache, whatever_happens_no_answer_is_older_than_the_last_one)
{
    enum { USERS = 40, NAMES = 4, ROUNDS = 20000 };
    static uint64_t revs[USERS];
    static uint64_t last[USERS][NAMES];
    struct rand rand;
    char text[BODY + 1];
    uint64_t found = 0;
    struct read_cache *cache = create(MAX / 8);
    rand_init(&rand, 42);
    for (unsigned round = 0; round < ROUNDS; round++) {
        char user[16];
        char name[16];
        unsigned u = rand_below(&rand, USERS);
        unsigned n = rand_below(&rand, NAMES);
        snprintf(user, sizeof(user), "u%u", u);
        snprintf(name, sizeof(name), "n%u", n);
        struct store_user who = who_of(u % 3 == 0 ? "a" : u % 3 == 1 ? "b" : "", user);
        unsigned what = rand_below(&rand, 10);
        if (what < 2) {
            revs[u]++;
            memset(last[u], 0, sizeof(last[u]));
        } else if (what < 6) {
            last[u][n] = revs[u] + 1;
            put_sized(cache, who, name, (struct read_stamp){1, revs[u] + 1},
                rand_below(&rand, MAX / 8 / READ_CACHE_PART));
        } else {
            uint64_t rev = get(cache, who, name, text);
            cr_assert(rev == 0 || rev <= revs[u] + 1);
            cr_assert(rev != revs[u] + 1 || last[u][n] == rev);
            found += rev == revs[u] + 1;
        }
        cr_assert_leq(read_cache_stats(cache)->bytes, MAX / 8);
    }
    cr_assert_gt(found, 100, "%llu", (unsigned long long)found);
    read_cache_destroy(cache);
}
