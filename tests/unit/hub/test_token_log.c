/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the operator is told of a refused token: the reason, never the token, a claim only where the
 * signature is right, and not more often than is bearable.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/log.h"
#include "codec/base/status.h"
#include "hub/auth/token_log.h"
#include "tests/unit/hub/jwt_world.h"

TestSuite(token_log, .timeout = 60);

static char last[2048];
static unsigned lines;

static void keep(enum log_level level, const char *line, size_t len)
{
    (void)level;
    lines++;
    snprintf(last, sizeof(last), "%.*s", (int)len, line);
}

/* Have the token refused, and what is logged of it in `last`. */
static void refuse(struct jwt *jwt, struct bytes token, const char *remote)
{
    cr_assert_lt(world_check(jwt, token, NOW), 0);
    last[0] = '\0';
    token_log_refusal(jwt, bytes_str(remote));
}

Test(token_log, tells_a_claim_only_where_the_signature_is_right)
{
    log_set_sink(keep);
    struct jwt *jwt = world_jwt_plain();
    static const char payload[] = "{\"sub\":\"ada\",\"exp\":1799999999}";
    refuse(jwt, world_token(payload), "192.0.2.7");
    cr_expect_not_null(strstr(last, " TOKEN-REFUSED "), "%s", last);
    cr_expect_not_null(strstr(last, "sub=\"ada\""), "%s", last);
    cr_expect_not_null(strstr(last, "remote=\"192.0.2.7\""), "%s", last);
    cr_expect_null(strstr(last, "reason=\"\""), "%s", last);
    refuse(jwt, world_forge(BYTES(OTHER_SECRET), "{\"alg\":\"HS256\"}", payload), "192.0.2.7");
    cr_expect_not_null(strstr(last, " TOKEN-REFUSED "), "%s", last);
    cr_expect_null(strstr(last, "ada"), "anybody may have written it: %s", last);
    jwt_destroy(jwt);
}

Test(token_log, never_holds_the_token)
{
    log_set_sink(keep);
    struct jwt *jwt = world_jwt_plain();
    struct bytes token = world_token("{\"sub\":\"ada\",\"exp\":1799999999}");
    char text[1024];
    snprintf(text, sizeof(text), "%.*s", (int)token.len, token.at);
    refuse(jwt, token, "");
    for (const char *part = strtok(text, "."); part != NULL; part = strtok(NULL, ".")) {
        cr_expect_null(strstr(last, part), "%s in %s", part, last);
    }
    refuse(jwt, BYTES("no token at all\n2026 error FORGED"), "");
    cr_expect_null(strstr(last, "FORGED"), "%s", last);
    jwt_destroy(jwt);
}

Test(token_log, is_quiet_under_a_flood)
{
    enum { FLOOD = 1000, BEARABLE = 20 };
    log_set_sink(keep);
    struct jwt *jwt = world_jwt_plain();
    for (unsigned i = 0; i < FLOOD; i++) {
        refuse(jwt, BYTES("rubbish"), "192.0.2.7");
    }
    cr_expect(lines >= 10 && lines <= BEARABLE, "%u lines", lines);
    jwt_destroy(jwt);
}
