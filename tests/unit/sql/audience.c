/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes requests about posts to many and runs them on a store of the harness.
 */
#include "tests/unit/sql/audience.h"

#include <criterion/criterion.h>
#include <string.h>

#include "codec/base/status.h"
#include "codec/slot.h"

struct store_audience_post post_of(const char *topic, uint64_t key)
{
    const struct store_row row = row_of(user_of(topic ? topic : "everybody"), key, key);
    struct store_audience_post post = {
        .base.op = STORE_AUDIENCE_POST,
        .kind = topic ? AUDIENCE_TOPIC : AUDIENCE_ALL,
        .name = topic ? bytes_str(topic) : (struct bytes){0},
        .type = row.type,
        .title = row.title,
        .message = row.message,
        .data = row.data,
        .priority = row.priority,
        .created_at = row.created_at,
    };
    memcpy(post.key_hash, row.key_hash, STORE_HASH_LEN);
    memcpy(post.content_hash, row.content_hash, STORE_HASH_LEN);
    uuid7_make(post.created_at, SLOT_NONE, post.id);
    return post;
}

void post_many(struct harness *harness, struct store_audience_post *post)
{
    cr_assert_eq(harness_run(harness, 0, &post->base), 0, "%d", post->base.status);
    struct store_audience_post copy = *post; /* finishing clears what was told */
    store_request_finish(&post->base);
    post->outcome = copy.outcome;
    post->n = copy.n;
    post->nobody = copy.nobody;
}

uint64_t post_to(struct harness *harness, const char *topic, uint64_t key)
{
    struct store_audience_post post = post_of(topic, key);
    post_many(harness, &post);
    cr_assert_eq(post.outcome, OUTCOME_STORED);
    return post.n;
}

static bool change(struct harness *harness, const char *user, const char *topic, bool remove)
{
    struct bytes name = bytes_str(user);
    struct store_subscribe subscribe = {.base.op = STORE_SUBSCRIBE,
        .topic = bytes_str(topic),
        .users = &name,
        .user_count = 1,
        .remove = remove};
    cr_assert_eq(harness_run(harness, 0, &subscribe.base), 0, "%d", subscribe.base.status);
    return subscribe.changed == 1;
}

bool subscribe_to(struct harness *harness, const char *user, const char *topic)
{
    return change(harness, user, topic, false);
}

bool unsubscribe_from(struct harness *harness, const char *user, const char *topic)
{
    return change(harness, user, topic, true);
}

void retract_post(struct harness *harness, const struct store_audience_post *post)
{
    struct store_retract retract = {.base.op = STORE_RETRACT, .tenant = post->tenant};
    memcpy(retract.id, post->id, NOTIFICATION_ID_LEN);
    for (int finds = 1; finds >= 0; finds--) {
        retract.only_find = finds != 0;
        cr_assert_eq(harness_run(harness, 0, &retract.base), 0, "%d", retract.base.status);
        cr_assert_eq(retract.n, post->n);
        cr_assert_eq(retract.kind, post->kind);
        cr_assert(bytes_eq(retract.name, post->name));
        store_request_finish(&retract.base);
    }
    retract.only_find = true;
    cr_assert_eq(harness_run(harness, 0, &retract.base), STATUS_NOT_FOUND);
    store_request_finish(&retract.base);
}

void revise_post(struct harness *harness, const struct store_audience_post *post,
    const struct store_revise *with)
{
    struct store_revise revise = *with;
    revise.base.op = STORE_REVISE;
    revise.tenant = post->tenant;
    memcpy(revise.id, post->id, NOTIFICATION_ID_LEN);
    cr_assert_eq(harness_run(harness, 0, &revise.base), 0, "%d", revise.base.status);
    cr_assert_eq(revise.n, post->n);
    cr_assert_eq(revise.kind, post->kind);
    cr_assert(bytes_eq(revise.name, post->name));
    store_request_finish(&revise.base);
}

size_t sweep_audiences(struct harness *harness, uint64_t now, uint64_t keep_ms)
{
    size_t reached = 0;
    bool more = true;
    while (more) {
        struct store_sweep sweep = {
            .base.op = STORE_AUDIENCE_SWEEP, .now = now, .limit = 3, .tombstone_ms = keep_ms};
        cr_assert_eq(harness_run(harness, 0, &sweep.base), 0, "%d", sweep.base.status);
        for (size_t i = 0; i < sweep.user_count; i++) {
            reached += sweep.users[i].news ? 1 : sweep.users[i].change_count;
        }
        more = sweep.more;
        store_request_finish(&sweep.base);
    }
    return reached;
}

void sweep_some(struct harness *harness)
{
    struct store_sweep sweep = {
        .base.op = STORE_SWEEP, .now = 1001, .limit = 50, .tombstone_ms = 0};
    cr_assert_eq(harness_run(harness, 0, &sweep.base), 0);
    store_request_finish(&sweep.base);
    struct store_retention retention = {
        .sweep = {.base.op = STORE_RETAIN, .now = 1001, .limit = 10},
        .usual = {.age_ms = 1000, .rows = 50}};
    for (unsigned i = 0; i < 3; i++) { /* a third of a walk; then some of the crowd's */
        cr_assert_eq(harness_run(harness, 0, &retention.sweep.base), 0);
        store_request_finish(&retention.sweep.base);
    }
}
