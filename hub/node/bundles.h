/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bundles - the browser builds of socket.io-client, at the addresses pages load them by from a
 * stock server: /socket.io/socket.io.js and its variants, each with its source map.
 *
 * Peal carries none: the folder of an installed client (engine.bundles) is read at the start, so
 * its version is the operator's choice.
 */
#ifndef HUB_NODE_BUNDLES_H
#define HUB_NODE_BUNDLES_H

#include <stddef.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "hub/net/http_server.h"

struct bundles;

enum { BUNDLE_ETAG_SIZE = 2 + 32 + 1 };

struct bundle {
    struct bytes body; /* empty: the folder does not have it */
    struct bytes gzipped; /* the same with gzip; empty: it would not be smaller */
    const char *type;
    char etag[BUNDLE_ETAG_SIZE]; /* of the content; with its quotes */
};

/*
 * Read what `folder` has of the builds, at most 1 MiB each; the caller destroys the result.
 * STATUS_NOT_FOUND: it has none of them; STATUS_IO, STATUS_TOO_LARGE: one cannot be read. `error`
 * then says which and why. At the start of a node.
 */
MUST_CHECK int bundles_load(
    const char *folder, struct builder *error, struct bundles **ret_bundles);

/* NULL is allowed. */
void bundles_destroy(struct bundles *bundles);

/* A row of GET for each build; `context` is the hub, which must have bundles. */
extern const struct http_route bundles_routes[];
extern const size_t bundles_route_count;

#endif
