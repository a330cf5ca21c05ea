/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The version that this program speaks, in a file of its own, so that a test can link another.
 */
#include "codec/bus_version.h"

/* Tests link programs that are ahead of this one. */
#ifndef BUS_VERSION_AHEAD
#define BUS_VERSION_AHEAD 0
#endif

const unsigned bus_version = 1 + BUS_VERSION_AHEAD;

bool bus_version_is_near(unsigned other)
{
    return other < bus_version ? bus_version - other == 1 : other - bus_version <= 1;
}
