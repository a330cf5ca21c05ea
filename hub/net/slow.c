/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line of log for peers that do not read, at a limited rate.
 */
#include "hub/net/slow.h"

#include "codec/base/log.h"

void slow_report(const struct slow_peer *peer)
{
    static _Thread_local struct log_limit limit;
    unsigned suppressed;
    if (!log_allow(&limit, &suppressed)) {
        return;
    }
    log_info("SLOW-CLOSED", "a peer that does not take what waits for it is closed",
        "user=%s transport=%s remote=%s bytes=%u ms=%llu suppressed=%u", log_quote(peer->user),
        peer->transport, log_quote(bytes_str(peer->remote)), peer->bytes,
        (unsigned long long)peer->ms, suppressed);
}
