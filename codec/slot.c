/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32 of a user's name, and what follows from it: the slot of an id, the part of a slot.
 */
#include "codec/slot.h"

#include <zlib.h>

#include "codec/base/check.h"

static uLong add(uLong crc, struct bytes content)
{
    return crc32_z(crc, (const Bytef *)(content.at ? content.at : ""), content.len);
}

uint32_t slot_of(struct bytes tenant, struct bytes user)
{
    uLong crc = add(0, tenant);
    crc = add(crc, bytes_of("", 1));
    crc = add(crc, user);
    return (uint32_t)(crc % SLOT_COUNT);
}

uint32_t slot_of_id(const uint8_t id[SLOT_ID_LEN])
{
    return (uint32_t)(id[6] & 0x0f) << 8 | id[7];
}

uint32_t slot_part(uint32_t slot, uint32_t parts)
{
    CHECK(slot_divides(parts));
    return slot & (parts - 1);
}

bool slot_divides(uint32_t parts)
{
    return parts > 0 && parts <= SLOT_COUNT && (parts & (parts - 1)) == 0;
}
