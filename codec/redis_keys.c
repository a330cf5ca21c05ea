/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks a command up in redis_keys.def, and computes the slot of a key.
 */
#include "codec/redis_keys.h"

#include <string.h>

enum place {
    PLACE_FIRST, /* the word behind the command */
    PLACE_SECOND, /* the one behind that */
    PLACE_ALL, /* all words behind the command */
    PLACE_COUNTED, /* behind their number, which is the second word behind the command */
    PLACE_STREAMS, /* the first half of what follows STREAMS */
    PLACE_ANY, /* none, and so on: as enum redis_aim */
    PLACE_MASTERS,
    PLACE_EVERYBODY,
    PLACE_SCAN,
};

static const struct {
    const char *word;
    enum place place;
} commands[] = {
#define X(word, place) {#word, PLACE_##place},
#include "codec/redis_keys.def"
#undef X
};

static struct redis_keys make_aim(enum redis_aim aim)
{
    return (struct redis_keys){.aim = aim};
}

/* `count` words from `first` on, if there are so many and at least one. */
static struct redis_keys make_keys(size_t first, size_t count, size_t argc)
{
    if (count == 0 || first >= argc || count > argc - first) {
        return make_aim(REDIS_AIM_UNKNOWN);
    }
    return (struct redis_keys){.aim = REDIS_AIM_KEY, .first = first, .count = count};
}

static struct redis_keys find_counted(const struct bytes *argv, size_t argc)
{
    uint64_t count;
    if (argc < 3 || bytes_to_u64(argv[2], argc, &count) != 0) {
        return make_aim(REDIS_AIM_UNKNOWN);
    }
    return count == 0 ? make_aim(REDIS_AIM_ANY) : make_keys(3, (size_t)count, argc);
}

static struct redis_keys find_streams(const struct bytes *argv, size_t argc)
{
    for (size_t i = 1; i < argc; i++) {
        if (bytes_eq_str(argv[i], "STREAMS")) {
            return make_keys(i + 1, (argc - i - 1) / 2, argc);
        }
    }
    return make_aim(REDIS_AIM_UNKNOWN);
}

static struct redis_keys find_in(enum place place, const struct bytes *argv, size_t argc)
{
    switch (place) {
    case PLACE_FIRST:
        return make_keys(1, 1, argc);
    case PLACE_SECOND:
        return make_keys(2, 1, argc);
    case PLACE_ALL:
        return make_keys(1, argc - 1, argc);
    case PLACE_COUNTED:
        return find_counted(argv, argc);
    case PLACE_STREAMS:
        return find_streams(argv, argc);
    case PLACE_MASTERS:
        return make_aim(REDIS_AIM_MASTERS);
    case PLACE_EVERYBODY:
        return make_aim(REDIS_AIM_EVERYBODY);
    case PLACE_SCAN:
        return make_aim(REDIS_AIM_SCAN);
    case PLACE_ANY:
        break;
    }
    return make_aim(REDIS_AIM_ANY);
}

struct redis_keys redis_keys_find(const struct bytes *argv, size_t argc)
{
    for (size_t i = 0; argc > 0 && i < ARRAY_LEN(commands); i++) {
        if (bytes_eq_str(argv[0], commands[i].word)) {
            return find_in(commands[i].place, argv, argc);
        }
    }
    return make_aim(REDIS_AIM_UNKNOWN);
}

/* CRC-16/XMODEM: polynomial 0x1021, from 0, not reflected. */
static uint16_t crc16(struct bytes content)
{
    uint32_t crc = 0;
    for (size_t i = 0; i < content.len; i++) {
        crc ^= (uint32_t)(uint8_t)content.at[i] << 8;
        for (unsigned bit = 0; bit < 8; bit++) {
            crc = (crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1;
        }
    }
    return (uint16_t)crc;
}

uint16_t redis_keys_slot(struct bytes key)
{
    const char *open = key.len > 0 ? memchr(key.at, '{', key.len) : NULL;
    struct bytes rest = open != NULL ? bytes_skip(key, (size_t)(open - key.at) + 1) : key;
    const char *close = open != NULL && rest.len > 0 ? memchr(rest.at, '}', rest.len) : NULL;
    bool tagged = close != NULL && close > rest.at;
    return crc16(tagged ? bytes_of(rest.at, (size_t)(close - rest.at)) : key) % REDIS_SLOTS;
}

bool redis_keys_agree(const struct bytes *argv, const struct redis_keys *keys)
{
    for (size_t i = 1; keys->aim == REDIS_AIM_KEY && i < keys->count; i++) {
        if (redis_keys_slot(argv[keys->first + i]) != redis_keys_slot(argv[keys->first])) {
            return false;
        }
    }
    return true;
}
