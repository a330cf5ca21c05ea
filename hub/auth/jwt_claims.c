/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks the payload of a token against the policy, claim by claim, and writes the payload of a
 * token that we make.
 */
#include "hub/auth/jwt_claims.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/json_tree.h"
#include "codec/names.h"

enum {
    ROLE_MAX = 128,
    NAME_MAX_LEN = 256,
    ISSUER_MAX = 1024,
    EXTRA_VALUE_MAX = 256,
    NUMBER_TEXT = 24,
};

#define TIME_MAX 9007199254740991.0 /* 2^53 - 1 */

/* --- policy -------------------------------------------------------------------------------- */

void jwt_policy_init(struct jwt_policy *policy, const struct jwt_options *options)
{
    *policy = (struct jwt_policy){
        .issuer = mem_dup(options->issuer.at, options->issuer.len),
        .audience = mem_dup(options->audience.at, options->audience.len),
        .extra = mem_alloc_array(options->extra_count + 1, sizeof(char *)),
        .extra_count = options->extra_count,
        .allow_no_exp = options->allow_no_exp,
        .leeway_s = options->leeway_s,
    };
    for (size_t i = 0; i < options->extra_count; i++) {
        policy->extra[i] = mem_dup(options->extra_claims[i].at, options->extra_claims[i].len);
    }
}

void jwt_policy_finish(struct jwt_policy *policy)
{
    for (size_t i = 0; i < policy->extra_count; i++) {
        mem_free(policy->extra[i]);
    }
    mem_free(policy->extra);
    mem_free(policy->issuer);
    mem_free(policy->audience);
}

/* --- reading ------------------------------------------------------------------------------- */

/* The claims as they stand in the document, with room for what is not text there. */
struct view {
    struct claims_fields claims;
    char user[NUMBER_TEXT];
    char tenant[NUMBER_TEXT];
    struct bytes rooms[JWT_ROOMS_MAX];
    struct claims_extra extra[JWT_ROOMS_MAX];
};

static struct bytes text_of(const struct json_tree *value)
{
    struct bytes text = {0};
    return value != NULL && json_tree_string(value, &text) == 0 ? text : (struct bytes){0};
}

static bool is_type(const struct json_tree *value, enum json_tree_type type)
{
    return value != NULL && json_tree_type(value) == type;
}

/* The text, or the integer as text, under the first name or else the second; false when it is
 * something else. */
static bool read_id(const struct json_tree *payload, const char *const names[2],
    char ret_number[NUMBER_TEXT], struct bytes *ret_id)
{
    const struct json_tree *value = json_tree_get(payload, names[0]);
    bool absent = value == NULL || is_type(value, JSON_TREE_NULL);
    value = absent ? json_tree_get(payload, names[1]) : value;
    int64_t number = 0;
    *ret_id = text_of(value);
    if (is_type(value, JSON_TREE_INTEGER) && json_tree_integer(value, &number) == 0) {
        int len = snprintf(ret_number, NUMBER_TEXT, "%lld", (long long)number);
        *ret_id = bytes_of(ret_number, (size_t)len);
        return true;
    }
    return value == NULL || is_type(value, JSON_TREE_NULL) || is_type(value, JSON_TREE_STRING);
}

/* A NumericDate (RFC 7519 2): seconds, fractions cut. False when it is there and is none. */
static bool read_time(
    const struct json_tree *payload, const char *name, bool *ret_present, uint64_t *ret_time)
{
    const struct json_tree *value = json_tree_get(payload, name);
    *ret_present = value != NULL;
    double time = 0;
    if (value != NULL && json_tree_number(value, &time) != 0) {
        return false;
    }
    if (!(time >= 0 && time <= TIME_MAX)) {
        return false;
    }
    *ret_time = (uint64_t)floor(time);
    return true;
}

static bool read_rooms(const struct json_tree *payload, struct view *view)
{
    const struct json_tree *rooms = json_tree_get(payload, "rooms");
    if (rooms == NULL || is_type(rooms, JSON_TREE_NULL)) {
        return true;
    }
    size_t count = json_tree_count(rooms);
    if (!is_type(rooms, JSON_TREE_ARRAY) || count > JWT_ROOMS_MAX) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        view->rooms[i] = text_of(json_tree_at(rooms, i));
        if (names_check_room(view->rooms[i]) != 0) {
            return false;
        }
    }
    view->claims.rooms = view->rooms;
    view->claims.room_count = count;
    return true;
}

/* Keep one value of a claim; what no rule can name is passed over. False when there are too many.
 */
static bool add_extra(struct view *view, const char *name, const struct json_tree *value)
{
    struct bytes text = text_of(value);
    if (text.len == 0 || text.len > EXTRA_VALUE_MAX) {
        return true;
    }
    if (view->claims.extra_count == JWT_ROOMS_MAX) {
        return false;
    }
    view->extra[view->claims.extra_count++] =
        (struct claims_extra){.name = bytes_str(name), .value = text};
    return true;
}

static bool read_extra(
    const struct jwt_policy *policy, const struct json_tree *payload, struct view *view)
{
    view->claims.extra = view->extra;
    for (size_t i = 0; i < policy->extra_count; i++) {
        const struct json_tree *value = json_tree_get(payload, policy->extra[i]);
        bool list = is_type(value, JSON_TREE_ARRAY);
        size_t count = list ? json_tree_count(value) : 1;
        for (size_t j = 0; j < count; j++) {
            if (!add_extra(view, policy->extra[i], list ? json_tree_at(value, j) : value)) {
                return false;
            }
        }
    }
    return true;
}

/* What is wrong with who the token is for, or NULL. */
static const char *read_identity(
    const struct jwt_policy *policy, const struct json_tree *payload, struct view *view)
{
    static const char *const user_names[2] = {"sub", "userId"};
    static const char *const tenant_names[2] = {"tenant", "companyId"};
    struct claims_fields *claims = &view->claims;
    if (!read_id(payload, user_names, view->user, &claims->user) || claims->user.len == 0) {
        return "sub (or userId) is missing, or neither text nor a whole number";
    }
    if (names_check_user(claims->user) != 0) {
        return "sub is no user id: 1 to 128 bytes without / and control characters";
    }
    if (!read_id(payload, tenant_names, view->tenant, &claims->tenant) ||
        (claims->tenant.len > 0 && names_check_tenant(claims->tenant) != 0)) {
        return "tenant (or companyId) is no name of a tenant";
    }
    claims->role = text_of(json_tree_get(payload, "role"));
    claims->name = text_of(json_tree_get(payload, "name"));
    if (claims->role.len > ROLE_MAX || claims->name.len > NAME_MAX_LEN) {
        return "role or name is too long";
    }
    if (!read_rooms(payload, view)) {
        return "rooms is no list of at most 512 names of rooms";
    }
    return read_extra(policy, payload, view) ? NULL : "too many values of claims";
}

static bool audience_fits(const char *audience, const struct json_tree *value)
{
    if (audience[0] == '\0' || bytes_eq_str(text_of(value), audience)) {
        return true;
    }
    size_t count = is_type(value, JSON_TREE_ARRAY) ? json_tree_count(value) : 0;
    for (size_t i = 0; i < count; i++) {
        if (bytes_eq_str(text_of(json_tree_at(value, i)), audience)) {
            return true;
        }
    }
    return false;
}

static bool issuer_fits(const struct jwt_policy *policy, struct bytes key_issuer,
    const struct json_tree *value, struct view *view)
{
    struct bytes issuer = text_of(value);
    view->claims.issuer = issuer;
    return (value == NULL || is_type(value, JSON_TREE_STRING)) &&
           (policy->issuer[0] == '\0' || bytes_eq_str(issuer, policy->issuer)) &&
           (key_issuer.len == 0 || bytes_eq(issuer, key_issuer));
}

/* What is wrong with where the token comes from and where it goes, or NULL. */
static const char *read_origin(const struct jwt_policy *policy, struct bytes key_issuer,
    const struct json_tree *payload, struct view *view)
{
    const struct json_tree *issuer = json_tree_get(payload, "iss");
    const struct json_tree *audience = json_tree_get(payload, "aud");
    if (!issuer_fits(policy, key_issuer, issuer, view) || view->claims.issuer.len > ISSUER_MAX) {
        return issuer == NULL ? "iss is missing" : "iss is another one than configured";
    }
    if (!audience_fits(policy->audience, audience)) {
        return audience == NULL ? "aud is missing" : "aud is another one than configured";
    }
    return NULL;
}

/* What is wrong with the times, or NULL; that `exp` has passed is told by the caller. */
static const char *read_times(const struct jwt_policy *policy, const struct json_tree *payload,
    uint64_t now_s, struct view *view)
{
    bool has_exp = false;
    bool has_nbf = false;
    uint64_t exp = 0;
    uint64_t nbf = 0;
    if (!read_time(payload, "exp", &has_exp, &exp)) {
        return "exp is no time in seconds";
    }
    if (!has_exp && !policy->allow_no_exp) {
        return "exp is missing";
    }
    if (!read_time(payload, "nbf", &has_nbf, &nbf)) {
        return "nbf is no time in seconds";
    }
    if (has_nbf && nbf > now_s + policy->leeway_s) {
        return "nbf is in the future";
    }
    view->claims.expires_at = has_exp && exp == 0 ? 1 : exp;
    return NULL;
}

static int read_payload(const struct jwt_policy *policy, struct bytes key_issuer,
    const struct json_tree *payload, uint64_t now_s, struct view *view, struct jwt_refusal *refusal)
{
    const char *fault = is_type(payload, JSON_TREE_OBJECT) ? NULL : "the claims are no JSON object";
    fault = fault != NULL ? fault : read_origin(policy, key_issuer, payload, view);
    fault = fault != NULL ? fault : read_identity(policy, payload, view);
    fault = fault != NULL ? fault : read_times(policy, payload, now_s, view);
    bool expired = fault == NULL && jwt_claims_expired(policy, view->claims.expires_at, now_s);
    refusal->reason = expired ? "exp has passed" : fault;
    refusal->user = jwt_shown(view->claims.user, refusal->user_at);
    return expired ? STATUS_EXPIRED : fault != NULL ? STATUS_UNAUTHORIZED : 0;
}

struct bytes jwt_shown(struct bytes text, char at[JWT_SHOWN_MAX])
{
    size_t len = text.len < JWT_SHOWN_MAX ? text.len : JWT_SHOWN_MAX;
    if (len > 0) {
        memcpy(at, text.at, len);
    }
    return bytes_of(at, len);
}

bool jwt_claims_expired(const struct jwt_policy *policy, uint64_t expires_at, uint64_t now_s)
{
    return expires_at != 0 && expires_at + policy->leeway_s <= now_s;
}

int jwt_claims_read(const struct jwt_policy *policy, struct bytes key_issuer, struct bytes payload,
    uint64_t now_s, struct jwt_refusal *refusal, struct claims **ret_claims)
{
    struct json_tree *document = NULL;
    int status = json_tree_parse(payload, JWT_TOKEN_MAX, &document);
    if (status != 0) {
        refusal->reason = "the claims are no JSON";
        return status == STATUS_NOMEM ? status : STATUS_UNAUTHORIZED;
    }
    struct view view;
    view.claims = (struct claims_fields){0};
    status = read_payload(policy, key_issuer, document, now_s, &view, refusal);
    if (status == 0) {
        *ret_claims = claims_new(&view.claims);
        status = *ret_claims == NULL ? STATUS_NOMEM : 0;
        refusal->reason = "out of memory";
    }
    json_tree_destroy(document);
    return status;
}

/* --- writing ------------------------------------------------------------------------------- */

static void add_name(struct builder *out, const char *name)
{
    struct bytes so_far = builder_bytes(out);
    builder_str(out, so_far.len > 0 && so_far.at[so_far.len - 1] != '{' ? ",\"" : "\"");
    builder_str(out, name);
    builder_str(out, "\":");
}

static void add_text(struct builder *out, const char *name, struct bytes text)
{
    if (text.len > 0) {
        add_name(out, name);
        json_scan_write_string(out, text);
    }
}

static void add_time(struct builder *out, const char *name, uint64_t time)
{
    if (time > 0) {
        add_name(out, name);
        builder_u64(out, time);
    }
}

void jwt_claims_write(const struct jwt_sign_options *options, struct builder *out)
{
    const struct claims_fields *claims = &options->claims;
    builder_byte(out, '{');
    add_text(out, "sub", claims->user);
    add_text(out, "role", claims->role);
    add_text(out, "name", claims->name);
    add_text(out, "tenant", claims->tenant);
    add_text(out, "iss", claims->issuer);
    add_text(out, "aud", options->audience);
    add_time(out, "iat", options->issued_at);
    add_time(out, "exp", claims->expires_at);
    if (claims->room_count > 0) {
        add_name(out, "rooms");
        for (size_t i = 0; i < claims->room_count; i++) {
            builder_byte(out, i == 0 ? '[' : ',');
            json_scan_write_string(out, claims->rooms[i]);
        }
        builder_byte(out, ']');
    }
    builder_byte(out, '}');
}
