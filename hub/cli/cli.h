/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli - the command line: which commands there are, and their help.
 */
#ifndef HUB_CLI_CLI_H
#define HUB_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

struct config;

/*
 * Run one command with the settings loaded and `argv` what is left of its arguments, argv[argc]
 * NULL. Returns the exit code of the program: 0, 1 failed, 2 wrong arguments. Main thread.
 */
typedef int (*cli_command_fn)(const struct config *config, int argc, char **argv);

/* A command; rows stand in the order help shows them. */
struct cli_command {
    const char *name;
    const char *arguments; /* besides settings: "--user ID [--role ROLE]" */
    const char *summary;
    const char *help; /* more lines, each ended by a line feed; "" for none */
    bool settings; /* whether it needs them; without, `config` is NULL and none are read */
    cli_command_fn run;
};

extern const struct cli_command cli_commands[];
extern const size_t cli_command_count;

/*
 * Run the program: find the command named by argv[1], load the settings, run it. Returns the exit
 * code. Main thread.
 */
int cli_run(int argc, char **argv);

int command_check_config(const struct config *config, int argc, char **argv);
int command_dead(const struct config *config, int argc, char **argv);
int command_doctor(const struct config *config, int argc, char **argv);
int command_jobs(const struct config *config, int argc, char **argv);
int command_migrate(const struct config *config, int argc, char **argv);
int command_publish(const struct config *config, int argc, char **argv);
int command_serve(const struct config *config, int argc, char **argv);
int command_token(const struct config *config, int argc, char **argv);
int command_top(const struct config *config, int argc, char **argv);
int command_vapid(const struct config *config, int argc, char **argv);

#endif
