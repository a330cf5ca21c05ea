/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folds texts character by character (libutf8proc: compatibility decomposition, case folding, marks
 * stripped) and compares their words with those that are looked for, without keeping the text.
 */
#include "codec/search.h"

#include <string.h>
#include <utf8proc.h>

#include "codec/base/status.h"
#include "codec/utf8.h"

/* How much a word counts. */
enum { TITLE_WHOLE = 8, TITLE_BEGINNING = 6, MESSAGE_WHOLE = 3, MESSAGE_BEGINNING = 2 };

enum { WORD_MAX = 256, CHARACTER_MAX = 32 }; /* code points, folded */

/* Splits a text into folded words; each is given to `on_word`. */
struct splitter {
    void (*on_word)(struct splitter *splitter);
    uint32_t word[WORD_MAX]; /* its beginning */
    size_t len; /* also above WORD_MAX */
};

static const struct {
    int32_t first;
    int32_t last;
} spaceless[] = {
    {0x0e00, 0x0eff}, /* Thai, Lao */
    {0x1000, 0x109f}, /* Burmese */
    {0x1780, 0x17ff}, /* Khmer */
    {0x3040, 0x30ff}, /* kana */
    {0x3400, 0x4dbf}, {0x4e00, 0x9fff}, {0xf900, 0xfaff}, {0x20000, 0x3ffff}, /* Chinese */
};

static bool is_spaceless(int32_t code_point)
{
    for (size_t i = 0; i < ARRAY_LEN(spaceless) && code_point >= spaceless[i].first; i++) {
        if (code_point <= spaceless[i].last) {
            return true;
        }
    }
    return false;
}

static bool is_of_word(int32_t code_point)
{
    if (code_point < 0x80) {
        return (code_point >= 'a' && code_point <= 'z') || (code_point >= '0' && code_point <= '9');
    }
    utf8proc_category_t category = utf8proc_category(code_point);
    return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||
           (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO);
}

static void end_word(struct splitter *splitter)
{
    if (splitter->len > 0) {
        splitter->on_word(splitter);
        splitter->len = 0;
    }
}

static void add(struct splitter *splitter, int32_t code_point)
{
    if (splitter->len < WORD_MAX) {
        splitter->word[splitter->len] = (uint32_t)code_point;
    }
    splitter->len++;
}

/* A folded code point. */
static void take(struct splitter *splitter, int32_t code_point)
{
    if (!is_of_word(code_point)) {
        end_word(splitter);
    } else if (is_spaceless(code_point)) {
        end_word(splitter);
        add(splitter, code_point);
        end_word(splitter);
    } else {
        add(splitter, code_point);
    }
}

static void fold(struct splitter *splitter, int32_t code_point)
{
    int32_t folded[CHARACTER_MAX];
    int boundary = 0;
    if (code_point < 0x80) {
        bool upper = code_point >= 'A' && code_point <= 'Z';
        take(splitter, upper ? code_point + 'a' - 'A' : code_point);
        return;
    }
    utf8proc_ssize_t count = utf8proc_decompose_char(code_point, folded, CHARACTER_MAX,
        UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD | UTF8PROC_STRIPMARK |
            UTF8PROC_IGNORE,
        &boundary);
    for (utf8proc_ssize_t i = 0; i < count && i < CHARACTER_MAX; i++) {
        take(splitter, folded[i]);
    }
}

/* False where the text is not UTF-8: it ends there. */
static bool split(struct splitter *splitter, struct bytes text)
{
    size_t at = 0;
    splitter->len = 0;
    while (at < text.len) {
        int32_t code_point = (uint8_t)text.at[at];
        utf8proc_ssize_t len = 1;
        if (code_point >= 0x80) {
            len = utf8proc_iterate((const utf8proc_uint8_t *)text.at + at,
                (utf8proc_ssize_t)(text.len - at), &code_point);
        }
        if (len <= 0) {
            break;
        }
        fold(splitter, code_point);
        at += (size_t)len;
    }
    end_word(splitter);
    return at == text.len;
}

/* What is looked for. */

struct parser {
    struct splitter splitter; /* first */
    struct search *search;
    bool too_many;
};

static uint32_t begin_of(const struct search *search, size_t word)
{
    return word > 0 ? search->ends[word - 1] : 0;
}

static void keep_word(struct splitter *splitter)
{
    struct parser *parser = container_of(splitter, struct parser, splitter);
    struct search *search = parser->search;
    uint32_t begin = begin_of(search, search->word_count);
    if (search->word_count == SEARCH_WORDS_MAX || splitter->len > WORD_MAX ||
        splitter->len > SEARCH_FOLDED_MAX - begin) {
        parser->too_many = true;
        return;
    }
    memcpy(search->folded + begin, splitter->word, splitter->len * sizeof(*splitter->word));
    search->ends[search->word_count++] = begin + (uint32_t)splitter->len;
}

int search_parse(struct bytes text, struct search *ret_search)
{
    struct search search = {0};
    struct parser parser = {.splitter.on_word = keep_word, .search = &search};
    if (!utf8_valid(text) || utf8_count(text) > SEARCH_CHARS_MAX ||
        !split(&parser.splitter, text) || parser.too_many || search.word_count == 0) {
        return STATUS_INVALID;
    }
    *ret_search = search;
    return 0;
}

/* What is found. */

struct finder {
    struct splitter splitter; /* first */
    const struct search *search;
    uint32_t whole; /* what a word counts in this text */
    uint32_t beginning;
    uint32_t best[SEARCH_WORDS_MAX];
};

static void compare_word(struct splitter *splitter)
{
    struct finder *finder = container_of(splitter, struct finder, splitter);
    const struct search *search = finder->search;
    for (size_t i = 0; i < search->word_count; i++) {
        const uint32_t *wanted = search->folded + begin_of(search, i);
        size_t len = search->ends[i] - begin_of(search, i);
        if (len > splitter->len || wanted[0] != splitter->word[0] ||
            memcmp(wanted, splitter->word, len * sizeof(*wanted)) != 0) {
            continue;
        }
        bool is_last = i + 1 == search->word_count;
        uint32_t counts = len == splitter->len ? finder->whole : is_last ? finder->beginning : 0;
        finder->best[i] = counts > finder->best[i] ? counts : finder->best[i];
    }
}

uint32_t search_score(const struct search *search, struct bytes title, struct bytes message)
{
    struct finder finder = {.splitter.on_word = compare_word,
        .search = search,
        .whole = TITLE_WHOLE,
        .beginning = TITLE_BEGINNING};
    uint32_t score = 0;
    (void)split(&finder.splitter, title);
    finder.whole = MESSAGE_WHOLE;
    finder.beginning = MESSAGE_BEGINNING;
    (void)split(&finder.splitter, message);
    for (size_t i = 0; i < search->word_count; i++) {
        if (finder.best[i] == 0) {
            return 0;
        }
        score += finder.best[i];
    }
    return score;
}
