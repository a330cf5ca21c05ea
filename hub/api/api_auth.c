/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who calls the API: a key, a user's token, or nobody; and how often one may.
 *
 * Order of this file: rates, keys, tokens, users of paths.
 */
#include "hub/api/api_auth.h"

#include "actors/rate.h"
#include "codec/base/clock.h"
#include "codec/base/log.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/query.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_shard.h"
#include "hub/auth/jwt.h"
#include "hub/auth/token_log.h"
#include "hub/config/config.h"
#include "hub/net/address.h"
#include "hub/net/connection.h"
#include "hub/net/name_rates.h"

/* Rates: of an address that was refused, or of a user who calls; one for the node. */

static bool take(struct api_shard *shard, uint64_t name, uint32_t limit, uint64_t *ret_retry_ms)
{
    struct rate rate = {.burst = limit, .per_minute = limit};
    return name_rates_take(
        shard->node->rates, name, &rate, sched_now(shard->shard->sched), ret_retry_ms);
}

static void refuse_rate(struct http_request *request, uint64_t retry_ms)
{
    api_shard(request)->shard->stats.rate_limited++;
    api_refuse(request, &(struct api_error){.code = ERROR_RATE_LIMITED,
                            .message = "Too many requests",
                            .retry_s = (uint32_t)((retry_ms + 999) / 1000)});
}

/* The name of a user for what is counted as `what`: hashes of both, so that no user's name can be
 * that of another. */
static uint64_t name_of(const char *what, struct bytes user)
{
    uint64_t parts[] = {hash_bytes(bytes_str(what)), hash_bytes(user)};
    return hash_bytes(bytes_of((const char *)parts, sizeof(parts)));
}

static bool take_refusal(struct api_shard *shard, struct bytes remote, uint64_t *ret_retry_ms)
{
    struct address_key key = address_parse(remote);
    uint32_t limit = shard->settings->config->limits_refusals_per_minute;
    return take(shard, address_name(&key, ADDRESS_REFUSED), limit, ret_retry_ms);
}

/* Refuse a wrong key or token, and count it. */
static void refuse_caller(struct http_request *request, const char *message)
{
    static _Thread_local struct log_limit limit;
    char remote[ADDRESS_TEXT_MAX];
    uint64_t retry_ms;
    unsigned suppressed;
    connection_remote(request->connection, remote);
    if (log_allow(&limit, &suppressed)) {
        log_warn("API-REFUSED", "a wrong key or token was refused", "remote=%s suppressed=%u",
            remote, suppressed);
    }
    if (!take_refusal(api_shard(request), bytes_str(remote), &retry_ms)) {
        refuse_rate(request, retry_ms);
        return;
    }
    api_refuse(request, &(struct api_error){.code = ERROR_UNAUTHORIZED, .message = message});
}

bool api_auth_count_refusal(struct api_shard *shard, struct bytes remote)
{
    uint64_t retry_ms;
    return take_refusal(shard, remote, &retry_ms);
}

bool api_auth_count_refresh(struct api_shard *shard, struct bytes user)
{
    uint64_t retry_ms;
    uint32_t limit = shard->settings->config->limits_refusals_per_minute;
    return take(shard, name_of("refresh", user), limit, &retry_ms);
}

/* Keys. */

/* The token of the request; false: it was answered. */
static bool read_bearer(struct http_request *request, struct bytes *ret_token)
{
    struct bytes value;
    int status = http1_header_once(request->head, "authorization", &value);
    if (status == 0) {
        status = apikey_parse_bearer(value, ret_token);
    }
    if (status == 0) {
        return true;
    }
    if (status == STATUS_NOT_FOUND) {
        api_refuse(request, &(struct api_error){.code = ERROR_UNAUTHORIZED,
                                .message = "An API key is needed: Authorization: Bearer KEY"});
    } else {
        refuse_caller(request, "The Authorization header is not valid");
    }
    return false;
}

/* Whether the key has the scopes; false: the request was answered. */
static bool check_scopes(struct http_request *request, const struct apikey *key, unsigned scopes)
{
    if ((key->scopes & scopes) == scopes) {
        return true;
    }
    const char *message = apikey_needs(scopes & ~key->scopes);
    api_refuse(request, &(struct api_error){.code = ERROR_FORBIDDEN, .message = message});
    return false;
}

/* Find the key by its secret; NULL: the request was answered. */
static const struct apikey *find_key(struct http_request *request)
{
    const struct apikey_set *keys = api_shard(request)->settings->keys;
    struct bytes token;
    if (!read_bearer(request, &token)) {
        return NULL;
    }
    const struct apikey *key = apikey_find(keys, token);
    if (key == NULL) {
        refuse_caller(request, "The API key is not valid");
        return NULL;
    }
    http_authenticated(request);
    request->caller = apikey_mark(keys, key);
    return key;
}

const struct apikey *api_auth_key(struct http_request *request, unsigned scopes)
{
    const struct apikey_set *keys = api_shard(request)->settings->keys;
    const struct apikey *key = apikey_recall(keys, request->caller);
    if (key == NULL) {
        key = find_key(request);
    }
    return key != NULL && check_scopes(request, key, scopes) ? key : NULL;
}

int api_auth_tenant(const struct http_request *request, const struct apikey *key,
    struct bytes named, struct bytes *ret_tenant)
{
    bool tenants = api_shard(request)->settings->config->auth_tenants;
    if (named.len > 0 && key->tenant.len > 0 && !bytes_eq(named, key->tenant)) {
        return STATUS_DENIED;
    }
    *ret_tenant = !tenants ? bytes_of(NULL, 0) : named.len > 0 ? named : key->tenant;
    return 0;
}

/* Tokens. */

static struct bytes keep(struct bytes text, char *at)
{
    if (text.len > 0) {
        memcpy(at, text.at, text.len);
    }
    return bytes_of(at, text.len);
}

/* One call more of a user; false: too many, and the request was answered. */
static bool take_call(struct http_request *request, const struct api_who *who)
{
    uint64_t retry_ms;
    struct builder key = {.max = NAMES_TENANT_MAX + NAMES_USER_MAX + 2};
    builder_add(&key, who->tenant);
    builder_byte(&key, '/');
    builder_add(&key, who->user);
    CHECK(!builder_failed(&key));
    uint64_t name = name_of("call", builder_bytes(&key));
    builder_reset(&key);
    if (take(api_shard(request), name, api_shard(request)->settings->config->limits_api_per_minute,
            &retry_ms)) {
        return true;
    }
    refuse_rate(request, retry_ms);
    return false;
}

/* Verify a user's token; false: the request was answered. */
static bool verify_user(struct http_request *request, struct bytes token, struct api_who *ret_who)
{
    struct api_shard *shard = api_shard(request);
    struct claims *claims;
    int status = shard->jwt == NULL
                     ? STATUS_UNAUTHORIZED
                     : jwt_verify(shard->jwt, token, clock_wall_ms() / 1000, &claims);
    if (status != 0) {
        if (shard->jwt != NULL) {
            token_log_refusal(shard->jwt, bytes_of(NULL, 0));
        }
        refuse_caller(request, status == STATUS_EXPIRED ? "The token has expired"
                                                        : "The API key or token is not valid");
        return false;
    }
    bool tenants = shard->settings->config->auth_tenants;
    ret_who->user = keep(claims_user(claims), ret_who->user_at);
    ret_who->tenant = keep(tenants ? claims_tenant(claims) : bytes_of(NULL, 0), ret_who->tenant_at);
    claims_unref(claims);
    http_authenticated(request);
    return take_call(request, ret_who);
}

/* The tenant that the query names, kept in `who`; false: the request was answered. */
static bool read_tenant(
    struct http_request *request, const struct apikey *key, struct api_who *ret_who)
{
    struct bytes named = {0};
    int status =
        query_get(request->query, "tenant", ret_who->tenant_at, sizeof(ret_who->tenant_at), &named);
    if (status == 0) {
        status = names_check_tenant(named);
    } else if (status == STATUS_NOT_FOUND) {
        status = 0;
    }
    if (status != 0) {
        api_refuse(
            request, &(struct api_error){.code = ERROR_INVALID_FIELD,
                         .message = "A tenant: 1 to 128 bytes without / and control characters",
                         .field = "tenant"});
        return false;
    }
    struct bytes tenant;
    if (api_auth_tenant(request, key, named, &tenant) != 0) {
        api_refuse(request, &(struct api_error){.code = ERROR_FORBIDDEN,
                                .message = "The key is of another tenant",
                                .field = "tenant"});
        return false;
    }
    if (tenant.at != ret_who->tenant_at) {
        tenant = keep(tenant, ret_who->tenant_at);
    }
    ret_who->tenant = tenant;
    return true;
}

/* A key with `scopes`, or with `own` a token. */
static bool identify(
    struct http_request *request, unsigned scopes, bool own, struct api_who *ret_who)
{
    struct bytes token;
    ret_who->user = bytes_of(NULL, 0);
    if (!read_bearer(request, &token)) {
        return false;
    }
    const struct apikey *key = apikey_find(api_shard(request)->settings->keys, token);
    if (key != NULL) {
        http_authenticated(request);
        return check_scopes(request, key, scopes) && read_tenant(request, key, ret_who);
    }
    if (own) {
        return verify_user(request, token, ret_who);
    }
    refuse_caller(request, "The API key is not valid");
    return false;
}

bool api_auth_backend(struct http_request *request, unsigned scopes, struct api_who *ret_who)
{
    return identify(request, scopes, false, ret_who);
}

bool api_auth_any(struct http_request *request, unsigned scopes, struct api_who *ret_who)
{
    return identify(request, scopes, true, ret_who);
}

/* Users of paths. */

bool api_auth_user(struct http_request *request, unsigned scopes, bool own, struct api_who *ret_who)
{
    char at[NAMES_USER_MAX];
    struct bytes user;
    if (!identify(request, scopes, own, ret_who)) {
        return false;
    }
    if (http_param(request, 0, at, sizeof(at), &user) != 0 || names_check_user(user) != 0) {
        api_refuse(
            request, &(struct api_error){.code = ERROR_INVALID_FIELD,
                         .message = "A user id: 1 to 128 bytes without / and control characters",
                         .field = "user"});
        return false;
    }
    if (ret_who->user.len > 0 && !bytes_eq(ret_who->user, user)) {
        api_refuse(request, &(struct api_error){.code = ERROR_FORBIDDEN,
                                .message = "A token is good for its own user's inbox"});
        return false;
    }
    ret_who->user = keep(user, ret_who->user_at);
    return true;
}
