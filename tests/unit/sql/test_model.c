/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random histories on a store and on the model (model.h): after each operation both must agree, and
 * at checkpoints all that can be read. One that fails is tried again with fewer operations, until
 * none can be left out; those are told.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "tests/support/seed.h"
#include "tests/unit/sql/both.h"
#include "tests/unit/sql/model_run.h"

enum {
    OPERATIONS = 1000, /* of a history */
    CHECKPOINT = 100, /* one after so many */
    HISTORIES = 2,
    HISTORIES_FULL = 100, /* with PEAL_FULL=1 */
    SEEDS_EACH = 20, /* of PEAL_SEEDS: a history is as long as so many of other tests */
    TRIALS_MAX = 200, /* to make a failed one shorter */
    PATIENCE_S = 300,
};

struct history {
    const char *engine;
    uint64_t seed;
    size_t end; /* operations up to here */
    bool skips[OPERATIONS];
    bool traces;
    size_t *reached; /* shared with the process that plays it */
};

static void begin_operation(struct run *run, const struct history *history, size_t step)
{
    run->step = *history->reached = step;
    rand_init(&run->rand, (history->seed << 20) + step + 1);
}

/* In a process of its own; returns where all agrees. */
static void play_here(const struct history *history, const char *url)
{
    struct run *run = mem_alloc(sizeof(*run));
    harness_open(&run->harness, url);
    model_init(&run->model, clock_wall_ms() + 1000000000); /* before it nothing expires by itself */
    run->traces = history->traces;
    run->model.mends_at_once = history->engine[0] == 's';
    run->gathers = history->seed % 3 > 0;
    for (size_t i = 0; i < history->end; i++) {
        begin_operation(run, history, i);
        if (!history->skips[i]) {
            run_operation(run);
        }
        if (i % CHECKPOINT == CHECKPOINT - 1) {
            run_checkpoint(run, false);
        }
    }
    begin_operation(run, history, history->end);
    run_checkpoint(run, true);
    harness_close(&run->harness);
    mem_free(run);
}

/* With what its process ended; *history->reached says how far it came. */
static int play_once(const struct history *history, bool tells)
{
    int status = 0;
    char url[URL_MAX];
    harness_url(
        history->engine, url); /* here: its name has our pid, those of children come again */
    (void)fflush(stderr);
    pid_t child = fork();
    if (child == 0) {
        alarm(PATIENCE_S);
        if (!tells && freopen("/dev/null", "w", stderr) == NULL) {
            _exit(RUN_IS_LOST);
        }
        play_here(history, url);
        _exit(0);
    }
    cr_assert_gt(child, 0);
    cr_assert_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : RUN_HAS_FAILED;
}

/* Whether store and model agree all the way. One that lost an answer is played again. */
static bool play(const struct history *history, bool tells)
{
    enum { TRIES = 5 };
    int ended = RUN_IS_LOST;
    for (unsigned i = 0; i < TRIES && ended == RUN_IS_LOST; i++) {
        ended = play_once(history, tells);
    }
    return ended == 0;
}

/* Leave `count` operations out from `from` on, where it fails without them too. */
static void leave_out(struct history *history, size_t from, size_t count)
{
    bool before[OPERATIONS];
    size_t end = history->end;
    bool any = false;
    memcpy(before, history->skips, sizeof(before));
    for (size_t i = from; i < from + count && i < history->end; i++) {
        any |= !history->skips[i];
        history->skips[i] = true;
    }
    if (any && play(history, false)) {
        memcpy(history->skips, before, sizeof(before));
    } else if (any && *history->reached + 1 < end) {
        history->end = *history->reached + 1;
    }
}

/* Of a history that has failed: as few operations as can be had with so many trials. */
static void shorten(struct history *history)
{
    size_t trials = 0;
    history->end = *history->reached + 1 < history->end ? *history->reached + 1 : history->end;
    for (size_t size = history->end / 2; size > 0; size /= 2) {
        for (size_t from = 0; from < history->end && trials < TRIALS_MAX; from += size, trials++) {
            leave_out(history, from, size);
        }
    }
    (void)fprintf(stderr, "the shortest history:\n");
    history->traces = true;
    (void)play(history, true);
}

static size_t count_histories(void)
{
    const char *full = getenv("PEAL_FULL");
    const char *seeds = getenv("PEAL_SEEDS");
    if (full != NULL && *full != '\0') {
        return HISTORIES_FULL;
    }
    size_t asked = seeds != NULL ? strtoul(seeds, NULL, 10) / SEEDS_EACH : 0;
    return asked > HISTORIES ? asked : HISTORIES;
}

static void play_all(const char *engine)
{
    uint64_t first = seed_draw();
    struct history history = {.engine = engine};
    history.reached = mmap(
        NULL, sizeof(*history.reached), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(history.reached, MAP_FAILED);
    for (uint64_t i = 0; i < count_histories(); i++) {
        history.seed = first + i;
        history.end = OPERATIONS;
        if (!play(&history, true)) {
            (void)fprintf(stderr, "PEAL_SEED=%lu\n", history.seed);
            shorten(&history);
            cr_assert_fail("%s and the model do not agree: PEAL_SEED=%lu", engine, history.seed);
        }
    }
    (void)munmap(history.reached, sizeof(*history.reached));
}

Test(sqlite, is_what_the_model_says, .timeout = 3000)
{
    play_all("sqlite");
}

Test(postgres, is_what_the_model_says, .timeout = 3000)
{
    play_all("postgres");
}
