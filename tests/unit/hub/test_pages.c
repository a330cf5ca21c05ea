/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pages in the program: types, tags, conditional requests and policies.
 */
#include <criterion/criterion.h>

#include "codec/base/check.h"
#include "hub/net/etag.h"
#include "hub/node/pages.h"

TestSuite(pages, .timeout = 20);

/* Whether `needle` is in `text`. */
static bool has(struct bytes text, const char *needle)
{
    return memmem(text.at, text.len, needle, strlen(needle)) != NULL;
}

Test(pages, each_is_there_with_its_type)
{
    static const struct {
        const char *path;
        const char *type;
        const char *contains;
    } rows[] = {
        {"/", "text/html; charset=utf-8", "<script type=\"module\" src=\"/demo.js\">"},
        {"/demo.css", "text/css; charset=utf-8", "@media"},
        {"/demo.js", "text/javascript; charset=utf-8", "from '/peal.js'"},
        {"/dom.js", "text/javascript; charset=utf-8", "export const byId"},
        {"/icon.svg", "image/svg+xml", "<svg"},
        {"/inbox.js", "text/javascript; charset=utf-8", "export function openInbox"},
        {"/peal-sw.js", "text/javascript; charset=utf-8", "addEventListener('push'"},
        {"/peal.js", "text/javascript; charset=utf-8", "export class Peal"},
        {"/snooze.js", "text/javascript; charset=utf-8", "export function askUntil"},
        {"/undo.js", "text/javascript; charset=utf-8", "export function offer"},
        {"/virtual_list.js", "text/javascript; charset=utf-8", "export class VirtualList"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct page *page = pages_find(bytes_str(rows[i].path));
        cr_assert_not_null(page, "%s", rows[i].path);
        cr_expect_str_eq(page->content_type, rows[i].type);
        cr_expect(has(page->body, rows[i].contains), "%s", rows[i].path);
    }
    cr_expect_eq(page_count, ARRAY_LEN(rows));
    cr_expect_eq(pages_route_count, page_count);
    for (size_t i = 0; i < pages_route_count; i++) {
        cr_expect_not_null(pages_find(bytes_str(pages_routes[i].path)), "%s", pages_routes[i].path);
    }
}

Test(pages, only_exact_paths)
{
    static const char *const none[] = {"", "/demo", "/demo.jsx", "/DEMO.JS", "//", "/./",
        "/index.html", "/%64emo.js", "/peal.js/"};
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        cr_expect_null(pages_find(bytes_str(none[i])), "%s", none[i]);
    }
}

Test(pages, tags_differ_and_are_strong)
{
    for (size_t i = 0; i < page_count; i++) {
        size_t len = strlen(pages[i].etag);
        cr_expect_eq(len, 34u);
        cr_expect(pages[i].etag[0] == '"' && pages[i].etag[len - 1] == '"');
        for (size_t j = 0; j < i; j++) {
            cr_expect_str_neq(pages[i].etag, pages[j].etag);
        }
    }
}

Test(pages, conditional_requests)
{
    static const struct {
        const char *header;
        bool known;
    } rows[] = {
        {"\"abc\"", true},
        {"W/\"abc\"", true},
        {"*", true},
        {"\"x\", \"abc\"", true},
        {"\"x\" ,, W/\"abc\" , \"y\"", true},
        {"\"x,\\\"abc\\\"\"", false},
        {"", false},
        {"abc", false},
        {"\"abcd\"", false},
        {"w/\"abc\"", false},
        {"\"ab\"", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool known = etag_is_named(bytes_str(rows[i].header), "\"abc\"");
        cr_expect_eq(known, rows[i].known, "%s", rows[i].header);
    }
}

/* No page needs what its own policy forbids: nothing inline, nothing from elsewhere. */
Test(pages, obey_their_policy)
{
    static const char *const forbidden[] = {
        "<style", " style=", "javascript:", " onclick=", "https://", "//cdn", "eval("};
    for (size_t i = 0; i < page_count; i++) {
        for (size_t j = 0; j < ARRAY_LEN(forbidden); j++) {
            cr_expect_not(has(pages[i].body, forbidden[j]), "%s %s", pages[i].path, forbidden[j]);
        }
    }
    const struct page *index = pages_find(BYTES("/"));
    struct bytes rest = index->body;
    const char *at;
    while ((at = memmem(rest.at, rest.len, "<script", 7)) != NULL) {
        rest = bytes_skip(rest, (size_t)(at - rest.at) + 7);
        const char *end = memchr(rest.at, '>', rest.len);
        cr_assert_not_null(end);
        cr_expect(has(bytes_of(rest.at, (size_t)(end - rest.at)), " src=\"/"));
    }
}
