/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_trouble - one line of log when Redis goes away and one when it is back, for all links of
 * all shards, and one link of a shard that asks for it meanwhile.
 */
#ifndef HUB_REDIS_REDIS_TROUBLE_H
#define HUB_REDIS_REDIS_TROUBLE_H

#include <stdbool.h>

#include "codec/base/check.h"

struct bus_link;
struct redis_bus;

/*
 * A link of `bus`, named `link`, went down or could not be opened. Logged by the first one of an
 * outage, and once more when the server is reached and refuses (STATUS_UNAUTHORIZED,
 * STATUS_PROTO), which waiting does not mend. The shard's thread.
 */
void redis_trouble_tell(struct redis_bus *bus, const char *link, int status, const char *why);

/* A link of `bus` came up or was closed: the outage ends for it when none is down any more, and is
 * logged as over by the last bus for which it ends. The shard's thread. */
void redis_trouble_settle(struct redis_bus *bus);

/* Whether another link of `bus` than `link` asks for a server that none of them reaches. The
 * shard's thread. */
MUST_CHECK bool redis_trouble_waits(const struct redis_bus *bus, const struct bus_link *link);

#endif
