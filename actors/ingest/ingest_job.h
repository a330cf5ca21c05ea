/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ingest_job - stream entries that add jobs (`job` names the queue); private to the ingest actor.
 */
#ifndef ACTORS_INGEST_INGEST_JOB_H
#define ACTORS_INGEST_INGEST_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/check.h"
#include "codec/job_post.h"
#include "sql/store.h"

struct shard;

/* Whether the fields of an entry are those of a job. */
bool ingest_job_is(const struct notification_field *fields, uint32_t count);

/*
 * Parse them, which `ret_job` borrows from. STATUS_INVALID, also where there is no such queue, and
 * STATUS_TOO_LARGE with `ret_fault`.
 */
MUST_CHECK int ingest_job_parse(const struct shard *shard, const struct notification_field *fields,
    uint32_t count, struct job_post *ret_job, struct notification_fault *ret_fault);

/* Fill in what is stored of it; `key` where it has none. STATUS_NOMEM. */
MUST_CHECK int ingest_job_fill(struct shard *shard, const struct job_post *post, struct bytes key,
    struct store_job_new *ret_job);

/* They are committed: count what was added, and tell who waits. */
void ingest_job_announce(struct shard *shard, const struct store_job_add *add);

#endif
