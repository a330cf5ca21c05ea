/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Over libcurl's easy interface. Order of this file: the URL, the answer, requests.
 *
 * libcurl repeats a request by itself when a connection that it kept had been closed. A GET may be
 * repeated; a POST gets a connection of its own.
 */
#include "hub/cli/http_client.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"

enum { TIMEOUT_S = 30, PLACE_MAX = 300, ERROR_MAX = PLACE_MAX + 2 * CURL_ERROR_SIZE };

#define ANSWER_MAX (64u * 1024 * 1024)

struct http_client {
    CURL *curl;
    CURLU *url; /* its path changes with each request */
    const char *ca; /* file; NULL: the machine's */
    struct builder base; /* of paths; without '/' at the end */
    char place[PLACE_MAX]; /* host:port, for what is said of errors */
    char cause[CURL_ERROR_SIZE];
    char error[ERROR_MAX];
};

/* The URL. */

static bool has_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    bool has = curl_url_get(url, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return has;
}

/* What is wrong with the URL; NULL: nothing. */
static const char *read_url(struct http_client *client, const char *text)
{
    CURLUcode code = curl_url_set(client->url, CURLUPART_URL, text, 0);
    if (code != CURLUE_OK) {
        return curl_url_strerror(code);
    }
    char *scheme = NULL;
    char *host = NULL;
    char *port = NULL;
    char *path = NULL;
    const char *why = NULL;
    if (curl_url_get(client->url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)) {
        why = "it does not begin with http:// or https://";
    } else if (has_part(client->url, CURLUPART_USER) || has_part(client->url, CURLUPART_QUERY) ||
               has_part(client->url, CURLUPART_FRAGMENT)) {
        why = "allowed is http[s]://host[:port][/base], without user, query and fragment";
    } else if (curl_url_get(client->url, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
               curl_url_get(client->url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK ||
               curl_url_get(client->url, CURLUPART_PATH, &path, 0) != CURLUE_OK) {
        why = "it has no valid host and port";
    } else {
        struct bytes base = bytes_str(path);
        while (base.len > 0 && base.at[base.len - 1] == '/') {
            base.len--;
        }
        builder_add(&client->base, base);
        snprintf(client->place, sizeof(client->place), "%s:%s", host, port);
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(path);
    return why;
}

int http_client_create(
    const char *url, const char *ca, struct builder *error, struct http_client **ret_client)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        builder_str(error, "libcurl does not start");
        return STATUS_INVALID;
    }
    struct http_client *client = mem_alloc(sizeof(*client));
    client->ca = ca;
    client->curl = curl_easy_init();
    client->url = curl_url();
    const char *why = client->curl == NULL || client->url == NULL ? "libcurl has no memory"
                                                                  : read_url(client, url);
    if (why != NULL) {
        builder_printf(error, "the URL \"%.200s\": %s", url, why);
        http_client_destroy(client);
        return STATUS_INVALID;
    }
    *ret_client = client;
    return 0;
}

void http_client_destroy(struct http_client *client)
{
    if (client != NULL) {
        curl_easy_cleanup(client->curl);
        curl_url_cleanup(client->url);
        builder_reset(&client->base);
        mem_free(client);
        curl_global_cleanup();
    }
}

const char *http_client_error(const struct http_client *client)
{
    return client->error;
}

/* The answer. */

/* CURLOPT_WRITEFUNCTION. */
static size_t take_body(char *at, size_t size, size_t count, void *context)
{
    struct builder *body = context;
    size_t len = size * count;
    if (builder_bytes(body).len + len > ANSWER_MAX) {
        return 0;
    }
    builder_add(body, bytes_of(at, len));
    return len;
}

static const char *text_of(CURLcode code)
{
    switch ((int)code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return "no such host";
    case CURLE_COULDNT_CONNECT:
        return "cannot connect";
    case CURLE_OPERATION_TIMEDOUT:
        return "no answer";
    case CURLE_GOT_NOTHING:
        return "closed without an answer";
    case CURLE_PARTIAL_FILE:
        return "the answer was cut";
    case CURLE_WRITE_ERROR:
        return "the answer is too large";
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9, which is refused */
        return "the answer is no HTTP";
    default:
        return curl_easy_strerror(code);
    }
}

static int fail(struct http_client *client, CURLcode code)
{
    snprintf(client->error, sizeof(client->error), "%s: %.250s%s%s", client->place, text_of(code),
        client->cause[0] != '\0' ? ": " : "", client->cause);
    return STATUS_UNAVAILABLE;
}

/* Requests. */

/* Set what all requests have in common; what another one had set is forgotten. */
static CURLcode prepare(struct http_client *client, const char *path, struct builder *ret_body)
{
    CURL *curl = client->curl;
    struct builder whole = {0};
    curl_easy_reset(curl);
    client->cause[0] = '\0';
    builder_add(&whole, builder_bytes(&client->base));
    builder_str(&whole, path);
    builder_byte(&whole, '\0');
    CURLUcode set = curl_url_set(client->url, CURLUPART_PATH, builder_bytes(&whole).at, 0);
    builder_reset(&whole);
    if (set != CURLUE_OK) {
        return CURLE_URL_MALFORMAT;
    }
    (void)curl_url_set(client->url, CURLUPART_QUERY, NULL, 0);
    curl_easy_setopt(curl, CURLOPT_CURLU, client->url);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* the commands speak with the hub itself */
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    if (client->ca != NULL) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, client->ca);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL); /* and nobody else */
    }
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->cause);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, ret_body);
    return CURLE_OK;
}

static int perform(struct http_client *client, unsigned *ret_status)
{
    long status = 0;
    CURLcode code = curl_easy_perform(client->curl);
    if (code != CURLE_OK) {
        return fail(client, code);
    }
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    *ret_status = (unsigned)status;
    return 0;
}

/* The header lines of a post; NULL: no memory. */
static struct curl_slist *make_headers(const char *key)
{
    struct builder line = {0};
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    struct curl_slist *more = headers;
    if (key[0] != '\0' && headers != NULL) {
        builder_printf(&line, "Authorization: Bearer %s", key);
        builder_byte(&line, '\0');
        more = curl_slist_append(headers, builder_bytes(&line).at);
    }
    if (more == NULL) {
        curl_slist_free_all(headers);
    }
    builder_reset(&line);
    return more;
}

int http_client_post(struct http_client *client, const char *path, const char *key,
    struct bytes json, unsigned *ret_status, struct builder *ret_body)
{
    CURLcode code = prepare(client, path, ret_body);
    struct curl_slist *headers = code == CURLE_OK ? make_headers(key) : NULL;
    if (headers == NULL) {
        return fail(client, code == CURLE_OK ? CURLE_OUT_OF_MEMORY : code);
    }
    curl_easy_setopt(client->curl, CURLOPT_POST, 1L);
    curl_easy_setopt(client->curl, CURLOPT_POSTFIELDS, json.at != NULL ? json.at : "");
    curl_easy_setopt(client->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)json.len);
    curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(client->curl, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(client->curl, CURLOPT_FORBID_REUSE, 1L);
    int status = perform(client, ret_status);
    curl_slist_free_all(headers);
    return status;
}

int http_client_get(
    struct http_client *client, const char *path, unsigned *ret_status, struct builder *ret_body)
{
    CURLcode code = prepare(client, path, ret_body);
    return code == CURLE_OK ? perform(client, ret_status) : fail(client, code);
}

int http_client_ask(struct http_client *client, const struct http_ask *ask, unsigned *ret_status,
    struct builder *ret_body)
{
    const char *query = strchr(ask->path, '?');
    size_t len = query != NULL ? (size_t)(query - ask->path) : strlen(ask->path);
    char *path = mem_alloc(len + 1);
    memcpy(path, ask->path, len);
    path[len] = '\0';
    CURLcode code = prepare(client, path, ret_body);
    mem_free(path);
    struct curl_slist *headers = code == CURLE_OK ? make_headers(ask->key) : NULL;
    if (headers == NULL) {
        return fail(client, code == CURLE_OK ? CURLE_OUT_OF_MEMORY : code);
    }
    if (query != NULL) {
        (void)curl_url_set(client->url, CURLUPART_QUERY, query + 1, 0);
    }
    if (strcmp(ask->method, "GET") != 0) {
        curl_easy_setopt(client->curl, CURLOPT_POST, 1L);
        curl_easy_setopt(client->curl, CURLOPT_POSTFIELDS, "");
        curl_easy_setopt(client->curl, CURLOPT_CUSTOMREQUEST, ask->method);
    }
    curl_easy_setopt(client->curl, CURLOPT_HTTPHEADER, headers);
    int status = perform(client, ret_status);
    curl_slist_free_all(headers);
    return status;
}
