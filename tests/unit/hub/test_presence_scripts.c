/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scripts of presence on a real redis-server: what tests/support/fake_presence.c plays.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/presence/presence_scripts.h"
#include "codec/base/buf.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "tests/support/bus_client.h"
#include "tests/support/redis_server.h"

enum { WORDS_MAX = 1200, ANSWER_MAX = 16384 };

#define A1 "aaaaaaaaaaaa0001"
#define A2 "aaaaaaaaaaaa0002"
#define B1 "bbbbbbbbbbbb0001"
#define LIFE "10000"
#define NEW "0" /* sums are made anew with each command */

static struct redis_server server;
static struct bus_client client;
static unsigned answers;
static char answer[ANSWER_MAX];

static void set_up(void)
{
    const struct redis_options options = {.backoff_min_ms = 10, .backoff_max_ms = 100};
    struct redis_options mine = options;
    log_set_level(LOG_ERROR);
    redis_server_start(&server);
    mine.target = bus_client_target(server.url);
    bus_client_open(&client, &mine);
    bus_client_wait_up(&client, true);
}

static void tear_down(void)
{
    bus_client_close(&client);
    redis_server_finish(&server);
}

TestSuite(presence_scripts, .init = set_up, .fini = tear_down, .timeout = 60);

/* As text: numbers, texts, `-` for nil, arrays in brackets, `!` before an error. */
static void write_reply(const struct bus_reply *reply, struct builder *out)
{
    switch (reply->type) {
    case BUS_NIL:
        builder_byte(out, '-');
        break;
    case BUS_INTEGER:
        builder_i64(out, reply->integer);
        break;
    case BUS_ARRAY:
        builder_byte(out, '[');
        for (size_t i = 0; i < reply->count; i++) {
            builder_str(out, i > 0 ? " " : "");
            write_reply(reply->items[i], out);
        }
        builder_byte(out, ']');
        break;
    case BUS_ERROR:
        builder_byte(out, '!');
        builder_add(out, reply->text);
        break;
    case BUS_STATUS:
    case BUS_STRING:
        builder_add(out, reply->text);
        break;
    }
}

static void on_reply(void *context, int status, const struct bus_reply *reply)
{
    struct builder out = {0};
    (void)context;
    cr_assert_eq(status, 0);
    write_reply(reply, &out);
    cr_assert_lt(builder_bytes(&out).len, sizeof(answer));
    memcpy(answer, builder_bytes(&out).at, builder_bytes(&out).len);
    answer[builder_bytes(&out).len] = '\0';
    builder_reset(&out);
    answers++;
}

static const char *send_words(const struct bytes *argv, size_t argc)
{
    unsigned before = answers;
    client.bus->ops->command(client.link, argv, argc, 0, on_reply, NULL);
    bus_client_wait(&client, &answers, before + 1);
    return answer;
}

/* Run a script on the key "k" with these words, of which the last is NULL. */
static const char *run(enum presence_script script, const char *word, ...)
{
    struct bytes argv[WORDS_MAX] = {
        BYTES("EVAL"), bytes_str(presence_scripts[script]), BYTES("1"), BYTES("k")};
    size_t argc = 4;
    va_list words;
    va_start(words, word);
    for (; word != NULL; word = va_arg(words, const char *)) {
        argv[argc++] = bytes_str(word);
    }
    va_end(words);
    return send_words(argv, argc);
}

static unsigned long long checksum;

/* The answer without the checksum, which is kept. */
static const char *take_checksum(const char *from)
{
    int at = 0;
    int end = 0;
    if (sscanf(from, "[1 %*u %*u %*u%n %llu%n", &at, &checksum, &end) == 1) {
        memmove(answer + at, answer + end, strlen(answer + end) + 1);
    }
    return answer;
}

/* It answers `[1 users changes ended names version nodes connections …]`. */
#define TELL(...) take_checksum(run(PRESENCE_SCRIPT_TELL, __VA_ARGS__, NULL))
#define LOOK(...) run(PRESENCE_SCRIPT_LOOK, __VA_ARGS__, NULL)

/* Sweep until all has been seen; how many commands it took. */
static unsigned sweep(const char *places)
{
    char cursor[32] = "0";
    unsigned count = 0;
    do {
        snprintf(
            cursor, sizeof(cursor), "%s", run(PRESENCE_SCRIPT_SWEEP, cursor, "200", places, NULL));
        count++;
    } while (strcmp(cursor, "0") != 0);
    return count;
}

static const char *ask(const char *command, const char *argument)
{
    const struct bytes argv[] = {bytes_str(command), BYTES("k"), bytes_str(argument)};
    return send_words(argv, argument != NULL ? 3 : 2);
}

Test(presence_scripts, users_are_told_and_looked_for)
{
    cr_expect_str_eq(
        TELL(A1, "1", "node a", "0", LIFE, "30000", "3", "1", "c", NEW, "u1", "1", "t/u2", "2"),
        "[1 2 1 0  1 1 3]");
    cr_expect_str_eq(ask("HGET", "u1"), A1 ":1");
    cr_expect_str_eq(LOOK("u1", "nobody", "t/u2"), "[[node a 1 1] - [node a 2 1]]");
    TELL(B1, "1", "node b", "0", LIFE, "30000", "4", "1", "c", NEW, "u1", "4");
    cr_expect_str_eq(answer, "[1 2 2 0  1 2 7]");
    cr_expect_str_eq(LOOK("u1"), "[[node a 1 1 node b 4 1]]");
    TELL(A1, "1", "node a", "1", LIFE, "30000", "0", "1", "c", NEW, "u1", "0", "t/u2", "0");
    cr_expect_str_eq(LOOK("u1", "t/u2"), "[[node b 4 1] -]");
    cr_expect_str_eq(ask("HGET", "t/u2"), "-");
    TELL(B1, "1", "node b", "1", LIFE, "30000", "0", "1", "c", NEW, "u1", "0");
    cr_expect_str_eq(answer, "[1 0 4 0  1 2 0]");
    cr_expect_str_eq(ask("HLEN", NULL), "4", "two shards, their list, the sums");
}

Test(presence_scripts, a_place_must_be_as_it_was_left)
{
    cr_expect_str_eq(TELL(A1, "1", "a", "7", LIFE, "30000", "0", "1", "c", NEW), "[0]");
    cr_expect_str_eq(ask("EXISTS", NULL), "0");
    TELL(A1, "1", "a", "0", LIFE, "30000", "0", "1", "c", NEW);
    cr_expect_str_eq(TELL(A1, "1", "a", "0", LIFE, "30000", "0", "1", "c", NEW), "[0]");
    cr_expect_str_eq(TELL(A1, "1", "a", "2", LIFE, "30000", "0", "1", "c", NEW, "u", "1"), "[0]");
    cr_expect_str_eq(ask("HGET", "u"), "-");
    cr_expect_str_eq(TELL(A1, "1", "a", "1", "0", "30000", "0", "1", "c", NEW), "[1 0 0 1 ]");
    cr_expect_str_eq(TELL(A1, "1", "a", "2", LIFE, "30000", "0", "1", "c", NEW), "[0]",
        "what has ended does not begin again");
}

Test(presence_scripts, a_place_that_has_ended_counts_nowhere_and_is_swept)
{
    TELL(A1, "1", "a", "0", LIFE, "30000", "2", "1", "c", NEW, "u1", "1", "u2", "1");
    unsigned long long alone = checksum;
    TELL(B1, "1", "b", "0", LIFE, "30000", "1", "1", "c", NEW, "u1", "1");
    unsigned long long both = checksum;
    cr_expect_neq(alone, both);
    TELL(A1, "1", "a", "1", "0", "30000", "0", "1", "c", NEW);
    cr_expect_str_eq(answer, "[1 2 2 1  1 1 1]", "who ends does not sweep");
    unsigned long long other = checksum;
    cr_expect(other != alone && other != both);
    cr_expect_str_eq(LOOK("u1", "u2"), "[[b 1 1] -]");
    TELL(B1, "1", "b", "1", LIFE, "30000", "1", "1", "c", NEW);
    cr_expect_str_eq(answer, "[1 2 2 1 " A1 ", 1 1 1]");
    TELL(B1, "1", "b", "2", LIFE, "30000", "1", "1", "c", NEW);
    cr_expect_str_eq(answer, "[1 2 2 1  1 1 1]", "one sweeps at a time");
    cr_expect_str_eq(ask("HLEN", NULL), "6");
    sweep(A1 ",");
    cr_expect_str_eq(ask("HLEN", NULL), "4");
    cr_expect_str_eq(ask("HGET", "u1"), B1 ":1");
    cr_expect_str_eq(ask("HGET", "\n"), "bbbbbbbbbbbb");
    cr_expect_str_eq(
        TELL(B1, "1", "b", "3", LIFE, "30000", "1", "1", "c", NEW), "[1 1 2 0  1 1 1]");
    cr_expect_eq(checksum, other);
}

Test(presence_scripts, the_place_before_counts_until_all_is_told)
{
    TELL(A1, "1", "a", "0", LIFE, "30000", "2", "1", "c", NEW, "u1", "1", "u2", "1");
    TELL(A2, "1", "a", "0", LIFE, "30000", "2", "0", "c", NEW, "u1", "1");
    cr_expect_str_eq(answer, "[1 2 2 0  1 1 2]");
    cr_expect_str_eq(LOOK("u1", "u2"), "[[a 1 1 a 1 1] [a 1 1]]");
    TELL(A2, "1", "a", "1", LIFE, "30000", "2", "1", "c", NEW, "u2", "1");
    cr_expect_str_eq(answer, "[1 2 3 1 " A1 ", 1 1 2]");
    cr_expect_str_eq(LOOK("u1", "u2"), "[[a 1 1] [a 1 1]]");
    cr_expect_str_eq(ask("HGET", "u2"), A2 ":1");
    sweep(A1 ",");
    cr_expect_str_eq(ask("HGET", "\n"), "aaaaaaaaaaaa", "the shard has another place");
    cr_expect_str_eq(LOOK("u1", "u2"), "[[a 1 1] [a 1 1]]");
}

Test(presence_scripts, what_others_may_know_is_kept_with_who_holds)
{
    TELL(A1, "1", "a", "0", LIFE, "30000", "3", "1", "c", NEW, "u1", "2u", "u2", "1h");
    TELL(B1, "1", "b", "0", LIFE, "30000", "1", "1", "c", NEW, "u1", "1");
    cr_expect_str_eq(LOOK("u1", "u2"), "[[a 2 0 b 1 1] [a 1 2]]");
    TELL(A1, "1", "a", "1", LIFE, "30000", "3", "1", "c", NEW, "u1", "2h", "u2", "1");
    cr_expect_str_eq(LOOK("u1", "u2"), "[[b 1 1 a 2 2] [a 1 1]]");
    cr_expect_str_eq(ask("HGET", "u1"), B1 ":1," A1 ":2h");
    TELL(B1, "1", "b", "1", "0", "30000", "0", "1", "c", NEW);
    sweep(B1 ",");
    cr_expect_str_eq(ask("HGET", "u1"), A1 ":2h");
}

Test(presence_scripts, sums_are_kept_for_a_while_and_told_apart_by_version)
{
    TELL(A1, "1", "a", "0", LIFE, "30000", "2", "1", "c", "600000", "u1", "2");
    cr_expect_str_eq(answer, "[1 1 1 0  1 1 2]");
    TELL(B1, "2", "b", "0", LIFE, "30000", "3", "1", "c", "600000", "u2", "3");
    cr_expect_str_eq(answer, "[1 1 2 0  1 1 2]", "the number of changes alone is new");
    TELL(A1, "1", "a", "1", LIFE, "30000", "2", "1", "c", NEW);
    cr_expect_str_eq(answer, "[1 2 2 0  1 1 2 2 1 3]");
}

Test(presence_scripts, a_shard_has_so_many_places_and_no_more)
{
    char place[PRESENCE_SHARD_DIGITS + PRESENCE_TERM_DIGITS + 1];
    for (unsigned i = 0; i < PRESENCE_SHARD_PLACES; i++) {
        snprintf(place, sizeof(place), "aaaaaaaaaaaa%04x", i);
        cr_assert_eq(
            strncmp(TELL(place, "1", "a", "0", LIFE, "30000", "0", "0", "c", NEW), "[1", 2), 0);
    }
    cr_expect_str_eq(
        TELL("aaaaaaaaaaaaffff", "1", "a", "0", LIFE, "30000", "0", "1", "c", NEW), "[2]");
    cr_expect_eq(strncmp(TELL(B1, "1", "b", "0", LIFE, "30000", "0", "1", "c", NEW), "[1", 2), 0);
    TELL(place, "1", "a", "1", LIFE, "30000", "0", "1", "c", NEW); /* the last one has all */
    char *names = strstr(answer, "aaaaaaaaaaaa0000,");
    cr_assert_not_null(names);
    *strchr(names, ' ') = '\0';
    char all[PRESENCE_SHARD_PLACES * 17 + 1];
    snprintf(all, sizeof(all), "%s", names);
    cr_expect_eq(strlen(all), (PRESENCE_SHARD_PLACES - 1) * 17);
    sweep(all);
    cr_expect_str_eq(ask("HLEN", NULL), "4");
}

/* How often commands of the scripts were called since it was asked for last. */
static unsigned calls(void)
{
    static const char *const names[] = {"hget", "hset", "hdel", "hlen", "hexists", "pexpire"};
    const struct bytes info[] = {BYTES("INFO"), BYTES("commandstats")};
    const struct bytes reset[] = {BYTES("CONFIG"), BYTES("RESETSTAT")};
    unsigned sum = 0;
    const char *text = send_words(info, ARRAY_LEN(info));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char prefix[64];
        snprintf(prefix, sizeof(prefix), "cmdstat_%s:calls=", names[i]);
        const char *at = strstr(text, prefix);
        sum += at != NULL ? (unsigned)strtoul(at + strlen(prefix), NULL, 10) : 0;
    }
    send_words(reset, ARRAY_LEN(reset));
    return sum;
}

/* What a renewal of each of `count` places costs all together, with sums made anew once. */
static void renew_all(unsigned count, unsigned *ret_calls, size_t *ret_bytes)
{
    const struct bytes flush[] = {BYTES("FLUSHALL")};
    char place[PRESENCE_SHARD_DIGITS + PRESENCE_TERM_DIGITS + 1];
    send_words(flush, ARRAY_LEN(flush));
    for (unsigned round = 0; round < 2; round++) {
        (void)calls();
        *ret_bytes = 0;
        for (unsigned i = 0; i < count; i++) {
            const char *sums = i + 1 == count && round == 1 ? NEW : "600000";
            snprintf(place, sizeof(place), "%012x0001", i);
            TELL(
                place, "1", place, round == 0 ? "0" : "1", "600000", "600000", "1", "1", "c", sums);
            cr_assert_eq(strncmp(answer, "[1 ", 3), 0, "%s", answer);
            *ret_bytes += strlen(answer);
        }
    }
    *ret_calls = calls();
}

Test(presence_scripts, what_renewals_cost_grows_as_their_number)
{
    unsigned few_calls;
    unsigned many_calls;
    size_t few_bytes;
    size_t many_bytes;
    renew_all(10, &few_calls, &few_bytes);
    renew_all(300, &many_calls, &many_bytes);
    cr_expect_leq(many_calls, 30 * few_calls, "%u, then %u", few_calls, many_calls);
    cr_expect_leq(many_bytes, 31 * few_bytes, "%zu, then %zu", few_bytes, many_bytes);
    cr_expect_leq(many_calls, 300 * 7, "%u", many_calls);
    cr_expect_leq(many_bytes, 300 * 64, "%zu", many_bytes);
}

Test(presence_scripts, many_are_swept_some_at_a_time)
{
    char names[2][500][16];
    struct bytes argv[WORDS_MAX];
    for (unsigned piece = 0; piece < 2; piece++) {
        const char *number = piece == 0 ? "0" : "1";
        const char *const head[] = {presence_scripts[PRESENCE_SCRIPT_TELL], "1", "k", A1, "1", "a",
            number, LIFE, "30000", "0", "1", "c", NEW};
        size_t argc = 0;
        argv[argc++] = BYTES("EVAL");
        for (size_t i = 0; i < ARRAY_LEN(head); i++) {
            argv[argc++] = bytes_str(head[i]);
        }
        for (unsigned i = 0; i < 500; i++) {
            snprintf(names[piece][i], sizeof(names[piece][i]), "u%u.%u", piece, i);
            argv[argc++] = bytes_str(names[piece][i]);
            argv[argc++] = BYTES("1");
        }
        cr_expect_eq(strncmp(send_words(argv, argc), "[1 ", 3), 0, "%s", answer);
    }
    cr_expect_str_eq(ask("HLEN", NULL), "1003");
    TELL(B1, "1", "b", "0", LIFE, "30000", "1", "1", "c", NEW, "u1.7", "1");
    cr_expect_gt(sweep(A1 ","), 1);
    cr_expect_str_eq(ask("HLEN", NULL), "4");
    cr_expect_str_eq(LOOK("u1.7", "u0.7"), "[[b 1 1] -]");
}

Test(presence_scripts, who_has_changed_is_published)
{
    struct bus_client other;
    const struct redis_options options = {
        .target = bus_client_target(server.url), .backoff_min_ms = 10, .backoff_max_ms = 100};
    bus_client_open(&other, &options);
    cr_assert(other.bus->ops->subscribe(other.link, BYTES("c")));
    bus_client_wait(&other, &other.subscribed, 1);
    TELL(A1, "1", "a", "0", LIFE, "30000", "1", "1", "c", NEW, "u1", "1", "t/u2", "1");
    TELL(A1, "1", "a", "1", LIFE, "30000", "1", "1", "c", NEW);
    TELL(A1, "1", "a", "2", LIFE, "30000", "1", "1", "c", NEW, "u1", "0");
    bus_client_wait(&other, &other.messages, 2);
    cr_expect_str_eq(other.last_payload, "1 2 a\nu1");
    bus_client_close(&other);
}

Test(presence_scripts, a_key_whose_places_are_not_renewed_ends)
{
    TELL(A1, "1", "a", "0", LIFE, "30000", "1", "1", "c", NEW, "u1", "1");
    const char *left = ask("PTTL", NULL);
    uint64_t ms = strtoull(left, NULL, 10);
    cr_expect(ms > 0 && ms <= 30000, "%s", left);
    TELL(A1, "1", "a", "1", LIFE, "1", "1", "1", "c", NEW);
    while (strcmp(ask("EXISTS", NULL), "0") != 0) {
    }
}
