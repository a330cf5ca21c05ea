/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish_command - `peal publish`: post notifications over HTTP or to the stream.
 *
 * Order of this file: arguments, results, HTTP, Redis, input. Posts are checked here first, so that
 * a mistake is told at once and not found among the dead letters. From standard input many posts
 * travel in one request, or are under way at once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/bus_name.h"
#include "codec/json_scan.h"
#include "codec/notification.h"
#include "hub/cli/cli.h"
#include "hub/cli/cli_refuse.h"
#include "hub/cli/http_client.h"
#include "hub/config/config.h"
#include "hub/redis/redis_sync.h"

enum { URL_MAX = 64, UNDER_WAY_MAX = 2000, BATCH_BYTES_MARGIN = 4096 };

struct publish {
    const struct config *config;
    const char *url;
    const char *redis_url;
    const char *ca; /* file of certificates; NULL: the machine's */
    const char *api_key;
    bool from_input;
    struct builder object; /* the post that the arguments make, without the last brace */
    struct notification_limits limits;
    struct http_client *http; /* one of these two */
    struct redis_sync *redis;
    char stream[BUS_NAME_MAX];
    struct builder batch; /* HTTP: `[` and posts with commas between them */
    uint64_t *batch_lines; /* where they came from */
    size_t batch_count;
    uint64_t failed;
};

/* Arguments. */

/* Columns: flag, member of the post, whether its value is JSON already. */
static const struct {
    const char *flag;
    const char *member;
    bool json;
} fields[] = {
    {"--data", "data", true},
    {"--expires-at", "expires_at", false},
    {"--key", "key", false},
    {"--message", "message", false},
    {"--priority", "priority", false},
    {"--tenant", "tenant", false},
    {"--title", "title", false},
    {"--type", "type", false},
    {"--user", "user", false},
};

static bool add_field(struct publish *publish, const char *flag, const char *value)
{
    struct builder *out = &publish->object;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (strcmp(fields[i].flag, flag) == 0) {
            builder_printf(
                out, "%s\"%s\":", builder_bytes(out).len > 0 ? "," : "{", fields[i].member);
            if (fields[i].json) {
                builder_str(out, value);
            } else {
                json_scan_write_string(out, bytes_str(value));
            }
            return true;
        }
    }
    return false;
}

/* Where the value of a flag that is no field of the post goes; NULL: it is none of these. */
static const char **text_of(struct publish *publish, const char *flag)
{
    if (strcmp(flag, "--url") == 0) {
        return &publish->url;
    }
    if (strcmp(flag, "--redis") == 0) {
        return &publish->redis_url;
    }
    if (strcmp(flag, "--ca") == 0) {
        return &publish->ca;
    }
    return strcmp(flag, "--api-key") == 0 ? &publish->api_key : NULL;
}

static int parse_arguments(struct publish *publish, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        const char **to = text_of(publish, argv[i]);
        if (strcmp(argv[i], "--stdin") == 0) {
            publish->from_input = true;
            continue;
        }
        if (value == NULL && (to != NULL || add_field(publish, argv[i], ""))) {
            return cli_refuse_value("publish", argv[i], NULL, "what peal publish --help says");
        }
        if (value == NULL) {
            return cli_refuse_argument("publish", argv + i);
        }
        if (to != NULL) {
            *to = value;
        } else if (!add_field(publish, argv[i], value)) {
            return cli_refuse_argument("publish", argv + i);
        }
        i++;
    }
    if (publish->from_input == (builder_bytes(&publish->object).len > 0)) {
        fprintf(stderr, "peal publish: either the fields of one notification, or --stdin\n");
        return 2;
    }
    if (publish->url != NULL && publish->redis_url != NULL) {
        fprintf(stderr, "peal publish: either --url or --redis\n");
        return 2;
    }
    return 0;
}

/* Results. Lines count from 1; 0: the arguments. */

/* `field`, unless empty, is what of the post is at fault. */
static void print_failure(
    struct publish *publish, uint64_t line, struct bytes why, const char *field)
{
    publish->failed++;
    fprintf(stderr, "peal publish: ");
    if (line > 0) {
        fprintf(stderr, "line %llu: ", (unsigned long long)line);
    }
    fprintf(stderr, "%s%s%.*s\n", field, field[0] != '\0' ? ": " : "", (int)why.len,
        why.len > 0 ? why.at : "");
}

/* A member of an object that is a string; empty when there is none. */
static struct bytes text_member(struct bytes object, const char *key, char *at, size_t size)
{
    struct bytes value;
    struct bytes text;
    if (json_scan_get(object, key, &value) != 0 || json_scan_string(value, at, size, &text) != 0) {
        return bytes_of(NULL, 0);
    }
    return text;
}

/* Print what became of one post: its id, one for each user, or the error. */
static void print_result(struct publish *publish, uint64_t line, struct bytes result)
{
    char at[512];
    char field_at[64];
    struct bytes value;
    struct json_scan_iter iter;
    struct bytes element;
    if (json_scan_get(result, "error", &value) == 0) {
        struct bytes field = text_member(value, "field", field_at, sizeof(field_at) - 1);
        field_at[field.len] = '\0';
        if (field.len > 0 && field.at != field_at) {
            memcpy(field_at, field.at, field.len);
        }
        print_failure(publish, line, text_member(value, "message", at, sizeof(at)), field_at);
    } else if (json_scan_get(result, "results", &value) == 0) {
        json_scan_iter_init(&iter, value);
        while (json_scan_element(&iter, &element)) {
            print_result(publish, line, element);
        }
    } else {
        struct bytes id = text_member(result, "id", at, sizeof(at));
        printf("%.*s\n", (int)id.len, id.len > 0 ? id.at : "");
    }
}

/* HTTP. */

/* Post a body and return its answer, checked JSON, in `answer`; false: it was told. */
static bool post(
    struct publish *publish, struct bytes body, struct builder *answer, struct bytes *ret_value)
{
    unsigned status = 0;
    if (http_client_post(
            publish->http, "/api/v1/notifications", publish->api_key, body, &status, answer) != 0) {
        fprintf(stderr, "peal publish: %s\n", http_client_error(publish->http));
        return false;
    }
    if (json_scan_text(builder_bytes(answer), JSON_SCAN_DEPTH_DEFAULT, ret_value, NULL) != 0 ||
        json_scan_kind(*ret_value) != JSON_SCAN_OBJECT) {
        fprintf(stderr, "peal publish: status %u without an answer of Peal\n", status);
        return false;
    }
    return true;
}

static bool post_single(struct publish *publish, struct bytes object)
{
    struct builder answer = {0};
    struct bytes value;
    bool posted = post(publish, object, &answer, &value);
    if (posted) {
        print_result(publish, 0, value);
    }
    builder_reset(&answer);
    return posted;
}

/* Send what was collected; false: no more can be posted. */
static bool flush_batch(struct publish *publish)
{
    struct builder answer = {0};
    struct bytes value;
    struct bytes results;
    struct json_scan_iter iter;
    struct bytes element;
    if (publish->batch_count == 0) {
        return true;
    }
    builder_byte(&publish->batch, ']');
    bool posted = post(publish, builder_bytes(&publish->batch), &answer, &value);
    if (posted && json_scan_get(value, "results", &results) != 0) {
        print_result(publish, 0, value); /* all were refused */
        posted = false;
    } else if (posted) {
        json_scan_iter_init(&iter, results);
        for (size_t i = 0; i < publish->batch_count && json_scan_element(&iter, &element); i++) {
            print_result(publish, publish->batch_lines[i], element);
        }
    }
    builder_reset(&answer);
    builder_clear(&publish->batch);
    publish->batch_count = 0;
    return posted;
}

static bool add_to_batch(struct publish *publish, uint64_t line, struct bytes object)
{
    size_t max = publish->config->limits_body_bytes - BATCH_BYTES_MARGIN / 8;
    if (publish->batch_count == publish->config->limits_posts ||
        builder_bytes(&publish->batch).len + object.len + 2 > max) {
        if (!flush_batch(publish)) {
            return false;
        }
    }
    builder_byte(&publish->batch, publish->batch_count == 0 ? '[' : ',');
    builder_add(&publish->batch, object);
    publish->batch_lines[publish->batch_count++] = line;
    return true;
}

/* Redis. */

struct added {
    struct publish *publish;
    uint64_t line;
};

static void on_added(void *context, int status, const struct bus_reply *reply)
{
    struct added *added = context;
    if (status != 0) {
        print_failure(added->publish, added->line, BYTES("Redis is not available"), "");
    } else if (reply->type == BUS_STRING) {
        printf("%.*s\n", (int)reply->text.len, reply->text.at);
    } else {
        print_failure(added->publish, added->line, reply->text, "");
    }
    mem_free(added);
}

static void add_entry(struct publish *publish, uint64_t line, struct bytes object)
{
    const struct bytes argv[] = {
        BYTES("XADD"), bytes_str(publish->stream), BYTES("*"), BYTES("json"), object};
    struct added *added = mem_alloc(sizeof(*added));
    *added = (struct added){.publish = publish, .line = line};
    redis_sync_send(publish->redis, argv, ARRAY_LEN(argv), on_added, added);
    redis_sync_wait(publish->redis, UNDER_WAY_MAX);
}

/* Input. */

/* Whether the post is one; else it was told. */
static bool check(struct publish *publish, uint64_t line, struct bytes object)
{
    struct notification_post checked;
    struct notification_fault fault;
    publish->limits.now_ms = clock_wall_ms();
    publish->limits.posted_ms = publish->limits.now_ms;
    publish->limits.deliver_after_ms = publish->limits.now_ms;
    int status = notification_from_json(object, &publish->limits, &checked, &fault);
    if (status == 0) {
        notification_post_finish(&checked);
        return true;
    }
    struct bytes why = fault.message != NULL ? bytes_str(fault.message)
                                             : BYTES("No JSON object, or out of memory");
    print_failure(publish, line, why, fault.field[0] != '\0' ? fault.field : "the post");
    return false;
}

/* False: no more can be posted. */
static bool publish_object(struct publish *publish, uint64_t line, struct bytes object)
{
    if (!check(publish, line, object)) {
        return true;
    }
    if (publish->redis != NULL) {
        add_entry(publish, line, object);
        return true;
    }
    return line == 0 ? post_single(publish, object) : add_to_batch(publish, line, object);
}

static bool publish_input(struct publish *publish)
{
    char *text = NULL;
    size_t cap = 0;
    uint64_t line = 0;
    bool going = true;
    ssize_t len;
    while (going && (len = getline(&text, &cap, stdin)) >= 0) {
        line++;
        while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r')) {
            len--;
        }
        if (len > 0) {
            going = publish_object(publish, line, bytes_of(text, (size_t)len));
        }
    }
    free(text); /* of getline */
    if (going && publish->redis == NULL) {
        going = flush_batch(publish);
    }
    if (publish->redis != NULL) {
        redis_sync_wait(publish->redis, 0);
    }
    return going;
}

static int open_way(struct publish *publish)
{
    char local[URL_MAX];
    struct builder error = {0};
    int status;
    if (publish->url == NULL &&
        (publish->redis_url != NULL || publish->config->bus_url[0] != '\0')) {
        const struct bus_names names = {.prefix = publish->config->bus_prefix, .slots = 1};
        bus_name_in(&names, 0, publish->stream);
        status = redis_sync_reach(publish->config, publish->redis_url, &error, &publish->redis);
    } else {
        snprintf(local, sizeof(local), "http%s://127.0.0.1:%u",
            publish->config->listen_tls_cert.count > 0 ? "s" : "", publish->config->listen_port);
        status = http_client_create(
            publish->url != NULL ? publish->url : local, publish->ca, &error, &publish->http);
    }
    if (status != 0) {
        struct bytes text = builder_bytes(&error);
        print_failure(publish, 0, text, "");
    }
    builder_reset(&error);
    return status;
}

static void set_limits(struct publish *publish)
{
    publish->limits = notification_limits_default;
    publish->limits.title = (uint32_t)publish->config->limits_title_bytes;
    publish->limits.message = (uint32_t)publish->config->limits_text_bytes;
    publish->limits.data = (uint32_t)publish->config->limits_data_bytes;
}

int command_publish(const struct config *config, int argc, char **argv)
{
    struct publish publish = {.config = config, .api_key = config->auth_api_key};
    int code = parse_arguments(&publish, argc, argv);
    set_limits(&publish);
    if (code == 0 && open_way(&publish) != 0) {
        code = 1;
    }
    if (code == 0) {
        bool whole;
        publish.batch.max = config->limits_body_bytes + BATCH_BYTES_MARGIN;
        publish.batch_lines = mem_alloc_array(config->limits_posts, sizeof(uint64_t));
        if (publish.from_input) {
            whole = publish_input(&publish);
        } else {
            builder_byte(&publish.object, '}');
            whole = publish_object(&publish, 0, builder_bytes(&publish.object));
        }
        if (publish.redis != NULL) {
            redis_sync_wait(publish.redis, 0);
        }
        code = whole && publish.failed == 0 && fflush(stdout) == 0 ? 0 : 1;
    }
    redis_sync_close(publish.redis);
    http_client_destroy(publish.http);
    mem_free(publish.batch_lines);
    builder_reset(&publish.batch);
    builder_reset(&publish.object);
    return code;
}
