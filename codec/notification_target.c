/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom a post is for: exactly one target, with names that may be; and whether it is stored once.
 */
#include "codec/base/mem.h"
#include "codec/names.h"
#include "codec/notification_parse.h"

typedef int (*name_check_fn)(struct bytes name);

static int add_name(struct parse *parse, struct bytes name, name_check_fn check_name)
{
    int status = check_name(name);
    if (status == 0) {
        parse->post->lists[parse->lists_used++] = name;
    }
    return status;
}

/* A JSON array of names; `lists` has room for them. */
static int add_names(struct parse *parse, enum field field, name_check_fn check_name)
{
    struct json_scan_iter iter;
    struct bytes item;
    json_scan_iter_init(&iter, parse->value[field]);
    while (json_scan_element(&iter, &item)) {
        struct bytes name = item;
        bool number = field == FIELD_USERS && is_integer(item);
        int status = number ? 0 : unescape(parse, item, &name);
        status = status < 0 ? status : add_name(parse, name, check_name);
        if (status < 0) {
            return fail(parse, field, status);
        }
    }
    return 0;
}

/* How many items a list field has; checks its JSON. 0 where it is absent. */
static int count_names(struct parse *parse, enum field field, uint32_t *ret_count)
{
    struct bytes list;
    uint32_t count = 0;
    *ret_count = 0;
    if (!has(parse, field)) {
        return 0;
    }
    int status = json_scan_text(parse->value[field], 1, &list, NULL);
    if (status == STATUS_TOO_LARGE || (status == 0 && json_scan_kind(list) != JSON_SCAN_ARRAY)) {
        status = STATUS_INVALID; /* nested: not a list of names */
    }
    if (status < 0) {
        return fail(parse, field, status);
    }
    struct json_scan_iter iter;
    struct bytes item;
    json_scan_iter_init(&iter, list);
    while (json_scan_element(&iter, &item)) {
        if (++count > parse->limits->targets) {
            return fail(parse, field, STATUS_TOO_LARGE);
        }
    }
    parse->value[field] = list;
    *ret_count = count;
    return 0;
}

/* Which of the target fields is given; FIELD_COUNT for none or several. */
static enum field target_of(const struct parse *parse)
{
    static const enum field targets[] = {
        FIELD_USER, FIELD_USERS, FIELD_ROOM, FIELD_ROOMS, FIELD_TOPIC, FIELD_ALL};
    enum field found = FIELD_COUNT;
    unsigned count = 0;
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        if (has(parse, targets[i])) {
            found = targets[i];
            count++;
        }
    }
    return count == 1 ? found : FIELD_COUNT;
}

static int fill_targets(struct parse *parse, enum field target)
{
    bool users = target == FIELD_USER || target == FIELD_USERS;
    name_check_fn check_name = users ? names_check_user : names_check_room;
    parse->post->target = users                   ? NOTIFICATION_USERS
                          : target == FIELD_TOPIC ? NOTIFICATION_TOPIC
                                                  : NOTIFICATION_ROOMS;
    if (notification_field_rows[target].kind == KIND_TEXT) {
        int status = add_name(parse, parse->value[target], check_name);
        return status < 0 ? fail(parse, target, status) : 0;
    }
    int status = add_names(parse, target, check_name);
    if (status == 0 && parse->lists_used == 0) {
        status = fail(parse, target, STATUS_INVALID);
    }
    return status;
}

static int fail_target(struct parse *parse)
{
    if (has(parse, FIELD_TO)) {
        return fail(parse, FIELD_TO, STATUS_INVALID);
    }
    return fail_because(parse, FIELD_USER, STATUS_INVALID,
        parse->place == IN_BODY ? "Exactly one target: user, users, topic or all"
                                : "Exactly one target: user, users or all, of a notification also "
                                  "topic, of an event also room");
}

int notification_target_check(struct parse *parse)
{
    struct notification_post *post = parse->post;
    enum field target = target_of(parse);
    uint32_t count = 1;
    uint32_t except;
    if (target == FIELD_COUNT) {
        return fail_target(parse);
    }
    post->include_new = has(parse, FIELD_INCLUDE_NEW);
    if (post->include_new && target != FIELD_ALL) {
        return fail_because(parse, FIELD_INCLUDE_NEW, STATUS_INVALID, "It stands beside all only");
    }
    int status = count_names(parse, FIELD_EXCEPT, &except);
    if (status == 0 && notification_field_rows[target].kind == KIND_LIST) {
        status = count_names(parse, target, &count);
    }
    if (status < 0) {
        return status;
    }
    post->lists = mem_try_alloc(((size_t)count + except + 1) * sizeof(*post->lists));
    if (post->lists == NULL) {
        return STATUS_NOMEM;
    }
    post->target = NOTIFICATION_ALL;
    status = target == FIELD_ALL ? 0 : fill_targets(parse, target);
    post->targets = post->lists;
    post->target_count = (uint32_t)parse->lists_used;
    post->except = post->lists + post->target_count;
    if (status == 0 && except > 0) {
        status = add_names(parse, FIELD_EXCEPT, names_check_room);
    }
    post->except_count = (uint32_t)parse->lists_used - post->target_count;
    return status;
}

enum notification_audience notification_audience_of(const struct notification_post *post)
{
    if (post->is_event) {
        return AUDIENCE_NONE;
    }
    if (post->target == NOTIFICATION_ALL || post->target == NOTIFICATION_TOPIC) {
        return post->target == NOTIFICATION_ALL ? AUDIENCE_ALL : AUDIENCE_TOPIC;
    }
    return post->target_count > NOTIFICATION_ROWS_MAX ? AUDIENCE_LIST : AUDIENCE_NONE;
}

struct bytes notification_audience_name(enum notification_audience audience)
{
    static const char *const names[AUDIENCE_COUNT] = {"user", "all", "topic", "list"};
    CHECK(audience < AUDIENCE_COUNT);
    return bytes_str(names[audience]);
}
