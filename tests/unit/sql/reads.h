/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reads - what Postgres reads when everything is done: the counters of its tables and indexes.
 */
#ifndef TESTS_UNIT_SQL_READS_H
#define TESTS_UNIT_SQL_READS_H

#include <stdint.h>

enum { READS_CROWD = 4000 }; /* rows of the largest inbox */

/* What is done beside, or by Postgres itself, and when: before that round; NULL: nothing. */
struct upkeep {
    const char *sql;
    uint64_t round;
};

/*
 * Do everything in the empty database at `url`, by statements prepared while its tables are empty;
 * each that the engine has must run. Returns when the counters are told.
 */
void reads_make(const char *url, struct upkeep upkeep);

/* Wait until all other sessions have ended: each tells its counters then. */
void reads_wait(const char *url);

/* No table was read whole, and of no index more than `most` entries. */
void reads_expect(const char *url, uint64_t most);

#endif
