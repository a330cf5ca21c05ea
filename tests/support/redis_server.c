/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts a server on a free port, waits until it answers, and stops, kills or restarts it.
 */
#include "tests/support/redis_server.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "codec/base/check.h"
#include "codec/base/rand.h"

enum { START_TRIES = 5, WAIT_MS = 20000, ARGS_MAX = 40 };

/*
 * Below the ports that the kernel gives away: while a server is gone, links go on calling its port,
 * and nobody else must answer there, neither another test's listener nor the calling socket.
 */
enum { PORT_FIRST = 15000, PORT_LAST = 32000 };

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
}

static bool is_free(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = loopback(port);
    bool is_ours = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return is_ours;
}

int redis_server_free_port(void)
{
    for (;;) {
        uint16_t random;
        rand_secret((uint8_t *)&random, sizeof(random));
        int port = PORT_FIRST + random % (PORT_LAST - PORT_FIRST);
        if (is_free(port)) {
            return port;
        }
    }
}

static void pause_ms(long ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

/* Whether there is a line, and of a bulk string another one. */
static bool is_complete(const char *answer)
{
    const char *end = strchr(answer, '\n');
    return end != NULL && (answer[0] != '$' || answer[1] == '-' || strchr(end + 1, '\n') != NULL);
}

/* The first line that answers `line`, of a bulk string its first one; "" when there is no answer.
 */
static const char *ask(int port, const char *line)
{
    static char answer[512];
    answer[0] = '\0';
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = loopback(port);
    struct timeval patience = {.tv_sec = 10};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        dprintf(fd, "%s\r\n", line) > 0) {
        size_t len = 0;
        while (len + 1 < sizeof(answer) && !is_complete(answer)) {
            ssize_t got = read(fd, answer + len, sizeof(answer) - 1 - len);
            if (got <= 0) {
                break;
            }
            len += (size_t)got;
            answer[len] = '\0';
        }
        const char *rest = answer[0] == '$' && answer[1] != '-' ? strchr(answer, '\n') : NULL;
        if (rest != NULL) {
            memmove(answer, rest + 1, strlen(rest));
        }
        answer[strcspn(answer, "\r\n")] = '\0';
    }
    close(fd);
    return answer;
}

static void run_server(const struct redis_server *server, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(1);
    }
    if (server->is_sentinel) {
        char file[96];
        snprintf(file, sizeof(file), "%s/conf", server->folder);
        execlp("redis-server", "redis-server", file, "--sentinel", (char *)NULL);
        _exit(127);
    }
    char port[16];
    char log[96];
    snprintf(port, sizeof(port), "%d", server->port);
    snprintf(log, sizeof(log), "%s/log", server->folder);
    const char *args[ARGS_MAX] = {"redis-server", "--port", port, "--bind", "127.0.0.1",
        "--unixsocket", server->socket_path, "--dir", server->folder, "--logfile", log, "--save",
        "", "--appendonly", server->append_only ? "yes" : "no", "--daemonize", "no"};
    size_t count = 17;
    if (server->password != NULL) {
        args[count++] = "--requirepass";
        args[count++] = server->password;
    }
    if (server->clustered) {
        const char *const cluster[] = {"--cluster-enabled", "yes", "--cluster-node-timeout", "1000",
            "--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"};
        memcpy(args + count, cluster, sizeof(cluster));
        count += ARRAY_LEN(cluster);
    }
    char tls_port[16];
    if (server->tls_cert != NULL) {
        snprintf(tls_port, sizeof(tls_port), "%d", server->tls_port);
        const char *const tls[] = {"--tls-port", tls_port, "--tls-cert-file", server->tls_cert,
            "--tls-key-file", server->tls_key, "--tls-ca-cert-file", server->tls_ca,
            "--tls-auth-clients", server->tls_clients ? "yes" : "no"};
        memcpy(args + count, tls, sizeof(tls));
    }
    execvp(args[0], (char *const *)args);
    _exit(127);
}

/* Fork the server and wait until it answers; false when it ended or stays silent. */
static bool launch(struct redis_server *server)
{
    pid_t parent = getpid();
    server->pid = fork();
    cr_assert_geq(server->pid, 0);
    if (server->pid == 0) {
        run_server(server, parent);
    }
    for (int waited = 0; waited < WAIT_MS; waited += 10) {
        const char *answer = ask(server->port, "PING");
        if (strcmp(answer, "+PONG") == 0 || strncmp(answer, "-NOAUTH", 7) == 0) {
            return true;
        }
        if (waitpid(server->pid, NULL, WNOHANG) == server->pid) {
            server->pid = 0;
            return false;
        }
        pause_ms(10);
    }
    return false;
}

void redis_server_start(struct redis_server *server)
{
    snprintf(server->folder, sizeof(server->folder), "/tmp/peal-redis-XXXXXX");
    cr_assert_not_null(mkdtemp(server->folder));
    snprintf(server->socket_path, sizeof(server->socket_path), "%s/s", server->folder);
    snprintf(server->unix_url, sizeof(server->unix_url), "unix://%s", server->socket_path);
    bool up = false;
    for (int i = 0; i < START_TRIES && !up; i++) {
        server->port = redis_server_free_port();
        server->tls_port = redis_server_free_port();
        up = launch(server);
    }
    cr_assert(up, "redis-server did not start");
    snprintf(server->url, sizeof(server->url), "redis://127.0.0.1:%d", server->port);
}

static void write_sentinel(const struct redis_server *sentinel, const char *name, int master_port)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/conf", sentinel->folder);
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file);
    fprintf(file,
        "port %d\nbind 127.0.0.1\ndir %s\nlogfile %s/log\n"
        "sentinel monitor %s 127.0.0.1 %d 1\nsentinel down-after-milliseconds %s 500\n"
        "sentinel failover-timeout %s 2000\n",
        sentinel->port, sentinel->folder, sentinel->folder, name, master_port, name, name);
    fclose(file);
}

void redis_server_start_sentinel(struct redis_server *sentinel, const char *name, int master_port)
{
    snprintf(sentinel->folder, sizeof(sentinel->folder), "/tmp/peal-redis-XXXXXX");
    cr_assert_not_null(mkdtemp(sentinel->folder));
    sentinel->is_sentinel = true;
    bool up = false;
    for (int i = 0; i < START_TRIES && !up; i++) {
        sentinel->port = redis_server_free_port();
        write_sentinel(sentinel, name, master_port);
        up = launch(sentinel);
    }
    cr_assert(up, "the sentinel did not start");
}

void redis_server_restart(struct redis_server *server)
{
    cr_assert_eq(server->pid, 0);
    bool up = false;
    for (int i = 0; i < START_TRIES && !up; i++) {
        up = launch(server);
    }
    cr_assert(up, "redis-server did not start again");
}

static void end(struct redis_server *server, int signal)
{
    if (server->pid > 0) {
        kill(server->pid, signal);
        cr_assert_eq(waitpid(server->pid, NULL, 0), server->pid);
        server->pid = 0;
    }
}

void redis_server_stop(struct redis_server *server)
{
    end(server, SIGTERM);
}

void redis_server_kill(struct redis_server *server)
{
    end(server, SIGKILL);
}

void redis_server_freeze(struct redis_server *server)
{
    int state = 0;
    cr_assert_eq(kill(server->pid, SIGSTOP), 0);
    cr_assert_eq(waitpid(server->pid, &state, WUNTRACED), server->pid);
    cr_assert(WIFSTOPPED(state));
}

void redis_server_thaw(struct redis_server *server)
{
    cr_assert_eq(kill(server->pid, SIGCONT), 0);
}

const char *redis_server_say(const struct redis_server *server, const char *line)
{
    return ask(server->port, line);
}

static int remove_entry(const char *path, const struct stat *stat, int kind, struct FTW *walk)
{
    (void)stat;
    (void)kind;
    (void)walk;
    return remove(path);
}

void redis_server_finish(struct redis_server *server)
{
    end(server, SIGKILL);
    nftw(server->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
