/* SPDX-License-Identifier: Apache-2.0 */
/*
 * job_post - a job as a backend adds it, from JSON or from the fields of a stream entry.
 */
#ifndef CODEC_JOB_POST_H
#define CODEC_JOB_POST_H

#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/notification.h"

enum { JOB_QUEUE_MAX = 64, JOB_TYPE_MAX = 128, JOB_KEY_MAX = 255 };

struct job_limits {
    uint32_t payload_bytes;
    uint32_t depth; /* of payloads */
    uint64_t now_ms;
};

struct job_post {
    struct bytes queue;
    struct bytes type;
    struct bytes payload; /* JSON text; "null" where there was none */
    struct bytes user; /* empty: nobody is told */
    struct bytes key; /* empty: none */
    struct bytes tenant; /* of a stream entry; empty: none was named */
    uint64_t run_at; /* epoch ms; 0: at once */
    enum notification_priority priority;
    /* private */
    char *texts;
};

/*
 * Parse a checked JSON object. `post` borrows from `object` until job_post_finish, which it needs
 * only after success. STATUS_INVALID (value, missing or unknown member) and STATUS_TOO_LARGE with
 * `ret_fault`, STATUS_NOMEM.
 */
MUST_CHECK int job_post_from_json(struct bytes object, const struct job_limits *limits,
    struct job_post *post, struct notification_fault *ret_fault);

/* The same from the fields of a stream entry, of which `job` names the queue. */
MUST_CHECK int job_post_from_fields(const struct notification_field *fields, size_t count,
    const struct job_limits *limits, struct job_post *post, struct notification_fault *ret_fault);

/* Free what parsing has made. */
void job_post_finish(struct job_post *post);

#endif
