/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that become WebSockets: what is checked, in which order, and what is echoed.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "hub/session/upgrade.h"
#include "tests/unit/hub/session_world.h"

TestSuite(upgrade, .timeout = 60, .init = world_begin, .fini = world_end);

#define UPGRADE                                                                                    \
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"                   \
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
#define JSON(code, text) "{\"code\":" #code ",\"message\":\"" text "\"}"

Test(upgrade, engine_requests_are_checked_in_order)
{
    static const struct {
        const char *line;
        const char *headers;
        unsigned status;
        const char *body;
    } cases[] = {
        {"GET /socket.io/", "", 400, JSON(0, "Transport unknown")},
        {"GET /socket.io/?EIO=4", "", 400, JSON(0, "Transport unknown")},
        {"POST /socket.io/?EIO=4&transport=polling", "Content-Length: 0\r\n", 400,
            JSON(2, "Bad handshake method")},
        {"GET /socket.io/?EIO=3&transport=polling", "", 400,
            JSON(5, "Unsupported protocol version")},
        {"GET /socket.io/?EIO=4&transport=polling", UPGRADE, 400, "Bad request"},
        {"GET /socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA", "", 400,
            JSON(1, "Session ID unknown")},
        {"GET /socket.io/?EIO=4&transport=webtransport", "", 400, JSON(0, "Transport unknown")},
        {"GET /socket.io/?EIO=4&transport=websocket&transport=x", UPGRADE, 400,
            "Transport unknown"},
        {"POST /socket.io/?transport=websocket&sid=x", "Content-Length: 0\r\n", 400,
            JSON(1, "Session ID unknown")},
        {"GET /socket.io/?EIO=4&transport=websocket&sid=abc", UPGRADE, 400, "Session ID unknown"},
        {"POST /socket.io/?EIO=4&transport=websocket", "Content-Length: 0\r\n", 400,
            JSON(2, "Bad handshake method")},
        {"GET /socket.io/?EIO=4&transport=websocket", "", 400, JSON(3, "Bad request")},
        {"GET /socket.io/?EIO=3&transport=websocket", "", 400, JSON(3, "Bad request")},
        {"GET /socket.io/?EIO=3&transport=websocket", UPGRADE, 400, "Unsupported protocol version"},
        {"GET /socket.io/?transport=websocket", UPGRADE, 400, "Unsupported protocol version"},
        {"GET /socket.io/?EIO=4&transport=websocket",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
            426, "Upgrade Required"},
        {"GET /socket.io/?EIO=4&transport=websocket",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAA\r\n",
            400, "Bad Request"},
        {"GET /socket.io/?EIO=4&transport=websocket&sid=", UPGRADE, 101, ""},
        {"GET /socket.io/anything?EIO=4&transport=websocket", UPGRADE, 101, ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char head[600];
        snprintf(head, sizeof(head), "%s HTTP/1.1\r\nHost: h\r\n%s\r\n", cases[i].line,
            cases[i].headers);
        unsigned peer = fake_request(world_layer, upgrade_engine, head);
        const struct fake_answer *answer = fake_answer(peer);
        cr_assert_eq(answer->status, cases[i].status, "%s: %u", cases[i].line, answer->status);
        cr_assert_str_eq(answer->body, cases[i].body);
        bool json = cases[i].body[0] == '{';
        cr_assert(!json || strcmp(answer->type, "application/json") == 0);
        if (answer->status == 426) {
            cr_assert(strstr(answer->head, "Sec-WebSocket-Version: 13\r\n"));
        }
    }
}

Test(upgrade, other_origins_are_refused)
{
    world_allow_origin = false;
    unsigned peer = fake_request(world_layer, upgrade_engine,
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nOrigin: "
        "https://evil\r\n" UPGRADE "\r\n");
    cr_assert_eq(fake_answer(peer)->status, 403);
    cr_assert_str_eq(fake_answer(peer)->body, "Forbidden");
}

Test(upgrade, nobody_is_taken_in_while_draining)
{
    session_layer_drain(world_layer, fake_shard(0), 1000, 50);
    unsigned peer = fake_request(world_layer, upgrade_engine,
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\n" UPGRADE "\r\n");
    cr_assert_eq(fake_answer(peer)->status, 503);
    cr_assert(strstr(fake_answer(peer)->head, "Retry-After: "));
}

Test(upgrade, the_first_subprotocol_is_echoed_and_no_extension)
{
    unsigned peer = fake_request(world_layer, upgrade_engine,
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\n" UPGRADE
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
        "Sec-WebSocket-Protocol: my-proto, anything\r\n\r\n");
    cr_assert_eq(fake_answer(peer)->status, 101);
    cr_assert(!strstr(fake_answer(peer)->head, "deflate"));
    cr_assert(strstr(fake_answer(peer)->head, "Sec-WebSocket-Protocol: my-proto\r\n"));
    cr_assert(!strstr(fake_answer(peer)->head, "anything"));
}
