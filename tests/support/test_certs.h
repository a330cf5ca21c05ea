/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_certs - certificates made while a test runs, in files of a folder of its own, so that none
 * has to lie in the tree.
 */
#ifndef TESTS_SUPPORT_TEST_CERTS_H
#define TESTS_SUPPORT_TEST_CERTS_H

#include <stdbool.h>

enum { TEST_CERTS_MAX = 12, TEST_PATH_MAX = 128 };

/* A certificate and its key, as PEM files. */
struct test_cert {
    char cert[TEST_PATH_MAX];
    char key[TEST_PATH_MAX];
    void *x509; /* of OpenSSL: X509, EVP_PKEY */
    void *pkey;
};

struct test_certs {
    char folder[64];
    struct test_cert of[TEST_CERTS_MAX];
    unsigned count;
};

struct test_cert_options {
    const char *name; /* of the host, also an address; as the subject */
    const struct test_cert *issuer; /* NULL: itself */
    int from_days; /* from now on; both 0: from yesterday, for 90 days */
    int to_days;
    bool rsa; /* else P-256 */
    bool ca;
};

/* Make the folder; a failure fails the test, here and below. */
void test_certs_begin(struct test_certs *certs);

/* Make a certificate; it lives as long as `certs`. */
const struct test_cert *test_certs_make(
    struct test_certs *certs, const struct test_cert_options *options);

/* Write `text` into a file of the folder, whose path goes to `ret_path`. */
void test_certs_write(
    struct test_certs *certs, const char *name, const char *text, char ret_path[TEST_PATH_MAX]);

/* Remove folder and files. */
void test_certs_end(struct test_certs *certs);

#endif
