/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings from their four places become one struct config, or one error with its place.
 *
 * Order: flags are taken apart first (they name the file), then values are set in the order in
 * which they override each other: defaults, file, environment, flags; then all are checked.
 */
#include "hub/config/config_load.h"

#include <ctype.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/config/config_ask.h"
#include "hub/config/config_check.h"
#include "hub/config/config_draft.h"
#include "hub/config/config_file.h"
#include "hub/config/config_secret.h"
#include "hub/config/config_value.h"

static const char file_variable[] = "PEAL_CONFIG";

/* Names that people bring with them, beside PEAL_SECTION_OPTION and --section-option. */
static const struct {
    const char *variable;
    const char *flag;
    enum config_place place;
} aliases[] = {
    {"CACHE_PREFIX", "--cache-prefix", CONFIG_AT_values_prefix},
    {"CORS_ORIGINS", "--cors-origins", CONFIG_AT_origins},
    {"DATABASE_URL", "--database-url", CONFIG_AT_store_url},
    {"JWT_SECRET", "--jwt-secret", CONFIG_AT_auth_secret},
    {"PORT", "--port", CONFIG_AT_listen_port},
    {"REDIS_DB", "--redis-db", CONFIG_AT_bus_db},
    {"REDIS_HOST", "--redis-host", CONFIG_AT_bus_host},
    {"REDIS_PASSWORD", "--redis-password", CONFIG_AT_bus_password},
    {"REDIS_PORT", "--redis-port", CONFIG_AT_bus_port},
    {"REDIS_URL", "--redis-url", CONFIG_AT_bus_url},
    {"SLOW_QUERY_THRESHOLD_MS", "--slow-query-threshold-ms", CONFIG_AT_store_slow_query_ms},
};

/* Whether `name` is `key` as a variable (PEAL_LISTEN_PORT) or flag (listen-port). */
static bool names_key(struct bytes name, const char *key, char separator, bool upper)
{
    size_t len = strlen(key);
    if (name.len != len) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        char expected = key[i] == '.' || key[i] == '_' ? separator : key[i];
        expected = upper ? (char)toupper((unsigned char)expected) : expected;
        if (name.at[i] != expected) {
            return false;
        }
    }
    return true;
}

static const struct config_setting *find_named(struct bytes name, char separator, bool upper)
{
    for (size_t i = 0; i < CONFIG_COUNT; i++) {
        if (names_key(name, config_settings[i].key, separator, upper)) {
            return &config_settings[i];
        }
    }
    return NULL;
}

/* --- flags --- */

struct flag {
    const struct config_setting *row;
    const char *name; /* as typed, without its value */
    const char *value;
    bool in_file; /* the value is the path of a file that holds it */
};

struct flags {
    struct flag *at;
    size_t count;
    const char *file; /* --config; NULL: not given */
};

static const struct config_setting *find_flag(struct bytes name)
{
    for (size_t i = 0; i < ARRAY_LEN(aliases); i++) {
        if (bytes_eq_str(name, aliases[i].flag)) {
            return &config_settings[aliases[i].place];
        }
    }
    if (!bytes_starts(name, BYTES("--"))) {
        return NULL;
    }
    return find_named(bytes_skip(name, 2), '-', false);
}

/* As find_flag; also --auth-secret-file for what --auth-secret is. */
static const struct config_setting *find_any_flag(struct bytes name, bool *ret_in_file)
{
    const struct config_setting *row = find_flag(name);
    *ret_in_file = false;
    if (row == NULL) {
        row = find_flag(config_secret_base(name, "-file"));
        *ret_in_file = row != NULL;
    }
    return row != NULL && *ret_in_file && !config_secret_is(row) ? NULL : row;
}

static bool is_switch_word(const char *text)
{
    return text != NULL && (strcmp(text, "on") == 0 || strcmp(text, "off") == 0);
}

/*
 * Take the flag at argv[*at] and its value, moving *at to the last argument used. Returns false
 * when it is no setting; a missing value is left NULL. A switch needs none.
 */
static bool take_flag(struct config *config, const struct config_input *input, size_t *at,
    struct flag *ret_flag, bool *ret_is_file)
{
    const char *arg = input->argv[*at];
    size_t len = strcspn(arg, "=");
    struct bytes name = bytes_of(arg, len);
    const struct config_setting *row = find_any_flag(name, &ret_flag->in_file);
    *ret_is_file = bytes_eq_str(name, "--config") || bytes_eq_str(name, "-c");
    if (row == NULL && !*ret_is_file) {
        return false;
    }
    const char *next = *at + 1 < input->argc ? input->argv[*at + 1] : NULL;
    bool is_switch = row != NULL && row->type == CONFIG_BOOL;
    ret_flag->row = row;
    ret_flag->name = config_arena_dup(config->arena, arg, len);
    if (arg[len] == '=') {
        ret_flag->value = arg + len + 1;
    } else if (is_switch && !is_switch_word(next)) {
        ret_flag->value = "on";
    } else {
        ret_flag->value = next;
        *at += next != NULL;
    }
    return true;
}

/* Sort the arguments into flags that are settings and the rest; what follows "--" is rest. */
static int sort_arguments(struct config *config, const struct config_input *input,
    struct config_error *error, char **ret_rest, struct flags *ret_flags)
{
    size_t rest = 0;
    ret_flags->at = config_arena_alloc(config->arena, (input->argc + 1) * sizeof(struct flag));
    bool ended = false;
    for (size_t i = 0; i < input->argc; i++) {
        struct flag flag;
        bool is_file;
        ended = ended || strcmp(input->argv[i], "--") == 0;
        if (ended || !take_flag(config, input, &i, &flag, &is_file)) {
            ret_rest[rest++] = input->argv[i];
            continue;
        }
        if (flag.value == NULL) {
            return config_draft_refuse(error, "%.100s: needs a value", flag.name);
        }
        if (is_file) {
            ret_flags->file = flag.value;
        } else {
            ret_flags->at[ret_flags->count++] = flag;
        }
    }
    ret_rest[rest] = NULL;
    return 0;
}

/* Set `row` to `value`, or to what the file at `value` holds. */
static int set_or_read(struct config *config, const struct flag *flag, struct config_error *error)
{
    const char *value = flag->value;
    int status = flag->in_file ? config_secret_read(config, value, flag->name, error, &value) : 0;
    return status < 0 ? status : config_draft_set(config, flag->row, value, flag->name, error);
}

static int set_flags(struct config *config, const struct flags *flags, struct config_error *error)
{
    for (size_t i = 0; i < flags->count; i++) {
        int status = set_or_read(config, &flags->at[i], error);
        if (status < 0) {
            return status;
        }
    }
    return 0;
}

void config_hide_secrets(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        size_t len = strcspn(argv[i], "=");
        bool in_file = false;
        const struct config_setting *row = find_any_flag(bytes_of(argv[i], len), &in_file);
        bool key = strcmp(argv[i], "--api-key") == 0 || strcmp(argv[i], "--redis") == 0 ||
                   strcmp(argv[i], "--check") == 0; /* of commands */
        if (!key && (row == NULL || in_file || !config_secret_is(row))) {
            continue;
        }
        char *value = argv[i][len] == '=' ? argv[i] + len + 1 : i + 1 < argc ? argv[++i] : NULL;
        size_t value_len = value != NULL ? strlen(value) : 0;
        for (size_t at = 0; at < value_len; at++) {
            value[at] = at < 3 ? '*' : '\0';
        }
    }
}

/* --- environment --- */

/* The value of `name`, or NULL; an empty one counts as not set, as container tools pass them. So
 * does what Kubernetes tells each container of a service called redis. */
static const char *find_variable(const struct config_input *input, const char *name)
{
    size_t len = strlen(name);
    for (char *const *entry = input->environment; entry != NULL && *entry != NULL; entry++) {
        if (strncmp(*entry, name, len) == 0 && (*entry)[len] == '=' && (*entry)[len + 1] != 0) {
            bool of_service = strcmp(name, "REDIS_PORT") == 0 &&
                              strncmp(*entry + len + 1, "tcp://", strlen("tcp://")) == 0;
            return of_service ? NULL : *entry + len + 1;
        }
    }
    return NULL;
}

/* Set `row` from the variable `name`, or from the file that `name`_FILE names. */
static int set_pair(struct config *config, const struct config_input *input,
    const struct config_setting *row, struct bytes name, struct config_error *error)
{
    char *in_file = config_arena_alloc(config->arena, name.len + sizeof("_FILE"));
    memcpy(in_file, name.at, name.len);
    char *plain = config_arena_dup(config->arena, in_file, name.len);
    memcpy(in_file + name.len, "_FILE", sizeof("_FILE"));
    const char *value = find_variable(input, plain);
    const char *path = config_secret_is(row) ? find_variable(input, in_file) : NULL;
    if (value != NULL && path != NULL) {
        return config_draft_refuse(
            error, "%.100s: %.100s is set, too; allowed: one of both", in_file, plain);
    }
    struct flag flag = {.row = row,
        .name = path != NULL ? in_file : plain,
        .value = path != NULL ? path : value,
        .in_file = path != NULL};
    return flag.value != NULL ? set_or_read(config, &flag, error) : 0;
}

static int set_aliases(
    struct config *config, const struct config_input *input, struct config_error *error)
{
    for (size_t i = 0; i < ARRAY_LEN(aliases); i++) {
        int status = set_pair(config, input, &config_settings[aliases[i].place],
            bytes_str(aliases[i].variable), error);
        if (status < 0) {
            return status;
        }
    }
    return 0;
}

/*
 * One entry that begins with PEAL_. An unknown one is a warning and no more: orchestrators add
 * variables of their own for a service called peal.
 */
static int set_variable(struct config *config, const struct config_input *input, const char *entry,
    struct config_error *error)
{
    size_t len = strcspn(entry, "=");
    size_t prefix = strlen("PEAL_");
    if (entry[len] == 0 || entry[len + 1] == 0) {
        return 0;
    }
    struct bytes name = bytes_of(entry, len);
    struct bytes base = config_secret_base(name, "_FILE");
    const struct config_setting *row = find_named(bytes_skip(name, prefix), '_', true);
    if (row == NULL && base.len > prefix) {
        row = find_named(bytes_skip(base, prefix), '_', true);
        row = row != NULL && config_secret_is(row) ? row : NULL;
        name = base;
    }
    if (row != NULL) {
        return set_pair(config, input, row, name, error);
    }
    if (!bytes_eq_str(bytes_of(entry, len), file_variable)) {
        config_draft_warn(config, "the variable %.*s is no setting, ignoring it",
            (int)(len < 100 ? len : 100), entry);
    }
    return 0;
}

static int set_variables(
    struct config *config, const struct config_input *input, struct config_error *error)
{
    int status = set_aliases(config, input, error);
    for (char *const *entry = input->environment; entry != NULL && *entry != NULL; entry++) {
        if (status == 0 && strncmp(*entry, "PEAL_", 5) == 0) {
            status = set_variable(config, input, *entry, error);
        }
    }
    return status;
}

/* --- the whole --- */

static int set_all(struct config *config, const struct config_input *input,
    struct config_error *error, char **ret_rest)
{
    struct flags flags = {0};
    int status = sort_arguments(config, input, error, ret_rest, &flags);
    if (status < 0) {
        return status;
    }
    const char *file = flags.file != NULL ? flags.file : find_variable(input, file_variable);
    if (file != NULL) {
        status = config_file_read(file, config, error);
    }
    status = status < 0 ? status : set_variables(config, input, error);
    status = status < 0 ? status : set_flags(config, &flags, error);
    config_draft_add_own_queues(config);
    return status < 0 ? status : config_check(config, error);
}

int config_load(const struct config_input *input, struct config_error *error, char **ret_rest,
    struct config **ret_config)
{
    struct config *config = config_draft_create();
    int status = set_all(config, input, error, ret_rest);
    if (status < 0) {
        config_destroy(config);
        return status;
    }
    config->input = *input;
    *ret_config = config;
    return 0;
}

int config_load_again(
    const struct config *current, struct config_error *error, struct config **ret_config)
{
    char **rest = mem_alloc_array(current->input.argc + 1, sizeof(*rest));
    int status = config_load(&current->input, error, rest, ret_config);
    mem_free(rest);
    return status;
}
