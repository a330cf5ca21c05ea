/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings of the API that several shards share, counted, and how a handler finds its shard.
 */
#include "hub/api/api_shard.h"

struct api_settings *api_settings_ref(struct api_settings *settings)
{
    atomic_fetch_add_explicit(&settings->refs, 1, memory_order_relaxed);
    return settings;
}

void api_settings_unref(struct api_settings *settings)
{
    /* Release: our reads come before; acquire: the one that destroys comes after those of all. */
    if (settings != NULL &&
        atomic_fetch_sub_explicit(&settings->refs, 1, memory_order_acq_rel) == 1) {
        settings->destroy(settings);
    }
}

struct api_shard *api_shard(const struct http_request *request)
{
    return http_context(request);
}
