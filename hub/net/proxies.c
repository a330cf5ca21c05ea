/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads networks and headers, and walks the hops from the right to the first that is not trusted.
 */
#include "hub/net/proxies.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/http1.h"
#include "codec/url.h"
#include "hub/net/network.h"

enum { PORT_MAX = 65535, NODE_MAX = 64 };

struct proxies {
    size_t count;
    struct network networks[];
};

/* --- the set --- */

static bool trusts(const struct proxies *proxies, const struct in6_addr *address)
{
    return network_has(proxies->networks, proxies->count, address);
}

int proxies_create(
    const struct bytes *networks, size_t count, struct builder *error, struct proxies **ret_proxies)
{
    struct proxies *proxies = mem_alloc(sizeof(*proxies) + count * sizeof(struct network));
    proxies->count = count;
    for (size_t i = 0; i < count; i++) {
        const char *fault = network_read(networks[i], &proxies->networks[i]);
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
    return proxies != NULL && network_read_peer(peer, &address) && trusts(proxies, &address);
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
    return (is_v6 || !host.is_bracketed) && network_read_address(host.name, ret_address);
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
    (void)network_read_peer(peer, &client);
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
