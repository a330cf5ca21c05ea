/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocations that may fail do so, each one once and all from it on, while a last value for many
 * rooms is posted: what Redis is given is whole, or nothing.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "actors/inbox/post.h"
#include "codec/base/buf.h"
#include "codec/base/log.h"
#include "codec/base/status.h"
#include "tests/support/failing.h"
#include "tests/support/nodes.h"

TestSuite(retained_starved, .timeout = 280);

/* A text that is larger than what builders may always have. */
enum { ROOMS = 200, NTH_MAX = 2000, LARGE = 20000 };

static char text[LARGE + 1]; /* ["banner",{"of":"xxx…"}] */

static struct bytes write_text(void)
{
    static const char begins[] = "[\"banner\",{\"of\":\"";
    memset(text, 'x', LARGE);
    memcpy(text, begins, sizeof(begins) - 1);
    memcpy(text + LARGE - 3, "\"}]", 3);
    return bytes_of(text, LARGE);
}

static int post_banner(struct nodes *nodes)
{
    struct bytes rooms[ROOMS];
    char names[ROOMS][24];
    char args[LARGE + 1] = "[";
    struct shard *shard = nodes_on(nodes, 0, 0);
    struct bytes object = bytes_skip(write_text(), strlen("[\"banner\","));
    memcpy(args + 1, object.at, object.len);
    for (unsigned i = 0; i < ROOMS; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "room-with-a-name-%u", i);
        rooms[i] = bytes_str(names[i]);
    }
    const struct notification_post post = {.is_event = true,
        .target = NOTIFICATION_ROOMS,
        .targets = rooms,
        .target_count = ROOMS,
        .event = BYTES("banner"),
        .args = bytes_of(args, 1 + object.len),
        .retain = BYTES("banner")};
    return post_event(shard, &post);
}

/* All that Redis keeps has the whole event behind its head; how many there are. */
static size_t check_kept(struct nodes *nodes, int64_t nth)
{
    struct fake_kept *kept = &fake_redis_data(nodes->redis)->kept;
    size_t count = 0;
    char cursor[32] = "0";
    do {
        const struct bytes argv[] = {
            BYTES("HSCAN"), BYTES(""), bytes_str(cursor), BYTES("COUNT"), BYTES("64")};
        struct bus_reply *page = fake_kept_carry_out(kept, argv, ARRAY_LEN(argv), nodes->now_ms);
        for (size_t i = 0; i + 1 < page->items[1]->count; i += 2) {
            struct bytes field = page->items[1]->items[i]->text;
            struct bytes value = page->items[1]->items[i + 1]->text;
            cr_assert(value.len > LARGE &&
                          bytes_eq(bytes_skip(value, value.len - LARGE), bytes_of(text, LARGE)),
                "%lld: %zu bytes", (long long)nth, value.len);
            cr_assert(bytes_starts(field, BYTES("room-with-a-name-")) && field.len >= 25,
                "%lld: %.*s", (long long)nth, (int)field.len, field.at);
            count++;
        }
        (void)snprintf(
            cursor, sizeof(cursor), "%.*s", (int)page->items[0]->text.len, page->items[0]->text.at);
        fake_reply_free(page);
    } while (strcmp(cursor, "0") != 0);
    return count;
}

/* Whether any allocation failed. */
static bool keep(int64_t nth, int64_t count)
{
    const struct nodes_options options = {
        .nodes = 2, .shards = 1, .bus = true, .retain_bytes = 64 << 20};
    struct nodes *nodes = nodes_create(7, &options);
    nodes_settle(nodes);
    failing_arm(nth, count);
    int status = post_banner(nodes);
    nodes_settle(nodes);
    bool any = failing_count() > 0;
    failing_arm(0, 0);
    cr_assert(status == 0 || status == STATUS_NOMEM, "%lld: %d", (long long)nth, status);
    (void)check_kept(nodes, nth);
    for (unsigned i = 0; i < 20; i++) {
        nodes_advance(nodes, 500);
        nodes_settle(nodes);
    }
    size_t kept = check_kept(nodes, nth);
    cr_assert(kept == ROOMS || (any && kept < ROOMS), "%lld: %zu", (long long)nth, kept);
    nodes_destroy(nodes);
    return any;
}

Test(retained_starved, what_redis_is_given_is_whole)
{
    log_set_level(LOG_ERROR);
    int64_t nth = 1;
    for (; nth < NTH_MAX && keep(nth, 1); nth++) {
        (void)keep(nth, FAILING_FOR_GOOD);
    }
    cr_assert(nth > 3 && nth < NTH_MAX);
}
