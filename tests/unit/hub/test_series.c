/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics of applications: keys, cells and buckets, against a reference made of every value.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "hub/series/series_cell.h"
#include "hub/series/series_key.h"
#include "hub/series/series_window.h"
#include "tests/support/seed.h"

TestSuite(series, .timeout = 60);

/* Keys. */

static const char *make(enum series_type type, const char *name, struct series_key *ret_key)
{
    const char *field;
    struct series_parts parts = {.type = type, .name = bytes_str(name)};
    return series_key_make(&parts, ret_key, &field);
}

Test(series, a_key_is_the_same_whatever_the_order_of_its_tags)
{
    struct series_key keys[2];
    const char *field;
    struct series_parts parts = {.type = SERIES_COUNTER,
        .name = BYTES("cart.items-sold_total"),
        .unit = BYTES("EUR"),
        .tags = {{BYTES("shop"), BYTES("a=\"b\"")}, {BYTES("kind"), BYTES("x")}},
        .tag_count = 2};
    struct series_parts turned = parts;
    struct series_parts back;
    turned.tags[0] = parts.tags[1];
    turned.tags[1] = parts.tags[0];
    cr_assert_null(series_key_make(&parts, &keys[0], &field));
    cr_assert_null(series_key_make(&turned, &keys[1], &field));
    cr_assert(bytes_eq(bytes_of(keys[0].at, keys[0].len), bytes_of(keys[1].at, keys[1].len)));
    cr_assert_eq(series_key_split(bytes_of(keys[0].at, keys[0].len), &back), 0);
    cr_expect_eq(back.type, SERIES_COUNTER);
    cr_expect(bytes_eq_str(back.name, "cart_items_sold"), "as Prometheus has it, without its end");
    cr_expect(bytes_eq_str(back.unit, "EUR"));
    cr_expect_eq(back.tag_count, 2);
    cr_expect(bytes_eq_str(series_parts_tag(&back, "shop"), "a=\"b\""));
    cr_expect_eq(series_parts_tag(&back, "none").len, 0);
}

Test(series, what_can_be_no_series_is_told_by_the_field)
{
    static const struct {
        struct series_parts parts;
        const char *field;
    } cases[] = {
        {{.name = {"", 0}}, "name"},
        {{.name = {"1a", 2}}, "name"},
        {{.name = {"a b", 3}}, "name"},
        {{.type = SERIES_GAUGE, .name = {"a_total", 7}}, "name"},
        {{.type = SERIES_TIMER, .name = {"a_count", 7}}, "name"},
        {{.name = {"a", 1}, .unit = {"a\x1f", 2}}, "unit"},
        {{.name = {"a", 1}, .tags = {{{"le", 2}, {"1", 1}}}, .tag_count = 1}, "tags"},
        {{.name = {"a", 1}, .tags = {{{"__a", 3}, {"1", 1}}}, .tag_count = 1}, "tags"},
        {{.name = {"a", 1}, .tags = {{{"userId", 6}, {"1", 1}}}, .tag_count = 1}, "tags"},
        {{.name = {"a", 1}, .tags = {{{"a.b", 3}, {"1", 1}}}, .tag_count = 1}, "tags"},
        {{.name = {"a", 1}, .tags = {{{"a", 1}, {"\n", 1}}}, .tag_count = 1}, "tags"},
        {{.name = {"a", 1}, .tags = {{{"a", 1}, {"\xff", 1}}}, .tag_count = 1}, "tags"},
        {{.name = {"a", 1}, .tags = {{{"a", 1}, {"1", 1}}, {{"a", 1}, {"2", 1}}}, .tag_count = 2},
            "tags"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct series_parts parts = cases[i].parts;
        struct series_key key;
        const char *field = "";
        cr_expect_not_null(series_key_make(&parts, &key, &field), "case %zu", i);
        cr_expect_str_eq(field, cases[i].field, "case %zu", i);
    }
}

/* Cells. */

struct reference {
    double values[4096];
    size_t count;
};

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

static void expect_same(const struct series_cell *cell, struct reference *reference)
{
    static const double shares[] = {0.01, 0.5, 0.95, 0.99, 1};
    double sum = 0;
    qsort(reference->values, reference->count, sizeof(double), compare);
    for (size_t i = 0; i < reference->count; i++) {
        sum += reference->values[i];
    }
    cr_assert_eq(cell->count, reference->count);
    cr_assert_float_eq(cell->sum, sum, sum * 1e-9);
    cr_assert_float_eq(cell->min, reference->values[0], 0);
    cr_assert_float_eq(cell->max, reference->values[reference->count - 1], 0);
    for (size_t i = 0; i < ARRAY_LEN(shares); i++) {
        size_t rank = (size_t)ceil(shares[i] * (double)reference->count);
        double wanted = reference->values[rank > 0 ? rank - 1 : 0];
        double value = series_cell_percentile(cell, shares[i]);
        cr_assert_leq(fabs(value - wanted), wanted * SERIES_ERROR + 0.001, "%g: %g, not %g",
            shares[i], value, wanted);
    }
}

/* From a microsecond to hours. */
static double any_time(struct rand *rand)
{
    return 0.001 * pow(10, (double)(rand_u64(rand) % 100000) / 1e4);
}

Test(series, what_nodes_have_counted_is_what_was_posted_within_two_percent)
{
    struct rand rand;
    rand_init(&rand, seed_draw());
    for (unsigned round = 0; round < 50; round++) {
        static struct reference reference;
        struct series_cell nodes[3] = {{.count = 0}};
        struct series_cell all = {.count = 0};
        reference.count = 0;
        size_t count = 1 + rand_u64(&rand) % 2000;
        for (size_t i = 0; i < count; i++) {
            double value = any_time(&rand);
            reference.values[reference.count++] = value;
            cr_assert(series_cell_add(&nodes[rand_u64(&rand) % 3], SERIES_TIMER, value, i));
        }
        for (unsigned i = 0; i < 3; i++) {
            struct builder text = {0};
            struct series_cell read;
            series_cell_write(&nodes[i], &text);
            cr_assert_eq(series_cell_read(builder_bytes(&text), &read), 0);
            cr_assert(series_cell_merge(&all, &read));
            series_cell_finish(&read);
            series_cell_finish(&nodes[i]);
            builder_reset(&text);
        }
        expect_same(&all, &reference);
        series_cell_finish(&all);
    }
}

Test(series, a_text_that_is_none_is_refused)
{
    static const char *const texts[] = {"", "1", "1 2 3 4 5", "x 1 1 1 1 1", "1 nan 1 1 1 1",
        "1 inf 1 1 1 1", "1 1 1 1 1 -1", "1 1 1 1 1 1 706:1", "1 1 1 1 1 1 5", "1 1 1 1 1 1 5:x",
        "1 1 1 1 1 1 :1"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct series_cell cell;
        cr_expect_eq(series_cell_read(bytes_str(texts[i]), &cell), STATUS_INVALID, "%s", texts[i]);
        cr_expect_eq(cell.count, 0);
        cr_expect_eq(series_cell_bytes(&cell), 0);
    }
}

/* Buckets. */

struct seen {
    uint64_t count;
    double sum;
    unsigned buckets;
    uint64_t start_ms;
};

static void see(void *context, struct bytes key, const struct series_cell *cell, uint64_t start_ms)
{
    struct seen *seen = context;
    cr_expect_eq(key.at[0], 'c');
    seen->count += cell->count;
    seen->sum += cell->sum;
    seen->buckets += seen->start_ms != start_ms;
    seen->start_ms = start_ms;
}

static struct seen see_all(const struct series_window *window)
{
    struct seen seen = {.start_ms = 1};
    list_for_each (link, &window->buckets) {
        const struct series_bucket *bucket = container_of(link, struct series_bucket, link);
        cr_assert_gt(bucket->start_ms + 1, seen.start_ms, "in order");
        cr_expect_eq(series_bucket_visit(bucket, see, &seen), 0);
    }
    return seen;
}

Test(series, a_bucket_that_is_closed_tells_the_same_and_takes_nothing_more)
{
    enum { START = 1767225600 };
    uint64_t now = (uint64_t)START * 1000;
    struct series_window window;
    struct series_key key;
    struct bytes text;
    series_window_init(&window);
    cr_assert_null(make(SERIES_COUNTER, "sold", &key));
    text = bytes_of(key.at, key.len);
    for (unsigned i = 0; i < 10; i++) { /* the later ones first */
        cr_assert(series_window_add(&window, text, 1.5, now - i * (uint64_t)SERIES_BUCKET_MS));
    }
    size_t bytes = window.bytes;
    cr_expect_gt(bytes, 0);
    struct seen open = see_all(&window);
    cr_expect_eq(open.buckets, 10);
    cr_expect_eq(open.count, 10);
    series_window_age(&window, now + SERIES_LATE_MS * 2, true);
    struct seen closed = see_all(&window);
    cr_expect_eq(closed.buckets, 10);
    cr_expect_eq(closed.count, 10);
    cr_expect_float_eq(closed.sum, 15, 1e-9);
    cr_expect_lt(window.bytes, bytes, "as text it is smaller");
    cr_expect_not(series_window_add(&window, text, 1, now), "it is closed");
    series_window_age(&window, now + SERIES_KEPT_MS + SERIES_BUCKET_MS, true);
    cr_expect_eq(see_all(&window).buckets, 1, "a day later all but the newest are gone");
    series_window_finish(&window);
    cr_expect_eq(window.bytes, 0);
}

Test(series, what_is_written_goes_and_what_is_not_stays)
{
    struct series_window window;
    struct series_key key;
    uint64_t now = 1767225600000;
    bool dirty;
    series_window_init(&window);
    cr_assert_null(make(SERIES_COUNTER, "sold", &key));
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(series_window_add(
            &window, bytes_of(key.at, key.len), 1, now + i * (uint64_t)SERIES_BUCKET_MS));
    }
    cr_expect_eq(series_window_dirty(&window), 3);
    struct series_bucket *written = series_window_find(&window, now);
    written->dirty = false;
    series_window_find(&window, now + SERIES_BUCKET_MS)->writing = true;
    series_window_age(&window, now + SERIES_LATE_MS * 2, false);
    cr_expect_null(series_window_find(&window, now), "Redis has it");
    cr_expect_not_null(series_window_find(&window, now + SERIES_BUCKET_MS));
    cr_assert(series_window_drop(&window, &dirty), "the oldest that is not being written");
    cr_expect(dirty);
    cr_expect_not(series_window_drop(&window, &dirty));
    series_window_finish(&window);
}
