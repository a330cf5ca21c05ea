/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crypto - the digests and key formats Peal needs, over OpenSSL.
 *
 * All functions are for any thread. A failure inside OpenSSL's digests (they only allocate)
 * aborts: crypto_use_reserve.
 */
#ifndef HUB_NET_CRYPTO_H
#define HUB_NET_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum { CRYPTO_SHA1_LEN = 20, CRYPTO_SHA256_LEN = 32, CRYPTO_HASH128_LEN = 16 };

/*
 * Have OpenSSL allocate with the reserve of mem.h behind it, so that a digest does not end the
 * program while there is some; what is larger than 4 KiB (a connection's records) fails instead, as
 * all that peers can make many. Before anything else of OpenSSL in the process; false: it is too
 * late.
 */
MUST_CHECK bool crypto_use_reserve(void);

/* SHA-1 (FIPS 180-4): for the WebSocket accept key only (RFC 6455 4.2.2). */
void crypto_sha1(struct bytes content, uint8_t ret_digest[CRYPTO_SHA1_LEN]);

/* SHA-256 (FIPS 180-4). */
void crypto_sha256(struct bytes content, uint8_t ret_digest[CRYPTO_SHA256_LEN]);

/* The first 16 bytes of SHA-256: names content where a collision must not be findable cheaply. */
void crypto_hash128(struct bytes content, uint8_t ret_digest[CRYPTO_HASH128_LEN]);

/* HMAC-SHA-256 (RFC 2104) of `content` under a `key` of any length. */
void crypto_hmac_sha256(
    struct bytes key, struct bytes content, uint8_t ret_digest[CRYPTO_SHA256_LEN]);

/* HMAC-SHA-256 under one key that many contents are proven with; for one thread at a time. */
struct crypto_hmac;

/* Prepare a `key` of any length, which is copied. */
MUST_CHECK struct crypto_hmac *crypto_hmac_create(struct bytes key);

/* Wipe and free it; NULL is allowed. */
void crypto_hmac_destroy(struct crypto_hmac *hmac);

/* As crypto_hmac_sha256 with the prepared key, at the price of the digest alone. */
void crypto_hmac_run(
    struct crypto_hmac *hmac, struct bytes content, uint8_t ret_digest[CRYPTO_SHA256_LEN]);

/*
 * Keying material by HKDF-SHA-256 (RFC 5869): `ret_len` bytes, at most 255 digests, made of
 * `secret` for the use that `salt` and `info` (at most 160 bytes) name.
 */
void crypto_hkdf_sha256(
    struct bytes secret, struct bytes salt, struct bytes info, uint8_t *ret_key, size_t ret_len);

/* Whether `len` bytes are equal, in a time that depends on `len` only. */
bool crypto_equal(const void *a, const void *b, size_t len);

/* Overwrite `len` bytes with zeros in a way the compiler does not remove. */
void crypto_wipe(void *at, size_t len);

enum crypto_key_kind { CRYPTO_KEY_RSA, CRYPTO_KEY_EC_P256 };

/*
 * Turn the first key in a PEM text (public key, certificate, or unencrypted private key) into the
 * JSON text of a JWK (RFC 7517, 7518 6.2 and 6.3), appended to `jwk`. Private members (d, p, q …)
 * are there for a private key. STATUS_INVALID when there is no key, STATUS_UNSUPPORTED for one
 * that is neither RSA of at least 2,048 bits nor EC P-256, STATUS_DENIED for an encrypted one.
 */
MUST_CHECK int crypto_pem_to_jwk(
    struct bytes pem, struct builder *jwk, enum crypto_key_kind *ret_kind);

#endif
