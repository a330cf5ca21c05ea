/* SPDX-License-Identifier: Apache-2.0 */
/*
 * race - what may be said of posts to many, when several threads post, subscribe and take back at
 * once: who has one for sure, who for sure has not, and of whom nothing can be said.
 *
 * Each operation lasts from a tick to a tick of one clock. What ended before another began counts
 * for it, what began after it ended does not; of two that overlap either may have been first.
 */
#ifndef TESTS_UNIT_SQL_RACE_H
#define TESTS_UNIT_SQL_RACE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/notification_item.h"

enum {
    RACE_USERS = 12,
    RACE_TOPICS = 3,
    RACE_POSTS_MAX = 3000,
    RACE_CHANGES_MAX = 8000,
    RACE_REVISIONS_MAX = 4000
};

/* An operation under way has no end yet. */
#define RACE_OPEN UINT64_MAX

struct race_span {
    uint64_t begin;
    uint64_t end;
};

enum race_answer { RACE_NO, RACE_UNSURE, RACE_YES };

/* A subscription that begins or ends; when a user is erased all end. */
struct race_change {
    struct race_span span;
    unsigned user;
    unsigned topic;
    bool joins;
    bool erases; /* what was posted before goes too */
};

struct race_post {
    struct race_span span;
    struct race_span retract; /* begin RACE_OPEN: it was not taken back */
    unsigned worker;
    enum notification_audience kind;
    unsigned topic;
    bool include_new;
    bool gathers; /* it is in digests */
    bool listed[RACE_USERS];
    uint8_t id[NOTIFICATION_ID_LEN];
    uint64_t n;
};

/* Other content of a post: its title is the number of the revision, from 1. */
struct race_revision {
    struct race_span span;
    const struct race_post *post; /* NULL: it had been taken back */
};

struct race {
    pthread_mutex_t lock; /* of all below */
    uint64_t tick;
    struct race_post posts[RACE_POSTS_MAX];
    size_t post_count;
    struct race_change changes[RACE_CHANGES_MAX];
    size_t change_count;
    struct race_revision revisions[RACE_REVISIONS_MAX];
    size_t revision_count;
    uint64_t came[RACE_USERS]; /* when the first operation had ended that makes an inbox */
    uint64_t may_have_come[RACE_USERS]; /* when the first one began that may have made it */
    char failure[256]; /* the first one */
};

void race_init(struct race *race);
void race_finish(struct race *race);

/* The clock. Any thread, as all below. */
uint64_t race_tick(struct race *race);

/* What is about to be asked may make a user's inbox; it has been made by now. */
void race_may_come(struct race *race, unsigned user);
void race_has_come(struct race *race, unsigned user);

/* Note a subscription that is about to change, for race_end; and the end of it. */
size_t race_begin(struct race *race, const struct race_change *change);
void race_end(struct race *race, size_t change);

/* Note a post that was stored, over all the time that it took. */
void race_add_post(struct race *race, const struct race_post *post);

/* Note that a post is about to get other content: the number of the revision; and the end of it,
 * `found`: the post was there. */
size_t race_begin_revision(struct race *race, const struct race_post *post);
void race_end_revision(struct race *race, size_t number, bool found);

/* Whether who reads at `now` may see the title of that revision, 0: the first one. */
bool race_may_say(
    const struct race *race, const struct race_post *post, size_t number, uint64_t now);

/* A post by its id; NULL: its poster has not been answered yet. */
struct race_post *race_find(struct race *race, const uint8_t *id);

/* Whether a user has it, for who reads at `now`, as long as it is not taken back. */
enum race_answer race_is_for(
    const struct race *race, const struct race_post *post, unsigned user, uint64_t now);

/* Whether a user was subscribed all the time of `span`. */
enum race_answer race_is_subscribed(
    const struct race *race, unsigned user, unsigned topic, struct race_span span);

/* Note what is wrong; the first one counts. */
void race_fail(struct race *race, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Write what the judgement of a post rests on to stderr. */
void race_tell(const struct race *race, const struct race_post *post, unsigned user);

#endif
