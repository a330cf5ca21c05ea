/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_device - what a store is asked about the devices of a user that notifications are pushed
 * to. How requests live is said in store.h.
 *
 * An address (the endpoint of a subscription, a token) belongs to one device of a tenant: who
 * registers it takes it from whoever had it. All times are the database's.
 */
#ifndef SQL_STORE_DEVICE_H
#define SQL_STORE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sql/store_request.h"

/* Of a user; also the most that one may be allowed. */
enum { STORE_DEVICES_MAX = 100 };

/* One device as it is kept. Bytes live with the request that told it. */
struct store_device {
    uint8_t id[NOTIFICATION_ID_LEN];
    struct bytes body; /* what device_store wrote (codec/device.h) */
    uint64_t created_at;
    uint64_t registered_at; /* the last time */
    uint64_t foreground_at; /* since when it is in front; 0: it is not */
    uint8_t address_hash[STORE_HASH_LEN];
};

/*
 * STORE_DEVICE_PUT: register a device, which begins an inbox where there is none. Without `has_id`
 * it keeps the id that the user's device of this address has, or gets `id`. Of more than `most`
 * devices of the user those go that were not registered for longest.
 * STORE_DEVICE_STATE: it comes to the front, or leaves it.
 * STORE_DEVICE_REMOVE: it goes; with `has_address` only while that is its address.
 * STORE_DEVICE_LIST: all of the user.
 *
 * The first three tell the device in `devices`; `count` is 0 where the user has no such device.
 */
struct store_devices {
    struct store_request base;
    struct store_user who;
    uint8_t id[NOTIFICATION_ID_LEN];
    bool has_id;
    bool foreground;
    bool has_address;
    uint8_t address_hash[STORE_HASH_LEN]; /* of the tenant and the address */
    struct bytes body;
    uint32_t most; /* 1 to STORE_DEVICES_MAX */
    /* out */
    struct store_device *devices; /* by id */
    size_t count;
    uint64_t now;
    uint64_t moved; /* devices of others that had the address: they are no more */
    uint64_t dropped; /* of the user, at `most` */
};

#endif
