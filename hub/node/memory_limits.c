/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the groups with a limit by the files of /proc, and reads what they use from files kept
 * open.
 */
#include "hub/node/memory_limits.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum {
    PROCESS_PERCENT = 80,
    HEADROOM_PERCENT = 20,
    HEADROOM_MAX = 64 << 20,
    LINE_SIZE = 512, /* of /proc/self/cgroup; a group below a longer path is not found */
    PATH_SIZE = 2 * LINE_SIZE,
    STAT_MAX = 8192,
};

static const char version1[] = "/sys/fs/cgroup/memory";
static const char version2[] = "/sys/fs/cgroup";

static int open_file(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* What the open file has, from its start, as text; false: it cannot be read any more. */
static bool read_text(int fd, char *text, size_t size)
{
    ssize_t len = fd >= 0 ? pread(fd, text, size - 1, 0) : -1;
    text[len > 0 ? len : 0] = '\0';
    return len > 0;
}

/* The first number of the open file, or UINT64_MAX: there is none ("max"), or no file. */
static uint64_t read_number(int fd)
{
    char text[64];
    char *end = text;
    unsigned long long number = read_text(fd, text, sizeof(text)) ? strtoull(text, &end, 10) : 0;
    return end != text ? number : UINT64_MAX;
}

/* A file in a folder; a path that is too long is no file. */
static int open_in(const char *folder, const char *name)
{
    char path[PATH_SIZE];
    int len = snprintf(path, sizeof(path), "%s/%s", folder, name);
    return len < (int)sizeof(path) ? open_file(path) : -1;
}

static uint64_t read_file(const char *folder, const char *name)
{
    int fd = open_in(folder, name);
    uint64_t number = read_number(fd);
    if (fd >= 0) {
        close(fd);
    }
    return number;
}

uint64_t memory_limits_resident(const struct memory_limits *limits)
{
    char text[128];
    unsigned long long resident = 0;
    if (!read_text(limits->resident, text, sizeof(text)) ||
        sscanf(text, "%*u %llu", &resident) != 1) {
        return 0;
    }
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Groups. */

static void close_groups(struct memory_limits *limits)
{
    for (unsigned i = 0; i < limits->group_count; i++) {
        close(limits->groups[i].usage);
        close(limits->groups[i].stat);
    }
    limits->group_count = 0;
}

/* Keep the group in this folder, if it has a limit that is one on this machine. */
static void add_group(struct memory_limits *limits, const char *folder, bool unified)
{
    uint64_t max = read_file(folder, unified ? "memory.max" : "memory.limit_in_bytes");
    uint64_t high = unified ? read_file(folder, "memory.high") : UINT64_MAX;
    max = high < max ? high : max;
    if (max >= limits->machine || limits->group_count == MEMORY_GROUPS_MAX) {
        return;
    }
    struct memory_group group = {
        .max = max,
        .usage = open_in(folder, unified ? "memory.current" : "memory.usage_in_bytes"),
        .stat = open_in(folder, "memory.stat"),
        .unified = unified,
    };
    if (group.usage < 0 || group.stat < 0) {
        close(group.usage);
        close(group.stat);
        return;
    }
    limits->groups[limits->group_count++] = group;
}

/* The group `path` below `mount` and all that it lies in; in a container often only the last of
 * these is to be seen, as the mount itself. */
static void add_groups(struct memory_limits *limits, const char *mount, char *path, bool unified)
{
    for (;;) {
        char folder[PATH_SIZE];
        snprintf(folder, sizeof(folder), "%s%s%s", limits->root, mount, path);
        add_group(limits, folder, unified);
        char *slash = strrchr(path, '/');
        if (slash == NULL) {
            return;
        }
        *slash = '\0';
    }
}

/* Whether `name` is in a list with commas. */
static bool lists(const char *list, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = list; (at = strstr(at, name)) != NULL; at += len) {
        if ((at == list || at[-1] == ',') && (at[len] == ',' || at[len] == '\0')) {
            return true;
        }
    }
    return false;
}

/* A line "N:controllers:/path" of /proc/self/cgroup (cgroups(7)). */
static void take_line(struct memory_limits *limits, char *line)
{
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':');
    char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
    if (path == NULL || path[1] != '/') {
        return;
    }
    *path++ = '\0';
    controllers++;
    if (path[1] == '\0') {
        path[0] = '\0'; /* the root is the mount */
    }
    if (lists(controllers, "memory")) {
        add_groups(limits, version1, path, false);
    } else if (controllers[0] == '\0') {
        add_groups(limits, version2, path, true);
    }
}

void memory_limits_find(struct memory_limits *limits)
{
    char line[LINE_SIZE];
    close_groups(limits);
    snprintf(line, sizeof(line), "%s/proc/self/cgroup", limits->root);
    FILE *file = fopen(line, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        take_line(limits, line);
    }
    if (file != NULL) {
        fclose(file);
    }
}

static uint64_t find_stat(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at != NULL ? strtoull(at + strlen(name), NULL, 10) : 0;
}

/*
 * Pages of files, of the group and those in it, that the kernel takes back when it is short: those
 * that nobody uses, and half of the others (as it reckons for MemAvailable: a store that is read
 * again and again would fill the group otherwise). 0: not known.
 */
static uint64_t read_pages(const struct memory_group *group)
{
    char text[STAT_MAX];
    if (!read_text(group->stat, text, sizeof(text))) {
        return 0;
    }
    return group->unified
               ? find_stat(text, "\ninactive_file ") + find_stat(text, "\nactive_file ") / 2
               : find_stat(text, "\ntotal_inactive_file ") +
                     find_stat(text, "\ntotal_active_file ") / 2;
}

static struct memory_level read_group(const struct memory_group *group)
{
    uint64_t headroom = group->max / 100 * HEADROOM_PERCENT;
    headroom = headroom < HEADROOM_MAX ? headroom : HEADROOM_MAX;
    struct memory_level level = {.limit = group->max - headroom, .end = group->max};
    uint64_t usage = read_number(group->usage);
    if (usage == UINT64_MAX) {
        return (struct memory_level){0}; /* the group is gone: the next search finds ours */
    }
    if (usage > level.limit) { /* else it makes no difference */
        uint64_t pages = read_pages(group);
        usage = pages < usage ? usage - pages : 0;
    }
    level.used = usage;
    return level;
}

struct memory_level memory_limits_group(const struct memory_limits *limits)
{
    struct memory_level nearest = {0};
    int64_t least = INT64_MAX;
    for (unsigned i = 0; i < limits->group_count; i++) {
        struct memory_level level = read_group(&limits->groups[i]);
        int64_t room = (int64_t)(level.limit - level.used);
        if (level.end != 0 && room < least) {
            least = room;
            nearest = level;
        }
    }
    return nearest;
}

/* The process. */

struct memory_level memory_limits_process(const struct memory_limits *limits, uint64_t configured)
{
    uint64_t least = limits->machine;
    for (unsigned i = 0; i < limits->group_count; i++) {
        least = limits->groups[i].max < least ? limits->groups[i].max : least;
    }
    return (struct memory_level){
        .used = memory_limits_resident(limits),
        .limit = configured != 0 ? configured : least / 100 * PROCESS_PERCENT,
    };
}

void memory_limits_init(struct memory_limits *limits, const char *root)
{
    char path[PATH_SIZE];
    *limits = (struct memory_limits){
        .machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE)};
    CHECK(strlen(root) < sizeof(limits->root));
    memcpy(limits->root, root, strlen(root) + 1);
    snprintf(path, sizeof(path), "%s/proc/self/statm", root);
    limits->resident = open_file(path);
    memory_limits_find(limits);
}

void memory_limits_finish(struct memory_limits *limits)
{
    close_groups(limits);
    if (limits->resident >= 0) {
        close(limits->resident);
    }
}
