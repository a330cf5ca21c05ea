/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes what the configuration says as users do, so that one reader checks both.
 */
#include "hub/node/hub_preferences.h"

#include <string.h>

#include "codec/base/buf.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/preferences.h"
#include "hub/config/config.h"
#include "hub/node/zones.h"

/* "5/1h" */
static void write_limit(struct builder *out, const char *limit)
{
    const char *slash = strchr(limit, '/');
    size_t len = slash != NULL ? (size_t)(slash - limit) : strlen(limit);
    json_write_key(out, "limit");
    json_write_open(out, '{');
    uint64_t count = 0;
    if (bytes_to_u64(bytes_of(limit, len), UINT32_MAX, &count) == 0) {
        json_write_u64(out, "count", count);
    }
    json_write_text(out, "per", bytes_str(slash != NULL ? slash + 1 : ""));
    json_write_close(out, '}');
}

static void write_types(struct builder *out, const struct config *config)
{
    for (size_t i = 0; i < config->notification_type_count; i++) {
        const struct config_notification_type *type = &config->notification_types[i];
        builder_str(out, i > 0 ? "," : "");
        json_scan_write_string(out, bytes_str(type->name));
        builder_byte(out, ':');
        json_write_open(out, '{');
        json_write_bool(out, "inbox", type->inbox);
        json_write_bool(out, "push", type->push);
        if (type->digest_ms > 0) {
            json_write_key(out, "digest");
            builder_printf(out, "\"%llus\"", (unsigned long long)(type->digest_ms / 1000));
        }
        if (type->limit[0] != '\0') {
            write_limit(out, type->limit);
        }
        json_write_close(out, '}');
    }
}

int hub_make_preferences(const struct config *config, struct zones *zones, struct builder *error,
    struct preferences **ret_preferences)
{
    const struct preferences_zones known = {.find = zones_find, .context = zones};
    struct preferences_fault fault;
    struct builder out = {0};
    json_write_open(&out, '{');
    json_write_text(&out, "timezone", bytes_str(config->preferences_timezone));
    json_write_key(&out, "types");
    json_write_open(&out, '{');
    write_types(&out, config);
    json_write_close(&out, '}');
    json_write_close(&out, '}');
    int status = preferences_parse(builder_bytes(&out), &known, ret_preferences, &fault);
    if (status != 0) {
        builder_printf(error, "%s: %s; allowed: %s",
            strcmp(fault.field, "timezone") == 0 ? config->came_from[CONFIG_AT_preferences_timezone]
                                                 : "notification_type",
            strcmp(fault.field, "timezone") == 0 ? "preferences.timezone" : fault.field,
            fault.message);
    }
    builder_reset(&out);
    return status;
}
