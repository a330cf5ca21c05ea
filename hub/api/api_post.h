/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_post - what posts of notifications and of events have in common.
 */
#ifndef HUB_API_API_POST_H
#define HUB_API_API_POST_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/notification.h"
#include "hub/api/api_answer.h"
#include "hub/auth/apikey.h"
#include "sql/store_audience.h"

struct api_settings;
struct config;

/* What bounds a post that arrives now. */
struct notification_limits api_post_limits(
    const struct http_request *request, const struct api_settings *settings);

/* What a status of notification_from_… says to the poster; refers to `fault`. */
struct api_error api_post_error(int status, const struct notification_fault *fault);

/* What became of a row or a post to many, as an error; code ERROR_NONE when it is stored. */
struct api_error api_post_outcome(int status, enum store_outcome outcome);

/* Append `"id":"…"`. */
void api_post_write_id(const uint8_t id[NOTIFICATION_ID_LEN], struct builder *out);

/* Append `,"audience":{…}`: whom a post to many is for; `name` is that of a topic. */
void api_post_write_target(enum notification_audience kind, struct bytes name, struct builder *out);

/*
 * Append the members of the result of a post to many, without braces; returns the HTTP status.
 * `made_key` is told where it must be repeated; empty: the poster has its own. `listed`: `status`
 * is the number of HTTP, in front, so that what else became of it is its `outcome`.
 */
unsigned api_post_write_audience(const struct store_audience_post *post, int status,
    const char *made_key, bool listed, struct builder *out);

/* Set the tenant that a post acts for; false: the key must not, `*ret_error` says so. */
bool api_post_set_tenant(const struct http_request *request, const struct apikey *key,
    struct notification_post *post, struct api_error *ret_error);

/* Most bytes of the body that posts an event: limits.event_bytes, and what goes around. */
uint32_t api_post_event_body(const struct config *config);

/* Whether `len` is within the limit of bodies; false: the request was answered. */
bool api_post_check_size(struct http_request *request, uint64_t len);

/* Whether the array has at most `max` elements; counts up to that. */
bool api_post_count(struct bytes array, uint32_t max, uint32_t *ret_count);

#endif
