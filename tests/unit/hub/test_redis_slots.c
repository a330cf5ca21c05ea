/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What servers of a cluster say of slots, as it should be and as it should not.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "hub/redis/redis_slots.h"

TestSuite(redis_slots, .timeout = 10);

static const struct redis_place asked = {.port = 7000, .host = "10.0.0.9"};

Test(redis_slots, redirections_are_read)
{
    static const struct {
        const char *text;
        const char *host; /* NULL: it is none */
        uint16_t port;
        uint16_t slot;
    } rows[] = {
        {"MOVED 3999 127.0.0.1:6381", "127.0.0.1", 6381, 3999},
        {"ASK 0 ::1:6381", "::1", 6381, 0},
        {"MOVED 16383 redis-2.example:6379", "redis-2.example", 6379, 16383},
        {"MOVED 5 :6381", "10.0.0.9", 6381, 5},
        {"MOVED 16384 127.0.0.1:6381", NULL, 0, 0},
        {"MOVED 5 ?:6381", NULL, 0, 0},
        {"MOVED 5 127.0.0.1:0", NULL, 0, 0},
        {"MOVED 5 127.0.0.1:65536", NULL, 0, 0},
        {"MOVED 5 127.0.0.1", NULL, 0, 0},
        {"MOVED -1 127.0.0.1:6381", NULL, 0, 0},
        {"MOVED", NULL, 0, 0},
        {"ASKING 5 127.0.0.1:6381", NULL, 0, 0},
        {"", NULL, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct redis_place place = {0};
        uint16_t slot = 0;
        bool good = redis_slots_redirection(bytes_str(rows[i].text), &asked, &slot, &place);
        cr_expect_eq(good, rows[i].host != NULL, "%s", rows[i].text);
        if (good && rows[i].host != NULL) {
            cr_expect_str_eq(place.host, rows[i].host);
            cr_expect_eq(place.port, rows[i].port);
            cr_expect_eq(slot, rows[i].slot);
        }
    }
}

/* A list of one range, built of these. */
static struct bus_reply first;
static struct bus_reply last;
static struct bus_reply host;
static struct bus_reply port;
static struct bus_reply *server_items[] = {&host, &port};
static struct bus_reply server;
static struct bus_reply *range_items[] = {&first, &last, &server};
static struct bus_reply range;
static struct bus_reply *list_items[] = {&range};
static struct bus_reply list;

static void make_list(void)
{
    first = (struct bus_reply){.type = BUS_INTEGER, .integer = 10};
    last = (struct bus_reply){.type = BUS_INTEGER, .integer = 16383};
    host = (struct bus_reply){.type = BUS_STRING, .text = BYTES("127.0.0.1")};
    port = (struct bus_reply){.type = BUS_INTEGER, .integer = 7001};
    server = (struct bus_reply){.type = BUS_ARRAY, .count = 2, .items = server_items};
    range = (struct bus_reply){.type = BUS_ARRAY, .count = 3, .items = range_items};
    list = (struct bus_reply){.type = BUS_ARRAY, .count = 1, .items = list_items};
}

Test(redis_slots, a_list_is_read)
{
    struct redis_place place;
    make_list();
    cr_assert(redis_slots_are_good(&list));
    struct redis_range read = redis_slots_range(&list, 0);
    cr_assert_eq(read.first, 10);
    cr_assert_eq(read.last, 16383);
    cr_assert_eq(read.servers, 1);
    cr_assert(redis_slots_place(&list, 0, 0, &asked, &place));
    cr_assert_str_eq(place.host, "127.0.0.1");
    cr_assert_eq(place.port, 7001);
    host = (struct bus_reply){.type = BUS_NIL};
    cr_assert(redis_slots_are_good(&list));
    cr_assert(redis_slots_place(&list, 0, 0, &asked, &place));
    cr_assert_str_eq(place.host, asked.host);
    port.integer = -1;
    cr_assert_not(redis_slots_place(&list, 0, 0, &asked, &place));
    list.count = 0;
    cr_assert(redis_slots_are_good(&list));
}

Test(redis_slots, a_list_with_a_fault_is_refused)
{
    const struct bus_reply text = {.type = BUS_STRING, .text = BYTES("x")};
    struct bus_reply *const parts[] = {&first, &last, &host, &port, &server, &range, &list};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        make_list();
        *parts[i] = parts[i] == &host ? first : text;
        cr_expect_not(redis_slots_are_good(&list), "part %zu", i);
    }
    make_list();
    last.integer = 16384;
    cr_expect_not(redis_slots_are_good(&list));
    make_list();
    first.integer = -1;
    cr_expect_not(redis_slots_are_good(&list));
    make_list();
    last.integer = 9;
    cr_expect_not(redis_slots_are_good(&list));
    make_list();
    range.count = 2;
    cr_expect_not(redis_slots_are_good(&list));
    make_list();
    server.count = 1;
    cr_expect_not(redis_slots_are_good(&list));
}
