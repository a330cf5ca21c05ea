/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names and texts of the statuses, from status.def.
 */
#include "codec/base/status.h"

const char *status_text(int status)
{
    switch (status) {
#define X(name, value, text)                                                                       \
    case value:                                                                                    \
        return text;
#include "codec/base/status.def"
#undef X
    default:
        return "unknown status";
    }
}

const char *status_name(int status)
{
    switch (status) {
#define X(name, value, text)                                                                       \
    case value:                                                                                    \
        return #name;
#include "codec/base/status.def"
#undef X
    default:
        return "UNKNOWN";
    }
}
