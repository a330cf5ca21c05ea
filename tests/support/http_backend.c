/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that accepts, one for each connection, and getaddrinfo in front of the C library's.
 */
#include "tests/support/http_backend.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/base/check.h"
#include "codec/base/mem.h"

enum {
    REQUEST_MAX = 1 << 17,
    PIECE = 16384,
    CONNECTIONS_MAX = 256,
    LARGE = 2 << 20,
    TLS_HELLO = 0x16
};

static struct {
    int listener;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const char *text;
    char *last;
    bool released;
    bool stopping;
    unsigned connections;
    unsigned requests;
    unsigned held;
    unsigned lookups;
    int fds[CONNECTIONS_MAX];
    pthread_t threads[CONNECTIONS_MAX];
} backend = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static unsigned read_count(const unsigned *count)
{
    pthread_mutex_lock(&backend.lock);
    unsigned value = *count;
    pthread_mutex_unlock(&backend.lock);
    return value;
}

/* Wait, counted in `count`, until it is released or the backend stops. */
static void hold(unsigned *count)
{
    pthread_mutex_lock(&backend.lock);
    (*count)++;
    while (!backend.released && !backend.stopping) {
        pthread_cond_wait(&backend.changed, &backend.lock);
    }
    (*count)--;
    pthread_mutex_unlock(&backend.lock);
}

/* Names. */

typedef int (*getaddrinfo_fn)(
    const char *, const char *, const struct addrinfo *, struct addrinfo **);

static getaddrinfo_fn of_library(void)
{
    union {
        void *object;
        getaddrinfo_fn function;
    } found = {.object = dlsym(RTLD_NEXT, "getaddrinfo")};
    return found.function;
}

static const struct {
    const char *name;
    const char *addresses[2];
} names[] = {
    {"one.test", {"127.0.0.1"}},
    {"two.test", {"192.0.2.1", "127.0.0.1"}},
    {"inside.test", {"10.0.0.1", "169.254.169.254"}},
    {"none.test", {NULL}},
    {"slow.test", {"127.0.0.1"}},
};

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
    struct addrinfo **ret_found)
{
    getaddrinfo_fn real = of_library();
    struct addrinfo *found = NULL;
    struct addrinfo **end = &found;
    for (size_t i = 0; name != NULL && i < ARRAY_LEN(names); i++) {
        if (strcmp(name, names[i].name) != 0) {
            continue;
        }
        if (strcmp(name, "slow.test") == 0) {
            hold(&backend.lookups);
        }
        for (size_t j = 0; j < 2 && names[i].addresses[j] != NULL; j++) {
            CHECK(real(names[i].addresses[j], service, hints, end) == 0);
            end = &(*end)->ai_next;
        }
        *ret_found = found;
        return found != NULL ? 0 : EAI_NONAME;
    }
    return real(name, service, hints, ret_found);
}

/* Answers. */

static bool send_all(int fd, const char *at, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        at += sent;
        len -= (size_t)sent;
    }
    return true;
}

static bool send_text(int fd, const char *text)
{
    return send_all(fd, text, strlen(text));
}

static bool answer_with(int fd, const char *status, const char *text)
{
    char head[256];
    snprintf(
        head, sizeof(head), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n", status, strlen(text));
    return send_text(fd, head) && send_text(fd, text);
}

static bool send_without_end(int fd, const char *head, char fill, const char *line)
{
    static char piece[PIECE];
    pthread_mutex_lock(&backend.lock);
    if (fill != '\0') {
        memset(piece, fill, sizeof(piece));
    }
    pthread_mutex_unlock(&backend.lock);
    bool open = send_text(fd, head);
    while (open) {
        open = fill != '\0' ? send_all(fd, piece, sizeof(piece)) : send_text(fd, line);
    }
    return false;
}

/* Whether the connection goes on. */
static bool answer(int fd, const char *path, const char *body)
{
    if (strncmp(path, "/answer", 7) == 0) {
        pthread_mutex_lock(&backend.lock);
        const char *text = backend.text != NULL ? backend.text : body;
        pthread_mutex_unlock(&backend.lock);
        return answer_with(fd, "200 OK", text);
    }
    if (strcmp(path, "/held") == 0) {
        hold(&backend.held);
        return answer_with(fd, "200 OK", body);
    }
    if (strncmp(path, "/status/", 8) == 0) {
        return answer_with(fd, path + 8, "no");
    }
    if (strcmp(path, "/redirect") == 0) {
        return send_text(
            fd, "HTTP/1.1 302 Found\r\nLocation: /answer\r\nContent-Length: 0\r\n\r\n");
    }
    if (strcmp(path, "/endless") == 0) {
        return send_without_end(fd, "HTTP/1.1 200 OK\r\n\r\n", 'x', "");
    }
    if (strcmp(path, "/heads") == 0) {
        return send_without_end(fd, "HTTP/1.1 200 OK\r\n", '\0', "X-More: and more and more\r\n");
    }
    if (strcmp(path, "/large") == 0) {
        char head[64];
        snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", (int)LARGE);
        return send_text(fd, head);
    }
    if (strcmp(path, "/short") == 0) {
        (void)send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"allow\":true}");
        return false;
    }
    if (strcmp(path, "/reset") == 0) {
        const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
        (void)send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell");
        (void)connect(fd, &nobody, sizeof(nobody)); /* which sends a reset */
        return false;
    }
    if (strcmp(path, "/noise") == 0) {
        (void)send_text(fd, "{\"allow\":true}\r\n\r\n");
        return false;
    }
    if (strcmp(path, "/silent") == 0) {
        char at[1];
        return recv(fd, at, 1, 0) > 0; /* until it is closed */
    }
    return false; /* /hang-up */
}

/* Receive until `at` has a whole request; 0: it ended before. */
static size_t receive(int fd, char *at, size_t have)
{
    for (;;) {
        at[have] = '\0';
        const char *end = strstr(at, "\r\n\r\n");
        if (end != NULL) {
            const char *length = strcasestr(at, "\r\ncontent-length:");
            size_t body = length != NULL ? (size_t)strtoul(length + 17, NULL, 10) : 0;
            size_t whole = (size_t)(end - at) + 4 + body;
            if (have >= whole) {
                return whole;
            }
        }
        ssize_t got = recv(fd, at + have, REQUEST_MAX - 1 - have, 0);
        if (got <= 0 || at[0] == TLS_HELLO) {
            return 0;
        }
        have += (size_t)got;
    }
}

static void *serve(void *arg)
{
    int fd = *(int *)arg;
    char *at = mem_alloc(REQUEST_MAX);
    bool open = true;
    while (open) {
        char path[128];
        size_t whole = receive(fd, at, 0);
        if (whole == 0 || sscanf(at, "%*s %127s", path) != 1) {
            break;
        }
        pthread_mutex_lock(&backend.lock);
        backend.requests++;
        mem_free(backend.last);
        backend.last = mem_dup(at, whole);
        pthread_mutex_unlock(&backend.lock);
        for (char *c = path; *c != '\0'; c++) {
            *c = *c == '_' ? ' ' : *c;
        }
        open = answer(fd, path, strstr(at, "\r\n\r\n") + 4);
    }
    shutdown(fd, SHUT_RDWR);
    mem_free(at);
    return NULL;
}

static void *accept_all(void *arg)
{
    (void)arg;
    for (;;) {
        int fd = accept(backend.listener, NULL, NULL);
        if (fd < 0) {
            return NULL;
        }
        pthread_mutex_lock(&backend.lock);
        CHECK(backend.connections < CONNECTIONS_MAX);
        int *place = &backend.fds[backend.connections];
        *place = fd;
        CHECK(pthread_create(&backend.threads[backend.connections], NULL, serve, place) == 0);
        backend.connections++;
        pthread_mutex_unlock(&backend.lock);
    }
}

uint16_t http_backend_start(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    backend.listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(backend.listener, (struct sockaddr *)&address, len) == 0);
    CHECK(listen(backend.listener, 64) == 0);
    CHECK(getsockname(backend.listener, (struct sockaddr *)&address, &len) == 0);
    CHECK(pthread_create(&backend.thread, NULL, accept_all, NULL) == 0);
    return ntohs(address.sin_port);
}

void http_backend_stop(void)
{
    pthread_mutex_lock(&backend.lock);
    backend.stopping = true;
    pthread_cond_broadcast(&backend.changed);
    pthread_mutex_unlock(&backend.lock);
    shutdown(backend.listener, SHUT_RDWR);
    pthread_join(backend.thread, NULL);
    close(backend.listener);
    for (unsigned i = 0; i < backend.connections; i++) {
        shutdown(backend.fds[i], SHUT_RDWR);
        pthread_join(backend.threads[i], NULL);
        close(backend.fds[i]);
    }
    mem_free(backend.last);
    backend.last = NULL;
    backend.connections = 0;
    backend.stopping = false; /* it may be started again */
}

void http_backend_say(const char *text)
{
    pthread_mutex_lock(&backend.lock);
    backend.text = text;
    pthread_mutex_unlock(&backend.lock);
}

void http_backend_release(void)
{
    pthread_mutex_lock(&backend.lock);
    backend.released = true;
    pthread_cond_broadcast(&backend.changed);
    pthread_mutex_unlock(&backend.lock);
}

unsigned http_backend_connections(void)
{
    return read_count(&backend.connections);
}

unsigned http_backend_requests(void)
{
    return read_count(&backend.requests);
}

unsigned http_backend_held(void)
{
    return read_count(&backend.held);
}

unsigned http_backend_lookups(void)
{
    return read_count(&backend.lookups);
}

char *http_backend_last(void)
{
    pthread_mutex_lock(&backend.lock);
    const char *last = backend.last != NULL ? backend.last : "";
    char *copy = mem_dup(last, strlen(last));
    pthread_mutex_unlock(&backend.lock);
    return copy;
}
