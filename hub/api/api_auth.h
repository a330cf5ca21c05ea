/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_auth - who calls the API: a backend by its API key, or a user by a token, and at what rate.
 *
 * A function that returns false has answered the request. Wrong keys and tokens are limited by
 * address, calls with users' tokens by user, over all shards of the node.
 */
#ifndef HUB_API_API_AUTH_H
#define HUB_API_API_AUTH_H

#include <stdbool.h>

#include "codec/base/bytes.h"
#include "codec/names.h"
#include "hub/auth/apikey.h"
#include "hub/net/http_server.h"

struct api_shard;

/* Whose inbox a request is about; texts live in it. */
struct api_who {
    struct bytes tenant; /* empty where tenants are off */
    struct bytes user; /* empty: any of the tenant */
    /* private */
    char tenant_at[NAMES_TENANT_MAX];
    char user_at[NAMES_USER_MAX];
};

/*
 * The API key of the request, which must have `scopes`; valid during this call of the handler. The
 * secret is looked up once, where the head is judged; again when the keys have changed since.
 * NULL: the request was answered with 401, 403 or 429.
 */
const struct apikey *api_auth_key(struct http_request *request, unsigned scopes);

/*
 * The tenant that a caller with `key` acts for: where tenants are on, `named` if the key may act
 * for it, or the key's own when none is named; else empty. STATUS_DENIED.
 */
MUST_CHECK int api_auth_tenant(const struct http_request *request, const struct apikey *key,
    struct bytes named, struct bytes *ret_tenant);

/*
 * Who calls about the user in the first segment of the path: a key with `scopes` (and `?tenant=`),
 * or, with `own`, that user. Fills in `ret_who`.
 */
bool api_auth_user(
    struct http_request *request, unsigned scopes, bool own, struct api_who *ret_who);

/* The same for a backend alone: `user` stays empty. */
bool api_auth_backend(struct http_request *request, unsigned scopes, struct api_who *ret_who);

/* The same where the path names no user: `user` becomes the token's, or empty with a key. */
bool api_auth_any(struct http_request *request, unsigned scopes, struct api_who *ret_who);

/*
 * Count a wrong token that was shown on a socket of `remote`, an address as text (IPv6: its /64),
 * with those that were shown to the API; false: too many. Good tokens of an address are not
 * affected: a proxy may stand before everybody.
 */
bool api_auth_count_refusal(struct api_shard *shard, struct bytes remote);

/* The same for a token that `user`, the key of an identity, has shown to go on with. */
bool api_auth_count_refresh(struct api_shard *shard, struct bytes user);

#endif
