/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Peal as an application of the session layer: who may connect, what becomes of sockets and events,
 * when tokens end.
 *
 * Order of this file: tokens, CONNECT, life of a socket, events, expiry.
 */
#include "hub/node/peal_app.h"

#include "actors/deliver/call.h"
#include "actors/deliver/fanout.h"
#include "actors/recover/recovery.h"
#include "actors/recover/recovery_bus.h"
#include "actors/rooms/acks.h"
#include "actors/user/user.h"
#include "codec/base/clock.h"
#include "codec/base/log.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/server_events.h"
#include "hub/api/api_auth.h"
#include "hub/auth/jwt.h"
#include "hub/auth/token_log.h"
#include "hub/config/config.h"
#include "hub/net/name_counts.h"
#include "hub/node/connect_log.h"
#include "hub/node/hub_rules.h"
#include "hub/node/hub_settings.h"
#include "hub/node/node.h"
#include "hub/node/stream_app.h"
#include "hub/session/session.h"

enum { TOKEN_MAX = JWT_TOKEN_MAX, PID_MAX = 64, OFFSET_MAX = 128 };

/* Tokens. */

/* A string member of the CONNECT payload; empty when there is none. */
static struct bytes auth_text(struct bytes auth, const char *key, char *at, size_t size)
{
    struct bytes value;
    struct bytes text;
    if (auth.len == 0 || json_scan_get(auth, key, &value) != 0 ||
        json_scan_kind(value) != JSON_SCAN_STRING ||
        json_scan_string(value, at, size, &text) != 0) {
        return bytes_of(NULL, 0);
    }
    return text;
}

/* The token of a request: the first place that has one wins (protocol: Who is connecting). */
static struct bytes token_of(const struct app_connect *request, char *at, size_t size)
{
    struct bytes token = auth_text(request->auth, "token", at, size);
    if (token.len > 0) {
        return token;
    }
    if (request->bearer.len > 0) {
        return request->bearer;
    }
    return request->subprotocol_token.len > 0 ? request->subprotocol_token : request->query_token;
}

static bool wants_batch(struct bytes auth)
{
    struct bytes value;
    bool batch = false;
    return auth.len > 0 && json_scan_get(auth, "batch", &value) == 0 &&
           json_scan_bool(value, &batch) == 0 && batch;
}

static struct app_verdict refuse(const struct config *config, int status)
{
    struct app_verdict verdict = {.kind = APP_REFUSE, .message = config->auth_text_invalid};
    if (status == STATUS_NOT_FOUND) {
        verdict.message = config->auth_text_missing;
    } else if (status == STATUS_EXPIRED) {
        verdict.code = ERROR_TOKEN_EXPIRED;
    } else if (status == STATUS_NOMEM) {
        verdict.code = ERROR_UNAVAILABLE;
        verdict.message = "Out of memory, try again";
    }
    return verdict;
}

static int verify(struct hub_shard *shard, struct bytes token, struct bytes remote,
    struct identity **ret_identity)
{
    struct claims *claims;
    int status = jwt_verify(shard->api.jwt, token, clock_wall_ms() / 1000, &claims);
    if (status != 0) {
        if (status != STATUS_NOT_FOUND) {
            token_log_refusal(shard->api.jwt, remote);
        }
        return status;
    }
    *ret_identity = identity_new(claims, shard->settings->config->auth_tenants);
    return *ret_identity != NULL ? 0 : STATUS_NOMEM;
}

/* When a token ends, on our clock; UINT64_MAX: never. */
static uint64_t end_of(const struct config *config, const struct identity *identity)
{
    uint64_t expires_at = identity_claims(identity)->expires_at;
    return expires_at == 0 ? UINT64_MAX : (expires_at + config->auth_leeway_ms / 1000) * 1000;
}

static bool has_ended(const struct config *config, const struct identity *identity)
{
    return config->auth_on_expiry == ON_EXPIRY_CLOSE && clock_wall_ms() >= end_of(config, identity);
}

/* CONNECT. */

/* As somebody whose token was verified before. */
static int go_on(
    const struct hub_shard *shard, struct identity *known, struct identity **ret_identity)
{
    if (has_ended(shard->settings->config, known)) {
        return STATUS_EXPIRED;
    }
    *ret_identity = identity_ref(known);
    return 0;
}

/* Who asks: by a token, which is verified once; or (further namespaces of a session) as whom the
 * session was accepted. */
static int identify(
    struct hub_shard *shard, const struct app_connect *request, struct identity **ret_identity)
{
    if (request->identity != NULL) {
        return go_on(shard, request->identity, ret_identity);
    }
    char at[TOKEN_MAX];
    struct bytes token = token_of(request, at, sizeof(at));
    struct identity *known = request->session ? session_identity(request->session) : NULL;
    if (token.len == 0 && known != NULL) {
        return go_on(shard, known, ret_identity);
    }
    struct identity *identity;
    int status = verify(shard, token, request->remote, &identity);
    if (status != 0) {
        return status;
    }
    if (known != NULL && !bytes_eq(identity_key(known), identity_key(identity))) {
        identity_unref(identity);
        return STATUS_UNAUTHORIZED; /* a session belongs to one user */
    }
    *ret_identity = identity;
    return 0;
}

/* Whether the tenant that the token names may have one more connection. */
static bool has_room(const struct hub_shard *shard, const struct identity *identity)
{
    struct bytes tenant = claims_tenant(identity_claims(identity));
    uint32_t limit = shard->settings->config->limits_connections_per_tenant;
    return tenant.len == 0 || name_counts_get(shard->hub->tenants, hash_bytes(tenant)) < limit;
}

/* A new socket, or the one that a CONNECT with a pid continues; it may have been on another node.
 */
static void claim(struct shard *shard, const struct app_connect *request,
    const struct identity *identity, struct app_verdict *verdict)
{
    char pid_at[PID_MAX];
    char offset_at[OFFSET_MAX];
    struct recovery_claim claim = {
        .nsp = request->nsp,
        .identity = identity,
        .pid = auth_text(request->auth, "pid", pid_at, sizeof(pid_at)),
        .offset = auth_text(request->auth, "offset", offset_at, sizeof(offset_at)),
    };
    if (request->wishes != NULL) {
        stream_app_claim(request->wishes, &claim);
    }
    verdict->claimed = recovery_claim(shard, &claim);
    if (verdict->claimed == NULL && !request->final) {
        verdict->fetch = recovery_fetch_start(shard, &claim);
        verdict->kind = verdict->fetch != NULL ? APP_WAIT : verdict->kind;
    }
}

/* Accept `identity`, which is taken over, or refuse it, or send it to the shard of its user. */
static struct app_verdict decide(
    struct hub_shard *shard, const struct app_connect *request, struct identity *identity)
{
    unsigned home = user_shard(&shard->shard, identity);
    struct app_verdict verdict = {.kind = APP_REFUSE};
    if (!hub_namespace_access(shard->settings->config, request->nsp, identity_claims(identity))) {
        verdict.message = "Access denied to namespace";
        verdict.code = ERROR_FORBIDDEN;
    } else if (!has_room(shard, identity)) {
        verdict.message = "Too many connections";
        verdict.code = ERROR_RATE_LIMITED;
    } else if (home != sched_shard(shard->shard.sched)) {
        return (struct app_verdict){.kind = APP_MOVE, .identity = identity, .shard = home};
    } else {
        verdict = (struct app_verdict){.kind = APP_ACCEPT,
            .identity = identity,
            .batch = wants_batch(request->auth) &&
                     !hub_recovers((void *)(uintptr_t)shard->settings, request->nsp)};
        claim(&shard->shard, request, identity, &verdict);
        return verdict;
    }
    identity_unref(identity);
    return verdict;
}

static struct app_verdict on_connect(
    void *context, struct shard *shard, const struct app_connect *request)
{
    struct hub_shard *hub_shard = hub_shard_of(shard);
    struct identity *identity;
    (void)context;
    int status = identify(hub_shard, request, &identity);
    if (status != 0) {
        log_debug("AUTH-REFUSED", "a connection was refused", "reason=%s remote=%s",
            status_name(status), log_quote(request->remote));
        bool wrong =
            status != STATUS_NOT_FOUND && status != STATUS_EXPIRED && status != STATUS_NOMEM;
        if (wrong && !api_auth_count_refusal(&hub_shard->api, request->remote)) {
            shard->stats.rate_limited++;
            return (struct app_verdict){
                .kind = APP_REFUSE, .message = "Too many requests", .code = ERROR_RATE_LIMITED};
        }
        return refuse(hub_shard->settings->config, status);
    }
    return decide(hub_shard, request, identity);
}

static bool has_namespace(void *context, struct bytes nsp)
{
    const struct hub *hub = context;
    if (bytes_eq(nsp, BYTES("/"))) {
        return true;
    }
    for (size_t i = 0; i < hub->config->namespace_count; i++) {
        if (bytes_eq_str(nsp, hub->config->namespaces[i].name)) {
            return true;
        }
    }
    return false;
}

/* Life of a socket. */

/* Count a socket among its tenant's; false when there are too many. */
static bool count_socket(const struct hub_shard *shard, struct socket *socket)
{
    struct bytes tenant = claims_tenant(identity_claims(socket->identity));
    uint32_t limit = shard->settings->config->limits_connections_per_tenant;
    socket->counted =
        tenant.len > 0 && name_counts_take(shard->hub->tenants, hash_bytes(tenant), limit);
    return tenant.len == 0 || socket->counted;
}

static void discount_socket(const struct hub_shard *shard, struct socket *socket)
{
    if (socket->counted) {
        name_counts_release(
            shard->hub->tenants, hash_bytes(claims_tenant(identity_claims(socket->identity))));
        socket->counted = false;
    }
}

static void on_opened(void *context, struct socket *socket)
{
    (void)context;
    struct hub_shard *shard = hub_shard_of(socket->shard);
    const struct config *config = shard->settings->config;
    uint64_t end = end_of(config, socket->identity);
    uint64_t notice = config->auth_expiry_notice_ms;
    if (end != UINT64_MAX && (end > notice ? end - notice : 0) < shard->next_expiry) {
        shard->next_expiry = 0; /* look again at the next second */
    }
    int status = count_socket(shard, socket) ? user_attach(socket->shard, socket) : STATUS_FULL;
    if (status != 0) {
        socket->left = true; /* it never was anybody's: not to be recovered */
        socket->ops->disconnect(socket, status == STATUS_NOMEM ? CLOSE_NO_MEMORY : CLOSE_TOO_MANY);
        return;
    }
    connect_log_opened(socket);
    user_auto_join(socket);
}

static void on_closed(void *context, struct socket *socket, enum close_reason reason)
{
    (void)context;
    socket->shard->stats.closed[reason]++;
    connect_log_closed(socket, reason);
    discount_socket(hub_shard_of(socket->shard), socket);
    socket_detach(socket, reason);
}

/* Events. */

static void answer(struct socket *socket, const struct app_event *event, struct bytes result)
{
    if (event->has_id) {
        socket_ack(socket, event->id, result);
    }
}

/* Refuse an event that the application itself serves. */
static void refuse_event(struct socket *socket, const struct app_event *event, enum error_code code,
    const char *message, const char *field)
{
    const struct call_refusal refusal = {.code = code, .message = message, .field = field};
    call_refuse_event(socket, event->has_id ? &event->id : NULL, event->name, &refusal);
}

/* `auth:refresh {token}`: the same user goes on with a newer token. */
static void refresh(struct socket *socket, const struct app_event *event)
{
    char at[TOKEN_MAX];
    struct hub_shard *shard = hub_shard_of(socket->shard);
    struct identity *identity;
    struct bytes token = auth_text(event->args, "token", at, sizeof(at));
    if (verify(shard, token, bytes_of(NULL, 0), &identity) != 0) {
        refuse_event(socket, event, ERROR_UNAUTHORIZED, "Invalid token", "token");
        if (!api_auth_count_refresh(&shard->api, identity_key(socket->identity))) {
            shard->shard.stats.rate_limited++;
            socket->ops->disconnect(socket, CLOSE_TOO_MANY);
        }
        return;
    }
    if (!bytes_eq(identity_key(identity), identity_key(socket->identity))) {
        identity_unref(identity);
        refuse_event(socket, event, ERROR_FORBIDDEN, "Another user's token", "token");
        return;
    }
    discount_socket(shard, socket); /* its new token may name another tenant */
    identity_unref(socket->identity);
    socket->identity = identity;
    session_refresh(socket, identity);
    if (!count_socket(shard, socket)) {
        refuse_event(socket, event, ERROR_RATE_LIMITED, "Too many connections", NULL);
        socket->ops->disconnect(socket, CLOSE_TOO_MANY);
        return;
    }
    socket->expiry_told = false;
    shard->next_expiry = 0;
    user_recheck_socket(socket);
    if (!socket->closing) {
        user_auto_join(socket);
    }
    answer(socket, event, BYTES("{\"ok\":true}"));
}

/* The name that `name` is another one for, or itself. */
static struct bytes unalias(const struct config *config, struct bytes name)
{
    for (size_t i = 0; i < config->events_alias.count; i++) {
        struct bytes row = bytes_str(config->events_alias.items[i]);
        const char *equals = row.len > 0 ? memchr(row.at, '=', row.len) : NULL;
        if (equals != NULL && bytes_eq(bytes_of(row.at, (size_t)(equals - row.at)), name)) {
            return bytes_skip(row, (size_t)(equals - row.at) + 1);
        }
    }
    return name;
}

static void on_event(void *context, struct socket *socket, const struct app_event *event)
{
    (void)context;
    if (bytes_eq(event->name, BYTES("auth:refresh"))) {
        refresh(socket, event);
        return;
    }
    struct bytes name = unalias(hub_shard_of(socket->shard)->settings->config, event->name);
    event_counts_add(&hub_shard_of(socket->shard)->events, name, 1);
    const uint64_t *id = event->has_id ? &event->id : NULL;
    if (bytes_eq(name, event->name)) {
        user_event(socket, event->data, id, event->attachments, event->attachment_count);
        return;
    }
    struct builder data = {0};
    builder_byte(&data, '[');
    json_scan_write_string(&data, name);
    builder_str(&data, event->args.len > 0 ? "," : "");
    builder_add(&data, event->args);
    builder_byte(&data, ']');
    if (builder_failed(&data)) {
        socket_missed(socket);
    } else {
        user_event(socket, builder_bytes(&data), id, event->attachments, event->attachment_count);
    }
    builder_reset(&data);
}

/* Peal asks clients nothing itself, but other nodes do. */
static void on_ack(
    void *context, struct socket *socket, uint64_t id, const struct app_answer *answer)
{
    (void)context;
    acks_take(socket, id, answer->args, answer->attachments, answer->attachment_count);
}

static const struct app_ops peal_ops = {
    .connect = on_connect,
    .opened = on_opened,
    .event = on_event,
    .ack = on_ack,
    .closed = on_closed,
    .listen = stream_app_listen,
    .place = stream_app_place,
    .wants = stream_app_wants,
    .has_namespace = has_namespace,
};

struct app peal_app(struct hub *hub)
{
    return (struct app){.ops = &peal_ops, .context = hub};
}

/* Expiry. */

static void tell_expiring(struct socket *socket, uint64_t left_ms)
{
    call_emit(socket, server_events_token_expiring(left_ms));
    socket->expiry_told = true;
}

/* Returns when this socket must be looked at again. */
static uint64_t check_socket(const struct config *config, struct socket *socket, uint64_t now)
{
    uint64_t expires = end_of(config, socket->identity);
    uint64_t notice = config->auth_expiry_notice_ms;
    if (expires == UINT64_MAX || socket->closing) {
        return UINT64_MAX;
    }
    if (now >= expires) {
        if (config->auth_on_expiry == ON_EXPIRY_CLOSE) {
            socket->ops->disconnect(socket, CLOSE_UNAUTHORIZED);
        }
        return UINT64_MAX;
    }
    if (!socket->expiry_told && now + notice >= expires) {
        tell_expiring(socket, expires - now);
    }
    return socket->expiry_told || notice == 0 ? expires : expires - notice;
}

void peal_app_check_expiry(struct hub_shard *hub_shard)
{
    struct shard *shard = &hub_shard->shard;
    uint64_t now = clock_wall_ms();
    if (now < hub_shard->next_expiry) {
        return;
    }
    uint64_t next = UINT64_MAX;
    size_t cursor = 0;
    for (struct socket *socket; (socket = map_next(&shard->sockets, &cursor)) != NULL;) {
        uint64_t at = check_socket(hub_shard->settings->config, socket, now);
        next = at < next ? at : next;
    }
    hub_shard->next_expiry = next;
}
