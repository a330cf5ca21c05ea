/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Over libcurl's multi interface, whose sockets and timer are libuv's: its one home beside the
 * commands. Order of this file: URLs, what libcurl asks of us, requests, what libuv tells, life.
 *
 * libcurl resolves names on threads of its own (AsynchDNS, which Debian's build has); one that is
 * given up meanwhile is left to its thread (CURLOPT_QUICK_EXIT), where libcurl would wait for it.
 * It is never called while it calls us: ends are taken from its list afterwards.
 */
#include "hub/net/outgoing.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

#include "actors/shard.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/net/loop.h"
#include "hub/net/network.h"
#include "hub/net/outgoing_guard.h"

enum {
    HEAD_MAX = 65536, /* of all heads of an answer: 1xx, and trailers too */
    CONNECTIONS_MAX = 256, /* of a shard, open at a time */
    CONNECTIONS_KEPT = 64,
    IDLE_S = 60, /* a connection is not used again after that */
    LIFE_S = 300, /* nor after that, however much it is used: names and certificates change */
    NAMES_S = 30 /* an address is not looked up again before; so is a file of certificates */
};

struct outgoing {
    struct loop *loop;
    struct sched *sched;
    const struct outgoing_guard *guard;
    const char *ca;
    CURLM *multi; /* NULL: nothing was asked yet, or it is closed */
    uv_timer_t timer; /* libcurl's; with `multi` */
    struct list requests; /* outgoing_request.all */
    struct list watches; /* watch.link */
    uint64_t handles; /* of libuv that are not closed yet */
    bool closed;
    struct outgoing_stats stats;
};

/* A socket of libcurl's. */
struct watch {
    uv_poll_t poll; /* first */
    struct list link; /* outgoing.watches */
    struct outgoing *outgoing;
    curl_socket_t fd;
};

const char *outgoing_end_text(enum outgoing_end end)
{
    static const char *const texts[OUTGOING_END_COUNT] = {
        [OUTGOING_ANSWERED] = "answered",
        [OUTGOING_NO_HOST] = "the host has no address",
        [OUTGOING_FORBIDDEN] = "the address is not public, and outgoing.allow does not list it",
        [OUTGOING_NO_CONNECTION] = "no connection",
        [OUTGOING_NO_TRUST] = "the certificate is not trusted, or there is no TLS",
        [OUTGOING_TIMEOUT] = "no answer in time",
        [OUTGOING_TOO_LARGE] = "the answer is too large",
        [OUTGOING_BROKEN] = "the answer is no HTTP, or was cut",
        [OUTGOING_CLOSED] = "the node ends",
    };
    return texts[end];
}

/* URLs. */

static bool has_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    bool has = curl_url_get(url, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return has;
}

/* What is wrong with the URL that `target` has; NULL: nothing. `*ret_listed`: its host is. */
static const char *judge(const struct outgoing_guard *guard, CURLU *target, bool *ret_listed)
{
    char *scheme = NULL;
    char *host = NULL;
    const char *fault = NULL;
    if (curl_url_get(target, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(target, CURLUPART_HOST, &host, 0) != CURLUE_OK || host[0] == '\0' ||
        (strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0)) {
        fault = "allowed: https://host[:port][/path]";
    } else if (has_part(target, CURLUPART_USER) || has_part(target, CURLUPART_PASSWORD) ||
               has_part(target, CURLUPART_FRAGMENT)) {
        fault = "it has a user or a fragment; allowed: https://host[:port][/path]";
    } else {
        *ret_listed = outgoing_guard_lists(guard, bytes_str(host));
        fault = strcmp(scheme, "http") == 0 && !*ret_listed
                    ? "http is for hosts that outgoing.allow lists; allowed: https"
                    : NULL;
    }
    curl_free(scheme);
    curl_free(host);
    return fault;
}

const char *outgoing_url_fault(const struct outgoing_guard *guard, const char *url)
{
    bool listed;
    CURLU *target = curl_url();
    const char *fault = "there is no memory";
    if (target != NULL) {
        CURLUcode code = curl_url_set(target, CURLUPART_URL, url, 0);
        fault = code != CURLUE_OK ? curl_url_strerror(code) : judge(guard, target, &listed);
    }
    curl_url_cleanup(target);
    return fault;
}

/* What libcurl asks of us. */

/* CURLOPT_OPENSOCKETFUNCTION: the address is the one that will be connected to. */
static curl_socket_t on_open(void *user, curlsocktype purpose, struct curl_sockaddr *target)
{
    struct outgoing_request *request = user;
    struct in6_addr address;
    (void)purpose;
    if (!network_read_peer(&target->addr, &address) ||
        !outgoing_guard_allows(request->outgoing->guard, &address, request->listed)) {
        request->forbidden = true;
        return CURL_SOCKET_BAD;
    }
    return socket(
        target->family, target->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, target->protocol);
}

/* CURLOPT_PREREQFUNCTION: a connection that was kept may be older than the guard. */
static int on_connected(void *user, char *peer, char *own, int peer_port, int own_port)
{
    struct outgoing_request *request = user;
    struct in6_addr address;
    (void)own;
    (void)peer_port;
    (void)own_port;
    if (network_read_address(bytes_str(peer), &address) &&
        outgoing_guard_allows(request->outgoing->guard, &address, request->listed)) {
        return CURL_PREREQFUNC_OK;
    }
    request->forbidden = true;
    return CURL_PREREQFUNC_ABORT;
}

/* CURLOPT_HEADERFUNCTION. */
static size_t on_head(char *at, size_t size, size_t count, void *user)
{
    struct outgoing_request *request = user;
    (void)at;
    request->head_bytes += (uint32_t)(size * count);
    request->too_large = request->head_bytes > HEAD_MAX;
    return request->too_large ? 0 : size * count;
}

/* CURLOPT_WRITEFUNCTION. */
static size_t on_body(char *at, size_t size, size_t count, void *user)
{
    struct outgoing_request *request = user;
    builder_add(&request->answer, bytes_of(at, size * count));
    request->too_large = builder_failed(&request->answer);
    return request->too_large ? 0 : size * count;
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct watch *watch = (struct watch *)(void *)handle;
    watch->outgoing->handles--;
    mem_free(watch);
}

static void close_watch(struct watch *watch)
{
    list_remove(&watch->link);
    uv_close((uv_handle_t *)&watch->poll, on_poll_closed);
}

static void on_ready(uv_poll_t *poll, int status, int events);

static struct watch *open_watch(struct outgoing *outgoing, curl_socket_t fd)
{
    struct watch *watch = mem_alloc(sizeof(*watch));
    if (uv_poll_init_socket(loop_uv(outgoing->loop), &watch->poll, fd) != 0) {
        mem_free(watch);
        return NULL;
    }
    watch->outgoing = outgoing;
    watch->fd = fd;
    list_append(&outgoing->watches, &watch->link);
    outgoing->handles++;
    return watch;
}

/* CURLMOPT_SOCKETFUNCTION. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *of_socket)
{
    struct outgoing *outgoing = user;
    struct watch *watch = of_socket;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (watch != NULL) {
            close_watch(watch);
            curl_multi_assign(outgoing->multi, fd, NULL);
        }
        return 0;
    }
    if (watch == NULL) {
        watch = open_watch(outgoing, fd);
        if (watch == NULL) {
            return -1;
        }
        curl_multi_assign(outgoing->multi, fd, watch);
    }
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    return uv_poll_start(&watch->poll, events, on_ready) == 0 ? 0 : -1;
}

static void on_due(uv_timer_t *timer);

/* CURLMOPT_TIMERFUNCTION. */
static int on_timer_wanted(CURLM *multi, long timeout_ms, void *user)
{
    struct outgoing *outgoing = user;
    (void)multi;
    if (timeout_ms < 0) {
        uv_timer_stop(&outgoing->timer);
    } else {
        uv_timer_start(&outgoing->timer, on_due, (uint64_t)timeout_ms, 0);
    }
    return 0;
}

/* Requests. */

static void on_late(struct timer *timer);

/* Take it out of everything it is in. */
static void detach(struct outgoing_request *request)
{
    struct outgoing *outgoing = request->outgoing;
    timer_cancel(sched_timers(outgoing->sched), &request->timer);
    list_remove(&request->all);
    if (request->easy != NULL) {
        curl_multi_remove_handle(outgoing->multi, request->easy);
        curl_easy_cleanup(request->easy);
        request->easy = NULL;
        request->endpoint->under_way--;
        outgoing->stats.under_way--;
    } else {
        list_remove(&request->link);
        request->endpoint->waiting_count--;
        outgoing->stats.waiting--;
    }
    curl_slist_free_all(request->lines);
    curl_url_cleanup(request->target);
    request->lines = NULL;
    request->target = NULL;
}

static void count_end(struct outgoing_stats *stats, enum outgoing_end end)
{
    stats->forbidden += end == OUTGOING_FORBIDDEN;
    stats->timeouts += end == OUTGOING_TIMEOUT;
    stats->failed += end != OUTGOING_FORBIDDEN && end != OUTGOING_TIMEOUT &&
                     end != OUTGOING_ANSWERED && end != OUTGOING_CLOSED;
}

static bool start(struct outgoing_request *request);
static void start_waiting(struct outgoing *outgoing, struct outgoing_endpoint *endpoint);

static void end_request(struct outgoing_request *request, enum outgoing_end end)
{
    struct outgoing *outgoing = request->outgoing;
    long status = 0;
    curl_off_t wait_s = 0;
    if (request->easy != NULL && end == OUTGOING_ANSWERED) {
        curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(request->easy, CURLINFO_RETRY_AFTER, &wait_s);
    }
    detach(request);
    count_end(&outgoing->stats, end);
    request->status = (unsigned)status;
    request->retry_after_s = wait_s > 0 ? (uint64_t)wait_s : 0;
    request->end = end;
    start_waiting(outgoing, request->endpoint);
    request->done(request);
}

/* Those that wait begin, as far as there are places. */
static void start_waiting(struct outgoing *outgoing, struct outgoing_endpoint *endpoint)
{
    while (!outgoing->closed && endpoint->waiting_count > 0 &&
           endpoint->under_way < endpoint->under_way_max) {
        struct outgoing_request *next =
            container_of(endpoint->waiting.next, struct outgoing_request, link);
        if (!start(next)) {
            end_request(next, OUTGOING_NO_CONNECTION);
            return; /* which has gone on with the others */
        }
        list_remove(&next->link);
        endpoint->waiting_count--;
        outgoing->stats.waiting--;
    }
}

static enum outgoing_end end_of(const struct outgoing_request *request, CURLcode code)
{
    if (request->too_large) {
        return OUTGOING_TOO_LARGE;
    }
    if (request->forbidden &&
        (code == CURLE_COULDNT_CONNECT || code == CURLE_ABORTED_BY_CALLBACK)) {
        return OUTGOING_FORBIDDEN;
    }
    switch ((int)code) {
    case CURLE_OK:
        return OUTGOING_ANSWERED;
    case CURLE_COULDNT_RESOLVE_HOST:
        return OUTGOING_NO_HOST;
    case CURLE_COULDNT_CONNECT:
        return OUTGOING_NO_CONNECTION;
    case CURLE_OPERATION_TIMEDOUT:
        return OUTGOING_TIMEOUT;
    case CURLE_FILESIZE_EXCEEDED:
        return OUTGOING_TOO_LARGE;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
        return OUTGOING_NO_TRUST;
    default:
        return OUTGOING_BROKEN;
    }
}

/* The header lines; false: no memory. */
static bool make_lines(struct outgoing_request *request)
{
    struct curl_slist *lines = curl_slist_append(NULL, "Expect:"); /* nothing is waited for */
    for (size_t i = 0; i < request->header_count && lines != NULL; i++) {
        struct curl_slist *more = curl_slist_append(lines, request->headers[i]);
        if (more == NULL) {
            curl_slist_free_all(lines);
        }
        lines = more;
    }
    request->lines = lines;
    return lines != NULL;
}

/* What holds for all requests. */
static void set_bounds(CURL *easy, const struct outgoing_request *request)
{
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)IDLE_S);
    curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, (long)NAMES_S);
    curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, (long)NAMES_S); /* a file that was replaced */
    curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, (long)LIFE_S);
    if (curl_version_info(CURLVERSION_NOW)->cainfo != NULL) {
        /* With a folder libcurl keeps no certificates, and reads all of them (24 ms) each time. */
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
    curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)request->answer_max);
    if (request->outgoing->ca != NULL && request->outgoing->ca[0] != '\0') {
        curl_easy_setopt(easy, CURLOPT_CAINFO, request->outgoing->ca);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
}

static void set_request(CURL *easy, struct outgoing_request *request)
{
    struct bytes body = request->body;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, request);
    curl_easy_setopt(easy, CURLOPT_CURLU, request->target);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, request->lines);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "Peal");
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.len > 0 ? body.at : "");
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
    if (request->method != NULL) {
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    }
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, request);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_connected);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, request);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, request);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, request);
}

/* Give it to libcurl; false: no memory. */
static bool start(struct outgoing_request *request)
{
    CURL *easy = curl_easy_init();
    if (easy == NULL || !make_lines(request)) {
        curl_easy_cleanup(easy);
        return false;
    }
    set_bounds(easy, request);
    set_request(easy, request);
    if (curl_multi_add_handle(request->outgoing->multi, easy) != CURLM_OK) {
        curl_easy_cleanup(easy);
        return false;
    }
    request->easy = easy;
    request->sent = true;
    request->sent_ms = sched_now(request->outgoing->sched);
    request->endpoint->under_way++;
    request->outgoing->stats.under_way++;
    return true;
}

/* Read the URL, and look at it. */
static int aim(struct outgoing_request *request)
{
    request->target = curl_url();
    if (request->target == NULL) {
        return STATUS_NOMEM;
    }
    if (curl_url_set(request->target, CURLUPART_URL, request->url, 0) != CURLUE_OK ||
        judge(request->outgoing->guard, request->target, &request->listed) != NULL) {
        return STATUS_DENIED;
    }
    return 0;
}

static int open_multi(struct outgoing *outgoing)
{
    if (outgoing->multi != NULL) {
        return 0;
    }
    if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK) { /* counted, and safe on threads */
        outgoing->multi = curl_multi_init();
    }
    if (outgoing->multi == NULL) {
        return STATUS_NOMEM;
    }
    uv_timer_init(loop_uv(outgoing->loop), &outgoing->timer);
    outgoing->handles++;
    curl_multi_setopt(outgoing->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(outgoing->multi, CURLMOPT_SOCKETDATA, outgoing);
    curl_multi_setopt(outgoing->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
    curl_multi_setopt(outgoing->multi, CURLMOPT_TIMERDATA, outgoing);
    curl_multi_setopt(outgoing->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT);
    curl_multi_setopt(outgoing->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)CONNECTIONS_MAX);
    return 0;
}

/* A place for it: 0 under way, STATUS_AGAIN waiting; or STATUS_FULL, STATUS_NOMEM. */
static int place(struct outgoing_request *request)
{
    struct outgoing_endpoint *endpoint = request->endpoint;
    if (endpoint->waiting.next == NULL) {
        list_init(&endpoint->waiting);
    }
    if (endpoint->under_way < endpoint->under_way_max) {
        return start(request) ? 0 : STATUS_NOMEM;
    }
    if (endpoint->waiting_count >= endpoint->waiting_max) {
        request->outgoing->stats.refused++;
        return STATUS_FULL;
    }
    list_append(&endpoint->waiting, &request->link);
    endpoint->waiting_count++;
    request->outgoing->stats.waiting++;
    return STATUS_AGAIN;
}

int outgoing_begin(struct outgoing *outgoing, struct outgoing_request *request)
{
    if (outgoing->closed) {
        return STATUS_CLOSED;
    }
    request->outgoing = outgoing;
    request->answer.max = request->answer_max;
    list_init(&request->link);
    list_init(&request->all);
    timer_init(&request->timer, on_late);
    int status = open_multi(outgoing);
    status = status != 0 ? status : aim(request);
    status = status != 0 ? status : place(request);
    if (status != 0 && status != STATUS_AGAIN) {
        curl_slist_free_all(request->lines);
        curl_url_cleanup(request->target);
        return status;
    }
    outgoing->stats.requests++;
    list_append(&outgoing->requests, &request->all);
    timer_set(sched_timers(outgoing->sched), &request->timer,
        sched_now(outgoing->sched) + request->timeout_ms);
    return 0;
}

/* The time of everything together is over. */
static void on_late(struct timer *timer)
{
    struct outgoing_request *request = container_of(timer, struct outgoing_request, timer);
    uint64_t had = sched_now(request->outgoing->sched) - request->sent_ms;
    request->sent = request->sent && 2 * had >= request->timeout_ms;
    end_request(request, OUTGOING_TIMEOUT);
}

/* What libuv tells. */

static void take_ended(struct outgoing *outgoing)
{
    int left;
    const CURLMsg *message;
    while (outgoing->multi != NULL &&
           (message = curl_multi_info_read(outgoing->multi, &left)) != NULL) {
        struct outgoing_request *request = NULL;
        if (message->msg == CURLMSG_DONE) {
            CURLcode code = message->data.result; /* the message goes with its handle */
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &request);
            end_request(request, end_of(request, code));
        }
    }
}

static void act(struct outgoing *outgoing, curl_socket_t fd, int events)
{
    int running;
    loop_begin(outgoing->loop);
    if (outgoing->multi != NULL) {
        curl_multi_socket_action(outgoing->multi, fd, events, &running);
        take_ended(outgoing);
    }
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    const struct watch *watch = (const struct watch *)(const void *)poll;
    /* What came before an error is still to be read; libcurl meets the error itself. */
    int what = status < 0 ? CURL_CSELECT_IN | CURL_CSELECT_OUT
                          : (events & UV_READABLE ? CURL_CSELECT_IN : 0) |
                                (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0);
    act(watch->outgoing, watch->fd, what);
    if (status < 0 && !uv_is_closing((uv_handle_t *)poll)) { /* libuv has stopped it */
        (void)uv_poll_start(poll, UV_READABLE | UV_WRITABLE, on_ready);
    }
}

static void on_due(uv_timer_t *timer)
{
    act(container_of(timer, struct outgoing, timer), CURL_SOCKET_TIMEOUT, 0);
}

/* Life. */

struct outgoing *outgoing_open(struct loop *loop)
{
    struct outgoing *outgoing = mem_alloc(sizeof(*outgoing));
    outgoing->loop = loop;
    outgoing->sched = loop_shard(loop)->sched;
    list_init(&outgoing->requests);
    list_init(&outgoing->watches);
    return outgoing;
}

static void on_timer_closed(uv_handle_t *handle)
{
    container_of((uv_timer_t *)(void *)handle, struct outgoing, timer)->handles--;
}

void outgoing_close(struct outgoing *outgoing)
{
    outgoing->closed = true;
    while (!list_empty(&outgoing->requests)) {
        end_request(
            container_of(outgoing->requests.next, struct outgoing_request, all), OUTGOING_CLOSED);
    }
    if (outgoing->multi != NULL) {
        curl_multi_cleanup(outgoing->multi); /* which tells of its sockets once more */
        outgoing->multi = NULL;
        uv_close((uv_handle_t *)&outgoing->timer, on_timer_closed);
        list_for_each_safe (link, next, &outgoing->watches) {
            close_watch(container_of(link, struct watch, link));
        }
    }
}

uint64_t outgoing_count_open(const struct outgoing *outgoing)
{
    return outgoing->handles + !outgoing->closed;
}

void outgoing_destroy(struct outgoing *outgoing)
{
    mem_free(outgoing);
}

void outgoing_set(struct outgoing *outgoing, const struct outgoing_guard *guard, const char *ca)
{
    outgoing->guard = guard;
    outgoing->ca = ca;
}

const struct outgoing_stats *outgoing_get_stats(const struct outgoing *outgoing)
{
    return &outgoing->stats;
}
