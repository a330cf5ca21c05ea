/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the command that was asked for, loads settings for those that need them, and prints help
 * from the tables.
 */
#include "hub/cli/cli.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "codec/base/buf.h"
#include "codec/base/check.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/cli/cli_refuse.h"
#include "hub/config/config.h"
#include "hub/config/config_ask.h"
#include "hub/config/config_load.h"
#include "hub/config/config_table.h"
#include "hub/config/config_value.h"

/* In the order help shows them; each new command is one row and one function. */
static int command_version(const struct config *config, int argc, char **argv);

const struct cli_command cli_commands[] = {
    {"check-config", "[--sample|--connect]", "check the settings and print what is in effect",
        "  --connect  connect to Redis and the store, too; nothing is changed there\n"
        "  --sample   print a file with every setting, its meaning, range and default\n",
        true, command_check_config},
    {"dead", "list|retry|drop [--id ID|--all]",
        "look at what could not be stored, post it again, drop it",
        "  list         print each entry as a line of JSON\n"
        "  retry        post entries again, once each, and print their new ids\n"
        "  drop         forget entries\n"
        "  --id ID      only this entry\n"
        "  --all        drop every entry\n",
        true, command_dead},
    {"doctor", "", "look for what is wrong with a set-up, and say what to do",
        "  It looks at the settings, this machine, Redis and the nodes there, and the store, and "
        "changes\n"
        "  nothing. It ends with 1 if it has found something.\n",
        true, command_doctor},
    {"jobs", "list|retry|drop|pause|resume [--queue NAME] [--id ID]",
        "look at queues of jobs, try one again, drop one, stop a queue",
        "  list         print each queue as a line of JSON, or with --queue each of its jobs\n"
        "  retry, drop  the job --id: it waits again with all its attempts, or is forgotten\n"
        "  pause, resume\n"
        "               give no job of --queue any more, or go on\n"
        "  --state S    list these: waiting (default), delayed, active, completed, failed, dead\n"
        "  --tenant T   of this tenant\n"
        "  --url URL    the hub, http[s]://HOST:PORT; default that of the settings, here\n"
        "  --ca FILE    certificates (PEM) that one of the hub's must be signed by\n"
        "  --api-key KEY\n"
        "               an API key of scope jobs; default auth.api_key\n",
        true, command_jobs},
    {"migrate", "[--new-epoch|--set-bus|--outbox NAME]", "bring the schema up to date",
        "  --new-epoch  after a restore from a backup: clients read their inboxes anew\n"
        "  --set-bus    let the store keep the bus.slots and bus.partitions that are set now, "
        "while\n"
        "               all nodes are stopped\n"
        "  --outbox NAME\n"
        "               make peal.post and peal.publish in the database of this outbox\n",
        true, command_migrate},
    {"publish", "--user ID --type TYPE [--title TEXT]", "post notifications",
        "  --message TEXT, --data JSON, --priority low|medium|high|urgent, --key KEY,\n"
        "  --expires-at TIME, --tenant TENANT\n"
        "               further fields of the notification\n"
        "  --stdin      read posts from standard input instead, a JSON object a line\n"
        "  --url URL    post over HTTP, to http[s]://HOST:PORT\n"
        "  --ca FILE    certificates (PEM) that one of the hub's must be signed by\n"
        "  --api-key KEY\n"
        "               the API key for it; default auth.api_key\n"
        "  --redis URL  add to the stream of this Redis; default bus.url, else HTTP\n",
        true, command_publish},
    {"serve", "[--dev]", "run a node until a signal ends it",
        "  --dev        development: a demo page and ready tokens, on a loopback address only\n"
        "  Settings that most need: --port, --database-url, --redis-url, --jwt-secret, --config\n",
        true, command_serve},
    {"token", "--user ID [--role ROLE] [--name NAME] [--tenant TENANT] [--rooms A,B]",
        "print a token for a user, or explain one",
        "  --rooms A,B  rooms, or prefixes ending in *, the user may join\n"
        "  --ttl TIME   how long it is good for: 90s, 15m, 1h (default), 7d\n"
        "  --check TOKEN\n"
        "               say instead whether this one is accepted, and if not, why\n"
        "  --key NAME   the jwt_key to sign with, where there is no auth.secret\n",
        true, command_token},
    {"top", "[--once]", "show what a running node does, and what owns its memory",
        "  --once       print one table and end: rates are those of one interval; bytes are bare\n"
        "  --every N    seconds between two looks, 1 (default) to 3600\n"
        "  --url URL    the internal listener, default that of the settings\n"
        "  --ca FILE    certificates (PEM) that one of its must be signed by\n"
        "  On a terminal q ends it.\n",
        true, command_top},
    {"vapid", "", "make a pair of keys for Web Push: push.vapid_key, and what pages subscribe with",
        "", false, command_vapid},
    {"version", "", "print the version", "", false, command_version},
};
const size_t cli_command_count = ARRAY_LEN(cli_commands);

static const char default_command[] = "serve";

static const struct cli_command *find_command(const char *name)
{
    for (size_t i = 0; i < cli_command_count; i++) {
        if (strcmp(cli_commands[i].name, name) == 0) {
            return &cli_commands[i];
        }
    }
    return NULL;
}

/* Where help is asked for among the arguments; argc when it is not. */
static int find_help(int argc, char **argv)
{
    int i = 0;
    while (i < argc && strcmp(argv[i], "--") != 0) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return i;
        }
        i++;
    }
    return argc;
}

static int print_usage(FILE *out)
{
    fprintf(out, "usage: peal [COMMAND] [--config FILE] [--SECTION-OPTION VALUE ...]\n\n");
    for (size_t i = 0; i < cli_command_count; i++) {
        const char *note = strcmp(cli_commands[i].name, default_command) == 0 ? " (default)" : "";
        fprintf(out, "  %-14s %s%s\n", cli_commands[i].name, cli_commands[i].summary, note);
    }
    fprintf(out,
        "\n`peal COMMAND --help` lists its arguments, `peal --help settings` every setting.\n");
    return out == stdout ? 0 : 2;
}

static void print_setting_help(const struct config_setting *row)
{
    char flag[64];
    size_t len = 0;
    for (const char *at = row->key; *at != 0 && len + 1 < sizeof(flag); at++) {
        flag[len++] = *at == '.' || *at == '_' ? '-' : *at;
    }
    flag[len] = 0;
    struct builder range = {0};
    config_value_print_range(row, &range);
    builder_byte(&range, 0);
    const char *fallback = row->fallback[0] != 0 ? row->fallback : "none";
    printf("  --%s\n      %s %s; default %s\n", flag, row->prose,
        builder_failed(&range) ? "" : builder_bytes(&range).at, fallback);
    builder_reset(&range);
}

static int print_settings_help(void)
{
    printf(
        "Settings, for every command that takes them; also in --config FILE or as\n"
        "PEAL_SECTION_OPTION. Short names: --port, --database-url, --redis-url, --jwt-secret,\n"
        "--cors-origins, --slow-query-threshold-ms, and as variables PORT, DATABASE_URL ...\n\n");
    for (size_t i = 0; i < CONFIG_COUNT; i++) {
        print_setting_help(&config_settings[i]);
    }
    return 0;
}

static int print_command_help(const struct cli_command *command)
{
    printf("usage: peal %s%s%s%s\n\n%s.\n%s", command->name, command->arguments[0] != 0 ? " " : "",
        command->arguments, command->settings ? " [SETTINGS]" : "", command->summary,
        command->help);
    if (command->settings) {
        printf("\n`peal --help settings` lists the settings.\n");
    }
    return 0;
}

static int refuse_command(const char *name)
{
    fprintf(stderr, "peal: unknown command %s\n\n", log_quote(bytes_str(name)));
    return print_usage(stderr);
}

/* `peal help TOPIC`, `peal --help TOPIC` or `peal COMMAND --help TOPIC`: a command, "settings" or
 * NULL. */
static int print_help(const struct cli_command *command, const char *topic)
{
    if (topic != NULL && strcmp(topic, "settings") == 0) {
        return print_settings_help();
    }
    if (command != NULL) {
        return print_command_help(command);
    }
    if (topic == NULL || topic[0] == '-') {
        return print_usage(stdout);
    }
    command = find_command(topic);
    return command != NULL ? print_command_help(command) : refuse_command(topic);
}

/* Load the settings that `argv` names and run `command` with the rest. */
static int run_with_settings(const struct cli_command *command, int argc, char **argv)
{
    char **rest = mem_alloc_array((size_t)argc + 1, sizeof(*rest));
    char **copies = mem_alloc_array((size_t)argc + 1, sizeof(*copies));
    for (int i = 0; i < argc; i++) {
        copies[i] = mem_dup(argv[i], strlen(argv[i]));
    }
    config_hide_secrets(argc, argv); /* from here on the copies are read, also after SIGHUP */
    struct config_input input = {.argc = (size_t)argc, .argv = copies, .environment = environ};
    struct config_error error;
    struct config *config;
    int code = 1;
    if (config_load(&input, &error, rest, &config) < 0) {
        fprintf(stderr, "peal: %s\n", error.text);
    } else {
        int rest_count = 0;
        while (rest[rest_count] != NULL) {
            rest_count++;
        }
        code = command->run(config, rest_count, rest);
        config_destroy(config);
    }
    for (int i = 0; i < argc; i++) {
        mem_free(copies[i]);
    }
    mem_free(copies);
    mem_free(rest);
    return code;
}

static int run_command(const struct cli_command *command, int argc, char **argv)
{
    return command->settings ? run_with_settings(command, argc, argv)
                             : command->run(NULL, argc, argv);
}

int cli_run(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "help") == 0) {
        return print_help(NULL, argv[2]);
    }
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        return command_version(NULL, 0, NULL);
    }
    bool named = argc > 1 && argv[1][0] != '-';
    int skip = named ? 2 : 1;
    const struct cli_command *command = find_command(named ? argv[1] : default_command);
    if (command == NULL) {
        return refuse_command(argv[1]);
    }
    int help = find_help(argc, argv);
    if (help < argc) {
        return print_help(named ? command : NULL, argv[help + 1]);
    }
    return run_command(command, argc - skip, argv + skip);
}

static int command_version(const struct config *config, int argc, char **argv)
{
    if (argc > 0) {
        return cli_refuse_argument("version", argv);
    }
    printf("peal %s\n", PEAL_VERSION);
    return 0;
}
