/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_info - reads what Redis answers to INFO: lines "name:value", with CR LF.
 *
 * Source: redis.io/docs/latest/commands/info.
 */
#ifndef CODEC_REDIS_INFO_H
#define CODEC_REDIS_INFO_H

#include "codec/base/bytes.h"

/* The value of `field`, borrowed from `info`; empty when it is not there. */
struct bytes redis_info_field(struct bytes info, const char *field);

#endif
