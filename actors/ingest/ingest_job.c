/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries of jobs to requests.
 */
#include "actors/ingest/ingest_job.h"

#include <stdio.h>

#include "actors/jobs/jobs.h"
#include "actors/shard.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/slot.h"

bool ingest_job_is(const struct notification_field *fields, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (bytes_eq_str(fields[i].name, "job")) {
            return true;
        }
    }
    return false;
}

int ingest_job_parse(const struct shard *shard, const struct notification_field *fields,
    uint32_t count, struct job_post *ret_job, struct notification_fault *ret_fault)
{
    const struct actor_config *config = shard->config;
    const struct job_limits limits = {.payload_bytes = config->posts.data,
        .depth = config->posts.depth,
        .now_ms = sched_wall(shard->sched)};
    int status = job_post_from_fields(fields, count, &limits, ret_job, ret_fault);
    if (status != 0) {
        return status;
    }
    if (config->is_queue != NULL && !config->is_queue(config->context, ret_job->queue)) {
        (void)snprintf(ret_fault->field, sizeof(ret_fault->field), "job");
        ret_fault->message = "There is no such queue";
        return STATUS_INVALID;
    }
    if (!config->tenants) {
        ret_job->tenant = bytes_of(NULL, 0);
    }
    return 0;
}

int ingest_job_fill(struct shard *shard, const struct job_post *post, struct bytes key,
    struct store_job_new *ret_job)
{
    *ret_job = (struct store_job_new){
        .tenant = post->tenant,
        .queue = post->queue,
        .type = post->type,
        .payload = post->payload,
        .user = post->user,
        .priority = post->priority,
        .run_at = post->run_at,
    };
    uint32_t slot = post->user.len > 0 ? slot_of(post->tenant, post->user) : (uint32_t)SLOT_NONE;
    uuid7_make(sched_wall(shard->sched), slot, ret_job->id);
    return notification_key_hash(shard->config->hash128, post->tenant, post->queue,
        post->key.len > 0 ? post->key : key, ret_job->key_hash);
}

void ingest_job_announce(struct shard *shard, const struct store_job_add *add)
{
    for (size_t i = 0; i < add->count; i++) {
        bool told = add->added[i].repeat;
        if (!told && shard->jobs != NULL) {
            jobs_get_stats(shard->jobs)->added++;
        }
        for (size_t j = i; j > 0 && !told; j--) {
            told = !add->added[j - 1].repeat &&
                   bytes_eq(add->jobs[j - 1].queue, add->jobs[i].queue) &&
                   bytes_eq(add->jobs[j - 1].tenant, add->jobs[i].tenant);
        }
        if (!told) {
            jobs_ready(shard, add->jobs[i].tenant, add->jobs[i].queue);
        }
    }
}
