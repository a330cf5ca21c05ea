/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zones - the time zones that the system knows, by name: read once, when the node starts.
 */
#ifndef HUB_NODE_ZONES_H
#define HUB_NODE_ZONES_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/base/bytes.h"

struct zone;
struct zones;

/*
 * Read all that lies under `directory`; blocks. Where nothing does, only UTC is known, which the
 * log says (ZONES-MISSING).
 */
struct zones *zones_create(const char *directory);

/* Free them, and every zone they have given out; NULL is allowed. */
void zones_destroy(struct zones *zones);

/*
 * Whether there is a zone of this name, letter by letter; it lives as long as `zones`, a struct
 * zones. UTC is NULL where the system does not describe it. Any thread.
 */
bool zones_find(void *zones, struct bytes name, const struct zone **ret_zone);

#endif
