/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus_uid - by what a node of Peal names itself on the channels of Socket.IO's adapter:
 * `<epoch>.<version>.<node>`.
 *
 * Stock servers and emitters have names without dots, so one of another form is theirs.
 */
#ifndef CODEC_BUS_UID_H
#define CODEC_BUS_UID_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct bus_uid {
    struct bytes epoch; /* of the store */
    uint64_t version; /* in which the node writes */
    struct bytes node;
};

/* Append `uid`, whose epoch and node are not empty and have no dots. */
void bus_uid_write(const struct bus_uid *uid, struct builder *out);

/* Whether `text` is the name of a node of Peal; slices point into it. */
MUST_CHECK bool bus_uid_read(struct bytes text, struct bus_uid *ret_uid);

#endif
