/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_command - `peal check-config`: what is in effect, and whether a node would start with it.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "codec/base/buf.h"
#include "codec/base/status.h"
#include "hub/cli/cli.h"
#include "hub/cli/cli_refuse.h"
#include "hub/config/config.h"
#include "hub/config/config_outboxes.h"
#include "hub/config/config_print.h"
#include "hub/node/hub_settings.h"
#include "hub/node/node.h"
#include "hub/node/settings_make.h"
#include "hub/node/zones.h"
#include "hub/redis/redis.h"
#include "hub/redis/redis_target.h"
#include "sql/store.h"

enum { REDIS_WAIT_MS = 5000, ERROR_MAX = 512 };

static int complain(const char *what, struct bytes why)
{
    fprintf(stderr, "peal: %s%.*s\n", what, (int)why.len, why.len > 0 ? why.at : "");
    return 1;
}

/* Make the tables that a node makes: rules, keys, origins. Returns the exit code. */
static int try_settings(const struct config *config)
{
    static char made_at_start[] = "0123456789abcdef0123456789abcdef";
    const struct hub hub = {.config = config,
        .dev_secret = config->dev ? made_at_start : NULL,
        .zones = zones_create(config->preferences_zoneinfo)};
    struct builder error = {0};
    struct hub_settings *settings;
    int code = 0;
    if (settings_make(&hub, config, &error, &settings) == 0) {
        hub_settings_unref(settings);
    } else {
        code = complain("", builder_bytes(&error));
    }
    builder_reset(&error);
    zones_destroy(hub.zones);
    return code;
}

static int try_redis(const struct config *config)
{
    struct builder error = {0};
    struct redis_target target = {0};
    struct redis_report report;
    const struct redis_options options = {.target = &target};
    int code = 0;
    if (redis_target_init(config, NULL, &error, &target) != 0 ||
        redis_check(&options, REDIS_WAIT_MS, &error, &report) != 0) {
        code = complain("bus: ", builder_bytes(&error));
    } else {
        printf("# bus: Redis %s answers", report.version);
        if (report.is_cluster) {
            printf(", a cluster of %u masters", report.masters);
        }
        printf("\n");
    }
    redis_target_finish(&target);
    builder_reset(&error);
    return code;
}

/* The file, or the folder where it would be made. */
static int try_sqlite(const char *path)
{
    char folder[4097];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof(folder), "%.*s", slash != NULL ? (int)(slash - path) + 1 : 1,
        slash != NULL ? path : ".");
    if (access(path, R_OK | W_OK) == 0 ||
        (access(path, F_OK) != 0 && access(folder, W_OK | X_OK) == 0)) {
        printf("# store: the file can be written\n");
        return 0;
    }
    return complain("store.path: this file cannot be made or written: ", bytes_str(path));
}

static int try_store(const struct config *config)
{
    char error[ERROR_MAX] = "";
    if (config->store_url[0] == '\0') {
        return try_sqlite(config->store_path);
    }
    if (store_probe(bytes_str(config->store_url), error, sizeof(error)) != 0) {
        return complain("store: ", bytes_str(error));
    }
    printf("# store: Postgres answers\n");
    return 0;
}

static int try_outbox(const struct config *config, const struct config_outbox *outbox)
{
    char error[ERROR_MAX] = "";
    struct bytes url = bytes_str(config_outbox_url(config, outbox));
    int status = store_probe_outbox(url, error, sizeof(error));
    bool own = strcmp(outbox->name, CONFIG_OWN_OUTBOX) == 0;
    if (status == 0) {
        printf("# outbox %s: it is there\n", outbox->name);
    } else if (own && status == STATUS_NOT_FOUND) {
        printf("# outbox %s: it is made when a node starts\n", outbox->name);
    } else {
        fprintf(stderr, "peal: outbox \"%s\": %s%s%s\n", outbox->name, error,
            status == STATUS_NOT_FOUND ? "; make it: peal migrate --outbox " : "",
            status == STATUS_NOT_FOUND ? outbox->name : "");
        return 1;
    }
    return 0;
}

static int try_outboxes(const struct config *config)
{
    int code = 0;
    for (size_t i = 0; i < config->outbox_count; i++) {
        code |= config->outboxes[i].on ? try_outbox(config, &config->outboxes[i]) : 0;
    }
    return code;
}

static int print(const struct config *config, bool sample)
{
    struct builder text = {0};
    if (sample) {
        config_print_sample(&text);
    } else {
        config_print(config, &text);
    }
    for (size_t i = 0; i < config->warnings.count; i++) {
        fprintf(stderr, "peal: warning: %s\n", config->warnings.items[i]);
    }
    struct bytes out = builder_bytes(&text);
    bool written = fwrite(out.at, 1, out.len, stdout) == out.len && fflush(stdout) == 0;
    builder_reset(&text);
    return written ? 0 : 1;
}

int command_check_config(const struct config *config, int argc, char **argv)
{
    bool sample = argc > 0 && strcmp(argv[0], "--sample") == 0;
    bool connects = argc > 0 && strcmp(argv[0], "--connect") == 0;
    int used = sample || connects;
    if (argc > used) {
        return cli_refuse_argument("check-config", argv + used);
    }
    int code = print(config, sample);
    if (code == 0 && !sample) {
        code = try_settings(config);
    }
    if (connects) { /* all are tried, whatever was wrong before */
        code |= config->bus_url[0] != '\0' ? try_redis(config) : 0;
        code |= try_store(config);
        code |= try_outboxes(config);
    }
    return code;
}
