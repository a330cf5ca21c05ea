/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads /proc: scheduler statistics of threads, resident memory, and the kernel's softirq threads.
 */
#include "tests/bench/process.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PATH_LEN = 320, LINE_LEN = 256, THREADS_MAX = 256 };

bool process_parse(const char *text, struct process_set *set)
{
    while (*text != '\0') {
        char *end;
        long pid = strtol(text, &end, 10);
        if (end == text || pid <= 0 || set->count == PROCESS_MAX || (*end != ',' && *end != '\0')) {
            return false;
        }
        set->pids[set->count++] = (pid_t)pid;
        text = *end == ',' ? end + 1 : end;
    }
    return true;
}

/* The first number of a schedstat file: nanoseconds on a CPU. */
static uint64_t read_schedstat(const char *path)
{
    unsigned long long ns = 0;
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        if (fscanf(file, "%llu", &ns) != 1) {
            ns = 0;
        }
        (void)fclose(file);
    }
    return ns;
}

static uint64_t cpu_of(pid_t pid)
{
    char path[PATH_LEN];
    uint64_t sum = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL) {
        return 0;
    }
    for (struct dirent *entry; (entry = readdir(tasks)) != NULL;) {
        if (entry->d_name[0] != '.') {
            (void)snprintf(
                path, sizeof(path), "/proc/%d/task/%s/schedstat", (int)pid, entry->d_name);
            sum += read_schedstat(path);
        }
    }
    (void)closedir(tasks);
    return sum;
}

uint64_t process_cpu_ns(const struct process_set *set)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < set->count; i++) {
        sum += cpu_of(set->pids[i]);
    }
    return sum;
}

uint64_t process_user_ns(const struct process_set *set)
{
    uint64_t ticks = 0;
    for (size_t i = 0; i < set->count; i++) {
        char path[PATH_LEN];
        unsigned long long user = 0;
        (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)set->pids[i]);
        FILE *file = fopen(path, "re");
        if (file != NULL) { /* pid (name) state, ten numbers, the user time */
            ticks += fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu",
                         &user) == 1
                         ? user
                         : 0;
            (void)fclose(file);
        }
    }
    return ticks * (1000000000U / (uint64_t)sysconf(_SC_CLK_TCK));
}

uint64_t process_own_cpu_ns(void)
{
    struct timespec spent;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    return (uint64_t)spent.tv_sec * 1000000000U + (uint64_t)spent.tv_nsec;
}

static bool is_softirq_thread(const char *pid)
{
    char path[PATH_LEN];
    char name[LINE_LEN] = "";
    (void)snprintf(path, sizeof(path), "/proc/%s/comm", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    bool read = fgets(name, sizeof(name), file) != NULL;
    (void)fclose(file);
    return read && strncmp(name, "ksoftirqd/", 10) == 0;
}

uint64_t process_softirq_ns(void)
{
    static char paths[THREADS_MAX][PATH_LEN];
    static size_t count = SIZE_MAX;
    if (count == SIZE_MAX) {
        count = 0;
        DIR *proc = opendir("/proc");
        for (struct dirent *entry; proc != NULL && (entry = readdir(proc)) != NULL;) {
            bool numeric = entry->d_name[0] >= '1' && entry->d_name[0] <= '9';
            if (numeric && count < THREADS_MAX && is_softirq_thread(entry->d_name)) {
                (void)snprintf(paths[count++], PATH_LEN, "/proc/%s/schedstat", entry->d_name);
            }
        }
        if (proc != NULL) {
            (void)closedir(proc);
        }
    }
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += read_schedstat(paths[i]);
    }
    return sum;
}

uint64_t process_rss(const struct process_set *set, bool peak)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < set->count; i++) {
        char path[PATH_LEN];
        char line[LINE_LEN];
        (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)set->pids[i]);
        FILE *file = fopen(path, "re");
        while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
            unsigned long long kib;
            if (sscanf(line, peak ? "VmHWM: %llu" : "VmRSS: %llu", &kib) == 1) {
                sum += kib * 1024;
            }
        }
        if (file != NULL) {
            (void)fclose(file);
        }
    }
    return sum;
}
