/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "codec/base/buf.h"
#include "codec/base/status.h"
#include "hub/config/config.h"
#include "tests/fuzz/fuzz.h"

/* A settings file is read, or refused with a sentence; what is read can be printed. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char option[] = "--config";
    char path[64];
    char *argv[] = {option, path};
    char *rest[3];
    struct config_error error = {.text = ""};
    struct config *config;
    int fd = memfd_create("config", MFD_CLOEXEC);
    CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    const struct config_input input = {.argc = 2, .argv = argv};
    int status = config_load(&input, &error, rest, &config);
    if (status == 0) {
        struct builder text = {0};
        config_print(config, &text);
        CHECK(builder_bytes(&text).len > 0);
        builder_reset(&text);
        config_destroy(config);
    } else {
        CHECK(status == STATUS_INVALID && error.text[0] != '\0');
    }
    close(fd);
    return 0;
}
