/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a list leaves out and in which order it goes, and what is counted: against a plain
 * reference.
 */
#include <stdio.h>
#include <stdlib.h>

#include "codec/base/status.h"
#include "tests/support/seed.h"
#include "tests/unit/sql/audience.h"
#include "tests/unit/sql/both.h"

enum { ROWS = 80, ROUNDS = 120, TYPES = 4 };

static const char *const types[TYPES] = {"alert", "comment", "comments", "\xc3\xa4"};

struct entry {
    struct store_row row;
    unsigned type;
    enum notification_state state;
};

struct filled {
    struct harness harness;
    struct store_user who;
    struct rand rand;
    struct entry entries[ROWS]; /* by seq; nothing here is ever snoozed: new_rev is seq */
};

static void fill(struct filled *filled, const char *url)
{
    rand_init(&filled->rand, seed_draw());
    harness_open(&filled->harness, url);
    filled->who = user_of("alice");
    for (size_t i = 0; i < ROWS; i++) {
        struct entry *entry = &filled->entries[i];
        entry->type = (unsigned)rand_below(&filled->rand, TYPES);
        entry->row = row_of(filled->who, i, i);
        entry->row.type = bytes_str(types[entry->type]);
        entry->row.priority =
            (enum notification_priority)rand_below(&filled->rand, NOTIFICATION_PRIORITY_COUNT);
        entry->row.created_at = 1000 + rand_below(&filled->rand, 100);
        put_row(&filled->harness, &entry->row);
    }
    for (size_t i = 0; i < ROWS; i++) {
        struct entry *entry = &filled->entries[i];
        entry->state = (enum notification_state)rand_below(&filled->rand, NOTIFICATION_SNOOZED);
        if (entry->state == NOTIFICATION_UNREAD) {
            continue;
        }
        enum notification_verb verb = entry->state == NOTIFICATION_SEEN ? NOTIFICATION_MARK_SEEN
                                      : entry->state == NOTIFICATION_READ
                                          ? NOTIFICATION_MARK_READ
                                          : NOTIFICATION_MARK_ARCHIVE;
        struct store_mark mark = mark_of(filled->who, verb, 5000);
        mark.ids = (const uint8_t(*)[NOTIFICATION_ID_LEN]) & entry->row.id;
        mark.id_count = 1;
        cr_assert_eq(harness_run(&filled->harness, 0, &mark.base), 0);
        store_request_finish(&mark.base);
    }
}

static bool is_meant(const struct entry *entry, const struct store_list *list)
{
    uint32_t states = list->states ? list->states : NOTIFICATION_LISTED_STATES;
    uint32_t priorities = list->priorities ? list->priorities : UINT32_MAX;
    bool of_type = list->type_count == 0;
    for (size_t i = 0; i < list->type_count; i++) {
        of_type |= bytes_eq(entry->row.type, list->types[i]);
    }
    return of_type && (states >> entry->state & 1) && (priorities >> entry->row.priority & 1) &&
           entry->row.created_at >= list->from &&
           (list->to == 0 || entry->row.created_at < list->to);
}

static void choose(struct filled *filled, struct store_list *list, struct bytes chosen[TYPES])
{
    struct rand *rand = &filled->rand;
    *list = (struct store_list){.base.op = STORE_LIST, .who = filled->who, .types = chosen};
    list->ascending = rand_below(rand, 2) > 0;
    list->states = rand_below(rand, 2) ? 0 : (uint32_t)rand_below(rand, 16);
    list->priorities = rand_below(rand, 2) ? 0 : (uint32_t)rand_below(rand, 16);
    list->from = rand_below(rand, 2) ? 0 : 1000 + rand_below(rand, 100);
    list->to = rand_below(rand, 2) ? 0 : 1000 + rand_below(rand, 100);
    for (unsigned i = 0; i < TYPES && rand_below(rand, 3) > 0; i++) {
        chosen[list->type_count++] = bytes_str(types[rand_below(rand, TYPES)]);
    }
}

BOTH(a_list_has_what_was_asked_for_in_order)
{
    static struct filled filled;
    fill(&filled, url);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct bytes chosen[TYPES];
        struct store_list list;
        choose(&filled, &list, chosen);
        uint64_t at = list.ascending ? 0 : ROWS + 1;
        do {
            list.limit = 1 + (uint32_t)rand_below(&filled.rand, 20);
            cr_assert_eq(harness_run(&filled.harness, round % 4, &list.base), 0);
            for (size_t i = 0; i < list.count; i++) {
                do {
                    at += list.ascending ? 1 : (uint64_t)-1;
                    cr_assert(at >= 1 && at <= ROWS, "round %u: more than there is", round);
                } while (!is_meant(&filled.entries[at - 1], &list));
                cr_assert_eq(
                    list.items[i].seq, at, "round %u: %lu, not %lu", round, list.items[i].seq, at);
            }
            list.before = list.next;
            store_request_finish(&list.base);
        } while (list.before.new_rev > 0);
        for (;;) {
            at += list.ascending ? 1 : (uint64_t)-1;
            if (at < 1 || at > ROWS) {
                break;
            }
            cr_assert_not(is_meant(&filled.entries[at - 1], &list), "%lu is missing", at);
        }
    }
    harness_close(&filled.harness);
}

/* Negative: `a` comes before `b`. */
static int compare_entries(
    const struct entry *a, const struct entry *b, const struct store_page *page)
{
    int order = (a < b) - (a > b); /* entries stand by seq */
    if (page->by_priority && a->row.priority != b->row.priority) {
        order = a->row.priority < b->row.priority ? 1 : -1;
    }
    return page->list.ascending ? -order : order;
}

/* All that is meant, in order. */
static size_t sort_entries(
    struct filled *filled, const struct store_page *page, uint64_t seqs[ROWS])
{
    size_t count = 0;
    for (size_t i = 0; i < ROWS; i++) {
        const struct entry *entry = &filled->entries[i];
        if (!is_meant(entry, &page->list)) {
            continue;
        }
        size_t at = count++;
        for (; at > 0 && compare_entries(entry, &filled->entries[seqs[at - 1] - 1], page) < 0;
             at--) {
            seqs[at] = seqs[at - 1];
        }
        seqs[at] = i + 1;
    }
    return count;
}

static void expect_page(struct filled *filled, struct store_page *page, const uint64_t *seqs,
    size_t count, size_t first)
{
    struct store_list *list = &page->list;
    size_t left = first < count ? count - first : 0;
    cr_assert_eq(harness_run(&filled->harness, first % 4, &list->base), 0);
    cr_assert_eq(
        list->count, left < list->limit ? left : list->limit, "%zu behind %zu", left, first);
    cr_assert_eq(list->next.new_rev > 0, left > list->limit);
    for (size_t i = 0; i < list->count; i++) {
        cr_assert_eq(list->items[i].seq, seqs[first + i]);
    }
    cr_assert_eq(page->total, page->counted ? count : 0);
    cr_assert_eq(list->position.seq, ROWS);
}

BOTH(pages_have_numbers_and_may_go_by_priority)
{
    static struct filled filled;
    fill(&filled, url);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct bytes chosen[TYPES];
        uint64_t seqs[ROWS];
        struct store_page page = {.by_priority = rand_below(&filled.rand, 2) > 0};
        choose(&filled, &page.list, chosen);
        page.list.base.op = STORE_PAGE;
        page.list.limit = 1 + (uint32_t)rand_below(&filled.rand, 20);
        size_t count = sort_entries(&filled, &page, seqs);
        page.counted = rand_below(&filled.rand, 2) > 0;
        for (page.skip = 0; page.skip < count + 30; page.skip += page.list.limit) {
            expect_page(&filled, &page, seqs, count, page.skip);
            store_request_finish(&page.list.base);
        }
        page.skip = 0;
        for (size_t first = 0; first == 0 || page.list.before.new_rev > 0;
             first += page.list.limit) {
            expect_page(&filled, &page, seqs, count, first);
            page.list.before = page.list.next;
            page.rank = page.list.before.new_rev > 0
                            ? (uint32_t)page.list.items[page.list.count - 1].priority
                            : 0;
            store_request_finish(&page.list.base);
        }
    }
    harness_close(&filled.harness);
}

BOTH(pages_do_not_walk_a_whole_inbox_for_what_is_rare)
{
    enum { MORE = 1000, ALL = STORE_PAGED_MAX + MORE };
    static struct store_row rows[MORE];
    struct harness harness;
    struct store_user who = user_of("alice");
    struct bytes rare[] = {BYTES("rare")};
    harness_open(&harness, url);
    for (size_t i = 0; i < ALL; i += MORE) {
        for (size_t j = 0; j < MORE; j++) {
            rows[j] = row_of(who, i + j, i + j);
            rows[j].type = i + j == 0 || i + j == ALL - 1 ? rare[0] : BYTES("other");
        }
        struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = MORE};
        cr_assert_eq(harness_run(&harness, 0, &put.base), 0);
        store_request_finish(&put.base);
    }
    for (unsigned by = 0; by < 3; by++) {
        struct store_page page = {.list = {.base.op = STORE_PAGE,
                                      .who = who,
                                      .limit = 10,
                                      .types = rare,
                                      .type_count = 1,
                                      .ascending = by > 0},
            .by_priority = by > 1,
            .counted = true};
        cr_assert_eq(harness_run(&harness, 0, &page.list.base), 0);
        cr_expect(page.list.count == 1 && page.total == 1 && page.more);
        cr_expect_eq(page.list.items[0].seq, by == 1 ? 1 : ALL);
        store_request_finish(&page.list.base);
    }
    harness_close(&harness);
}

BOTH(pages_end_at_their_bytes)
{
    struct harness harness;
    struct store_user who = user_of("alice");
    char text[1000];
    harness_open(&harness, url);
    memset(text, 'x', sizeof(text));
    for (size_t i = 0; i < 6; i++) {
        struct store_row row = row_of(who, i, i);
        row.message = bytes_of(text, sizeof(text));
        put_row(&harness, &row);
    }
    for (unsigned by = 0; by < 2; by++) {
        struct store_page page = {
            .list = {.base.op = STORE_PAGE, .who = who, .limit = 4, .max_bytes = 1500},
            .by_priority = by > 0,
            .skip = 1};
        cr_assert_eq(harness_run(&harness, 0, &page.list.base), 0);
        cr_expect_eq(page.list.count, 2);
        cr_expect(page.list.next.new_rev > 0, "the page is cut");
        cr_expect_eq(page.list.items[0].seq, 5, "what is skipped does not count");
        store_request_finish(&page.list.base);
    }
    harness_close(&harness);
}

BOTH(texts_are_read_in_pieces_and_what_was_found_by_seq)
{
    static char text[3 * STORE_TEXTS_CHARS];
    struct harness harness;
    struct store_user who = user_of("alice");
    uint64_t seqs[] = {3, 99, 1, 2};
    harness_open(&harness, url);
    for (size_t i = 0; i < sizeof(text); i += 2) {
        memcpy(text + i, "\xc3\xa4", 2);
    }
    for (size_t i = 0; i < 5; i++) {
        struct store_row row = row_of(who, i, i);
        row.title = BYTES("t");
        row.type = i == 2 ? BYTES("other") : BYTES("some");
        row.message = bytes_of(text, i == 1 ? sizeof(text) : 2 * i + 2);
        put_row(&harness, &row);
    }
    struct bytes some[] = {BYTES("some")};
    struct store_list texts = {.base.op = STORE_TEXTS,
        .who = who,
        .limit = 2,
        .types = some,
        .type_count = 1,
        .max_bytes = 100000};
    cr_assert_eq(harness_run(&harness, 0, &texts.base), 0);
    cr_assert_eq(texts.count, 2);
    cr_expect(texts.items[0].seq == 5 && texts.items[1].seq == 4);
    cr_expect(bytes_eq_str(texts.items[0].title, "t") && texts.items[0].message.len == 10);
    cr_expect(texts.items[1].new_rev == 4 && texts.position.rev == 5);
    texts.before = texts.next;
    store_request_finish(&texts.base);
    texts.limit = STORE_TEXTS_MAX;
    store_request_finish(&texts.base);
    cr_assert_eq(harness_run(&harness, 0, &texts.base), 0);
    cr_assert_eq(texts.count, 2);
    cr_expect(texts.items[0].seq == 2 && texts.items[1].seq == 1 && texts.next.new_rev == 0);
    cr_expect_eq(texts.items[0].message.len, 2 * STORE_TEXTS_CHARS, "its beginning, uncut");
    store_request_finish(&texts.base);
    texts.max_bytes = 100;
    store_request_finish(&texts.base);
    cr_assert_eq(harness_run(&harness, 0, &texts.base), 0);
    cr_expect(texts.count == 1 && texts.next.seq == 2, "a piece ends at its bytes");
    store_request_finish(&texts.base);
    struct store_pick pick = {
        .base.op = STORE_PICK, .who = who, .seqs = seqs, .seq_count = ARRAY_LEN(seqs)};
    cr_assert_eq(harness_run(&harness, 0, &pick.base), 0);
    cr_assert_eq(pick.count, 3);
    cr_expect(pick.items[0].seq == 3 && pick.items[1].seq == 1 && pick.items[2].seq == 2);
    cr_expect(bytes_eq_str(pick.items[0].type, "other") && pick.position.unread == 5);
    cr_expect_eq(pick.items[2].message.len, sizeof(text), "whole");
    store_request_finish(&pick.base);
    pick.seq_count = 0;
    cr_assert_eq(harness_run(&harness, 0, &pick.base), 0);
    cr_expect(pick.count == 0 && pick.position.rev == 5);
    store_request_finish(&pick.base);
    harness_close(&harness);
}

static void expect_groups(struct filled *filled, bool by_priority)
{
    struct store_counts counts = {
        .base.op = STORE_COUNTS, .who = filled->who, .by_priority = by_priority};
    uint64_t unread = 0;
    uint64_t unseen = 0;
    uint64_t last = UINT64_MAX;
    cr_assert_eq(harness_run(&filled->harness, 0, &counts.base), 0);
    for (size_t i = 0; i < counts.group_count; i++) {
        const struct store_group *group = &counts.groups[i];
        struct store_group wanted = {0};
        for (size_t j = 0; j < ROWS; j++) {
            const struct entry *entry = &filled->entries[j];
            bool same = by_priority ? entry->row.priority == group->priority
                                    : bytes_eq(entry->row.type, group->type);
            wanted.unread += same && entry->state <= NOTIFICATION_SEEN;
            wanted.unseen += same && entry->state == NOTIFICATION_UNREAD;
        }
        cr_expect_eq(group->unread, wanted.unread);
        cr_expect_eq(group->unseen, wanted.unseen);
        cr_expect_leq(group->unread, last, "the largest first");
        last = group->unread;
        unread += group->unread;
        unseen += group->unseen;
    }
    cr_expect_eq(unread, counts.position.unread, "every open row is in one group");
    cr_expect_eq(unseen, counts.position.unseen);
    store_request_finish(&counts.base);
}

BOTH(open_rows_are_counted_by_type_and_priority)
{
    static struct filled filled;
    fill(&filled, url);
    expect_groups(&filled, false);
    expect_groups(&filled, true);
    struct store_counts none = {.base.op = STORE_COUNTS, .who = user_of("nobody")};
    cr_assert_eq(harness_run(&filled.harness, 0, &none.base), 0);
    cr_expect_eq(none.group_count, 0);
    cr_expect_eq(none.position.rev, 0);
    store_request_finish(&none.base);
    harness_close(&filled.harness);
}

/* An inbox in which what is asked for lies behind more than is looked at at once. */
static void put_rare(struct harness *harness, struct store_user who)
{
    static struct store_row rows[STORE_PAGE_MAX];
    struct store_row rare = row_of(who, 0, 0);
    rare.type = BYTES("rare");
    rare.priority = NOTIFICATION_URGENT;
    put_row(harness, &rare);
    for (uint64_t key = 1; key <= STORE_LOOKED_MAX; key += STORE_PAGE_MAX) {
        for (uint64_t i = 0; i < STORE_PAGE_MAX; i++) {
            rows[i] = row_of(who, key + i, key + i);
        }
        struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = STORE_PAGE_MAX};
        cr_assert_eq(harness_run(harness, 0, &put.base), 0);
        store_request_finish(&put.base);
    }
}

/* The first page has nothing and goes on, the second one has it and is the last. */
static void expect_two_pages(struct harness *harness, struct store_list *list)
{
    cr_assert_eq(harness_run(harness, 0, &list->base), 0);
    cr_expect_eq(list->count, 0);
    cr_expect_eq(list->next.new_rev, 2, "behind what was looked at");
    cr_expect_eq(list->next.seq, 2);
    list->before = list->next;
    store_request_finish(&list->base);
    cr_assert_eq(harness_run(harness, 0, &list->base), 0);
    cr_assert_eq(list->count, 1);
    cr_expect_eq(list->items[0].seq, 1);
    cr_expect_eq(list->next.new_rev, 0);
    store_request_finish(&list->base);
}

BOTH(so_many_rows_are_looked_at_for_a_page_and_no_more)
{
    struct harness harness;
    struct store_user who = user_of("alice");
    struct bytes rare[] = {BYTES("rare")};
    harness_open(&harness, url);
    put_rare(&harness, who);
    struct store_list list = {
        .base.op = STORE_LIST, .who = who, .limit = 20, .types = rare, .type_count = 1};
    expect_two_pages(&harness, &list);
    list = (struct store_list){
        .base.op = STORE_LIST, .who = who, .limit = 20, .priorities = 1U << NOTIFICATION_URGENT};
    expect_two_pages(&harness, &list);
    struct store_list texts = {
        .base.op = STORE_TEXTS, .who = who, .limit = 20, .types = rare, .type_count = 1};
    expect_two_pages(&harness, &texts);
    list = (struct store_list){.base.op = STORE_LIST,
        .who = who,
        .limit = 20,
        .ascending = true,
        .states = 1U << NOTIFICATION_ARCHIVED};
    cr_assert_eq(harness_run(&harness, 0, &list.base), 0);
    cr_expect_eq(list.count, 0);
    cr_expect_eq(list.next.seq, STORE_LOOKED_MAX, "from the other end");
    store_request_finish(&list.base);
    list = (struct store_list){.base.op = STORE_LIST, .who = who, .limit = 20};
    cr_assert_eq(harness_run(&harness, 0, &list.base), 0);
    cr_expect_eq(list.count, 20);
    cr_expect_eq(list.next.seq, list.items[19].seq, "a full page goes on behind its last");
    store_request_finish(&list.base);
    harness_close(&harness);
}

/* A sync that ends pages by their bytes, until it is done: each entry once, in whole revs. */
static void sync_by_bytes(struct harness *harness, struct store_user who, size_t bytes, bool *told)
{
    struct store_sync sync = {
        .base.op = STORE_SYNC, .who = who, .rev = 0, .limit = 100, .max_bytes = (uint32_t)bytes};
    for (unsigned pages = 0; !sync.done; pages++) {
        cr_assert_lt(pages, 100U, "it goes on");
        cr_assert_eq(harness_run(harness, 0, &sync.base), 0);
        cr_assert_not(sync.resync);
        size_t sum = 0;
        for (size_t i = 0; i < sync.item_count; i++) {
            const struct notification_item *item = &sync.items[i];
            sum += item->title.len + item->message.len + item->data.len;
            cr_assert_not(told[item->seq], "%llu twice", (unsigned long long)item->seq);
            told[item->seq] = true;
            cr_expect_leq(item->new_rev, sync.through_rev);
        }
        cr_expect(sum <= bytes || sync.item_count == 1, "%zu bytes", sum);
        cr_assert_gt(sync.through_rev, sync.rev);
        sync.rev = sync.through_rev;
        bool done = sync.done;
        store_request_finish(&sync.base);
        sync.done = done;
    }
}

BOTH(a_sync_ends_a_page_by_its_bytes)
{
    enum { WIDE = 4000, MANY = 12, HUGE = 5 };
    static char text[3 * WIDE];
    struct harness harness;
    struct store_user who = user_of("alice");
    bool told[MANY + 1] = {0};
    harness_open(&harness, url);
    memset(text, 'x', sizeof(text));
    uint8_t ids[2][NOTIFICATION_ID_LEN];
    for (uint64_t i = 1; i <= MANY; i++) {
        struct store_row row = row_of(who, i, i);
        row.message = bytes_of(text, i == HUGE ? sizeof(text) : WIDE);
        put_row(&harness, &row);
        if (i <= 2) {
            memcpy(ids[i - 1], row.id, NOTIFICATION_ID_LEN);
        }
    }
    sync_by_bytes(&harness, who, 2 * WIDE + WIDE / 2, told);
    for (uint64_t i = 1; i <= MANY; i++) {
        cr_expect(told[i], "%llu", (unsigned long long)i);
    }
    /* Rows that came out of the archive are whole again, both at one rev, which is not cut. */
    struct store_mark mark = mark_of(who, NOTIFICATION_MARK_ARCHIVE, 5);
    mark.ids = (const uint8_t(*)[NOTIFICATION_ID_LEN])ids;
    mark.id_count = 2;
    cr_assert_eq(harness_run(&harness, 0, &mark.base), 0);
    store_request_finish(&mark.base);
    mark = mark_of(who, NOTIFICATION_MARK_UNARCHIVE, 6);
    mark.ids = (const uint8_t(*)[NOTIFICATION_ID_LEN])ids;
    mark.id_count = 2;
    cr_assert_eq(harness_run(&harness, 0, &mark.base), 0);
    store_request_finish(&mark.base);
    struct store_sync sync = {
        .base.op = STORE_SYNC, .who = who, .rev = MANY - 1, .limit = 100, .max_bytes = WIDE + 100};
    cr_assert_eq(harness_run(&harness, 0, &sync.base), 0);
    cr_expect_eq(sync.item_count, 1);
    cr_expect_eq(sync.items[0].seq, MANY);
    cr_expect(sync.through_rev >= MANY && sync.through_rev < MANY + 2 && !sync.done);
    sync.rev = sync.through_rev;
    store_request_finish(&sync.base);
    cr_assert_eq(harness_run(&harness, 0, &sync.base), 0);
    cr_expect_eq(sync.item_count, 2, "a rev is told as a whole");
    cr_expect(sync.done);
    store_request_finish(&sync.base);
    harness_close(&harness);
}

/* Ten rows each that were left alone, then seen, read, archived, snoozed and erased, then one more.
 */
enum { EACH = 10, OWN = 60, LAST = OWN + 1 };

static const struct {
    enum notification_verb verb;
    enum notification_state state;
} parts[] = {
    {NOTIFICATION_MARK_SEEN, NOTIFICATION_SEEN},
    {NOTIFICATION_MARK_READ, NOTIFICATION_READ},
    {NOTIFICATION_MARK_ARCHIVE, NOTIFICATION_ARCHIVED},
    {NOTIFICATION_MARK_SNOOZE, NOTIFICATION_SNOOZED},
    {NOTIFICATION_MARK_DELETE, NOTIFICATION_ERASED},
};

static void mark_parts(
    struct harness *harness, struct store_user who, uint8_t (*ids)[NOTIFICATION_ID_LEN])
{
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        bool erases = parts[i].verb == NOTIFICATION_MARK_DELETE;
        struct store_mark mark = erases ? erase_of(who, 5) : mark_of(who, parts[i].verb, 5);
        mark.until = 1900000000000;
        mark.ids = (const uint8_t(*)[NOTIFICATION_ID_LEN])ids[(i + 1) * EACH];
        mark.id_count = EACH;
        cr_assert_eq(harness_run(harness, 0, &mark.base), 0);
        store_request_finish(&mark.base);
    }
}

static void put_parts(struct harness *harness, struct store_user who)
{
    uint8_t ids[OWN][NOTIFICATION_ID_LEN];
    for (size_t i = 0; i < OWN; i++) {
        struct store_row row = row_of(who, i, i);
        row.collapse = i == 2 ? BYTES("one") : bytes_of(NULL, 0);
        put_row(harness, &row);
        memcpy(ids[i], row.id, NOTIFICATION_ID_LEN);
        row = row_of(user_of("bob"), i, i);
        put_row(harness, &row);
    }
    struct store_row again = row_of(who, 1000, 1000);
    again.collapse = BYTES("one"); /* the newest of the lists, and third here */
    put_row(harness, &again);
    cr_expect_eq(again.seq, 3);
    mark_parts(harness, who, ids);
    (void)post_to(harness, NULL, 1); /* made by who reads first */
}

/* The row that comes behind the one with `seq`. */
static uint64_t expect_row(const struct notification_item *item, uint64_t seq)
{
    uint64_t wanted = seq == OWN - EACH ? LAST : seq + 1;
    size_t part = (wanted - 1) / EACH;
    cr_assert_eq(item->seq, wanted, "%lu, not %lu", item->seq, wanted);
    cr_expect_eq(item->state,
        part == 0 || wanted == LAST ? NOTIFICATION_UNREAD : parts[part - 1].state, "%lu is %d",
        wanted, (int)item->state);
    cr_expect_eq(item->audience, wanted == LAST ? AUDIENCE_ALL : AUDIENCE_NONE);
    cr_expect(bytes_eq_str(item->user, "alice"));
    return wanted;
}

BOTH(rows_go_by_seq_whatever_their_state)
{
    struct harness harness;
    struct rand rand;
    rand_init(&rand, seed_draw());
    harness_open(&harness, url);
    put_parts(&harness, user_of("alice"));
    for (unsigned round = 0; round < 20; round++) {
        struct store_list rows = {.base.op = STORE_ROWS, .who = user_of("alice")};
        uint64_t seq = 0;
        do {
            rows.limit = 1 + (uint32_t)rand_below(&rand, round == 0 ? 1 : 100);
            rows.max_bytes = rand_below(&rand, 2) ? 0 : 1 + (uint32_t)rand_below(&rand, 500);
            cr_assert_eq(harness_run(&harness, round % 4, &rows.base), 0);
            cr_expect_eq(rows.position.seq, LAST);
            cr_expect_eq(rows.position.unread, 2 * EACH + 1);
            cr_expect_leq(rows.count, rows.limit);
            for (size_t i = 0; i < rows.count; i++) {
                seq = expect_row(&rows.items[i], seq);
            }
            cr_expect_eq(rows.next.seq, seq == LAST ? 0 : seq);
            rows.before = rows.next;
            store_request_finish(&rows.base);
        } while (rows.before.seq > 0);
        cr_assert_eq(seq, LAST, "up to %lu", seq);
    }
    harness_close(&harness);
}

BOTH(pages_of_rows_have_their_bounds)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_list rows = {
        .base.op = STORE_ROWS, .who = user_of("nobody"), .limit = 100, .before.seq = 7};
    cr_assert_eq(harness_run(&harness, 0, &rows.base), 0);
    cr_expect_eq(rows.count + rows.next.seq + rows.position.seq, 0);
    store_request_finish(&rows.base);
    rows.limit = 101;
    cr_expect_eq(harness_run(&harness, 0, &rows.base), STATUS_INVALID);
    store_request_finish(&rows.base);
    rows.limit = 0;
    cr_expect_eq(harness_run(&harness, 0, &rows.base), STATUS_INVALID);
    store_request_finish(&rows.base);
    harness_close(&harness);
}
