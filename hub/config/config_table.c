/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of config.def, unfolded into arrays.
 */
#include "hub/config/config_table.h"

#include <string.h>

#define FIXED false
#define RELOAD true

const struct config_setting config_settings[CONFIG_COUNT] = {
#define X(type, member, key, fallback, least, most, words, reload, prose)                          \
    {key, CONFIG_##type, offsetof(struct config, member), fallback, least, most, words, reload,    \
        prose},
#include "hub/config/config.def"
#undef X
};

static const struct config_setting api_key_rows[] = {
#define API_KEY(type, option, member, fallback, least, most, words, prose)                         \
    {#option, CONFIG_##type, offsetof(struct config_api_key, member), fallback, least, most,       \
        words, true, prose},
#include "hub/config/config_blocks.def"
};

static const struct config_setting jwt_key_rows[] = {
#define JWT_KEY(type, option, member, fallback, least, most, words, prose)                         \
    {#option, CONFIG_##type, offsetof(struct config_jwt_key, member), fallback, least, most,       \
        words, true, prose},
#include "hub/config/config_blocks.def"
};

static const struct config_setting namespace_rows[] = {
#define NAMESPACE(type, option, member, fallback, least, most, words, prose)                       \
    {#option, CONFIG_##type, offsetof(struct config_namespace, member), fallback, least, most,     \
        words, true, prose},
#include "hub/config/config_blocks.def"
};

static const struct config_setting room_type_rows[] = {
#define ROOM_TYPE(type, option, member, fallback, least, most, words, prose)                       \
    {#option, CONFIG_##type, offsetof(struct config_room_type, member), fallback, least, most,     \
        words, true, prose},
#include "hub/config/config_blocks.def"
};

static const struct config_setting topic_type_rows[] = {
#define TOPIC_TYPE(type, option, member, fallback, least, most, words, prose)                      \
    {#option, CONFIG_##type, offsetof(struct config_topic_type, member), fallback, least, most,    \
        words, true, prose},
#include "hub/config/config_blocks.def"
};

static const struct config_setting value_type_rows[] = {
#define VALUE_TYPE(type, option, member, fallback, least, most, words, prose)                      \
    {#option, CONFIG_##type, offsetof(struct config_value_type, member), fallback, least, most,    \
        words, true, prose},
#include "hub/config/config_blocks.def"
};

static const struct config_setting hook_rows[] = {
#define HOOK(type, option, member, fallback, least, most, words, prose)                            \
    {#option, CONFIG_##type, offsetof(struct config_hook, member), fallback, least, most, words,   \
        true, prose},
#include "hub/config/config_blocks.def"
};

static const struct config_setting webhook_rows[] = {
#define WEBHOOK(type, option, member, fallback, least, most, words, prose)                         \
    {#option, CONFIG_##type, offsetof(struct config_webhook, member), fallback, least, most,       \
        words, true, prose},
#include "hub/config/config_blocks.def"
};

static const struct config_setting tenant_rows[] = {
#define TENANT(type, option, member, fallback, least, most, words, prose)                          \
    {#option, CONFIG_##type, offsetof(struct config_tenant, member), fallback, least, most, words, \
        true, prose},
#include "hub/config/config_blocks.def"
};

static const struct config_setting notification_type_rows[] = {
#define NOTIFICATION_TYPE(type, option, member, fallback, least, most, words, prose)               \
    {#option, CONFIG_##type, offsetof(struct config_notification_type, member), fallback, least,   \
        most, words, true, prose},
#include "hub/config/config_blocks.def"
};

static const struct config_setting queue_rows[] = {
#define QUEUE(type, option, member, fallback, least, most, words, prose)                           \
    {#option, CONFIG_##type, offsetof(struct config_queue, member), fallback, least, most, words,  \
        true, prose},
#include "hub/config/config_blocks.def"
};

static const struct config_setting alert_rows[] = {
#define ALERT(type, option, member, fallback, least, most, words, prose)                           \
    {#option, CONFIG_##type, offsetof(struct config_alert, member), fallback, least, most, words,  \
        true, prose},
#include "hub/config/config_blocks.def"
};

static const struct config_setting outbox_rows[] = {
#define OUTBOX(type, option, member, fallback, least, most, words, prose)                          \
    {#option, CONFIG_##type, offsetof(struct config_outbox, member), fallback, least, most, words, \
        false, prose},
#include "hub/config/config_blocks.def"
};

#define KIND(block, type, array, count)                                                            \
    {                                                                                              \
#block, block##_rows, ARRAY_LEN(block##_rows), sizeof(struct type),                        \
            offsetof(struct config, array), offsetof(struct config, count)                         \
    }

const struct config_block_kind config_block_kinds[CONFIG_BLOCK_COUNT] = {
    [CONFIG_API_KEY] = KIND(api_key, config_api_key, api_keys, api_key_count),
    [CONFIG_JWT_KEY] = KIND(jwt_key, config_jwt_key, jwt_keys, jwt_key_count),
    [CONFIG_NAMESPACE] = KIND(namespace, config_namespace, namespaces, namespace_count),
    [CONFIG_ROOM_TYPE] = KIND(room_type, config_room_type, room_types, room_type_count),
    [CONFIG_TOPIC_TYPE] = KIND(topic_type, config_topic_type, topic_types, topic_type_count),
    [CONFIG_VALUE_TYPE] = KIND(value_type, config_value_type, value_types, value_type_count),
    [CONFIG_HOOK] = KIND(hook, config_hook, hooks, hook_count),
    [CONFIG_WEBHOOK] = KIND(webhook, config_webhook, webhooks, webhook_count),
    [CONFIG_TENANT] = KIND(tenant, config_tenant, tenants, tenant_count),
    [CONFIG_NOTIFICATION_TYPE] = KIND(
        notification_type, config_notification_type, notification_types, notification_type_count),
    [CONFIG_QUEUE] = KIND(queue, config_queue, queues, queue_count),
    [CONFIG_ALERT] = KIND(alert, config_alert, alerts, alert_count),
    [CONFIG_OUTBOX] = KIND(outbox, config_outbox, outboxes, outbox_count),
};

const struct config_setting *config_table_find(const char *key)
{
    for (size_t i = 0; i < CONFIG_COUNT; i++) {
        if (strcmp(config_settings[i].key, key) == 0) {
            return &config_settings[i];
        }
    }
    return NULL;
}
