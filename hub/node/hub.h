/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hub - the life of a node: settings become services, shards are started, drained and stopped.
 *
 * The one place that knows every part. Main thread, where nothing else is said.
 */
#ifndef HUB_NODE_HUB_H
#define HUB_NODE_HUB_H

#include "codec/base/check.h"

struct config;
struct hub;

/*
 * Build and start a node from `config`, which must outlive it. On failure nothing runs any more,
 * and one line for the operator has been written to standard error; but STATUS_TIMEOUT: as
 * hub_stop.
 */
MUST_CHECK int hub_start(const struct config *config, struct hub **ret_hub);

/* Print the start line: version, node, addresses, store, bus, cores, open-file limit. */
void hub_print_start(const struct hub *hub);

/* Stop accepting, give up partitions, and send the clients away over the configured time. */
void hub_drain(struct hub *hub);

/*
 * End what is left, wait for all threads, free everything. STATUS_TIMEOUT: something does not end,
 * which is logged by name. The threads run, so that nothing was freed: the caller ends the process
 * at once, without what exit() does.
 */
MUST_CHECK int hub_stop(struct hub *hub);

#endif
