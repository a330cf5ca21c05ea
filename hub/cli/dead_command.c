/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dead_command - `peal dead`: look at what could not be stored, post it again, or drop it.
 *
 * A dead letter's own fields begin with "dead:"; the others are those that were posted.
 */
#include <stdio.h>
#include <string.h>

#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/base64.h"
#include "codec/bus_name.h"
#include "codec/json_scan.h"
#include "codec/utf8.h"
#include "hub/cli/cli.h"
#include "hub/cli/cli_refuse.h"
#include "hub/config/config.h"
#include "hub/redis/redis_sync.h"

enum { PAGE = 500, ID_MAX = 48, ARGS_MAX = 256 };

enum action { ACTION_LIST, ACTION_RETRY, ACTION_DROP };

/* In one step, so that two who retry at once post an entry once; in a cluster see add_entry. */
static const char retry_script[] = "if redis.call('XDEL',KEYS[1],ARGV[1])==0 then return false end "
                                   "return redis.call('XADD',KEYS[2],'*',unpack(ARGV,2))";

struct dead {
    struct redis_sync *redis;
    enum action action;
    char dead_key[BUS_NAME_MAX];
    char in_key[BUS_NAME_MAX];
    struct bytes id; /* only this one; empty: all */
    char next[ID_MAX]; /* begin of the next page, behind '(' */
    size_t seen; /* entries of the page */
    size_t total;
    bool failed;
    bool split; /* both streams need not be at one server */
};

/* An entry that is posted again in two steps. */
struct moving {
    struct dead *dead;
    char id[ID_MAX];
    char key[ID_MAX + BUS_NAME_MAX]; /* by which it is known, if it has no other */
};

static void fail(struct dead *dead, int status, const struct bus_reply *reply)
{
    struct bytes text = status == 0 && reply->type == BUS_ERROR ? reply->text : bytes_str("");
    fprintf(stderr, "peal dead: Redis %s %.*s\n",
        status != 0 ? "is not available" : "refused:", (int)(text.len < 200 ? text.len : 200),
        text.len > 0 ? text.at : "");
    dead->failed = true;
}

/* Writing. */

/* A value as a JSON string; one that is not UTF-8 as {"base64"}. */
static void write_value(struct bytes value, struct builder *out)
{
    if (utf8_valid(value)) {
        json_scan_write_string(out, value);
        return;
    }
    builder_str(out, "{\"base64\":\"");
    char *at = builder_reserve(out, BASE64_LEN(value.len));
    if (at != NULL) {
        builder_commit(out, base64_encode(value, at));
    }
    builder_str(out, "\"}");
}

static struct bytes find_field(const struct bus_reply *fields, const char *name)
{
    for (size_t i = 0; i + 1 < fields->count; i += 2) {
        if (bytes_eq_str(fields->items[i]->text, name)) {
            return fields->items[i + 1]->text;
        }
    }
    return bytes_of(NULL, 0);
}

static bool is_posted(struct bytes name)
{
    return !bytes_starts(name, BYTES("dead:"));
}

static void write_member(
    struct builder *out, const char *prefix, const struct bus_reply *fields, const char *name)
{
    builder_str(out, prefix);
    write_value(find_field(fields, name), out);
}

/* One line for an entry. */
static void print_entry(struct bytes id, const struct bus_reply *fields)
{
    struct builder out = {0};
    const char *comma = "";
    builder_str(&out, "{\"id\":");
    write_value(id, &out);
    write_member(&out, ",\"stream\":", fields, "dead:stream");
    write_member(&out, ",\"entry\":", fields, "dead:id");
    write_member(&out, ",\"reason\":", fields, "dead:reason");
    write_member(&out, ",\"field\":", fields, "dead:field");
    builder_str(&out, ",\"fields\":{");
    for (size_t i = 0; i + 1 < fields->count; i += 2) {
        struct bytes name = fields->items[i]->text;
        if (is_posted(name)) {
            builder_str(&out, comma);
            /* A name that is not UTF-8 cannot be a key of JSON. */
            json_scan_write_string(&out, utf8_valid(name) ? name : BYTES("(not UTF-8)"));
            builder_byte(&out, ':');
            write_value(fields->items[i + 1]->text, &out);
            comma = ",";
        }
    }
    builder_str(&out, "}}\n");
    struct bytes text = builder_bytes(&out);
    fwrite(text.at, 1, text.len, stdout);
    builder_reset(&out);
}

/* Posting again and dropping. */

static void on_retried(void *context, int status, const struct bus_reply *reply)
{
    struct dead *dead = context;
    if (status != 0 || reply->type == BUS_ERROR) {
        fail(dead, status, reply);
    } else if (reply->type == BUS_STRING) {
        dead->total++;
        printf("%.*s\n", (int)reply->text.len, reply->text.at);
    }
}

static void drop_entry(struct dead *dead, struct bytes id);

static void on_added(void *context, int status, const struct bus_reply *reply)
{
    struct moving *moving = context;
    struct dead *dead = moving->dead;
    on_retried(dead, status, reply);
    if (status == 0 && reply->type == BUS_STRING) {
        drop_entry(dead, bytes_str(moving->id));
    }
    mem_free(moving);
}

/*
 * XADD and then XDEL: what is interrupted between them, or retried twice at once, is added twice
 * under one key, so that it is stored once.
 */
static void add_entry(struct dead *dead, struct bytes id, const struct bus_reply *fields)
{
    struct bytes argv[ARGS_MAX] = {BYTES("XADD"), bytes_str(dead->in_key), BYTES("*")};
    struct moving *moving = mem_alloc(sizeof(*moving));
    size_t count = 3;
    bool keyed = false;
    moving->dead = dead;
    snprintf(moving->id, sizeof(moving->id), "%.*s", (int)id.len, id.at);
    for (size_t i = 0; i + 1 < fields->count && count + 4 <= ARGS_MAX; i += 2) {
        if (is_posted(fields->items[i]->text)) {
            keyed = keyed || bytes_eq(fields->items[i]->text, BYTES("key")) ||
                    bytes_eq(fields->items[i]->text, BYTES("json"));
            argv[count++] = fields->items[i]->text;
            argv[count++] = fields->items[i + 1]->text;
        }
    }
    if (!keyed) {
        snprintf(moving->key, sizeof(moving->key), "%s@%s", dead->dead_key, moving->id);
        argv[count++] = BYTES("key");
        argv[count++] = bytes_str(moving->key);
    }
    redis_sync_send(dead->redis, argv, count, on_added, moving);
}

static void retry_entry(struct dead *dead, struct bytes id, const struct bus_reply *fields)
{
    struct bytes argv[ARGS_MAX] = {BYTES("EVAL"), bytes_str(retry_script), BYTES("2"),
        bytes_str(dead->dead_key), bytes_str(dead->in_key), id};
    size_t count = 6;
    for (size_t i = 0; i + 1 < fields->count && count + 2 <= ARGS_MAX; i += 2) {
        if (is_posted(fields->items[i]->text)) {
            argv[count++] = fields->items[i]->text;
            argv[count++] = fields->items[i + 1]->text;
        }
    }
    if (count == 6) {
        fprintf(stderr, "peal dead: entry %s has no fields, dropping is all that is left\n",
            log_quote(id));
        dead->failed = true;
        return;
    }
    if (dead->split) {
        add_entry(dead, id, fields);
    } else {
        redis_sync_send(dead->redis, argv, count, on_retried, dead);
    }
}

static void on_dropped(void *context, int status, const struct bus_reply *reply)
{
    struct dead *dead = context;
    if (status != 0 || reply->type != BUS_INTEGER) {
        fail(dead, status, reply);
        return;
    }
    dead->total += dead->action == ACTION_DROP ? (size_t)reply->integer : 0;
}

static void drop_entry(struct dead *dead, struct bytes id)
{
    const struct bytes argv[] = {BYTES("XDEL"), bytes_str(dead->dead_key), id};
    redis_sync_send(dead->redis, argv, ARRAY_LEN(argv), on_dropped, dead);
}

/* Pages. */

static bool is_entry(const struct bus_reply *entry)
{
    return entry->type == BUS_ARRAY && entry->count == 2 && entry->items[1]->type == BUS_ARRAY &&
           entry->items[0]->text.len + 2 < ID_MAX;
}

static void on_page(void *context, int status, const struct bus_reply *reply)
{
    struct dead *dead = context;
    if (status != 0 || reply->type != BUS_ARRAY) {
        fail(dead, status, reply);
        return;
    }
    for (size_t i = 0; i < reply->count; i++) {
        const struct bus_reply *entry = reply->items[i];
        if (!is_entry(entry)) {
            continue;
        }
        struct bytes id = entry->items[0]->text;
        snprintf(dead->next, sizeof(dead->next), "(%.*s", (int)id.len, id.at);
        dead->seen++;
        if (dead->action == ACTION_LIST) {
            dead->total++;
            print_entry(id, entry->items[1]);
        } else if (dead->action == ACTION_RETRY) {
            retry_entry(dead, id, entry->items[1]);
        } else {
            drop_entry(dead, id);
        }
    }
}

static void walk(struct dead *dead)
{
    snprintf(dead->next, sizeof(dead->next), "-");
    do {
        bool one = dead->id.len > 0;
        const struct bytes argv[] = {BYTES("XRANGE"), bytes_str(dead->dead_key),
            one ? dead->id : bytes_str(dead->next), one ? dead->id : BYTES("+"), BYTES("COUNT"),
            BYTES("500")};
        dead->seen = 0;
        redis_sync_send(dead->redis, argv, ARRAY_LEN(argv), on_page, dead);
        redis_sync_wait(dead->redis, 0);
    } while (!dead->failed && dead->id.len == 0 && dead->seen == PAGE);
}

static int usage(void)
{
    fprintf(stderr, "peal dead: expected list, retry or drop, see peal dead --help\n");
    return 2;
}

static int parse_arguments(struct dead *dead, int argc, char **argv)
{
    static const char *const names[] = {"list", "retry", "drop"};
    bool all = false;
    size_t action = 0;
    while (argc > 0 && action < ARRAY_LEN(names) && strcmp(argv[0], names[action]) != 0) {
        action++;
    }
    if (argc == 0 || action == ARRAY_LEN(names)) {
        return usage();
    }
    dead->action = (enum action)action;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--id") == 0 && i + 1 == argc) {
            return cli_refuse_value("dead", "--id", NULL, "the id of an entry, as list prints it");
        }
        if (strcmp(argv[i], "--id") == 0) {
            dead->id = bytes_str(argv[++i]);
        } else if (strcmp(argv[i], "--all") == 0 && dead->action == ACTION_DROP) {
            all = true;
        } else {
            return cli_refuse_argument("dead", argv + i);
        }
    }
    if (dead->action == ACTION_DROP && all == (dead->id.len > 0)) {
        fprintf(stderr, "peal dead drop: say which with --id ID, or --all\n");
        return 2;
    }
    return 0;
}

int command_dead(const struct config *config, int argc, char **argv)
{
    static const char *const done[] = {"listed", "posted again", "dropped"};
    struct dead dead = {0};
    struct builder error = {0};
    int code = parse_arguments(&dead, argc, argv);
    if (code != 0) {
        return code;
    }
    if (config->bus_url[0] == '\0') {
        fprintf(
            stderr, "peal dead: there are dead letters only with a bus: set bus.url (REDIS_URL)\n");
        return 1;
    }
    const struct bus_names names = {.prefix = config->bus_prefix, .slots = 1};
    bus_name_dead(&names, dead.dead_key);
    bus_name_in(&names, 0, dead.in_key);
    dead.split = strstr(config->bus_url, "+cluster://") != NULL;
    if (redis_sync_reach(config, NULL, &error, &dead.redis) != 0) {
        struct bytes text = builder_bytes(&error);
        fprintf(stderr, "peal dead: %.*s\n", (int)text.len, text.len > 0 ? text.at : "");
        builder_reset(&error);
        return 1;
    }
    builder_reset(&error);
    walk(&dead);
    redis_sync_close(dead.redis);
    fprintf(stderr, "%zu %s\n", dead.total, done[dead.action]);
    if (dead.id.len > 0 && dead.total == 0) {
        fprintf(stderr, "peal dead: there is no entry %s\n", log_quote(dead.id));
        return 1;
    }
    return dead.failed || fflush(stdout) != 0 ? 1 : 0;
}
