/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures of Standard Webhooks, against those of another implementation.
 */
#include <criterion/criterion.h>

#include "codec/base/status.h"
#include "hub/hooks/signature.h"

TestSuite(signature, .timeout = 30);

#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define TOO_LONG                                                                                   \
    "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8AAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e"   \
    "Hx8=" /* 65 bytes */
#define OTHER "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

Test(signature, is_that_of_others)
{
    struct signature_secret secrets[2];
    struct builder out = {0};
    cr_assert_eq(signature_read_secret(SECRET, &secrets[0]), 0);
    cr_assert_eq(signature_read_secret(OTHER, &secrets[1]), 0);
    cr_expect_eq(secrets[0].len, 24);
    cr_expect_eq(secrets[1].len, 32);
    signature_write(secrets, 1, BYTES("msg_p5jXN8AQM9LWM0D4loKWxJek"), 1614265330,
        BYTES("{\"test\": 2432232314}"), &out);
    cr_expect(
        bytes_eq(builder_bytes(&out), BYTES("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")));
    builder_clear(&out);
    signature_write(secrets, 2, BYTES("msg_p5jXN8AQM9LWM0D4loKWxJek"), 1614265330,
        BYTES("{\"test\": 2432232314}"), &out);
    cr_expect(
        bytes_eq(builder_bytes(&out), BYTES("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= "
                                            "v1,O4Gjv1HqPqsMrjmczoggs/sWA8gZD0VyHG+fLh4+ktI=")),
        "%.*s", (int)builder_bytes(&out).len, builder_bytes(&out).at);
    builder_reset(&out);
}

Test(signature, refuses_what_is_no_secret)
{
    static const char *const rows[] = {"", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa==", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-w",
        "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", TOO_LONG};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct signature_secret secret;
        cr_expect_eq(signature_read_secret(rows[i], &secret), STATUS_INVALID, "%s", rows[i]);
    }
}
