/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vapid_command - `peal vapid`: print a new pair of keys for Web Push.
 */
#include <stdio.h>

#include "codec/base/log.h"
#include "codec/base64.h"
#include "hub/cli/cli.h"
#include "hub/net/crypto.h"
#include "hub/net/crypto_p256.h"
#include "hub/push/web_push.h"

int command_vapid(const struct config *config, int argc, char **argv)
{
    (void)config;
    uint8_t scalar[CRYPTO_SCALAR_LEN];
    char public_key[WEB_PUSH_KEY_LEN];
    char private_key[BASE64URL_LEN(CRYPTO_SCALAR_LEN)];
    if (argc > 0) {
        fprintf(stderr, "peal vapid: takes no arguments: %s\n", log_quote(bytes_str(argv[0])));
        return 2;
    }
    struct crypto_p256 *key = crypto_p256_generate();
    crypto_p256_get_scalar(key, scalar);
    web_push_write_key(key, public_key);
    size_t len = base64url_encode(bytes_of(scalar, sizeof(scalar)), private_key);
    printf(
        "public  %.*s\nprivate %.*s\n", (int)sizeof(public_key), public_key, (int)len, private_key);
    crypto_wipe(scalar, sizeof(scalar));
    crypto_wipe(private_key, sizeof(private_key));
    crypto_p256_destroy(key);
    return 0;
}
