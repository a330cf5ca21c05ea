/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search - words that are looked for in titles and messages: case, accents and compatibility forms
 * do not matter.
 *
 * A word is a run of letters and digits; each character of a script that is written without spaces
 * (Chinese, Japanese kana, Thai, Lao, Khmer, Burmese) is a word of its own.
 */
#ifndef CODEC_SEARCH_H
#define CODEC_SEARCH_H

#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum {
    SEARCH_CHARS_MAX = 200,
    SEARCH_WORDS_MAX = 20,
    SEARCH_FOLDED_MAX = 1024, /* code points of all words together, folded */
};

/* All zero: nothing is looked for. */
struct search {
    size_t word_count;
    /* private */
    uint32_t ends[SEARCH_WORDS_MAX]; /* where each word ends in `folded` */
    uint32_t folded[SEARCH_FOLDED_MAX];
};

/*
 * Read what is looked for, UTF-8. STATUS_INVALID: not UTF-8, no word in it, more than
 * SEARCH_CHARS_MAX characters or SEARCH_WORDS_MAX words.
 */
MUST_CHECK int search_parse(struct bytes text, struct search *ret_search);

/*
 * How well a text matches: 0 when a word is missing, at most INT16_MAX. Every word must be in the
 * title or the message; the last one may be the beginning of a word there. A word counts more in
 * the title than in the message, and more whole than as a beginning. Texts that are not UTF-8 end
 * where they are not. Any thread.
 */
uint32_t search_score(const struct search *search, struct bytes title, struct bytes message);

#endif
