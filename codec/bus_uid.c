/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a uid of three parts, and takes one apart at its dots: what has more or fewer is a stock
 * server's.
 */
#include "codec/bus_uid.h"

#include <string.h>

void bus_uid_write(const struct bus_uid *uid, struct builder *out)
{
    builder_add(out, uid->epoch);
    builder_byte(out, '.');
    builder_u64(out, uid->version);
    builder_byte(out, '.');
    builder_add(out, uid->node);
}

/* Cut `text` before its next dot; false: there is none, or nothing before it. */
static bool take_part(struct bytes *text, struct bytes *ret_part)
{
    const char *dot = text->len > 0 ? memchr(text->at, '.', text->len) : NULL;
    if (dot == NULL || dot == text->at) {
        return false;
    }
    *ret_part = bytes_of(text->at, (size_t)(dot - text->at));
    *text = bytes_skip(*text, ret_part->len + 1);
    return true;
}

bool bus_uid_read(struct bytes text, struct bus_uid *ret_uid)
{
    struct bus_uid uid;
    struct bytes version;
    if (!take_part(&text, &uid.epoch) || !take_part(&text, &version) || text.len == 0 ||
        memchr(text.at, '.', text.len) != NULL ||
        bytes_to_u64(version, UINT32_MAX, &uid.version) != 0) {
        return false;
    }
    uid.node = text;
    *ret_uid = uid;
    return true;
}
