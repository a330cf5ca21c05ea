/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_server - a real redis-server for a test: own folder, free port, unix socket.
 *
 * It dies with the test process. Any failure to start it fails the test.
 */
#ifndef TESTS_SUPPORT_REDIS_SERVER_H
#define TESTS_SUPPORT_REDIS_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

struct redis_server {
    pid_t pid; /* 0: not running */
    int port;
    char folder[64];
    char socket_path[96];
    char url[64]; /* redis://127.0.0.1:<port> */
    char unix_url[128];
    bool append_only;
    const char *password; /* of the default user; NULL: none */
    const char *tls_cert; /* PEM files; NULL: no TLS */
    const char *tls_key;
    const char *tls_ca;
    bool tls_clients; /* want a certificate of theirs */
    int tls_port; /* of TLS, besides `port` */
    bool clustered; /* a server of a cluster, without slots and others so far */
    bool is_sentinel;
};

/*
 * Start a server; `append_only`, `password`, `clustered` and TLS are read from `server`, the rest
 * is filled in. Waits until it answers.
 */
void redis_server_start(struct redis_server *server);

/* Start a sentinel, alone, of the master at `master_port`, under `name`. */
void redis_server_start_sentinel(struct redis_server *sentinel, const char *name, int master_port);

/* Start it again on the same port and socket, after redis_server_stop or _kill. */
void redis_server_restart(struct redis_server *server);

/* SIGTERM, or SIGKILL, and wait for its end. */
void redis_server_stop(struct redis_server *server);
void redis_server_kill(struct redis_server *server);

/* SIGSTOP: connections stay open and nothing answers; SIGCONT. */
void redis_server_freeze(struct redis_server *server);
void redis_server_thaw(struct redis_server *server);

/*
 * Send one line in Redis' inline syntax over a connection of its own and return the first line of
 * the answer, or of the string that it is, in static storage.
 */
const char *redis_server_say(const struct redis_server *server, const char *line);

/* Stop the server if it runs and remove its folder. */
void redis_server_finish(struct redis_server *server);

/* A port of 127.0.0.1 that was free a moment ago. */
int redis_server_free_port(void);

#endif
