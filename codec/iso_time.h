/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iso_time - ISO 8601 instants in UTC with milliseconds, as JavaScript's Date writes them.
 */
#ifndef CODEC_ISO_TIME_H
#define CODEC_ISO_TIME_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

/* The furthest instant either side of 1970 that a JavaScript Date can hold, in milliseconds. */
#define ISO_TIME_MAX ((int64_t)8640000000000000)

/*
 * Append `ms` since 1970-01-01 UTC as `2026-11-20T10:49:03.000Z` (years outside 0–9999 with sign
 * and six digits). STATUS_INVALID beyond ISO_TIME_MAX.
 */
MUST_CHECK int iso_time_write(int64_t ms, struct builder *out);

/*
 * Whether an instant may be stored: from 2001 on (seconds taken for milliseconds are before), and
 * at most 100 years (of 365.25 days) after `now_ms`; 0: no later than ISO_TIME_MAX.
 */
bool iso_time_may_be_stored(uint64_t ms, uint64_t now_ms);

/*
 * Parse `YYYY-MM-DD`, optionally followed by `T` (or a blank) `hh:mm[:ss[.fraction]]` and `Z` or
 * `±hh:mm`; without an offset it is UTC. Years 1970 to 9999. STATUS_INVALID for anything else.
 */
MUST_CHECK int iso_time_parse(struct bytes text, uint64_t *ret_ms);

#endif
