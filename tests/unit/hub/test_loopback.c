/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which hosts, authorities and origins are this machine.
 */
#include <criterion/criterion.h>

#include "codec/base/check.h"
#include "hub/net/loopback.h"

TestSuite(loopback, .timeout = 30);

Test(loopback, knows_hosts_of_this_machine)
{
    static const char *const good[] = {"localhost", "LocalHost", "app.localhost", "a.b.localhost",
        "127.0.0.1", "127.1.2.3", "127.255.255.254", "::1", "[::1]", "0:0:0:0:0:0:0:1"};
    static const char *const bad[] = {"", "localhost.", "localhost.example", "notlocalhost",
        "127.evil.example", "127.0.0.1.evil.example", "127.1", "128.0.0.1", "0.0.0.0", "10.0.0.1",
        "::", "[::]", "[127.0.0.1]", "[]", "[::1", "::1]", "::ffff:127.0.0.1x", "evil.example",
        "localhost@evil.example", "evil.example#localhost x"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        cr_expect(loopback_is_host(bytes_str(good[i])), "%s", good[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        cr_expect_not(loopback_is_host(bytes_str(bad[i])), "%s", bad[i]);
    }
    cr_expect_not(loopback_is_host(BYTES("127.0.0.1\0")));
}

Test(loopback, knows_authorities_and_origins)
{
    static const struct {
        const char *text;
        bool authority;
        bool origin;
    } cases[] = {
        {"localhost", true, false},
        {"localhost:3000", true, false},
        {"127.0.0.1:80", true, false},
        {"[::1]:3000", true, false},
        {"[::1]", true, false},
        {"::1", false, false},
        {"::1:3000", false, false},
        {"localhost:", true, false},
        {"localhost:x", false, false},
        {"evil.example:3000", false, false},
        {"evil.example", false, false},
        {"", false, false},
        {":3000", false, false},
        {"http://localhost:5173", false, true},
        {"https://127.0.0.1", false, true},
        {"http://[::1]:1", false, true},
        {"http://evil.example", false, false},
        {"http://localhost.evil.example", false, false},
        {"http://user@localhost@evil.example", false, false},
        {"http://evil.example/.localhost", false, false},
        {"http://evil.example?.localhost", false, false},
        {"http://evil.example#.localhost", false, false},
        {"http://user@app.localhost", false, false},
        {"http://my-app.localhost:3000", false, true},
        {"http://localhost/", false, false},
        {"ws://localhost", false, false},
        {"null", false, false},
        {"http://", false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bytes text = bytes_str(cases[i].text);
        cr_expect_eq(loopback_is_authority(text), cases[i].authority, "%s", cases[i].text);
        cr_expect_eq(loopback_is_origin(text), cases[i].origin, "%s", cases[i].text);
    }
}
