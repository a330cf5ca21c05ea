/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that wait: how many there may be, and which go before them.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "codec/base/clock.h"
#include "codec/base/status.h"
#include "tests/unit/sql/both.h"

enum { LISTS = 2000, LIST_ROUNDS = 20 };

static unsigned lists_done;

static void on_list_done(struct store_request *request)
{
    lists_done++;
    harness_done(request);
}

/* Whether the last ping, and the last raise, were answered before all lists were. */
static bool ping_ahead;
static bool raise_ahead;

static void on_check_done(struct store_request *request)
{
    cr_expect_eq(request->status, 0);
    *(request->op == STORE_PING ? &ping_ahead : &raise_ahead) = lists_done < LISTS;
    harness_done(request);
}

static void ask_behind_lists(struct harness *harness)
{
    static struct store_list lists[LISTS];
    lists_done = 0;
    for (unsigned i = 0; i < LISTS; i++) {
        lists[i] = (struct store_list){
            .base = {.op = STORE_LIST, .done = on_list_done}, .who = user_of("alice"), .limit = 10};
        store_submit(harness->shards[0].port, &lists[i].base);
    }
    struct store_request ping = {.op = STORE_PING, .done = on_check_done};
    struct store_witness witness = {
        .base = {.op = STORE_WITNESS_RAISE, .done = on_check_done}, .node = BYTES("n1")};
    store_submit(harness->shards[0].port, &ping);
    store_submit(harness->shards[0].port, &witness.base);
    harness_wait_all(harness, 0, LISTS + 2);
    for (unsigned i = 0; i < LISTS; i++) {
        cr_assert_eq(lists[i].base.status, 0);
        store_request_finish(&lists[i].base);
    }
}

/* Whoever asks many things does not make the store look as if it were away. (A thread that reads
 * may have read all before it is asked: not every time.) */
BOTH(what_tells_of_the_store_itself_does_not_wait_for_others)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_row row = row_of(user_of("alice"), 1, 1);
    put_row(&harness, &row);
    expect_position(&harness, user_of("alice"), 1, 1, 1); /* by now it reads */
    bool ahead = false;
    for (unsigned i = 0; i < LIST_ROUNDS && !ahead; i++) {
        ask_behind_lists(&harness);
        ahead = ping_ahead && raise_ahead;
    }
    cr_expect(ahead, "they wait behind all that was asked before");
    harness_close(&harness);
}

/* A request that may wait for long. */
struct waiter {
    union {
        struct store_request base; /* first */
        struct store_get get;
    } op;
    uint64_t waited_ms;
};

static void on_waited(struct store_request *request)
{
    struct waiter *waiter = (struct waiter *)request;
    waiter->waited_ms = clock_mono_ms() - request->started_ns / 1000000;
    harness_done(request);
}

/* Whether it was carried out, or given up after the time that requests may wait (sql/README.md). */
static bool was_served(const struct waiter *waiter, int status)
{
    enum { QUEUE_MS = 4000 };
    int got = waiter->op.base.status;
    return got == status || (got == STATUS_UNAVAILABLE && waiter->waited_ms >= QUEUE_MS);
}

static void submit_waiter(struct harness *harness, struct waiter *waiter, enum store_op op)
{
    waiter->op.base = (struct store_request){.op = op, .done = on_waited};
    store_submit(harness->shards[0].port, &waiter->op.base);
}

/* What does not fit is refused at once and counted; what waited is carried out. */
BOTH(more_requests_than_may_wait_are_refused_and_counted)
{
    enum { MORE = 3, ALL = 16384 + MORE, CHECKS = 16 };
    struct harness harness;
    harness_open(&harness, url);
    struct waiter *gets = calloc(ALL, sizeof(*gets));
    cr_assert(gets != NULL);
    for (unsigned i = 0; i < ALL; i++) {
        submit_waiter(&harness, &gets[i], STORE_GET);
    }
    cr_expect_eq(store_port_refused(harness.shards[0].port), MORE);
    cr_expect(harness_is_healthy(harness.store), "that so many wait says nothing of the store");
    struct waiter checks[CHECKS + 1] = {0}; /* what is refused is held, too, until it is told */
    for (unsigned i = 0; i <= CHECKS; i++) {
        submit_waiter(&harness, &checks[i], STORE_PING);
    }
    cr_expect_eq(store_port_refused(harness.shards[0].port), 2 * MORE + 1);
    harness_wait_all(&harness, 0, ALL + CHECKS + 1);
    for (unsigned i = 0; i <= CHECKS; i++) {
        bool refused = i >= CHECKS - MORE;
        cr_expect(
            refused ? checks[i].op.base.status == STATUS_UNAVAILABLE : was_served(&checks[i], 0),
            "check %u: %d", i, checks[i].op.base.status);
    }
    struct store_request again = {.op = STORE_PING};
    cr_expect_eq(harness_run(&harness, 0, &again), 0, "there is room again");
    cr_expect_eq(gets[0].op.base.status, STATUS_NOT_FOUND, "the first has not waited");
    for (unsigned i = 0; i < ALL; i++) {
        bool refused = i >= ALL - MORE;
        cr_assert(refused ? gets[i].op.base.status == STATUS_UNAVAILABLE
                          : was_served(&gets[i], STATUS_NOT_FOUND),
            "%u: %d after %llu ms", i, gets[i].op.base.status,
            (unsigned long long)gets[i].waited_ms);
        store_request_finish(&gets[i].op.base);
    }
    free(gets);
    harness_close(&harness);
}
