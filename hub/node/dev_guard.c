/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refuses requests that name another host or come from another page than the machine's own.
 */
#include "hub/node/dev_guard.h"

#include "codec/base/log.h"
#include "codec/http1.h"
#include "hub/config/config.h"
#include "hub/net/http_server.h"
#include "hub/net/loopback.h"

static bool is_listed(const struct config *config, struct bytes origin)
{
    for (size_t i = 0; i < config->origins.count; i++) {
        if (bytes_eq_str(origin, config->origins.items[i])) {
            return true;
        }
    }
    return false;
}

static const struct http_refusal strange_host = {
    .status = 403,
    .message = "Development mode (--dev) answers this machine only: Host must be localhost, a name "
               "below it, or a loopback address",
    .field = "Host",
    .headers = "",
};

static const struct http_refusal strange_origin = {
    .status = 403,
    .message = "Development mode (--dev) answers pages of this machine and of the setting origins",
    .field = "Origin",
    .headers = "",
};

const struct http_refusal *dev_guard_refuse(
    const struct config *config, const struct http1_request *head)
{
    static _Thread_local struct log_limit limit;
    struct bytes origin = {0};
    const struct http_refusal *refusal = loopback_is_authority(head->host) ? NULL : &strange_host;
    size_t cursor = 0;
    while (refusal == NULL && http1_header_next(head, "Origin", &cursor, &origin)) {
        bool good = loopback_is_origin(origin) || is_listed(config, origin);
        refusal = good ? NULL : &strange_origin;
    }
    unsigned suppressed;
    if (refusal != NULL && log_allow(&limit, &suppressed)) {
        log_warn("DEV-REFUSED", refusal->message, "host=%s origin=%s suppressed=%u",
            log_quote(head->host), log_quote(origin), suppressed);
    }
    return refusal;
}
