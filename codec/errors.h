/* SPDX-License-Identifier: Apache-2.0 */
/*
 * errors - the codes by which Peal refuses, as rows of errors.def.
 */
#ifndef CODEC_ERRORS_H
#define CODEC_ERRORS_H

enum error_code {
    ERROR_NONE, /* nothing is refused */
#define X(name, text, status, others, help) ERROR_##name,
#include "codec/errors.def"
#undef X
};

/* The code as it stands on the wire; static. Not of ERROR_NONE. */
const char *errors_text(enum error_code code);

/* The HTTP status that goes with it; 200 for ERROR_NONE. */
unsigned errors_status(enum error_code code);

/* The code for an HTTP status that refuses; ERROR_BAD_REQUEST for one without a row. */
enum error_code errors_of_status(unsigned status);

#endif
