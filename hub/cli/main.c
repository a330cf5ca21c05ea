/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main - the program; see cli for what it can do.
 */
#include <signal.h>
#include <sys/stat.h>

#include "codec/base/log.h"
#include "hub/cli/cli.h"
#include "hub/net/crypto.h"

/* Sanitizers have their own malloc, and are not there yet that early. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool reserved = true;
#else
static bool reserved;

static void use_reserve(void)
{
    reserved = crypto_use_reserve();
}

/* Before the constructors of libraries, of which libjose's asks OpenSSL for random numbers. */
__attribute__((section(".preinit_array"), used)) static void (*const first)(void) = use_reserve;
#endif

int main(int argc, char **argv)
{
    umask(077); /* what this program writes is nobody else's: the database above all */
    signal(SIGPIPE, SIG_IGN); /* a peer that is gone is an error of the write, not of us */
    if (!reserved) {
        log_warn("MEMORY-RESERVE", "OpenSSL has no reserve, continuing", "bytes=0");
    }
    return cli_run(argc, argv);
}
