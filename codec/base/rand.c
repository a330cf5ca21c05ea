/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A generator with a seed for tests and jitter, the kernel's bytes for secrets, and UUIDs of both.
 */
#include "codec/base/rand.h"

#include <string.h>
#include <sys/random.h>

#include "codec/base/check.h"
#include "codec/base/status.h"

enum { POOL_LEN = 4096 };

/* One pool per thread, so that an id costs no system call and no lock. */
static _Thread_local struct {
    size_t left;
    uint8_t at[POOL_LEN];
} pool;

void rand_init(struct rand *rand, uint64_t seed)
{
    rand->state = seed;
}

uint64_t rand_u64(struct rand *rand)
{
    /* splitmix64: passes BigCrush, every seed is good. */
    uint64_t z = (rand->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t rand_below(struct rand *rand, uint64_t bound)
{
    CHECK(bound > 0);
    return rand_u64(rand) % bound; /* the bias is below bound / 2^64 */
}

static void fill(void *at, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = getrandom((char *)at + done, len - done, 0);
        CHECK(n > 0);
        done += (size_t)n;
    }
}

void rand_secret(void *at, size_t len)
{
    if (len > sizeof(pool.at)) {
        fill(at, len);
        return;
    }
    if (pool.left < len) {
        fill(pool.at, sizeof(pool.at));
        pool.left = sizeof(pool.at);
    }
    pool.left -= len;
    memcpy(at, pool.at + pool.left, len);
    explicit_bzero(pool.at + pool.left, len);
}

void uuid7_make(uint64_t wall_ms, uint32_t slot, uint8_t ret_uuid[16])
{
    rand_secret(ret_uuid + 8, 8);
    for (int i = 0; i < 6; i++) {
        ret_uuid[i] = (uint8_t)(wall_ms >> (40 - 8 * i));
    }
    ret_uuid[6] = (uint8_t)(0x70 | (slot >> 8 & 0x0f));
    ret_uuid[7] = (uint8_t)slot;
    ret_uuid[8] = (uint8_t)(0x80 | (ret_uuid[8] & 0x3f));
}

void uuid_format(const uint8_t uuid[16], char ret_text[UUID_TEXT_LEN])
{
    static const char digits[] = "0123456789abcdef";
    char *out = ret_text;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *out++ = '-';
        }
        *out++ = digits[uuid[i] >> 4];
        *out++ = digits[uuid[i] & 15];
    }
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int uuid_parse(const char *text, size_t len, uint8_t ret_uuid[16])
{
    if (len != UUID_TEXT_LEN) {
        return STATUS_INVALID;
    }
    uint8_t uuid[16];
    const char *in = text;
    for (int i = 0; i < 16; i++) {
        if ((i == 4 || i == 6 || i == 8 || i == 10) && *in++ != '-') {
            return STATUS_INVALID;
        }
        int high = digit_of(in[0]);
        int low = digit_of(in[1]);
        if (high < 0 || low < 0) {
            return STATUS_INVALID;
        }
        uuid[i] = (uint8_t)(high << 4 | low);
        in += 2;
    }
    memcpy(ret_uuid, uuid, sizeof(uuid));
    return 0;
}
