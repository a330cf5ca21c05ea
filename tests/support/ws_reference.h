/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_reference - what a WebSocket with an echo behind it must say to the bytes of a client, found
 * the simple way: all of them at hand, frame after frame, as RFC 6455 and RFC 7692 have it. It
 * shares no code with what it judges but the inflater.
 */
#ifndef TESTS_SUPPORT_WS_REFERENCE_H
#define TESTS_SUPPORT_WS_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "tests/support/ws_rig.h"

struct ws_reference {
    struct builder sent; /* without compression, and without the close frame for a mistake */
    unsigned delivered;
    /*
     * Why it has ended: a bit for each close_reason that is right. Of several mistakes at the
     * same place any may be found first.
     */
    uint64_t ends;
    bool open; /* it may also be open still */
};

/* Decide about `input`, all that the client ever sends. Ended with ws_reference_finish. */
void ws_reference_decide(
    struct ws_reference *reference, const struct ws_rig_options *options, struct bytes input);

void ws_reference_finish(struct ws_reference *reference);

#endif
