/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes and reads the hint of a post to many.
 */
#include "codec/audience_hint.h"

#include "codec/base/status.h"
#include "codec/mp.h"
#include "codec/names.h"

enum { FIELDS = 5 };

void audience_hint_encode(const struct audience_hint *hint, struct builder *out)
{
    mp_pack_array(out, FIELDS);
    mp_pack_str(out, hint->uid);
    mp_pack_u64(out, (uint64_t)hint->kind);
    mp_pack_u64(out, hint->n);
    mp_pack_str(out, hint->tenant);
    mp_pack_str(out, hint->name);
}

static bool names_fit(const struct audience_hint *hint)
{
    bool tenant = hint->tenant.len == 0 || names_check_tenant(hint->tenant) == 0;
    bool topic = hint->kind == AUDIENCE_TOPIC;
    return tenant && (topic ? names_check_room(hint->name) == 0 : hint->name.len == 0);
}

int audience_hint_decode(struct bytes payload, struct audience_hint *ret_hint)
{
    struct mp_reader reader = {.rest = payload};
    struct audience_hint hint = {0};
    uint32_t count = 0;
    uint64_t kind = 0;
    bool good = mp_array(&reader, &count) == 0 && count == FIELDS &&
                mp_str(&reader, &hint.uid) == 0 && mp_u64(&reader, &kind) == 0 &&
                kind < AUDIENCE_COUNT && mp_u64(&reader, &hint.n) == 0 &&
                mp_str(&reader, &hint.tenant) == 0 && mp_str(&reader, &hint.name) == 0 &&
                reader.rest.len == 0;
    hint.kind = (enum notification_audience)kind;
    if (!good || !names_fit(&hint)) {
        return STATUS_INVALID;
    }
    *ret_hint = hint;
    return 0;
}
