/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outgoing_guard - where requests of ours may go: to public addresses, and what the operator lists.
 *
 * URLs come from settings, and later from tenants: without it Peal could be made to ask what only
 * machines inside can reach. The address is looked at when the socket is opened, and again before a
 * request is written, so no answer of a name server comes between. Immutable once made: any thread.
 */
#ifndef HUB_NET_OUTGOING_GUARD_H
#define HUB_NET_OUTGOING_GUARD_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct in6_addr;
struct outgoing_guard;

/*
 * Make a guard that lets through, beside public addresses, `count` addresses (`10.0.0.7`, `::1`),
 * networks (`10.0.0.0/8`) and names of hosts (`hooks.internal`), whatever these resolve to.
 * STATUS_INVALID with a sentence appended to `error` for anything else.
 */
MUST_CHECK int outgoing_guard_create(const struct bytes *allowed, size_t count,
    struct builder *error, struct outgoing_guard **ret_guard);

/* Free it; NULL is allowed. */
void outgoing_guard_destroy(struct outgoing_guard *guard);

/* Whether the host of a URL is listed: its name, or it is an address that is. */
bool outgoing_guard_lists(const struct outgoing_guard *guard, struct bytes host);

/*
 * Whether a connection to `address` may be made: it is public or listed, or the host was
 * (`listed`). Public is what stands in no registry of special addresses: of IPv6 only 2000::/3, so
 * neither the well-known NAT64 prefix nor IPv4 in IPv6, which is judged as IPv4.
 */
bool outgoing_guard_allows(
    const struct outgoing_guard *guard, const struct in6_addr *address, bool listed);

#endif
