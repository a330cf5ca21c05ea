/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unjoined - polling sessions that have joined no namespace, by address (IPv6 by /64).
 *
 * They cost no connection, so that the cap of connections does not bound them. At the bound the
 * oldest one of the largest address is to go: a flood drives out itself, and who comes from
 * elsewhere is served. All calls take the same time, however many there are.
 */
#ifndef HUB_SESSION_UNJOINED_H
#define HUB_SESSION_UNJOINED_H

#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/base/list.h"
#include "codec/base/map.h"

struct unjoined_address;

/* Where a session is counted; embedded by its owner, zeroed while it is not. */
struct unjoined_seat {
    struct list link; /* of the address, oldest first */
    struct unjoined_address *address; /* NULL: not counted */
};

struct unjoined {
    struct map addresses; /* struct unjoined_address by key */
    struct list *by_count; /* unjoined_address.link, by their counts; max + 1 lists */
    uint32_t max; /* sessions */
    uint32_t count;
    uint32_t largest; /* the highest count of an address */
};

/* Prepare for up to `max` sessions; free it, when none is counted. */
void unjoined_init(struct unjoined *unjoined, uint32_t max);
void unjoined_finish(struct unjoined *unjoined);

/* Count a session of `remote` (an address as text; what is none counts together). Below max. */
void unjoined_add(struct unjoined *unjoined, struct unjoined_seat *seat, struct bytes remote);

/* Count it no more; nothing when it is not counted. */
void unjoined_remove(struct unjoined *unjoined, struct unjoined_seat *seat);

/* The oldest of the address that has most, or NULL; and how many that has. */
struct unjoined_seat *unjoined_victim(const struct unjoined *unjoined, uint32_t *ret_count);

#endif
