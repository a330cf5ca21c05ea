/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main - the program; see cli for what it can do.
 */
#include <signal.h>
#include <sys/stat.h>

#include "hub/cli/cli.h"

int main(int argc, char **argv)
{
    umask(077); /* what this program writes is nobody else's: the database above all */
    signal(SIGPIPE, SIG_IGN); /* a peer that is gone is an error of the write, not of us */
    return cli_run(argc, argv);
}
