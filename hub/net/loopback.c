/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recognizes `localhost`, its subdomains and the loopback networks in the forms that headers have.
 */
#include "hub/net/loopback.h"

#include <arpa/inet.h>
#include <string.h>

#include "codec/url.h"

static bool is_address(struct bytes host)
{
    char text[INET6_ADDRSTRLEN];
    struct in_addr v4;
    struct in6_addr v6;
    if (host.len == 0 || host.len >= sizeof(text) || memchr(host.at, '\0', host.len) != NULL) {
        return false;
    }
    memcpy(text, host.at, host.len);
    text[host.len] = '\0';
    if (inet_pton(AF_INET, text, &v4) == 1) {
        return (ntohl(v4.s_addr) >> 24) == 127;
    }
    return inet_pton(AF_INET6, text, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* Whether it can be a name of a host: no path, query or user stands before its end. */
static bool is_name(struct bytes host)
{
    for (size_t i = 0; i < host.len; i++) {
        char at = host.at[i];
        if (!(at >= '0' && at <= '9') && !(at >= 'a' && at <= 'z') && !(at >= 'A' && at <= 'Z') &&
            at != '-' && at != '.' && at != '_') {
            return false;
        }
    }
    return true;
}

bool loopback_is_host(struct bytes host)
{
    const struct bytes name = BYTES("localhost");
    if (host.len > 2 && host.at[0] == '[' && host.at[host.len - 1] == ']') {
        return memchr(host.at, ':', host.len) != NULL &&
               is_address(bytes_of(host.at + 1, host.len - 2));
    }
    if (host.len < name.len) {
        return is_address(host);
    }
    struct bytes end = bytes_skip(host, host.len - name.len);
    bool whole = host.len == name.len || host.at[host.len - name.len - 1] == '.';
    return (whole && bytes_eq_nocase(end, name) && is_name(host)) || is_address(host);
}

bool loopback_is_authority(struct bytes authority)
{
    struct url_host host;
    uint16_t port;
    if (url_split_host(authority, &host) != 0 ||
        (host.port.len > 0 && url_port(&host, 0, &port) != 0)) {
        return false;
    }
    bool is_v6 = host.name.len > 0 && memchr(host.name.at, ':', host.name.len) != NULL;
    return is_v6 == host.is_bracketed && loopback_is_host(host.name);
}

bool loopback_is_origin(struct bytes origin)
{
    struct url url;
    return url_split(origin, &url) == 0 && !url.has_userinfo && url.path.len == 0 &&
           !url.has_query && !url.has_fragment &&
           (bytes_eq_str(url.scheme, "http") || bytes_eq_str(url.scheme, "https")) &&
           loopback_is_authority(url.host);
}
