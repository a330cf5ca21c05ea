/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL with the reserve of mem.h behind it. A program with its own main: Criterion has begun
 * with OpenSSL before any test, and then it is too late.
 */
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "codec/base/mem.h"
#include "hub/net/crypto.h"

enum { RESERVE = 1 << 20, SPACE = 16 << 20 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { OWN_MALLOC = 0 };
#else
enum { OWN_MALLOC = 1 };
#endif

static void expect(bool holds, const char *what)
{
    if (!holds) {
        printf("not so: %s\n0 passed, 1 failed, 0 skipped\n", what);
        exit(1);
    }
}

/* Take all of an address space that ends soon, but a reserve. */
static void fill_space(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    expect(file != NULL && fscanf(file, "%lu", &pages) == 1, "statm");
    fclose(file);
    const struct rlimit limit = {.rlim_cur = pages * 4096 + SPACE, .rlim_max = RLIM_INFINITY};
    expect(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit");
    expect(mem_keep_reserve(RESERVE), "there is room for a reserve");
    for (size_t size = 1 << 20; size >= 16; size /= 2) {
        void *volatile taken;
        do {
            taken = malloc(size);
        } while (taken != NULL);
    }
    expect(!mem_is_low(), "what malloc cannot give does not touch it");
}

/* The digest of a WebSocket's handshake is no reason to end a node with all that are on it. */
int main(void)
{
    static const uint8_t wanted[] = {0xa9, 0x99, 0x3e, 0x36};
    uint8_t digest[CRYPTO_SHA256_LEN];
    if (!OWN_MALLOC) {
        puts("0 passed, 0 failed, 1 skipped");
        return 0;
    }
    expect(crypto_use_reserve(), "nothing of OpenSSL has begun");
    crypto_sha1(BYTES("abc"), digest);
    fill_space();
    expect(OPENSSL_malloc(17 << 10) == NULL, "there is nothing for a connection");
    expect(!mem_is_low(), "a connection does not take the reserve");
    for (unsigned i = 0; i < 100; i++) {
        crypto_sha1(BYTES("abc"), digest);
        expect(memcmp(digest, wanted, sizeof(wanted)) == 0, "the digest is right");
        crypto_hmac_sha256(BYTES("key"), BYTES("abc"), digest);
    }
    expect(mem_is_low(), "they took it");
    puts("1 passed, 0 failed, 0 skipped");
    return 0;
}
