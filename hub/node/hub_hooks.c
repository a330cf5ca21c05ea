/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes hooks and webhooks of the settings, and lends them to the actors of a shard.
 */
#include "hub/node/hub_hooks.h"

#include <string.h>
#include <unistd.h>

#include "actors/webhook_note.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/api/api_jobs.h"
#include "hub/config/config.h"
#include "hub/config/config_ask.h"
#include "hub/hooks/hooks.h"
#include "hub/hooks/out.h"
#include "hub/hooks/webhooks.h"
#include "hub/net/outgoing_guard.h"
#include "hub/node/hub_settings.h"
#include "hub/node/node.h"

enum { METRIC_CLOSED, METRIC_HALF_OPEN, METRIC_OPEN };

/* How long a node has a call of a webhook beyond the time for its answer. */
enum { LEASE_MORE_MS = 5000 };

/* What blocks of hooks and of webhooks have in common. */
struct block {
    const char *kind;
    const char *name;
    const char *where;
    const char *url;
    const char *secret;
    const char *old_secret;
};

static int refuse(
    struct builder *error, const struct block *block, const char *option, const char *fault)
{
    builder_printf(
        error, "%s: %s \"%.64s\": %s: %s", block->where, block->kind, block->name, option, fault);
    return STATUS_INVALID;
}

static int read_secret(struct builder *error, const struct block *block, const char *option,
    const char *text, struct signature_secret *ret_secret)
{
    if (text[0] != '\0' && signature_read_secret(text, ret_secret) != 0) {
        return refuse(
            error, block, option, "is no secret; allowed: whsec_ and the base64 of 24 to 64 bytes");
    }
    return 0;
}

/* Look at the URL, and read the secrets (two places; the second one is used if there is one). */
static int read_block(struct builder *error, const struct block *block,
    const struct outgoing_guard *guard, struct signature_secret *secrets, unsigned *ret_count)
{
    const char *fault = outgoing_url_fault(guard, block->url);
    int status = fault != NULL ? refuse(error, block, "url", fault) : 0;
    status = status != 0 ? status : read_secret(error, block, "secret", block->secret, &secrets[0]);
    status = status != 0 ? status
                         : read_secret(error, block, "old_secret", block->old_secret, &secrets[1]);
    *ret_count = block->old_secret[0] != '\0' ? 2 : 1;
    return status;
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
    const struct block block = {
        "hook", from->name, from->where, from->url, from->secret, from->old_secret};
    return read_block(error, &block, guard, hook->secrets, &hook->secret_count);
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
    ret_settings->per_user = config->limits_hook_questions;
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

static uint32_t read_events(const struct config_list *names)
{
    uint32_t events = 0;
    for (size_t i = 0; i < names->count; i++) {
        for (enum webhook_event event = 0; event < WEBHOOK_EVENT_COUNT; event++) {
            if (strcmp(names->items[i], webhook_event_name(event)) == 0) {
                events |= UINT32_C(1) << event;
            }
        }
    }
    return events;
}

/* That of a webhook, which config_load has made if the file did not. */
static const struct config_queue *queue_of(
    const struct config *config, const struct config_webhook *webhook)
{
    for (size_t i = 0; i < config->queue_count; i++) {
        const struct config_queue *queue = &config->queues[i];
        if (bytes_starts(bytes_str(queue->name), BYTES(CONFIG_WEBHOOK_QUEUE)) &&
            strcmp(queue->name + strlen(CONFIG_WEBHOOK_QUEUE), webhook->name) == 0) {
            return queue;
        }
    }
    check_failed("queue of a webhook", __FILE__, __LINE__);
}

int hub_make_webhooks(const struct config *config, const struct outgoing_guard *guard,
    struct builder *error, struct webhook_settings *ret_settings)
{
    int status = 0;
    ret_settings->guard = guard;
    ret_settings->ca = config->outgoing_ca;
    for (size_t i = 0; i < config->webhook_count && i < WEBHOOKS_MAX && status == 0; i++) {
        const struct config_webhook *from = &config->webhooks[i];
        struct webhook_options *webhook = &ret_settings->items[ret_settings->count++];
        const struct block block = {
            "webhook", from->name, from->where, from->url, from->secret, from->old_secret};
        *webhook = (struct webhook_options){.name = from->name,
            .url = from->url,
            .tenant = from->tenant,
            .events = read_events(&from->events),
            .timeout_ms = (uint32_t)from->timeout_ms,
            .rule = api_jobs_rule(queue_of(config, from))};
        webhook->rule.timeout_ms = from->timeout_ms + LEASE_MORE_MS;
        status = read_block(error, &block, guard, webhook->secrets, &webhook->secret_count);
    }
    return status;
}

void hub_make_out(const struct config *config, struct out_settings *ret_settings)
{
    ret_settings->timeout_ms = (uint32_t)config->events_out_timeout_ms;
    ret_settings->maxlen = config->events_out_maxlen;
    ret_settings->per_user = config->limits_hook_questions;
    for (size_t i = 0; i < config->events_to.count && !ret_settings->wanted; i++) {
        const char *sign = strchr(config->events_to.items[i], '=');
        ret_settings->wanted = strcmp(sign + 1, "out") == 0;
    }
}

static int ask(struct shard *shard, const struct hook_question *question, struct hook_call *call)
{
    if (question->hook == HOOK_OUT) {
        return out_ask(hub_shard_of(shard)->out, question, call);
    }
    return hooks_ask(shard->hooks, question, call);
}

void hub_hooks_start(struct hub_shard *shard)
{
    shard->shard.hooks = hooks_open(shard->loop, &shard->settings->hooks);
    shard->out = out_open(&shard->shard, &shard->settings->out);
    shard->shard.hook_ask = ask;
}

void hub_hooks_stop(struct hub_shard *shard)
{
    if (shard->shard.hooks != NULL) {
        hooks_close(shard->shard.hooks);
        out_close(shard->out);
    }
}

uint64_t hub_hooks_count_open(const struct hub_shard *shard)
{
    return shard->shard.hooks != NULL ? hooks_count_open(shard->shard.hooks) : 0;
}

void hub_hooks_finish(struct hub_shard *shard)
{
    out_destroy(shard->out);
    shard->out = NULL;
    hooks_destroy(shard->shard.hooks);
    shard->shard.hooks = NULL;
    shard->shard.hook_ask = NULL;
}

/* The service of webhooks. */

static void tell(struct shard *shard, const struct webhook_note *note)
{
    webhooks_tell(shard->webhooks.webhooks, note);
}

static bool settle(struct shard *shard, struct webhook_settling *settling)
{
    return webhooks_settle(shard->webhooks.webhooks, settling);
}

void hub_webhooks_start(struct hub_shard *shard)
{
    shard->shard.webhooks.webhooks = webhooks_open(shard->loop, &shard->settings->webhooks);
    shard->shard.webhooks.events = webhooks_events(&shard->settings->webhooks);
    shard->shard.webhooks.tell = tell;
    shard->shard.webhooks.settle = settle;
}

void hub_webhooks_change(struct hub_shard *shard)
{
    if (shard->shard.webhooks.webhooks != NULL) {
        webhooks_set(shard->shard.webhooks.webhooks, &shard->settings->webhooks);
        shard->shard.webhooks.events = webhooks_events(&shard->settings->webhooks);
    }
}

void hub_webhooks_stop(struct hub_shard *shard)
{
    if (shard->shard.webhooks.webhooks != NULL) {
        webhooks_close(shard->shard.webhooks.webhooks);
    }
}

uint64_t hub_webhooks_count_open(const struct hub_shard *shard)
{
    return shard->shard.webhooks.webhooks != NULL
               ? webhooks_count_open(shard->shard.webhooks.webhooks)
               : 0;
}

void hub_webhooks_finish(struct hub_shard *shard)
{
    webhooks_destroy(shard->shard.webhooks.webhooks);
    shard->shard.webhooks.webhooks = NULL;
    shard->shard.webhooks.tell = NULL;
    shard->shard.webhooks.settle = NULL;
}

/* Metrics. */

static void write_breaker(
    struct builder *out, const char *kind, const char *name, uint64_t open, uint64_t half_open)
{
    int state = open > 0 ? METRIC_OPEN : half_open > 0 ? METRIC_HALF_OPEN : METRIC_CLOSED;
    builder_printf(out, "peal_breaker_state{name=\"%s:%s\"} %d\n", kind, name, state);
}

void hub_hooks_write(
    const struct hook_settings *settings, const struct hook_stats *stats, struct builder *out)
{
    for (unsigned i = 0; i < settings->count; i++) {
        write_breaker(out, "hook", settings->items[i].name, stats->open[i], stats->half_open[i]);
    }
}

void hub_webhooks_write(
    const struct webhook_settings *settings, const struct webhook_stats *stats, struct builder *out)
{
    for (unsigned i = 0; i < settings->count; i++) {
        write_breaker(out, "webhook", settings->items[i].name, stats->open[i], stats->half_open[i]);
    }
}
