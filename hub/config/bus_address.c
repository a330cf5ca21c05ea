/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes one address of Redis of the settings that can name it, and sees that the others go with it.
 */
#include "hub/config/bus_address.h"

#include <stdio.h>
#include <string.h>

#include "codec/base/check.h"
#include "hub/config/config.h"
#include "hub/config/config_draft.h"
#include "hub/config/config_table.h"
#include "hub/config/config_value.h"

/* bus.host becomes the address where there is no other. */
static int make_url(struct config *config, struct config_error *error)
{
    const char *host = config->bus_host;
    char url[300];
    if (host[0] == '\0') {
        return 0;
    }
    if (strpbrk(host, "/@?#[]% ") != NULL) {
        return config_draft_refuse(error,
            "%s: bus.host: \"%.255s\" is not a host; allowed: a name or an address, without port",
            config->came_from[CONFIG_AT_bus_host], host);
    }
    bool six = strchr(host, ':') != NULL;
    int len = snprintf(url, sizeof(url), "redis://%s%s%s:%u/%u", six ? "[" : "", host,
        six ? "]" : "", config->bus_port, config->bus_db);
    if (config->bus_url[0] == '\0') {
        config->bus_url = config_arena_dup(config->arena, url, (size_t)len);
        config->came_from[CONFIG_AT_bus_url] = config->came_from[CONFIG_AT_bus_host];
    } else if (strcmp(config->bus_url, url) != 0) {
        config_draft_warn(config, "bus.host is not looked at, because there is a bus.url");
    }
    return 0;
}

static bool begins_with_any(const char *url)
{
    static const char *const schemes[] = {"redis://", "rediss://", "redis+sentinel://",
        "rediss+sentinel://", "redis+cluster://", "rediss+cluster://", "unix://"};
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        if (strncmp(url, schemes[i], strlen(schemes[i])) == 0) {
            return true;
        }
    }
    return false;
}

int bus_address_make(struct config *config, struct config_error *error)
{
    static const enum config_place of_tls[] = {CONFIG_AT_bus_tls_ca, CONFIG_AT_bus_tls_cert,
        CONFIG_AT_bus_tls_key, CONFIG_AT_bus_tls_name};
    int status = make_url(config, error);
    const char *bus = config->bus_url;
    bool tls = strncmp(bus, "rediss", strlen("rediss")) == 0;
    if (status < 0 || bus[0] == '\0') {
        return status;
    }
    if (!begins_with_any(bus)) {
        return config_draft_refuse(error,
            "%s: bus.url: must begin with redis://, rediss://, redis+sentinel://, "
            "rediss+sentinel://, redis+cluster://, rediss+cluster:// or unix://",
            config->came_from[CONFIG_AT_bus_url]);
    }
    for (size_t i = 0; !tls && i < ARRAY_LEN(of_tls); i++) {
        if (strcmp(config->came_from[of_tls[i]], "default") != 0) {
            return config_draft_refuse(error,
                "%s: %s: bus.url is not one with TLS; allowed: with rediss://, "
                "rediss+sentinel:// or rediss+cluster:// alone",
                config->came_from[of_tls[i]], config_settings[of_tls[i]].key);
        }
    }
    if (config->bus_user[0] != '\0' && config->bus_password[0] == '\0') {
        return config_draft_refuse(error, "%s: bus.user: goes with bus.password, which is not set",
            config->came_from[CONFIG_AT_bus_user]);
    }
    return 0;
}
