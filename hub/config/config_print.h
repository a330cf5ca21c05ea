/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_print - settings in the syntax of the file.
 */
#ifndef HUB_CONFIG_CONFIG_PRINT_H
#define HUB_CONFIG_CONFIG_PRINT_H

#include "hub/config/config.h"

struct builder;

/* Append the effective settings in the file's syntax, each with its origin, secrets masked. */
void config_print(const struct config *config, struct builder *builder);

/* Append a sample file: every setting with its prose, type, range and default. */
void config_print_sample(struct builder *builder);

#endif
