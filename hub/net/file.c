/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a file whole, up to a limit, and says in words why it cannot.
 */
#include "hub/net/file.h"

#include <errno.h>
#include <stdio.h>

#include "codec/base/status.h"

int file_read(const char *path, struct builder *content)
{
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        return errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO;
    }
    char part[4096];
    size_t len;
    while (!builder_failed(content) && (len = fread(part, 1, sizeof(part), file)) > 0) {
        builder_add(content, bytes_of(part, len));
    }
    int reason = ferror(file) != 0 ? errno : 0;
    fclose(file);
    errno = reason;
    if (reason != 0) {
        return STATUS_IO;
    }
    return builder_status(content);
}
