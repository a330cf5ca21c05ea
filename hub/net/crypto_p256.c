/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of P-256 through OpenSSL's EVP interface. The public part is computed from the private one,
 * since OpenSSL does not do so by itself.
 */
#include "hub/net/crypto_p256.h"

#include <limits.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/param_build.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/net/crypto.h"

enum { DER_MAX = 80 };

struct crypto_p256 {
    EVP_PKEY *pair;
    uint8_t scalar[CRYPTO_SCALAR_LEN];
    uint8_t point[CRYPTO_POINT_LEN];
};

/* Make a key of its parts; `scalar` NULL: a public one. NULL: they are none of the curve. */
static EVP_PKEY *make(const BIGNUM *scalar, const uint8_t point[CRYPTO_POINT_LEN])
{
    EVP_PKEY *made = NULL;
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    CHECK(builder != NULL);
    CHECK(
        OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) ==
            1 &&
        OSSL_PARAM_BLD_push_octet_string(
            builder, OSSL_PKEY_PARAM_PUB_KEY, point, CRYPTO_POINT_LEN) == 1 &&
        (scalar == NULL || OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, scalar) == 1));
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    CHECK(params != NULL && context != NULL && EVP_PKEY_fromdata_init(context) == 1);
    int selection = scalar != NULL ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY;
    if (EVP_PKEY_fromdata(context, &made, selection, params) != 1) {
        made = NULL;
    }
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(builder);
    ERR_clear_error();
    return made;
}

/* The point that belongs to a private number. */
static void multiply(const BIGNUM *scalar, uint8_t ret_point[CRYPTO_POINT_LEN])
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    CHECK(group != NULL);
    EC_POINT *point = EC_POINT_new(group);
    CHECK(point != NULL && EC_POINT_mul(group, point, scalar, NULL, NULL, NULL) == 1);
    CHECK(EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, ret_point,
              CRYPTO_POINT_LEN, NULL) == CRYPTO_POINT_LEN);
    EC_POINT_free(point);
    EC_GROUP_free(group);
}

static bool is_of_curve(const BIGNUM *scalar)
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    CHECK(group != NULL);
    bool good = !BN_is_zero(scalar) && BN_cmp(scalar, EC_GROUP_get0_order(group)) < 0;
    EC_GROUP_free(group);
    return good;
}

struct crypto_p256 *crypto_p256_read(const uint8_t scalar[CRYPTO_SCALAR_LEN])
{
    struct crypto_p256 *key = NULL;
    BIGNUM *number = BN_secure_new();
    CHECK(number != NULL && BN_bin2bn(scalar, CRYPTO_SCALAR_LEN, number) != NULL);
    BN_set_flags(number, BN_FLG_CONSTTIME);
    if (is_of_curve(number)) {
        key = mem_alloc(sizeof(*key));
        memcpy(key->scalar, scalar, CRYPTO_SCALAR_LEN);
        multiply(number, key->point);
        key->pair = make(number, key->point);
        CHECK(key->pair != NULL);
    }
    BN_clear_free(number);
    return key;
}

struct crypto_p256 *crypto_p256_generate(void)
{
    BIGNUM *number = NULL;
    uint8_t scalar[CRYPTO_SCALAR_LEN];
    EVP_PKEY *pair = EVP_EC_gen("prime256v1");
    CHECK(pair != NULL);
    CHECK(EVP_PKEY_get_bn_param(pair, OSSL_PKEY_PARAM_PRIV_KEY, &number) == 1);
    CHECK(BN_bn2binpad(number, scalar, CRYPTO_SCALAR_LEN) == CRYPTO_SCALAR_LEN);
    BN_clear_free(number);
    EVP_PKEY_free(pair);
    struct crypto_p256 *key = crypto_p256_read(scalar);
    crypto_wipe(scalar, sizeof(scalar));
    CHECK(key != NULL);
    return key;
}

void crypto_p256_destroy(struct crypto_p256 *key)
{
    if (key != NULL) {
        EVP_PKEY_free(key->pair);
        crypto_wipe(key, sizeof(*key));
        mem_free(key);
    }
}

void crypto_p256_get_point(const struct crypto_p256 *key, uint8_t ret_point[CRYPTO_POINT_LEN])
{
    memcpy(ret_point, key->point, CRYPTO_POINT_LEN);
}

void crypto_p256_get_scalar(const struct crypto_p256 *key, uint8_t ret_scalar[CRYPTO_SCALAR_LEN])
{
    memcpy(ret_scalar, key->scalar, CRYPTO_SCALAR_LEN);
}

int crypto_p256_agree(const struct crypto_p256 *key, const uint8_t point[CRYPTO_POINT_LEN],
    uint8_t ret_secret[CRYPTO_SCALAR_LEN])
{
    size_t len = CRYPTO_SCALAR_LEN;
    EVP_PKEY *peer = make(NULL, point);
    if (peer == NULL) {
        return STATUS_INVALID;
    }
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key->pair, NULL);
    CHECK(context != NULL && EVP_PKEY_derive_init(context) == 1);
    bool good = EVP_PKEY_derive_set_peer(context, peer) == 1 &&
                EVP_PKEY_derive(context, ret_secret, &len) == 1 && len == CRYPTO_SCALAR_LEN;
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(peer);
    ERR_clear_error();
    return good ? 0 : STATUS_INVALID;
}

void crypto_p256_sign(const struct crypto_p256 *key, struct bytes content,
    uint8_t ret_signature[CRYPTO_SIGNATURE_LEN])
{
    uint8_t der[DER_MAX];
    size_t len = sizeof(der);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    CHECK(context != NULL &&
          EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key->pair) == 1 &&
          EVP_DigestSign(context, der, &len, (const unsigned char *)content.at, content.len) == 1);
    EVP_MD_CTX_free(context);
    const unsigned char *at = der;
    ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &at, (long)len);
    CHECK(signature != NULL &&
          BN_bn2binpad(ECDSA_SIG_get0_r(signature), ret_signature, CRYPTO_SCALAR_LEN) > 0 &&
          BN_bn2binpad(ECDSA_SIG_get0_s(signature), ret_signature + CRYPTO_SCALAR_LEN,
              CRYPTO_SCALAR_LEN) > 0);
    ECDSA_SIG_free(signature);
}

void crypto_aes128_gcm_seal(const uint8_t key[CRYPTO_AES128_LEN],
    const uint8_t nonce[CRYPTO_NONCE_LEN], struct bytes plain, uint8_t *ret_sealed)
{
    int len = 0;
    int end = 0;
    CHECK(plain.len <= INT_MAX - CRYPTO_TAG_LEN);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    CHECK(context != NULL &&
          EVP_EncryptInit_ex(context, EVP_aes_128_gcm(), NULL, key, nonce) == 1 &&
          EVP_EncryptUpdate(
              context, ret_sealed, &len, (const unsigned char *)plain.at, (int)plain.len) == 1 &&
          EVP_EncryptFinal_ex(context, ret_sealed + len, &end) == 1 &&
          EVP_CIPHER_CTX_ctrl(
              context, EVP_CTRL_GCM_GET_TAG, CRYPTO_TAG_LEN, ret_sealed + plain.len) == 1);
    EVP_CIPHER_CTX_free(context);
}
