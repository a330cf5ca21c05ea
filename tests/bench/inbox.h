/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inbox - inboxes as products have them, loaded by COPY, and what reading them costs: the bare
 * statements over one connection, and the same through a hub.
 *
 * Users are u0, u1, …: one of ten has five times as many rows as the others. The older half of an
 * inbox was read, row by row; the rest was seen, but for the five newest.
 */
#ifndef TESTS_BENCH_INBOX_H
#define TESTS_BENCH_INBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/bench/histogram.h"

enum { INBOX_USER_LEN = 16, INBOX_LATEST = 20, INBOX_SYNC = 100 };

struct inbox_world {
    uint32_t users;
    uint32_t rows; /* in all of them, about */
    uint64_t random; /* state of inbox_random */
};

struct inbox_user {
    char name[INBOX_USER_LEN];
    uint32_t slot;
    uint32_t rows;
    uint32_t read; /* the first ones: each was posted, then read */
    uint64_t rev;
    uint64_t sync_rev; /* above it are INBOX_SYNC rows, or all there are */
};

struct inbox_user inbox_user_at(const struct inbox_world *world, uint32_t number);

/* A number below `below`; the same ones for the same state. */
uint32_t inbox_random(uint64_t *state, uint32_t below);

/* Fill the tables of a database that a hub has migrated; the number of rows. */
uint64_t inbox_load(const struct inbox_world *world, const char *url);

/*
 * `count` of each read, one after another over one connection, for users at random: a line of JSON
 * each. False when one has failed.
 */
bool inbox_time_statements(struct inbox_world *world, const char *url, uint32_t count);
bool inbox_time_reads(struct inbox_world *world, const char *port, uint32_t count);

/* The plan of each statement for one user, with what it has read. */
void inbox_explain(struct inbox_world *world, const char *url);

/* `rate` reads a second for `seconds`, by a schedule that waits for nobody; a line of JSON. */
bool inbox_offer_reads(
    const struct inbox_world *world, const char *port, uint32_t rate, double seconds);

/* Print what was measured of `name`; `rest` are members of the object, or empty. */
void inbox_print(const char *name, const struct histogram *times, const char *rest);

#endif
