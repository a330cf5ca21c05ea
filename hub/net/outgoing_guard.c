/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compares addresses with the registries of special ones (RFC 6890 and those behind it), and with
 * what the operator lists.
 */
#include "hub/net/outgoing_guard.h"

#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/net/network.h"

enum { SHOWN_MAX = 100 };

/* Not public, of what else would be. */
static const char *const special[] = {
    "0.0.0.0/8", /* this network */
    "10.0.0.0/8", /* private */
    "100.64.0.0/10", /* shared by customers of a carrier (RFC 6598) */
    "127.0.0.0/8", /* loopback */
    "169.254.0.0/16", /* link-local: metadata of clouds, too */
    "172.16.0.0/12", /* private */
    "192.0.0.0/24", /* protocol assignments */
    "192.0.2.0/24", /* documentation */
    "192.88.99.0/24", /* relays of 6to4 */
    "192.168.0.0/16", /* private */
    "198.18.0.0/15", /* benchmarks */
    "198.51.100.0/24", /* documentation */
    "203.0.113.0/24", /* documentation */
    "224.0.0.0/4", /* multicast */
    "240.0.0.0/4", /* reserved, and broadcast */
    "2001::/23", /* protocol assignments: Teredo among them */
    "2001:db8::/32", /* documentation */
    "2002::/16", /* 6to4: IPv4 in IPv6 */
    "3fff::/20", /* documentation */
};

/* Public where it is none of the above. */
static const char *const global[] = {"0.0.0.0/0", "2000::/3"};

struct outgoing_guard {
    struct network special[ARRAY_LEN(special)];
    struct network global[ARRAY_LEN(global)];
    struct network *networks; /* listed */
    size_t network_count;
    struct builder names; /* listed, each behind a NUL and before one, in lower case */
};

static void fill(struct network *networks, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        CHECK(network_read(bytes_str(texts[i]), &networks[i]) == NULL);
    }
}

/* A name of a host has letters, digits, '-' and '.', and more than digits and dots. */
static bool is_name(struct bytes text)
{
    bool has_letter = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        has_letter = has_letter || letter;
        if (!letter && !(c >= '0' && c <= '9') && c != '-' && c != '.') {
            return false;
        }
    }
    return has_letter && text.at[0] != '.' && text.at[0] != '-';
}

/* Append a name between NULs, in lower case, without a dot at its end. */
static void add_name(struct builder *names, struct bytes name)
{
    while (name.len > 0 && name.at[name.len - 1] == '.') {
        name.len--;
    }
    builder_byte(names, '\0');
    for (size_t i = 0; i < name.len; i++) {
        char c = name.at[i];
        builder_byte(names, c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c);
    }
    builder_byte(names, '\0');
}

static int add(struct outgoing_guard *guard, struct bytes text, struct builder *error)
{
    const char *fault = network_read(text, &guard->networks[guard->network_count]);
    if (fault == NULL) {
        guard->network_count++;
        return 0;
    }
    if (is_name(text)) {
        add_name(&guard->names, text);
        return 0;
    }
    builder_printf(error, "outgoing.allow: \"%.*s\": %s",
        (int)(text.len < SHOWN_MAX ? text.len : SHOWN_MAX), text.len > 0 ? text.at : "",
        text.len > 0 &&
                (memchr(text.at, '/', text.len) != NULL || memchr(text.at, ':', text.len) != NULL)
            ? fault
            : "allowed: an address, a network, or the name of a host");
    return STATUS_INVALID;
}

int outgoing_guard_create(const struct bytes *allowed, size_t count, struct builder *error,
    struct outgoing_guard **ret_guard)
{
    struct outgoing_guard *guard = mem_alloc(sizeof(*guard));
    fill(guard->special, special, ARRAY_LEN(special));
    fill(guard->global, global, ARRAY_LEN(global));
    guard->networks = mem_alloc_array(count + 1, sizeof(*guard->networks));
    for (size_t i = 0; i < count; i++) {
        int status = add(guard, allowed[i], error);
        if (status != 0) {
            outgoing_guard_destroy(guard);
            return status;
        }
    }
    *ret_guard = guard;
    return 0;
}

void outgoing_guard_destroy(struct outgoing_guard *guard)
{
    if (guard != NULL) {
        builder_reset(&guard->names);
        mem_free(guard->networks);
        mem_free(guard);
    }
}

static bool has_name(const struct outgoing_guard *guard, struct bytes host)
{
    struct builder wanted = {0};
    struct bytes names = builder_bytes(&guard->names);
    if (host.len == 0 || names.len == 0) {
        return false;
    }
    add_name(&wanted, host);
    struct bytes text = builder_bytes(&wanted);
    bool found = text.len > 2 && memmem(names.at, names.len, text.at, text.len) != NULL;
    builder_reset(&wanted);
    return found;
}

bool outgoing_guard_lists(const struct outgoing_guard *guard, struct bytes host)
{
    struct in6_addr address;
    struct bytes bare = host;
    if (host.len > 2 && host.at[0] == '[' && host.at[host.len - 1] == ']') {
        bare = bytes_of(host.at + 1, host.len - 2);
    }
    if (network_read_address(bare, &address)) {
        return network_has(guard->networks, guard->network_count, &address);
    }
    return has_name(guard, host);
}

bool outgoing_guard_allows(
    const struct outgoing_guard *guard, const struct in6_addr *address, bool listed)
{
    return listed || network_has(guard->networks, guard->network_count, address) ||
           (network_has(guard->global, ARRAY_LEN(global), address) &&
               !network_has(guard->special, ARRAY_LEN(special), address));
}
