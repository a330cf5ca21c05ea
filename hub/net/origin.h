/* SPDX-License-Identifier: Apache-2.0 */
/*
 * origin - which web pages may connect: the allow-list of Origin header values (RFC 6454).
 */
#ifndef HUB_NET_ORIGIN_H
#define HUB_NET_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct origin_list;

/*
 * What is wrong with an origin of the configuration, as words behind "… is not an origin: "; NULL:
 * it is `scheme://host` or `scheme://host:port` in lower case, or "*" for all (no path, user-info,
 * upper case, trailing dot or slash, `null`). Any thread.
 */
const char *origin_fault(struct bytes origin);

/*
 * Make a list of origins. STATUS_INVALID with a sentence appended to `error` for one that has a
 * fault.
 */
MUST_CHECK int origin_list_create(const struct bytes *origins, size_t count, struct builder *error,
    struct origin_list **ret_list);

/* Free the list; NULL is allowed. */
void origin_list_destroy(struct origin_list *list);

/*
 * Whether a request with these Origin header values may go on. `has_token` says that it carries a
 * token of its own (not a cookie): only then may Origin be absent. More than one value, `null`,
 * and whatever is not listed byte for byte are refused; with "*" every single value is let in.
 */
bool origin_allows(
    const struct origin_list *list, const struct bytes *values, size_t count, bool has_token);

/*
 * Whether `origin` is http or https at `host`, the Host header of the same request (the port that
 * the scheme has anyway may stand in either): a page of the
 * hub's own address, or a client that is no browser and names what it has called.
 */
bool origin_is_host(struct bytes origin, struct bytes host);

/*
 * The value for Access-Control-Allow-Origin: `origin` itself when it is listed, "*" when all are
 * allowed, and empty (send no header) otherwise. `*ret_credentials` says whether
 * Access-Control-Allow-Credentials may be sent: for listed origins, never with "*".
 */
struct bytes origin_cors_value(
    const struct origin_list *list, struct bytes origin, bool *ret_credentials);

#endif
