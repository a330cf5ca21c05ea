/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads rules of rooms, and of values, from the settings into a table of types, and asks it.
 */
#include "hub/auth/access.h"

#include <string.h>

#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/names.h"

enum rule_kind {
    RULE_ANY,
    RULE_DENY,
    RULE_ROOMS,
    RULE_CLAIM,
    RULE_TENANT,
    RULE_ROLE,
    RULE_PATTERN
};

struct rule {
    enum rule_kind kind;
    char *text; /* role, claim or pattern; owned */
    struct bytes name; /* ROLE, PATTERN, CLAIM; within text */
    struct bytes value; /* CLAIM: what it must have; empty: the id of the room */
};

struct rules {
    struct rule *items;
    size_t count;
};

struct type {
    struct bytes name;
    struct rules join;
    struct rules send;
    char **match;
    size_t match_count;
};

struct access {
    struct map types; /* by name */
    struct type **list; /* in the order of the configuration, for match */
    size_t count;
    bool closed; /* of values: nothing holds for names of no type, and `user` is a type as any */
};

static struct bytes key_of_type(const void *object)
{
    return ((const struct type *)object)->name;
}

/* What stands before the first ':' and behind it; false when there is none. */
static bool cut(struct bytes text, struct bytes *ret_before, struct bytes *ret_behind)
{
    const char *colon = text.len > 0 ? memchr(text.at, ':', text.len) : NULL;
    if (colon == NULL) {
        return false;
    }
    *ret_before = bytes_of(text.at, (size_t)(colon - text.at));
    *ret_behind = bytes_skip(text, ret_before->len + 1);
    return true;
}

/* --- making -------------------------------------------------------------------------------- */

static int refuse(struct builder *error, const char *type, const char *word, const char *why)
{
    builder_printf(error, "type \"%.64s\": \"%.100s\" %s", type, word, why);
    return STATUS_INVALID;
}

/* Whether every '{' of a pattern opens one of the three names. */
static bool is_pattern(struct bytes pattern)
{
    for (size_t i = 0; i < pattern.len; i++) {
        struct bytes rest = bytes_skip(pattern, i);
        if (rest.at[0] == '{' && !bytes_starts(rest, BYTES("{sub}")) &&
            !bytes_starts(rest, BYTES("{role}")) && !bytes_starts(rest, BYTES("{tenant}"))) {
            return false;
        }
    }
    return pattern.len > 0;
}

static bool parse_join_rule(struct rule *rule)
{
    struct bytes text = bytes_str(rule->text);
    struct bytes kind = text;
    bool has_name = cut(text, &kind, &rule->name);
    if (!has_name) {
        static const struct {
            const char *word;
            enum rule_kind kind;
        } plain[] = {
            {"any", RULE_ANY}, {"deny", RULE_DENY}, {"claim", RULE_ROOMS}, {"tenant", RULE_TENANT}};
        for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
            if (bytes_eq_str(text, plain[i].word)) {
                rule->kind = plain[i].kind;
                return true;
            }
        }
        return false;
    }
    if (bytes_eq(kind, BYTES("role"))) {
        rule->kind = RULE_ROLE;
        return rule->name.len > 0;
    }
    if (bytes_eq(kind, BYTES("pattern"))) {
        rule->kind = RULE_PATTERN;
        return is_pattern(rule->name);
    }
    if (!bytes_eq(kind, BYTES("claim"))) {
        return false;
    }
    rule->kind = RULE_CLAIM;
    const char *equals = rule->name.len > 0 ? memchr(rule->name.at, '=', rule->name.len) : NULL;
    if (equals != NULL) {
        size_t len = (size_t)(equals - rule->name.at);
        rule->value = bytes_skip(rule->name, len + 1);
        rule->name.len = len;
        return len > 0 && rule->value.len > 0;
    }
    return rule->name.len > 0;
}

static bool parse_send_rule(struct rule *rule)
{
    struct bytes text = bytes_str(rule->text);
    if (bytes_starts(text, BYTES("role:"))) {
        rule->kind = RULE_ROLE;
        rule->name = bytes_skip(text, 5);
        return rule->name.len > 0;
    }
    rule->kind = bytes_eq(text, BYTES("member")) ? RULE_ANY : RULE_DENY;
    return rule->kind == RULE_ANY || bytes_eq(text, BYTES("nobody"));
}

static void destroy_rules(struct rules *rules)
{
    for (size_t i = 0; i < rules->count; i++) {
        mem_free(rules->items[i].text);
    }
    mem_free(rules->items);
}

static void destroy_type(struct type *type)
{
    destroy_rules(&type->join);
    destroy_rules(&type->send);
    for (size_t i = 0; i < type->match_count; i++) {
        mem_free(type->match[i]);
    }
    mem_free(type->match);
    mem_free((char *)type->name.at);
    mem_free(type);
}

/* Words that become rules, and how. */
struct words {
    const char *const *items;
    size_t count;
    bool (*parse)(struct rule *rule); /* of rule.text; false: it is none */
    const char *fault; /* what is said of a word that is none */
};

static int fill_rules(
    struct rules *rules, const char *type, const struct words *words, struct builder *error)
{
    rules->items = mem_alloc_array(words->count + 1, sizeof(struct rule));
    for (size_t i = 0; i < words->count; i++) {
        struct rule *rule = &rules->items[rules->count++];
        const char *word = words->items[i];
        rule->text = mem_dup(word, strlen(word));
        if (!words->parse(rule)) {
            return refuse(error, type, word, words->fault);
        }
        if (rule->kind == RULE_DENY && words->count > 1) {
            return refuse(error, type, word, "must stand alone");
        }
    }
    return 0;
}

static int fill_type(
    struct type *type, const struct access_type_options *options, struct builder *error)
{
    static const char *const every_member[] = {"member"};
    bool has_send = options->send_count > 0;
    const struct words join = {
        options->rules, options->rule_count, parse_join_rule, "is no access rule"};
    const struct words send = {has_send ? options->send : every_member,
        has_send ? options->send_count : 1, parse_send_rule, "is no rule for sending"};
    int status = fill_rules(&type->join, options->name, &join, error);
    status = status != 0 ? status : fill_rules(&type->send, options->name, &send, error);
    if (status != 0) {
        return status;
    }
    type->match = mem_alloc_array(options->match_count + 1, sizeof(char *));
    for (size_t i = 0; i < options->match_count; i++) {
        const char *pattern = options->match[i];
        type->match[type->match_count++] = mem_dup(pattern, strlen(pattern));
        if (pattern[0] == '\0' || strchr(pattern, ':') != NULL) {
            return refuse(error, options->name, pattern, "is no name without a colon");
        }
    }
    return 0;
}

static int add_type(
    struct access *access, const struct access_type_options *options, struct builder *error)
{
    if (!access->closed && strcmp(options->name, "user") == 0) {
        return refuse(error, "user", "user", "has a rule of its own and cannot be configured");
    }
    struct bytes name = bytes_str(options->name);
    if (name.len == 0 || memchr(name.at, ':', name.len) != NULL) {
        return refuse(error, options->name, options->name, "is no name of a type");
    }
    if (map_get(&access->types, name) != NULL) {
        return refuse(error, options->name, options->name, "is there twice");
    }
    struct type *type = mem_alloc(sizeof(*type));
    type->name = bytes_of(mem_dup(name.at, name.len), name.len);
    if (!map_put(&access->types, type)) {
        mem_free((char *)(uintptr_t)type->name.at);
        mem_free(type);
        return refuse(error, options->name, options->name, "finds no memory");
    }
    access->list[access->count++] = type;
    return fill_type(type, options, error);
}

/* What holds for types that the configuration does not name. */
static void add_defaults(struct access *access)
{
    static const char *const any[] = {"any"};
    static const char *const tenant[] = {"tenant"};
    static const char *const admin[] = {"role:admin"};
    static const char *const claim[] = {"claim"};
    static const struct access_type_options defaults[] = {
        {.name = "*", .rules = claim, .rule_count = 1},
        {.name = "admin", .rules = admin, .rule_count = 1},
        {.name = "company", .rules = tenant, .rule_count = 1},
        {.name = "public", .rules = any, .rule_count = 1},
        {.name = "tenant", .rules = tenant, .rule_count = 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(defaults); i++) {
        if (map_get(&access->types, bytes_str(defaults[i].name)) == NULL) {
            CHECK(add_type(access, &defaults[i], NULL) == 0);
        }
    }
}

static int create(const struct access_type_options *types, size_t count, bool closed,
    struct builder *error, struct access **ret_access)
{
    enum { DEFAULTS = 5 };
    struct access *access = mem_alloc(sizeof(*access));
    access->closed = closed;
    map_init(&access->types, key_of_type);
    access->list = mem_alloc_array(count + DEFAULTS, sizeof(struct type *));
    for (size_t i = 0; i < count; i++) {
        int status = add_type(access, &types[i], error);
        if (status != 0) {
            access_destroy(access);
            return status;
        }
    }
    if (!closed) {
        add_defaults(access);
    }
    *ret_access = access;
    return 0;
}

int access_create(const struct access_type_options *types, size_t count, struct builder *error,
    struct access **ret_access)
{
    return create(types, count, false, error, ret_access);
}

int access_create_closed(const struct access_type_options *types, size_t count,
    struct builder *error, struct access **ret_access)
{
    return create(types, count, true, error, ret_access);
}

void access_destroy(struct access *access)
{
    if (access == NULL) {
        return;
    }
    map_finish(&access->types);
    for (size_t i = 0; i < access->count; i++) {
        destroy_type(access->list[i]);
    }
    mem_free(access->list);
    mem_free(access);
}

/* --- deciding ------------------------------------------------------------------------------ */

static bool matches_name(const char *pattern, struct bytes room)
{
    struct bytes text = bytes_str(pattern);
    if (text.len > 0 && text.at[text.len - 1] == '*') {
        return bytes_starts(room, bytes_of(text.at, text.len - 1));
    }
    return bytes_eq(text, room);
}

/* NULL: it is of no type, of a table that is closed. */
static const struct type *find_type(const struct access *access, struct bytes room)
{
    struct bytes before;
    struct bytes behind;
    const struct type *type = NULL;
    if (cut(room, &before, &behind)) {
        type = map_get(&access->types, before);
    } else {
        for (size_t i = 0; i < access->count && type == NULL; i++) {
            for (size_t j = 0; j < access->list[i]->match_count; j++) {
                if (matches_name(access->list[i]->match[j], room)) {
                    type = access->list[i];
                    break;
                }
            }
        }
    }
    return type != NULL ? type : map_get(&access->types, BYTES("*"));
}

struct bytes access_type(const struct access *access, struct bytes room)
{
    struct bytes before;
    struct bytes behind;
    return cut(room, &before, &behind) ? before : find_type(access, room)->name;
}

/* The claim that `{…}` at the start of `pattern` names; `*ret_len` is the length of the braces. */
static struct bytes fill_in(const struct claims *claims, struct bytes pattern, size_t *ret_len)
{
    if (bytes_starts(pattern, BYTES("{sub}"))) {
        *ret_len = 5;
        return claims_user(claims);
    }
    if (bytes_starts(pattern, BYTES("{role}"))) {
        *ret_len = 6;
        return claims_role(claims);
    }
    *ret_len = 8;
    return claims_tenant(claims);
}

/*
 * Whether `room` is `pattern` filled in. A '*' is tried at its shortest first and, when the rest
 * does not fit, one byte longer: only the last '*' ever has to grow.
 */
static bool fits_pattern(const struct claims *claims, struct bytes pattern, struct bytes room)
{
    struct bytes star_pattern = {0};
    struct bytes star_room = {0};
    bool has_star = false;
    while (pattern.len > 0 || room.len > 0) {
        if (pattern.len > 0 && pattern.at[0] == '*') {
            has_star = true;
            pattern = bytes_skip(pattern, 1);
            star_pattern = pattern;
            star_room = room;
            continue;
        }
        size_t len = 1;
        struct bytes part = bytes_of(pattern.at, pattern.len > 0 ? 1 : 0);
        if (pattern.len > 0 && pattern.at[0] == '{') {
            part = fill_in(claims, pattern, &len);
        }
        if (part.len > 0 && bytes_starts(room, part)) {
            pattern = bytes_skip(pattern, len);
            room = bytes_skip(room, part.len);
        } else if (has_star && star_room.len > 0) {
            star_room = bytes_skip(star_room, 1);
            pattern = star_pattern;
            room = star_room;
        } else {
            return false;
        }
    }
    return true;
}

static bool lets_in(
    const struct rule *rule, const struct claims *claims, struct bytes room, struct bytes id)
{
    switch (rule->kind) {
    case RULE_ANY:
        return true;
    case RULE_DENY:
        return false;
    case RULE_ROOMS:
        return claims_list_room(claims, room);
    case RULE_CLAIM:
        return rule->value.len > 0 ? claims_have(claims, rule->name, rule->value)
                                   : id.len > 0 && claims_have(claims, rule->name, id);
    case RULE_TENANT:
        return id.len > 0 && bytes_eq(claims_tenant(claims), id);
    case RULE_ROLE:
        return bytes_eq(claims_role(claims), rule->name);
    case RULE_PATTERN:
        return fits_pattern(claims, rule->name, room);
    }
    return false;
}

static bool any_lets_in(
    const struct rules *rules, const struct claims *claims, struct bytes room, struct bytes id)
{
    for (size_t i = 0; i < rules->count; i++) {
        if (lets_in(&rules->items[i], claims, room, id)) {
            return true;
        }
    }
    return false;
}

int access_check(const struct access *access, const struct claims *claims, struct bytes room)
{
    if (names_check_room(room) != 0) {
        return STATUS_INVALID;
    }
    struct bytes before = {0};
    struct bytes id = {0};
    if (cut(room, &before, &id) && bytes_eq(before, BYTES("user")) && !access->closed) {
        return bytes_eq(id, claims_user(claims)) ? 0 : STATUS_DENIED;
    }
    const struct type *type = find_type(access, room);
    return type != NULL && any_lets_in(&type->join, claims, room, id) ? 0 : STATUS_DENIED;
}

bool access_may_send(const struct access *access, const struct claims *claims, struct bytes room)
{
    return any_lets_in(&find_type(access, room)->send, claims, room, bytes_of(NULL, 0));
}
