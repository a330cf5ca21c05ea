/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads networks and headers, and walks the hops from the right to the first that is not trusted.
 */
#include "hub/net/proxies.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/http1.h"
#include "codec/url.h"

enum { V4_BITS = 32, V6_BITS = 128, PORT_MAX = 65535, NODE_MAX = 64 };

/* IPv4 is mapped into IPv6: its prefix is 96 bits longer. */
struct network {
    struct in6_addr address;
    uint8_t prefix;
};

struct proxies {
    size_t count;
    struct network networks[];
};

/* --- addresses --- */

static void map_v4(struct in_addr from, struct in6_addr *ret_address)
{
    *ret_address = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
    memcpy(ret_address->s6_addr + 12, &from, sizeof(from));
}

/* An address without anything around it. */
static bool read_address(struct bytes text, struct in6_addr *ret_address)
{
    char at[INET6_ADDRSTRLEN];
    struct in_addr v4;
    if (text.len == 0 || text.len >= sizeof(at) || memchr(text.at, '\0', text.len) != NULL) {
        return false;
    }
    memcpy(at, text.at, text.len);
    at[text.len] = '\0';
    if (inet_pton(AF_INET, at, &v4) == 1) {
        map_v4(v4, ret_address);
        return true;
    }
    return inet_pton(AF_INET6, at, ret_address) == 1;
}

static bool read_peer(const struct sockaddr *peer, struct in6_addr *ret_address)
{
    if (peer->sa_family == AF_INET) {
        map_v4(((const struct sockaddr_in *)(const void *)peer)->sin_addr, ret_address);
        return true;
    }
    if (peer->sa_family == AF_INET6) {
        *ret_address = ((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr;
        return true;
    }
    return false;
}

static bool bits_equal(
    const struct in6_addr *a, const struct in6_addr *b, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        unsigned mask = 0x80u >> (i % 8);
        if (((a->s6_addr[i / 8] ^ b->s6_addr[i / 8]) & mask) != 0) {
            return false;
        }
    }
    return true;
}

static bool trusts(const struct proxies *proxies, const struct in6_addr *address)
{
    for (size_t i = 0; i < proxies->count; i++) {
        const struct network *network = &proxies->networks[i];
        if (bits_equal(address, &network->address, 0, network->prefix)) {
            return true;
        }
    }
    return false;
}

/* --- the set --- */

/* What is wrong with `text`; NULL when it is an address or a network. */
static const char *read_network(struct bytes text, struct network *ret_network)
{
    const char *slash = text.len > 0 ? memchr(text.at, '/', text.len) : NULL;
    struct bytes address = text;
    uint64_t prefix = V6_BITS;
    if (slash != NULL) {
        address.len = (size_t)(slash - text.at);
    }
    if (!read_address(address, &ret_network->address)) {
        return "allowed: an address such as 10.0.0.7 or ::1, or a network such as 10.0.0.0/8";
    }
    unsigned least = memchr(address.at, ':', address.len) == NULL ? V6_BITS - V4_BITS : 0;
    if (slash != NULL) {
        if (bytes_to_u64(bytes_skip(text, address.len + 1), V6_BITS - least, &prefix) != 0) {
            return "allowed behind the slash: 0 to 32 (IPv4), 0 to 128 (IPv6)";
        }
        prefix += least;
    }
    const struct in6_addr zero = IN6ADDR_ANY_INIT;
    if (!bits_equal(&ret_network->address, &zero, (unsigned)prefix, V6_BITS)) {
        return "the address has bits behind the prefix";
    }
    ret_network->prefix = (uint8_t)prefix;
    return NULL;
}

int proxies_create(
    const struct bytes *networks, size_t count, struct builder *error, struct proxies **ret_proxies)
{
    struct proxies *proxies = mem_alloc(sizeof(*proxies) + count * sizeof(struct network));
    proxies->count = count;
    for (size_t i = 0; i < count; i++) {
        const char *fault = read_network(networks[i], &proxies->networks[i]);
        if (fault != NULL) {
            builder_printf(error, "listen.trusted_proxies: \"%.*s\": %s",
                (int)(networks[i].len < NODE_MAX ? networks[i].len : NODE_MAX),
                networks[i].len > 0 ? networks[i].at : "", fault);
            proxies_destroy(proxies);
            return STATUS_INVALID;
        }
    }
    *ret_proxies = proxies;
    return 0;
}

void proxies_destroy(struct proxies *proxies)
{
    mem_free(proxies);
}

bool proxies_trust(const struct proxies *proxies, const struct sockaddr *peer)
{
    struct in6_addr address;
    return proxies != NULL && read_peer(peer, &address) && trusts(proxies, &address);
}

/* --- the headers --- */

/* Where the walk has come to: a client, or only trusted proxies since the last fault. */
struct walk {
    const struct proxies *proxies;
    bool found;
    struct in6_addr client;
};

/*
 * Take the next address, from left to right: what is not trusted is the client as far as this
 * proxy is concerned, what is trusted leaves the one before, and a fault hides all before it.
 */
static void take_hop(struct walk *walk, bool readable, const struct in6_addr *address)
{
    if (!readable) {
        walk->found = false;
    } else if (!walk->found || !trusts(walk->proxies, address)) {
        walk->found = true;
        walk->client = *address;
    }
}

/* A port of digits, or an obfuscated one of Forwarded. */
static bool is_port(struct bytes text)
{
    uint64_t port;
    return bytes_to_u64(text, PORT_MAX, &port) == 0 || (text.len > 1 && text.at[0] == '_');
}

/* `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]`, `[::1]:80`. */
static bool read_node(struct bytes text, struct in6_addr *ret_address)
{
    struct url_host host;
    if (url_split_host(text, &host) != 0 || (host.has_port && !is_port(host.port))) {
        return false;
    }
    bool is_v6 = host.name.len > 0 && memchr(host.name.at, ':', host.name.len) != NULL;
    return (is_v6 || !host.is_bracketed) && read_address(host.name, ret_address);
}

/* Take the next `name=value` off *pairs; false at the end. Semicolons in quotes do not count. */
static bool next_pair(struct bytes *pairs, struct bytes *ret_pair)
{
    if (pairs->at == NULL) {
        return false;
    }
    size_t len = 0;
    for (bool quoted = false; len < pairs->len && (quoted || pairs->at[len] != ';'); len++) {
        if (quoted && pairs->at[len] == '\\' && len + 1 < pairs->len) {
            len++;
        } else {
            quoted = quoted != (pairs->at[len] == '"');
        }
    }
    *ret_pair = bytes_of(pairs->at, len);
    *pairs = len < pairs->len ? bytes_skip(*pairs, len + 1) : bytes_of(NULL, 0);
    while (ret_pair->len > 0 && (ret_pair->at[0] == ' ' || ret_pair->at[0] == '\t')) {
        *ret_pair = bytes_skip(*ret_pair, 1);
    }
    while (ret_pair->len > 0 &&
           (ret_pair->at[ret_pair->len - 1] == ' ' || ret_pair->at[ret_pair->len - 1] == '\t')) {
        ret_pair->len--;
    }
    return true;
}

/* The `for` of one element of Forwarded (RFC 7239 section 4), which must have exactly one. */
static bool read_forwarded(struct bytes element, struct in6_addr *ret_address)
{
    struct bytes prefix = BYTES("for=");
    struct bytes pair;
    unsigned found = 0;
    bool readable = false;
    while (next_pair(&element, &pair)) {
        if (pair.len < prefix.len || !bytes_eq_nocase(bytes_of(pair.at, prefix.len), prefix)) {
            continue;
        }
        struct bytes node = bytes_skip(pair, prefix.len);
        if (node.len >= 2 && node.at[0] == '"' && node.at[node.len - 1] == '"') {
            node = bytes_of(node.at + 1, node.len - 2);
        }
        readable = read_node(node, ret_address);
        found++;
    }
    return found == 1 && readable;
}

/* Walk all headers of one name; false when there is none. */
static bool walk_headers(struct walk *walk, const struct http1_request *head, const char *name,
    bool (*read)(struct bytes element, struct in6_addr *ret_address))
{
    size_t cursor = 0;
    struct bytes list;
    bool there = false;
    while (http1_header_next(head, name, &cursor, &list)) {
        struct bytes element;
        there = true;
        while (http1_list_next(&list, &element)) {
            struct in6_addr address;
            bool readable = read(element, &address);
            take_hop(walk, readable, &address);
        }
    }
    return there;
}

void proxies_find_client(const struct proxies *proxies, const struct sockaddr *peer,
    const struct http1_request *head, struct sockaddr_in6 *ret_client)
{
    struct in6_addr client = IN6ADDR_ANY_INIT;
    struct walk plain = {.proxies = proxies};
    struct walk standard = {.proxies = proxies};
    (void)read_peer(peer, &client);
    bool has_plain = walk_headers(&plain, head, "X-Forwarded-For", read_node);
    bool has_standard = walk_headers(&standard, head, "Forwarded", read_forwarded);
    const struct walk *walk = has_plain ? &plain : &standard;
    bool disagree = has_plain && has_standard &&
                    (plain.found != standard.found ||
                        (plain.found && !IN6_ARE_ADDR_EQUAL(&plain.client, &standard.client)));
    if (walk->found && !disagree) {
        client = walk->client;
    }
    *ret_client = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = client};
}
