/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which addresses requests of ours may go to.
 */
#include <criterion/criterion.h>
#include <netinet/in.h>

#include "codec/base/status.h"
#include "hub/net/network.h"
#include "hub/net/outgoing.h"
#include "hub/net/outgoing_guard.h"

TestSuite(outgoing_guard, .timeout = 30);

static struct outgoing_guard *make(const struct bytes *allowed, size_t count)
{
    struct builder error = {.max = 1000};
    struct outgoing_guard *guard = NULL;
    cr_assert_eq(outgoing_guard_create(allowed, count, &error, &guard), 0, "%.*s",
        (int)builder_bytes(&error).len, builder_bytes(&error).at);
    builder_reset(&error);
    return guard;
}

static bool allows(const struct outgoing_guard *guard, const char *text, bool listed)
{
    struct in6_addr address;
    cr_assert(network_read_address(bytes_str(text), &address), "%s", text);
    return outgoing_guard_allows(guard, &address, listed);
}

static const struct {
    const char *address;
    bool allowed;
} addresses[] = {
    {"1.1.1.1", true},
    {"9.255.255.255", true},
    {"11.0.0.0", true},
    {"100.63.255.255", true},
    {"100.128.0.0", true},
    {"172.15.255.255", true},
    {"172.32.0.0", true},
    {"192.0.1.0", true},
    {"192.167.255.255", true},
    {"192.169.0.0", true},
    {"198.17.255.255", true},
    {"198.20.0.0", true},
    {"223.255.255.255", true},
    {"2606:4700::1111", true},
    {"2001:200::1", true},
    {"2a00::1", true},
    {"3ffe::1", true},
    {"::ffff:1.1.1.1", true},
    /* this network, and what means this machine */
    {"0.0.0.0", false},
    {"0.1.2.3", false},
    {"127.0.0.1", false},
    {"127.255.255.254", false},
    {"::", false},
    {"::1", false},
    /* private */
    {"10.0.0.0", false},
    {"10.255.255.255", false},
    {"172.16.0.1", false},
    {"172.31.255.255", false},
    {"192.168.0.1", false},
    {"fc00::1", false},
    {"fdff::1", false},
    {"fec0::1", false},
    /* shared by customers of a carrier */
    {"100.64.0.0", false},
    {"100.127.255.255", false},
    /* link-local, and the metadata of clouds */
    {"169.254.169.254", false},
    {"169.254.0.0", false},
    {"fe80::1", false},
    {"febf::1", false},
    {"fd00:ec2::254", false},
    /* special */
    {"192.0.0.192", false},
    {"192.0.2.1", false},
    {"192.88.99.1", false},
    {"198.18.0.1", false},
    {"198.19.255.255", false},
    {"198.51.100.1", false},
    {"203.0.113.1", false},
    {"100::1", false},
    {"2001:db8::1", false},
    {"3fff::1", false},
    {"5f00::1", false},
    /* multicast, reserved, broadcast */
    {"224.0.0.1", false},
    {"239.255.255.255", false},
    {"240.0.0.1", false},
    {"255.255.255.255", false},
    {"ff02::1", false},
    {"ff0e::1", false},
    /* IPv4 in IPv6: mapped, compatible, translated, NAT64, 6to4, Teredo */
    {"::ffff:127.0.0.1", false},
    {"::ffff:10.0.0.1", false},
    {"::ffff:169.254.169.254", false},
    {"::ffff:0.0.0.0", false},
    {"::127.0.0.1", false},
    {"::10.0.0.1", false},
    {"::ffff:0:127.0.0.1", false},
    {"64:ff9b::127.0.0.1", false},
    {"64:ff9b::a00:1", false},
    {"64:ff9b::1.1.1.1", false},
    {"64:ff9b:1::a00:1", false},
    {"2002:7f00:1::", false},
    {"2002:a00:1::1", false},
    {"2001::1", false},
    {"2001:0:7f00:1::", false},
    {"2001:1ff::1", false},
};

Test(outgoing_guard, lets_public_addresses_through_and_no_others)
{
    struct outgoing_guard *guard = make(NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        cr_expect_eq(allows(guard, addresses[i].address, false), addresses[i].allowed, "%s",
            addresses[i].address);
        cr_expect(allows(guard, addresses[i].address, true), "its host is listed: %s",
            addresses[i].address);
    }
    outgoing_guard_destroy(guard);
}

#define LISTED                                                                                     \
    {                                                                                              \
        BYTES("127.0.0.1"), BYTES("10.1.0.0/16"), BYTES("fd00::/8"), BYTES("Hooks.Internal"),      \
            BYTES("crm.example.")                                                                  \
    }

Test(outgoing_guard, lets_through_what_is_listed)
{
    const struct bytes listed[] = LISTED;
    struct outgoing_guard *guard = make(listed, ARRAY_LEN(listed));
    cr_expect(allows(guard, "127.0.0.1", false));
    cr_expect(allows(guard, "::ffff:127.0.0.1", false), "the same address");
    cr_expect(!allows(guard, "127.0.0.2", false));
    cr_expect(allows(guard, "10.1.255.1", false));
    cr_expect(!allows(guard, "10.2.0.1", false));
    cr_expect(allows(guard, "fd00::1", false));
    cr_expect(!allows(guard, "::1", false));
    cr_expect(!allows(guard, "169.254.169.254", false));
    outgoing_guard_destroy(guard);
}

Test(outgoing_guard, knows_the_hosts_that_are_listed)
{
    static const struct {
        const char *host;
        bool listed;
    } rows[] = {{"hooks.internal", true}, {"HOOKS.internal.", true}, {"crm.example", true},
        {"127.0.0.1", true}, {"[::ffff:127.0.0.1]", true}, {"[fd00::7]", true}, {"10.1.2.3", true},
        {"hooks.internal.evil.example", false}, {"evil-hooks.internal", false}, {"internal", false},
        {"hooks", false}, {"", false}, {".", false}, {"10.2.2.3", false}, {"[::1]", false},
        {"localhost", false}, {"127.0.0.1.", false}};
    const struct bytes listed[] = LISTED;
    struct outgoing_guard *guard = make(listed, ARRAY_LEN(listed));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect_eq(outgoing_guard_lists(guard, bytes_str(rows[i].host)), rows[i].listed, "%s",
            rows[i].host);
    }
    outgoing_guard_destroy(guard);
}

Test(outgoing_guard, refuses_what_is_neither_address_nor_network_nor_host)
{
    static const char *const rows[] = {"", "10.0.0.1/8", "10.0.0.0/33", "::1/129", "http://a.b",
        "a b", "*.example", "127.1", "2130706433", "-a.example", ".example", "host:80", "[::1]"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct builder error = {.max = 1000};
        struct outgoing_guard *guard;
        const struct bytes row = bytes_str(rows[i]);
        cr_expect_eq(outgoing_guard_create(&row, 1, &error, &guard), STATUS_INVALID, "%s", rows[i]);
        cr_expect(bytes_starts(builder_bytes(&error), BYTES("outgoing.allow: \"")));
        builder_reset(&error);
    }
}

Test(outgoing_guard, judges_urls)
{
    static const struct {
        const char *url;
        bool good;
    } rows[] = {{"https://crm.example.com", true}, {"https://crm.example.com:8443/a/b?c=d", true},
        {"HTTPS://CRM.example.com/", true}, {"https://10.9.9.9/", true}, /* refused when called */
        {"http://hooks.internal/x", true}, {"http://HOOKS.internal:8080/x", true},
        {"http://127.0.0.1:9/", true}, {"http://[fd00::1]/", true}, {"http://10.1.2.3/", true},
        {"http://crm.example.com/", false}, {"http://127.0.0.2/", false}, {"http://[::1]/", false},
        {"http://localhost/", false}, {"ftp://hooks.internal/", false},
        {"file:///etc/passwd", false}, {"gopher://hooks.internal/", false},
        {"unix:///run/x", false}, {"", false}, {"crm.example.com", false}, {"//crm.example", false},
        {"https://", false}, {"https://user@crm.example.com/", false},
        {"https://user:secret@crm.example.com/", false}, {"https://crm.example.com/#x", false},
        {"https://crm.example.com:99999/", false}, {"https://crm example.com/", false},
        {"https://crm.example.com/\n", false}};
    const struct bytes listed[] = LISTED;
    struct outgoing_guard *guard = make(listed, ARRAY_LEN(listed));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *fault = outgoing_url_fault(guard, rows[i].url);
        cr_expect_eq(
            fault == NULL, rows[i].good, "%s: %s", rows[i].url, fault != NULL ? fault : "good");
    }
    outgoing_guard_destroy(guard);
}
