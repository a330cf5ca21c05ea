/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zone - a time zone as the files of the system describe it (TZif, RFC 9636): how far its clocks
 * are from UTC at any instant.
 */
#ifndef CODEC_ZONE_H
#define CODEC_ZONE_H

#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum { ZONE_NAME_MAX = 64, ZONE_FILE_MAX = 65536 };

struct zone;

/*
 * Make a zone from the content of a TZif file of version 2 or later, at most ZONE_FILE_MAX bytes.
 * What was before 2001 is not kept: clocks stood then as they did when that year began.
 * STATUS_INVALID for anything else (also files that count leap seconds), STATUS_NOMEM.
 */
MUST_CHECK int zone_parse(struct bytes file, struct zone **ret_zone);

/* Free it; NULL is allowed. */
void zone_destroy(struct zone *zone);

/* Seconds that local clocks are ahead of UTC (behind: negative) at `at` seconds since 1970. */
int32_t zone_offset(const struct zone *zone, int64_t at);

#endif
