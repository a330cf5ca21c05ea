/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor_command - `peal doctor`: what is wrong with a set-up, and what to do. Order of this file:
 * settings, the command.
 */
#include <stdio.h>
#include <string.h>

#include "hub/cli/cli.h"
#include "hub/cli/cli_refuse.h"
#include "hub/cli/doctor.h"
#include "hub/config/config.h"
#include "hub/net/loopback.h"
#include "hub/node/hub_settings.h"
#include "hub/node/node.h"
#include "hub/node/settings_make.h"
#include "hub/node/zones.h"

enum { CERTIFICATE_DAYS = 14 };

/* --- settings --- */

static void look_at_certificates(struct doctor *doctor, const struct hub_tls *tls)
{
    double days;
    if (hub_tls_first_end(tls, &days) && days < CERTIFICATE_DAYS) {
        doctor_find(doctor, "TLS-ENDS", "put a newer one in its place, and send SIGHUP",
            days < 0 ? "a certificate ended %.0f days ago: clients are refused by it"
                     : "a certificate ends in %.0f days",
            days < 0 ? -days : days);
    }
}

/* Make the tables that a node makes: rules, keys, origins, certificates. */
static void look_at_tables(struct doctor *doctor)
{
    static char made_at_start[] = "0123456789abcdef0123456789abcdef";
    const struct config *config = doctor->config;
    const struct hub hub = {.config = config,
        .dev_secret = config->dev ? made_at_start : NULL,
        .zones = zones_create(config->preferences_zoneinfo)};
    struct builder error = {0};
    struct hub_settings *settings;
    if (settings_make(&hub, config, &error, &settings) == 0) {
        look_at_certificates(doctor, &settings->tls);
        hub_settings_unref(settings);
    } else {
        struct bytes text = builder_bytes(&error);
        doctor_find(doctor, "SETTINGS", "change what is named; a node does not start with it",
            "%.*s", (int)text.len, text.len > 0 ? text.at : "");
    }
    builder_reset(&error);
    zones_destroy(hub.zones);
}

static void look_at_keys(struct doctor *doctor)
{
    const struct config *config = doctor->config;
    if (config->dev) {
        doctor_find(doctor, "DEVELOPMENT", "leave dev out where others can reach the node",
            "development mode: every page here gets a token of any user");
    }
    bool has_key = config->auth_api_key[0] != '\0' || config->api_key_count > 0;
    if (!config->dev && !has_key && config->bus_url[0] == '\0') {
        doctor_find(doctor, "NO-POSTS",
            "set auth.api_key (PEAL_AUTH_API_KEY) or an api_key block, or bus.url (REDIS_URL)",
            "neither an API key nor Redis: no backend can post anything");
    }
}

static bool is_plain(const char *origin)
{
    struct bytes text = bytes_str(origin);
    if (!bytes_starts(text, BYTES("http://"))) {
        return false;
    }
    struct bytes host = bytes_skip(text, strlen("http://"));
    const char *colon = host.len > 0 ? memchr(host.at, ':', host.len) : NULL;
    return !loopback_is_host(bytes_of(host.at, colon ? (size_t)(colon - host.at) : host.len));
}

static void look_at_origins(struct doctor *doctor)
{
    const struct config_list *origins = &doctor->config->origins;
    for (size_t i = 0; i < origins->count; i++) {
        if (is_plain(origins->items[i])) {
            doctor_find(doctor, "ORIGIN-PLAIN", "serve the page by https, and list that origin",
                "origins has %.200s: who is between can change that page, and read its tokens",
                origins->items[i]);
        }
    }
}

static void look_at_listener(struct doctor *doctor)
{
    const struct config *config = doctor->config;
    bool open = !loopback_is_host(bytes_str(config->listen_host));
    if (open && config->listen_tls_cert.count == 0 && config->listen_trusted_proxies.count == 0) {
        doctor_find(doctor, "LISTEN-PLAIN",
            "set listen.tls_cert and listen.tls_key; or put a proxy with TLS in front and name it "
            "in "
            "listen.trusted_proxies",
            "%.200s:%u is open to other machines without TLS, and no proxy is known: tokens can be "
            "read on the way; behind a proxy all clients count as one address",
            config->listen_host, config->listen_port);
    }
    if (!loopback_is_host(bytes_str(config->listen_internal_host)) &&
        config->listen_internal_tls_client_ca[0] == '\0') {
        doctor_find(doctor, "INTERNAL-OPEN",
            "set listen.internal_host to an address inside, or listen.internal_tls_client_ca",
            "%.200s:%u has the metrics for whoever reaches it", config->listen_internal_host,
            config->listen_internal_port);
    }
}

static void look_at_settings(struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->config->warnings.count; i++) {
        doctor_find(doctor, "SETTINGS-WARN", "change what is named", "%s",
            doctor->config->warnings.items[i]);
    }
    look_at_keys(doctor);
    look_at_origins(doctor);
    look_at_listener(doctor);
    look_at_tables(doctor);
}

/* --- the command --- */

int command_doctor(const struct config *config, int argc, char **argv)
{
    struct doctor doctor = {.config = config};
    if (argc > 0) {
        return cli_refuse_argument("doctor", argv);
    }
    look_at_settings(&doctor);
    doctor_look_at_machine(&doctor);
    if (config->bus_url[0] != '\0') {
        doctor_look_at_redis(&doctor);
    }
    doctor_look_at_store(&doctor);
    if (fflush(stdout) != 0) {
        return 1;
    }
    return doctor.found > 0 ? 1 : 0;
}
