/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names joined, and taken apart again.
 */
#include "actors/values/value_name.h"

#include <string.h>

#include "codec/slot.h"

struct bytes value_name_write(struct bytes tenant, struct bytes key, char *at)
{
    CHECK(tenant.len + 1 + key.len <= VALUE_NAME_MAX);
    if (tenant.len > 0) {
        memcpy(at, tenant.at, tenant.len);
    }
    at[tenant.len] = '/';
    if (key.len > 0) {
        memcpy(at + tenant.len + 1, key.at, key.len);
    }
    return bytes_of(at, tenant.len + 1 + key.len);
}

struct bytes value_name_tenant(struct bytes name)
{
    const char *slash = name.len > 0 ? memchr(name.at, '/', name.len) : NULL;
    return bytes_of(name.at, slash != NULL ? (size_t)(slash - name.at) : 0);
}

struct bytes value_name_key(struct bytes name)
{
    size_t tenant = value_name_tenant(name).len;
    return name.len > tenant ? bytes_skip(name, tenant + 1) : bytes_of(NULL, 0);
}

uint32_t value_name_slot(const struct value_names *names, struct bytes name)
{
    return slot_part(slot_of(value_name_tenant(name), value_name_key(name)), names->slots);
}

void value_name_redis(
    const struct value_names *names, enum value_kind kind, struct bytes name, struct builder *out)
{
    builder_printf(out, "%s:{%u}:%c:", names->prefix, value_name_slot(names, name), (int)kind);
    builder_add(out, name);
}

/* Text of a pattern that stands for itself. */
static void add_literal(struct bytes text, struct builder *out)
{
    for (size_t i = 0; i < text.len; i++) {
        if (strchr("*?[]\\^-", text.at[i]) != NULL && text.at[i] != '\0') {
            builder_byte(out, '\\');
        }
        builder_byte(out, text.at[i]);
    }
}

void value_name_pattern(
    const struct value_names *names, struct bytes tenant, struct bytes prefix, struct builder *out)
{
    add_literal(bytes_str(names->prefix), out);
    builder_str(out, ":{*}:v:");
    add_literal(tenant, out);
    builder_byte(out, '/');
    add_literal(prefix, out);
    builder_byte(out, '*');
}

bool value_name_read(const struct value_names *names, struct bytes key, struct bytes *ret_name)
{
    struct bytes prefix = bytes_str(names->prefix);
    if (!bytes_starts(key, prefix) || !bytes_starts(bytes_skip(key, prefix.len), BYTES(":{"))) {
        return false;
    }
    struct bytes rest = bytes_skip(key, prefix.len + 2);
    const char *end = rest.len > 0 ? memchr(rest.at, '}', rest.len) : NULL;
    rest = end != NULL ? bytes_skip(rest, (size_t)(end - rest.at)) : rest;
    if (end == NULL || !bytes_starts(rest, BYTES("}:v:"))) {
        return false;
    }
    *ret_name = bytes_skip(rest, 4);
    return ret_name->len <= VALUE_NAME_MAX && memchr(ret_name->at, '/', ret_name->len) != NULL;
}

void value_name_channel(const struct value_names *names, uint32_t slot, struct builder *out)
{
    builder_printf(out, "%s:%u:changed:{%u}", names->prefix, names->db, slot);
}
