/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/node/memory_guard.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "codec/base/log.h"
#include "codec/base/mem.h"

enum {
    DEFAULT_PERCENT = 80,
    HYSTERESIS_PERCENT = 5,
    PATH_LEN = 512,
    RESERVE_BYTES = 4 << 20, /* address space, for what is under way when it ends */
    EXCESSES_MAX = 10, /* by then all outboxes go */
    CLIENT_BYTES = 32 << 10, /* what a new one may cost at first, in the kernel too */
};

void memory_guard_start(void)
{
    /* libuv ends the process when a small allocation fails. */
    CHECK(uv_replace_allocator(mem_lib_malloc, mem_lib_realloc, mem_lib_calloc, mem_free) == 0);
    if (!mem_keep_reserve(RESERVE_BYTES)) {
        log_warn(
            "MEMORY-RESERVE", "there is no address space for a reserve", "bytes=%d", RESERVE_BYTES);
    }
}

uint64_t memory_guard_resident(void)
{
    unsigned long long size = 0;
    unsigned long long resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) {
        return 0;
    }
    if (fscanf(file, "%llu %llu", &size, &resident) != 2) {
        resident = 0;
    }
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The number in the file at `path`, or UINT64_MAX: there is none ("max"), or no file. */
static uint64_t read_number(const char *path)
{
    unsigned long long number = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return UINT64_MAX;
    }
    bool good = fscanf(file, "%20llu", &number) == 1;
    fclose(file);
    return good && number > 0 ? number : UINT64_MAX;
}

/* The least limit of the group `path` below `root` and of those it lies in. */
static uint64_t least_limit(const char *root, char *path, const char *name)
{
    uint64_t least = UINT64_MAX;
    for (;;) {
        char file[2 * PATH_LEN];
        snprintf(file, sizeof(file), "%s%s/%s", root, path, name);
        uint64_t limit = read_number(file);
        least = limit < least ? limit : least;
        char *slash = strrchr(path, '/');
        if (slash == NULL) {
            return least;
        }
        *slash = '\0';
    }
}

/* Of every line "N:controllers:/path" of /proc/self/cgroup that limits memory (cgroups(7)). */
static uint64_t cgroup_limit(void)
{
    char line[PATH_LEN];
    uint64_t least = UINT64_MAX;
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *path = strstr(line, ":/");
        if (path == NULL) {
            continue;
        }
        path++;
        uint64_t limit = UINT64_MAX;
        if (strncmp(line, "0::", 3) == 0) {
            limit = least_limit("/sys/fs/cgroup", path, "memory.max");
        } else if (strstr(line, ":memory:") != NULL) {
            limit = least_limit("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes");
        }
        least = limit < least ? limit : least;
    }
    if (file != NULL) {
        fclose(file);
    }
    return least;
}

/* What this process may use: the least of the machine's memory and the limits of its cgroups. */
static uint64_t available(void)
{
    uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t group = cgroup_limit();
    return group < machine ? group : machine;
}

static void begin(struct memory_guard *guard, uint64_t used, uint64_t limit)
{
    atomic_store_explicit(&guard->full, true, memory_order_relaxed);
    log_warn("MEMORY-FULL",
        used > limit ? "limits.memory is passed: refusing new clients, then the slowest go"
                     : "allocations fail: refusing new clients, then the slowest go",
        "bytes=%llu limit=%llu", (unsigned long long)used, (unsigned long long)limit);
}

static void end_below(struct memory_guard *guard, uint64_t used, uint64_t limit)
{
    if (used > limit - limit / 100 * HYSTERESIS_PERCENT) {
        return;
    }
    atomic_store_explicit(&guard->full, false, memory_order_relaxed);
    log_info("MEMORY-OK", "memory is below limits.memory again",
        "bytes=%llu limit=%llu refused=%llu ended=%llu", (unsigned long long)used,
        (unsigned long long)limit,
        (unsigned long long)atomic_load_explicit(&guard->refused, memory_order_relaxed),
        (unsigned long long)atomic_load_explicit(&guard->shed, memory_order_relaxed));
}

/* Whom it hit was refused; here the operator is told, at most once a second. */
static void tell_failures(struct memory_guard *guard, uint64_t used)
{
    uint64_t failures = mem_failures();
    if (failures != guard->failures) {
        log_error("NO-MEMORY", "allocations failed, whom they were for was refused",
            "count=%llu total=%llu bytes=%llu", (unsigned long long)(failures - guard->failures),
            (unsigned long long)failures, (unsigned long long)used);
        guard->failures = failures;
    }
}

uint64_t memory_guard_excess(const struct memory_guard *guard)
{
    uint64_t limit = atomic_load_explicit(&guard->limit, memory_order_relaxed);
    uint64_t used = memory_guard_resident();
    uint64_t excess = used > limit ? used - limit : mem_is_low() ? RESERVE_BYTES : 0;
    /* More go each time, until it helps: they may share what waits, and leave holes in the heap. */
    return excess << atomic_load_explicit(&guard->excesses, memory_order_relaxed);
}

static void note_excess(struct memory_guard *guard, bool excess)
{
    unsigned before = atomic_load_explicit(&guard->excesses, memory_order_relaxed);
    unsigned now = !excess ? 0 : before < EXCESSES_MAX ? before + 1 : before;
    atomic_store_explicit(&guard->excesses, now, memory_order_relaxed);
}

/* How many clients may come until the next look. */
static void make_room(struct memory_guard *guard, uint64_t used, uint64_t limit)
{
    uint64_t room = used < limit ? (limit - used) / CLIENT_BYTES : 0;
    atomic_store_explicit(&guard->room, (long long)room, memory_order_relaxed);
}

uint64_t memory_guard_look(struct memory_guard *guard, uint64_t used, uint64_t configured)
{
    bool second = guard->looks++ % MEMORY_LOOKS == 0;
    uint64_t limit = configured != 0 ? configured : available() / 100 * DEFAULT_PERCENT;
    bool was_full = atomic_load_explicit(&guard->full, memory_order_relaxed);
    atomic_store_explicit(&guard->limit, limit, memory_order_relaxed);
    if (second) {
        tell_failures(guard, used);
    }
    if ((used > limit && (second || !was_full)) || mem_is_low()) {
        (void)malloc_trim(0);
        used = memory_guard_resident();
    }
    bool low = mem_is_low() && !mem_keep_reserve(RESERVE_BYTES);
    bool too_much = used > limit || low;
    if (too_much && !was_full) {
        begin(guard, used, limit);
    } else if (was_full && !low) {
        end_below(guard, used, limit);
    }
    note_excess(guard, was_full && too_much);
    make_room(guard, used, limit);
    return was_full ? memory_guard_excess(guard) : 0;
}

bool memory_guard_refuses(struct memory_guard *guard)
{
    bool full = atomic_load_explicit(&guard->full, memory_order_relaxed) || mem_is_low();
    if (!full && atomic_load_explicit(&guard->limit, memory_order_relaxed) > 0) {
        full = atomic_fetch_sub_explicit(&guard->room, 1, memory_order_relaxed) <= 0;
    }
    if (full) {
        atomic_fetch_add_explicit(&guard->refused, 1, memory_order_relaxed);
    }
    return full;
}
