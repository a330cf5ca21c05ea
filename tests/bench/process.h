/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process - what processes cost: CPU time of all their threads, memory, and the kernel's network
 * threads.
 */
#ifndef TESTS_BENCH_PROCESS_H
#define TESTS_BENCH_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { PROCESS_MAX = 8 };

struct process_set {
    pid_t pids[PROCESS_MAX];
    size_t count;
};

/* Add the comma-separated ids in `text`; false when they are not numbers or too many. */
bool process_parse(const char *text, struct process_set *set);

/* Nanoseconds of CPU that the living threads of all processes have used. */
uint64_t process_cpu_ns(const struct process_set *set);

/* Of these, those not spent in the kernel; counted in ticks of (commonly) 10 ms. */
uint64_t process_user_ns(const struct process_set *set);

/* Nanoseconds that this process has used. */
uint64_t process_own_cpu_ns(void);

/* Nanoseconds that all ksoftirqd threads have used. */
uint64_t process_softirq_ns(void);

/* Resident memory of all processes, in bytes; `peak`: the highest it has been. */
uint64_t process_rss(const struct process_set *set, bool peak);

#endif
