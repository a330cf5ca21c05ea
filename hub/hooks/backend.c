/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judges the ends of requests.
 */
#include "hub/hooks/backend.h"

#include <stddef.h>

#include "hub/net/outgoing.h"

bool backend_is_there(const struct outgoing_request *request)
{
    enum { UNAUTHORIZED = 401, TIMEOUT = 408, TOO_MANY = 429 };
    unsigned status = request->status;
    return request->end == OUTGOING_ANSWERED && status >= 400 && status < 500 &&
           status != UNAUTHORIZED && status != TIMEOUT && status != TOO_MANY;
}

const char *backend_fault(const struct outgoing_request *request)
{
    if (request->end != OUTGOING_ANSWERED) {
        return outgoing_end_text(request->end);
    }
    return request->status < 200 || request->status > 299 ? "the status is not 2xx" : NULL;
}
