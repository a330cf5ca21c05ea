/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order of this file: rates, keys, tokens, users of paths.
 */
#include "hub/api/api_auth.h"

#include "actors/rate.h"
#include "codec/base/clock.h"
#include "codec/base/list.h"
#include "codec/base/log.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/query.h"
#include "hub/api/api_answer.h"
#include "hub/auth/jwt.h"
#include "hub/auth/token_log.h"
#include "hub/config/config.h"
#include "hub/net/connection.h"
#include "hub/net/loop.h"
#include "hub/node/hub.h"
#include "hub/node/hub_settings.h"

enum { CALLERS_MAX = 8192, CALLER_NAME_MAX = NAMES_TENANT_MAX + NAMES_USER_MAX + 4 };

/* Rates. */

/* An address that was refused, or a user who calls. */
struct caller {
    struct list used_link; /* callers.used, the one used last at the end */
    struct rate_bucket bucket;
    uint32_t name_len;
    char name[CALLER_NAME_MAX];
};

/* A shard's. At CALLERS_MAX the one that was not seen for longest is forgotten. */
struct callers {
    struct loop_local local; /* first */
    struct map map;
    struct list used;
    struct log_limit log;
};

static struct bytes caller_name(const void *object)
{
    const struct caller *caller = object;
    return bytes_of(caller->name, caller->name_len);
}

static void forget(struct callers *callers, struct caller *caller)
{
    map_remove(&callers->map, caller_name(caller));
    list_remove(&caller->used_link);
    mem_free(caller);
}

static void destroy_callers(struct loop_local *local)
{
    struct callers *callers = container_of(local, struct callers, local);
    while (!list_empty(&callers->used)) {
        forget(callers, container_of(callers->used.next, struct caller, used_link));
    }
    map_finish(&callers->map);
    mem_free(callers);
}

static struct callers *callers_of(struct loop *loop)
{
    struct loop_local *local = loop_get_local(loop, LOOP_API);
    if (local != NULL) {
        return container_of(local, struct callers, local);
    }
    struct callers *callers = mem_alloc(sizeof(*callers));
    callers->local.destroy = destroy_callers;
    map_init(&callers->map, caller_name);
    list_init(&callers->used);
    loop_set_local(loop, LOOP_API, &callers->local);
    return callers;
}

static struct caller *find_caller(struct callers *callers, struct bytes name)
{
    struct caller *caller = map_get(&callers->map, name);
    if (caller != NULL) {
        list_remove(&caller->used_link);
        list_append(&callers->used, &caller->used_link);
    }
    return caller;
}

static struct caller *get_caller(struct callers *callers, struct bytes name)
{
    struct caller *caller = find_caller(callers, name);
    if (caller != NULL) {
        return caller;
    }
    if (map_count(&callers->map) >= CALLERS_MAX) {
        forget(callers, container_of(callers->used.next, struct caller, used_link));
    }
    caller = mem_alloc(sizeof(*caller));
    CHECK(name.len <= sizeof(caller->name));
    caller->name_len = (uint32_t)name.len;
    memcpy(caller->name, name.at, name.len);
    map_put(&callers->map, caller);
    list_append(&callers->used, &caller->used_link);
    return caller;
}

static void refuse_rate(struct http_request *request, uint64_t retry_ms)
{
    api_shard(request)->shard.stats.rate_limited++;
    api_refuse(request, &(struct api_error){.code = API_RATE_LIMITED,
                            .message = "Too many requests",
                            .retry_s = (uint32_t)((retry_ms + 999) / 1000)});
}

/* The name of the peer's address among callers: no user's name begins with '@' and a line feed. */
static struct bytes address_name(const struct http_request *request, char at[CALLER_NAME_MAX])
{
    memcpy(at, "@\n", 2);
    connection_remote(request->connection, at + 2);
    return bytes_str(at);
}

/* Refuse a wrong key or token, and count it. */
static void refuse_caller(struct http_request *request, const char *message)
{
    char at[CALLER_NAME_MAX];
    struct callers *callers = callers_of(request->loop);
    struct caller *caller = get_caller(callers, address_name(request, at));
    uint32_t limit = api_shard(request)->settings->config->limits_refusals_per_minute;
    struct rate rate = {.burst = limit, .per_minute = limit};
    uint64_t now = sched_now(api_shard(request)->shard.sched);
    uint64_t retry_ms;
    unsigned suppressed;
    if (log_allow(&callers->log, &suppressed)) {
        log_warn("API-REFUSED", "a wrong key or token was refused", "remote=%s suppressed=%u",
            at + 2, suppressed);
    }
    if (!rate_take(&caller->bucket, &rate, now, &retry_ms)) {
        refuse_rate(request, retry_ms);
        return;
    }
    api_refuse(request, &(struct api_error){.code = API_UNAUTHORIZED, .message = message});
}

bool api_auth_count_refusal(struct hub_shard *shard, struct bytes who)
{
    char at[CALLER_NAME_MAX] = "%\n"; /* apart from those of the API */
    struct bytes name = bytes_of(at, 2 + who.len);
    CHECK(name.len <= sizeof(at));
    if (who.len > 0) {
        memcpy(at + 2, who.at, who.len);
    }
    uint32_t limit = shard->settings->config->limits_refusals_per_minute;
    struct rate rate = {.burst = limit, .per_minute = limit};
    struct caller *caller = get_caller(callers_of(shard->loop), name);
    uint64_t retry_ms;
    return rate_take(&caller->bucket, &rate, sched_now(shard->shard.sched), &retry_ms);
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
        api_refuse(request, &(struct api_error){.code = API_UNAUTHORIZED,
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
    api_refuse(request, &(struct api_error){.code = API_FORBIDDEN, .message = message});
    return false;
}

const struct apikey *api_auth_key(struct http_request *request, unsigned scopes)
{
    struct bytes token;
    if (!read_bearer(request, &token)) {
        return NULL;
    }
    const struct apikey *key = apikey_find(api_shard(request)->settings->keys, token);
    if (key == NULL) {
        refuse_caller(request, "The API key is not valid");
        return NULL;
    }
    http_authenticated(request);
    return check_scopes(request, key, scopes) ? key : NULL;
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
    char at[CALLER_NAME_MAX];
    uint32_t limit = api_shard(request)->settings->config->limits_api_per_minute;
    struct rate rate = {.burst = limit, .per_minute = limit};
    struct builder name = {.max = CALLER_NAME_MAX};
    builder_add(&name, who->tenant);
    builder_byte(&name, '/');
    builder_add(&name, who->user);
    CHECK(!builder_failed(&name));
    struct bytes text = keep(builder_bytes(&name), at);
    builder_reset(&name);
    struct caller *caller = get_caller(callers_of(request->loop), text);
    uint64_t retry_ms;
    uint64_t now = sched_now(api_shard(request)->shard.sched);
    if (rate_take(&caller->bucket, &rate, now, &retry_ms)) {
        return true;
    }
    refuse_rate(request, retry_ms);
    return false;
}

/* Verify a user's token; false: the request was answered. */
static bool verify_user(struct http_request *request, struct bytes token, struct api_who *ret_who)
{
    struct hub_shard *shard = api_shard(request);
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
            request, &(struct api_error){.code = API_INVALID_FIELD,
                         .message = "A tenant: 1 to 128 bytes without / and control characters",
                         .field = "tenant"});
        return false;
    }
    struct bytes tenant;
    if (api_auth_tenant(request, key, named, &tenant) != 0) {
        api_refuse(request, &(struct api_error){.code = API_FORBIDDEN,
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
            request, &(struct api_error){.code = API_INVALID_FIELD,
                         .message = "A user id: 1 to 128 bytes without / and control characters",
                         .field = "user"});
        return false;
    }
    if (ret_who->user.len > 0 && !bytes_eq(ret_who->user, user)) {
        api_refuse(request, &(struct api_error){.code = API_FORBIDDEN,
                                .message = "A token is good for its own user's inbox"});
        return false;
    }
    ret_who->user = keep(user, ret_who->user_at);
    return true;
}
