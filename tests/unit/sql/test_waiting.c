/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that wait: how many there may be, and which go before them.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

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

/* What does not fit is refused at once and counted; what waited is carried out. */
BOTH(more_requests_than_may_wait_are_refused_and_counted)
{
    enum { MORE = 3, ALL = 16384 + MORE, CHECKS = 16 };
    struct harness harness;
    harness_open(&harness, url);
    struct store_get *gets = calloc(ALL, sizeof(*gets));
    cr_assert(gets != NULL);
    for (unsigned i = 0; i < ALL; i++) {
        gets[i].base = (struct store_request){.op = STORE_GET, .done = harness_done};
        store_submit(harness.shards[0].port, &gets[i].base);
    }
    cr_expect_eq(store_port_refused(harness.shards[0].port), MORE);
    cr_expect(harness_is_healthy(harness.store), "that so many wait says nothing of the store");
    struct store_request checks[CHECKS + 1]; /* what is refused is held, too, until it is told */
    for (unsigned i = 0; i <= CHECKS; i++) {
        checks[i] = (struct store_request){.op = STORE_PING, .done = harness_done};
        store_submit(harness.shards[0].port, &checks[i]);
    }
    cr_expect_eq(store_port_refused(harness.shards[0].port), 2 * MORE + 1);
    harness_wait_all(&harness, 0, ALL + CHECKS + 1);
    for (unsigned i = 0; i <= CHECKS; i++) {
        cr_expect_eq(checks[i].status, i < CHECKS - MORE ? 0 : STATUS_UNAVAILABLE, "check %u", i);
    }
    struct store_request again = {.op = STORE_PING};
    cr_expect_eq(harness_run(&harness, 0, &again), 0, "there is room again");
    for (unsigned i = 0; i < ALL; i++) {
        bool refused = i >= ALL - MORE;
        cr_assert_eq(gets[i].base.status, refused ? STATUS_UNAVAILABLE : STATUS_NOT_FOUND, "%u", i);
        store_request_finish(&gets[i].base);
    }
    free(gets);
    harness_close(&harness);
}
