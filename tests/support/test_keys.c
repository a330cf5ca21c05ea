/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes RSA and EC keys and certificates with OpenSSL.
 */
#include "tests/support/test_keys.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

static EVP_PKEY *generate(enum test_key_kind kind)
{
    switch (kind) {
    case TEST_KEY_RSA:
        return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    case TEST_KEY_RSA_1024:
        return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024);
    case TEST_KEY_P256:
        return EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    case TEST_KEY_P384:
        return EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384");
    case TEST_KEY_ED25519:
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    }
    return NULL;
}

/* Copy what was written to `bio` and free it. */
static void take(BIO *bio, char *ret_text, size_t size)
{
    int len = BIO_read(bio, ret_text, (int)size - 1);
    cr_assert_gt(len, 0);
    ret_text[len] = '\0';
    BIO_free(bio);
}

static void make_certificate(EVP_PKEY *key, struct test_key *ret_key)
{
    X509 *certificate = X509_new();
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME *name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    cr_assert_gt(X509_sign(certificate, key, EVP_sha256()), 0);
    BIO *bio = BIO_new(BIO_s_mem());
    cr_assert_eq(PEM_write_bio_X509(bio, certificate), 1);
    take(bio, ret_key->certificate, sizeof(ret_key->certificate));
    X509_free(certificate);
}

void test_key_make(enum test_key_kind kind, struct test_key *ret_key)
{
    EVP_PKEY *key = generate(kind);
    cr_assert_not_null(key);
    BIO *bio = BIO_new(BIO_s_mem());
    cr_assert_eq(PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
    take(bio, ret_key->secret, sizeof(ret_key->secret));
    bio = BIO_new(BIO_s_mem());
    cr_assert_eq(
        PEM_write_bio_PKCS8PrivateKey(bio, key, EVP_aes_128_cbc(), "pass", 4, NULL, NULL), 1);
    take(bio, ret_key->locked, sizeof(ret_key->locked));
    bio = BIO_new(BIO_s_mem());
    cr_assert_eq(PEM_write_bio_PUBKEY(bio, key), 1);
    take(bio, ret_key->open, sizeof(ret_key->open));
    ret_key->certificate[0] = '\0';
    if (kind != TEST_KEY_ED25519) {
        make_certificate(key, ret_key);
    }
    EVP_PKEY_free(key);
}
