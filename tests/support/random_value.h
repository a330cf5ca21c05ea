/* SPDX-License-Identifier: Apache-2.0 */
/*
 * random_value - random JSON and MessagePack values for tests of codecs.
 */
#ifndef TESTS_SUPPORT_RANDOM_VALUE_H
#define TESTS_SUPPORT_RANDOM_VALUE_H

#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/rand.h"

/* The seed of a test: PEAL_SEED, or another each time. A failing test prints it. */
uint64_t random_value_seed(void);

/* Append one value, containers nested at most `depth` deep. */
void random_value_msgpack(struct rand *rand, unsigned depth, struct builder *out);
void random_value_json(struct rand *rand, unsigned depth, struct builder *out);

/* Append random valid UTF-8 of up to `max` characters, control characters among them. */
void random_value_text(struct rand *rand, unsigned max, struct builder *out);

#endif
