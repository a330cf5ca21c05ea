/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills in the options of the store from the settings, the same for a node and for a command.
 */
#include "hub/config/store_options.h"

#include "hub/config/config.h"

void store_options_init(struct store_options *options, const struct config *config)
{
    *options = (struct store_options){0};
    bool remote = config->store_url[0] != '\0';
    builder_str(&options->url, remote ? "" : "sqlite:");
    builder_str(&options->url, remote ? config->store_url : config->store_path);
    options->shared[0] = (struct store_shared){"bus.slots", config->bus_slots};
    options->shared[1] = (struct store_shared){"bus.partitions", config->bus_partitions};
    options->config = (struct store_config){
        .url = builder_bytes(&options->url),
        .pool_min = config->store_pool_min,
        .pool_max = config->store_pool_max,
        .slow_ms = (uint32_t)config->store_slow_query_ms,
        .shared = options->shared,
        .shared_count = config->bus_url[0] != '\0' ? STORE_OPTIONS_SHARED : 0,
    };
}

void store_options_finish(struct store_options *options)
{
    builder_reset(&options->url);
}
