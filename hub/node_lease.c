/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order of this file: the address, claiming, renewing, giving back.
 */
#include "hub/node_lease.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "actors/bus.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/bus_name.h"
#include "hub/config.h"
#include "hub/crypto.h"
#include "hub/hub.h"
#include "hub/listener.h"
#include "hub/loop.h"
#include "hub/redis_sync.h"
#include "hub/redis_url.h"

enum {
    RENEWALS = 5, /* in a lifetime */
    TAG_TRIES = 64,
    MADE_SECRET_BYTES = 32,
    LIFETIME_TEXT = 21,
    VALUE_MAX = 128,
    HOST_MAX = 256,
};

/* 1: ours for another lifetime; 0: another node's. */
#define RENEW_SCRIPT                                                                               \
    "local at=redis.call('get',KEYS[1]) if at and at~=ARGV[1] then return 0 end "                  \
    "redis.call('set',KEYS[1],ARGV[1],'PX',ARGV[2]) return 1"
#define RELEASE_SCRIPT                                                                             \
    "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) else return 0 "   \
    "end"

struct lease_keeper {
    uv_timer_t timer;
    struct hub_shard *shard;
    struct bus_link *link;
    char key[BUS_NAME_MAX];
    char secret_key[BUS_NAME_MAX];
    char value[VALUE_MAX];
    char lifetime[LIFETIME_TEXT];
    bool asking;
    bool closing;
    bool released;
};

static void write_value(const struct hub *hub, char ret_value[VALUE_MAX])
{
    snprintf(ret_value, VALUE_MAX, "%s %s", hub->node, hub->lease->address);
}

static void write_lifetime(const struct hub *hub, char ret_text[LIFETIME_TEXT])
{
    snprintf(ret_text, LIFETIME_TEXT, "%llu", (unsigned long long)hub->config->cluster_lease_ms);
}

/* The address. */

/* The first address of a name (or of an address), as text in brackets where it is IPv6. */
static bool resolve(const char *host, char ret_text[INET6_ADDRSTRLEN + 2])
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *infos = NULL;
    char text[INET6_ADDRSTRLEN];
    if (getaddrinfo(host, NULL, &hints, &infos) != 0) {
        return false;
    }
    bool six = infos->ai_family == AF_INET6;
    bool good = getnameinfo(infos->ai_addr, infos->ai_addrlen, text, sizeof(text), NULL, 0,
                    NI_NUMERICHOST) == 0 &&
                strchr(text, '%') == NULL;
    freeaddrinfo(infos);
    snprintf(ret_text, INET6_ADDRSTRLEN + 2, six ? "[%s]" : "%s", good ? text : "");
    return good;
}

/* The address that this machine has towards `host`. */
static bool find_local(const struct redis_url *url, char ret_text[HOST_MAX])
{
    char port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM};
    struct addrinfo *infos = NULL;
    struct sockaddr_storage own = {0};
    socklen_t len = sizeof(own);
    snprintf(port, sizeof(port), "%u", url->port);
    if (getaddrinfo(url->host, port, &hints, &infos) != 0) {
        return false;
    }
    int fd = socket(infos->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool good =
        fd >= 0 && connect(fd, infos->ai_addr, infos->ai_addrlen) == 0 && /* no packet */
        getsockname(fd, (struct sockaddr *)&own, &len) == 0 &&
        getnameinfo((struct sockaddr *)&own, len, ret_text, HOST_MAX, NULL, 0, NI_NUMERICHOST) == 0;
    if (fd >= 0) {
        close(fd);
    }
    freeaddrinfo(infos);
    return good;
}

/* Split "host", "host:port" or "[address]:port"; what names no port leaves it. */
static bool split_advertised(const char *text, char ret_host[HOST_MAX], uint16_t *port)
{
    const char *end = text[0] == '[' ? strchr(text, ']') : strrchr(text, ':');
    bool brackets = text[0] == '[';
    if (brackets && end == NULL) {
        return false;
    }
    if (!brackets && end != NULL && strchr(text, ':') != end) {
        end = NULL; /* an IPv6 address without a port */
    }
    const char *rest = end == NULL ? "" : end + brackets;
    size_t len = end == NULL ? strlen(text) : (size_t)(end - text) - brackets;
    uint64_t number = *port;
    if (rest[0] != '\0' &&
        (rest[0] != ':' || bytes_to_u64(bytes_str(rest + 1), UINT16_MAX, &number) != 0 ||
            number == 0)) {
        return false;
    }
    snprintf(ret_host, HOST_MAX, "%.*s", (int)len, text + brackets);
    *port = (uint16_t)number;
    return len > 0;
}

static bool is_any(const char *host)
{
    return host[0] == '\0' || strcmp(host, "*") == 0 || strcmp(host, "0.0.0.0") == 0 ||
           strcmp(host, "::") == 0;
}

/* What the others are told: as configured, what is listened on, or the address towards Redis. */
static bool choose_host(const struct config *config, char ret_host[HOST_MAX], uint16_t *port)
{
    struct redis_url url;
    struct builder unused = {0};
    if (config->cluster_advertise[0] != '\0') {
        return split_advertised(config->cluster_advertise, ret_host, port);
    }
    if (!is_any(config->listen_cluster_host)) {
        snprintf(ret_host, HOST_MAX, "%s", config->listen_cluster_host);
        return true;
    }
    bool good = redis_url_parse(bytes_str(config->bus_url), &unused, &url) == 0;
    builder_reset(&unused);
    if (good && url.is_unix) {
        snprintf(ret_host, HOST_MAX, "127.0.0.1");
        return true;
    }
    return good && find_local(&url, ret_host);
}

static int make_address(struct hub *hub, struct builder *error)
{
    char host[HOST_MAX];
    char numeric[INET6_ADDRSTRLEN + 2];
    struct node_lease *lease = hub->lease;
    uint16_t port = lease->port;
    if (!choose_host(hub->config, host, &port) || !resolve(host, numeric)) {
        builder_str(error, "no address is known by which other nodes reach this one: "
                           "cluster.advertise must be a host, with or without a port");
        return STATUS_INVALID;
    }
    snprintf(lease->address, sizeof(lease->address), "%s:%u", numeric, port);
    return 0;
}

/* Claiming. */

struct reply {
    bool ok; /* a status, as to a SET that was carried out */
    struct builder text;
};

static void on_claim_reply(void *context, int status, const struct bus_reply *got)
{
    struct reply *reply = context;
    reply->ok = status == 0 && got->type == BUS_STATUS;
    builder_clear(&reply->text);
    if (status == 0 && got->type == BUS_STRING) {
        builder_add(&reply->text, got->text);
    }
}

/* A secret of the configuration, or the one that the first node has put into Redis. */
static int agree_on_secret(struct hub *hub, struct redis_sync *sync, struct builder *error)
{
    struct node_lease *lease = hub->lease;
    char key[BUS_NAME_MAX];
    uint8_t random[MADE_SECRET_BYTES];
    char made[2 * MADE_SECRET_BYTES + 1];
    struct reply reply = {0};
    if (hub->config->cluster_secret[0] != '\0') {
        snprintf(lease->secret, sizeof(lease->secret), "%s", hub->config->cluster_secret);
        return 0;
    }
    bus_name_secret(&hub->names, key);
    rand_secret(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++) {
        snprintf(made + 2 * i, 3, "%02x", random[i]);
    }
    const struct bytes set[] = {BYTES("SET"), bytes_str(key), bytes_str(made), BYTES("NX")};
    const struct bytes get[] = {BYTES("GET"), bytes_str(key)};
    redis_sync_send(sync, set, ARRAY_LEN(set), on_claim_reply, &reply);
    redis_sync_send(sync, get, ARRAY_LEN(get), on_claim_reply, &reply);
    redis_sync_wait(sync, 0);
    struct bytes text = builder_bytes(&reply.text);
    int status = text.len > 0 && text.len < sizeof(lease->secret) ? 0 : STATUS_UNAVAILABLE;
    if (status == 0) {
        memcpy(lease->secret, text.at, text.len);
    } else {
        builder_printf(error, "Redis gives no secret for the cluster (%s)", key);
    }
    crypto_wipe(made, sizeof(made));
    builder_reset(&reply.text);
    return status;
}

static int claim_tag(struct hub *hub, struct redis_sync *sync, struct builder *error)
{
    char key[BUS_NAME_MAX];
    char value[VALUE_MAX];
    char lifetime[LIFETIME_TEXT];
    struct reply reply = {0};
    write_value(hub, value);
    write_lifetime(hub, lifetime);
    for (unsigned i = 0; i < TAG_TRIES && !reply.ok; i++) {
        rand_secret(&hub->lease->tag, sizeof(hub->lease->tag));
        if (hub->lease->tag == 0) {
            continue;
        }
        bus_name_node(&hub->names, hub->lease->tag, key);
        const struct bytes argv[] = {BYTES("SET"), bytes_str(key), bytes_str(value), BYTES("NX"),
            BYTES("PX"), bytes_str(lifetime)};
        redis_sync_send(sync, argv, ARRAY_LEN(argv), on_claim_reply, &reply);
        redis_sync_wait(sync, 0);
    }
    builder_reset(&reply.text);
    if (!reply.ok) {
        builder_str(error, "Redis gives this node no lease");
        return STATUS_UNAVAILABLE;
    }
    return 0;
}

int node_lease_claim(struct hub *hub, struct builder *error)
{
    const struct config *config = hub->config;
    struct redis_sync *sync;
    if (config->bus_url[0] == '\0') {
        return 0;
    }
    hub->lease = mem_alloc(sizeof(*hub->lease));
    hub->lease->reserved = -1;
    struct listener_config options = {
        .host = config->listen_cluster_host,
        .port = (uint16_t)config->listen_cluster_port,
        .alone = true,
    };
    int status = listener_reserve(&options, &hub->lease->reserved, &hub->lease->port);
    if (status != 0) {
        builder_str(error, "the cluster listener cannot be opened");
        return status;
    }
    status = make_address(hub, error);
    if (status == 0) {
        status = redis_sync_open(config->bus_url, error, &sync);
    }
    if (status != 0) {
        return status;
    }
    status = agree_on_secret(hub, sync, error);
    if (status == 0) {
        status = claim_tag(hub, sync, error);
    }
    redis_sync_close(sync);
    return status;
}

void node_lease_destroy(struct node_lease *lease)
{
    if (lease != NULL) {
        if (lease->reserved >= 0) {
            close(lease->reserved);
        }
        crypto_wipe(lease->secret, sizeof(lease->secret));
        mem_free(lease);
    }
}

/* Renewing. */

static void on_renewed(void *context, int status, const struct bus_reply *reply)
{
    struct lease_keeper *keeper = context;
    keeper->asking = false;
    if (keeper->closing || status != 0 || reply->type != BUS_INTEGER || reply->integer == 1) {
        return; /* without Redis nobody else can claim it either */
    }
    log_error("LEASE-LOST", "another node has taken over the lease of this one, ending", "key=%s",
        keeper->key);
    kill(getpid(), SIGTERM);
}

/* When Redis has lost the secret that a node has made, those to come agree with those that run. */
static void put_secret_back(struct lease_keeper *keeper)
{
    const struct bytes argv[] = {BYTES("SET"), bytes_str(keeper->secret_key),
        bytes_str(keeper->shard->hub->lease->secret), BYTES("NX")};
    keeper->shard->shard.bus->ops->command(keeper->link, argv, ARRAY_LEN(argv), 0, NULL, NULL);
}

static void renew(struct lease_keeper *keeper)
{
    const struct hub *hub = keeper->shard->hub;
    if (hub->config->cluster_secret[0] == '\0') {
        put_secret_back(keeper);
    }
    const struct bytes argv[] = {BYTES("EVAL"), BYTES(RENEW_SCRIPT), BYTES("1"),
        bytes_str(keeper->key), bytes_str(keeper->value), bytes_str(keeper->lifetime)};
    keeper->asking = true;
    keeper->shard->shard.bus->ops->command(
        keeper->link, argv, ARRAY_LEN(argv), 0, on_renewed, keeper);
}

static void on_closed(uv_handle_t *handle)
{
    mem_free(container_of((uv_timer_t *)handle, struct lease_keeper, timer));
}

static void on_timer(uv_timer_t *timer)
{
    struct lease_keeper *keeper = container_of(timer, struct lease_keeper, timer);
    if (keeper->released) {
        keeper->shard->shard.bus->ops->close(keeper->link);
        uv_close((uv_handle_t *)timer, on_closed);
    } else if (!keeper->closing && !keeper->asking) {
        renew(keeper);
    }
}

void node_lease_start(struct hub_shard *shard)
{
    static const struct bus_events events = {0};
    const struct hub *hub = shard->hub;
    if (shard != &hub->shards[0] || hub->lease == NULL) {
        return;
    }
    struct lease_keeper *keeper = mem_alloc(sizeof(*keeper));
    uint64_t every = hub->config->cluster_lease_ms / RENEWALS;
    keeper->shard = shard;
    bus_name_node(&hub->names, hub->lease->tag, keeper->key);
    bus_name_secret(&hub->names, keeper->secret_key);
    write_value(hub, keeper->value);
    write_lifetime(hub, keeper->lifetime);
    keeper->link = shard->shard.bus->ops->open(shard->shard.bus, "peal-lease", &events, keeper);
    uv_timer_init(loop_uv(shard->loop), &keeper->timer);
    uv_timer_start(&keeper->timer, on_timer, every, every);
    shard->keeper = keeper;
}

/* Giving back. */

static void on_released(void *context, int status, const struct bus_reply *reply)
{
    struct lease_keeper *keeper = context;
    (void)status;
    (void)reply;
    keeper->released = true; /* or it runs out by itself */
}

void node_lease_stop(struct hub_shard *shard)
{
    struct lease_keeper *keeper = shard->keeper;
    if (keeper == NULL) {
        return;
    }
    shard->keeper = NULL;
    keeper->closing = true;
    const struct bytes argv[] = {BYTES("EVAL"), BYTES(RELEASE_SCRIPT), BYTES("1"),
        bytes_str(keeper->key), bytes_str(keeper->value)};
    shard->shard.bus->ops->command(keeper->link, argv, ARRAY_LEN(argv), 0, on_released, keeper);
    uv_timer_start(&keeper->timer, on_timer, 1, 1);
}
