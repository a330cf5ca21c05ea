/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests, HMAC and comparison over OpenSSL's EVP interface, and PEM keys turned into JWK.
 */
#include "hub/net/crypto.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/base64.h"

enum { RSA_BITS_MIN = 2048, RSA_BITS_MAX = 8192, P256_BYTES = 32 };

/* --- memory -------------------------------------------------------------------------------- */

/* What OpenSSL makes for a digest or a key has some 100 bytes, for a connection's records 17 KiB.
 */
enum { SMALL_MAX = 4 << 10 };

static void *allocate(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    if (size == 0) {
        return NULL;
    }
    return size <= SMALL_MAX ? mem_lib_malloc(size) : mem_try_alloc(size);
}

static void let_go(void *at, const char *file, int line)
{
    (void)file;
    (void)line;
    mem_free(at);
}

static void *reallocate(void *at, size_t size, const char *file, int line)
{
    if (at == NULL) {
        return allocate(size, file, line);
    }
    if (size == 0) {
        mem_free(at);
        return NULL;
    }
    return size <= SMALL_MAX ? mem_lib_realloc(at, size) : mem_try_realloc(at, size);
}

bool crypto_use_reserve(void)
{
    return CRYPTO_set_mem_functions(allocate, reallocate, let_go) == 1;
}

/* --- digests ------------------------------------------------------------------------------- */

/* Fetched once, for the life of the process: EVP_sha256() is looked up by name in every call. */
static pthread_once_t fetched = PTHREAD_ONCE_INIT;
static EVP_MD *sha1;
static EVP_MD *sha256;

static void fetch(void)
{
    sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    CHECK(sha1 != NULL && sha256 != NULL);
}

static void digest(EVP_MD *const *kind, struct bytes content, uint8_t *ret_digest)
{
    CHECK(pthread_once(&fetched, fetch) == 0);
    CHECK(EVP_Digest(content.at, content.len, ret_digest, NULL, *kind, NULL) == 1);
}

void crypto_sha1(struct bytes content, uint8_t ret_digest[CRYPTO_SHA1_LEN])
{
    digest(&sha1, content, ret_digest);
}

void crypto_sha256(struct bytes content, uint8_t ret_digest[CRYPTO_SHA256_LEN])
{
    digest(&sha256, content, ret_digest);
}

void crypto_hash128(struct bytes content, uint8_t ret_digest[CRYPTO_HASH128_LEN])
{
    uint8_t whole[CRYPTO_SHA256_LEN];
    crypto_sha256(content, whole);
    memcpy(ret_digest, whole, CRYPTO_HASH128_LEN);
}

void crypto_hmac_sha256(
    struct bytes key, struct bytes content, uint8_t ret_digest[CRYPTO_SHA256_LEN])
{
    CHECK(key.len <= INT32_MAX);
    const void *at = key.len > 0 ? key.at : "";
    CHECK(HMAC(EVP_sha256(), at, (int)key.len, (const unsigned char *)content.at, content.len,
              ret_digest, NULL) != NULL);
}

/* OpenSSL keeps the digests of both pads in its context and starts from them each time. */
struct crypto_hmac {
    EVP_MAC_CTX *context;
};

struct crypto_hmac *crypto_hmac_create(struct bytes key)
{
    struct crypto_hmac *hmac = mem_alloc(sizeof(*hmac));
    EVP_MAC *kind = EVP_MAC_fetch(NULL, "HMAC", NULL);
    char name[] = "SHA256";
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
        OSSL_PARAM_construct_end(),
    };
    hmac->context = EVP_MAC_CTX_new(kind);
    CHECK(hmac->context != NULL);
    const void *at = key.len > 0 ? key.at : "";
    CHECK(EVP_MAC_init(hmac->context, at, key.len, parameters) == 1);
    EVP_MAC_free(kind);
    return hmac;
}

void crypto_hmac_destroy(struct crypto_hmac *hmac)
{
    if (hmac != NULL) {
        EVP_MAC_CTX_free(hmac->context);
        mem_free(hmac);
    }
}

void crypto_hmac_run(
    struct crypto_hmac *hmac, struct bytes content, uint8_t ret_digest[CRYPTO_SHA256_LEN])
{
    size_t len = 0;
    CHECK(EVP_MAC_init(hmac->context, NULL, 0, NULL) == 1 &&
          EVP_MAC_update(hmac->context, (const unsigned char *)content.at, content.len) == 1 &&
          EVP_MAC_final(hmac->context, ret_digest, &len, CRYPTO_SHA256_LEN) == 1);
    CHECK(len == CRYPTO_SHA256_LEN);
}

void crypto_hkdf_sha256(
    struct bytes secret, struct bytes salt, struct bytes info, uint8_t *ret_key, size_t ret_len)
{
    enum { INFO_MAX = 160 };
    uint8_t root[CRYPTO_SHA256_LEN];
    uint8_t last[CRYPTO_SHA256_LEN];
    uint8_t text[CRYPTO_SHA256_LEN + INFO_MAX + 1];
    size_t last_len = 0;
    CHECK(info.len <= INFO_MAX && ret_len <= (size_t)255 * CRYPTO_SHA256_LEN);
    crypto_hmac_sha256(salt, secret, root);
    for (uint8_t count = 1; ret_len > 0; count++) {
        memcpy(text, last, last_len);
        memcpy(text + last_len, info.len > 0 ? info.at : "", info.len);
        text[last_len + info.len] = count;
        crypto_hmac_sha256(
            bytes_of(root, sizeof(root)), bytes_of(text, last_len + info.len + 1), last);
        last_len = sizeof(last);
        size_t part = ret_len < last_len ? ret_len : last_len;
        memcpy(ret_key, last, part);
        ret_key += part;
        ret_len -= part;
    }
    crypto_wipe(root, sizeof(root));
    crypto_wipe(last, sizeof(last));
    crypto_wipe(text, sizeof(text));
}

bool crypto_equal(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

void crypto_wipe(void *at, size_t len)
{
    OPENSSL_cleanse(at, len);
}

/* --- keys ---------------------------------------------------------------------------------- */

/* Refuse to ask the terminal for a passphrase. */
static int no_passphrase(char *at, int size, int writing, void *context)
{
    (void)at;
    (void)size;
    (void)writing;
    (void)context;
    return -1;
}

/* A private key, a public key, or a certificate's; whichever the text has. */
static EVP_PKEY *read_key(struct bytes pem)
{
    EVP_PKEY *key = NULL;
    BIO *bio = BIO_new_mem_buf(pem.at, (int)pem.len);
    CHECK(bio != NULL);
    key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    if (key == NULL) {
        (void)BIO_reset(bio);
        key = PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL);
    }
    if (key == NULL) {
        (void)BIO_reset(bio);
        X509 *certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
        key = certificate != NULL ? X509_get_pubkey(certificate) : NULL;
        X509_free(certificate);
    }
    BIO_free(bio);
    ERR_clear_error();
    return key;
}

/* Append `,"name":"<base64url>"`, padded with zeros to `width`; false when the key has none. */
static bool add_number(
    struct builder *jwk, const EVP_PKEY *key, const char *param, const char *name, size_t width)
{
    BIGNUM *number = NULL;
    if (EVP_PKEY_get_bn_param(key, param, &number) != 1) {
        ERR_clear_error();
        return false;
    }
    size_t len = (size_t)BN_num_bytes(number);
    len = len < width ? width : len;
    unsigned char *raw = mem_alloc(len + 1);
    CHECK(BN_bn2binpad(number, raw, (int)len) == (int)len);
    builder_printf(jwk, ",\"%s\":\"", name);
    char *at = builder_reserve(jwk, BASE64URL_LEN(len));
    if (at != NULL) {
        builder_commit(jwk, base64url_encode(bytes_of(raw, len), at));
    }
    builder_byte(jwk, '"');
    OPENSSL_cleanse(raw, len);
    mem_free(raw);
    BN_clear_free(number);
    return true;
}

static int add_rsa(struct builder *jwk, const EVP_PKEY *key)
{
    static const struct {
        const char *param;
        const char *name;
    } private_members[] = {
        {OSSL_PKEY_PARAM_RSA_D, "d"},
        {OSSL_PKEY_PARAM_RSA_FACTOR1, "p"},
        {OSSL_PKEY_PARAM_RSA_FACTOR2, "q"},
        {OSSL_PKEY_PARAM_RSA_EXPONENT1, "dp"},
        {OSSL_PKEY_PARAM_RSA_EXPONENT2, "dq"},
        {OSSL_PKEY_PARAM_RSA_COEFFICIENT1, "qi"},
    };
    int bits = EVP_PKEY_get_bits(key);
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX) {
        return STATUS_UNSUPPORTED;
    }
    builder_str(jwk, "{\"kty\":\"RSA\"");
    if (!add_number(jwk, key, OSSL_PKEY_PARAM_RSA_N, "n", 0) ||
        !add_number(jwk, key, OSSL_PKEY_PARAM_RSA_E, "e", 0)) {
        return STATUS_INVALID;
    }
    for (size_t i = 0; i < ARRAY_LEN(private_members); i++) {
        if (!add_number(jwk, key, private_members[i].param, private_members[i].name, 0)) {
            break; /* a public key */
        }
    }
    return 0;
}

static int add_ec(struct builder *jwk, const EVP_PKEY *key)
{
    char group[64] = "";
    if (EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) != 1 ||
        strcmp(group, "prime256v1") != 0) {
        return STATUS_UNSUPPORTED;
    }
    builder_str(jwk, "{\"kty\":\"EC\",\"crv\":\"P-256\"");
    if (!add_number(jwk, key, OSSL_PKEY_PARAM_EC_PUB_X, "x", P256_BYTES) ||
        !add_number(jwk, key, OSSL_PKEY_PARAM_EC_PUB_Y, "y", P256_BYTES)) {
        return STATUS_INVALID;
    }
    add_number(jwk, key, OSSL_PKEY_PARAM_PRIV_KEY, "d", P256_BYTES);
    return 0;
}

int crypto_pem_to_jwk(struct bytes pem, struct builder *jwk, enum crypto_key_kind *ret_kind)
{
    if (pem.len == 0 || pem.len > 1 << 20) {
        return STATUS_INVALID;
    }
    size_t before = builder_bytes(jwk).len;
    EVP_PKEY *key = read_key(pem);
    if (key == NULL) {
        bool encrypted = memmem(pem.at, pem.len, "ENCRYPTED", 9) != NULL;
        return encrypted ? STATUS_DENIED : STATUS_INVALID;
    }
    int status = STATUS_UNSUPPORTED;
    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA) {
        *ret_kind = CRYPTO_KEY_RSA;
        status = add_rsa(jwk, key);
    } else if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC) {
        *ret_kind = CRYPTO_KEY_EC_P256;
        status = add_ec(jwk, key);
    }
    builder_byte(jwk, '}');
    EVP_PKEY_free(key);
    ERR_clear_error();
    if (status == 0 && builder_failed(jwk)) {
        status = STATUS_TOO_LARGE;
    }
    if (status != 0) {
        builder_truncate(jwk, before);
    }
    return status;
}
