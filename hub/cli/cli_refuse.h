/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_refuse - what a command says to arguments that cannot be.
 */
#ifndef HUB_CLI_CLI_REFUSE_H
#define HUB_CLI_CLI_REFUSE_H

/* Print "peal COMMAND: unknown argument ..." for argv[0] and return 2. */
int cli_refuse_argument(const char *command, char **argv);

/*
 * Print that `value` (NULL: it is missing) cannot stand behind `flag`, and what is `allowed` there;
 * return 2.
 */
int cli_refuse_value(const char *command, const char *flag, const char *value, const char *allowed);

#endif
