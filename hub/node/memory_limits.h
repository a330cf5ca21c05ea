/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory_limits - how much memory there is and how much is used: the resident set against the
 * setting, and each cgroup around the process that has a limit against that one.
 *
 * A group is charged with what is not resident here: what the kernel keeps for sockets and files,
 * and other processes. It is the group at whose limit the kernel kills. Versions 1 and 2 of
 * cgroups; what is read often is kept open.
 */
#ifndef HUB_NODE_MEMORY_LIMITS_H
#define HUB_NODE_MEMORY_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

enum { MEMORY_GROUPS_MAX = 8, MEMORY_ROOT_MAX = 128 };

struct memory_group {
    uint64_t max; /* bytes: memory.max, memory.high or memory.limit_in_bytes */
    int usage; /* a file, as the next */
    int stat;
    bool unified; /* version 2 */
};

struct memory_limits {
    char root[MEMORY_ROOT_MAX];
    uint64_t machine; /* bytes */
    int resident; /* a file */
    unsigned group_count;
    struct memory_group groups[MEMORY_GROUPS_MAX]; /* limited ones, the innermost first */
};

/* How far something is from its limit, in bytes. */
struct memory_level {
    uint64_t used; /* without pages of files that the kernel takes back when it is short */
    uint64_t limit; /* what is to be stayed below */
    uint64_t end; /* of a group: there the kernel kills; 0: not a group */
};

/* Begin; `root` stands before /proc and /sys ("" but in tests), and is copied. */
void memory_limits_init(struct memory_limits *limits, const char *root);

/* Close the files. */
void memory_limits_finish(struct memory_limits *limits);

/* Find the groups anew: a process may be moved, and limits change. */
void memory_limits_find(struct memory_limits *limits);

/* The resident set against `configured`; 0: 80 % of what the machine and the groups allow. */
struct memory_level memory_limits_process(const struct memory_limits *limits, uint64_t configured);

/* The group that is nearest to its limit; all zero: none has one. A limit is 20 % below the end,
 * at most 64 MiB: what comes between two looks does not grow with the group. */
struct memory_level memory_limits_group(const struct memory_limits *limits);

/* Resident memory, in bytes; 0: not known. */
uint64_t memory_limits_resident(const struct memory_limits *limits);

#endif
