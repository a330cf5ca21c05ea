/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jwt_world - tokens, right and forged, and checks of them, for the tests of hub/jwt*.
 */
#ifndef TESTS_UNIT_HUB_JWT_WORLD_H
#define TESTS_UNIT_HUB_JWT_WORLD_H

#include <stdint.h>

#include "codec/base/bytes.h"
#include "hub/auth/jwt.h"

#define SECRET "0123456789abcdef0123456789abcdef"
#define OTHER_SECRET "fedcba9876543210fedcba9876543210"

enum { NOW = 1800000000 };

#define AAA "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define BBB "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define CCC "cccccccccccccccccccccccccccccccc"

/* A token with any header and payload, signed with HMAC-SHA-256 whatever the header says. Good
 * until the next one. */
struct bytes world_forge(struct bytes key, const char *header, const char *payload);

/* The usual token of SECRET. */
struct bytes world_token(const char *payload);

/* A token of `user` until NOW + 60, signed by jwt_sign. Good until the next one. */
struct bytes world_sign(const struct jwt_key_options *key, const char *user);

/* The key that SECRET is. */
struct jwt_key_options world_key(void);

/* A check that must come about; with these keys, or SECRET, and a cache of 16 tokens. */
struct jwt *world_jwt(const struct jwt_options *options);
struct jwt *world_jwt_with(const struct jwt_key_options *keys, size_t count);
struct jwt *world_jwt_plain(void);

/* Verify and drop the claims. */
int world_check(struct jwt *jwt, struct bytes token, uint64_t now);

#endif
