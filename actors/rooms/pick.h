/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pick - which sockets of a shard a request of another node, or of a backend, is about.
 */
#ifndef ACTORS_ROOMS_PICK_H
#define ACTORS_ROOMS_PICK_H

#include <stdint.h>

#include "actors/deliver/fanout.h"
#include "codec/adapter_request.h"

struct pick {
    struct socket **sockets; /* as many as there are in the namespace */
    uint32_t count;
};

/* Pick them. The caller frees `sockets`, which is NULL when there is no memory for it. */
struct pick pick_sockets(struct fanout *fanout, const struct adapter_request *request);

/* Visit them. */
void pick_visit(struct fanout *fanout, const struct adapter_request *request, fanout_visit_fn visit,
    void *context);

#endif
