/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packs the texts of a token behind one struct, each with its length in front, and finds them
 * again.
 */
#include "codec/claims.h"

#include "codec/base/mem.h"

enum { LEN_SIZE = sizeof(uint16_t) }; /* in front of the text of an entry */

/* --- making -------------------------------------------------------------------------------- */

static uint16_t short_of(size_t len)
{
    CHECK(len <= UINT16_MAX);
    return (uint16_t)len;
}

/* Copy `text` to `*at` and advance it. */
static void put(char **at, struct bytes text)
{
    if (text.len > 0) {
        memcpy(*at, text.at, text.len);
    }
    *at += text.len;
}

static void put_entry(char **at, struct bytes text)
{
    uint16_t len = short_of(text.len);
    memcpy(*at, &len, LEN_SIZE);
    *at += LEN_SIZE;
    put(at, text);
}

static size_t text_size(const struct claims_fields *fields)
{
    size_t size = fields->tenant.len + (fields->tenant.len > 0 ? 1 : 0) + fields->user.len +
                  fields->role.len + fields->name.len + fields->issuer.len;
    for (size_t i = 0; i < fields->room_count; i++) {
        size += LEN_SIZE + fields->rooms[i].len;
    }
    for (size_t i = 0; i < fields->extra_count; i++) {
        size += 2 * LEN_SIZE + fields->extra[i].name.len + fields->extra[i].value.len;
    }
    return size;
}

struct claims *claims_new(const struct claims_fields *fields)
{
    struct claims *claims = mem_try_alloc(offsetof(struct claims, text) + text_size(fields));
    if (claims == NULL) {
        return NULL;
    }
    atomic_init(&claims->refs, 1);
    claims->expires_at = fields->expires_at;
    claims->tenant_len = short_of(fields->tenant.len);
    claims->user_len = short_of(fields->user.len);
    claims->role_len = short_of(fields->role.len);
    claims->name_len = short_of(fields->name.len);
    claims->issuer_len = short_of(fields->issuer.len);
    claims->room_count = short_of(fields->room_count);
    claims->extra_count = short_of(fields->extra_count);
    char *at = claims->text;
    put(&at, fields->tenant);
    put(&at, bytes_of("/", fields->tenant.len > 0 ? 1 : 0));
    put(&at, fields->user);
    put(&at, fields->role);
    put(&at, fields->name);
    put(&at, fields->issuer);
    for (size_t i = 0; i < fields->room_count; i++) {
        put_entry(&at, fields->rooms[i]);
    }
    for (size_t i = 0; i < fields->extra_count; i++) {
        put_entry(&at, fields->extra[i].name);
        put_entry(&at, fields->extra[i].value);
    }
    return claims;
}

struct claims *claims_ref(struct claims *claims)
{
    atomic_fetch_add_explicit(&claims->refs, 1, memory_order_relaxed);
    return claims;
}

void claims_unref(struct claims *claims)
{
    if (claims != NULL && atomic_fetch_sub_explicit(&claims->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(claims);
    }
}

/* --- reading ------------------------------------------------------------------------------- */

/* Take the entry at `*at` and advance it. */
static struct bytes take_entry(const char **at)
{
    uint16_t len;
    memcpy(&len, *at, LEN_SIZE);
    struct bytes text = bytes_of(*at + LEN_SIZE, len);
    *at += LEN_SIZE + len;
    return text;
}

static const char *first_entry(const struct claims *claims)
{
    struct bytes before = claims_issuer(claims);
    return before.at + before.len;
}

static const char *first_extra(const struct claims *claims)
{
    const char *at = first_entry(claims);
    for (size_t i = 0; i < claims->room_count; i++) {
        (void)take_entry(&at);
    }
    return at;
}

size_t claims_size(const struct claims *claims)
{
    const char *at = first_extra(claims);
    for (size_t i = 0; i < 2u * claims->extra_count; i++) {
        (void)take_entry(&at);
    }
    return (size_t)(at - (const char *)claims);
}

void claims_copy(const struct claims *claims, void *at)
{
    struct claims *copy = at;
    size_t head = offsetof(struct claims, tenant_len);
    copy->expires_at = claims->expires_at;
    atomic_init(&copy->refs, 1);
    memcpy((char *)at + head, (const char *)claims + head, claims_size(claims) - head);
}

bool claims_list_room(const struct claims *claims, struct bytes room)
{
    const char *at = first_entry(claims);
    for (size_t i = 0; i < claims->room_count; i++) {
        struct bytes entry = take_entry(&at);
        if (entry.len > 0 && entry.at[entry.len - 1] == '*') {
            entry.len--;
            if (bytes_starts(room, entry)) {
                return true;
            }
        } else if (bytes_eq(entry, room)) {
            return true;
        }
    }
    return false;
}

bool claims_have(const struct claims *claims, struct bytes name, struct bytes value)
{
    const char *at = first_extra(claims);
    for (size_t i = 0; i < claims->extra_count; i++) {
        struct bytes entry_name = take_entry(&at);
        struct bytes entry_value = take_entry(&at);
        if (bytes_eq(entry_name, name) && bytes_eq(entry_value, value)) {
            return true;
        }
    }
    return false;
}
