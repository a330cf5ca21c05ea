/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts the input at every place or at random ones, and runs the decoder on each cutting.
 */
#include "tests/support/script_feed.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "codec/base/rand.h"
#include "tests/support/vectors.h"

enum { RANDOM_RUNS = 4, RANDOM_PIECE_MAX = 12 };

enum way { WHOLE, BYTES_ONE_BY_ONE, RANDOM_CUTS };

struct script_feed {
    struct bytes input;
    size_t given;
    enum way way;
    struct rand rand;
    char *copy; /* what was handed out last */
};

static const char *const way_names[] = {"whole", "byte by byte", "at random cuts"};

static struct bytes hand_out(struct script_feed *feed, struct bytes content)
{
    char *copy = malloc(content.len);
    cr_assert(content.len == 0 || copy != NULL);
    if (content.len > 0) {
        memcpy(copy, content.at, content.len);
    }
    free(feed->copy);
    feed->copy = copy;
    return bytes_of(copy, content.len);
}

static size_t piece_len(struct script_feed *feed)
{
    size_t left = feed->input.len - feed->given;
    size_t len = left;
    if (feed->way == BYTES_ONE_BY_ONE) {
        len = 1;
    } else if (feed->way == RANDOM_CUTS) {
        len = 1 + rand_below(&feed->rand, RANDOM_PIECE_MAX);
    }
    return len < left ? len : left;
}

bool script_feed_piece(struct script_feed *feed, struct bytes *ret_piece)
{
    if (feed->given == feed->input.len) {
        return false;
    }
    size_t len = piece_len(feed);
    *ret_piece = hand_out(feed, bytes_of(feed->input.at + feed->given, len));
    feed->given += len;
    return true;
}

bool script_feed_grow(struct script_feed *feed, struct bytes *ret_so_far)
{
    if (feed->given == feed->input.len) {
        return false;
    }
    feed->given += piece_len(feed);
    *ret_so_far = hand_out(feed, bytes_of(feed->input.at, feed->given));
    return true;
}

static uint64_t first_seed(void)
{
    const char *fixed = getenv("PEAL_SEED");
    return fixed ? strtoull(fixed, NULL, 10) : (uint64_t)time(NULL) << 16 ^ (uint64_t)getpid();
}

static uint64_t random_runs(void)
{
    const char *wanted = getenv("PEAL_SEEDS");
    uint64_t runs = wanted ? strtoull(wanted, NULL, 10) : RANDOM_RUNS;
    return runs > 0 ? runs : 1;
}

static void run(
    const struct vector *vector, enum way way, uint64_t seed, script_feed_decode_fn decode)
{
    struct script_feed feed = {.input = buf_bytes(vector->input), .way = way};
    struct builder out = {0};
    rand_init(&feed.rand, seed);
    decode(&feed, &out);
    struct bytes got = builder_bytes(&out);
    struct bytes expected = buf_bytes(vector->expected);
    cr_expect(bytes_eq(got, expected),
        "%s, %s (PEAL_SEED=%" PRIu64 ")\n  got      %.*s\n  expected %.*s", vector->title,
        way_names[way], seed, (int)got.len, got.at, (int)expected.len, expected.at);
    free(feed.copy);
    builder_reset(&out);
}

static void run_all(const struct vector *vector, script_feed_decode_fn decode)
{
    uint64_t seed = first_seed();
    run(vector, WHOLE, 0, decode);
    run(vector, BYTES_ONE_BY_ONE, 0, decode);
    for (uint64_t i = 0; i < random_runs(); i++) {
        run(vector, RANDOM_CUTS, seed + i, decode);
    }
}

void script_feed_file(const char *file, script_feed_decode_fn decode)
{
    char path[512];
    struct vectors vectors;
    snprintf(path, sizeof(path), "%s/%s", TESTS_DATA, file);
    vectors_load(&vectors, path);
    for (size_t i = 0; i < vectors.count; i++) {
        run_all(&vectors.items[i], decode);
    }
    vectors_finish(&vectors);
}

void script_feed_input(
    const char *title, struct bytes input, struct bytes expected, script_feed_decode_fn decode)
{
    struct vector vector = {.input = buf_new(input), .expected = buf_new(expected)};
    snprintf(vector.title, sizeof(vector.title), "%s", title);
    run_all(&vector, decode);
    buf_unref(vector.input);
    buf_unref(vector.expected);
}
