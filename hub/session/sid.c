/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts node, shard and random bits into one text, and reads the first two out of it again.
 */
#include "hub/session/sid.h"

#include "codec/base/rand.h"
#include "codec/base64.h"

enum { RAW_LEN = 19, PLACE_LEN = 3 };

void sid_draw(struct sid_place place, char ret_sid[SID_LEN])
{
    uint8_t raw[RAW_LEN] = {(uint8_t)(place.node >> 8), (uint8_t)place.node, place.shard};
    rand_secret(raw + PLACE_LEN, sizeof(raw) - PLACE_LEN);
    CHECK(base64url_encode(bytes_of(raw, sizeof(raw)), ret_sid) == SID_LEN);
}

bool sid_read(struct bytes sid, struct sid_place *ret_place)
{
    char raw[RAW_LEN];
    size_t len;
    if (sid.len != SID_LEN || base64url_decode(sid, raw, sizeof(raw), &len) != 0 ||
        len != RAW_LEN) {
        return false;
    }
    ret_place->node = (uint16_t)((unsigned)(uint8_t)raw[0] << 8 | (uint8_t)raw[1]);
    ret_place->shard = (uint8_t)raw[2];
    return true;
}
