/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jobs_command - `peal jobs`: look at queues and their jobs, try one again, drop one, stop a queue.
 *
 * All of it is asked of a hub over HTTP, with an API key of scope `jobs`.
 */
#include <stdio.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "hub/cli/cli.h"
#include "hub/cli/cli_refuse.h"
#include "hub/cli/http_client.h"
#include "hub/config/config.h"

enum { URL_MAX = 64, NEXT_MAX = 128 };

struct jobs {
    const char *url;
    const char *ca; /* file of certificates; NULL: the machine's */
    const char *api_key;
    const char *tenant;
    const char *queue;
    const char *state;
    const char *id;
    struct http_client *http;
};

/* Arguments. */

/* Where the value of a flag goes; NULL: there is no such flag. */
static const char **text_of(struct jobs *jobs, const char *flag)
{
    const struct {
        const char *flag;
        const char **to;
    } flags[] = {
        {"--api-key", &jobs->api_key},
        {"--ca", &jobs->ca},
        {"--id", &jobs->id},
        {"--queue", &jobs->queue},
        {"--state", &jobs->state},
        {"--tenant", &jobs->tenant},
        {"--url", &jobs->url},
    };
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (strcmp(flags[i].flag, flag) == 0) {
            return flags[i].to;
        }
    }
    return NULL;
}

static int parse_arguments(struct jobs *jobs, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        const char **to = text_of(jobs, argv[i]);
        if (to == NULL) {
            return cli_refuse_argument("jobs", argv + i);
        }
        if (i + 1 == argc) {
            return cli_refuse_value("jobs", argv[i], NULL, "what peal jobs --help says");
        }
        *to = argv[++i];
    }
    return 0;
}

/* Asking. */

/* Append a text as a piece of a path or query. */
static void add_piece(struct builder *out, const char *text)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~-";
    for (; *text != '\0'; text++) {
        if (strchr(plain, *text) != NULL) {
            builder_byte(out, *text);
        } else {
            builder_printf(out, "%%%02X", (unsigned char)*text);
        }
    }
}

/* Ask, and print a refusal; false: it was told. `ret_value`: the answer's object, in `answer`. */
static bool ask(struct jobs *jobs, const char *method, struct builder *path, struct builder *answer,
    struct bytes *ret_value)
{
    char at[512];
    unsigned status = 0;
    struct bytes error;
    struct bytes message;
    if (jobs->tenant != NULL) {
        bool more = memchr(builder_bytes(path).at, '?', builder_bytes(path).len) != NULL;
        builder_str(path, more ? "&tenant=" : "?tenant=");
        add_piece(path, jobs->tenant);
    }
    builder_byte(path, '\0');
    const struct http_ask asked = {
        .method = method, .path = builder_bytes(path).at, .key = jobs->api_key};
    if (http_client_ask(jobs->http, &asked, &status, answer) != 0) {
        fprintf(stderr, "peal jobs: %s\n", http_client_error(jobs->http));
        return false;
    }
    if (status == 204) {
        return true;
    }
    if (json_scan_text(builder_bytes(answer), JSON_SCAN_DEPTH_MAX, ret_value, NULL) != 0 ||
        json_scan_kind(*ret_value) != JSON_SCAN_OBJECT) {
        fprintf(stderr, "peal jobs: status %u without an answer of Peal\n", status);
        return false;
    }
    if (json_scan_get(*ret_value, "error", &error) == 0 && status >= 400) {
        bool told = json_scan_get(error, "message", &message) == 0 &&
                    json_scan_string(message, at, sizeof(at), &message) == 0;
        fprintf(stderr, "peal jobs: %.*s\n", told ? (int)message.len : 0, told ? message.at : "");
        return false;
    }
    return true;
}

static void print_line(struct bytes text)
{
    printf("%.*s\n", (int)text.len, text.len > 0 ? text.at : "");
}

/* Print the elements of a member, a line each. */
static void print_elements(struct bytes object, const char *member)
{
    struct json_scan_iter iter;
    struct bytes list;
    struct bytes element;
    if (json_scan_get(object, member, &list) == 0) {
        json_scan_iter_init(&iter, list);
        while (json_scan_element(&iter, &element)) {
            print_line(element);
        }
    }
}

/* What is done. */

static int list_queues(struct jobs *jobs)
{
    struct builder path = {0};
    struct builder answer = {0};
    struct bytes value;
    builder_str(&path, "/api/v1/queues");
    bool good = ask(jobs, "GET", &path, &answer, &value);
    if (good) {
        print_elements(value, "queues");
    }
    builder_reset(&path);
    builder_reset(&answer);
    return good ? 0 : 1;
}

/* A page of a queue's jobs; `next` is where the next one begins, "" behind the last. */
static bool list_page(struct jobs *jobs, char next[NEXT_MAX])
{
    struct builder path = {0};
    struct builder answer = {0};
    struct bytes value;
    struct bytes text;
    builder_str(&path, "/api/v1/queues/");
    add_piece(&path, jobs->queue);
    builder_str(&path, "/jobs?limit=100&state=");
    add_piece(&path, jobs->state != NULL ? jobs->state : "waiting");
    if (next[0] != '\0') {
        builder_str(&path, "&after=");
        add_piece(&path, next);
    }
    bool good = ask(jobs, "GET", &path, &answer, &value);
    next[0] = '\0';
    if (good) {
        print_elements(value, "items");
        char at[NEXT_MAX];
        if (json_scan_get(value, "next", &text) == 0 &&
            json_scan_string(text, at, sizeof(at), &text) == 0) {
            (void)snprintf(next, NEXT_MAX, "%.*s", (int)text.len, text.at);
        }
    }
    builder_reset(&path);
    builder_reset(&answer);
    return good;
}

static int list(struct jobs *jobs)
{
    char next[NEXT_MAX] = "";
    if (jobs->queue == NULL) {
        return list_queues(jobs);
    }
    bool good;
    do {
        good = list_page(jobs, next);
    } while (good && next[0] != '\0');
    return good ? 0 : 1;
}

static int change(struct jobs *jobs, const char *method, const char *kind, const char *verb)
{
    const char *whom = strcmp(kind, "jobs") == 0 ? jobs->id : jobs->queue;
    struct builder path = {0};
    struct builder answer = {0};
    struct bytes value = {0};
    builder_printf(&path, "/api/v1/%s/", kind);
    add_piece(&path, whom);
    builder_str(&path, verb);
    bool good = ask(jobs, method, &path, &answer, &value);
    if (good && value.len > 0) {
        print_line(value);
    }
    builder_reset(&path);
    builder_reset(&answer);
    return good ? 0 : 1;
}

/* The command. */

static const struct action {
    const char *name;
    const char *needs; /* a flag; NULL: none */
    const char *method;
    const char *kind;
    const char *verb;
} actions[] = {
    {"list", NULL, NULL, NULL, NULL},
    {"retry", "--id", "POST", "jobs", "/retry"},
    {"drop", "--id", "DELETE", "jobs", ""},
    {"pause", "--queue", "POST", "queues", "/pause"},
    {"resume", "--queue", "POST", "queues", "/resume"},
};

static int open_hub(struct jobs *jobs, const struct config *config)
{
    char local[URL_MAX];
    struct builder error = {0};
    snprintf(local, sizeof(local), "http%s://127.0.0.1:%u",
        config->listen_tls_cert.count > 0 ? "s" : "", config->listen_port);
    int status =
        http_client_create(jobs->url != NULL ? jobs->url : local, jobs->ca, &error, &jobs->http);
    if (status != 0) {
        struct bytes text = builder_bytes(&error);
        fprintf(stderr, "peal jobs: %.*s\n", (int)text.len, text.len > 0 ? text.at : "");
    }
    builder_reset(&error);
    return status;
}

int command_jobs(const struct config *config, int argc, char **argv)
{
    struct jobs jobs = {.api_key = config->auth_api_key};
    const struct action *action = NULL;
    for (size_t i = 0; argc > 0 && i < ARRAY_LEN(actions); i++) {
        action = strcmp(argv[0], actions[i].name) == 0 ? &actions[i] : action;
    }
    if (action == NULL) {
        fprintf(stderr,
            "peal jobs: expected list, retry, drop, pause or resume, see peal jobs --help\n");
        return 2;
    }
    int code = parse_arguments(&jobs, argc - 1, argv + 1);
    if (code == 0 && action->needs != NULL && *text_of(&jobs, action->needs) == NULL) {
        fprintf(stderr, "peal jobs %s: say which with %s\n", action->name, action->needs);
        code = 2;
    }
    if (code == 0 && open_hub(&jobs, config) != 0) {
        code = 1;
    } else if (code == 0) {
        code = action->method == NULL ? list(&jobs)
                                      : change(&jobs, action->method, action->kind, action->verb);
    }
    http_client_destroy(jobs.http);
    return code == 0 && fflush(stdout) != 0 ? 1 : code;
}
