/* SPDX-License-Identifier: Apache-2.0 */
/*
 * both - one test body for every engine: BOTH(name) { … } runs with `url` of a new, empty store.
 */
#ifndef TESTS_UNIT_SQL_BOTH_H
#define TESTS_UNIT_SQL_BOTH_H

#include <criterion/criterion.h>

#include "tests/unit/sql/harness.h"

#define BOTH_WITH(engine, name)                                                                    \
    Test(engine, name)                                                                             \
    {                                                                                              \
        char url[URL_MAX];                                                                         \
        harness_url(#engine, url);                                                                 \
        name(url);                                                                                 \
    }

#define BOTH(name)                                                                                 \
    static void name(const char *url);                                                             \
    BOTH_WITH(sqlite, name)                                                                        \
    BOTH_WITH(postgres, name)                                                                      \
    static void name(const char *url)

#endif
