/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_keys - keys made while a test runs, so that none has to lie in the tree.
 */
#ifndef TESTS_SUPPORT_TEST_KEYS_H
#define TESTS_SUPPORT_TEST_KEYS_H

enum test_key_kind {
    TEST_KEY_RSA,
    TEST_KEY_RSA_1024,
    TEST_KEY_P256,
    TEST_KEY_P384,
    TEST_KEY_ED25519
};

/* A new key pair as PEM texts. */
struct test_key {
    char secret[4096]; /* PKCS #8 */
    char locked[4096]; /* the same, encrypted */
    char open[2048]; /* SubjectPublicKeyInfo */
    char certificate[4096]; /* self-signed; not for ED25519 */
};

/* Make one; a failure fails the test. */
void test_key_make(enum test_key_kind kind, struct test_key *ret_key);

#endif
