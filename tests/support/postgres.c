/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a cluster with initdb, starts the server on a Unix socket, and ends it in all the ways that
 * tests need.
 */
#include "tests/support/postgres.h"

#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { START_SECONDS = 60, PATH_LEN = 512 };

/* Write the path of a program of the newest Postgres there is. */
static bool find_program(const char *name, char ret_path[PATH_LEN])
{
    static const char *const patterns[] = {
        "/usr/lib/postgresql/*/bin/%s", "/usr/local/pgsql/bin/%s", "/usr/bin/%s"};
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        char pattern[PATH_LEN];
        const char *star = strstr(patterns[i], "%s");
        (void)snprintf(
            pattern, sizeof(pattern), "%.*s%s", (int)(star - patterns[i]), patterns[i], name);
        glob_t found;
        bool any = glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc > 0;
        if (any) {
            (void)snprintf(ret_path, PATH_LEN, "%s", found.gl_pathv[found.gl_pathc - 1]);
        }
        globfree(&found);
        if (any) {
            return true;
        }
    }
    return false;
}

/* Postgres refuses to run as root: then it runs as the user that its package made. */
static const struct passwd *other_user(void)
{
    return geteuid() == 0 ? getpwnam("postgres") : NULL;
}

/* Run a program in the directory, its output in `log`; returns its pid. */
static pid_t spawn(const char *directory, char *const argv[])
{
    const struct passwd *user = other_user();
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid != 0) {
        return pid;
    }
    char log[PATH_LEN];
    (void)snprintf(log, sizeof(log), "%s/log", directory);
    if (user && (setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)) {
        _exit(126);
    }
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    /* After setuid, which would clear it. SIGQUIT is an immediate stop of all backends. */
    if (out < 0 || chdir(directory) != 0 || prctl(PR_SET_PDEATHSIG, SIGQUIT) != 0 ||
        getppid() != parent) {
        _exit(126);
    }
    (void)dup2(out, STDOUT_FILENO);
    (void)dup2(out, STDERR_FILENO);
    (void)execv(argv[0], argv);
    _exit(127);
}

static bool make_cluster(const char *directory)
{
    char program[PATH_LEN];
    char data[PATH_LEN];
    if (!find_program("initdb", program)) {
        return false;
    }
    (void)snprintf(data, sizeof(data), "%s/data", directory);
    char *argv[] = {program, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
        "--locale=C.UTF-8", "--no-sync", NULL};
    int status = -1;
    pid_t pid = spawn(directory, argv);
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static void make_url(const char *directory, const char *database, char ret_url[POSTGRES_URL_MAX])
{
    (void)snprintf(
        ret_url, POSTGRES_URL_MAX, "postgresql:///%s?host=%s&user=postgres", database, directory);
}

static bool wait_until_up(const struct postgres *postgres)
{
    char url[POSTGRES_URL_MAX];
    make_url(postgres->directory, "postgres", url);
    time_t deadline = time(NULL) + START_SECONDS;
    while (time(NULL) < deadline && waitpid(postgres->pid, NULL, WNOHANG) == 0) {
        if (PQping(url) == PQPING_OK) {
            return true;
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    return false;
}

static bool start_server(struct postgres *postgres)
{
    char program[PATH_LEN];
    char data[PATH_LEN];
    if (!find_program("postgres", program)) {
        return false;
    }
    (void)snprintf(data, sizeof(data), "%s/data", postgres->directory);
    /* Tests end backends, never the machine: without fsync they are quicker. */
    char *argv[] = {program, "-D", data, "-k", postgres->directory, "-c", "listen_addresses=", "-c",
        "fsync=off", "-c", "max_connections=200", "-c", "shared_buffers=32MB", NULL};
    postgres->pid = spawn(postgres->directory, argv);
    return postgres->pid > 0 && wait_until_up(postgres);
}

bool postgres_start(struct postgres *postgres)
{
    *postgres = (struct postgres){.directory = "/tmp/peal-pg-XXXXXX"};
    if (!mkdtemp(postgres->directory)) {
        return false;
    }
    const struct passwd *user = other_user();
    bool owned = !user || chown(postgres->directory, user->pw_uid, user->pw_gid) == 0;
    if (!owned || !make_cluster(postgres->directory) || !start_server(postgres)) {
        (void)fprintf(stderr, "Postgres does not start: see %s/log\n", postgres->directory);
        return false;
    }
    return setenv(POSTGRES_ENV, postgres->directory, 1) == 0;
}

void postgres_crash(struct postgres *postgres)
{
    (void)kill(postgres->pid, SIGQUIT);
    (void)waitpid(postgres->pid, NULL, 0);
    postgres->pid = 0;
}

bool postgres_resume(struct postgres *postgres)
{
    return start_server(postgres);
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    return remove(path);
}

void postgres_stop(struct postgres *postgres)
{
    if (postgres->pid > 0) {
        (void)kill(postgres->pid, SIGINT);
        (void)waitpid(postgres->pid, NULL, 0);
        postgres->pid = 0;
    }
    (void)nftw(postgres->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

bool postgres_query(const char *url, const char *sql, char *ret_text, size_t text_size)
{
    PGconn *pg = PQconnectdb(url);
    PGresult *result = PQexec(pg, sql);
    ExecStatusType status = PQresultStatus(result);
    bool done = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    if (!done) {
        (void)fprintf(stderr, "%s: %s", sql, PQerrorMessage(pg));
    }
    if (done && ret_text && PQntuples(result) > 0) {
        (void)snprintf(ret_text, text_size, "%s", PQgetvalue(result, 0, 0));
    }
    PQclear(result);
    PQfinish(pg);
    return done;
}

bool postgres_create_database_in(const char *directory, char ret_url[POSTGRES_URL_MAX])
{
    static unsigned count;
    char url[POSTGRES_URL_MAX];
    char name[48];
    char sql[96];
    (void)snprintf(name, sizeof(name), "t%d_%u", (int)getpid(), count++);
    (void)snprintf(sql, sizeof(sql), "CREATE DATABASE %s", name);
    make_url(directory, "postgres", url);
    make_url(directory, name, ret_url);
    return postgres_query(url, sql, NULL, 0);
}

bool postgres_create_database(char ret_url[POSTGRES_URL_MAX])
{
    const char *directory = getenv(POSTGRES_ENV);
    return directory && postgres_create_database_in(directory, ret_url);
}
