/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audience - requests about posts to many, as tests make them.
 */
#ifndef TESTS_UNIT_SQL_AUDIENCE_H
#define TESTS_UNIT_SQL_AUDIENCE_H

#include "sql/store_audience.h"
#include "tests/unit/sql/harness.h"

/* A post to a topic, to everybody (`topic` NULL), whose key and content follow from the number. */
struct store_audience_post post_of(const char *topic, uint64_t key);

/* Store it, failing the test on any status but 0; outputs are in *post. */
void post_many(struct harness *harness, struct store_audience_post *post);

/* post_of, stored; its number. */
uint64_t post_to(struct harness *harness, const char *topic, uint64_t key);

/* Subscribe one user, or end that; whether it changed anything. */
bool subscribe_to(struct harness *harness, const char *user, const char *topic);
bool unsubscribe_from(struct harness *harness, const char *user, const char *topic);

/* Take a post back, failing the test on any status but 0. */
void retract_post(struct harness *harness, const struct store_audience_post *post);

/* Give a post the content of `with`, failing the test on any status but 0. */
void revise_post(struct harness *harness, const struct store_audience_post *post,
    const struct store_revise *with);

/* Sweep audiences until there is no more to do; how many rows went, or users got other content. */
size_t sweep_audiences(struct harness *harness, uint64_t now, uint64_t keep_ms);

/* What is due before 1001, and a third of a walk that keeps 50 rows of each inbox. */
void sweep_some(struct harness *harness);

#endif
