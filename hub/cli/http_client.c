/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order of this file: the URL, the connection, the answer, requests.
 */
#include "hub/cli/http_client.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/http1_chunked.h"

enum { HOST_MAX = 256, PORT_MAX = 6, TIMEOUT_S = 30, READ_SIZE = 16384, HEAD_MAX = 32768 };

#define ANSWER_MAX (64u * 1024 * 1024)

struct http_client {
    char host[HOST_MAX];
    char port[PORT_MAX];
    char *base; /* of paths; without '/' at the end */
    int fd; /* -1: not connected */
    char error[2 * HOST_MAX];
};

/* The URL. */

static int refuse_url(struct builder *error, const char *why)
{
    builder_str(error, why);
    return STATUS_INVALID;
}

/* "host:port", "[::1]:port", or without port. */
static int parse_authority(struct http_client *client, struct bytes text)
{
    struct bytes host = text;
    struct bytes port = BYTES("80");
    uint64_t number;
    const char *colon = NULL;
    if (text.len > 0 && text.at[0] == '[') {
        const char *end = memchr(text.at, ']', text.len);
        if (end == NULL) {
            return STATUS_INVALID;
        }
        host = bytes_of(text.at + 1, (size_t)(end - text.at) - 1);
        struct bytes rest = bytes_skip(text, host.len + 2);
        if (rest.len > 0 && rest.at[0] != ':') {
            return STATUS_INVALID;
        }
        colon = rest.len > 0 ? rest.at : NULL;
    } else if (text.len > 0 && (colon = memchr(text.at, ':', text.len)) != NULL) {
        host.len = (size_t)(colon - text.at);
    }
    if (colon != NULL) {
        port = bytes_skip(text, (size_t)(colon - text.at) + 1);
    }
    if (host.len == 0 || host.len >= HOST_MAX || bytes_to_u64(port, UINT16_MAX, &number) != 0 ||
        number == 0) {
        return STATUS_INVALID;
    }
    memcpy(client->host, host.at, host.len);
    snprintf(client->port, sizeof(client->port), "%u", (unsigned)number);
    return 0;
}

int http_client_create(const char *url, struct builder *error, struct http_client **ret_client)
{
    struct bytes text = bytes_str(url);
    if (bytes_starts(text, BYTES("https://"))) {
        return refuse_url(error, "https:// is not supported here: post to the node itself");
    }
    if (!bytes_starts(text, BYTES("http://"))) {
        return refuse_url(error, "the URL does not begin with http://");
    }
    text = bytes_skip(text, strlen("http://"));
    const char *slash = text.len > 0 ? memchr(text.at, '/', text.len) : NULL;
    struct bytes authority = slash != NULL ? bytes_of(text.at, (size_t)(slash - text.at)) : text;
    struct bytes base = bytes_skip(text, authority.len);
    while (base.len > 0 && base.at[base.len - 1] == '/') {
        base.len--;
    }
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.at[i];
        if (byte <= ' ' || byte >= 0x7f || byte == '?' || byte == '#' || byte == '@') {
            return refuse_url(error, "the URL has a character that cannot be in it");
        }
    }
    struct http_client *client = mem_alloc(sizeof(*client));
    client->fd = -1;
    if (parse_authority(client, authority) != 0) {
        mem_free(client);
        return refuse_url(error, "the URL has no valid host and port");
    }
    client->base = mem_dup(base.len > 0 ? base.at : "", base.len);
    *ret_client = client;
    return 0;
}

/* The connection. */

static void close_connection(struct http_client *client)
{
    if (client->fd >= 0) {
        close(client->fd);
        client->fd = -1;
    }
}

void http_client_destroy(struct http_client *client)
{
    if (client != NULL) {
        close_connection(client);
        mem_free(client->base);
        mem_free(client);
    }
}

const char *http_client_error(const struct http_client *client)
{
    return client->error;
}

static int fail(struct http_client *client, const char *what, const char *why)
{
    snprintf(client->error, sizeof(client->error), "%s:%s: %s%s%s", client->host, client->port,
        what, why[0] != '\0' ? ": " : "", why);
    close_connection(client);
    return STATUS_UNAVAILABLE;
}

static int connect_one(const struct addrinfo *address)
{
    const struct timeval timeout = {.tv_sec = TIMEOUT_S};
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static int open_connection(struct http_client *client)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list;
    int code = getaddrinfo(client->host, client->port, &hints, &list);
    if (code != 0) {
        return fail(client, "no such host", gai_strerror(code));
    }
    for (const struct addrinfo *at = list; at != NULL && client->fd < 0; at = at->ai_next) {
        client->fd = connect_one(at);
    }
    int error = errno;
    freeaddrinfo(list);
    return client->fd >= 0 ? 0 : fail(client, "cannot connect", strerror(error));
}

static int send_all(struct http_client *client, struct bytes bytes)
{
    while (bytes.len > 0) {
        ssize_t sent = send(client->fd, bytes.at, bytes.len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            return fail(client, "cannot send", strerror(errno));
        }
        bytes = bytes_skip(bytes, sent > 0 ? (size_t)sent : 0);
    }
    return 0;
}

/* The answer. */

struct answer {
    unsigned status;
    uint64_t length;
    bool has_length;
    bool chunked;
    bool close;
    size_t head_len; /* with the empty line */
};

static void read_header(struct bytes line, struct answer *answer)
{
    const char *colon = memchr(line.at, ':', line.len);
    if (colon == NULL) {
        return;
    }
    struct bytes name = bytes_of(line.at, (size_t)(colon - line.at));
    struct bytes value = bytes_skip(line, name.len + 1);
    while (value.len > 0 && (value.at[0] == ' ' || value.at[0] == '\t')) {
        value = bytes_skip(value, 1);
    }
    if (bytes_eq_nocase(name, BYTES("content-length"))) {
        answer->has_length = bytes_to_u64(value, ANSWER_MAX, &answer->length) == 0;
    } else if (bytes_eq_nocase(name, BYTES("transfer-encoding"))) {
        answer->chunked = bytes_eq_nocase(value, BYTES("chunked"));
    } else if (bytes_eq_nocase(name, BYTES("connection"))) {
        answer->close = bytes_eq_nocase(value, BYTES("close"));
    }
}

/* Parse a head that is complete up to answer->head_len; false when it is none. */
static bool parse_head(struct bytes head, struct answer *answer)
{
    uint64_t status;
    if (head.len < strlen("HTTP/1.1 200") || !bytes_starts(head, BYTES("HTTP/1.")) ||
        bytes_to_u64(bytes_of(head.at + 9, 3), 999, &status) != 0) {
        return false;
    }
    answer->status = (unsigned)status;
    while (head.len > 0) {
        const char *end = memchr(head.at, '\n', head.len);
        size_t len = end != NULL ? (size_t)(end - head.at) : head.len;
        bool cr = len > 0 && head.at[len - 1] == '\r';
        read_header(bytes_of(head.at, cr ? len - 1 : len), answer);
        head = bytes_skip(head, end != NULL ? len + 1 : len);
    }
    return true;
}

/* Read more; STATUS_CLOSED at the end. */
static int read_more(struct http_client *client, struct builder *input)
{
    char *at = builder_reserve(input, READ_SIZE);
    if (at == NULL) {
        return fail(client, "the answer is too large", "");
    }
    ssize_t count;
    do {
        count = recv(client->fd, at, READ_SIZE, 0);
    } while (count < 0 && errno == EINTR);
    if (count < 0) {
        return fail(client, "no answer", strerror(errno));
    }
    builder_commit(input, (size_t)count);
    return count == 0 ? STATUS_CLOSED : 0;
}

static int read_head(struct http_client *client, struct builder *input, struct answer *ret_answer)
{
    const char *end = NULL;
    while (end == NULL) {
        if (builder_bytes(input).len > HEAD_MAX) {
            return fail(client, "the answer is no HTTP", "");
        }
        int status = read_more(client, input);
        if (status != 0) {
            return status == STATUS_CLOSED ? fail(client, "closed without an answer", "") : status;
        }
        struct bytes bytes = builder_bytes(input);
        end = memmem(bytes.at, bytes.len, "\r\n\r\n", 4);
    }
    struct bytes bytes = builder_bytes(input);
    ret_answer->head_len = (size_t)(end - bytes.at) + 4;
    return parse_head(bytes_of(bytes.at, ret_answer->head_len), ret_answer)
               ? 0
               : fail(client, "the answer is no HTTP", "");
}

static int read_chunked(
    struct http_client *client, struct builder *input, size_t used, struct builder *ret_body)
{
    struct http1_chunked chunked = {.max_body = ANSWER_MAX};
    while (!http1_chunked_done(&chunked)) {
        struct bytes data = {0};
        int taken = http1_chunked_feed(&chunked, bytes_skip(builder_bytes(input), used), &data);
        if (taken < 0) {
            return fail(client, "the answer is no HTTP", "");
        }
        builder_add(ret_body, data);
        used += (size_t)taken;
        if (taken == 0 && !http1_chunked_done(&chunked)) {
            int status = read_more(client, input);
            if (status != 0) {
                return status == STATUS_CLOSED ? fail(client, "the answer was cut", "") : status;
            }
        }
    }
    return 0;
}

static int read_body(struct http_client *client, struct builder *input, const struct answer *answer,
    struct builder *ret_body)
{
    if (answer->chunked) {
        return read_chunked(client, input, answer->head_len, ret_body);
    }
    int status = 0;
    while (status == 0 &&
           (!answer->has_length || builder_bytes(input).len - answer->head_len < answer->length)) {
        status = read_more(client, input);
    }
    if (status == STATUS_CLOSED && answer->has_length) {
        return fail(client, "the answer was cut", "");
    }
    if (status != 0 && status != STATUS_CLOSED) {
        return status;
    }
    struct bytes body = bytes_skip(builder_bytes(input), answer->head_len);
    builder_add(ret_body, bytes_of(body.at, answer->has_length ? answer->length : body.len));
    return 0;
}

/* Requests. */

/* The head's first lines. */
static void write_head(
    const struct http_client *client, const char *method, const char *path, struct builder *out)
{
    bool ipv6 = strchr(client->host, ':') != NULL;
    builder_printf(out, "%s %s%s HTTP/1.1\r\nHost: %s%s%s:%s\r\n", method, client->base, path,
        ipv6 ? "[" : "", client->host, ipv6 ? "]" : "", client->port);
}

/* Send `request`, which is emptied, and read the answer. */
static int ask(struct http_client *client, struct builder *request, unsigned *ret_status,
    struct builder *ret_body)
{
    struct builder input = {.max = ANSWER_MAX};
    struct answer answer = {0};
    int status = client->fd >= 0 ? 0 : open_connection(client);
    if (status == 0) {
        status = send_all(client, builder_bytes(request));
    }
    if (status == 0) {
        status = read_head(client, &input, &answer);
    }
    if (status == 0) {
        status = read_body(client, &input, &answer, ret_body);
    }
    builder_reset(request);
    builder_reset(&input);
    if (status != 0) {
        return status;
    }
    if (answer.close || (!answer.has_length && !answer.chunked)) {
        close_connection(client);
    }
    *ret_status = answer.status;
    return 0;
}

int http_client_post(struct http_client *client, const char *path, const char *key,
    struct bytes json, unsigned *ret_status, struct builder *ret_body)
{
    struct builder request = {0};
    write_head(client, "POST", path, &request);
    if (key[0] != '\0') {
        builder_printf(&request, "Authorization: Bearer %s\r\n", key);
    }
    builder_printf(
        &request, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n", json.len);
    builder_add(&request, json);
    return ask(client, &request, ret_status, ret_body);
}

int http_client_get(
    struct http_client *client, const char *path, unsigned *ret_status, struct builder *ret_body)
{
    struct bytes before = builder_bytes(ret_body);
    bool kept_alive = client->fd >= 0;
    for (;;) {
        struct builder request = {0};
        write_head(client, "GET", path, &request);
        builder_str(&request, "\r\n");
        int status = ask(client, &request, ret_status, ret_body);
        if (status == 0 || !kept_alive) {
            return status;
        }
        builder_truncate(ret_body, before.len);
        kept_alive = false;
    }
}
