/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the keys of Web Push, and lends the service to a shard.
 */
#include "hub/node/hub_push.h"

#include <string.h>

#include "codec/base/status.h"
#include "codec/base64.h"
#include "hub/api/api_jobs.h"
#include "hub/config/config.h"
#include "hub/hooks/hooks.h"
#include "hub/net/crypto.h"
#include "hub/net/crypto_p256.h"
#include "hub/node/hub_settings.h"
#include "hub/node/node.h"
#include "hub/push/handoffs.h"
#include "hub/push/push.h"
#include "hub/push/web_push.h"

enum { LEASE_MORE_MS = 20000 };

static int refuse(struct builder *error, const char *where, const char *key, const char *fault)
{
    builder_printf(error, "%s: %s: %s", where, key, fault);
    return STATUS_INVALID;
}

/* Add the key to the settings; false: it is none. */
static bool read_key(const char *text, struct push_settings *settings)
{
    uint8_t *scalar = settings->keys[settings->key_count];
    size_t len = 0;
    if (base64url_decode(bytes_str(text), (char *)scalar, PUSH_SCALAR_LEN, &len) != 0 ||
        len != PUSH_SCALAR_LEN) {
        return false;
    }
    struct crypto_p256 *key = crypto_p256_read(scalar);
    if (key == NULL) {
        return false;
    }
    web_push_write_key(key, settings->public_keys[settings->key_count]);
    settings->key_count++;
    crypto_p256_destroy(key);
    return true;
}

/* The queue of hand-offs, which config_load has made if the file did not: the lease outlives a
 * request, and what is asked of the store beside it. */
static struct store_job_rule rule_of(const struct config *config)
{
    for (size_t i = 0; i < config->queue_count; i++) {
        if (strcmp(config->queues[i].name, CONFIG_PUSH_QUEUE) == 0) {
            struct store_job_rule rule = api_jobs_rule(&config->queues[i]);
            uint64_t least_ms = 2 * config->push_timeout_ms + LEASE_MORE_MS;
            rule.timeout_ms = rule.timeout_ms > least_ms ? rule.timeout_ms : least_ms;
            return rule;
        }
    }
    check_failed("queue of push", __FILE__, __LINE__);
}

static bool is_subject(const char *text)
{
    return strncmp(text, "mailto:", 7) == 0 || strncmp(text, "https://", 8) == 0;
}

int hub_make_push(const struct config *config, const struct hook_settings *hooks,
    struct builder *error, struct push_settings *ret_settings)
{
    static const char fault[] = "is no key; allowed: what `peal vapid` prints as private";
    const char *const *from = config->came_from;
    *ret_settings = (struct push_settings){.subject = config->push_subject,
        .timeout_ms = (uint32_t)config->push_timeout_ms,
        .after_ms = config->push_after_ms,
        .ttl_ms = config->push_ttl_ms,
        .content = (unsigned)config->push_content,
        .guard = hooks->guard,
        .ca = hooks->ca};
    if (config->push_vapid_key[0] == '\0' && config->push_vapid_old_key[0] != '\0') {
        return refuse(error, from[CONFIG_AT_push_vapid_old_key], "push.vapid_old_key",
            "needs push.vapid_key, for devices to come");
    }
    if (config->push_vapid_key[0] == '\0') {
        return 0;
    }
    ret_settings->rule = rule_of(config);
    if (!read_key(config->push_vapid_key, ret_settings)) {
        return refuse(error, from[CONFIG_AT_push_vapid_key], "push.vapid_key", fault);
    }
    if (config->push_vapid_old_key[0] != '\0' &&
        !read_key(config->push_vapid_old_key, ret_settings)) {
        return refuse(error, from[CONFIG_AT_push_vapid_old_key], "push.vapid_old_key", fault);
    }
    if (!is_subject(config->push_subject)) {
        return refuse(error, from[CONFIG_AT_push_subject], "push.subject",
            "is needed with push.vapid_key: mailto: or https://, whom a push service may ask");
    }
    return 0;
}

void hub_push_start(struct hub_shard *shard)
{
    shard->shard.push = push_open(shard->loop, &shard->settings->push, &shard->hub->push_refused);
    shard->handoffs = handoffs_open(shard->loop, shard->shard.push, &shard->settings->push);
}

void hub_push_stop(struct hub_shard *shard)
{
    if (shard->shard.push != NULL) {
        handoffs_close(shard->handoffs);
        push_close(shard->shard.push);
    }
}

void hub_push_change(struct hub_shard *shard)
{
    if (shard->shard.push != NULL) {
        push_set(shard->shard.push, &shard->settings->push);
        handoffs_set(shard->handoffs, &shard->settings->push);
    }
}

uint64_t hub_push_count_open(const struct hub_shard *shard)
{
    return shard->shard.push != NULL
               ? push_count_open(shard->shard.push) + handoffs_count_open(shard->handoffs)
               : 0;
}

void hub_push_finish(struct hub_shard *shard)
{
    handoffs_destroy(shard->handoffs);
    shard->handoffs = NULL;
    push_destroy(shard->shard.push);
    shard->shard.push = NULL;
}
