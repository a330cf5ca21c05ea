/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads secrets out of files, and warns of those that other users of the machine could read.
 */
#include "hub/config/config_secret.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "codec/base/buf.h"
#include "codec/base/status.h"
#include "hub/config/config_draft.h"
#include "hub/config/config_value.h"
#include "hub/net/file.h"

enum { SECRET_FILE_MAX = 65536 };

bool config_secret_is(const struct config_setting *row)
{
    return row->type == CONFIG_SECRET || row->type == CONFIG_URL;
}

struct bytes config_secret_base(struct bytes name, const char *suffix)
{
    struct bytes end = bytes_str(suffix);
    bool ends = name.len > end.len && bytes_eq(bytes_skip(name, name.len - end.len), end);
    return bytes_of(name.at, ends ? name.len - end.len : 0);
}

void config_secret_check_mode(struct config *config, const char *path, bool holds_secrets)
{
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode)) {
        return;
    }
    if (info.st_mode & (S_IWGRP | S_IWOTH)) {
        config_draft_warn(config, "%.300s can be changed by others: chmod go-w", path);
    } else if (holds_secrets && (info.st_mode & S_IROTH)) {
        config_draft_warn(
            config, "%.300s holds secrets and can be read by others: chmod o-r", path);
    }
}

static const char *find_fault(struct bytes text)
{
    if (text.len == 0) {
        return "is empty";
    }
    return memchr(text.at, '\0', text.len) != NULL ? "holds a NUL" : NULL;
}

int config_secret_read(struct config *config, const char *path, const char *where,
    struct config_error *error, const char **ret_text)
{
    struct builder content = {.max = SECRET_FILE_MAX};
    int status = file_read(path, &content);
    struct bytes text = builder_bytes(&content);
    const char *fault = status == STATUS_TOO_LARGE ? "is larger than 64 KiB"
                        : status != 0              ? strerror(errno)
                                                   : NULL;
    if (fault == NULL) {
        text.len -= text.len > 0 && text.at[text.len - 1] == '\n';
        text.len -= text.len > 0 && text.at[text.len - 1] == '\r';
        fault = find_fault(text);
    }
    if (fault == NULL) {
        *ret_text = config_arena_dup(config->arena, text.at, text.len);
        config_secret_check_mode(config, path, true);
    } else {
        status = config_draft_refuse(error, "%.200s: the file %.500s: %s", where, path, fault);
    }
    builder_reset(&content);
    return status;
}
