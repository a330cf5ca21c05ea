/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From settings to an address, who logs in there, and the rules of TLS.
 */
#include "hub/redis/redis_target.h"

#include <stdio.h>
#include <string.h>

#include "codec/base/log.h"
#include "codec/base/status.h"
#include "hub/config/config.h"
#include "hub/net/crypto.h"
#include "hub/net/tls_context.h"

static void on_warning(void *context, const char *text)
{
    (void)context;
    log_warn("TLS-CERTIFICATE", "a certificate should be looked at, continuing", "what=%s",
        log_quote(bytes_str(text)));
}

static int make_tls(
    const struct config *config, struct builder *error, struct tls_context **ret_context)
{
    const struct tls_options options = {
        .names = {"bus.tls_cert", "bus.tls_key", "bus.tls_ca"},
        .certs = &config->bus_tls_cert,
        .keys = &config->bus_tls_key,
        .count = config->bus_tls_cert[0] != '\0' ? 1 : 0,
        .ca = config->bus_tls_ca,
        .calls = true,
        .trusts_system = config->bus_tls_ca[0] == '\0',
        .warn = on_warning,
    };
    return tls_context_new(&options, error, ret_context);
}

/* Who logs in, where the address itself does not say it. */
static int add_login(const struct config *config, struct builder *error, struct redis_url *url)
{
    if (url->has_password || config->bus_password[0] == '\0') {
        return 0;
    }
    int user = snprintf(url->user, sizeof(url->user), "%s", config->bus_user);
    int password = snprintf(url->password, sizeof(url->password), "%s", config->bus_password);
    if ((size_t)user >= sizeof(url->user) || (size_t)password >= sizeof(url->password)) {
        builder_str(error, "bus.user, bus.password: longer than 255 and 1023 bytes");
        return STATUS_INVALID;
    }
    url->has_password = true;
    return 0;
}

int redis_target_init(const struct config *config, const char *url, struct builder *error,
    struct redis_target *ret_target)
{
    struct redis_target target = {0};
    const char *text = url != NULL ? url : config->bus_url;
    int status = redis_url_parse(bytes_str(text), error, &target.url);
    if (status == 0 && url == NULL) {
        status = add_login(config, error, &target.url);
    }
    if (status == 0 && target.url.tls) {
        status = make_tls(config, error, &target.tls);
    }
    if (status == 0) {
        snprintf(target.tls_name, sizeof(target.tls_name), "%s", config->bus_tls_name);
        snprintf(
            target.sentinel_user, sizeof(target.sentinel_user), "%s", config->bus_sentinel_user);
        snprintf(target.sentinel_password, sizeof(target.sentinel_password), "%s",
            config->bus_sentinel_password);
        *ret_target = target;
    }
    crypto_wipe(&target, sizeof(target));
    return status;
}

void redis_target_copy(const struct redis_target *from, struct redis_target *ret_target)
{
    *ret_target = *from;
    if (from->tls != NULL) {
        tls_context_ref(from->tls);
    }
}

void redis_target_sentinels(const struct redis_target *from, struct redis_target *ret_target)
{
    redis_target_copy(from, ret_target);
    struct redis_url *url = &ret_target->url;
    url->kind = REDIS_SINGLE;
    url->db = 0;
    url->has_password = from->sentinel_password[0] != '\0';
    memcpy(url->user, from->sentinel_user, sizeof(url->user));
    memcpy(url->password, from->sentinel_password, sizeof(url->password));
}

void redis_target_finish(struct redis_target *target)
{
    tls_context_unref(target->tls);
    crypto_wipe(target, sizeof(*target));
}
