/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Draws values of random depth and kind, and writes them as JSON or MessagePack.
 */
#include "tests/support/random_value.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "codec/json_scan.h"
#include "codec/mp.h"
#include "codec/utf8.h"

uint64_t random_value_seed(void)
{
    const char *fixed = getenv("PEAL_SEED");
    return fixed ? strtoull(fixed, NULL, 10) : (uint64_t)time(NULL) << 16 ^ (uint64_t)getpid();
}

void random_value_text(struct rand *rand, unsigned max, struct builder *out)
{
    static const uint32_t ceilings[] = {0x7f, 0x7f, 0x7ff, 0xffff, 0x10ffff};
    for (uint64_t left = rand_below(rand, (uint64_t)max + 1); left > 0; left--) {
        char at[UTF8_MAX_LEN];
        uint32_t point = (uint32_t)rand_below(rand, ceilings[rand_below(rand, 5)] + 1);
        point = point >= 0xd800 && point <= 0xdfff ? '"' : point;
        builder_add(out, bytes_of(at, utf8_put(point, at)));
    }
}

static uint64_t random_number(struct rand *rand)
{
    return rand_u64(rand) >> rand_below(rand, 64);
}

static double random_real(struct rand *rand)
{
    uint64_t bits = rand_u64(rand);
    double value;
    memcpy(&value, &bits, sizeof(value));
    return rand_below(rand, 2) ? value : (double)(int64_t)random_number(rand) / 8;
}

static void add_text(struct rand *rand, struct builder *out)
{
    struct builder text = {0};
    random_value_text(rand, 40, &text);
    mp_pack_str(out, builder_bytes(&text));
    builder_reset(&text);
}

static void add_container(struct rand *rand, unsigned depth, struct builder *out)
{
    bool map = rand_below(rand, 2);
    uint32_t count = (uint32_t)rand_below(rand, rand_below(rand, 8) ? 5 : 40);
    if (map) {
        mp_pack_map(out, count);
    } else {
        mp_pack_array(out, count);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (map) {
            add_text(rand, out);
        }
        random_value_msgpack(rand, depth - 1, out);
    }
}

static void add_ext(struct rand *rand, struct builder *out)
{
    char at[6] = "\xd6\xff";
    uint32_t seconds = (uint32_t)rand_u64(rand);
    memcpy(at + 2, &seconds, 4);
    builder_add(out, bytes_of(at, sizeof(at)));
}

void random_value_msgpack(struct rand *rand, unsigned depth, struct builder *out)
{
    switch (rand_below(rand, depth > 0 ? 12 : 9)) {
    case 0:
        mp_pack_nil(out);
        return;
    case 1:
        mp_pack_bool(out, rand_below(rand, 2));
        return;
    case 2:
        mp_pack_u64(out, random_number(rand));
        return;
    case 3:
        mp_pack_i64(out, -(int64_t)(random_number(rand) >> 1));
        return;
    case 4:
        mp_pack_float(out, random_real(rand));
        return;
    case 5:
        mp_pack_bin(out, bytes_of("\x00\x01\xff\xfe\x80", rand_below(rand, 6)));
        return;
    case 6:
        add_ext(rand, out);
        return;
    case 7:
    case 8:
        add_text(rand, out);
        return;
    default:
        add_container(rand, depth, out);
    }
}

void random_value_json(struct rand *rand, unsigned depth, struct builder *out)
{
    struct builder packed = {0};
    random_value_msgpack(rand, depth, &packed);
    if (mp_to_json(builder_bytes(&packed), NULL, out) < 0) {
        abort();
    }
    builder_reset(&packed);
}
