/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was asked first is carried out first, also when it has to come again.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "tests/unit/sql/audience.h"
#include "tests/unit/sql/both.h"

/* So many posts that they are made in several transactions. */
enum { BACKLOG = 2300, SERVED_MAX = 8 };

/* Requests in the order in which they were answered. */
static const struct store_request *served[SERVED_MAX];
static size_t served_count;

static void note_served(struct store_request *request)
{
    served[served_count++] = request;
    harness_done(request);
}

static void post_backlog(struct harness *harness)
{
    cr_expect(subscribe_to(harness, "ann", "news"));
    for (uint64_t key = 1; key <= BACKLOG; key++) {
        (void)post_to(harness, "news", key);
    }
}

/* Puts, the first of one or two rows, asked for while another is under way: they leave together. */
struct together {
    struct store_row rows[3];
    struct store_put puts[3];
};

static void put_together(struct harness *harness, struct together *together, size_t count)
{
    struct store_row row = row_of(user_of("cid"), 1, 1);
    struct store_put first = {
        .base = {.op = STORE_PUT, .done = harness_done}, .rows = &row, .count = 1};
    served_count = 0;
    store_submit(harness->shards[0].port, &first.base);
    for (size_t i = 0; i < count; i++) {
        struct store_put *put = &together->puts[i];
        put->base = (struct store_request){.op = STORE_PUT, .done = note_served};
        put->rows = put->rows != NULL ? put->rows : &together->rows[i];
        put->count = put->count > 0 ? put->count : 1;
        store_submit(harness->shards[0].port, &put->base);
    }
    harness_wait_all(harness, 0, (unsigned)count + 1);
    cr_expect_eq(first.base.status, 0);
    store_request_finish(&first.base);
    for (size_t i = 0; i < count; i++) {
        store_request_finish(&together->puts[i].base);
    }
}

BOTH(a_fenced_put_that_waits_for_rows_holds_those_behind_it)
{
    static const char *const ids[] = {"7-0", "8-0"};
    struct harness harness;
    harness_open(&harness, url);
    post_backlog(&harness);
    struct store_claim claim = {.base.op = STORE_CLAIM, .partition = 0, .owner = BYTES("n")};
    cr_assert_eq(harness_run(&harness, 0, &claim.base), 0);
    /* Only ann lacks rows: what is asked for behind could be carried out at once. */
    struct together both = {.rows = {row_of(user_of("ann"), 1, 1), row_of(user_of("ben"), 1, 1),
                                row_of(user_of("ben"), 2, 2)}};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        both.puts[i] =
            (struct store_put){.fenced = true, .token = claim.token, .last_id = bytes_str(ids[i])};
    }
    both.puts[0].rows = both.rows;
    both.puts[0].count = 2;
    both.puts[1].rows = &both.rows[2];
    store_request_finish(&claim.base);
    put_together(&harness, &both, ARRAY_LEN(ids));
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        cr_expect_eq(served[i], &both.puts[i].base);
        cr_expect_eq(both.puts[i].base.status, 0);
    }
    cr_expect_eq(both.rows[0].seq, BACKLOG + 1);
    cr_expect_eq(both.rows[1].seq, 1);
    cr_expect_eq(both.rows[2].seq, 2, "in the order of the posts");
    cr_assert_eq(harness_run(&harness, 0, &claim.base), 0);
    cr_expect(bytes_eq_str(claim.last_id, "8-0"), "the position never goes back");
    store_request_finish(&claim.base);
    harness_close(&harness);
}

/* Those without a fence share a transaction that fails as a whole, and comes again in parts. */
BOTH(puts_that_share_a_transaction_come_before_what_was_asked_behind_them)
{
    struct harness harness;
    harness_open(&harness, url);
    post_backlog(&harness);
    struct store_claim claim = {.base.op = STORE_CLAIM, .partition = 0, .owner = BYTES("n")};
    cr_assert_eq(harness_run(&harness, 0, &claim.base), 0);
    struct together three = {.rows = {row_of(user_of("ann"), 1, 1), row_of(user_of("ben"), 1, 1),
                                 row_of(user_of("ben"), 2, 2)}};
    three.puts[2] =
        (struct store_put){.fenced = true, .token = claim.token, .last_id = BYTES("8-0")};
    store_request_finish(&claim.base);
    put_together(&harness, &three, 3);
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(three.puts[i].base.status, 0);
    }
    cr_expect_eq(three.rows[0].seq, BACKLOG + 1);
    cr_expect_eq(three.rows[1].seq, 1);
    cr_expect_eq(three.rows[2].seq, 2, "behind what was asked for before");
    harness_close(&harness);
}

/* What is refused takes nothing with it, and nothing passes those beside it. */
BOTH(what_is_refused_lets_nothing_pass)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_claim claim = {.base.op = STORE_CLAIM, .partition = 0, .owner = BYTES("n")};
    cr_assert_eq(harness_run(&harness, 0, &claim.base), 0);
    struct together three = {.rows = {row_of(user_of("ann"), 1, 1), row_of(user_of("ann"), 2, 2),
                                 row_of(user_of("ann"), 3, 3)}};
    three.rows[1].title = BYTES("\xc3\x28"); /* no UTF-8: Postgres refuses it, SQLite keeps it */
    three.puts[2] =
        (struct store_put){.fenced = true, .token = claim.token, .last_id = BYTES("8-0")};
    store_request_finish(&claim.base);
    put_together(&harness, &three, 3);
    uint64_t kept = three.puts[1].base.status == 0;
    cr_expect_eq(three.rows[0].seq, 1);
    cr_expect_eq(three.puts[2].base.status, 0);
    cr_expect_eq(three.rows[2].seq, 2 + kept, "behind what was asked for before");
    harness_close(&harness);
}
