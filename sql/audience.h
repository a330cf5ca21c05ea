/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audience - what both engines have in common about posts to many; private to sql/.
 */
#ifndef SQL_AUDIENCE_H
#define SQL_AUDIENCE_H

#include <stdbool.h>

#include "sql/store_audience.h"

/* Whether a request of store_audience.h can be kept by either engine. */
bool audience_is_valid(const struct store_request *request);

/* Clear its outputs that are pointers, counts or flags. */
void audience_clear(struct store_request *request);

#endif
