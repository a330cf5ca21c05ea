/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inbox_devices - what clients say of the devices that they are on: registered, in front, gone.
 * What HTTP needs of the same is here, too.
 */
#ifndef ACTORS_INBOX_INBOX_DEVICES_H
#define ACTORS_INBOX_INBOX_DEVICES_H

#include <stddef.h>

#include "codec/base/buf.h"
#include "codec/base/check.h"

struct client_call;
struct device;
struct inbox;
struct shard;
struct store_devices;

/* What clients ask: device:register, device:state and device:remove. */
void inbox_devices_register(const struct client_call *call);
void inbox_devices_state(const struct client_call *call);
void inbox_devices_remove(const struct client_call *call);

/* A socket has gone: the device it was on is in front no more, unless another one says so. */
void inbox_devices_tidy(struct inbox *inbox);

/* Forget which socket is on which device. */
void inbox_devices_drop(struct inbox *inbox);

/*
 * Fill in a STORE_DEVICE_PUT whose `who` is set, with a new id where the device says none.
 * `ret_body` holds what it points to. STATUS_NOMEM.
 */
MUST_CHECK int inbox_devices_fill(struct shard *shard, const struct device *device,
    struct store_devices *put, struct buf **ret_body);

/* Count what a request has done, and log whose device went to somebody else. */
void inbox_devices_count(struct shard *shard, const struct store_devices *devices);

/* Write the device at `index` of an answer as a JSON object; null: no memory. */
void inbox_devices_write(const struct store_devices *devices, size_t index, struct builder *out);

#endif
