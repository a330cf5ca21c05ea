/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_values - what the calls of values have in common: what is asked, from JSON, and what came of
 * it.
 */
#ifndef HUB_API_API_VALUES_H
#define HUB_API_API_VALUES_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/values/value_op.h"
#include "codec/base/bytes.h"
#include "hub/api/api_answer.h"

struct config;
struct shard;

/* What a body that puts a value may have as members; "key" besides where many are put. */
#define API_VALUES_PUT_FIELDS "value, ttl, tags, if_version, lease, compress, room"

/* Most bytes of the body that puts one value: limits.value_bytes, and what goes around. */
uint32_t api_values_body(const struct config *config);

/*
 * The object that the body is, with no members but `known`; where it may be `empty`, nothing is an
 * empty object. False: the request was answered.
 */
bool api_values_read_object(
    struct http_request *request, bool empty, const char *known, struct bytes *ret_object);

/* The member `key` of it; empty: it is not there. False: it is there twice, and that was answered.
 */
bool api_values_read_member(
    struct http_request *request, struct bytes object, const char *key, struct bytes *ret_value);

/* Make `op` about `key` of `tenant`; a code where it can be no key. */
struct api_error api_values_name(struct value_op *op, struct bytes tenant, struct bytes key);

/* The same with the key as a string of JSON, quotes included. */
struct api_error api_values_name_json(struct value_op *op, struct bytes tenant, struct bytes key);

/*
 * Read what is put from a checked object all of whose members are known; `op`, which has its name,
 * holds bytes and tags then, and has its time to live and its room.
 */
struct api_error api_values_read_put(
    const struct config *config, struct bytes object, struct value_op *op);

/* Whether what is put may be shown in the room that it names, if it does. */
struct api_error api_values_check_room(struct shard *shard, const struct value_op *op);

/* Read `ttl`, empty where it is not there. */
struct api_error api_values_read_ttl(
    const struct config *config, struct bytes ttl, struct value_op *op);

/* Read an array of tags; NULL in `ret_tags` for an empty one. The caller has the reference. */
struct api_error api_values_read_tags(struct bytes array, struct buf **ret_tags);

/* Read who fills, what `fill` was. */
struct api_error api_values_read_lease(struct bytes lease, struct value_op *op);

/* Why nothing was done, of a result that is none of HIT, STALE, MISS, FILL and DONE. */
struct api_error api_values_outcome(const struct value_op *op);

/* Append `"error":{…}` of a result that is a refusal. */
void api_values_write_error(const struct value_op *op, struct builder *out);

#endif
