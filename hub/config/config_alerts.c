/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names are written to Redis, to the store, and as labels of metrics: so few characters are
 * allowed.
 */
#include "hub/config/config_alerts.h"

#include <string.h>

#include "codec/base/bytes.h"
#include "codec/base/status.h"
#include "codec/names.h"
#include "hub/config/alert_rule.h"
#include "hub/config/config_draft.h"

static const char *builtin_when(const char *name)
{
    static const struct {
        const char *name;
        const char *when;
    } rows[] = {
#define X(name, when) {name, when},
#include "hub/config/alert_builtin.def"
#undef X
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (strcmp(rows[i].name, name) == 0) {
            return rows[i].when;
        }
    }
    return "";
}

static bool is_name(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= CONFIG_ALERT_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == len;
}

/* NAME, or TENANT/NAME. */
static bool is_address(struct bytes text, int (*check)(struct bytes name))
{
    const char *slash = text.len > 0 ? memchr(text.at, '/', text.len) : NULL;
    if (slash == NULL) {
        return check(text) == 0;
    }
    size_t len = (size_t)(slash - text.at);
    return names_check_tenant(bytes_of(text.at, len)) == 0 && check(bytes_skip(text, len + 1)) == 0;
}

static bool is_hook(const struct config *config, struct bytes name)
{
    for (size_t i = 0; i < config->hook_count; i++) {
        if (bytes_eq_str(name, config->hooks[i].name)) {
            return true;
        }
    }
    return false;
}

static bool is_target(const struct config *config, const char *target)
{
    struct bytes text = bytes_str(target);
    if (bytes_starts(text, BYTES("hook:"))) {
        return is_hook(config, bytes_skip(text, strlen("hook:")));
    }
    if (bytes_starts(text, BYTES("room:"))) {
        return is_address(bytes_skip(text, strlen("room:")), names_check_room);
    }
    if (bytes_starts(text, BYTES("user:"))) {
        return is_address(bytes_skip(text, strlen("user:")), names_check_user);
    }
    return bytes_eq_str(text, "log");
}

static int check_targets(
    const struct config *config, const struct config_alert *alert, struct config_error *error)
{
    for (size_t i = 0; i < alert->to.count; i++) {
        if (!is_target(config, alert->to.items[i])) {
            return config_draft_refuse(error,
                "%s: alert \"%s\": to: \"%.255s\"; allowed: log, room:NAME, user:NAME, hook:NAME "
                "of a hook block",
                alert->where, alert->name, alert->to.items[i]);
        }
    }
    return 0;
}

static int check_alert(
    const struct config *config, struct config_alert *alert, struct config_error *error)
{
    struct alert_rule rule;
    const char *why;
    if (!is_name(alert->name)) {
        return config_draft_refuse(error,
            "%s: alert \"%.64s\": allowed as name: 1 to %d of a to z, 0 to 9, _ and -",
            alert->where, alert->name, (int)CONFIG_ALERT_NAME_MAX);
    }
    if (alert->when[0] == '\0') {
        alert->when = builtin_when(alert->name);
    }
    if (alert_rule_read(alert->when, &rule, &why) != 0) {
        return config_draft_refuse(error, "%s: alert \"%s\": when: \"%.200s\"; allowed %s",
            alert->where, alert->name, alert->when, why);
    }
    return check_targets(config, alert, error);
}

int config_alerts_check(struct config *config, struct config_error *error)
{
    for (size_t i = 0; i < config->alert_count; i++) {
        int status = check_alert(config, &config->alerts[i], error);
        if (status < 0) {
            return status;
        }
    }
    if (config->alert_count > CONFIG_ALERTS_MAX) {
        return config_draft_refuse(error,
            "%s: alert: %zu of them; allowed: %d, with those that are there without a block",
            config->alerts[config->alert_count - 1].where, config->alert_count,
            (int)CONFIG_ALERTS_MAX);
    }
    return 0;
}
