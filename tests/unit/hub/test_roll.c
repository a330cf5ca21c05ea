/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists that nodes put together: the first rows behind a name, whoever has them and in whatever
 * order they come.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/rand.h"
#include "hub/api/roll.h"
#include "hub/api/roll_walk.h"

TestSuite(roll, .timeout = 60);

enum { NODES = 4, NAMES = 60, SEEDS = 200 };

static struct bytes name_of(unsigned n, char at[16])
{
    snprintf(at, 16, n % 3 == 0 ? "a:%02u" : "b:%02u", n);
    return bytes_str(at);
}

/* What each node has of each name. */
static unsigned has[NODES][NAMES];

/* The rows that a node adds, offered in an order of its own. */
static void fill(struct roll *roll, struct rand *rand, const unsigned sockets[NAMES])
{
    unsigned order[NAMES];
    for (unsigned i = 0; i < NAMES; i++) {
        unsigned j = (unsigned)rand_below(rand, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    for (unsigned i = 0; i < NAMES; i++) {
        char at[16];
        struct bytes name = name_of(order[i], at);
        if (sockets[order[i]] > 0 && roll_wants(roll, name)) {
            roll_add(roll, name, sockets[order[i]], 1, BYTES("\"x\":1"));
        }
    }
}

static struct roll empty(const char *after, const char *prefix, size_t most)
{
    return (struct roll){.after = bytes_str(after), .prefix = bytes_str(prefix), .most = most};
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(left, right);
}

/* All names that anybody has, behind `after` and with `prefix`, in order. */
static size_t expected(const char *after, const char *prefix, char names[NAMES][16])
{
    size_t count = 0;
    for (unsigned n = 0; n < NAMES; n++) {
        char at[16];
        (void)name_of(n, at);
        bool any = false;
        for (unsigned node = 0; node < NODES; node++) {
            any = any || has[node][n] > 0;
        }
        if (any && strcmp(at, after) > 0 && strncmp(at, prefix, strlen(prefix)) == 0) {
            memcpy(names[count++], at, sizeof(at));
        }
    }
    qsort(names, count, sizeof(names[0]), compare_names);
    return count;
}

static void expect_row(const struct roll_row *row, const char *name)
{
    uint64_t sockets = 0;
    uint64_t nodes = 0;
    cr_assert(
        bytes_eq_str(roll_name(row), name), "%.*s, not %s", (int)row->name_len, row->at, name);
    for (unsigned n = 0; n < NAMES; n++) {
        char at[16];
        if (!bytes_eq_str(name_of(n, at), name)) {
            continue;
        }
        for (unsigned node = 0; node < NODES; node++) {
            sockets += has[node][n];
            nodes += has[node][n] > 0;
        }
    }
    cr_expect(row->sockets == sockets && row->nodes == nodes);
    cr_expect(bytes_eq_str(roll_text(row), "\"x\":1"));
}

Test(roll, pages_of_all_nodes_are_those_of_one_list)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct rand rand;
        rand_init(&rand, seed);
        for (unsigned node = 0; node < NODES; node++) {
            for (unsigned n = 0; n < NAMES; n++) {
                has[node][n] = rand_below(&rand, 3) == 0 ? (unsigned)rand_below(&rand, 9) : 0;
            }
        }
        size_t most = 1 + (size_t)rand_below(&rand, 12);
        const char *prefix = rand_below(&rand, 2) == 0 ? "" : "b:";
        char after[16] = "";
        bool more = true;
        while (more) {
            struct roll all = empty(after, prefix, most);
            for (unsigned node = 0; node < NODES; node++) {
                struct roll part = empty(after, prefix, most);
                struct builder text = {0};
                fill(&part, &rand, has[node]);
                roll_write(&part, &text);
                cr_assert(roll_read(&all, builder_bytes(&text)));
                builder_reset(&text);
                roll_finish(&part);
            }
            char names[NAMES][16];
            size_t count = expected(after, prefix, names);
            cr_assert_eq(all.count, count < most ? count : most, "seed %u", (unsigned)seed);
            cr_assert_eq(all.more, count > most);
            for (size_t i = 0; i < all.count; i++) {
                expect_row(all.rows[i], names[i]);
            }
            more = all.more;
            if (more) {
                memcpy(after, names[most - 1], sizeof(after));
            }
            roll_finish(&all);
        }
    }
}

Test(roll, what_is_no_list_is_refused)
{
    static const char *const wrong[] = {"", "[]", "{}", "{\"rows\":7}", "{\"rows\":[7]}",
        "{\"rows\":[{}]}", "{\"rows\":[{\"name\":\"a\"}]}",
        "{\"rows\":[{\"name\":\"a\",\"sockets\":-1,\"nodes\":1,\"text\":{}}]}",
        "{\"rows\":[{\"name\":\"a\",\"sockets\":1,\"nodes\":1,\"text\":[]}]}"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct roll roll = empty("", "", 5);
        cr_expect(!roll_read(&roll, bytes_str(wrong[i])), "%s", wrong[i]);
        roll_finish(&roll);
    }
}

Test(roll, a_question_is_read_as_it_was_written)
{
    struct roll_question asked = {.kind = ROLL_CONNECTIONS, .limit = 7};
    struct roll_question read = {0};
    struct builder text = {0};
    roll_question_set(&asked.tenant, asked.tenant_at, BYTES("red"));
    roll_question_set(&asked.after, asked.after_at, BYTES("a\"b"));
    roll_question_set(&asked.user, asked.user_at, BYTES("\xc3\xa4nn"));
    roll_question_write(&asked, "epoch", &text);
    cr_assert(roll_question_read(builder_bytes(&text), "epoch", &read));
    cr_expect(read.kind == ROLL_CONNECTIONS && read.limit == 7);
    cr_expect(bytes_eq(read.tenant, asked.tenant) && bytes_eq(read.after, asked.after));
    cr_expect(bytes_eq(read.user, asked.user) && read.room.len == 0 && read.prefix.len == 0);
    cr_expect(!roll_question_read(builder_bytes(&text), "another", &read), "of another store");
    builder_reset(&text);
    static const char *const wrong[] = {"", "7", "{}", "{\"epoch\":\"e\",\"kind\":9,\"limit\":1}",
        "{\"epoch\":\"e\",\"kind\":1,\"limit\":0}", "{\"epoch\":\"e\",\"kind\":1,\"limit\":101}",
        "{\"epoch\":\"e\",\"kind\":1,\"limit\":1,\"tenant\":7}"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        cr_expect(!roll_question_read(bytes_str(wrong[i]), "e", &read), "%s", wrong[i]);
    }
}
