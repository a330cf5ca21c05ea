/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what is wanted of a list to what a store is asked.
 */
#include <criterion/criterion.h>

#include "actors/inbox/inbox_page.h"

static struct store_page page_for(const char *url_query)
{
    static struct notification_query query;
    struct notification_query_fault fault;
    struct store_page page = {0};
    struct store_user who = {.user = BYTES("ann")};
    cr_assert_eq(notification_query_from_url(bytes_str(url_query), &query, &fault), 0, "%s: %s",
        fault.field, fault.message);
    inbox_page_fill(&page, who, &query, 1 << 20);
    return page;
}

Test(inbox_page, the_last_page_ends_with_the_last_row_that_has_a_number)
{
    struct store_page page = page_for("page=102&limit=99");
    cr_expect_eq(page.skip, STORE_PAGED_MAX - 1);
    cr_expect_eq(page.list.limit, 1);
    page = page_for("page=101&limit=99");
    cr_expect_eq(page.skip, STORE_PAGED_MAX - 100);
    cr_expect_eq(page.list.limit, 99);
    page = page_for("page=100&limit=100");
    cr_expect_eq(page.list.limit, 100);
    page = page_for("page=10000&limit=1");
    cr_expect_eq(page.list.limit, 1);
}

Test(inbox_page, only_what_has_a_number_or_another_order_is_more_than_a_list)
{
    struct store_page page = page_for("after=7&limit=30");
    cr_expect_eq(page.list.base.op, STORE_LIST);
    cr_expect_eq(page.list.limit, 30);
    cr_expect_eq(page.list.before.new_rev, 7);
    page = page_for("page=3&limit=30");
    cr_expect_eq(page.list.base.op, STORE_PAGE);
    cr_expect(page.counted);
    cr_expect_eq(page.skip, 60);
    page = page_for("sort=priority");
    cr_expect_eq(page.list.base.op, STORE_PAGE);
    cr_expect(page.by_priority);
    cr_expect_not(page.counted);
}
