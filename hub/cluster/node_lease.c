/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key in Redis that says a node lives, with its address and versions.
 *
 * Order of this file: the address, claiming, renewing, giving back.
 */
#include "hub/cluster/node_lease.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "actors/bus.h"
#include "actors/lease.h"
#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/bus_name.h"
#include "codec/url.h"
#include "hub/config/config.h"
#include "hub/net/crypto.h"
#include "hub/net/listener.h"
#include "hub/redis/redis_sync.h"
#include "hub/redis/redis_target.h"

enum {
    RENEWALS = 5, /* in a lifetime */
    TAG_TRIES = 64,
    MADE_SECRET_BYTES = 32,
};

struct lease_keeper {
    struct lease lease;
    struct node_lease *owner;
    struct shard *shard;
    struct bus_link *link;
    char secret_key[BUS_NAME_MAX];
};

/* `key` is memory for what is returned. */
static struct lease_config describe(const struct node_lease *lease, char key[BUS_NAME_MAX])
{
    uint32_t ttl_ms = (uint32_t)lease->config->cluster_lease_ms;
    bus_name_node(lease->names, lease->tag, key);
    return (struct lease_config){
        .key = key,
        .holder = lease->node,
        .note = lease->address,
        .ttl_ms = ttl_ms,
        .renew_ms = ttl_ms / RENEWALS,
        .claim_ms = ttl_ms / RENEWALS,
        .held = true,
        .lasting = true,
    };
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

/* The address that this machine has towards `place`. */
static bool find_local(const struct redis_place *place, char ret_text[NODE_HOST_MAX])
{
    char port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM};
    struct addrinfo *infos = NULL;
    struct sockaddr_storage own = {0};
    socklen_t len = sizeof(own);
    snprintf(port, sizeof(port), "%u", place->port);
    if (getaddrinfo(place->host, port, &hints, &infos) != 0) {
        return false;
    }
    int fd = socket(infos->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && connect(fd, infos->ai_addr, infos->ai_addrlen) == 0 && /* no packet */
                getsockname(fd, (struct sockaddr *)&own, &len) == 0 &&
                getnameinfo((struct sockaddr *)&own, len, ret_text, NODE_HOST_MAX, NULL, 0,
                    NI_NUMERICHOST) == 0;
    if (fd >= 0) {
        close(fd);
    }
    freeaddrinfo(infos);
    return good;
}

/* What names no port leaves it. */
static bool split_advertised(const char *text, char ret_host[NODE_HOST_MAX], uint16_t *port)
{
    struct url_host host;
    if (url_split_host(bytes_str(text), &host) != 0 || host.name.len == 0 ||
        host.name.len >= NODE_HOST_MAX || url_port(&host, *port, port) != 0) {
        return false;
    }
    memcpy(ret_host, host.name.at, host.name.len);
    ret_host[host.name.len] = '\0';
    return true;
}

static bool is_any(const char *host)
{
    return host[0] == '\0' || strcmp(host, "*") == 0 || strcmp(host, "0.0.0.0") == 0 ||
           strcmp(host, "::") == 0;
}

/* The address towards Redis; this machine's own where that is a socket file. */
static bool find_redis_side(const struct node_lease *lease, char ret_host[NODE_HOST_MAX])
{
    const struct redis_place *place = &lease->redis->url.places[0];
    if (place->is_unix) {
        snprintf(ret_host, NODE_HOST_MAX, "127.0.0.1");
        return true;
    }
    return find_local(place, ret_host);
}

/* Where the cluster listener is bound: as configured, else only where other nodes must be able to
 * come from, since they have the same Redis. */
static int choose_bound(
    struct node_lease *lease, const struct config *config, struct builder *error)
{
    if (config->listen_cluster_host[0] != '\0') {
        snprintf(lease->host, sizeof(lease->host), "%s", config->listen_cluster_host);
        return 0;
    }
    if (!find_redis_side(lease, lease->host)) {
        builder_str(error, "no address is known that this machine has towards Redis: "
                           "listen.cluster_host must say where to listen for other nodes");
        return STATUS_INVALID;
    }
    return 0;
}

/* What the others are told: as configured, what is listened on, or the address towards Redis. */
static bool choose_host(
    const struct node_lease *lease, char ret_host[NODE_HOST_MAX], uint16_t *port)
{
    const struct config *config = lease->config;
    if (config->cluster_advertise[0] != '\0') {
        return split_advertised(config->cluster_advertise, ret_host, port);
    }
    if (is_any(lease->host)) {
        return find_redis_side(lease, ret_host);
    }
    snprintf(ret_host, NODE_HOST_MAX, "%s", lease->host);
    return true;
}

static int make_address(struct node_lease *lease, struct builder *error)
{
    char host[NODE_HOST_MAX];
    char numeric[INET6_ADDRSTRLEN + 2];
    uint16_t port = lease->port;
    if (!choose_host(lease, host, &port) || !resolve(host, numeric)) {
        builder_str(error, "no address is known by which other nodes reach this one: "
                           "cluster.advertise must be a host, with or without a port");
        return STATUS_INVALID;
    }
    snprintf(lease->address, sizeof(lease->address), "%s:%u", numeric, port);
    return 0;
}

/* Claiming. */

struct reply {
    struct builder text;
    struct builder fault; /* why there was none */
};

static void on_claim_reply(void *context, int status, const struct bus_reply *got)
{
    struct reply *reply = context;
    if (builder_bytes(&reply->fault).len == 0) { /* the first one counts */
        redis_sync_write_fault(status, got, &reply->fault);
    }
    builder_clear(&reply->text);
    if (status == 0 && got->type == BUS_STRING) {
        builder_add(&reply->text, got->text);
    }
}

/* A secret of the configuration, or the one that the first node has put into Redis. */
static int agree_on_secret(struct node_lease *lease, struct redis_sync *sync, struct builder *error)
{
    char key[BUS_NAME_MAX];
    uint8_t random[MADE_SECRET_BYTES];
    char made[2 * MADE_SECRET_BYTES + 1];
    struct reply reply = {0};
    if (lease->config->cluster_secret[0] != '\0') {
        snprintf(lease->secret, sizeof(lease->secret), "%s", lease->config->cluster_secret);
        return 0;
    }
    bus_name_secret(lease->names, key);
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
        builder_printf(error, "Redis gives no secret for the cluster (%s): ", key);
        builder_add(error, builder_bytes(&reply.fault));
    }
    crypto_wipe(made, sizeof(made));
    builder_reset(&reply.text);
    builder_reset(&reply.fault);
    return status;
}

/* What came of the last claim. */
struct claimed {
    bool won;
    struct builder fault;
};

static void on_claimed(void *context, int status, const struct bus_reply *reply)
{
    struct claimed *claimed = context;
    builder_clear(&claimed->fault);
    redis_sync_write_fault(status, reply, &claimed->fault);
    claimed->won = status == 0 && lease_is_granted(reply);
}

static int claim_tag(struct node_lease *lease, struct redis_sync *sync, struct builder *error)
{
    char key[BUS_NAME_MAX];
    struct lease_claim claim;
    struct claimed claimed = {0};
    for (unsigned i = 0; i < TAG_TRIES && !claimed.won; i++) {
        rand_secret(&lease->tag, sizeof(lease->tag));
        if (lease->tag == 0) {
            continue;
        }
        const struct lease_config config = describe(lease, key);
        lease_write_claim(&config, &claim);
        redis_sync_send(sync, claim.argv, ARRAY_LEN(claim.argv), on_claimed, &claimed);
        redis_sync_wait(sync, 0);
    }
    if (!claimed.won) {
        builder_str(error, "Redis gives this node no lease: ");
        builder_add(error, builder_bytes(&claimed.fault));
    }
    builder_reset(&claimed.fault);
    return claimed.won ? 0 : STATUS_UNAVAILABLE;
}

int node_lease_claim(
    const struct node_lease_options *claimed, struct builder *error, struct node_lease **ret_lease)
{
    struct redis_sync *sync;
    const struct config *config = claimed->config;
    if (config->bus_url[0] == '\0') {
        return 0;
    }
    struct node_lease *lease = mem_alloc(sizeof(*lease));
    *lease = (struct node_lease){.config = config,
        .redis = claimed->redis,
        .names = claimed->names,
        .node = claimed->node,
        .reserved = -1};
    *ret_lease = lease;
    int status = choose_bound(lease, config, error);
    if (status != 0) {
        return status;
    }
    struct listener_config options = {
        .host = lease->host,
        .port = (uint16_t)config->listen_cluster_port,
        .alone = true,
    };
    status = listener_reserve(&options, &lease->reserved, &lease->port);
    if (status != 0) {
        builder_str(error, "the cluster listener cannot be opened");
        return status;
    }
    status = make_address(lease, error);
    if (status == 0) {
        status = redis_sync_open(claimed->redis, error, &sync);
    }
    if (status != 0) {
        return status;
    }
    status = agree_on_secret(lease, sync, error);
    if (status == 0) {
        status = claim_tag(lease, sync, error);
    }
    lease->redis = NULL;
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

static void on_lost(void *context, enum lease_end why)
{
    const struct lease_keeper *keeper = context;
    log_error("LEASE-LOST", "another node has taken over the lease of this one, ending",
        "key=%s why=%s", keeper->lease.key, lease_end_text(why));
    kill(getpid(), SIGTERM);
}

/* A secret that was made by a node is put back when Redis has lost it, so that nodes to come agree
 * with those that run. */
static void on_renewed(void *context)
{
    struct lease_keeper *keeper = context;
    const struct node_lease *lease = keeper->owner;
    if (lease->config->cluster_secret[0] == '\0') {
        const struct bytes argv[] = {
            BYTES("SET"), bytes_str(keeper->secret_key), bytes_str(lease->secret), BYTES("NX")};
        keeper->shard->bus->ops->command(keeper->link, argv, ARRAY_LEN(argv), 0, NULL, NULL);
    }
}

void node_lease_start(struct node_lease *lease, struct shard *shard)
{
    static const struct bus_events no_events = {0};
    static const struct lease_events events = {.on_renewed = on_renewed, .on_lost = on_lost};
    struct bus *bus = shard->bus;
    char key[BUS_NAME_MAX];
    struct lease_keeper *keeper = mem_alloc(sizeof(*keeper));
    const struct lease_config config = describe(lease, key);
    keeper->owner = lease;
    keeper->shard = shard;
    bus_name_secret(lease->names, keeper->secret_key);
    keeper->link = bus->ops->open(bus, "peal-lease", &no_events, keeper);
    lease_start(&keeper->lease, shard, keeper->link, &config, &events, keeper);
    lease->keeper = keeper;
}

/* Giving back. */

static void on_released(void *context, int status, const struct bus_reply *reply)
{
    struct lease_keeper *keeper = context;
    (void)status;
    (void)reply; /* or it runs out by itself */
    keeper->shard->bus->ops->close(keeper->link);
    keeper->owner->keeper = NULL;
    mem_free(keeper);
}

void node_lease_stop(struct node_lease *lease)
{
    struct lease_keeper *keeper = lease->keeper;
    lease_stop(&keeper->lease);
    lease_release(&keeper->lease, on_released, keeper);
}
