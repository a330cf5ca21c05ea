/* SPDX-License-Identifier: Apache-2.0 */
/* What memory is used and allowed, of files of both versions of cgroups, and what follows from it.
 */
#include <criterion/criterion.h>
#include <ftw.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "hub/node/memory_guard.h"

#define MIB (UINT64_C(1) << 20)

enum { NAME_SIZE = 256 };

static char root[] = "/tmp/peal-memory-XXXXXX";
static char log_text[8192];

/* Write a file below the root, its folders too; what was there is written over, in place. */
PRINTF_LIKE(2, 3) static void put(const char *name, const char *format, ...)
{
    char path[NAME_SIZE];
    snprintf(path, sizeof(path), "%s%s", root, name);
    for (char *slash = strchr(path + sizeof(root), '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file, "%s", path);
    va_list args;
    va_start(args, format);
    vfprintf(file, format, args);
    va_end(args);
    fclose(file);
}

static void set_resident(uint64_t bytes)
{
    put("/proc/self/statm", "999999 %llu 300 1 0 400 0\n",
        (unsigned long long)(bytes / (uint64_t)sysconf(_SC_PAGESIZE)));
}

/* A group of version 1: `used` of `limit` bytes, `inactive` and `active` of them pages of files. */
static void set_old_active(
    const char *group, uint64_t limit, uint64_t used, uint64_t inactive, uint64_t active)
{
    char name[NAME_SIZE];
    snprintf(name, sizeof(name), "/sys/fs/cgroup/memory%s/memory.limit_in_bytes", group);
    put(name, "%llu\n", (unsigned long long)limit);
    snprintf(name, sizeof(name), "/sys/fs/cgroup/memory%s/memory.usage_in_bytes", group);
    put(name, "%llu\n", (unsigned long long)used);
    snprintf(name, sizeof(name), "/sys/fs/cgroup/memory%s/memory.stat", group);
    put(name,
        "cache 7\ninactive_file 1\ntotal_cache 7\ntotal_inactive_file %llu\ntotal_active_file "
        "%llu\n",
        (unsigned long long)inactive, (unsigned long long)active);
}

static void set_old(const char *group, uint64_t limit, uint64_t used, uint64_t inactive)
{
    set_old_active(group, limit, used, inactive, 0);
}

/* Of version 2; `max` and `high` as text. */
static void set_new(
    const char *group, const char *max, const char *high, uint64_t used, uint64_t inactive)
{
    char name[NAME_SIZE];
    snprintf(name, sizeof(name), "/sys/fs/cgroup%s/memory.max", group);
    put(name, "%s\n", max);
    snprintf(name, sizeof(name), "/sys/fs/cgroup%s/memory.high", group);
    put(name, "%s\n", high);
    snprintf(name, sizeof(name), "/sys/fs/cgroup%s/memory.current", group);
    put(name, "%llu\n", (unsigned long long)used);
    snprintf(name, sizeof(name), "/sys/fs/cgroup%s/memory.stat", group);
    put(name, "anon 5\nfile 9\nactive_file 0\ninactive_file %llu\n", (unsigned long long)inactive);
}

static void keep_log(enum log_level level, const char *line, size_t len)
{
    (void)level;
    size_t have = strlen(log_text);
    if (have + len < sizeof(log_text)) {
        memcpy(log_text + have, line, len);
        log_text[have + len] = '\0';
    }
}

static void begin(void)
{
    cr_assert_not_null(mkdtemp(root));
    set_resident(10 * MIB);
    log_set_sink(keep_log);
}

static int remove_entry(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void finish(void)
{
    cr_assert_eq(nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

TestSuite(memory_limits, .init = begin, .fini = finish, .timeout = 60);

Test(memory_limits, without_groups_the_machine_is_the_limit)
{
    struct memory_limits limits;
    memory_limits_init(&limits, root);
    cr_assert_eq(memory_limits_group(&limits).end, 0);
    struct memory_level level = memory_limits_process(&limits, 0);
    cr_assert_eq(level.used, 10 * MIB);
    cr_assert_eq(level.limit, limits.machine / 100 * 80);
    cr_assert_eq(memory_limits_process(&limits, 77).limit, 77);
    memory_limits_finish(&limits);
}

Test(memory_limits, a_group_of_version_1_counts_what_the_kernel_cannot_take_back)
{
    put("/proc/self/cgroup", "11:cpu,cpuacct:/a\n5:hugetlb,memory:/a/b\n0::/\n");
    set_old("/a/b", 64 * MIB, 60 * MIB, 20 * MIB);
    set_old("/a", UINT64_C(9223372036854771712), 900 * MIB, 0); /* no limit */
    struct memory_limits limits;
    memory_limits_init(&limits, root);
    struct memory_level level = memory_limits_group(&limits);
    cr_assert_eq(level.used, 40 * MIB);
    cr_assert_eq(level.end, 64 * MIB);
    cr_assert_eq(level.limit, 64 * MIB - 64 * MIB / 100 * 20);
    cr_assert_eq(memory_limits_process(&limits, 0).limit, 64 * MIB / 100 * 80);
    set_old_active("/a/b", 64 * MIB, 60 * MIB, 4 * MIB, 8 * MIB);
    cr_assert_eq(memory_limits_group(&limits).used, 52 * MIB, "half of those that are used");
    memory_limits_finish(&limits);
}

Test(memory_limits, a_group_of_version_2_ends_at_max_or_at_high)
{
    put("/proc/self/cgroup", "0::/pod/hub\n");
    set_new("/pod/hub", "1073741824", "max", 600 * MIB, 100 * MIB);
    set_new("/pod", "max", "536870912", 500 * MIB, 10 * MIB);
    struct memory_limits limits;
    memory_limits_init(&limits, root);
    struct memory_level level = memory_limits_group(&limits);
    cr_assert_eq(level.end, 512 * MIB, "the outer one has less room");
    cr_assert_eq(level.used, 490 * MIB);
    cr_assert_eq(level.limit, (512 - 64) * MIB, "at most 64 MiB below");
    set_new("/pod", "max", "536870912", 100 * MIB, 0);
    set_new("/pod/hub", "1073741824", "max", 1000 * MIB, 24 * MIB);
    level = memory_limits_group(&limits);
    cr_assert_eq(level.end, 1024 * MIB, "now the inner one");
    cr_assert_eq(level.used, 976 * MIB);
    memory_limits_finish(&limits);
}

Test(memory_limits, in_a_container_the_mount_itself_is_the_group)
{
    put("/proc/self/cgroup", "4:memory:/docker/0123456789abcdef\n");
    set_old("", 64 * MIB, 8 * MIB, 0);
    struct memory_limits limits;
    memory_limits_init(&limits, root);
    cr_assert_eq(memory_limits_group(&limits).end, 64 * MIB);
    memory_limits_finish(&limits);
}

Test(memory_limits, a_group_that_is_changed_is_found_with_the_next_search)
{
    put("/proc/self/cgroup", "4:memory:/\n");
    struct memory_limits limits;
    memory_limits_init(&limits, root);
    cr_assert_eq(memory_limits_group(&limits).end, 0);
    put("/proc/self/cgroup", "4:memory:/new\n");
    set_old("/new", 64 * MIB, 8 * MIB, 0);
    memory_limits_find(&limits);
    cr_assert_eq(memory_limits_group(&limits).end, 64 * MIB);
    memory_limits_finish(&limits);
}

Test(memory_limits, nonsense_is_no_limit)
{
    static const char *const lines[] = {"", "x", ":::", "4:memory\n", "4:memory:relative\n",
        "4:memories:/a\n", "0::/a\n", "4:memory:/a\n"};
    set_old("/a", 0, 1, 0);
    put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "none");
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        put("/proc/self/cgroup", "%s", lines[i]);
        struct memory_limits limits;
        memory_limits_init(&limits, root);
        cr_assert_eq(memory_limits_group(&limits).end, 0, "%s", lines[i]);
        memory_limits_finish(&limits);
    }
}

/* The guard, in a group of 64 MiB, and its clock. */
static struct memory_guard guard;
static uint64_t now_ms;

static uint64_t look_after(uint64_t ms, uint64_t used)
{
    set_old("/g", 64 * MIB, used, 0);
    now_ms += ms;
    return memory_guard_look(&guard, 0, now_ms);
}

static void begin_guard(void)
{
    begin();
    put("/proc/self/cgroup", "4:memory:/g\n");
    set_old("/g", 64 * MIB, 10 * MIB, 0);
    memory_guard_init(&guard, root);
    now_ms = 100000;
    cr_assert_eq(look_after(0, 10 * MIB), 0);
}

TestSuite(memory_guard, .init = begin_guard, .fini = finish, .timeout = 60);

Test(memory_guard, above_the_groups_limit_clients_are_refused_and_the_excess_is_told)
{
    cr_assert_not(memory_guard_refuses(&guard));
    uint64_t limit = atomic_load(&guard.group_limit);
    cr_assert_eq(limit, 64 * MIB - 64 * MIB / 100 * 20);
    cr_assert_eq(look_after(100, limit + 3 * MIB), 3 * MIB, "with the first look");
    cr_assert(memory_guard_refuses(&guard));
    cr_assert_eq(memory_guard_excess(&guard), 3 * MIB);
    cr_assert_not_null(strstr(log_text, "MEMORY-FULL"));
    cr_assert_not_null(strstr(log_text, "the cgroup is nearly full"));
    cr_assert_eq(atomic_load(&guard.group_bytes), limit + 3 * MIB);
}

Test(memory_guard, more_goes_each_time_until_it_helps)
{
    uint64_t limit = atomic_load(&guard.group_limit);
    uint64_t used = limit + MIB;
    cr_assert_eq(look_after(100, used), MIB);
    cr_assert_eq(look_after(1, used), MIB, "what was let go is not free yet");
    cr_assert_eq(look_after(MEMORY_FREED_MS, used), 2 * MIB);
    cr_assert_eq(look_after(MEMORY_FREED_MS, used), 4 * MIB);
    cr_assert_eq(look_after(MEMORY_FREED_MS, limit - 1), 0);
    cr_assert_eq(look_after(MEMORY_FREED_MS, used), MIB, "it begins anew");
}

Test(memory_guard, clients_come_again_five_percent_below)
{
    uint64_t limit = atomic_load(&guard.group_limit);
    cr_assert_gt(look_after(100, limit + 1), 0);
    cr_assert_eq(look_after(100, limit - limit / 100), 0);
    cr_assert(memory_guard_refuses(&guard), "not far enough below");
    cr_assert_eq(look_after(100, limit - limit / 100 * 5 - 1), 0);
    cr_assert_not(memory_guard_refuses(&guard));
    cr_assert_not_null(strstr(log_text, "MEMORY-OK"));
}

Test(memory_guard, no_more_clients_come_between_two_looks_than_fit)
{
    uint64_t limit = atomic_load(&guard.group_limit);
    cr_assert_eq(look_after(100, limit - 10 * MEMORY_CLIENT_BYTES), 0);
    for (unsigned i = 0; i < 10; i++) {
        cr_assert_not(memory_guard_refuses(&guard), "%u", i);
    }
    cr_assert(memory_guard_refuses(&guard));
    cr_assert_eq(look_after(100, limit - 10 * MEMORY_CLIENT_BYTES), 0);
    cr_assert_not(memory_guard_refuses(&guard), "until the next look");
}

Test(memory_guard, near_its_end_all_that_may_fail_fails)
{
    uint64_t limit = atomic_load(&guard.group_limit);
    void *one = mem_try_alloc(1);
    cr_assert_not_null(one);
    cr_assert_gt(look_after(100, limit + (64 * MIB - limit) / 2 + 1), 0);
    cr_assert_null(mem_try_alloc(1));
    cr_assert_not_null(strstr(log_text, "MEMORY-END"));
    void *small = mem_alloc(1);
    cr_assert_not_null(small, "what aborts does not");
    cr_assert_gt(look_after(100, limit + 1), 0);
    cr_assert_null(mem_try_alloc(1), "until it is below the limit");
    cr_assert_eq(look_after(100, limit), 0);
    void *two = mem_try_alloc(1);
    cr_assert_not_null(two);
    mem_free(one);
    mem_free(two);
    mem_free(small);
}

Test(memory_guard, the_less_is_left_the_sooner_a_shard_looks)
{
    uint64_t limit = atomic_load(&guard.group_limit);
    look_after(100, limit - 16 * MIB);
    cr_assert_eq(memory_guard_step(&guard), 2 * MIB);
    look_after(100, limit - MIB);
    cr_assert_eq(memory_guard_step(&guard), 256 << 10, "and not after each byte");
    look_after(100, limit + MIB);
    cr_assert_eq(memory_guard_step(&guard), 256 << 10);
}

Test(memory_guard, the_resident_set_counts_where_it_is_nearer)
{
    set_resident(30 * MIB);
    cr_assert_eq(memory_guard_look(&guard, 20 * MIB, now_ms + 100), 10 * MIB);
    cr_assert_not_null(strstr(log_text, "limits.memory is passed"));
    cr_assert_eq(atomic_load(&guard.limit), 20 * MIB);
}

/* Giving back. */

static pthread_t trims_on;
static atomic_uint trims;
static atomic_bool trim_may_end;
static uint64_t after_trim;

static int fake_trim(size_t pad)
{
    (void)pad;
    trims_on = pthread_self();
    atomic_fetch_add(&trims, 1);
    while (!atomic_load(&trim_may_end)) {
        usleep(100);
    }
    if (after_trim > 0) {
        set_resident(after_trim);
    }
    return 1;
}

static bool is_trimming(void)
{
    pthread_mutex_lock(&guard.trimmer.lock);
    bool busy = guard.trimmer.wanted || guard.trimmer.busy;
    pthread_mutex_unlock(&guard.trimmer.lock);
    return busy;
}

static void run_fake_trimmer(uint64_t leaves)
{
    atomic_store(&trims, 0);
    atomic_store(&trim_may_end, false);
    after_trim = leaves;
    guard.trimmer.trim = fake_trim;
    memory_guard_run(&guard);
}

static void end_trim(void)
{
    atomic_store(&trim_may_end, true);
    while (is_trimming()) {
        usleep(100);
    }
}

Test(memory_guard, free_memory_is_given_back_by_a_thread_before_anybody_goes)
{
    run_fake_trimmer(15 * MIB);
    set_resident(30 * MIB);
    cr_assert_eq(memory_guard_look(&guard, 20 * MIB, now_ms + 100), 0, "it may be enough");
    cr_assert(memory_guard_refuses(&guard), "nobody new comes");
    cr_assert_null(strstr(log_text, "MEMORY-FULL"));
    end_trim();
    cr_assert_eq(atomic_load(&trims), 1);
    cr_assert_not(pthread_equal(trims_on, pthread_self()), "no loop does it");
    cr_assert_eq(memory_guard_look(&guard, 20 * MIB, now_ms + 200), 0);
    cr_assert_null(strstr(log_text, "MEMORY-FULL"), "it was enough");
    cr_assert_not(memory_guard_refuses(&guard));
    memory_guard_finish(&guard);
}

Test(memory_guard, giving_back_that_is_of_no_use_rests_twice_as_long_each_time)
{
    run_fake_trimmer(0);
    set_resident(30 * MIB);
    cr_assert_eq(memory_guard_look(&guard, 20 * MIB, now_ms + 100), 0);
    end_trim();
    cr_assert_eq(memory_guard_look(&guard, 20 * MIB, now_ms + 200), 10 * MIB, "they go");
    cr_assert_not_null(strstr(log_text, "limits.memory is passed"));
    cr_assert_eq(guard.trimmer.rest_ms, TRIMMER_REST_MIN_MS);
    for (uint64_t rest = 2 * TRIMMER_REST_MIN_MS; rest <= 4 * TRIMMER_REST_MIN_MS; rest *= 2) {
        guard.trimmer.rests_until_ms = 0; /* it has rested */
        (void)memory_guard_look(&guard, 20 * MIB, now_ms += 1000);
        end_trim();
        cr_assert_eq(guard.trimmer.rest_ms, rest, "%llu", (unsigned long long)rest);
    }
    cr_assert_eq(atomic_load(&trims), 3);
    memory_guard_finish(&guard);
}

Test(memory_guard, near_the_end_of_a_group_nobody_waits_for_what_is_given_back)
{
    uint64_t limit = atomic_load(&guard.group_limit);
    run_fake_trimmer(0);
    cr_assert_eq(look_after(100, limit + MIB), 0);
    cr_assert_gt(look_after(1, limit + (64 * MIB - limit) / 2), 0);
    end_trim();
    memory_guard_finish(&guard);
}
