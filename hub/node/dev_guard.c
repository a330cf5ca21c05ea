/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/node/dev_guard.h"

#include "codec/base/log.h"
#include "codec/http1.h"
#include "hub/config/config.h"
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

bool dev_guard_admits(const struct config *config, const struct http1_request *head)
{
    static _Thread_local struct log_limit limit;
    struct bytes origin = {0};
    bool good = loopback_is_authority(head->host);
    size_t cursor = 0;
    while (good && http1_header_next(head, "Origin", &cursor, &origin)) {
        good = loopback_is_origin(origin) || is_listed(config, origin);
    }
    unsigned suppressed;
    if (!good && log_allow(&limit, &suppressed)) {
        log_warn("DEV-REFUSED", "development mode answers loopback hosts and their pages only",
            "host=%s origin=%s suppressed=%u", log_quote(head->host), log_quote(origin),
            suppressed);
    }
    return good;
}
