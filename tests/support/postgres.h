/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postgres - a Postgres server of the test's own: in a temporary directory, on a Unix socket.
 *
 * Started once by a test executable (ReportHook(PRE_ALL)), which publishes the directory in the
 * environment; stopped by its pid, and with the process that started it.
 */
#ifndef TESTS_SUPPORT_POSTGRES_H
#define TESTS_SUPPORT_POSTGRES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define POSTGRES_ENV "PEAL_TEST_POSTGRES"

enum { POSTGRES_URL_MAX = 256 };

struct postgres {
    char directory[64]; /* data, log and socket */
    pid_t pid; /* of the postmaster */
};

/*
 * Make a cluster, start it and wait until it answers, then set POSTGRES_ENV to its directory.
 * False, with a line on standard error, when there is no Postgres or it does not start.
 */
bool postgres_start(struct postgres *postgres);

/* Stop the server and remove its directory; also one that did not start. */
void postgres_stop(struct postgres *postgres);

/* End all its processes at once, as a crash would, and wait until they are gone. */
void postgres_crash(struct postgres *postgres);

/* Start it again on the same data and wait until it answers. */
bool postgres_resume(struct postgres *postgres);

/* Make a new, empty database on `directory`, that of a server, and write its URL. */
bool postgres_create_database_in(const char *directory, char ret_url[POSTGRES_URL_MAX]);

/* Make a new, empty database on the server of POSTGRES_ENV and write its URL. */
bool postgres_create_database(char ret_url[POSTGRES_URL_MAX]);

/* Run one statement on a database; the first value of the first row, if any, into ret_text. */
bool postgres_query(const char *url, const char *sql, char *ret_text, size_t text_size);

#endif
