/* SPDX-License-Identifier: Apache-2.0 */
/* Which addresses are one to limits, and that their connections are counted up to a cap. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <string.h>

#include "hub/net/address.h"
#include "hub/net/name_counts.h"

TestSuite(address, .timeout = 60);

static struct sockaddr_storage made(const char *text)
{
    struct sockaddr_storage peer = {0};
    struct sockaddr_in *in = (void *)&peer;
    struct sockaddr_in6 *in6 = (void *)&peer;
    if (strchr(text, ':') != NULL) {
        in6->sin6_family = AF_INET6;
        cr_assert_eq(inet_pton(AF_INET6, text, &in6->sin6_addr), 1, "%s", text);
    } else if (text[0] != '\0') {
        in->sin_family = AF_INET;
        cr_assert_eq(inet_pton(AF_INET, text, &in->sin_addr), 1, "%s", text);
    }
    return peer;
}

static uint64_t name_of(const char *text, enum address_kind kind)
{
    struct sockaddr_storage peer = made(text);
    struct address_key read = address_read((const struct sockaddr *)&peer);
    struct address_key parsed = address_parse(bytes_str(text));
    cr_assert_eq(read.len, parsed.len, "%s", text);
    cr_assert_eq(memcmp(read.at, parsed.at, read.len), 0, "%s: as text the same", text);
    return address_name(&read, kind);
}

Test(address, a_64_of_ipv6_is_one_address_and_ipv4_in_ipv6_is_ipv4)
{
    static const struct {
        const char *a;
        const char *b;
        bool same;
    } rows[] = {
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"192.0.2.1", "::ffff:192.0.2.1", true},
        {"192.0.2.1", "::192.0.2.1", false},
        {"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true},
        {"2001:db8:1:2::1", "2001:db8:1:3::1", false},
        {"2001:db8:1:2::1", "2001:db9:1:2::1", false},
        {"::1", "::2", true},
        {"::1", "127.0.0.1", false},
        {"", "", true},
        {"", "0.0.0.0", false},
        {"", "::", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_assert_eq(name_of(rows[i].a, ADDRESS_REFUSED) == name_of(rows[i].b, ADDRESS_REFUSED),
            rows[i].same, "%s and %s", rows[i].a, rows[i].b);
    }
    cr_assert_neq(name_of("192.0.2.1", ADDRESS_CLIENT), name_of("192.0.2.1", ADDRESS_NODE));
}

Test(address, what_is_no_address_has_an_empty_key)
{
    static const char *const texts[] = {"x", "192.0.2", "192.0.2.1:80", "[::1]", "::1%lo",
        "1.2.3.4.5", "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        cr_assert_eq(address_parse(bytes_str(texts[i])).len, 0, "%s", texts[i]);
    }
}

Test(address, connections_are_counted_up_to_the_cap_and_given_back_once)
{
    struct name_counts *counts = name_counts_create(16);
    struct sockaddr_storage one = made("2001:db8::1");
    struct sockaddr_storage same = made("2001:db8::2");
    struct sockaddr_storage other = made("192.0.2.1");
    struct address_claim claims[3];
    cr_assert(address_take(counts, (void *)&one, ADDRESS_CLIENT, 2, &claims[0]));
    cr_assert(address_take(counts, (void *)&same, ADDRESS_CLIENT, 2, &claims[1]));
    cr_assert_not(address_take(counts, (void *)&one, ADDRESS_CLIENT, 2, &claims[2]));
    address_release(&claims[2]);
    cr_assert_not(address_take(counts, (void *)&one, ADDRESS_CLIENT, 2, &claims[2]));
    cr_assert(address_take(counts, (void *)&other, ADDRESS_CLIENT, 2, &claims[2]));
    address_release(&claims[0]);
    address_release(&claims[0]);
    cr_assert(address_take(counts, (void *)&one, ADDRESS_CLIENT, 2, &claims[0]));
    cr_assert_not(address_take(counts, (void *)&one, ADDRESS_CLIENT, 2, &claims[0]));
    name_counts_destroy(counts);
}
