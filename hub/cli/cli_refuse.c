/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One form of refusal for arguments of all commands: what was given, what may be.
 */
#include "hub/cli/cli_refuse.h"

#include <stdio.h>

#include "codec/base/log.h"

int cli_refuse_argument(const char *command, char **argv)
{
    fprintf(stderr, "peal %s: unknown argument %s; see peal %s --help and peal --help settings\n",
        command, log_quote(bytes_str(argv[0])), command);
    return 2;
}

int cli_refuse_value(const char *command, const char *flag, const char *value, const char *allowed)
{
    fprintf(stderr, "peal %s: %s: %s; allowed is %s\n", command, flag,
        value != NULL ? log_quote(bytes_str(value)) : "a value is missing", allowed);
    return 2;
}
