/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the hooks of the settings, and lends them to the actors of a shard.
 */
#include "hub/node/hub_hooks.h"

#include <unistd.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/config/config.h"
#include "hub/hooks/hooks.h"
#include "hub/net/outgoing_guard.h"
#include "hub/node/hub_settings.h"
#include "hub/node/node.h"

enum { METRIC_CLOSED, METRIC_HALF_OPEN, METRIC_OPEN };

static int refuse(
    struct builder *error, const struct config_hook *hook, const char *option, const char *fault)
{
    builder_printf(error, "%s: hook \"%.64s\": %s: %s", hook->where, hook->name, option, fault);
    return STATUS_INVALID;
}

static int read_secret(const struct config_hook *from, const char *option, const char *text,
    struct hook_options *hook, struct builder *error)
{
    if (text[0] == '\0') {
        return 0;
    }
    if (signature_read_secret(text, &hook->secrets[hook->secret_count]) != 0) {
        return refuse(
            error, from, option, "is no secret; allowed: whsec_ and the base64 of 24 to 64 bytes");
    }
    hook->secret_count++;
    return 0;
}

static int make_hook(const struct config_hook *from, const struct outgoing_guard *guard,
    struct builder *error, struct hook_options *hook)
{
    *hook = (struct hook_options){.name = from->name,
        .url = from->url,
        .timeout_ms = (uint32_t)from->timeout_ms,
        .cache_ms = (uint32_t)from->cache_ms,
        .under_way = from->parallel,
        .waiting = from->waiting};
    const char *fault = outgoing_url_fault(guard, from->url);
    if (fault != NULL) {
        return refuse(error, from, "url", fault);
    }
    int status = read_secret(from, "secret", from->secret, hook, error);
    return status != 0 ? status : read_secret(from, "old_secret", from->old_secret, hook, error);
}

int hub_make_hooks(
    const struct config *config, struct builder *error, struct hook_settings *ret_settings)
{
    const struct config_list *list = &config->outgoing_allow;
    struct bytes *allowed = mem_alloc_array(list->count + 1, sizeof(*allowed));
    for (size_t i = 0; i < list->count; i++) {
        allowed[i] = bytes_str(list->items[i]);
    }
    int status = outgoing_guard_create(allowed, list->count, error, &ret_settings->guard);
    mem_free(allowed);
    ret_settings->ca = config->outgoing_ca;
    if (status == 0 && config->outgoing_ca[0] != '\0' && access(config->outgoing_ca, R_OK) != 0) {
        builder_printf(error, "outgoing.ca: \"%.255s\" cannot be read", config->outgoing_ca);
        status = STATUS_INVALID;
    }
    for (size_t i = 0; i < config->hook_count && i < HOOKS_MAX && status == 0; i++) {
        status = make_hook(&config->hooks[i], ret_settings->guard, error, &ret_settings->items[i]);
        ret_settings->count++;
    }
    return status;
}

static int ask(struct shard *shard, const struct hook_question *question, struct hook_call *call)
{
    return hooks_ask(shard->hooks, question, call);
}

void hub_hooks_start(struct hub_shard *shard)
{
    shard->shard.hooks = hooks_open(shard->loop, &shard->settings->hooks);
    shard->shard.hook_ask = ask;
}

void hub_hooks_stop(struct hub_shard *shard)
{
    if (shard->shard.hooks != NULL) {
        hooks_close(shard->shard.hooks);
    }
}

uint64_t hub_hooks_count_open(const struct hub_shard *shard)
{
    return shard->shard.hooks != NULL ? hooks_count_open(shard->shard.hooks) : 0;
}

void hub_hooks_finish(struct hub_shard *shard)
{
    hooks_destroy(shard->shard.hooks);
    shard->shard.hooks = NULL;
    shard->shard.hook_ask = NULL;
}

void hub_hooks_write(
    const struct hook_settings *settings, const struct hook_stats *stats, struct builder *out)
{
    for (unsigned i = 0; i < settings->count; i++) {
        int state = stats->open[i] > 0        ? METRIC_OPEN
                    : stats->half_open[i] > 0 ? METRIC_HALF_OPEN
                                              : METRIC_CLOSED;
        builder_printf(
            out, "peal_breaker_state{name=\"hook:%s\"} %d\n", settings->items[i].name, state);
    }
}
