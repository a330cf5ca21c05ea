/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was said in rooms: its order, pages, repeats, the end of what is kept, and of whose it is.
 */
#include <stdio.h>
#include <string.h>

#include "codec/base/clock.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/slot.h"
#include "tests/unit/sql/both.h"

enum { MINUTE_MS = 60000, PLENTY = 1 << 20 };

/* A message without tenant, of a minute; its text tells `n`. */
static struct store_message say(const char *room, unsigned n, char text[32])
{
    uint64_t now = clock_wall_ms();
    (void)snprintf(text, 32, "{\"n\":%u}", n);
    struct store_message message = {.tenant = BYTES(""),
        .room = bytes_str(room),
        .user = BYTES("alice"),
        .event = BYTES("receive_message"),
        .args = bytes_str(text),
        .at = now,
        .expires_at = now + MINUTE_MS};
    uuid7_make(now, slot_of(message.tenant, message.room), message.id);
    return message;
}

static void add(struct harness *harness, const struct store_message *messages, size_t count)
{
    struct store_history_add add = {
        .base.op = STORE_HISTORY_ADD, .messages = messages, .count = count};
    cr_assert_eq(harness_run(harness, 0, &add.base), 0, "%d", add.base.status);
    store_request_finish(&add.base);
}

/* Messages first … first + count - 1 of a room; the ids are told. */
static void add_some(
    struct harness *harness, const char *room, unsigned first, unsigned count, uint8_t (*ids)[16])
{
    struct store_message messages[64];
    char texts[64][32];
    for (unsigned i = 0; i < count; i++) {
        messages[i] = say(room, first + i, texts[i]);
        if (ids != NULL) {
            memcpy(ids[i], messages[i].id, sizeof(ids[i]));
        }
    }
    add(harness, messages, count);
}

static int list(struct harness *harness, struct store_history_list *list, const char *room,
    const uint8_t *before, uint32_t limit)
{
    *list = (struct store_history_list){.base.op = STORE_HISTORY_LIST,
        .tenant = BYTES(""),
        .room = bytes_str(room),
        .before = before != NULL,
        .limit = limit,
        .max_bytes = PLENTY};
    if (before != NULL) {
        memcpy(list->id, before, sizeof(list->id));
    }
    return harness_run(harness, 1, &list->base);
}

/* The page is exactly messages `first`, first - 1, …, of `count`. */
static void expect_page(
    const struct store_history_list *list, unsigned first, size_t count, bool more)
{
    cr_assert_eq(list->base.status, 0, "%d", list->base.status);
    cr_assert_eq(list->count, count, "%zu", list->count);
    cr_expect_eq(list->more, more);
    for (size_t i = 0; i < count; i++) {
        char text[32];
        (void)snprintf(text, sizeof(text), "{\"n\":%u}", first - (unsigned)i);
        cr_expect(bytes_eq_str(list->messages[i].args, text));
        cr_expect(bytes_eq_str(list->messages[i].event, "receive_message"));
        cr_expect(bytes_eq_str(list->messages[i].user, "alice"));
    }
}

BOTH(a_room_is_listed_from_its_newest_message_on_in_pages)
{
    struct harness harness;
    uint8_t ids[30][16];
    struct store_history_list page;
    harness_open(&harness, url);
    add_some(&harness, "chat:1", 0, 20, ids);
    add_some(&harness, "chat:2", 100, 5, NULL);
    add_some(&harness, "chat:1", 20, 10, ids + 20);
    (void)list(&harness, &page, "chat:1", NULL, 10);
    expect_page(&page, 29, 10, true);
    cr_expect_eq(memcmp(page.messages[9].id, ids[20], 16), 0);
    cr_expect_leq(page.messages[0].at, clock_wall_ms());
    store_request_finish(&page.base);
    (void)list(&harness, &page, "chat:1", ids[20], 15);
    expect_page(&page, 19, 15, true);
    store_request_finish(&page.base);
    (void)list(&harness, &page, "chat:1", ids[5], 15);
    expect_page(&page, 4, 5, false);
    store_request_finish(&page.base);
    (void)list(&harness, &page, "chat:1", ids[0], 15);
    expect_page(&page, 0, 0, false);
    store_request_finish(&page.base);
    (void)list(&harness, &page, "chat:1", NULL, 30);
    expect_page(&page, 29, 30, false);
    store_request_finish(&page.base);
    harness_close(&harness);
}

BOTH(a_message_that_is_not_of_the_room_is_no_place_in_it)
{
    struct harness harness;
    uint8_t ids[2][16];
    uint8_t unknown[16];
    struct store_history_list page;
    harness_open(&harness, url);
    add_some(&harness, "chat:1", 0, 2, ids);
    uuid7_make(clock_wall_ms(), slot_of(BYTES(""), BYTES("chat:1")), unknown);
    cr_expect_eq(list(&harness, &page, "chat:1", unknown, 5), STATUS_NOT_FOUND);
    store_request_finish(&page.base);
    cr_expect_eq(list(&harness, &page, "chat:2", ids[1], 5), STATUS_NOT_FOUND);
    store_request_finish(&page.base);
    page = (struct store_history_list){.base.op = STORE_HISTORY_LIST,
        .tenant = BYTES("acme"),
        .room = BYTES("chat:1"),
        .limit = 5,
        .max_bytes = PLENTY};
    cr_expect_eq(harness_run(&harness, 1, &page.base), 0);
    cr_expect_eq(page.count, 0, "tenants are apart");
    store_request_finish(&page.base);
    harness_close(&harness);
}

BOTH(what_is_added_again_is_there_once)
{
    struct harness harness;
    char texts[3][32];
    struct store_message messages[3];
    struct store_history_list page;
    harness_open(&harness, url);
    for (unsigned i = 0; i < 3; i++) {
        messages[i] = say("chat:1", i, texts[i]);
    }
    add(&harness, messages, 2);
    add(&harness, messages, 3);
    (void)list(&harness, &page, "chat:1", NULL, 10);
    expect_page(&page, 2, 3, false);
    store_request_finish(&page.base);
    harness_close(&harness);
}

BOTH(a_page_ends_before_it_has_too_many_bytes)
{
    struct harness harness;
    uint8_t ids[10][16];
    struct store_history_list page;
    harness_open(&harness, url);
    add_some(&harness, "chat:1", 0, 10, ids);
    for (unsigned bytes = 0; bytes < 100; bytes += 45) { /* of 15 + 7 each */
        page = (struct store_history_list){.base.op = STORE_HISTORY_LIST,
            .room = BYTES("chat:1"),
            .limit = 10,
            .max_bytes = bytes};
        (void)harness_run(&harness, 1, &page.base);
        expect_page(&page, 9, bytes < 44 ? 1 : bytes / 22, true);
        store_request_finish(&page.base);
    }
    harness_close(&harness);
}

BOTH(what_is_over_is_not_told_and_goes)
{
    struct harness harness;
    char texts[40][32];
    struct store_message messages[40];
    struct store_history_list page;
    harness_open(&harness, url);
    for (unsigned i = 0; i < 40; i++) {
        messages[i] = say("chat:1", i, texts[i]);
        messages[i].expires_at = i < 30 ? clock_wall_ms() - 1 : messages[i].expires_at;
    }
    add(&harness, messages, 40);
    (void)list(&harness, &page, "chat:1", NULL, 50);
    expect_page(&page, 39, 10, false);
    store_request_finish(&page.base);
    struct store_history_sweep sweep = {.base.op = STORE_HISTORY_SWEEP, .limit = 20};
    cr_assert_eq(harness_run(&harness, 0, &sweep.base), 0);
    cr_expect(sweep.dropped == 20 && sweep.more);
    cr_assert_eq(harness_run(&harness, 0, &sweep.base), 0);
    cr_expect(sweep.dropped == 10 && !sweep.more);
    store_request_finish(&sweep.base);
    (void)list(&harness, &page, "chat:1", NULL, 50);
    expect_page(&page, 39, 10, false);
    store_request_finish(&page.base);
    harness_close(&harness);
}

BOTH(what_a_user_said_is_erased_with_the_user)
{
    struct harness harness;
    char texts[3][32];
    struct store_message messages[3];
    struct store_history_list page;
    harness_open(&harness, url);
    messages[0] = say("chat:1", 0, texts[0]);
    messages[0].user = BYTES("bob");
    messages[1] = say("chat:1", 1, texts[1]);
    messages[2] = say("chat:1", 2, texts[2]);
    messages[2].user = BYTES(""); /* a backend */
    add(&harness, messages, 3);
    struct store_forget forget = {.base.op = STORE_FORGET, .who = user_of("bob")};
    cr_assert_eq(harness_run(&harness, 2, &forget.base), 0);
    cr_expect_eq(forget.erased[STORE_FORGOTTEN_MESSAGES], 1);
    store_request_finish(&forget.base);
    forget.who = user_of("");
    cr_assert_eq(harness_run(&harness, 2, &forget.base), 0);
    cr_expect_eq(forget.erased[STORE_FORGOTTEN_MESSAGES], 0, "nobody said it");
    store_request_finish(&forget.base);
    (void)list(&harness, &page, "chat:1", NULL, 10);
    cr_assert_eq(page.count, 2);
    cr_expect(bytes_eq_str(page.messages[1].user, "alice"));
    store_request_finish(&page.base);
    harness_close(&harness);
}

BOTH(what_a_user_said_is_listed_from_the_first_on)
{
    struct harness harness;
    char texts[9][32];
    struct store_message messages[9];
    harness_open(&harness, url);
    for (unsigned i = 0; i < 9; i++) {
        messages[i] = say(i % 2 == 0 ? "chat:1" : "chat:2", i, texts[i]);
        messages[i].user = i < 7 ? BYTES("bob") : i == 7 ? BYTES("ann") : BYTES("");
    }
    messages[3].expires_at = clock_wall_ms() - 1;
    add(&harness, messages, 9);
    struct store_history_list page = {.base.op = STORE_HISTORY_LIST,
        .tenant = BYTES(""),
        .user = BYTES("bob"),
        .limit = 4,
        .max_bytes = PLENTY};
    cr_assert_eq(harness_run(&harness, 1, &page.base), 0);
    cr_assert(page.count == 4 && page.more);
    static const unsigned first[] = {0, 1, 2, 4};
    for (size_t i = 0; i < 4; i++) {
        cr_expect(bytes_eq_str(page.messages[i].args, texts[first[i]]));
        cr_expect(bytes_eq_str(page.messages[i].room, first[i] % 2 == 0 ? "chat:1" : "chat:2"));
    }
    page.after = page.last;
    store_request_finish(&page.base);
    cr_assert_eq(harness_run(&harness, 1, &page.base), 0);
    cr_assert(page.count == 2 && !page.more);
    cr_expect(bytes_eq_str(page.messages[1].args, texts[6]));
    store_request_finish(&page.base);
    page.after = 0;
    page.tenant = BYTES("acme");
    cr_assert_eq(harness_run(&harness, 1, &page.base), 0);
    cr_expect_eq(page.count, 0, "tenants are apart");
    store_request_finish(&page.base);
    page.room = BYTES("chat:1");
    cr_expect_eq(harness_run(&harness, 1, &page.base), STATUS_INVALID);
    harness_close(&harness);
}

BOTH(what_cannot_be_kept_is_refused)
{
    struct harness harness;
    char text[32];
    harness_open(&harness, url);
    struct store_message message = say("chat:1", 0, text);
    struct store_history_add request = {
        .base.op = STORE_HISTORY_ADD, .messages = &message, .count = 1};
    message.room = BYTES("");
    cr_expect_eq(harness_run(&harness, 0, &request.base), STATUS_INVALID);
    message = say("chat:1", 0, text);
    message.room = BYTES("chat:2");
    cr_expect_eq(harness_run(&harness, 0, &request.base), STATUS_INVALID, "an id of another slot");
    message = say("chat:1", 0, text);
    request.count = 0;
    cr_expect_eq(harness_run(&harness, 0, &request.base), STATUS_INVALID);
    struct store_history_list page;
    cr_expect_eq(list(&harness, &page, "chat:1", NULL, 0), STATUS_INVALID);
    cr_expect_eq(list(&harness, &page, "chat:1", NULL, STORE_HISTORY_LIST_MAX + 1), STATUS_INVALID);
    harness_close(&harness);
}
