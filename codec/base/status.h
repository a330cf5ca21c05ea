/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status - the codes functions return: 0 or one negative value from status.def.
 */
#ifndef CODEC_BASE_STATUS_H
#define CODEC_BASE_STATUS_H

enum status {
#define X(name, value, text) STATUS_##name = (value),
#include "codec/base/status.def"
#undef X
};

/* Return the English text of `status`, or "unknown status". Any thread; static storage. */
const char *status_text(int status);

/* Return the symbolic name of `status` ("NOT_FOUND"), or "UNKNOWN". Any thread; static storage. */
const char *status_name(int status);

#endif
