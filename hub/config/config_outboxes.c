/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names are written to Redis, and as labels of metrics: so few characters are allowed.
 */
#include "hub/config/config_outboxes.h"

#include <string.h>

#include "codec/base/bytes.h"
#include "codec/base/status.h"
#include "hub/config/config_draft.h"

static bool is_own(const struct config_outbox *outbox)
{
    return strcmp(outbox->name, CONFIG_OWN_OUTBOX) == 0;
}

static bool is_name(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= CONFIG_OUTBOX_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == len;
}

static bool is_postgres(const char *url)
{
    struct bytes text = bytes_str(url);
    return bytes_starts(text, BYTES("postgres://")) || bytes_starts(text, BYTES("postgresql://"));
}

static bool has_own(const struct config *config)
{
    bool has = false;
    for (size_t i = 0; i < config->outbox_count && !has; i++) {
        has = is_own(&config->outboxes[i]);
    }
    return has;
}

static int check_one(
    const struct config *config, const struct config_outbox *outbox, struct config_error *error)
{
    if (!is_name(outbox->name)) {
        return config_draft_refuse(error,
            "%s: outbox \"%.64s\": allowed as name: 1 to %d of a to z, 0 to 9, _ and -",
            outbox->where, outbox->name, (int)CONFIG_OUTBOX_NAME_MAX);
    }
    if (is_own(outbox) && outbox->url[0] != 0) {
        return config_draft_refuse(error,
            "%s: outbox \"" CONFIG_OWN_OUTBOX "\": is that of store.url: no url, or another name",
            outbox->where);
    }
    if (is_own(outbox) && outbox->on && config->store_url[0] == 0) {
        return config_draft_refuse(error,
            "%s: outbox \"" CONFIG_OWN_OUTBOX "\": needs store.url, the address of a Postgres",
            outbox->where);
    }
    if (!is_own(outbox) && !is_postgres(outbox->url)) {
        return config_draft_refuse(error,
            "%s: outbox \"%.64s\": needs a url that begins with postgres://", outbox->where,
            outbox->name);
    }
    return 0;
}

int config_outboxes_check(struct config *config, struct config_error *error)
{
    if (config->store_url[0] != 0 && !has_own(config)) {
        (void)config_draft_block(config, CONFIG_OUTBOX, CONFIG_OWN_OUTBOX, "default");
    }
    if (config->outbox_count > CONFIG_OUTBOXES_MAX) {
        return config_draft_refuse(error, "%s: outbox: one too many; allowed: %d",
            config->outboxes[CONFIG_OUTBOXES_MAX].where, (int)CONFIG_OUTBOXES_MAX);
    }
    for (size_t i = 0; i < config->outbox_count; i++) {
        int status = check_one(config, &config->outboxes[i], error);
        if (status < 0) {
            return status;
        }
    }
    return 0;
}

const char *config_outbox_url(const struct config *config, const struct config_outbox *outbox)
{
    return is_own(outbox) ? config->store_url : outbox->url;
}

bool config_outboxes_eq(const struct config *a, const struct config *b)
{
    bool same = a->outbox_count == b->outbox_count;
    for (size_t i = 0; same && i < a->outbox_count; i++) {
        const struct config_outbox *one = &a->outboxes[i];
        const struct config_outbox *other = &b->outboxes[i];
        same = strcmp(one->name, other->name) == 0 && strcmp(one->url, other->url) == 0 &&
               one->on == other->on && one->wake == other->wake;
    }
    return same;
}
