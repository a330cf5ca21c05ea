/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxies - the proxies in front that may say whose request it is, and what they say.
 *
 * Each proxy adds the address it was called from on the right of X-Forwarded-For or Forwarded
 * (RFC 7239), so the client is the rightmost address that is no trusted proxy; what stands to the
 * left of it is the client's own word. Immutable once made: any thread.
 */
#ifndef HUB_NET_PROXIES_H
#define HUB_NET_PROXIES_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct http1_request;
struct proxies;
struct sockaddr;
struct sockaddr_in6;

/*
 * Make the set of `count` addresses (`10.0.0.7`, `::1`) and networks (`10.0.0.0/8`, `fd00::/8`).
 * STATUS_INVALID with a sentence appended to `error` for anything else, also for a network with
 * bits behind its prefix.
 */
MUST_CHECK int proxies_create(const struct bytes *networks, size_t count, struct builder *error,
    struct proxies **ret_proxies);

/* Free the set; NULL is allowed. */
void proxies_destroy(struct proxies *proxies);

/* Whether `peer` is a trusted proxy; IPv4 in IPv6 is IPv4. NULL trusts nobody. */
bool proxies_trust(const struct proxies *proxies, const struct sockaddr *peer);

/*
 * Say for whom `peer`, which is trusted, has sent `head`: the rightmost address of the headers that
 * is not trusted; the leftmost when all are; what is no address ends the walk at the trusted one
 * before it, at last `peer`. With headers of both kinds that name different clients it is `peer`,
 * because the proxy writes one kind and a client can send the other. IPv4 is written as IPv4 in
 * IPv6; port, flow and scope are 0.
 */
void proxies_find_client(const struct proxies *proxies, const struct sockaddr *peer,
    const struct http1_request *head, struct sockaddr_in6 *ret_client);

#endif
