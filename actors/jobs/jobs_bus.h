/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jobs_bus - nodes tell each other that a queue may have something.
 *
 * One channel for all: `<epoch>.<version>.<node> <tenant> <queue>`, both empty for everything, by
 * whom could not tell for a while.
 */
#ifndef ACTORS_JOBS_JOBS_BUS_H
#define ACTORS_JOBS_JOBS_BUS_H

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct jobs;
struct jobs_bus;

/* Open the links of shard 0, whose node has a bus; `heard` is what other nodes tell. */
MUST_CHECK struct jobs_bus *jobs_bus_create(
    struct jobs *jobs, void (*heard)(struct jobs *jobs, struct bytes tenant, struct bytes queue));

/* Listen, where there was no memory for it before; NULL is allowed. Now and then. */
void jobs_bus_listen(struct jobs_bus *bus);

/* Close them. NULL is allowed. */
void jobs_bus_destroy(struct jobs_bus *bus);

/* Tell the other nodes; NULL is allowed. */
void jobs_bus_tell(struct jobs_bus *bus, struct bytes tenant, struct bytes queue);

#endif
