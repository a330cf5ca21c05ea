/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logs a refused token with the reason, at a limited rate.
 */
#include "hub/auth/token_log.h"

#include "codec/base/log.h"
#include "hub/auth/jwt.h"

void token_log_refusal(const struct jwt *jwt, struct bytes remote)
{
    static _Thread_local struct log_limit limit;
    const struct jwt_refusal *refusal = jwt_last_refusal(jwt);
    unsigned suppressed;
    if (log_allow(&limit, &suppressed)) {
        log_info("TOKEN-REFUSED", "a token was refused; `peal token --check` explains one",
            "reason=%s kid=%s sub=%s remote=%s suppressed=%u",
            log_quote(bytes_str(refusal->reason)), log_quote(refusal->kid),
            log_quote(refusal->user), log_quote(remote), suppressed);
    }
}
