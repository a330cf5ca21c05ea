/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_info - what Redis says of a stream: where it begins and ends.
 */
#ifndef ACTORS_ORDER_STREAM_INFO_H
#define ACTORS_ORDER_STREAM_INFO_H

#include <stdbool.h>

#include "actors/bus.h"
#include "codec/base/check.h"
#include "codec/stream_id.h"

/* What XINFO STREAM says; zeros for a stream that is not there. */
struct stream_info {
    struct stream_id tip; /* of the last entry there ever was */
    struct stream_id first; /* of the oldest there is, or would be */
    bool trimmed; /* there were others before it */
};

/* Read the answer; false: it is none. */
MUST_CHECK bool stream_info_read(const struct bus_reply *reply, struct stream_info *ret_info);

#endif
