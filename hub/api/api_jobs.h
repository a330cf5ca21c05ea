/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_jobs - what the calls of jobs and queues have in common.
 */
#ifndef HUB_API_API_JOBS_H
#define HUB_API_API_JOBS_H

#include <stdbool.h>

#include "hub/api/api_answer.h"
#include "sql/store_job.h"

struct config;
struct config_queue;

#define API_JOBS_NO_STORE "Cache-Control: private, no-store\r\n"

/* The settings of a queue that backends add to and lease from, none of ours; NULL: there is none of
 * the name. */
const struct config_queue *api_jobs_open_queue(const struct config *config, struct bytes name);

/* What a lease of it comes with; borrows its name from the settings. */
struct store_job_rule api_jobs_rule(const struct config_queue *queue);

/* The object that the body is, with no members but `known`. False: the request was answered. */
bool api_jobs_read_object(
    struct http_request *request, unsigned depth, const char *known, struct bytes *ret_object);

/* A member that is a string. */
struct api_jobs_text {
    const char *member;
    size_t max; /* bytes */
    bool needed; /* and not empty */
};

/*
 * The text of a string member, unescaped into memory that the caller frees, or empty. False: the
 * request was answered, with the member named.
 */
bool api_jobs_read_text(struct http_request *request, struct bytes object,
    const struct api_jobs_text *wanted, char **ret_at, struct bytes *ret_text);

/* The id in the path; false: the request was answered with 404. */
bool api_jobs_read_id(struct http_request *request, uint8_t ret_id[NOTIFICATION_ID_LEN]);

/* The queue in the path, that must be one of the settings; false: the request was answered. */
bool api_jobs_read_queue(
    struct http_request *request, char *at, size_t size, const struct config_queue **ret_queue);

/* 404: there is no such job. */
void api_jobs_refuse_absent(struct http_request *request);

/* The name of a state ("waiting"). */
const char *api_jobs_state_name(enum job_state state);

/* Append the members of a job as it is told, without braces; `lease`: as its worker gets it. */
void api_jobs_write(const struct store_job *job, const uint8_t *lease, struct builder *out);

#endif
