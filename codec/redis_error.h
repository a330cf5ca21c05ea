/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_error - what to do about an error reply of Redis.
 */
#ifndef CODEC_REDIS_ERROR_H
#define CODEC_REDIS_ERROR_H

#include "codec/base/bytes.h"

enum redis_error {
    REDIS_ERROR_COMMAND, /* the command is wrong for what is stored: repeating it is no use */
    REDIS_ERROR_RETRY, /* passes by itself: repeat later (LOADING, BUSY …) */
    REDIS_ERROR_RECONNECT, /* this server is the wrong one now (READONLY …): the link reconnects */
    REDIS_ERROR_OPERATOR, /* someone must act: alarm (NOAUTH, OOM, MISCONF …), repeat slowly */
};

/*
 * Classify the text of an error reply ("LOADING Redis is loading …") by its first word; an
 * unknown one is REDIS_ERROR_COMMAND. None of them means that the command was carried out.
 */
enum redis_error redis_error_class(struct bytes text);

#endif
