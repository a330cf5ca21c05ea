/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the operations of a race and judges by them.
 */
#include "tests/unit/sql/race.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/check.h"

void race_init(struct race *race)
{
    memset(race, 0, sizeof(*race));
    pthread_mutex_init(&race->lock, NULL);
    for (unsigned i = 0; i < RACE_USERS; i++) {
        race->came[i] = race->may_have_come[i] = RACE_OPEN;
    }
}

void race_finish(struct race *race)
{
    pthread_mutex_destroy(&race->lock);
}

uint64_t race_tick(struct race *race)
{
    pthread_mutex_lock(&race->lock);
    uint64_t tick = ++race->tick;
    pthread_mutex_unlock(&race->lock);
    return tick;
}

static void note_first(struct race *race, uint64_t *at)
{
    pthread_mutex_lock(&race->lock);
    race->tick++;
    *at = race->tick < *at ? race->tick : *at;
    pthread_mutex_unlock(&race->lock);
}

void race_may_come(struct race *race, unsigned user)
{
    note_first(race, &race->may_have_come[user]);
}

void race_has_come(struct race *race, unsigned user)
{
    note_first(race, &race->came[user]);
}

size_t race_begin(struct race *race, const struct race_change *change)
{
    pthread_mutex_lock(&race->lock);
    CHECK(race->change_count < RACE_CHANGES_MAX);
    size_t at = race->change_count++;
    race->changes[at] = *change;
    race->changes[at].span = (struct race_span){.begin = ++race->tick, .end = RACE_OPEN};
    pthread_mutex_unlock(&race->lock);
    return at;
}

void race_end(struct race *race, size_t change)
{
    pthread_mutex_lock(&race->lock);
    race->changes[change].span.end = ++race->tick;
    pthread_mutex_unlock(&race->lock);
}

void race_add_post(struct race *race, const struct race_post *post)
{
    pthread_mutex_lock(&race->lock);
    CHECK(race->post_count < RACE_POSTS_MAX);
    race->posts[race->post_count++] = *post;
    pthread_mutex_unlock(&race->lock);
}

size_t race_begin_revision(struct race *race, const struct race_post *post)
{
    pthread_mutex_lock(&race->lock);
    CHECK(race->revision_count < RACE_REVISIONS_MAX);
    size_t number = ++race->revision_count;
    race->revisions[number - 1] =
        (struct race_revision){.span = {.begin = ++race->tick, .end = RACE_OPEN}, .post = post};
    pthread_mutex_unlock(&race->lock);
    return number;
}

void race_end_revision(struct race *race, size_t number, bool found)
{
    pthread_mutex_lock(&race->lock);
    struct race_revision *revision = &race->revisions[number - 1];
    revision->span.end = ++race->tick;
    revision->post = found ? revision->post : NULL;
    pthread_mutex_unlock(&race->lock);
}

bool race_may_say(
    const struct race *race, const struct race_post *post, size_t number, uint64_t now)
{
    const struct race_revision *said = number > 0 ? &race->revisions[number - 1] : NULL;
    if (number > race->revision_count || (said != NULL && said->post != post)) {
        return false;
    }
    uint64_t ended = said != NULL ? said->span.end : 0;
    for (size_t i = 0; i < race->revision_count; i++) {
        const struct race_revision *other = &race->revisions[i];
        if (other->post == post && other->span.end < now && other->span.begin > ended) {
            return false; /* it came after, and was there when the reader began */
        }
    }
    return true;
}

struct race_post *race_find(struct race *race, const uint8_t *id)
{
    for (size_t i = race->post_count; i > 0; i--) {
        if (memcmp(race->posts[i - 1].id, id, NOTIFICATION_ID_LEN) == 0) {
            return &race->posts[i - 1];
        }
    }
    return NULL;
}

static bool overlap(struct race_span a, struct race_span b)
{
    return a.begin <= b.end && b.begin <= a.end;
}

static bool is_of(const struct race_change *change, unsigned user, unsigned topic)
{
    return change->user == user && (change->topic == topic || change->erases);
}

/* Whether none that is of the same subscription, and ended before `until`, began after it ended. */
static bool may_be_last(
    const struct race *race, const struct race_change *change, unsigned topic, uint64_t until)
{
    for (size_t i = 0; i < race->change_count; i++) {
        const struct race_change *other = &race->changes[i];
        if (is_of(other, change->user, topic) && other->span.end < until &&
            other->span.begin > change->span.end) {
            return false;
        }
    }
    return true;
}

enum race_answer race_is_subscribed(
    const struct race *race, unsigned user, unsigned topic, struct race_span span)
{
    bool joined = false;
    bool left = false;
    for (size_t i = 0; i < race->change_count; i++) {
        const struct race_change *change = &race->changes[i];
        if (!is_of(change, user, topic)) {
            continue;
        }
        if (overlap(change->span, span)) {
            return RACE_UNSURE;
        }
        if (change->span.end < span.begin && may_be_last(race, change, topic, span.begin)) {
            joined |= change->joins;
            left |= !change->joins;
        }
    }
    return joined && left ? RACE_UNSURE : joined ? RACE_YES : RACE_NO;
}

/* Whether what was posted is gone, because its user was erased after it. */
static enum race_answer is_erased(
    const struct race *race, const struct race_post *post, unsigned user, uint64_t now)
{
    enum race_answer answer = RACE_NO;
    for (size_t i = 0; i < race->change_count; i++) {
        const struct race_change *change = &race->changes[i];
        if (!change->erases || change->user != user || change->span.end < post->span.begin) {
            continue;
        }
        if (change->span.begin > post->span.end && change->span.end < now) {
            return RACE_YES;
        }
        answer = RACE_UNSURE;
    }
    return answer;
}

/* Of everybody: had there been an inbox by then? */
static enum race_answer was_there(
    const struct race *race, const struct race_post *post, unsigned user, uint64_t now)
{
    uint64_t before = post->include_new ? now : post->span.begin;
    uint64_t after = post->include_new ? now : post->span.end;
    return race->came[user] < before           ? RACE_YES
           : race->may_have_come[user] > after ? RACE_NO
                                               : RACE_UNSURE;
}

enum race_answer race_is_for(
    const struct race *race, const struct race_post *post, unsigned user, uint64_t now)
{
    enum race_answer erased = is_erased(race, post, user, now);
    enum race_answer meant = post->kind == AUDIENCE_LIST ? (post->listed[user] ? RACE_YES : RACE_NO)
                             : post->kind == AUDIENCE_TOPIC
                                 ? race_is_subscribed(race, user, post->topic, post->span)
                                 : was_there(race, post, user, now);
    return erased == RACE_YES                          ? RACE_NO
           : erased == RACE_UNSURE && meant != RACE_NO ? RACE_UNSURE
                                                       : meant;
}

void race_fail(struct race *race, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&race->lock);
    if (race->failure[0] == '\0') {
        (void)vsnprintf(race->failure, sizeof(race->failure), format, args);
    }
    pthread_mutex_unlock(&race->lock);
    va_end(args);
}

void race_tell(const struct race *race, const struct race_post *post, unsigned user)
{
    (void)fprintf(stderr, "post %lu, kind %d, topic %u: %lu to %lu; taken back: %lu to %lu\n",
        post->n, post->kind, post->topic, post->span.begin, post->span.end, post->retract.begin,
        post->retract.end);
    (void)fprintf(stderr, "user %u: may have come at %lu, came by %lu\n", user,
        race->may_have_come[user], race->came[user]);
    for (size_t i = 0; i < race->change_count; i++) {
        const struct race_change *change = &race->changes[i];
        if (is_of(change, user, post->topic)) {
            (void)fprintf(stderr, "  %s: %lu to %lu\n",
                change->erases  ? "is erased"
                : change->joins ? "subscribes"
                                : "unsubscribes",
                change->span.begin, change->span.end);
        }
    }
}
