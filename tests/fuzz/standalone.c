/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz program without libFuzzer: on each golden vector of the files named as
 * arguments, and on mutations of them, so many a seed as `--inputs=` says. PEAL_SEED is the first
 * seed, PEAL_SEEDS how many follow each other. When the program dies, the input at hand and its
 * seed are printed: that seed alone makes the input again.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "codec/base/rand.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/vectors.h"

enum { INPUTS = 5000, CHANGES_MAX = 4, INPUT_MAX = 4096, NUMBER_MAX = 20 };

static uint8_t current[INPUT_MAX];
static size_t current_len;
static uint64_t current_seed;

/* Only calls that are safe in a handler. */
static void print_seed(void)
{
    char text[NUMBER_MAX + 1];
    size_t at = sizeof(text);
    text[--at] = '\n';
    uint64_t rest = current_seed;
    do {
        text[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    ssize_t ignored = write(STDERR_FILENO, "PEAL_SEED=", 10);
    ignored = write(STDERR_FILENO, text + at, sizeof(text) - at);
    (void)ignored;
}

static void on_abort(int number)
{
    static const char digits[] = "0123456789abcdef";
    char text[2 * INPUT_MAX + 1];
    for (size_t i = 0; i < current_len; i++) {
        text[2 * i] = digits[current[i] >> 4];
        text[2 * i + 1] = digits[current[i] & 0xf];
    }
    text[2 * current_len] = '\n';
    ssize_t ignored = write(STDERR_FILENO, "input: ", 7);
    ignored = write(STDERR_FILENO, text, 2 * current_len + 1);
    (void)ignored;
    print_seed();
    signal(number, SIG_DFL);
    raise(number);
}

/* From an allocation of the exact size, so that a sanitizer sees a read beyond it. */
static void run_current(void)
{
    uint8_t *copy = malloc(current_len ? current_len : 1);
    CHECK(copy != NULL);
    memcpy(copy, current, current_len);
    LLVMFuzzerTestOneInput(copy, current_len);
    free(copy);
}

static void take(struct bytes input)
{
    current_len = input.len < INPUT_MAX ? input.len : INPUT_MAX;
    if (current_len > 0) {
        memcpy(current, input.at, current_len);
    }
}

/* Remove `count` bytes at `at`. */
static void cut(size_t at, size_t count)
{
    memmove(current + at, current + at + count, current_len - at - count);
    current_len -= count;
}

/* Insert `content` at `at` as far as there is room. */
static void insert(size_t at, struct bytes content)
{
    if (content.len > INPUT_MAX - current_len) {
        content.len = INPUT_MAX - current_len;
    }
    if (content.len == 0) {
        return;
    }
    memmove(current + at + content.len, current + at, current_len - at);
    memcpy(current + at, content.at, content.len);
    current_len += content.len;
}

/* One change: a bit, a byte, a cut, a repeated range, or a range of another vector. */
static void change(struct rand *rand, struct bytes other)
{
    size_t at = rand_below(rand, current_len + 1);
    size_t count = rand_below(rand, current_len - at + 1);
    char copy[INPUT_MAX];
    size_t from = rand_below(rand, other.len + 1);
    switch (rand_below(rand, 6)) {
    case 0:
        if (at < current_len) {
            current[at] ^= (uint8_t)(1u << rand_below(rand, 8));
        }
        break;
    case 1:
        if (at < current_len) {
            current[at] = (uint8_t)rand_below(rand, 256);
        }
        break;
    case 2:
        cut(at, count);
        break;
    case 3:
        memcpy(copy, current + at, count);
        insert(at, bytes_of(copy, count));
        break;
    case 4:
        copy[0] = (char)rand_below(rand, 256);
        insert(at, bytes_of(copy, 1));
        break;
    default:
        if (other.len > 0) {
            insert(at, bytes_of(other.at + from, rand_below(rand, other.len - from + 1)));
        }
    }
}

static void run_seed(const struct vectors *vectors, uint64_t inputs)
{
    struct rand rand;
    rand_init(&rand, current_seed);
    for (uint64_t i = 0; i < inputs; i++) {
        take(buf_bytes(vectors->items[rand_below(&rand, vectors->count)].input));
        for (uint64_t n = 1 + rand_below(&rand, CHANGES_MAX); n > 0; n--) {
            change(&rand, buf_bytes(vectors->items[rand_below(&rand, vectors->count)].input));
        }
        run_current();
    }
}

static void run_file(const char *path, uint64_t seed, uint64_t seeds, uint64_t inputs)
{
    struct vectors vectors;
    vectors_load(&vectors, path);
    for (size_t i = 0; i < vectors.count; i++) {
        take(buf_bytes(vectors.items[i].input));
        run_current();
    }
    for (uint64_t i = 0; i < seeds; i++) {
        current_seed = seed + i;
        run_seed(&vectors, inputs);
    }
    vectors_finish(&vectors);
}

int main(int argc, char **argv)
{
    static const char option[] = "--inputs=";
    const char *fixed = getenv("PEAL_SEED");
    const char *wanted = getenv("PEAL_SEEDS");
    uint64_t seed = fixed ? strtoull(fixed, NULL, 10) : (uint64_t)time(NULL);
    uint64_t seeds = wanted ? strtoull(wanted, NULL, 10) : 1;
    uint64_t inputs = INPUTS;
    printf("PEAL_SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], option, sizeof(option) - 1) == 0) {
            inputs = strtoull(argv[i] + sizeof(option) - 1, NULL, 10);
            continue;
        }
        run_file(argv[i], seed, seeds > 0 ? seeds : 1, inputs);
    }
    return 0;
}
