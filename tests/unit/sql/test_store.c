/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's interface, the same tests on both engines.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "codec/base/status.h"
#include "sql/engine.h"
#include "tests/unit/sql/both.h"

TestSuite(sqlite, .timeout = 120);
TestSuite(postgres, .timeout = 120);

BOTH(keeps_every_byte_of_a_row)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_row row = row_of(user_of("alice \xf0\x9f\x94\x94/'\""), 1, 1);
    give_row(&row, (struct store_user){BYTES("acme"), row.who.user});
    row.data = bytes_of("{\"a\":\"\\u0000\"}\n \xc3\xa4\\", 19);
    row.message = BYTES("");
    row.expires_at = 1900000000001;
    put_row(&harness, &row);
    cr_expect_eq(row.outcome, OUTCOME_STORED);
    cr_expect_eq(row.seq, 1);
    cr_expect_eq(row.rev, 1);
    cr_expect_eq(row.unread, 1);

    struct store_get get = {.base.op = STORE_GET, .who.tenant = BYTES("acme")};
    memcpy(get.id, row.id, NOTIFICATION_ID_LEN);
    cr_assert_eq(harness_run(&harness, 1, &get.base), 0);
    const struct notification_item *item = &get.item;
    cr_expect(memcmp(item->id, row.id, NOTIFICATION_ID_LEN) == 0);
    cr_expect(bytes_eq(item->tenant, row.who.tenant));
    cr_expect(bytes_eq(item->user, row.who.user));
    cr_expect(bytes_eq(item->type, row.type));
    cr_expect(bytes_eq(item->title, row.title));
    cr_expect(bytes_eq(item->message, row.message));
    cr_expect(bytes_eq(item->data, row.data));
    cr_expect_eq(item->priority, NOTIFICATION_HIGH);
    cr_expect_eq(item->state, NOTIFICATION_UNREAD);
    cr_expect_eq(item->seq, 1);
    cr_expect_eq(item->rev, 1);
    cr_expect_eq(item->created_at, row.created_at);
    cr_expect_eq(item->expires_at, row.expires_at);
    cr_expect_eq(item->read_at, 0);
    store_request_finish(&get.base);

    get.who.tenant = BYTES("other");
    cr_expect_eq(harness_run(&harness, 1, &get.base), STATUS_NOT_FOUND);
    store_request_finish(&get.base);
    get.who.tenant = BYTES("acme");
    get.id[0] ^= 1;
    cr_expect_eq(harness_run(&harness, 1, &get.base), STATUS_NOT_FOUND);
    store_request_finish(&get.base);
    harness_close(&harness);
}

BOTH(the_witness_only_grows)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_witness witness = {.base.op = STORE_WITNESS_READ, .node = BYTES("n1")};
    cr_assert_eq(harness_run(&harness, 0, &witness.base), 0);
    cr_expect_eq(witness.number, 0, "no row");
    for (uint64_t i = 1; i <= 3; i++) {
        witness.base.op = STORE_WITNESS_RAISE;
        cr_assert_eq(harness_run(&harness, i % 2, &witness.base), 0);
        cr_expect_eq(witness.number, i);
        witness.base.op = STORE_WITNESS_READ;
        cr_assert_eq(harness_run(&harness, 2, &witness.base), 0);
        cr_expect_eq(witness.number, i);
    }
    witness.node = BYTES("n2");
    cr_assert_eq(harness_run(&harness, 0, &witness.base), 0);
    cr_expect_eq(witness.number, 0, "another node's row");
    witness.node = BYTES("");
    cr_expect_eq(harness_run(&harness, 0, &witness.base), STATUS_INVALID);
    harness_close(&harness);
}

BOTH(refuses_an_id_of_another_slot)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_row row = row_of(user_of("alice"), 1, 1);
    row.id[7] ^= 1;
    struct store_put put = {.base.op = STORE_PUT, .rows = &row, .count = 1};
    cr_expect_eq(harness_run(&harness, 0, &put.base), STATUS_INVALID);
    row.id[7] ^= 1;
    put_row(&harness, &row);
    uint8_t strange[1][NOTIFICATION_ID_LEN];
    memcpy(strange[0], row.id, NOTIFICATION_ID_LEN);
    strange[0][7] ^= 1; /* the same id but for its slot is nobody's */
    struct store_mark mark = mark_of(user_of("alice"), NOTIFICATION_MARK_READ, 5);
    mark.ids = (const uint8_t(*)[NOTIFICATION_ID_LEN])strange;
    mark.id_count = 1;
    cr_assert_eq(harness_run(&harness, 0, &mark.base), 0);
    cr_expect_not(mark.changed);
    store_request_finish(&mark.base);
    harness_close(&harness);
}

BOTH(repeats_get_the_first_ones_id)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row first = row_of(who, 1, 1);
    put_row(&harness, &first);
    struct store_row repeat = row_of(who, 1, 1);
    put_row(&harness, &repeat);
    cr_expect_eq(repeat.outcome, OUTCOME_DUPLICATE);
    cr_expect(memcmp(repeat.id, first.id, NOTIFICATION_ID_LEN) == 0);
    cr_expect_eq(repeat.seq, 1);
    cr_expect_eq(repeat.rev, 1);
    struct store_row conflict = row_of(who, 1, 2);
    put_row(&harness, &conflict);
    cr_expect_eq(conflict.outcome, OUTCOME_CONFLICT);
    cr_expect(memcmp(conflict.id, first.id, NOTIFICATION_ID_LEN) == 0);
    expect_position(&harness, who, 1, 1, 1);

    struct store_row elsewhere = row_of(user_of("bob"), 1, 1);
    memcpy(elsewhere.key_hash, first.key_hash, STORE_HASH_LEN);
    put_row(&harness, &elsewhere);
    cr_expect_eq(elsewhere.outcome, OUTCOME_STORED, "another user's key");

    /* Within one request, and after the row is gone. */
    struct store_row rows[] = {
        row_of(who, 2, 2), row_of(who, 2, 2), row_of(who, 3, 3), row_of(who, 2, 4), first};
    struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = ARRAY_LEN(rows)};
    cr_assert_eq(harness_run(&harness, 2, &put.base), 0);
    store_request_finish(&put.base);
    static const struct {
        enum store_outcome outcome;
        uint64_t seq, rev;
    } wanted[] = {{OUTCOME_STORED, 2, 2}, {OUTCOME_DUPLICATE, 2, 2}, {OUTCOME_STORED, 3, 3},
        {OUTCOME_CONFLICT, 2, 2}, {OUTCOME_DUPLICATE, 1, 1}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect_eq(rows[i].outcome, wanted[i].outcome, "row %zu: %d", i, rows[i].outcome);
        cr_expect_eq(rows[i].seq, wanted[i].seq, "row %zu: seq %lu", i, rows[i].seq);
        cr_expect_eq(rows[i].rev, wanted[i].rev, "row %zu: rev %lu", i, rows[i].rev);
    }
    cr_expect(memcmp(rows[1].id, rows[0].id, NOTIFICATION_ID_LEN) == 0);
    cr_expect_eq(rows[0].unread, 2);
    cr_expect_eq(rows[2].unread, 3);

    struct store_mark erase = erase_of(who, 5);
    cr_assert_eq(harness_run(&harness, 0, &erase.base), 0);
    cr_expect_eq(erase.change_count, 3);
    store_request_finish(&erase.base);
    put_row(&harness, &repeat);
    cr_expect_eq(repeat.outcome, OUTCOME_DUPLICATE, "keys are for ever");
    cr_expect_eq(repeat.seq, 1);
    cr_expect_eq(repeat.rev, 0, "gone");
    expect_position(&harness, who, 3, 4, 0);
    harness_close(&harness);
}

BOTH(numbers_several_users_of_one_request_apart)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user users[] = {user_of("zoe"), user_of("adam"), {BYTES("t"), BYTES("adam")}};
    struct store_row rows[300];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        rows[i] = row_of(users[i % 3], i, i);
    }
    struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = ARRAY_LEN(rows)};
    cr_assert_eq(harness_run(&harness, 0, &put.base), 0);
    store_request_finish(&put.base);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_assert_eq(rows[i].seq, i / 3 + 1);
        cr_assert_eq(rows[i].rev, i / 3 + 1);
        cr_assert_eq(rows[i].unread, i / 3 + 1);
    }
    struct store_user asked[] = {users[2], user_of("nobody"), users[0], users[0]};
    struct store_positions positions = {
        .base.op = STORE_POSITIONS, .users = asked, .count = ARRAY_LEN(asked)};
    cr_assert_eq(harness_run(&harness, 3, &positions.base), 0);
    static const uint64_t seqs[] = {100, 0, 100, 100};
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        cr_expect_eq(positions.positions[i].seq, seqs[i]);
        cr_expect_eq(positions.positions[i].rev, seqs[i]);
        cr_expect_eq(positions.positions[i].unread, seqs[i]);
    }
    store_request_finish(&positions.base);
    harness_close(&harness);
}

BOTH(positions_of_a_thousand_users)
{
    struct harness harness;
    harness_open(&harness, url);
    static char names[STORE_PAGE_MAX + 1][16];
    static struct store_user users[STORE_PAGE_MAX + 1];
    static struct store_row rows[STORE_PAGE_MAX];
    for (size_t i = 0; i <= STORE_PAGE_MAX; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "u%zu", i * 7919 % 1009);
        users[i] = user_of(names[i]);
        if (i < STORE_PAGE_MAX) {
            rows[i] = row_of(users[i], i, i);
        }
    }
    struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = STORE_PAGE_MAX};
    cr_assert_eq(harness_run(&harness, 0, &put.base), 0);
    store_request_finish(&put.base);
    struct store_positions positions = {
        .base.op = STORE_POSITIONS, .users = users, .count = STORE_PAGE_MAX};
    cr_assert_eq(harness_run(&harness, 0, &positions.base), 0);
    for (size_t i = 0; i < STORE_PAGE_MAX; i++) {
        cr_assert_eq(positions.positions[i].seq, rows[i].seq);
        cr_assert_eq(positions.positions[i].unread, 1);
    }
    store_request_finish(&positions.base);
    positions.count = STORE_PAGE_MAX + 1;
    cr_expect_eq(harness_run(&harness, 0, &positions.base), STATUS_INVALID);
    positions.count = 0;
    cr_expect_eq(harness_run(&harness, 0, &positions.base), 0);
    store_request_finish(&positions.base);
    harness_close(&harness);
}

BOTH(refuses_values_no_engine_can_keep)
{
    struct harness harness;
    harness_open(&harness, url);
    static char long_name[1025];
    memset(long_name, 'x', sizeof(long_name));
    for (int i = 0; i < 9; i++) {
        struct store_row row = row_of(user_of("alice"), 1, 1);
        switch (i) {
        case 0:
            row.title = bytes_of("a\0b", 3);
            break;
        case 1:
            give_row(&row, (struct store_user){.user = bytes_of("a\0b", 3)});
            break;
        case 2:
            give_row(&row, (struct store_user){bytes_of("\0", 1), row.who.user});
            break;
        case 3:
            give_row(&row, (struct store_user){.user = bytes_of(long_name, sizeof(long_name))});
            break;
        case 4:
            row.created_at = UINT64_MAX;
            break;
        case 5:
            row.expires_at = (uint64_t)INT64_MAX + 1;
            break;
        case 6:
            row.message = bytes_of("\0", 1);
            break;
        case 7:
            row.type = bytes_of(long_name, sizeof(long_name));
            break;
        default:
            row.priority = (enum notification_priority)9;
            break;
        }
        struct store_put put = {.base.op = STORE_PUT, .rows = &row, .count = 1};
        cr_expect_eq(harness_run(&harness, 0, &put.base), STATUS_INVALID, "case %d", i);
    }
    struct store_row row = row_of(user_of("alice"), 1, 1);
    give_row(&row, (struct store_user){bytes_of(long_name, 1024), bytes_of(long_name, 1024)});
    put_row(&harness, &row);
    cr_expect_eq(row.outcome, OUTCOME_STORED);
    struct store_put put = {.base.op = STORE_PUT, .rows = &row, .count = STORE_PAGE_MAX + 1};
    cr_expect_eq(harness_run(&harness, 0, &put.base), STATUS_INVALID);
    struct store_mark mark = mark_of(row.who, NOTIFICATION_VERB_COUNT - 1, 5);
    mark.verb = NOTIFICATION_VERB_COUNT;
    cr_expect_eq(harness_run(&harness, 0, &mark.base), STATUS_INVALID);
    struct store_list list = {.base.op = STORE_LIST, .who = row.who, .limit = 101};
    cr_expect_eq(harness_run(&harness, 0, &list.base), STATUS_INVALID);
    struct store_sync sync = {.base.op = STORE_SYNC, .who = row.who, .limit = 0};
    cr_expect_eq(harness_run(&harness, 0, &sync.base), STATUS_INVALID);
    expect_position(&harness, user_of("alice"), 0, 0, 0);
    harness_close(&harness);
}

/* Requests submitted together, each with its own outcome. */
BOTH(a_bad_row_costs_only_its_own_request)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_row taken = row_of(user_of("other"), 1, 1);
    put_row(&harness, &taken);
    enum { REQUESTS = 40 };
    static struct store_row rows[REQUESTS][2];
    static struct store_put puts[REQUESTS];
    for (unsigned i = 0; i < REQUESTS; i++) {
        rows[i][0] = row_of(user_of("alice"), 2 * i, 1);
        rows[i][1] = row_of(user_of("bob"), 2 * i + 1, 1);
        if (i % 13 == 5) { /* an id that is taken: only the database can tell */
            memcpy(rows[i][1].id, taken.id, NOTIFICATION_ID_LEN);
        }
        puts[i] = (struct store_put){
            .base = {.op = STORE_PUT, .done = harness_done}, .rows = rows[i], .count = 2};
        store_submit(harness.shards[0].port, &puts[i].base);
    }
    harness_wait_all(&harness, 0, REQUESTS);
    uint64_t stored = 0;
    for (unsigned i = 0; i < REQUESTS; i++) {
        cr_expect_eq(puts[i].base.status, i % 13 == 5 ? STATUS_INVALID : 0, "request %u: %d", i,
            puts[i].base.status);
        if (i % 13 != 5) {
            stored++;
            cr_expect_eq(rows[i][0].seq, stored, "in the order submitted");
            cr_expect_eq(rows[i][1].seq, stored);
        }
        store_request_finish(&puts[i].base);
    }
    expect_position(&harness, user_of("alice"), stored, stored, stored);
    expect_position(&harness, user_of("bob"), stored, stored, stored);
    harness_close(&harness);
}

/* A page ends with the row that fills it; what is not told is not read. */
BOTH(a_list_ends_at_its_bytes)
{
    enum { ROWS = 12, DATA = 1000, MOST = 3500, PAGE = 4 };
    char data[DATA + 1];
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("heavy");
    memset(data, '1', DATA);
    data[DATA] = '\0';
    for (size_t i = 0; i < ROWS; i++) {
        struct store_row row = row_of(who, i, i);
        row.data = bytes_of(data, DATA);
        put_row(&harness, &row);
    }
    struct store_list list = {.base.op = STORE_LIST, .who = who, .limit = 100, .max_bytes = MOST};
    for (uint64_t from = ROWS; from > 0; from -= PAGE) {
        cr_assert_eq(harness_run(&harness, 0, &list.base), 0);
        cr_assert_eq(list.count, PAGE);
        cr_expect_eq(list.items[0].seq, from);
        cr_expect_eq(list.next.seq, from > PAGE ? from - PAGE + 1 : 0);
        list.before = list.next;
        store_request_finish(&list.base);
    }
    list.before = (struct store_cursor){0};
    list.max_bytes = 1;
    cr_assert_eq(harness_run(&harness, 0, &list.base), 0);
    cr_expect_eq(list.count, 1, "one whatever its size");
    cr_expect_eq(list.next.seq, ROWS);
    store_request_finish(&list.base);
    list.limit = 2;
    list.max_bytes = MOST;
    cr_assert_eq(harness_run(&harness, 0, &list.base), 0);
    cr_expect_eq(list.count, 2, "the limit still holds");
    store_request_finish(&list.base);
    harness_close(&harness);
}

BOTH(lists_newest_first_by_cursor)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row rows[25];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        rows[i] = row_of(who, i, i);
        rows[i].type = i % 5 == 0 ? BYTES("alert") : BYTES("invoice");
        put_row(&harness, &rows[i]);
    }
    struct store_mark mark = mark_of(who, NOTIFICATION_MARK_ARCHIVE, 5);
    mark.up_to = 3;
    cr_assert_eq(harness_run(&harness, 0, &mark.base), 0);
    store_request_finish(&mark.base);
    struct store_list list = {.base.op = STORE_LIST, .who = who, .limit = 10};
    uint64_t wanted = 25;
    unsigned pages = 0;
    do {
        cr_assert_eq(harness_run(&harness, 0, &list.base), 0);
        for (size_t i = 0; i < list.count; i++) {
            cr_expect_eq(list.items[i].seq, wanted);
            wanted--;
        }
        cr_expect_eq(list.position.rev, 26);
        cr_expect_eq(list.position.unread, 22);
        list.before = list.next;
        pages++;
        store_request_finish(&list.base);
    } while (list.before.seq != 0);
    cr_expect_eq(wanted, 3, "all that are not archived");
    cr_expect_eq(pages, 3);

    static const struct {
        uint32_t states, limit;
        const char *type;
        uint64_t before, count, first, next;
    } cases[] = {
        {1u << NOTIFICATION_ARCHIVED, 10, "", 0, 3, 3, 0},
        {1u << NOTIFICATION_ARCHIVED | 1u << NOTIFICATION_UNREAD, 100, "", 0, 25, 25, 0},
        {0, 22, "", 0, 22, 25, 0},
        {0, 21, "", 0, 21, 25, 5},
        {0, 100, "alert", 0, 4, 21, 0},
        {0, 2, "alert", 21, 2, 16, 11},
        {0, 100, "none", 0, 0, 0, 0},
        {1u << NOTIFICATION_READ, 100, "", 0, 0, 0, 0},
        {0, 5, "", 1, 0, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct bytes type = bytes_str(cases[i].type);
        struct store_list one = {.base.op = STORE_LIST,
            .who = who,
            .limit = cases[i].limit,
            .states = cases[i].states,
            .types = &type,
            .type_count = type.len > 0,
            .before = {cases[i].before, cases[i].before}};
        cr_assert_eq(harness_run(&harness, 0, &one.base), 0);
        cr_expect_eq(one.count, cases[i].count, "case %zu: %zu", i, one.count);
        cr_expect_eq(one.count > 0 ? one.items[0].seq : 0, cases[i].first, "case %zu", i);
        cr_expect_eq(one.next.seq, cases[i].next, "case %zu: %lu", i, one.next.seq);
        store_request_finish(&one.base);
    }
    struct store_list empty = {.base.op = STORE_LIST, .who = user_of("nobody"), .limit = 5};
    cr_assert_eq(harness_run(&harness, 0, &empty.base), 0);
    cr_expect_eq(empty.count, 0);
    cr_expect_eq(empty.position.rev, 0);
    store_request_finish(&empty.base);
    harness_close(&harness);
}

BOTH(fences_and_claims)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_claim claim = {.base.op = STORE_CLAIM, .partition = 3, .owner = BYTES("node-a")};
    cr_assert_eq(harness_run(&harness, 0, &claim.base), 0);
    uint64_t token_a = claim.token;
    cr_expect_gt(token_a, 0);
    cr_expect_eq(claim.last_id.len, 0);
    store_request_finish(&claim.base);
    struct store_row row = row_of(user_of("alice"), 1, 1);
    struct store_put put = {.base.op = STORE_PUT,
        .rows = &row,
        .count = 1,
        .fenced = true,
        .partition = 3,
        .token = token_a,
        .last_id = BYTES("1-0")};
    cr_assert_eq(harness_run(&harness, 0, &put.base), 0);
    cr_expect_eq(row.outcome, OUTCOME_STORED);
    store_request_finish(&put.base);
    put.count = 0;
    put.last_id = BYTES("2-0");
    cr_assert_eq(harness_run(&harness, 0, &put.base), 0, "only the position moves");
    store_request_finish(&put.base);

    claim.owner = BYTES("node-b");
    cr_assert_eq(harness_run(&harness, 1, &claim.base), 0);
    cr_expect_gt(claim.token, token_a);
    cr_expect(bytes_eq_str(claim.last_id, "2-0"));
    uint64_t token_b = claim.token;
    store_request_finish(&claim.base);

    struct store_row late[] = {row_of(user_of("alice"), 2, 2), row_of(user_of("bob"), 3, 3)};
    put.rows = late;
    put.count = 2;
    put.last_id = BYTES("9-0");
    cr_expect_eq(harness_run(&harness, 0, &put.base), STATUS_FENCED);
    put.count = 0;
    cr_expect_eq(harness_run(&harness, 0, &put.base), STATUS_FENCED);
    put.partition = 4;
    put.token = 0;
    cr_expect_eq(harness_run(&harness, 0, &put.base), STATUS_FENCED, "never claimed");
    expect_position(&harness, user_of("alice"), 1, 1, 1);
    expect_position(&harness, user_of("bob"), 0, 0, 0);
    put.partition = 3;
    put.token = token_b;
    put.rows = late;
    put.count = 2;
    put.last_id = BYTES("3-0");
    cr_expect_eq(harness_run(&harness, 1, &put.base), 0);
    store_request_finish(&put.base);
    cr_assert_eq(harness_run(&harness, 2, &claim.base), 0);
    cr_expect(bytes_eq_str(claim.last_id, "3-0"));
    store_request_finish(&claim.base);
    harness_close(&harness);
}

BOTH(the_epoch_stays_until_it_is_replaced)
{
    struct harness harness;
    harness_open(&harness, url);
    char first[64];
    (void)snprintf(first, sizeof(first), "%s", store_epoch(harness.store));
    cr_expect_eq(strlen(first), 36);
    struct store_row row = row_of(user_of("alice"), 1, 1);
    put_row(&harness, &row);
    harness_close(&harness);

    harness_open(&harness, url); /* migrations a second time */
    cr_expect_str_eq(store_epoch(harness.store), first);
    expect_position(&harness, user_of("alice"), 1, 1, 1);
    cr_assert_eq(store_new_epoch(harness.store), 0);
    char second[64];
    (void)snprintf(second, sizeof(second), "%s", store_epoch(harness.store));
    cr_expect_str_neq(second, first);
    harness_close(&harness);
    harness_open(&harness, url);
    cr_expect_str_eq(store_epoch(harness.store), second);
    harness_close(&harness);
}

BOTH(counts_what_it_ran)
{
    struct harness harness;
    harness_open(&harness, url);
    for (uint64_t i = 0; i < 20; i++) {
        struct store_row row = row_of(user_of("alice"), i, i);
        put_row(&harness, &row);
    }
    struct store_request ping = {.op = STORE_PING};
    cr_assert_eq(harness_run(&harness, 0, &ping), 0);
    store_request_finish(&ping);
    cr_expect(harness_is_healthy(harness.store));
    struct store_statement_stats stats[64];
    size_t count = store_statements(harness.store, stats, ARRAY_LEN(stats));
    bool pinged = false;
    bool twenty = false;
    for (size_t i = 0; i < count; i++) {
        pinged |= strcmp(stats[i].name, "ping") == 0 && stats[i].count == 1;
        twenty |= stats[i].count == 20;
        cr_expect_leq(stats[i].min_us, stats[i].p50_us, "%s", stats[i].name);
        cr_expect_leq(stats[i].p50_us, stats[i].p95_us);
        cr_expect_leq(stats[i].p95_us, stats[i].p99_us);
        cr_expect_leq(stats[i].p99_us, stats[i].max_us);
        cr_expect_leq(stats[i].max_us, stats[i].total_us);
    }
    cr_expect(pinged);
    cr_expect(twenty);
    cr_expect_eq(store_statements(harness.store, stats, 1), 1);
    harness_close(&harness);
}

BOTH(a_closing_port_finishes_what_it_has_and_refuses_more)
{
    struct harness harness;
    harness_open(&harness, url);
    enum { REQUESTS = 50 };
    static struct store_row rows[REQUESTS];
    static struct store_put puts[REQUESTS];
    struct shard *shard = &harness.shards[0];
    for (unsigned i = 0; i < REQUESTS; i++) {
        rows[i] = row_of(user_of("alice"), i, i);
        puts[i] = (struct store_put){
            .base = {.op = STORE_PUT, .done = harness_done}, .rows = &rows[i], .count = 1};
        store_submit(shard->port, &puts[i].base);
    }
    store_port_close(shard->port, harness_closed, &shard->closed);
    struct store_row late_row = row_of(user_of("alice"), 99, 1);
    struct store_put late = {
        .base = {.op = STORE_PUT, .done = harness_done}, .rows = &late_row, .count = 1};
    store_submit(shard->port, &late.base);
    harness_wait(&harness, 0, &shard->closed);
    for (unsigned i = 0; i < REQUESTS; i++) {
        cr_expect_eq(puts[i].base.status, 0);
        cr_expect_eq(rows[i].seq, i + 1);
        store_request_finish(&puts[i].base);
    }
    cr_expect_eq(late.base.status, STATUS_UNAVAILABLE);
    harness_close(&harness);
}

static unsigned completions;

static void count_completion(struct store_request *request)
{
    cr_expect_eq(request->status, 0);
    completions++;
}

/* How many requests are carried out and wait for a turn. */
static unsigned count_done(struct store_port *port)
{
    unsigned count = 0;
    pthread_mutex_lock(&port->lock);
    list_for_each (link, &port->done) {
        count++;
    }
    pthread_mutex_unlock(&port->lock);
    return count;
}

/* On SQLite: its writer is a thread, so that all are done before the shard has a turn. */
Test(sqlite, a_turn_completes_a_bounded_number_of_rows)
{
    enum { PUTS = 4, ROWS = 300 };
    static struct store_row rows[PUTS][ROWS];
    struct store_put puts[PUTS];
    char url[URL_MAX];
    struct harness harness;
    harness_url("sqlite", url);
    harness_open(&harness, url);
    struct shard *shard = &harness.shards[0];
    completions = 0;
    for (unsigned i = 0; i < PUTS; i++) {
        for (unsigned j = 0; j < ROWS; j++) {
            rows[i][j] = row_of(user_of("ann"), 1 + i * ROWS + j, 1);
        }
        puts[i] = (struct store_put){
            .base = {.op = STORE_PUT, .done = count_completion}, .rows = rows[i], .count = ROWS};
        store_submit(shard->port, &puts[i].base);
    }
    while (count_done(shard->port) < PUTS) {
        usleep(1000);
    }
    unsigned turns = 0;
    while (completions < PUTS) {
        unsigned before = completions;
        uv_run(&shard->loop, UV_RUN_ONCE);
        cr_expect_leq(completions - before, 2, "%u in one turn", completions - before);
        turns++;
    }
    cr_expect_geq(turns, 2);
    for (unsigned i = 0; i < PUTS; i++) {
        cr_expect_eq(rows[i][0].rev, 1 + i * ROWS, "in their order");
        store_request_finish(&puts[i].base);
    }
    harness_close(&harness);
}
