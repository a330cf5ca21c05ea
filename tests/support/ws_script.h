/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_script - frames of WebSockets in letters, as tests/data/codec/websocket_cases.txt has them.
 */
#ifndef TESTS_SUPPORT_WS_SCRIPT_H
#define TESTS_SUPPORT_WS_SCRIPT_H

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "tests/support/ws_rig.h"

/* Append the bytes that `text` stands for; what it says of the connection goes to `options`. */
void ws_script_read(struct bytes text, struct ws_rig_options *options, struct builder *out);

/* Append what the rig has sent, and why it ended, or "open". */
void ws_script_show(const struct ws_rig *rig, struct builder *out);

#endif
