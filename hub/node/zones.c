/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the directory of TZif files. A zone that has several names is read for each.
 */
#include "hub/node/zones.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/log.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "codec/zone.h"

enum { PATH_MAX_LEN = 512, DEPTH_MAX = 3 };

struct named {
    struct zone *zone;
    char name[]; /* NUL-terminated */
};

struct zones {
    struct map by_name; /* struct named */
};

static struct bytes key_of(const void *named)
{
    return bytes_str(((const struct named *)named)->name);
}

static void add(struct zones *zones, const char *name, struct zone *zone)
{
    size_t len = strlen(name) + 1;
    struct named *named = mem_alloc(sizeof(*named) + len);
    named->zone = zone;
    memcpy(named->name, name, len);
    CHECK(map_put(&zones->by_name, named)); /* at start, before there are peers */
}

static void read_file(struct zones *zones, const char *path, const char *name)
{
    static char content[ZONE_FILE_MAX]; /* the main thread's */
    struct zone *zone;
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        return;
    }
    size_t len = fread(content, 1, sizeof(content), file);
    (void)fclose(file);
    if (zone_parse(bytes_of(content, len), &zone) == 0) { /* there are tables beside the zones */
        add(zones, name, zone);
    }
}

/* The same zones once more with leap seconds, and without; the machine's own; none. */
static bool is_no_zone(const char *name)
{
    static const char *const others[] = {"posix", "right", "posixrules", "localtime", "Factory"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (strcmp(name, others[i]) == 0) {
            return true;
        }
    }
    return name[0] == '.';
}

static void read_directory(struct zones *zones, const char *root, const char *below, unsigned depth)
{
    char path[PATH_MAX_LEN];
    char name[ZONE_NAME_MAX + 1];
    (void)snprintf(path, sizeof(path), "%s/%s", root, below);
    DIR *directory = opendir(path);
    if (directory == NULL) {
        return;
    }
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        int len = snprintf(
            name, sizeof(name), "%s%s%s", below, below[0] != '\0' ? "/" : "", entry->d_name);
        if (is_no_zone(entry->d_name) || len < 0 || (size_t)len >= sizeof(name)) {
            continue;
        }
        (void)snprintf(path, sizeof(path), "%s/%s", root, name);
        bool tell = entry->d_type != DT_UNKNOWN; /* not every file system tells */
        if (!tell || entry->d_type != DT_DIR) {
            read_file(zones, path, name);
        }
        if ((!tell || entry->d_type == DT_DIR) && depth < DEPTH_MAX) {
            read_directory(zones, root, name, depth + 1);
        }
    }
    (void)closedir(directory);
}

struct zones *zones_create(const char *directory)
{
    struct zones *zones = mem_alloc(sizeof(*zones));
    map_init(&zones->by_name, key_of);
    read_directory(zones, directory, "", 0);
    if (map_count(&zones->by_name) == 0) {
        log_warn("ZONES-MISSING",
            "there are no time zones: users can name no other than UTC; install tzdata, continuing",
            "directory=%s", log_quote(bytes_str(directory)));
    }
    return zones;
}

void zones_destroy(struct zones *zones)
{
    if (zones == NULL) {
        return;
    }
    size_t cursor = 0;
    for (struct named *named; (named = map_next(&zones->by_name, &cursor)) != NULL;) {
        zone_destroy(named->zone);
        mem_free(named);
    }
    map_finish(&zones->by_name);
    mem_free(zones);
}

bool zones_find(void *zones, struct bytes name, const struct zone **ret_zone)
{
    const struct named *named = map_get(&((const struct zones *)zones)->by_name, name);
    *ret_zone = named != NULL ? named->zone : NULL;
    return named != NULL || bytes_eq_str(name, "UTC");
}
