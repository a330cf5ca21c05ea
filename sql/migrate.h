/* SPDX-License-Identifier: Apache-2.0 */
/*
 * migrate - the numbered steps that make and change the schema, the same for both engines.
 *
 * The texts are in sql/migrations and embedded by the build. A step that was applied may never be
 * changed: its checksum is kept beside its number.
 */
#ifndef SQL_MIGRATE_H
#define SQL_MIGRATE_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/base/check.h"

enum { MIGRATION_CHECKSUM_LEN = 64 };

struct migration {
    unsigned number; /* 1, 2, 3 … */
    const char *name;
    const char *checksum; /* SHA-256 of `sql`, hexadecimal */
    const char *sql;
};

/* The steps of each engine; both have the same numbers and names. */
extern const struct migration migrations_pg[];
extern const struct migration migrations_sqlite[];
extern const size_t migrations_count;

/* What an engine does for migrate_run. Each returns 0 or a negative status. */
struct migrate_target {
    void *context;
    /* Open a transaction that waits for those of others, and make the table of steps. */
    int (*begin)(void *context);
    /* Return the highest number applied, 0 for none. */
    int (*newest)(void *context, unsigned *ret_number);
    /* Return the checksum with which `number` was applied; STATUS_NOT_FOUND if it was not. */
    int (*checksum)(void *context, unsigned number, char ret_text[MIGRATION_CHECKSUM_LEN + 1]);
    /* Run the step and note it. */
    int (*apply)(void *context, const struct migration *step);
    /* Commit, or undo everything since begin. */
    int (*end)(void *context, bool commit);
    /* The database's own words about the last failure. */
    const char *(*reason)(void *context);
};

/*
 * Apply the steps that are missing, all or none. Returns STATUS_CONFLICT when an applied step
 * differs from ours or is unknown to us (the database is newer), else the target's status; each
 * with one line in `ret_error`.
 */
MUST_CHECK int migrate_run(const struct migrate_target *target, const struct migration *steps,
    size_t count, char *ret_error, size_t error_size);

#endif
