/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Applies the steps that are missing in one transaction, through functions that each engine gives.
 */
#include "sql/migrate.h"

#include <stdio.h>
#include <string.h>

#include "codec/base/status.h"

struct run {
    const struct migrate_target *target;
    const struct migration *steps;
    size_t count;
    char *error;
    size_t error_size;
};

static int fail_target(const struct run *run, const char *what, int status)
{
    (void)snprintf(run->error, run->error_size, "migration: %s: %s", what,
        run->target->reason(run->target->context));
    return status;
}

/* Check or apply one step. */
static int run_step(const struct run *run, const struct migration *step)
{
    char applied[MIGRATION_CHECKSUM_LEN + 1];
    int status = run->target->checksum(run->target->context, step->number, applied);
    if (status == STATUS_NOT_FOUND) {
        status = run->target->apply(run->target->context, step);
        return status < 0 ? fail_target(run, step->name, status) : 0;
    }
    if (status < 0) {
        return fail_target(run, "reading the applied steps", status);
    }
    if (strcmp(applied, step->checksum) != 0) {
        (void)snprintf(run->error, run->error_size,
            "the tables of this database are those of another build of Peal (migration %u, %s), "
            "and "
            "nothing converts them: start with an empty database, or use the build that made it",
            step->number, step->name);
        return STATUS_CONFLICT;
    }
    return 0;
}

static int run_steps(const struct run *run)
{
    unsigned newest;
    int status = run->target->newest(run->target->context, &newest);
    if (status < 0) {
        return fail_target(run, "reading the applied steps", status);
    }
    if (newest > run->count) {
        (void)snprintf(run->error, run->error_size,
            "the database has migration %u and this program knows %zu: use a newer program", newest,
            run->count);
        return STATUS_CONFLICT;
    }
    for (size_t i = 0; i < run->count; i++) {
        status = run_step(run, &run->steps[i]);
        if (status < 0) {
            return status;
        }
    }
    return 0;
}

int migrate_run(const struct migrate_target *target, const struct migration *steps, size_t count,
    char *ret_error, size_t error_size)
{
    struct run run = {
        .target = target,
        .steps = steps,
        .count = count,
        .error = ret_error,
        .error_size = error_size,
    };
    int status = target->begin(target->context);
    if (status < 0) {
        return fail_target(&run, "taking the lock", status);
    }
    status = run_steps(&run);
    int ended = target->end(target->context, status == 0);
    if (status == 0 && ended < 0) {
        status = fail_target(&run, "committing", ended);
    }
    return status;
}
