/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_fields - what a caller sends that nobody knows is refused with its name: a typing error
 * would else be taken for a wish that was granted.
 */
#ifndef HUB_API_API_FIELDS_H
#define HUB_API_API_FIELDS_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"

struct http_request;

/*
 * Whether all members of an object are among `known` (names with commas between them; "" for none).
 * False: the request was answered with 422 that names the first one that is not, and what is known.
 */
bool api_fields_check(struct http_request *request, struct bytes object, const char *known);

/*
 * The same for a body that need not be there: empty, or an object without members. False: the
 * request was answered, with 400 when the body is no JSON object.
 */
bool api_fields_check_none(struct http_request *request);

/* The UUID that is the parameter `index` of the path; false: it is none. Nothing is answered. */
bool api_fields_path_id(struct http_request *request, unsigned index, uint8_t ret_id[16]);

#endif
