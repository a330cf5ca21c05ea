/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto_p256 - keys of the curve P-256, what is agreed with them and signed by them, and AES-GCM,
 * over OpenSSL.
 *
 * Points are uncompressed (SEC 1, 2.3.3), numbers big-endian. Any thread; a key is one thread's at
 * a time. A failure inside OpenSSL that only memory can cause aborts.
 */
#ifndef HUB_NET_CRYPTO_P256_H
#define HUB_NET_CRYPTO_P256_H

#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum {
    CRYPTO_POINT_LEN = 65,
    CRYPTO_SCALAR_LEN = 32,
    CRYPTO_SIGNATURE_LEN = 64,
    CRYPTO_AES128_LEN = 16,
    CRYPTO_NONCE_LEN = 12,
    CRYPTO_TAG_LEN = 16,
};

/* A private key with its public one. */
struct crypto_p256;

/* Make a new key. */
MUST_CHECK struct crypto_p256 *crypto_p256_generate(void);

/* The key with this private number; NULL: it is none of the curve (0, or too large). */
MUST_CHECK struct crypto_p256 *crypto_p256_read(const uint8_t scalar[CRYPTO_SCALAR_LEN]);

/* Wipe and free it; NULL is allowed. */
void crypto_p256_destroy(struct crypto_p256 *key);

/* Its public and its private part. */
void crypto_p256_get_point(const struct crypto_p256 *key, uint8_t ret_point[CRYPTO_POINT_LEN]);
void crypto_p256_get_scalar(const struct crypto_p256 *key, uint8_t ret_scalar[CRYPTO_SCALAR_LEN]);

/*
 * What this key and the owner of `point` agree on (ECDH: the x coordinate). STATUS_INVALID: `point`
 * is not on the curve.
 */
MUST_CHECK int crypto_p256_agree(const struct crypto_p256 *key,
    const uint8_t point[CRYPTO_POINT_LEN], uint8_t ret_secret[CRYPTO_SCALAR_LEN]);

/* Sign the SHA-256 of `content` (ECDSA): r and s, as JWS has them (RFC 7518, 3.4). */
void crypto_p256_sign(const struct crypto_p256 *key, struct bytes content,
    uint8_t ret_signature[CRYPTO_SIGNATURE_LEN]);

/* Encrypt by AES-128-GCM: as many bytes as `plain` and CRYPTO_TAG_LEN behind them. */
void crypto_aes128_gcm_seal(const uint8_t key[CRYPTO_AES128_LEN],
    const uint8_t nonce[CRYPTO_NONCE_LEN], struct bytes plain, uint8_t *ret_sealed);

#endif
