/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_schedule - what a poster is told of a post that is not delivered yet.
 */
#ifndef HUB_API_API_SCHEDULE_H
#define HUB_API_API_SCHEDULE_H

#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/notification_item.h"
#include "sql/store_schedule.h"

struct builder;
struct http_request;

/* Append it as a JSON object. */
void api_schedule_write(const struct store_scheduled *item, struct builder *out);

/* Answer with the post for later `id` of `tenant`, which is copied; 404 where there is none. */
void api_schedule_get(
    struct http_request *request, struct bytes tenant, const uint8_t id[NOTIFICATION_ID_LEN]);

#endif
