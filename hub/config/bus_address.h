/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus_address - where Redis is, by bus.url, or by bus.host and what goes with it.
 */
#ifndef HUB_CONFIG_BUS_ADDRESS_H
#define HUB_CONFIG_BUS_ADDRESS_H

#include "codec/base/check.h"

struct config;
struct config_error;

/* Set config->bus_url where bus.host stands for it. STATUS_INVALID: `error` says which setting does
 * not go with the address. */
MUST_CHECK int bus_address_make(struct config *config, struct config_error *error);

#endif
