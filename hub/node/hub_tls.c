/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From settings to contexts of TLS.
 */
#include "hub/node/hub_tls.h"

#include "codec/base/buf.h"
#include "codec/base/clock.h"
#include "codec/base/log.h"
#include "hub/config/config.h"
#include "hub/net/tls_context.h"
#include "hub/node/node.h"

enum { DAY_S = 86400 };

static void on_warning(void *context, const char *text)
{
    log_warn("TLS-CERTIFICATE", "a certificate should be looked at, continuing", "what=%s",
        log_quote(bytes_str(text)));
}

/* Tickets are good on all nodes that have the same secret in their settings. */
static struct bytes ticket_secret(const struct hub *hub, const struct config *config)
{
    return config->cluster_secret[0] != '\0'
               ? bytes_str(config->cluster_secret)
               : bytes_of(hub->ticket_secret, sizeof(hub->ticket_secret));
}

static int init_public(const struct config *config, struct tls_options *options,
    struct builder *error, struct hub_tls *tls)
{
    options->names =
        (struct tls_names){"listen.tls_cert", "listen.tls_key", "listen.tls_client_ca"};
    options->certs = config->listen_tls_cert.items;
    options->keys = config->listen_tls_key.items;
    options->count = config->listen_tls_cert.count;
    options->ca = config->listen_tls_client_ca;
    options->http = true;
    return options->count > 0 ? tls_context_new(options, error, &tls->of[HUB_TLS_PUBLIC]) : 0;
}

static int init_internal(const struct config *config, struct tls_options *options,
    struct builder *error, struct hub_tls *tls)
{
    options->names = (struct tls_names){
        "listen.internal_tls_cert", "listen.internal_tls_key", "listen.internal_tls_client_ca"};
    options->certs = &config->listen_internal_tls_cert;
    options->keys = &config->listen_internal_tls_key;
    options->count = 1;
    options->ca = config->listen_internal_tls_client_ca;
    options->http = true;
    bool wanted = config->listen_internal_tls_cert[0] != '\0';
    return wanted ? tls_context_new(options, error, &tls->of[HUB_TLS_INTERNAL]) : 0;
}

/* Both sides of a call show the one certificate of their node. */
static int init_cluster(const struct config *config, struct tls_options *options,
    struct builder *error, struct hub_tls *tls)
{
    options->names = (struct tls_names){"cluster.tls_cert", "cluster.tls_key", "cluster.tls_ca"};
    options->certs = &config->cluster_tls_cert;
    options->keys = &config->cluster_tls_key;
    options->count = 1;
    options->ca = config->cluster_tls_ca;
    options->http = false;
    if (config->cluster_tls_cert[0] == '\0') {
        return 0;
    }
    int status = tls_context_new(options, error, &tls->of[HUB_TLS_CLUSTER]);
    if (status == 0) {
        options->calls = true;
        options->warn = NULL; /* the same files */
        status = tls_context_new(options, error, &tls->of[HUB_TLS_CALLS]);
    }
    return status;
}

int hub_tls_init(const struct hub *hub, const struct config *config, struct builder *error,
    struct hub_tls *ret_tls)
{
    struct tls_options options = {
        .only_13 = config->listen_tls_min == CONFIG_TLS_1_3,
        .ticket_secret = ticket_secret(hub, config),
        .warn = on_warning,
    };
    *ret_tls = (struct hub_tls){0};
    int status = init_public(config, &options, error, ret_tls);
    if (status == 0) {
        status = init_internal(config, &options, error, ret_tls);
    }
    if (status == 0) {
        status = init_cluster(config, &options, error, ret_tls);
    }
    return status;
}

void hub_tls_finish(struct hub_tls *tls)
{
    for (unsigned i = 0; i < HUB_TLS_COUNT; i++) {
        tls_context_unref(tls->of[i]);
        tls->of[i] = NULL;
    }
}

bool hub_tls_first_end(const struct hub_tls *tls, double *ret_days)
{
    int64_t first = INT64_MAX;
    for (unsigned i = 0; i < HUB_TLS_CALLS; i++) {
        size_t count = tls->of[i] != NULL ? tls_context_count(tls->of[i]) : 0;
        for (size_t j = 0; j < count; j++) {
            int64_t ends;
            (void)tls_context_file(tls->of[i], j, &ends);
            first = ends < first ? ends : first;
        }
    }
    *ret_days = ((double)first - (double)clock_wall_ms() / 1e3) / DAY_S;
    return first != INT64_MAX;
}

void hub_tls_write_ends(const struct hub_tls *tls, struct builder *out)
{
    static const char *const listeners[] = {"public", "internal", "cluster", "bus"};
    double now = (double)clock_wall_ms() / 1e3;
    for (unsigned i = 0; i < ARRAY_LEN(listeners); i++) {
        size_t count = tls->of[i] != NULL ? tls_context_count(tls->of[i]) : 0;
        for (size_t j = 0; j < count; j++) {
            int64_t ends;
            (void)tls_context_file(tls->of[i], j, &ends);
            builder_printf(out,
                "peal_tls_certificate_days{listener=\"%s\",certificate=\"%zu\"} %.2f\n",
                listeners[i], j + 1, ((double)ends - now) / DAY_S);
        }
    }
}
