/* SPDX-License-Identifier: Apache-2.0 */
/*
 * messages - what was said in rooms, as the test of plans uses it.
 */
#ifndef TESTS_UNIT_SQL_MESSAGES_H
#define TESTS_UNIT_SQL_MESSAGES_H

#include "tests/unit/sql/harness.h"

/* Add to two rooms, of which one has many messages, list one of them, and drop what is over. */
void use_messages(struct harness *harness);

#endif
