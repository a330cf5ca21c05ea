/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocking calls on one socket.
 */
#include "tests/bench/inbox_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/base/check.h"

enum { REQUEST_MAX = 2048, FRAME_MAX = 125, OPCODE_TEXT = 0x81, SHORT_LEN = 126, LONG_LEN = 127 };

static void give_up(const char *what)
{
    (void)fprintf(stderr, "bench_inbox: %s: %s\n", what, strerror(errno));
    exit(1);
}

void inbox_link_open(struct inbox_link *link, const char *port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    CHECK(inet_pton(AF_INET, "127.0.0.1", &address.sin_addr) == 1);
    link->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    link->len = 0;
    int on = 1;
    if (connect(link->fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0) {
        give_up("connect");
    }
}

void inbox_link_close(struct inbox_link *link)
{
    (void)close(link->fd);
}

static void write_all(struct inbox_link *link, const char *at, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(link->fd, at, len, MSG_NOSIGNAL);
        if (sent <= 0) {
            give_up("send");
        }
        at += sent;
        len -= (size_t)sent;
    }
}

static void read_some(struct inbox_link *link)
{
    CHECK(link->len < sizeof(link->bytes) - 1);
    ssize_t got = recv(link->fd, link->bytes + link->len, sizeof(link->bytes) - 1 - link->len, 0);
    if (got <= 0) {
        give_up("the hub has closed");
    }
    link->len += (size_t)got;
    link->bytes[link->len] = '\0';
}

static void use(struct inbox_link *link, size_t len)
{
    memmove(link->bytes, link->bytes + len, link->len - len);
    link->len -= len;
    link->bytes[link->len] = '\0';
}

/* Where the head of the answer ends, once it is there. */
static size_t read_head(struct inbox_link *link)
{
    link->bytes[link->len] = '\0';
    for (;;) {
        const char *end = strstr(link->bytes, "\r\n\r\n");
        if (end != NULL) {
            return (size_t)(end - link->bytes) + 4;
        }
        read_some(link);
    }
}

static const char *header_of(const char *head, size_t len, const char *name)
{
    const char *at = strcasestr(head, name);
    return at != NULL && (size_t)(at - head) < len ? at + strlen(name) : NULL;
}

struct inbox_answer inbox_link_get(struct inbox_link *link, const char *path, const char *key)
{
    char request[REQUEST_MAX];
    int len = snprintf(request, sizeof(request),
        "GET %s HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\n\r\n", path, key);
    CHECK(len > 0 && (size_t)len < sizeof(request));
    link->len = 0;
    write_all(link, request, (size_t)len);
    size_t head = read_head(link);
    const char *length = header_of(link->bytes, head, "\r\ncontent-length:");
    const char *cache = header_of(link->bytes, head, "\r\nx-cache: ");
    struct inbox_answer answer = {
        .status = atoi(link->bytes + strlen("HTTP/1.1 ")),
        .hit = cache != NULL && strncmp(cache, "HIT", 3) == 0,
    };
    size_t body = length != NULL ? strtoul(length, NULL, 10) : 0;
    while (link->len < head + body) {
        read_some(link);
    }
    answer.body = bytes_of(link->bytes + head, body);
    return answer;
}

static void need(struct inbox_link *link, size_t len)
{
    while (link->len < len) {
        read_some(link);
    }
}

/* The payload of the next frame (RFC 6455 5.2), whole; it stays in front until it is used. */
static struct bytes read_frame(struct inbox_link *link)
{
    need(link, 2);
    unsigned first = (unsigned char)link->bytes[1];
    size_t head = first == LONG_LEN ? 10 : first == SHORT_LEN ? 4 : 2;
    need(link, head);
    size_t len = head == 2 ? first : 0;
    for (size_t i = 2; i < head; i++) {
        len = len << 8 | (unsigned char)link->bytes[i];
    }
    need(link, head + len);
    return bytes_of(link->bytes + head, len);
}

static void wait_for(struct inbox_link *link, const char *beginning)
{
    for (;;) {
        struct bytes frame = read_frame(link);
        bool found =
            frame.len >= strlen(beginning) && memcmp(frame.at, beginning, strlen(beginning)) == 0;
        use(link, (size_t)(frame.at - link->bytes) + frame.len);
        if (found) {
            return;
        }
    }
}

void inbox_link_upgrade(struct inbox_link *link, const char *token)
{
    char request[REQUEST_MAX];
    int len = snprintf(request, sizeof(request),
        "GET /ws HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: cGVhbC1iZW5jaC1wZWVycw==\r\n"
        "Sec-WebSocket-Protocol: peal.json.v1\r\nAuthorization: Bearer %s\r\n\r\n",
        token);
    CHECK(len > 0 && (size_t)len < sizeof(request));
    write_all(link, request, (size_t)len);
    size_t head = read_head(link);
    if (strncmp(link->bytes, "HTTP/1.1 101", strlen("HTTP/1.1 101")) != 0) {
        (void)fprintf(stderr, "bench_inbox: %.*s\n", (int)head, link->bytes);
        exit(1);
    }
    use(link, head);
    wait_for(link, "[[\"hub:ready\"");
}

void inbox_link_ask(struct inbox_link *link, const char *message, const char *answer)
{
    size_t len = strlen(message);
    CHECK(len <= FRAME_MAX);
    /* A mask of zeros leaves the payload as it is (RFC 6455 5.3). */
    char frame[FRAME_MAX + 6] = {(char)OPCODE_TEXT, (char)(0x80 | len)};
    memcpy(frame + 6, message, len);
    write_all(link, frame, len + 6);
    wait_for(link, answer);
}
