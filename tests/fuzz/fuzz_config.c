/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings in a file: any text is loaded and can be shown, or is refused in words.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "codec/base/buf.h"
#include "codec/base/status.h"
#include "hub/config/config.h"
#include "hub/config/config_ask.h"
#include "hub/config/config_load.h"
#include "hub/config/config_print.h"
#include "tests/fuzz/fuzz.h"

/* The path of a file that holds `data`: one of memory, made once. */
static const char *put_file(const uint8_t *data, size_t size)
{
    static char path[64];
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("config", MFD_CLOEXEC);
        CHECK(fd >= 0);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    }
    CHECK(pwrite(fd, data, size, 0) == (ssize_t)size && ftruncate(fd, (off_t)size) == 0);
    return path;
}

/* A settings file is read, or refused with a sentence; what is read can be printed. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char option[128];
    char *argv[] = {option};
    char *rest[3];
    struct config_error error = {.text = ""};
    struct config *config;
    snprintf(option, sizeof(option), "--config=%s", put_file(data, size));
    const struct config_input input = {.argc = 1, .argv = argv};
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
    return 0;
}
