/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value_json - a value that was found, as backends and clients are told it. Any thread.
 */
#ifndef ACTORS_VALUES_VALUE_JSON_H
#define ACTORS_VALUES_VALUE_JSON_H

#include <stdbool.h>

#include "actors/values/value_op.h"
#include "codec/base/buf.h"
#include "codec/base/check.h"

/*
 * Append the members value, version and expiresAt of a result that is HIT or STALE. False: what is
 * kept of it cannot be unpacked. Want of memory or room is told by the builder.
 */
MUST_CHECK bool value_json_write(const struct value_result *result, struct builder *out);

#endif
