/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which proxies are trusted, and which address a request then comes from.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>

#include "codec/base/status.h"
#include "codec/http1.h"
#include "hub/net/address.h"
#include "hub/net/proxies.h"

TestSuite(proxies, .timeout = 30);

#define TRUSTED                                                                                    \
    {                                                                                              \
        BYTES("10.0.0.0/8"), BYTES("192.0.2.7"), BYTES("fd00::/8"), BYTES("2001:db8::1"),          \
            BYTES("172.16.0.0/12")                                                                 \
    }

static struct proxies *make(const struct bytes *networks, size_t count)
{
    struct builder error = {.max = 1000};
    struct proxies *proxies = NULL;
    cr_assert_eq(proxies_create(networks, count, &error, &proxies), 0, "%.*s",
        (int)builder_bytes(&error).len, builder_bytes(&error).at);
    builder_reset(&error);
    return proxies;
}

static struct sockaddr_storage peer_of(const char *text)
{
    struct sockaddr_storage peer = {0};
    struct sockaddr_in *in = (void *)&peer;
    struct sockaddr_in6 *in6 = (void *)&peer;
    if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
    } else {
        cr_assert_eq(inet_pton(AF_INET6, text, &in6->sin6_addr), 1, "%s", text);
        in6->sin6_family = AF_INET6;
    }
    return peer;
}

Test(proxies, trusts_what_is_listed_and_its_networks)
{
    static const struct {
        const char *peer;
        bool trusted;
    } rows[] = {{"10.0.0.1", true}, {"10.255.255.255", true}, {"::ffff:10.1.2.3", true},
        {"11.0.0.1", false}, {"9.255.255.255", false}, {"192.0.2.7", true}, {"192.0.2.8", false},
        {"172.15.255.255", false}, {"172.16.0.0", true}, {"172.31.255.255", true},
        {"172.32.0.0", false}, {"fd12::1", true}, {"fe00::1", false}, {"2001:db8::1", true},
        {"2001:db8::2", false}, {"::1", false}, {"127.0.0.1", false}, {"::10.0.0.1", false}};
    const struct bytes trusted[] = TRUSTED;
    struct proxies *proxies = make(trusted, ARRAY_LEN(trusted));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sockaddr_storage peer = peer_of(rows[i].peer);
        cr_expect_eq(
            proxies_trust(proxies, (struct sockaddr *)&peer), rows[i].trusted, "%s", rows[i].peer);
        cr_expect_not(proxies_trust(NULL, (struct sockaddr *)&peer));
    }
    struct sockaddr_storage other = {.ss_family = AF_UNIX};
    cr_expect_not(proxies_trust(proxies, (struct sockaddr *)&other));
    proxies_destroy(proxies);
    proxies = make(NULL, 0);
    struct sockaddr_storage peer = peer_of("10.0.0.1");
    cr_expect_not(proxies_trust(proxies, (struct sockaddr *)&peer));
    proxies_destroy(proxies);
    proxies = make((struct bytes[]){BYTES("0.0.0.0/0")}, 1);
    cr_expect(proxies_trust(proxies, (struct sockaddr *)&peer));
    peer = peer_of("2001:db8::5");
    cr_expect_not(proxies_trust(proxies, (struct sockaddr *)&peer), "only IPv4");
    proxies_destroy(proxies);
}

Test(proxies, refuses_what_is_no_network)
{
    static const char *const refused[] = {"", "proxy", "10.0.0", "10.0.0.0/", "10.0.0.0/33",
        "10.0.0.0/-1", "10.0.0.0/08", "10.0.0.1/8", "::1/129", "fd00::1/8", "10.0.0.0/8/8", "[::1]",
        "10.0.0.1:80", " 10.0.0.1", "fe80::1%lo", "/8",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999:1111:2222:3333:4444"};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct builder error = {.max = 1000};
        struct proxies *proxies;
        struct bytes network = bytes_str(refused[i]);
        cr_expect_eq(
            proxies_create(&network, 1, &error, &proxies), STATUS_INVALID, "%s", refused[i]);
        cr_expect(bytes_starts(builder_bytes(&error), BYTES("listen.trusted_proxies: \"")));
        builder_reset(&error);
    }
}

struct row {
    const char *headers; /* lines that end in CR LF */
    const char *client;
};

#define XFF(text) "X-Forwarded-For: " text "\r\n"
#define FWD(text) "Forwarded: " text "\r\n"

static void find(const struct proxies *proxies, const char *from, const struct row *row)
{
    char text[4096];
    char client[ADDRESS_TEXT_MAX];
    struct http1_request head;
    struct http1_parser parser = {.max_head = sizeof(text), .max_headers = 64};
    struct sockaddr_storage peer = peer_of(from);
    struct sockaddr_in6 found;
    int len = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", row->headers);
    cr_assert_eq(http1_parse(&parser, bytes_of(text, (size_t)len), &head), len, "%s", row->headers);
    proxies_find_client(proxies, (struct sockaddr *)&peer, &head, &found);
    address_write((struct sockaddr *)&found, client);
    cr_expect_str_eq(client, row->client, "%s: %s", row->headers, client);
}

Test(proxies, the_client_is_the_rightmost_that_is_not_trusted)
{
    static const struct row rows[] = {
        {"", "10.0.0.1"},
        {XFF("203.0.113.9"), "203.0.113.9"},
        {XFF("203.0.113.9:4711"), "203.0.113.9"},
        {XFF("2001:db8::9"), "2001:db8::9"},
        {XFF("[2001:db8::9]"), "2001:db8::9"},
        {XFF("[2001:db8::9]:80"), "2001:db8::9"},
        {XFF("::ffff:203.0.113.9"), "203.0.113.9"},
        {XFF("203.0.113.9, 10.0.0.2"), "203.0.113.9"},
        {XFF("203.0.113.9, fd00::1, 192.0.2.7"), "203.0.113.9"},
        {XFF("198.51.100.1, 203.0.113.9"), "203.0.113.9"},
        {XFF("1.1.1.1,10.0.0.3,203.0.113.9,10.0.0.2"), "203.0.113.9"},
        {XFF("198.51.100.1") XFF("203.0.113.9"), "203.0.113.9"},
        {XFF("203.0.113.9") XFF("10.0.0.2"), "203.0.113.9"},
        {XFF("10.0.0.3, 10.0.0.2"), "10.0.0.3"},
        /* What is no address ends the walk at the last trusted one. */
        {XFF(""), "10.0.0.1"},
        {XFF("unknown"), "10.0.0.1"},
        {XFF("203.0.113.9, evil"), "10.0.0.1"},
        {XFF("203.0.113.9, evil, 10.0.0.2"), "10.0.0.2"},
        {XFF("203.0.113.9, , 10.0.0.3, 10.0.0.2"), "10.0.0.3"},
        {XFF("evil, 203.0.113.9"), "203.0.113.9"},
        {XFF("203.0.113.9,"), "10.0.0.1"},
        {XFF("203.0.113.9:x"), "10.0.0.1"},
        {XFF("203.0.113.9:99999"), "10.0.0.1"},
        {XFF("[203.0.113.9]"), "10.0.0.1"},
        {XFF("[2001:db8::9"), "10.0.0.1"},
        {XFF("[2001:db8::9]80"), "10.0.0.1"},
        {XFF("[]"), "10.0.0.1"},
        {XFF("["), "10.0.0.1"},
        {XFF("999.1.1.1"), "10.0.0.1"},
        {XFF("203.0.113.9 198.51.100.1"), "10.0.0.1"},
        {XFF("\"203.0.113.9"), "10.0.0.1"},
        /* RFC 7239. */
        {FWD("for=203.0.113.9"), "203.0.113.9"},
        {FWD("For=\"203.0.113.9:4711\";proto=https;by=10.0.0.1"), "203.0.113.9"},
        {FWD("proto=https ; for=\"[2001:db8::9]:_port\""), "2001:db8::9"},
        {FWD("for=\"[2001:db8::9]\""), "2001:db8::9"},
        {FWD("for=198.51.100.1, for=203.0.113.9;by=10.0.0.2, for=10.0.0.2"), "203.0.113.9"},
        {FWD("for=198.51.100.1") FWD("for=203.0.113.9"), "203.0.113.9"},
        {FWD("for=203.0.113.9;host=\"a;for=1.1.1.1,for=2.2.2.2\""), "203.0.113.9"},
        {FWD("for=203.0.113.9, for=unknown"), "10.0.0.1"},
        {FWD("for=203.0.113.9, for=_hidden, for=10.0.0.2"), "10.0.0.2"},
        {FWD("for=203.0.113.9, proto=https"), "10.0.0.1"},
        {FWD("for=203.0.113.9;for=198.51.100.1"), "10.0.0.1"},
        {FWD("for"), "10.0.0.1"},
        {FWD("for=\""), "10.0.0.1"},
        {FWD("by=203.0.113.9"), "10.0.0.1"},
        /* Both kinds: a client can send the one that the proxy does not write. */
        {XFF("203.0.113.9") FWD("for=203.0.113.9"), "203.0.113.9"},
        {XFF("203.0.113.9") FWD("for=198.51.100.1"), "10.0.0.1"},
        {FWD("for=203.0.113.9") XFF("198.51.100.1"), "10.0.0.1"},
        {XFF("203.0.113.9") FWD("for=unknown"), "10.0.0.1"},
        {"X-Real-IP: 203.0.113.9\r\n", "10.0.0.1"},
    };
    const struct bytes trusted[] = TRUSTED;
    struct proxies *proxies = make(trusted, ARRAY_LEN(trusted));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        find(proxies, "10.0.0.1", &rows[i]);
        find(proxies, "::ffff:10.0.0.1", &rows[i]);
    }
    find(proxies, "2001:db8::1", &(struct row){XFF("nobody"), "2001:db8::1"});
    proxies_destroy(proxies);
}
