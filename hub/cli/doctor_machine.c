/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor_machine - what this machine lets a node have: descriptors, backlog, memory, cores, disk.
 */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "hub/cli/doctor.h"
#include "hub/config/config.h"

enum { FILES_OWN = 256, FILES_LEAST = 4096, DISK_LEAST_MB = 256, FOLDER_MAX = 4097 };

/* A node raises its soft limit to the hard one. */
static void look_at_files(struct doctor *doctor)
{
    struct rlimit files = {0};
    unsigned wanted = doctor->config->limits_connections;
    rlim_t least = wanted > 0 ? (rlim_t)wanted + FILES_OWN : FILES_LEAST;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_max != RLIM_INFINITY &&
        files.rlim_max < least) {
        doctor_find(doctor, "LIMIT-FILES",
            "raise it: LimitNOFILE= of the systemd unit, --ulimit nofile= of a container, "
            "/etc/security/limits.conf",
            "at most %llu files may be open here, and each client is one: %llu are needed for %s",
            (unsigned long long)files.rlim_max, (unsigned long long)least,
            wanted > 0 ? "limits.connections" : "a few thousand clients");
    }
}

static unsigned long read_number(const char *path)
{
    unsigned long number = 0;
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        number = fscanf(file, "%20lu", &number) == 1 ? number : 0;
        (void)fclose(file);
    }
    return number;
}

static void look_at_backlog(struct doctor *doctor)
{
    unsigned long most = read_number("/proc/sys/net/core/somaxconn");
    if (most > 0 && most < doctor->config->listen_backlog) {
        doctor_find(doctor, "LIMIT-BACKLOG",
            "sysctl -w net.core.somaxconn=N, or a lower listen.backlog",
            "the kernel keeps %lu connections that are not accepted yet, listen.backlog is %u: a "
            "crowd that comes back is turned away",
            most, doctor->config->listen_backlog);
    }
}

static void look_at_memory(struct doctor *doctor)
{
    struct sysinfo info = {0};
    unsigned long long limit = doctor->config->limits_memory;
    if (limit == 0 || sysinfo(&info) != 0) {
        return;
    }
    unsigned long long all = (unsigned long long)info.totalram * info.mem_unit;
    if (limit > all) {
        doctor_find(doctor, "LIMIT-MEMORY",
            "set limits.memory below what the machine has for Peal, or to 0",
            "limits.memory is %llu MiB, the machine has %llu MiB: the kernel ends the process "
            "before",
            limit >> 20, all >> 20);
    }
}

static void look_at_cores(struct doctor *doctor)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (cores > 0 && doctor->config->shards > (unsigned long)cores) {
        doctor_find(doctor, "LIMIT-CORES", "leave shards out: one for each core",
            "shards is %u, there are %ld cores: shards wait for each other", doctor->config->shards,
            cores);
    }
}

static void look_at_disk(struct doctor *doctor)
{
    char folder[FOLDER_MAX];
    struct statvfs info = {0};
    const char *path = doctor->config->store_path;
    const char *slash = strrchr(path, '/');
    (void)snprintf(folder, sizeof(folder), "%.*s", slash != NULL ? (int)(slash - path) + 1 : 1,
        slash != NULL ? path : ".");
    bool usable = access(path, R_OK | W_OK) == 0 ||
                  (access(path, F_OK) != 0 && access(folder, W_OK | X_OK) == 0);
    if (!usable) {
        doctor_find(doctor, "STORE-FILE",
            "create the folder, and let the user that the node runs as write to it",
            "store.path: %.1000s cannot be made or written", path);
    } else if (statvfs(folder, &info) == 0 &&
               (info.f_bavail * info.f_frsize) >> 20 < DISK_LEAST_MB) {
        doctor_find(doctor, "STORE-DISK", "make room, or move store.path",
            "%llu MiB are free where store.path lies",
            (unsigned long long)(info.f_bavail * info.f_frsize) >> 20);
    }
}

void doctor_look_at_machine(struct doctor *doctor)
{
    look_at_files(doctor);
    look_at_backlog(doctor);
    look_at_memory(doctor);
    look_at_cores(doctor);
    if (doctor->config->store_url[0] == '\0') {
        look_at_disk(doctor);
    }
}
