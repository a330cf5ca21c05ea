/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An array that is looked through.
 */
#include "tests/support/fake_jobs.h"

#include <string.h>

#include "codec/base/check.h"
#include "codec/base/mem.h"

enum { JOBS_MAX = 2000, PAYLOAD_MAX = 64 };

struct fake_job {
    uint8_t key_hash[STORE_HASH_LEN];
    uint8_t id[NOTIFICATION_ID_LEN];
    char payload[PAYLOAD_MAX];
};

struct fake_jobs {
    size_t count;
    struct fake_job at[JOBS_MAX];
};

static struct fake_job *find(struct fake_jobs *jobs, const uint8_t hash[STORE_HASH_LEN])
{
    for (size_t i = 0; i < jobs->count; i++) {
        if (memcmp(jobs->at[i].key_hash, hash, STORE_HASH_LEN) == 0) {
            return &jobs->at[i];
        }
    }
    return NULL;
}

void fake_jobs_add(struct fake_jobs **jobs, struct store_job_add *request)
{
    *jobs = *jobs != NULL ? *jobs : mem_alloc(sizeof(**jobs));
    request->added = mem_alloc((request->count + 1) * sizeof(*request->added));
    request->base.result = request->added;
    for (size_t i = 0; i < request->count; i++) {
        const struct store_job_new *job = &request->jobs[i];
        struct fake_job *known = find(*jobs, job->key_hash);
        request->added[i].repeat = known != NULL;
        if (known == NULL) {
            CHECK((*jobs)->count < JOBS_MAX && job->payload.len < PAYLOAD_MAX);
            known = &(*jobs)->at[(*jobs)->count++];
            memcpy(known->key_hash, job->key_hash, STORE_HASH_LEN);
            memcpy(known->id, job->id, NOTIFICATION_ID_LEN);
            memcpy(known->payload, job->payload.at, job->payload.len);
        }
        memcpy(request->added[i].id, known->id, NOTIFICATION_ID_LEN);
    }
}

size_t fake_jobs_count(const struct fake_jobs *jobs, const char *payload)
{
    size_t count = 0;
    for (size_t i = 0; jobs != NULL && i < jobs->count; i++) {
        count += payload == NULL || strcmp(jobs->at[i].payload, payload) == 0;
    }
    return count;
}

void fake_jobs_destroy(struct fake_jobs *jobs)
{
    mem_free(jobs);
}
