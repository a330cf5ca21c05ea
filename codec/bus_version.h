/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus_version - which formats nodes speak among themselves: announcements, broadcasts, requests,
 * records, leases.
 *
 * It is raised with every change of one of them. Nodes of versions N and N + 1 work together: a
 * node writes what the lowest version alive reads, and reads its own version and the one before. A
 * node does not start while one alive is farther away, so an upgrade goes one version at a time.
 */
#ifndef CODEC_BUS_VERSION_H
#define CODEC_BUS_VERSION_H

#include <stdbool.h>

/* That of this program. */
extern const unsigned bus_version;

/* Whether this program and one of version `other` work together. */
bool bus_version_is_near(unsigned other);

#endif
