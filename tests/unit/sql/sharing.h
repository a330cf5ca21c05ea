/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sharing - what tests expect of posts that share a row, by a name or in a digest.
 */
#ifndef TESTS_UNIT_SQL_SHARING_H
#define TESTS_UNIT_SQL_SHARING_H

#include "sql/store_audience.h"
#include "tests/unit/sql/harness.h"

enum { SHARING_SPAN = 3600000 };
#define SHARING_START UINT64_C(1700000000000)
#define SHARING_HOURLY "{\"types\": {\"comment\": {\"digest\": 3600000}}}"
#define SHARING_NEVER "{\"types\": {\"comment\": {\"digest\": null}}}"

/* Store what a user prefers. */
void prefer(struct harness *harness, struct store_user who, const char *body);

/* A comment that is posted `after` ms, to one user; the type has a digest by default. */
struct store_row comment_of(struct store_user who, uint64_t key, uint64_t after);

/* The same to a topic, or to everybody (NULL). */
struct store_audience_post comment_to(const char *topic, uint64_t key, uint64_t after);

/* What a row is answered. */
struct wanted {
    enum store_outcome outcome;
    uint64_t seq;
    uint64_t rev;
    uint64_t unread;
    uint64_t unseen;
    uint64_t count;
};

void expect_row(const struct store_row *row, struct wanted wanted);

/* Expect what is remembered: titles, the newest first, with a space behind each. */
void expect_titles(struct bytes digest, const char *titles);

/* The newest row of the user's list: its digest, count and expiry. */
void expect_newest(struct harness *harness, struct store_user who, uint64_t count,
    uint64_t expires_at, const char *titles);

#endif
