/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots as the specification of Redis Cluster gives them, and the keys of commands.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "codec/redis_keys.h"

enum { WORDS_MAX = 12 };

TestSuite(redis_keys, .timeout = 10);

/* As CLUSTER KEYSLOT of Redis 7.0.15 answers. */
Test(redis_keys, slots_are_those_of_redis)
{
    static const struct {
        const char *key;
        uint16_t slot;
    } rows[] = {
        {"123456789", 0x31c3 % 16384},
        {"foo", 12182},
        {"{user1000}.following", 3443},
        {"{user1000}.followers", 3443},
        {"foo{}{bar}", 8363},
        {"foo{{bar}}zap", 4015},
        {"foo{bar}{zap}", 5061},
        {"peal:in", 939},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect_eq(redis_keys_slot(bytes_str(rows[i].key)), rows[i].slot, "%s: %u", rows[i].key,
            redis_keys_slot(bytes_str(rows[i].key)));
    }
    cr_expect_eq(redis_keys_slot(BYTES("")), 0);
    cr_expect_neq(redis_keys_slot(BYTES("}a{b}")), redis_keys_slot(BYTES("}a{")));
    cr_expect_eq(redis_keys_slot(BYTES("}a{b}")), redis_keys_slot(BYTES("b")));
}

static size_t split(const char *line, char *copy, struct bytes *argv)
{
    size_t argc = 0;
    strcpy(copy, line);
    char *left = copy;
    for (char *word; (word = strsep(&left, " ")) != NULL;) {
        argv[argc++] = bytes_str(word);
    }
    return argc;
}

Test(redis_keys, keys_are_found)
{
    static const struct {
        const char *line;
        enum redis_aim aim;
        size_t first;
        size_t count;
        bool agree;
    } rows[] = {
        {"GET a", REDIS_AIM_KEY, 1, 1, true},
        {"GET", REDIS_AIM_UNKNOWN, 0, 0, true},
        {"SET a b PX 5", REDIS_AIM_KEY, 1, 1, true},
        {"DEL {a}1 {a}2", REDIS_AIM_KEY, 1, 2, true},
        {"DEL a b", REDIS_AIM_KEY, 1, 2, false},
        {"XINFO STREAM a", REDIS_AIM_KEY, 2, 1, true},
        {"XINFO STREAM", REDIS_AIM_UNKNOWN, 0, 0, true},
        {"EVAL text 2 {a}1 {a}2 b", REDIS_AIM_KEY, 3, 2, true},
        {"EVALSHA text 2 a b", REDIS_AIM_KEY, 3, 2, false},
        {"EVAL text 0 a", REDIS_AIM_ANY, 0, 0, true},
        {"EVAL text 3 a b", REDIS_AIM_UNKNOWN, 0, 0, true},
        {"EVAL text x a b", REDIS_AIM_UNKNOWN, 0, 0, true},
        {"EVAL text", REDIS_AIM_UNKNOWN, 0, 0, true},
        {"XREAD COUNT 1 BLOCK 5 STREAMS a 0", REDIS_AIM_KEY, 6, 1, true},
        {"XREAD STREAMS a b 0 0", REDIS_AIM_KEY, 2, 2, false},
        {"XREAD STREAMS", REDIS_AIM_UNKNOWN, 0, 0, true},
        {"XREAD COUNT 1", REDIS_AIM_UNKNOWN, 0, 0, true},
        {"PUBLISH a b", REDIS_AIM_ANY, 0, 0, true},
        {"SCRIPT LOAD a", REDIS_AIM_MASTERS, 0, 0, true},
        {"PUBSUB NUMSUB a", REDIS_AIM_EVERYBODY, 0, 0, true},
        {"SCAN 0", REDIS_AIM_SCAN, 0, 0, true},
        {"FLUSHALL", REDIS_AIM_UNKNOWN, 0, 0, true},
        {"get a", REDIS_AIM_UNKNOWN, 0, 0, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bytes argv[WORDS_MAX];
        char copy[80];
        struct redis_keys keys = redis_keys_find(argv, split(rows[i].line, copy, argv));
        cr_expect_eq(keys.aim, rows[i].aim, "%s", rows[i].line);
        cr_expect_eq(keys.first, rows[i].first, "%s", rows[i].line);
        cr_expect_eq(keys.count, rows[i].count, "%s", rows[i].line);
        cr_expect_eq(redis_keys_agree(argv, &keys), rows[i].agree, "%s", rows[i].line);
    }
    struct redis_keys none = redis_keys_find(NULL, 0);
    cr_expect_eq(none.aim, REDIS_AIM_UNKNOWN);
}
