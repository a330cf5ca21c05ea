/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the list of origins and compares the header with it, scheme, host and port.
 */
#include "hub/net/origin.h"

#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/url.h"

struct origin_list {
    bool any;
    size_t count;
    struct bytes origins[];
};

static int refuse(struct builder *error, struct bytes origin, const char *why)
{
    int len = origin.len < 200 ? (int)origin.len : 200;
    builder_printf(error, "origin \"%.*s\": %s", len, len > 0 ? origin.at : "", why);
    return STATUS_INVALID;
}

static bool is_label_byte(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '-';
}

/* A host name (labels of letters, digits, '-', '_') or an address in brackets; lower case. */
static bool is_host(const struct url_host *split)
{
    struct bytes host = split->name;
    if (split->is_bracketed) {
        for (size_t i = 0; i < host.len; i++) {
            if (memchr("0123456789abcdef:.", host.at[i], 18) == NULL) {
                return false;
            }
        }
        return host.len > 0;
    }
    bool label_began = false;
    for (size_t i = 0; i < host.len; i++) {
        if (host.at[i] == '.' && !label_began) {
            return false;
        }
        if (host.at[i] != '.' && host.at[i] != '_' && !is_label_byte(host.at[i])) {
            return false;
        }
        label_began = host.at[i] != '.';
    }
    return label_began;
}

/* Scheme of RFC 3986 3.1, in lower case. */
static bool is_scheme(struct bytes scheme)
{
    for (size_t i = 0; i < scheme.len; i++) {
        bool letter = scheme.at[i] >= 'a' && scheme.at[i] <= 'z';
        bool later = i > 0 && (is_label_byte(scheme.at[i]) || memchr("+.", scheme.at[i], 2));
        if (!letter && !later) {
            return false;
        }
    }
    return scheme.len > 0;
}

const char *origin_fault(struct bytes origin)
{
    struct url url;
    struct url_host host;
    uint16_t port = 0;
    if (bytes_eq(origin, BYTES("*"))) {
        return NULL;
    }
    if (url_split(origin, &url) != 0) {
        return "must be scheme://host or scheme://host:port, or *";
    }
    bool whole = !url.has_userinfo && url.path.len == 0 && !url.has_query && !url.has_fragment;
    if (!whole || !is_scheme(url.scheme) || url_split_host(url.host, &host) != 0 ||
        !is_host(&host)) {
        return "only scheme, host in lower case and port, nothing behind";
    }
    if (url_port(&host, 0, &port) != 0) {
        return "the port must be a number from 1 to 65535";
    }
    bool standard = (port == 80 && bytes_eq_str(url.scheme, "http")) ||
                    (port == 443 && bytes_eq_str(url.scheme, "https"));
    return standard ? "browsers leave the standard port away: leave it away here too" : NULL;
}

int origin_list_create(
    const struct bytes *origins, size_t count, struct builder *error, struct origin_list **ret_list)
{
    struct origin_list *list = mem_alloc(sizeof(*list) + count * sizeof(struct bytes));
    for (size_t i = 0; i < count; i++) {
        const char *fault = origin_fault(origins[i]);
        if (fault != NULL) {
            origin_list_destroy(list);
            return refuse(error, origins[i], fault);
        }
        list->any = list->any || bytes_eq(origins[i], BYTES("*"));
        list->origins[list->count++] =
            bytes_of(mem_dup(origins[i].at, origins[i].len), origins[i].len);
    }
    *ret_list = list;
    return 0;
}

void origin_list_destroy(struct origin_list *list)
{
    if (list == NULL) {
        return;
    }
    for (size_t i = 0; i < list->count; i++) {
        mem_free((char *)list->origins[i].at);
    }
    mem_free(list);
}

static bool is_listed(const struct origin_list *list, struct bytes origin)
{
    for (size_t i = 0; i < list->count; i++) {
        if (bytes_eq(list->origins[i], origin) && !bytes_eq(origin, BYTES("*"))) {
            return true;
        }
    }
    return false;
}

bool origin_allows(
    const struct origin_list *list, const struct bytes *values, size_t count, bool has_token)
{
    if (count == 0) {
        return has_token;
    }
    return count == 1 && (list->any || is_listed(list, values[0]));
}

/* `host` without `port`, which is the one that its scheme has anyway. */
static struct bytes without_port(struct bytes host, const char *port)
{
    size_t len = strlen(port);
    bool ends = host.len > len && memcmp(host.at + host.len - len, port, len) == 0;
    return ends ? bytes_of(host.at, host.len - len) : host;
}

bool origin_is_host(struct bytes origin, struct bytes host)
{
    struct url url;
    if (url_split(origin, &url) != 0 || url.has_userinfo || url.path.len > 0 || url.has_query ||
        url.has_fragment || url.host.len == 0) {
        return false;
    }
    const char *port = bytes_eq_str(url.scheme, "http")    ? ":80"
                       : bytes_eq_str(url.scheme, "https") ? ":443"
                                                           : NULL;
    return port != NULL && bytes_eq_nocase(without_port(url.host, port), without_port(host, port));
}

struct bytes origin_cors_value(
    const struct origin_list *list, struct bytes origin, bool *ret_credentials)
{
    *ret_credentials = is_listed(list, origin);
    if (*ret_credentials) {
        return origin;
    }
    return list->any && origin.len > 0 ? BYTES("*") : (struct bytes){0};
}
