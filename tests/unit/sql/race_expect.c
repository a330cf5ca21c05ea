/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What there must be when a race has ended: of each user, each post, each device.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/notification_digest.h"
#include "tests/unit/sql/race_run.h"

/* All that is due goes, and nothing is left of what was taken back. */
static void sweep_all(struct worker *worker)
{
    static const enum store_op ops[] = {STORE_SWEEP, STORE_AUDIENCE_SWEEP, STORE_AUDIENCE_SWEEP};
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        bool more = true;
        while (more) {
            struct store_sweep sweep = {
                .base.op = ops[i], .now = 2 * EXPIRED, .limit = 500, .tombstone_ms = 3 * EXPIRED};
            more = race_ask(worker, &sweep.base) == 0 && sweep.more;
            race_own_sweep(worker, &sweep);
            store_request_finish(&sweep.base);
        }
    }
}

/* All rows of an inbox, and what is known of numbers that have none. */
struct inbox {
    struct notification_item rows[ROWS_MAX]; /* by seq; of texts `title` and `digest`, owned */
    bool there[ROWS_MAX];
    bool buried[ROWS_MAX];
    struct store_position position;
};

static void keep(struct bytes *text)
{
    *text = bytes_of(text->len > 0 ? mem_dup(text->at, text->len) : NULL, text->len);
}

static void free_inbox(struct inbox *inbox)
{
    for (uint64_t seq = 0; seq < ROWS_MAX; seq++) {
        if (inbox->there[seq]) {
            mem_free((void *)(uintptr_t)inbox->rows[seq].title.at);
            mem_free((void *)(uintptr_t)inbox->rows[seq].digest.at);
        }
    }
    mem_free(inbox);
}

static void read_inbox(struct worker *worker, unsigned user, struct inbox *inbox)
{
    struct store_list list = {.base.op = STORE_LIST,
        .who = user_of(race_users[user]),
        .limit = 100,
        .ascending = true,
        .states = NOTIFICATION_ALL_STATES};
    do {
        cr_assert_eq(race_ask(worker, &list.base), 0);
        for (size_t i = 0; i < list.count; i++) {
            uint64_t seq = list.items[i].seq;
            cr_assert(seq >= 1 && seq < ROWS_MAX && seq <= list.position.seq);
            cr_assert_not(inbox->there[seq], "%s: seq %lu twice", race_users[user], seq);
            inbox->rows[seq] = list.items[i];
            keep(&inbox->rows[seq].title);
            keep(&inbox->rows[seq].digest);
            inbox->there[seq] = true;
        }
        inbox->position = list.position;
        struct store_cursor next = list.next;
        store_request_finish(&list.base);
        list.before = next;
    } while (list.before.new_rev > 0);
}

/* Tombstones: those of a sync from nothing. */
static void read_tombstones(struct worker *worker, unsigned user, struct inbox *inbox)
{
    struct store_sync sync = {
        .base.op = STORE_SYNC, .who = user_of(race_users[user]), .limit = STORE_PAGE_MAX};
    bool done = false;
    while (!done) {
        cr_assert_eq(race_ask(worker, &sync.base), 0);
        for (size_t i = 0; i < sync.change_count; i++) {
            const struct notification_change *change = &sync.changes[i];
            if (change->state >= NOTIFICATION_EXPIRED) {
                cr_assert_not(inbox->buried[change->seq] || inbox->there[change->seq],
                    "%s: seq %lu is there and gone", race_users[user], change->seq);
                inbox->buried[change->seq] = true;
            }
        }
        done = sync.done || sync.resync;
        sync.rev = sync.through_rev;
        store_request_finish(&sync.base);
    }
}

/* No number is missing, and the counters are those of the rows. */
static void expect_numbers(unsigned user, const struct inbox *inbox)
{
    uint64_t unread = 0;
    uint64_t unseen = 0;
    for (uint64_t seq = 1; seq <= inbox->position.seq; seq++) {
        cr_assert(inbox->there[seq] || inbox->buried[seq] || user == ERASED,
            "%s: seq %lu is missing", race_users[user], seq);
        unread += inbox->there[seq] && inbox->rows[seq].state <= NOTIFICATION_SEEN;
        unseen += inbox->there[seq] && inbox->rows[seq].state == NOTIFICATION_UNREAD;
    }
    cr_assert_eq(inbox->position.unread, unread, "%s: %lu, recounted %lu", race_users[user],
        inbox->position.unread, unread);
    cr_assert_eq(inbox->position.unseen, unseen, "%s: %lu, recounted %lu", race_users[user],
        inbox->position.unseen, unseen);
}

/* What a user has of posts to many. */
struct had {
    unsigned counts[RACE_POSTS_MAX]; /* by post: how often it is shown or remembered */
    uint64_t forgotten; /* posts that digests count, and do not remember */
};

/* One post that a row shows or remembers, behind the one of number `last`; its number. */
static uint64_t expect_post(struct race *race, unsigned user, const struct notification_item *item,
    const uint8_t id[NOTIFICATION_ID_LEN], uint64_t last, struct had *had)
{
    size_t revision;
    const struct race_post *post = race_find(race, id);
    cr_assert_not_null(
        post, "%s: seq %lu is of a post that nobody made", race_users[user], item->seq);
    cr_assert_eq(race_count_in(item, id, &revision), 1, "%s: seq %lu", race_users[user], item->seq);
    cr_assert_eq(post->gathers, item->digest.len > 0, "%s: seq %lu", race_users[user], item->seq);
    cr_assert_gt(post->n, last, "%s: seq %lu, in the order of posts", race_users[user], item->seq);
    cr_assert(race_may_say(race, post, revision, race->tick + 1), "%s: seq %lu says revision %zu",
        race_users[user], item->seq, revision);
    had->counts[post - race->posts]++;
    return post->n;
}

/* A digest shows its newest post, and remembers the last ones in their order. */
static void expect_digest(
    struct race *race, unsigned user, const struct notification_item *item, struct had *had)
{
    struct notification_digest_entry entries[NOTIFICATION_DIGEST_MAX];
    struct bytes digest = item->digest;
    uint64_t last = 0;
    size_t count = 0;
    while (count < NOTIFICATION_DIGEST_MAX && notification_digest_take(&digest, &entries[count])) {
        count++;
    }
    cr_assert(digest.len == 0 && count > 0 && item->count >= count, "%s: seq %lu: %zu of %lu",
        race_users[user], item->seq, count, item->count);
    cr_assert(memcmp(item->audience_id, entries[0].id, NOTIFICATION_ID_LEN) == 0 &&
                  bytes_eq(item->title, entries[0].title),
        "%s: seq %lu shows another post", race_users[user], item->seq);
    for (size_t i = count; i > 0; i--) {
        last = expect_post(race, user, item, entries[i - 1].id, last, had);
    }
    had->forgotten += item->count - count;
}

/* What rows show and remember, in the order of posts. */
static void collect_posts(
    struct race *race, unsigned user, const struct inbox *inbox, struct had *had)
{
    uint64_t last = 0;
    for (uint64_t seq = 1; seq <= inbox->position.seq; seq++) {
        const struct notification_item *item = &inbox->rows[seq];
        if (!inbox->there[seq] || item->audience == AUDIENCE_NONE) {
            continue;
        }
        if (item->digest.len > 0) {
            expect_digest(race, user, item, had);
        } else {
            last = expect_post(race, user, item, item->audience_id, last, had);
        }
    }
}

/* Each post is there once for whom it is, and not at all for others or when it was taken back; of
 * those that are in digests some may not be remembered. */
static void expect_posts(struct race *race, unsigned user, const struct inbox *inbox)
{
    struct had *had = mem_alloc(sizeof(*had));
    uint64_t missing = 0;
    uint64_t possible = 0;
    collect_posts(race, user, inbox, had);
    for (size_t i = 0; i < race->post_count; i++) {
        const struct race_post *post = &race->posts[i];
        enum race_answer answer = post->retract.begin != RACE_OPEN
                                      ? RACE_NO
                                      : race_is_for(race, post, user, race->tick + 1);
        unsigned count = had->counts[i];
        if (post->gathers && count == 0) {
            missing += answer == RACE_YES;
            possible += answer != RACE_NO;
            continue;
        }
        bool wrong = answer == RACE_UNSURE ? count > 1 : count != (answer == RACE_YES);
        if (wrong) {
            race_tell(race, post, user);
            cr_assert_fail("%s has post %lu %u times", race_users[user], post->n, count);
        }
    }
    cr_assert(missing <= had->forgotten && had->forgotten <= possible,
        "%s: %lu posts of digests are not remembered, %lu to %lu are not there", race_users[user],
        had->forgotten, missing, possible);
    mem_free(had);
}

/* What was posted for one user is there, in the order of its poster, unless it went. */
static void expect_singles(const struct worker *worker, unsigned user, const struct inbox *inbox)
{
    uint64_t last = 0;
    for (size_t i = 0; i < worker->single_count; i++) {
        const struct single *single = &worker->singles[i];
        if (single->user != user || user == ERASED) {
            continue;
        }
        cr_assert_gt(
            single->seq, last, "%s: seq %lu behind %lu", race_users[user], single->seq, last);
        last = single->seq;
        cr_assert_eq(inbox->there[last], !single->gone, "%s: seq %lu", race_users[user], last);
        cr_assert(
            single->gone || memcmp(inbox->rows[last].id, single->id, NOTIFICATION_ID_LEN) == 0);
    }
}

/* A device comes to have what is in the list, from wherever it stood. */
static void expect_device(struct worker *worker, unsigned user, const struct inbox *inbox)
{
    struct device *device = &worker->devices[user];
    if (user == ERASED) { /* it lists again */
        return;
    }
    for (unsigned pages = 0; !race_sync(worker, user, 50); pages++) {
        cr_assert_lt(pages, ROWS_MAX, "it never ends");
    }
    for (uint64_t seq = 1; seq <= inbox->position.seq; seq++) {
        bool kept = inbox->there[seq] && inbox->rows[seq].state != NOTIFICATION_ARCHIVED;
        cr_assert_eq(device->has[seq], kept, "%s: seq %lu of the device of worker %u",
            race_users[user], seq, worker->index);
        cr_assert(!kept || device->state[seq] == inbox->rows[seq].state, "%s: seq %lu",
            race_users[user], seq);
    }
}

/* Numbers of posts have no holes, and are in the order of each poster's posts. */
static void expect_heads(const struct race *race)
{
    bool *seen = mem_alloc_array(RACE_POSTS_MAX + 1, sizeof(*seen));
    uint64_t last[WORKERS] = {0};
    for (size_t i = 0; i < race->post_count; i++) {
        const struct race_post *post = &race->posts[i];
        cr_assert(post->n >= 1 && post->n <= race->post_count && !seen[post->n], "post %lu of %zu",
            post->n, race->post_count);
        seen[post->n] = true;
        cr_assert_gt(post->n, last[post->worker], "post %lu of one poster", post->n);
        last[post->worker] = post->n;
    }
    mem_free(seen);
}

/* Who is subscribed in the end is listed. */
static void expect_topics(struct worker *worker, unsigned user)
{
    const struct race *race = &worker->arena->race;
    struct store_topics request = {
        .base.op = STORE_TOPICS, .of_user = true, .user = bytes_str(race_users[user]), .limit = 10};
    cr_assert_eq(race_ask(worker, &request.base), 0);
    for (unsigned i = 0; i < RACE_TOPICS; i++) {
        bool listed = false;
        for (size_t j = 0; j < request.count; j++) {
            listed |= bytes_eq_str(request.names[j], race_topics[i]);
        }
        const struct race_span now = {race->tick + 1, race->tick + 1};
        enum race_answer answer = race_is_subscribed(race, user, i, now);
        cr_assert(answer == RACE_UNSURE || listed == (answer == RACE_YES), "%s: topic %s",
            race_users[user], race_topics[i]);
    }
    store_request_finish(&request.base);
}

void race_expect_all(struct arena *arena, unsigned worker)
{
    struct worker *first = &arena->workers[0];
    cr_assert_eq(arena->race.failure[0], '\0', "%s", arena->race.failure);
    sweep_all(first);
    expect_heads(&arena->race);
    race_own_expect(arena);
    for (unsigned user = 0; user < RACE_USERS; user++) {
        struct inbox *inbox = mem_alloc(sizeof(*inbox));
        race_may_come(&arena->race, user); /* by being read, before the next checkpoint */
        read_inbox(first, user, inbox);
        read_tombstones(first, user, inbox);
        expect_numbers(user, inbox);
        expect_posts(&arena->race, user, inbox);
        expect_topics(first, user);
        for (unsigned i = 0; i < WORKERS; i++) {
            expect_singles(&arena->workers[i], user, inbox);
            if (worker == i || worker >= WORKERS) {
                expect_device(&arena->workers[i], user, inbox);
            }
        }
        free_inbox(inbox);
    }
    cr_assert_eq(arena->race.failure[0], '\0', "%s", arena->race.failure);
}
