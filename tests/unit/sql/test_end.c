/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When posts to many end, on both engines. Order of this file: another end, what nobody has, what
 * others have locked.
 */
#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <stdio.h>

#include "codec/base/clock.h"
#include "codec/base/status.h"
#include "sql/store_forget.h"
#include "sql/store_retention.h"
#include "tests/unit/sql/audience.h"
#include "tests/unit/sql/both.h"
#include "tests/unit/sql/sharing.h"

static const uint64_t DAY = 86400000;

/* Whether a post can still be taken back. */
static bool is_there(struct harness *harness, const struct store_audience_post *post)
{
    struct store_retract find = {.base.op = STORE_RETRACT, .only_find = true};
    memcpy(find.id, post->id, NOTIFICATION_ID_LEN);
    int status = harness_run(harness, 0, &find.base);
    cr_assert(status == 0 || status == STATUS_NOT_FOUND, "%d", status);
    store_request_finish(&find.base);
    return status == 0;
}

/* --- another end --- */

static struct store_revise end_at(uint64_t expires_at)
{
    return (struct store_revise){.fields = NOTIFICATION_EDIT_TITLE | NOTIFICATION_EDIT_EXPIRES,
        .title = {.at = "longer", .len = 6},
        .expires_at = expires_at,
        .at = 1800000000000};
}

/* What is due at `now`, in steps of so many rows: how many rows went, and how many were told to
 * have other content. */
struct swept {
    size_t gone;
    size_t renewed;
    size_t woken;
};

static struct swept sweep_at(struct harness *harness, uint64_t now, uint32_t limit)
{
    struct swept swept = {0};
    bool more = true;
    while (more) {
        struct store_sweep sweep = {
            .base.op = STORE_SWEEP, .now = now, .limit = limit, .tombstone_ms = now};
        cr_assert_eq(harness_run(harness, 0, &sweep.base), 0);
        for (size_t i = 0; i < sweep.user_count; i++) {
            const struct store_swept *one = &sweep.users[i];
            size_t *count = one->renewed ? &swept.renewed : one->news ? &swept.woken : &swept.gone;
            *count += one->change_count;
            for (size_t j = 0; j < one->change_count; j++) {
                cr_expect_eq(one->changes[j].rev, one->position.rev);
            }
        }
        more = sweep.more;
        store_request_finish(&sweep.base);
    }
    return swept;
}

/* It is over for everybody: for who had it, who comes late, and who looked in meanwhile. */
BOTH(a_post_that_has_expired_gets_no_other_end)
{
    struct harness harness;
    harness_open(&harness, url);
    cr_expect(subscribe_to(&harness, "ann", "news"));
    cr_expect(subscribe_to(&harness, "ben", "news"));
    struct store_audience_post post = post_of("news", 1);
    post.expires_at = 50;
    post_many(&harness, &post);
    struct store_row row = row_of(user_of("ben"), 1, 1); /* ben is past the post, ann is not */
    put_row(&harness, &row);
    struct store_revise late = end_at(0);
    late.base.op = STORE_REVISE;
    memcpy(late.id, post.id, NOTIFICATION_ID_LEN);
    cr_expect_eq(harness_run(&harness, 0, &late.base), STATUS_NOT_FOUND);
    store_request_finish(&late.base);
    late.fields = NOTIFICATION_EDIT_TITLE;
    cr_expect_eq(harness_run(&harness, 0, &late.base), STATUS_NOT_FOUND);
    store_request_finish(&late.base);
    expect_position(&harness, user_of("ann"), 0, 0, 0);
    expect_position(&harness, user_of("ben"), 1, 1, 1);
    cr_expect(is_there(&harness, &post), "until a sweep drops it");
    harness_close(&harness);
}

/* Nobody reads between the change and the time at which it would have ended. */
BOTH(another_end_that_was_given_in_time_holds)
{
    static const char *const users[] = {"ann", "ben", "cid", "dan"};
    struct harness harness;
    harness_open(&harness, url);
    uint64_t end = clock_wall_ms() + DAY;
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        cr_expect(subscribe_to(&harness, users[i], "news"));
    }
    struct store_audience_post longer = post_of("news", 1);
    struct store_audience_post never = post_of("news", 2);
    struct store_audience_post same = post_of("news", 3);
    longer.expires_at = never.expires_at = same.expires_at = end;
    post_many(&harness, &longer);
    post_many(&harness, &never);
    post_many(&harness, &same);
    for (size_t i = 0; i + 1 < ARRAY_LEN(users); i++) {
        expect_position(&harness, user_of(users[i]), 3, 3, 3);
    }
    const struct store_revise later = end_at(end + DAY);
    const struct store_revise stays = end_at(0);
    revise_post(&harness, &longer, &later);
    revise_post(&harness, &never, &stays);
    struct swept swept = sweep_at(&harness, end, 2);
    cr_expect_eq(swept.renewed, 6, "%zu", swept.renewed);
    cr_expect_eq(swept.gone, 3, "%zu", swept.gone);
    cr_expect_eq(swept.woken, 0);
    expect_position(&harness, user_of("dan"), 3, 3, 3); /* who comes late has what all had */
    swept = sweep_at(&harness, end + DAY - 1, 2);
    cr_expect_eq(swept.gone, 1, "dan's, that has no other end");
    swept = sweep_at(&harness, end + DAY, 2);
    cr_expect_eq(swept.renewed, 0);
    cr_expect_eq(swept.gone, 4, "%zu", swept.gone);
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        struct store_position position = position_of(&harness, user_of(users[i]));
        cr_expect_eq(position.unread, 1, "%s has %lu", users[i], position.unread);
    }
    harness_close(&harness);
}

/* The end of a digest is that of the last of its posts, as they are by now. */
BOTH(another_end_of_a_post_holds_for_the_digest_that_it_joined)
{
    struct harness harness;
    harness_open(&harness, url);
    uint64_t end = clock_wall_ms() + DAY;
    cr_expect(subscribe_to(&harness, "ann", "news"));
    struct store_audience_post first = comment_to("news", 1, 0);
    struct store_audience_post second = comment_to("news", 2, 1);
    first.expires_at = second.expires_at = end;
    post_many(&harness, &first);
    post_many(&harness, &second);
    expect_position(&harness, user_of("ann"), 1, 2, 1);
    const struct store_revise later = end_at(end + DAY);
    revise_post(&harness, &second, &later);
    struct swept swept = sweep_at(&harness, end, 10);
    cr_expect_eq(swept.renewed, 1);
    cr_expect_eq(swept.gone, 0);
    expect_position(&harness, user_of("ann"), 1, 3, 1);
    swept = sweep_at(&harness, end + DAY, 10);
    cr_expect_eq(swept.gone, 1);
    harness_close(&harness);
}

/* --- what nobody has --- */

/* A whole walk that keeps a day, by the time of posts of sharing.h. */
static size_t walk(struct harness *harness, uint64_t now, uint32_t limit)
{
    struct store_retention retention = {
        .sweep = {.base.op = STORE_RETAIN, .now = now, .limit = limit}, .usual.age_ms = DAY};
    size_t taken = 0;
    for (unsigned done = 0; done != (1u << STORE_RETENTION_PARTS) - 1;) {
        cr_assert_eq(harness_run(harness, 0, &retention.sweep.base), 0);
        for (size_t i = 0; i < retention.sweep.user_count; i++) {
            taken += retention.sweep.users[i].change_count;
        }
        done |= retention.done ? 1u << retention.part : 0;
        store_request_finish(&retention.sweep.base);
    }
    return taken;
}

static uint64_t count_marks(struct harness *harness, const char *user)
{
    struct store_forget forget = {.base.op = STORE_FORGET, .who = user_of(user)};
    cr_assert_eq(harness_run(harness, 0, &forget.base), 0);
    uint64_t marks = forget.erased[STORE_FORGOTTEN_DIGESTS];
    store_request_finish(&forget.base);
    return marks;
}

BOTH(a_post_is_kept_as_long_as_digests_that_hold_it)
{
    struct harness harness;
    harness_open(&harness, url);
    cr_expect(subscribe_to(&harness, "ann", "news"));
    cr_expect(subscribe_to(&harness, "ben", "news"));
    struct store_audience_post posts[4];
    for (uint64_t i = 0; i < 4; i++) {
        posts[i] = comment_to("news", i + 1, i * 1000);
        post_many(&harness, &posts[i]);
    }
    struct store_row row = comment_of(user_of("ben"), 1, SHARING_SPAN - 1); /* ben's is younger */
    expect_position(&harness, user_of("ann"), 1, 4, 1);
    put_row(&harness, &row);
    expect_position(&harness, user_of("ben"), 1, 5, 1);
    uint64_t now = SHARING_START + DAY + SHARING_SPAN / 2;
    cr_expect_eq(walk(&harness, now, 2), 1, "ann's");
    cr_expect_eq(walk(&harness, now, 2), 0);
    cr_expect_eq(walk(&harness, now, 2), 0);
    for (size_t i = 0; i < 4; i++) {
        cr_expect(is_there(&harness, &posts[i]), "%zu: ben has it", i);
    }
    retract_post(&harness, &posts[2]);
    expect_position(&harness, user_of("ben"), 1, 6, 1);
    struct store_mark erase = erase_of(user_of("ben"), 5);
    cr_assert_eq(harness_run(&harness, 0, &erase.base), 0);
    store_request_finish(&erase.base);
    (void)walk(&harness, now, 2);
    cr_expect_not(is_there(&harness, &posts[0]));
    cr_expect_not(is_there(&harness, &posts[1]));
    cr_expect_not(is_there(&harness, &posts[3]));
    cr_expect_leq(count_marks(&harness, "ann"), 1, "what is taken back goes with that");
    cr_expect_leq(count_marks(&harness, "ben"), 1);
    harness_close(&harness);
}

/* --- what others have locked --- */

static PGconn *hold(const char *url, const char *sql)
{
    PGconn *pg = PQconnectdb(url);
    PGresult *begun = PQexec(pg, "BEGIN");
    PGresult *held = PQexec(pg, sql);
    ExecStatusType status = PQresultStatus(held);
    cr_assert(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, "%s", PQerrorMessage(pg));
    PQclear(begun);
    PQclear(held);
    return pg;
}

static void let_go(PGconn *pg)
{
    PQclear(PQexec(pg, "ROLLBACK"));
    PQfinish(pg);
}

static void put_old(struct harness *harness, const char *user)
{
    struct store_row row = row_of(user_of(user), 1, 1);
    row.created_at = SHARING_START;
    give_row(&row, user_of(user));
    put_row(harness, &row);
}

Test(postgres, a_walk_passes_by_locked_inboxes_and_comes_again)
{
    char url[URL_MAX];
    struct harness harness;
    harness_url("postgres", url);
    harness_open(&harness, url);
    put_old(&harness, "ann");
    put_old(&harness, "ben");
    PGconn *other = hold(url, "SELECT FROM peal.inbox WHERE user_id = 'ann' FOR UPDATE");
    uint64_t now = SHARING_START + 2 * DAY;
    cr_expect_eq(walk(&harness, now, 10), 1, "ben's");
    expect_position(&harness, user_of("ben"), 1, 2, 0);
    expect_position(&harness, user_of("ann"), 1, 1, 1);
    let_go(other);
    cr_expect_eq(walk(&harness, now, 10), 1, "ann's");
    expect_position(&harness, user_of("ann"), 1, 2, 0);
    harness_close(&harness);
}

/* Who comes takes the users of lists away in another order than the walk: neither waits. */
Test(postgres, a_post_that_has_ended_is_dropped_while_its_users_come)
{
    char url[URL_MAX];
    struct harness harness;
    harness_url("postgres", url);
    harness_open(&harness, url);
    const struct bytes users[] = {BYTES("ann"), BYTES("ben")};
    struct store_audience_post post = post_of(NULL, 1);
    post.kind = AUDIENCE_LIST;
    post.users = users;
    post.user_count = ARRAY_LEN(users);
    post.created_at = SHARING_START;
    post_many(&harness, &post);
    uint64_t now = SHARING_START + 2 * DAY;
    (void)walk(&harness, now, 10);
    cr_expect(is_there(&harness, &post), "it has ended");
    PGconn *other = hold(url, "DELETE FROM peal.member WHERE user_id = 'ben'");
    (void)walk(&harness, now, 10);
    cr_expect_not(is_there(&harness, &post));
    let_go(other);
    expect_position(&harness, user_of("ben"), 0, 0, 0);
    harness_close(&harness);
}
