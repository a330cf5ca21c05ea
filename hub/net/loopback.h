/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loopback - names and addresses that only this machine answers to. Pure functions: any thread.
 */
#ifndef HUB_NET_LOOPBACK_H
#define HUB_NET_LOOPBACK_H

#include <stdbool.h>

#include "codec/base/bytes.h"

/*
 * Whether `host` is 127.0.0.0/8, ::1 (also in brackets), `localhost` or a name under it (RFC 6761
 * section 6.3: nothing resolves those elsewhere). A name that merely resolves there is none.
 */
bool loopback_is_host(struct bytes host);

/* Whether `authority`, a Host header (RFC 9110 section 7.2), is such a host, with or without a
 * port.
 */
bool loopback_is_authority(struct bytes authority);

/* Whether `origin` (RFC 6454 section 6.1) is http or https at such a host, on any port. */
bool loopback_is_origin(struct bytes origin);

#endif
