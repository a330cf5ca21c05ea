/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each part ends where the next one's sign stands: '#', then '?', then '/', then the last '@'.
 */
#include "codec/url.h"

#include "codec/base/status.h"

/* The position of `byte` in `text`, or text.len. */
static size_t find(struct bytes text, char byte)
{
    const char *at = text.len > 0 ? memchr(text.at, byte, text.len) : NULL;
    return at != NULL ? (size_t)(at - text.at) : text.len;
}

/* Cut what stands behind the first `sign` off *text; false when there is none. */
static bool cut(struct bytes *text, char sign, struct bytes *ret_behind)
{
    size_t at = find(*text, sign);
    if (at == text->len) {
        return false;
    }
    *ret_behind = bytes_skip(*text, at + 1);
    text->len = at;
    return true;
}

int url_split(struct bytes text, struct url *ret_url)
{
    struct url url = {0};
    const char *mark = text.len > 0 ? memmem(text.at, text.len, "://", 3) : NULL;
    if (mark == NULL) {
        return STATUS_INVALID;
    }
    url.scheme = bytes_of(text.at, (size_t)(mark - text.at));
    url.host = bytes_skip(text, url.scheme.len + 3);
    url.has_fragment = cut(&url.host, '#', &url.fragment);
    url.has_query = cut(&url.host, '?', &url.query);
    size_t slash = find(url.host, '/');
    url.path = bytes_skip(url.host, slash);
    url.host.len = slash;
    const char *sign = slash > 0 ? memrchr(url.host.at, '@', slash) : NULL;
    if (sign != NULL) {
        url.has_userinfo = true;
        url.userinfo = bytes_of(url.host.at, (size_t)(sign - url.host.at));
        url.host = bytes_skip(url.host, url.userinfo.len + 1);
    }
    *ret_url = url;
    return 0;
}

/* [address] or [address]:port. */
static int split_brackets(struct bytes text, struct url_host *ret_host)
{
    size_t end = find(text, ']');
    if (end == text.len) {
        return STATUS_INVALID;
    }
    struct bytes rest = bytes_skip(text, end + 1);
    struct url_host host = {.name = bytes_of(text.at + 1, end - 1), .is_bracketed = true};
    if (rest.len > 0 && rest.at[0] != ':') {
        return STATUS_INVALID;
    }
    host.has_port = rest.len > 0;
    host.port = rest.len > 0 ? bytes_skip(rest, 1) : rest;
    *ret_host = host;
    return 0;
}

int url_split_host(struct bytes text, struct url_host *ret_host)
{
    struct url_host host = {.name = text};
    if (text.len > 0 && text.at[0] == '[') {
        return split_brackets(text, ret_host);
    }
    if (find(text, ']') < text.len) {
        return STATUS_INVALID;
    }
    host.has_port = cut(&host.name, ':', &host.port);
    if (find(host.port, ':') < host.port.len) {
        host = (struct url_host){.name = text};
    }
    *ret_host = host;
    return 0;
}

int url_port(const struct url_host *host, uint16_t otherwise, uint16_t *ret_port)
{
    uint64_t port = otherwise;
    if (host->has_port && (bytes_to_u64(host->port, UINT16_MAX, &port) != 0 || port == 0)) {
        return STATUS_INVALID;
    }
    *ret_port = (uint16_t)port;
    return 0;
}
