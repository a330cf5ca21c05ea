/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is found and what is not; which of two is the better one; what may be looked for.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "codec/base/status.h"
#include "codec/search.h"

static uint32_t score(const char *wanted, const char *title, const char *message)
{
    struct search search;
    cr_assert_eq(search_parse(bytes_str(wanted), &search), 0, "%s", wanted);
    return search_score(&search, bytes_str(title), bytes_str(message));
}

Test(search, finds_whatever_the_case_the_accents_and_the_form)
{
    static const struct {
        const char *wanted;
        const char *text;
        bool found;
    } cases[] = {
        {"order", "Your ORDER has shipped", true},
        {"cafe", "Caf\xc3\xa9", true},
        {"CAF\xc3\x89", "cafe\xcc\x81", true}, /* composed, and with a combining mark */
        {"strasse",
            "Stra\xc3\x9f"
            "e 5",
            true},
        {"stra\xc3\x9f"
         "e",
            "STRASSE", true},
        {"istanbul", "\xc4\xb0stanbul", true},
        {"\xd0\xb0\xd0\xbd\xd0\xbd\xd0\xb0", "\xd0\x90\xd0\x9d\xd0\x9d\xd0\x90", true},
        {"\xce\xbf\xce\xb4\xce\xbf\xcf\x82", "\xce\x9f\xce\x94\xce\x9f\xce\xa3",
            true}, /* final sigma */
        {"42", "n\xc2\xb0 \xef\xbc\x94\xef\xbc\x92", true}, /* full width */
        {"fi", "\xef\xac\x81ne", true}, /* a ligature */
        {"\xe9\x80\x9a\xe7\x9f\xa5", "\xe6\x96\xb0\xe7\x9a\x84\xe9\x80\x9a\xe7\x9f\xa5\xe3\x80\x82",
            true},
        {"\xd9\x85\xd8\xad\xd9\x85\xd8\xaf",
            "\xd9\x85\xd9\x8f\xd8\xad\xd9\x8e\xd9\x85\xd9\x8e\xd9\x91\xd8\xaf", true},
        {"shi", "shipped", true}, /* the last word may be a beginning */
        {"shi order", "order shipped", false}, /* the others may not */
        {"order shi", "order shipped", true},
        {"shipped order", "order shipped", true},
        {"order lost", "order shipped", false},
        {"rder", "order", false},
        {"a-b, (c)", "c b a", true},
        {"a", "", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool title = score(cases[i].wanted, cases[i].text, "") > 0;
        bool message = score(cases[i].wanted, "x", cases[i].text) > 0;
        cr_expect(title == cases[i].found && message == cases[i].found, "%s in %s", cases[i].wanted,
            cases[i].text);
    }
    cr_expect(score("one two", "one", "two") > 0, "one in the title, one in the message");
}

Test(search, the_better_match_counts_more)
{
    uint32_t whole = score("ship", "ship", "");
    uint32_t beginning = score("ship", "shipment", "");
    uint32_t message = score("ship", "", "ship");
    uint32_t message_beginning = score("ship", "", "shipment");
    cr_expect(whole > beginning && beginning > message && message > message_beginning);
    cr_expect_eq(score("ship", "ship ship shipment", "ship"), whole, "the best one counts, once");
    cr_expect_gt(score("order ship", "order ship", ""), score("order ship", "order", "ship"));
}

Test(search, refuses_what_is_too_much_or_nothing)
{
    struct search search;
    char text[4 * SEARCH_CHARS_MAX + 8] = "";
    size_t len = 0;
    cr_expect_eq(search_parse(BYTES(""), &search), STATUS_INVALID);
    cr_expect_eq(search_parse(BYTES(" ,.!? "), &search), STATUS_INVALID);
    cr_expect_eq(search_parse(BYTES("\xcc\x81"), &search), STATUS_INVALID, "a mark alone");
    cr_expect_eq(search_parse(BYTES("a\xff"), &search), STATUS_INVALID);
    memset(text, 'a', sizeof(text));
    cr_expect_eq(search_parse(bytes_of(text, SEARCH_CHARS_MAX), &search), 0);
    cr_expect_eq(search_parse(bytes_of(text, SEARCH_CHARS_MAX + 1), &search), STATUS_INVALID);
    for (unsigned i = 0; i < SEARCH_WORDS_MAX; i++) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "w%u ", i);
    }
    cr_expect_eq(search_parse(bytes_of(text, len), &search), 0);
    cr_expect_eq(search.word_count, SEARCH_WORDS_MAX);
    len += (size_t)snprintf(text + len, sizeof(text) - len, "more");
    cr_expect_eq(search_parse(bytes_of(text, len), &search), STATUS_INVALID);
    for (len = 0; len < 3 * SEARCH_CHARS_MAX; len += 3) {
        memcpy(text + len, "\xef\xb7\xba", 3); /* one character that folds into 18 */
    }
    cr_expect_eq(search_parse(bytes_of(text, len), &search), STATUS_INVALID);
}

Test(search, ends_where_a_text_is_no_utf8_and_takes_long_words)
{
    static char text[100000];
    struct search search;
    cr_assert_eq(search_parse(BYTES("b"), &search), 0);
    cr_expect_eq(search_score(&search, BYTES("a \xff b"), BYTES("")), 0);
    cr_expect_gt(search_score(&search, BYTES("a \xff b"), BYTES("b")), 0);
    memset(text, 'b', sizeof(text));
    cr_expect_gt(search_score(&search, bytes_of(text, sizeof(text)), BYTES("")), 0);
    text[0] = 'a';
    cr_expect_eq(search_score(&search, bytes_of(text, sizeof(text)), BYTES("")), 0);
}
