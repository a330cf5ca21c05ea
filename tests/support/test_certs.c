/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes certificates with OpenSSL and writes them into files.
 */
#include "tests/support/test_certs.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DAY_S = 86400 };

void test_certs_begin(struct test_certs *certs)
{
    memset(certs, 0, sizeof(*certs));
    snprintf(certs->folder, sizeof(certs->folder), "/tmp/peal-certs-XXXXXX");
    cr_assert_not_null(mkdtemp(certs->folder));
}

static void extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    cr_assert_not_null(extension);
    cr_assert_eq(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static X509 *make(const struct test_cert_options *options, EVP_PKEY *key, unsigned serial)
{
    bool usual = options->from_days == 0 && options->to_days == 0;
    X509 *cert = X509_new();
    X509 *issuer = options->issuer != NULL ? options->issuer->x509 : cert;
    EVP_PKEY *signer = options->issuer != NULL ? options->issuer->pkey : key;
    char names[200];
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), (long)getpid() * 16 + serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), (usual ? -1L : options->from_days) * DAY_S);
    X509_gmtime_adj(X509_getm_notAfter(cert), (usual ? 90L : options->to_days) * DAY_S);
    X509_set_pubkey(cert, key);
    X509_NAME *subject = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(
        subject, "CN", MBSTRING_ASC, (const unsigned char *)options->name, -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer));
    if (options->ca) {
        extend(cert, issuer, NID_basic_constraints, "critical,CA:TRUE");
        extend(cert, issuer, NID_key_usage, "critical,keyCertSign,cRLSign");
    }
    bool address = strspn(options->name, "0123456789.:") == strlen(options->name);
    snprintf(names, sizeof(names), "%s:%s", address ? "IP" : "DNS", options->name);
    extend(cert, issuer, NID_subject_alt_name, names);
    cr_assert_gt(X509_sign(cert, signer, EVP_sha256()), 0);
    return cert;
}

const struct test_cert *test_certs_make(
    struct test_certs *certs, const struct test_cert_options *options)
{
    cr_assert_lt(certs->count, TEST_CERTS_MAX);
    unsigned index = certs->count++;
    struct test_cert *made = &certs->of[index];
    EVP_PKEY *key = options->rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
    cr_assert_not_null(key);
    made->pkey = key;
    made->x509 = make(options, key, index);
    char folder[sizeof(certs->folder)];
    memcpy(folder, certs->folder, sizeof(folder));
    snprintf(made->cert, sizeof(made->cert), "%s/%u.crt", folder, index);
    snprintf(made->key, sizeof(made->key), "%s/%u.key", folder, index);
    FILE *file = fopen(made->cert, "we");
    cr_assert(PEM_write_X509(file, made->x509));
    fclose(file);
    file = fopen(made->key, "we");
    cr_assert(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL));
    fclose(file);
    return made;
}

void test_certs_write(
    struct test_certs *certs, const char *name, const char *text, char ret_path[TEST_PATH_MAX])
{
    snprintf(ret_path, TEST_PATH_MAX, "%s/%s", certs->folder, name);
    FILE *file = fopen(ret_path, "we");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    fclose(file);
}

void test_certs_end(struct test_certs *certs)
{
    DIR *folder = opendir(certs->folder);
    cr_assert_not_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[TEST_PATH_MAX + 256];
        snprintf(path, sizeof(path), "%s/%s", certs->folder, entry->d_name);
        if (entry->d_name[0] != '.') {
            unlink(path);
        }
    }
    closedir(folder);
    rmdir(certs->folder);
    for (unsigned i = 0; i < certs->count; i++) {
        X509_free(certs->of[i].x509);
        EVP_PKEY_free(certs->of[i].pkey);
    }
}
