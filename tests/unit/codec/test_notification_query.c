/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may be asked of a list: the parameters of URLs and objects, and what is refused.
 */
#include <criterion/criterion.h>

#include "codec/base/buf.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/notification_json.h"
#include "codec/notification_mark.h"
#include "codec/notification_query.h"

static struct notification_query query;
static struct notification_query_fault fault;

static int from_url(const char *text)
{
    return notification_query_from_url(bytes_str(text), &query, &fault);
}

static int from_json(const char *text)
{
    return notification_query_from_json(bytes_str(text), &query, &fault);
}

static void expect_all(void)
{
    cr_expect_eq(query.after_rev, 9);
    cr_expect_eq(query.after_seq, 3);
    cr_expect_eq(query.limit, 7);
    cr_expect_eq(query.states, NOTIFICATION_OPEN_STATES | 1u << NOTIFICATION_SNOOZED);
    cr_expect_eq(query.priorities, 1u << NOTIFICATION_LOW | 1u << NOTIFICATION_URGENT);
    cr_expect_eq(query.from, 1000);
    cr_expect_eq(query.to, 1700000000000);
    cr_expect(query.ascending && query.omit_nulls);
    cr_expect_eq(query.fields, 3);
    cr_assert_eq(query.type_count, 2);
    cr_expect(bytes_eq_str(query.types[0], "a b") && bytes_eq_str(query.types[1], "\xc3\xb6"));
}

Test(notification_query, the_same_from_urls_and_objects)
{
    cr_expect_eq(from_url("after=9.3&limit=7&state=unread,snoozed&priority=low%2Curgent&from=1000&"
                          "to=2023-11-14T22:13:20Z&order=asc&nulls=omit&fields=id,%20seq&"
                          "type=a+b,%C3%B6&tenant=t"),
        0);
    expect_all();
    cr_expect_eq(from_json("{\"after\":\"9.3\",\"limit\":7,\"state\":[\"unread\",\"snoozed\"],"
                           "\"priority\":\"low,urgent\",\"from\":1000,\"to\":1700000000000,"
                           "\"order\":\"asc\",\"nulls\":\"omit\",\"fields\":[\"id\",\"seq\"],"
                           "\"type\":[\"a b\",\"\\u00f6\"]}"),
        0);
    expect_all();
    cr_expect_eq(from_url(""), 0);
    cr_expect(query.limit == 20 && query.after_rev == 0 && query.states == 0 &&
              query.type_count == 0 && !query.ascending && !query.omit_nulls);
    cr_expect_eq(from_json("{\"after\":null,\"type\":null,\"limit\":\"5\"}"), 0);
    cr_expect(query.limit == 5 && query.after_rev == 0 && query.type_count == 0);
    cr_expect_eq(from_json("{\"after\":9}"), 0);
    cr_expect(query.after_rev == 9 && query.after_seq == 9);
}

Test(notification_query, pages_have_numbers_or_cursors_with_a_rank)
{
    cr_expect_eq(from_url("page=100&limit=100&sort=priority"), 0);
    cr_expect(query.page == 100 && query.sort == NOTIFICATION_SORT_PRIORITY && !query.ranked);
    cr_expect_eq(from_json("{\"sort\":\"priority\",\"after\":\"9.3.2\"}"), 0);
    cr_expect(query.after_rev == 9 && query.after_seq == 3 && query.after_rank == 2);
    cr_expect_eq(from_url("search=a+b&after=9.3.11"), 0);
    cr_expect(query.sort == NOTIFICATION_SORT_MATCH && query.search.word_count == 2 &&
              query.after_rank == 11);
    cr_expect_eq(from_url("sort=createdAt&after=9.3"), 0);
    cr_expect_eq(query.search.word_count, 0);
    cr_expect(query.page == 0 && query.sort == NOTIFICATION_SORT_CREATED && query.after_seq == 3);
}

Test(notification_query, names_what_is_at_fault)
{
    static const struct {
        const char *url; /* or */
        const char *json;
        const char *field;
    } cases[] = {
        {"limit=0", "{\"limit\":0}", "limit"},
        {"limit=101", "{\"limit\":101}", "limit"},
        {"limit=", "{\"limit\":[1]}", "limit"},
        {"after=x", "{\"after\":\"x\"}", "after"},
        {"after=1.", "{\"after\":\"1.\"}", "after"},
        {"state=lost", "{\"state\":\"lost\"}", "state"},
        {"state=erased", "{\"state\":[\"erased\"]}", "state"},
        {"state=", "{\"state\":[]}", "state"},
        {"priority=unread", "{\"priority\":7}", "priority"},
        {"from=soon", "{\"from\":true}", "from"},
        {"to=-1", "{\"to\":-1}", "to"},
        {"order=up", "{\"order\":\"up\"}", "order"},
        {"nulls=keep", "{\"nulls\":\"keep\"}", "nulls"},
        {"fields=secret", "{\"fields\":[\"id\",\"secret\"]}", "fields"},
        {"page=0", "{\"page\":0}", "page"},
        {"page=10001", "{\"page\":1.5}", "page"},
        {"page=101&limit=100", "{\"page\":501}", "page"},
        {"search=", "{\"search\":\"\"}", "search"},
        {"search=1+2+3+4+5+6+7+8+9+10+11+12+13+14+15+16+17+18+19+20+21", "{\"search\":\"-\"}",
            "search"},
        {"search=a&after=9.3", "{\"search\":\"a\",\"after\":9}", "after"},
        {"sort=title", "{\"sort\":1}", "sort"},
        {"after=9.3.1", "{\"after\":\"9.3.1\"}", "after"},
        {"after=9&sort=priority", "{\"after\":9,\"sort\":\"priority\"}", "after"},
        {"after=9.3.4&sort=priority", "{\"after\":\"9.3.32767\",\"sort\":\"priority\"}", "after"},
        {"after=9.3.1.2&sort=priority", "{\"after\":\"9.3.\",\"sort\":\"priority\"}", "after"},
        {"type=%ff", "{\"type\":[\"a\",7]}", "type"},
        {"type=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21", "{\"type\":\"a\\u0000\"}",
            "type"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int status = from_url(cases[i].url);
        cr_expect(status == STATUS_INVALID, "%s", cases[i].url);
        cr_expect(strcmp(fault.field, cases[i].field) == 0);
        status = from_json(cases[i].json);
        cr_expect(status == STATUS_INVALID, "%s", cases[i].json);
        cr_expect(strcmp(fault.field, cases[i].field) == 0);
    }
    cr_expect_eq(from_json("{\"limit\":1,\"sorted\":\"x\"}"), STATUS_NOT_FOUND);
    cr_expect_str_eq(fault.field, "sorted");
    cr_expect_eq(from_url("search=a&sort=priority"), STATUS_CONFLICT);
    cr_expect_str_eq(fault.field, "sort");
    cr_expect_eq(from_json("{\"order\":\"asc\",\"search\":\"a\"}"), STATUS_CONFLICT);
    cr_expect_str_eq(fault.field, "order");
    cr_expect_eq(from_url("page=2&after=9"), STATUS_CONFLICT);
    cr_expect_str_eq(fault.field, "after");
    cr_expect_eq(from_json("{\"after\":\"9.3\",\"page\":2}"), STATUS_CONFLICT);
}

Test(notification_query, what_is_null_is_left_out_on_request)
{
    struct notification_item item = {.seq = 1, .user = BYTES("u"), .type = BYTES("t")};
    struct builder out = {0};
    struct bytes value;
    notification_json_fields(&item, 0, true, &out);
    cr_expect_eq(json_scan_get(builder_bytes(&out), "title", &value), 0);
    cr_expect_eq(json_scan_get(builder_bytes(&out), "data", &value), STATUS_NOT_FOUND);
    cr_expect_eq(json_scan_get(builder_bytes(&out), "readAt", &value), STATUS_NOT_FOUND);
    builder_clear(&out);
    cr_expect_eq(from_url("fields=seq,data"), 0);
    notification_json_fields(&item, query.fields, true, &out);
    cr_expect(bytes_eq_str(builder_bytes(&out), "{\"seq\":1}"));
    builder_reset(&out);
}
