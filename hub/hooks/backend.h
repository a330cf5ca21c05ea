/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backend - what the end of a request says of the backend that was asked or told. Pure: any thread.
 */
#ifndef HUB_HOOKS_BACKEND_H
#define HUB_HOOKS_BACKEND_H

#include <stdbool.h>

struct outgoing_request;

/*
 * Whether a request that was no success says that the backend is there, and does not like this one:
 * 4xx. Else what one client asks could keep it from all. A wrong secret (401) is of all requests,
 * and 408 and 429 say that there is too much of it.
 */
bool backend_is_there(const struct outgoing_request *request);

/* Why a request was no success, for people; NULL: it was answered with 2xx. Static. */
const char *backend_fault(const struct outgoing_request *request);

#endif
