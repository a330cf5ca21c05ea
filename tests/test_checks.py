#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The checks and the tally, tried on small trees and logs made for the purpose."""
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from contextlib import redirect_stdout
from types import SimpleNamespace

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "support")]
sys.dont_write_bytecode = True
import check_arrows  # noqa: E402
import check_circles  # noqa: E402
import check_dead  # noqa: E402
import check_hardening  # noqa: E402
import check_headers  # noqa: E402
import check_heads  # noqa: E402
import check_memory  # noqa: E402
import check_monitoring  # noqa: E402
import check_reference  # noqa: E402
import check_settings  # noqa: E402
import check_size  # noqa: E402
import check_verbs  # noqa: E402
import check_words  # noqa: E402
import client_tests  # noqa: E402
import tally  # noqa: E402

LICENCE = "/* SPDX-License-Identifier: Apache-2.0 */\n"


class Tree(unittest.TestCase):
    def problems(self, check, files):
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                os.makedirs(os.path.dirname(os.path.join(root, path)) or root, exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                    file.write(text)
            return check.find_problems(root)

    def expect(self, check, files, *fragments):
        found = self.problems(check, files)
        self.assertEqual(len(found), len(fragments), found)
        for problem, fragment in zip(found, fragments):
            self.assertIn(fragment, problem)


class Reference(Tree):
    PAGES = {f"docs/reference/{page}": "".join(f"<!-- {name} -->\n<!-- /{name} -->\n" for name in names)
             for page, names in check_reference.REGIONS.items()}
    for page, *_ in check_reference.WANTED:
        PAGES.setdefault(f"docs/reference/{page}", "")
    SETTING = 'X(SIZE, a_b, "a.b", "1MiB", 0, 2097152, "", RELOAD,\n  "Prose, with a | "\n  "bar.")\n'
    METRIC = 'X(shards.a, "a_total", COUNTER, "Prose.")\n'
    CALLS = ('begin(out, "p_seconds", "histogram", "Prose (more).");\n'
             'builder_printf(out, PREFIX "p_seconds_bucket{le=\\"%g\\"}");\n')

    def write(self, files):
        """The pages made from `files`."""
        with tempfile.TemporaryDirectory() as root:
            for path, text in {**self.PAGES, **files}.items():  # pages of `files` count
                os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                    file.write(text)
            self.assertEqual(check_reference.find_problems(root, True), [])
            return {path: check_reference.sources.read(root, path) for path in self.PAGES}

    def test_rows_are_written_and_then_compared(self):
        rows = {"hub/config/config.def": self.SETTING, "hub/node/metrics.def": self.METRIC,
                "hub/node/metrics.c": "f()\n{\n    " + self.CALLS + "}\n"}
        pages = self.write(rows)
        self.assertIn("| `a.b` | `1MiB` | 0 to 2MiB | yes | Prose, with a \\| bar. |",
                      pages["docs/reference/settings.md"])
        self.assertIn("| `peal_p_seconds` | histogram | `le` | Prose (more). |",
                      pages["docs/reference/metrics.md"])
        self.expect(check_reference, {**rows, **pages})
        rows["hub/config/config.def"] = self.SETTING.replace("2097152", "4194304")
        self.expect(check_reference, {**rows, **pages}, "settings.md: not what the tables say; run ./dev docs")

    def test_rows_without_a_text_fail(self):
        self.expect(check_reference, {
            **self.PAGES, "hub/config/config.def": self.SETTING.replace("Prose, with a | ", "").replace("bar.", ""),
            "hub/node/metrics.def": self.METRIC.replace("Prose.", "")}, '"a.b": no text', '"a_total": no text')

    def test_codes_are_written_with_all_their_statuses(self):
        row = 'X(TOO_LARGE, "too_large", 413, "414, 431", "over a limit")\n'
        pages = self.write({"codec/errors.def": row})
        self.assertIn("| `too_large` | 413, 414, 431 | over a limit |", pages["docs/reference/errors.md"])
        self.expect(check_reference, {**self.PAGES, "codec/errors.def": row.replace("over a limit", "")},
                    '"too_large": no text')

    def test_events_of_the_hub_are_written_with_what_they_carry(self):
        rows = ('X(UNREAD, "unread", "{count, rev}", "when it changes.")\n'
                'X(HUB_PING, "hub:ping", "", "On `/ws`.")\nSERVER_FAMILY("hub:")\n')
        page = self.write({"codec/server_events.def": rows})["docs/reference/events.md"]
        self.assertIn("### unread\n\n`{count, rev}`: when it changes.\n\n### hub:ping\n\nOn `/ws`.\n", page)
        self.expect(check_reference, {**self.PAGES, "codec/server_events.def": rows.replace("On `/ws`.", "")},
                    '"hub:ping": no text')

    def test_routes_events_and_fields_want_a_text(self):
        files = {
            "hub/api/api.c": 'const struct http_route rows[] = {\n    {"GET", "/a/{}/b", f, NULL, 0},\n};\n',
            "actors/user/user_events.def": 'X("join_room", JOINS, f(call))\n',
            "codec/notification_fields.def": 'X(USER, "user", TEXT, 0, "A user id")\n',
        }
        untold = SimpleNamespace(find_problems=check_reference.find_untold)
        self.expect(untold, {**self.PAGES, **files}, "GET /a/{}/b: no text", "join_room: no text",
                    "field user: no text")
        told = {
            "docs/reference/routes.md": "### GET /a/{id}/b\n\nSays it.\n",
            "docs/reference/events.md": "## From clients\n### join_room\nOne.\n",
            "docs/reference/posts.md": "| `user` | who |\n",
        }
        self.expect(untold, {**self.PAGES, **files, **told})
        parameters = SimpleNamespace(find_problems=check_reference.find_untold_parameters)
        files["hub/api/api.c"] = files["hub/api/api.c"].replace("NULL, 0}", 'NULL, 0, NULL, "after, tenant"}')
        self.expect(parameters, {**self.PAGES, **files, **told}, "GET /a/{}/b: no text on the parameter after")
        told["docs/reference/posts.md"] += "| `users` | gone |\n"
        told["docs/reference/routes.md"] = "### GET /a/{id}/b\n"
        self.expect(untold, {**self.PAGES, **files, **told}, "GET /a/{}/b: no text",
                    "field users: the source has none")

    def test_pages_and_regions_that_are_missing_fail(self):
        pages = dict(self.PAGES)
        del pages["docs/reference/metrics.md"]
        pages["docs/reference/settings.md"] = "<!-- blocks -->\n<!-- /blocks -->\n"
        expected = self.problems(check_reference, pages)
        self.assertTrue(any("metrics.md: missing" in problem for problem in expected), expected)
        self.assertTrue(any("settings.md: no region settings" in problem for problem in expected), expected)


class Monitoring(Tree):
    METRICS = "| `peal_up` | gauge | `node` | Up. |\n| `peal_took` | histogram | `le` | How long. |\n"
    RULE = "groups:\n  - name: peal\n    rules:\n      - alert: A\n        expr: %s\n"

    def tree(self, expression, rule="peal_up{node=\"1\"} == 0", more=None):
        panel = {"id": 1, "title": "P", "gridPos": {"x": 0, "y": 0}, "targets": [{"expr": expression}], **(more or {})}
        board = {"title": "T", "uid": "u", "schemaVersion": 39, "time": {}, "panels": [panel],
                 "templating": {"list": [{"name": "node"}]}}
        return {"docs/reference/metrics.md": self.METRICS, check_monitoring.BOARD: json.dumps(board),
                check_monitoring.RULES: self.RULE % rule}

    def test_what_a_hub_shows_may_be_asked_for(self):
        self.expect(check_monitoring, self.tree('sum(rate(peal_took_bucket{job="peal",instance=~"$node"}[5m])) by (le)'))
        self.expect(check_monitoring, self.tree("peal_up", ">-\n          peal_up\n          == 0"))
        self.expect(check_monitoring, {})

    def test_what_it_does_not_show_is_told(self):
        self.expect(check_monitoring, self.tree("peal_gone"), "P: no metric peal_gone")
        self.expect(check_monitoring, self.tree("peal_took"), "no metric peal_took")
        self.expect(check_monitoring, self.tree('peal_up{user="a"}'), "peal_up has no label user")
        self.expect(check_monitoring, self.tree("sum(peal_up"), "no expression")
        self.expect(check_monitoring, self.tree("peal_up", "peal_gone > 1"), "A: no metric peal_gone")
        self.expect(check_monitoring, self.tree("peal_up", more={"title": "$zone"}), "no variable zone")
        self.expect(check_monitoring, self.tree("peal_up", more={"targets": []}), "nothing to show")


class Settings(Tree):
    ROWS = ('X(INT, a_b, "a.b", "1", 0, 9, "", RELOAD,\n  "Prose, FIXED or not.")\n'
            'X(BOOL, c, "c", "on", 0, 0, "", FIXED, "Prose.")\n')

    def test_settings_that_are_read_pass(self):
        self.expect(check_settings, {
            "hub/config/config.def": self.ROWS, "hub/config/config_blocks.def": 'API_KEY(INT, d, d_ms, "1", "")\n',
            "hub/x.c": "f(shard->settings->config->a_b, hub->config->c, key->d_ms);\n"})

    def test_settings_that_do_nothing_fail(self):
        self.expect(check_settings, {
            "hub/config/config.def": self.ROWS, "hub/config/config_blocks.def": 'API_KEY(INT, d, d_ms, "1", "")\n',
            "hub/config/config_check.c": "config->a_b + config->c + key->d_ms", "hub/x.c": ""},
            "a.b: nothing", "c: nothing", "api_key d: nothing")

    def test_reloadable_settings_are_not_read_from_the_start(self):
        self.expect(check_settings, {
            "hub/config/config.def": self.ROWS, "hub/x.c": "hub->config->a_b + hub->config->c"},
            "hub->config->a_b")


class Arrows(Tree):
    def test_allowed_includes_pass(self):
        self.expect(check_arrows, {
            "codec/a.h": "", "codec/a.c": '#include "codec/a.h"\n\n#include <stdio.h>\n',
            "sql/store.h": '#include "codec/a.h"\n', "hub/net/x.h": "#include <uv.h>\n",
            "actors/user/user.c": '#include <stdint.h>\n\n#include "codec/a.h"\n#include "sql/store.h"\n',
        })

    def test_upward_and_relative_includes_fail(self):
        self.expect(check_arrows, {
            "codec/a.c": '#include "sql/store.h"\n', "sql/store.h": "", "sql/pg.h": "",
            "actors/user/user.c": '#include "sql/pg.h"\n', "hub/cli/main.c": '#include "../sql/pg.h"\n',
        }, "actors/user/user.c", "codec/a.c", "not a path from the root")

    UP = {"actors/deliver/a.c": '#include "actors/core/c.h"\n#include "actors/deliver/b.h"\n#include "actors/user/u.h"\n',
          "actors/deliver/b.h": "", "actors/core/c.h": "", "actors/user/u.h": '#include "actors/deliver/b.h"\n',
          "hub/cli/m.c": '#include "actors/user/u.h"\n#include "hub/net/n.h"\n', "hub/net/n.h": ""}

    def test_folders_of_a_floor_point_down(self):
        self.expect(check_arrows, self.UP, "actors/deliver/a.c: \"actors/user/u.h\" points up")
        self.expect(check_arrows, {**self.UP, "hub/net/n.h": '#include "hub/cli/c.h"\n', "hub/cli/c.h": ""},
                    "actors/deliver/a.c", "from hub/net/ to hub/cli/")
        self.expect(check_arrows, {"actors/new/a.c": "", "hub/b.c": ""}, "actors/new/ has no place", "hub/ has no place")

    def test_the_list_of_arrows_can_only_shrink(self):
        line = "actors/deliver/a.c actors/user/u.h\n"
        self.expect(check_arrows, {**self.UP, "tests/arrows_allowed.txt": "# prose\n" + line})
        self.expect(check_arrows, {**self.UP, "actors/deliver/a.c": "", "tests/arrows_allowed.txt": line},
                    "actors/deliver/a.c actors/user/u.h: not needed any more")
        self.expect(check_arrows, {**self.UP, "tests/arrows_allowed.txt": line + "actors/deliver/a.c actors/core/c.h\n"},
                    "actors/deliver/a.c actors/core/c.h: not needed any more")

    def test_libraries_stay_home(self):
        self.expect(check_arrows, {
            "actors/a.c": "#include <uv.h>\n", "hub/net/a.c": "#include <confuse.h>\n",
            "hub/net/b.c": "#include <confuse.h>\n", "sql/x.h": "#include <libpq-fe.h>\n",
            "codec/y.c": "#include <glib.h>\n", "hub/net/z.h": "#include <jose/jwk.h>\n",
        }, "actors/a.c", "no home", "header of ours", "sql/x.h", "libconfuse has one home")

    def test_order_is_checked(self):
        self.expect(check_arrows, {
            "codec/a.h": "", "codec/b.h": "",
            "codec/a.c": '#include <stdio.h>\n#include "codec/a.h"\n',
            "codec/b.c": '#include "codec/b.h"\n#include <stdio.h>\n#include <errno.h>\n',
        }, "own header", "not sorted")


class Dead(Tree):
    def test_what_another_file_or_a_macro_calls_is_alive(self):
        self.expect(check_dead, {
            "hub/a.h": "void a_go(void);\nvoid a_on_red(void);\nvoid a_in(void);\n"
                       "static inline void a_twice(void)\n{\n    a_in();\n}\n",
            "hub/a.c": "void a_go(void)\n{\n}\nvoid a_on_red(void)\n{\n}\nvoid a_in(void)\n{\n}\n",
            "hub/b.c": "#define CALL(color) a_on_##color()\nint main(void)\n{\n    a_go();\n"
                       "    CALL(red);\n    a_twice();\n}\n"})

    def test_what_only_tests_or_its_own_file_call_is_found(self):
        files = {"codec/a.h": "void a_one(void);\nvoid a_two(void);\nTEST_SEAM void a_seam(void);\n",
                 "codec/a.c": "void a_one(void)\n{\n}\nvoid a_two(void)\n{\n}\n"
                              "void a_seam(void)\n{\n}\nstatic void f(void)\n{\n    a_two();\n}\n",
                 "tests/t.c": "void f(void)\n{\n    a_one();\n    a_seam();\n}\n"}
        self.expect(check_dead, files, "a_one: nothing calls", "a_two: only its own file")
        files["tests/t.c"] += "void g(void)\n{\n    a_two();\n}\n"
        files["codec/b.c"] = "static void f(void)\n{\n    a_one();\n    a_seam();\n}\n"
        self.expect(check_dead, files, "a_seam: TEST_SEAM, but")

    def test_constants_of_headers_are_named(self):
        self.expect(check_dead, {
            "codec/a.h": "#define A_MAX 1\n#define A_MIN 0\nenum { A_LEN = 2, A_OLD = 3 };\n",
            "codec/a.c": "int a = A_MAX + A_LEN;\n"}, "A_MIN", "A_OLD")


class Circles(Tree):
    FILES = {"hub/a.c": "void a(void)\n{\n    b();\n}\n", "hub/b.c": "void b(void)\n{\n    c();\n}\n",
             "hub/c.c": "void c(void)\n{\n    a();\n}\n", "hub/d.c": "void d(void)\n{\n    a();\n}\n"}

    def test_circles_by_calls_and_by_includes_are_found(self):
        self.expect(check_circles, self.FILES, "circle by calls: hub/a hub/b hub/c")
        self.expect(check_circles, {
            "hub/a.h": '#include "hub/b.h"\n', "hub/b.c": '#include "hub/a.h"\n', "hub/b.h": ""},
            "circle by includes: hub/a hub/b")

    def test_a_table_of_functions_is_no_arrow(self):
        self.expect(check_circles, {
            "hub/a.c": "void a(void)\n{\n    b();\n}\nstatic void told(void)\n{\n}\nconst struct ops ops = {told};\n",
            "hub/b.c": "void b(void)\n{\n    given->told();\n}\n"})


class Sizes(Tree):
    def test_long_function_file_and_header(self):
        long_function = "void f(void)\n{\n" + "    g();\n" * 78 + "}\n"
        self.expect(check_size, {"codec/a.c": long_function}, "codec/a.c:f: lines 81")
        self.expect(check_size, {"codec/a.c": "\n" * 701}, "source 701")
        self.expect(check_size, {"codec/a.h": "\n" * 301}, "header 301")
        self.expect(check_size, {"codec/a.c": long_function.replace("    g();\n", "", 1)})

    def test_parameters_count_commas_of_the_list_only(self):
        seven = "int a, int b, int c, int d, int e, int f, int g"
        self.expect(check_size, {"codec/a.h": f"int many({seven});\n"}, "parameters 7")
        callback = f"int few(int a, int (*fn)({seven}));\n"
        self.expect(check_size, {"codec/a.h": callback})

    def test_nesting_counts_blocks_not_initialisers(self):
        deep = "void f(int a)\n{\n" + "if (a) {\n" * 5 + "}" * 5 + "\n}\n"
        self.expect(check_size, {"codec/a.c": deep}, "nesting 5")
        values = "void f(void)\n{\nstruct s x = {{{{{{0}}}}}};\nuse((struct s){{{{{{1}}}}}}, x);\n}\n"
        self.expect(check_size, {"codec/a.c": values})

    def test_complexity(self):
        many = "int f(int a)\n{\n" + "if (a && 1) return 1;\n" * 8 + "return 0;\n}\n"
        self.expect(check_size, {"codec/a.c": many}, "complexity 17")

    def test_exceptions_need_a_reason_and_a_need(self):
        long_header = {"codec/a.h": "\n" * 301}
        allowed = "codec/a.h header a table that belongs together\n"
        self.expect(check_size, {**long_header, "tests/size_allowed.txt": allowed})
        self.expect(check_size, {"tests/size_allowed.txt": allowed}, "remove the line")
        self.expect(check_size, {**long_header, "tests/size_allowed.txt": "codec/a.h header\n"},
                    "no reason", "header 301")


class Headers(Tree):
    def test_header_must_stand_alone(self):
        good = "#ifndef CODEC_A_H\n#define CODEC_A_H\n#include <stddef.h>\nsize_t f(void);\n#endif\n"
        self.expect(check_headers, {"codec/a.h": good})
        self.expect(check_headers, {"codec/a.h": good.replace("#include <stddef.h>\n", "")},
                    "does not compile alone")
        self.expect(check_headers, {"codec/a.h": good.replace("CODEC_A_H", "A_H")},
                    "guard must be CODEC_A_H")


class Heads(Tree):
    def test_a_file_says_what_it_is_for(self):
        for head in ("/*\n * thing - what things are, to others.\n */\n", "/* All that things can do. */\n",
                     "/*\n * Things, and what can be done with them: this and that.\n *\n * More.\n */\n",
                     "/*\n * What things are for. Order of this file: life, death.\n */\n"):
            self.expect(check_heads, {"codec/a.c": LICENCE + head, "codec/a.def": LICENCE + head})
        self.expect(check_heads, {"tests/data/a.c": "int a;\n", "clients/a.js": "a();\n"})

    def test_others_are_refused(self):
        for head in ("", "int a; /* What things are for. */\n", "/* no sentence */\n", "\n/* Far from the top. */\n"):
            self.expect(check_heads, {"codec/a.c": LICENCE + head}, "codec/a.c:2: no sentence")
        for head in ("Order of this file: life, death.", "Sections: one, two.", "Order: one; two."):
            self.expect(check_heads, {"codec/a.h": f"{LICENCE}/*\n * {head}\n */\n"}, "before its order")
        self.expect(check_heads, {"codec/a.h": LICENCE + "/*\n * thing - the thing.\n */\n"}, "too little")


class Words(Tree):
    def test_marks_paths_and_registries(self):
        for text in ("/* TO" "DO: later */", "x = 1; // FIX" "ME", "cd /wo" "rk/main",
                     "in /ho" "me/someone/x", "https://registry.npm" "js.org/x"):
            self.expect(check_words, {"codec/a.c": LICENCE + text + "\n"}, "codec/a.c:2")
        for text in ('mkdtemp("peal.XXXXXX")', "const char *path = dir_work;", "to do", "/tmp/peal"):
            self.expect(check_words, {"codec/a.c": LICENCE + text + "\n"})

    def test_tests_switched_off(self):
        for text in ("test.sk" "ip('x', f)", "Test(a, b, .disabled = tr" "ue)", "it.on" "ly('x')"):
            self.expect(check_words, {"tests/a.mjs": "// " + LICENCE + text + "\n"}, "tests/a.mjs:2")

    def test_logs_are_waited_for(self):
        for log in ("hub.lo" "g", "hubs[0].lo" "g"):
            text = f"{LICENCE}assert.match({log}, /x/)\n"
            self.expect(check_words, {"tests/a.mjs": "// " + text}, "tests/a.mjs:2")
        text = f"{LICENCE}assert.ok(rec" "ords(hub, 'X').length > 0)\n"
        self.expect(check_words, {"tests/a.mjs": "// " + text}, "tests/a.mjs:2")

    def test_licence_line(self):
        self.expect(check_words, {"codec/a.c": "int x;\n"}, "no licence line")

    def test_a_logged_text_is_quoted(self):
        call = LICENCE + 'log_warn("A", "b",\n    "user=%s", {});\n'
        self.expect(check_words, {"hub/a.c": call.replace("%s", "%.*s")}, "hub/a.c:3: a text")
        self.expect(check_words, {"hub/a.c": call + 'snprintf(at, 9, "%.*s", 1, name);\n'})


class Verbs(Tree):
    def test_ends_have_the_verbs_of_the_ladder(self):
        for name in ("thing_free", "thing_reap_all", "user_gone"):
            self.expect(check_verbs, {"hub/net/a.h": f"void {name}(struct thing *thing);\n"}, name)
        for name in ("thing_destroy", "thing_on_gone", "free_text", "thing_freed"):
            self.expect(check_verbs, {"hub/net/a.h": f"void {name}(struct thing *thing); /* thing_free( */\n"})

    def test_the_list_of_others_only_shrinks(self):
        listed = {"tests/verbs_allowed.txt": "thing_free\n"}
        self.expect(check_verbs, {"hub/net/a.h": "void thing_free(void);\n", **listed})
        self.expect(check_verbs, {"hub/net/a.h": "void thing_destroy(void);\n", **listed}, "take it out")


class Memory(Tree):
    LISTED = "tests/memory_allowed.txt"

    @staticmethod
    def body(line):
        return f"#include \"a.h\"\n\nstatic void take(struct a *a,\n    size_t count)\n{{\n    {line}\n}}\n"

    def test_what_aborts_has_a_reason(self):
        for line in ("a->b = mem_alloc(count);", "a->b = mem_alloc(sizeof(*a->b) + count);",
                     "a->b = mem_alloc_array(count, 8);", "a->b = mem_dup(a->at, count);",
                     "CHECK(map_put(&a->map, a));", "CHECK(root->ops->subscribe(a->link,\n        a->name));",
                     "CHECK(SSL_CTX_set_options(a) == 1);"):
            files = {"hub/net/a.c": self.body(line)}
            self.expect(check_memory, files, "hub/net/a.c take: ends the program")
            self.expect(check_memory, {**files, self.LISTED: "# As it starts.\nhub/net/a.c take\n"})

    def test_what_may_fail_or_only_looks_so_needs_none(self):
        for line in ("a->b = mem_try_alloc(count);", "CHECK(a != NULL);", "a->b = 0; /* mem_alloc(count) */",
                     "a->b = mem_alloc(sizeof(*a->b));"):
            self.expect(check_memory, {"actors/a.c": self.body(line)})
        self.expect(check_memory, {"sql/a.c": self.body("a->b = mem_alloc(count);")})
        begins = self.body("a->b = mem_alloc(count);").replace("take(", "a_create(")
        self.expect(check_memory, {"actors/a.c": begins})


class Hardening(unittest.TestCase):
    GOOD = {"head": "  Type:    DYN (Position-Independent Executable file)", "segments":
            "  GNU_STACK 0x0 0x0 0x0 RW  0x10\n  GNU_RELRO 0x1 0x2 0x3 R 0x1", "dynamic":
            " 0x1e (FLAGS)  BIND_NOW", "symbols": "__stack_chk_fail@GLIBC __memcpy_chk@GLIBC"}

    def test_hardened_programs_pass(self):
        self.assertEqual(check_hardening.find_problems(**self.GOOD), [])

    def test_each_thing_is_missed(self):
        for name, text, problem in (
                ("head", "  Type:    EXEC (Executable file)", "position"),
                ("segments", "  GNU_STACK 0x0 0x0 0x0 RW  0x10", "RELRO"),
                ("segments", self.GOOD["segments"].replace("RW ", "RWE"), "executable"),
                ("dynamic", "", "lazily"), ("symbols", "__stack_chk_fail memcpy", "FORTIFY"),
                ("symbols", "__memcpy_chk", "protector")):
            found = check_hardening.find_problems(**{**self.GOOD, name: text})
            self.assertEqual(len(found), 1, found)
            self.assertIn(problem, found[0])


class Tally(unittest.TestCase):
    def rows(self, add):
        with tempfile.TemporaryDirectory() as folder:
            results = os.path.join(folder, "results")
            open(results, "w", encoding="utf-8").close()
            add(results, folder)
            with redirect_stdout(io.StringIO()) as output:
                code = tally.print_sum(results)
            return output.getvalue().splitlines()[-1], code

    def meson(self, *entries, code=0):
        def add(results, folder):
            log = os.path.join(folder, "log")
            with open(log, "w", encoding="utf-8") as file:
                file.writelines(json.dumps(entry) + "\n" for entry in entries)
            tally.add_meson(results, "tests", log, code)
        return self.rows(add)

    def criterion(self, passing, failing, crashing, result):
        text = (f"\x1b[0;33m[SKIP]\x1b[0m a::b: none\n[====] Synthesis: Tested: "
                f"{passing + failing + crashing} | Passing: {passing} | Failing: {failing} | "
                f"Crashing: {crashing} \n")
        coloured = text.replace("[SKIP]", "[SKIP]").replace("Passing", "\x1b[1mPassing\x1b[0m")
        return {"name": "unit", "result": result, "stdout": "", "stderr": coloured}

    def test_criterion_counts(self):
        self.assertEqual(self.meson(self.criterion(12, 0, 0, "OK")),
                         ("12 passed, 0 failed, 1 skipped", 0))
        self.assertEqual(self.meson(self.criterion(12, 2, 1, "FAIL")),
                         ("12 passed, 3 failed, 1 skipped", 1))
        self.assertEqual(self.meson(self.criterion(12, 0, 0, "TIMEOUT")),
                         ("12 passed, 1 failed, 1 skipped", 1))

    def test_plain_programs(self):
        plain = {"name": "p", "result": "OK", "stdout": "", "stderr": ""}
        self.assertEqual(self.meson(plain), ("1 passed, 0 failed, 0 skipped", 0))
        self.assertEqual(self.meson({**plain, "stdout": "7 passed, 0 failed, 2 skipped\n"}),
                         ("7 passed, 0 failed, 2 skipped", 0))
        self.assertEqual(self.meson({**plain, "result": "ERROR"}),
                         ("0 passed, 1 failed, 0 skipped", 1))

    def test_nothing_run_is_a_failure(self):
        self.assertEqual(self.meson(), ("0 passed, 0 failed, 0 skipped", 1))
        self.assertEqual(self.meson(code=3), ("0 passed, 1 failed, 0 skipped", 1))

    def test_node_totals(self):
        def tap(text, code):
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "tap")
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
                return tally.count_tap(path, code)
        totals = "# tests 9\n# pass 5\n# fail 1\n# cancelled 1\n# skipped 2\n# todo 0\n"
        self.assertEqual(tap(totals, 1), (5, 2, 2))
        self.assertEqual(tap("", 0), (0, 1, 0))
        self.assertEqual(tap("# pass 0\n# fail 0\n", 0), (0, 1, 0))
        self.assertEqual(tap("# pass 5\n# fail 0\n", 124), (5, 1, 0))

    def test_sanitizer_logs_fail(self):
        def add(results, folder):
            tally.append(results, "x", 3, 0, 0)
            logs = os.path.join(folder, "logs")
            os.mkdir(logs)
            with open(os.path.join(logs, "asan.1"), "w", encoding="utf-8") as file:
                file.write("leak")
            with redirect_stdout(io.StringIO()):
                tally.add_logs(results, logs)
        self.assertEqual(self.rows(add), ("3 passed, 1 failed, 0 skipped", 1))


class ClientTests(unittest.TestCase):
    """Files of shell in place of tests: what runs them ignores its first argument, as node would."""

    def run_files(self, deadline, **files):
        with tempfile.TemporaryDirectory() as root:
            node = os.path.join(root, "node")
            results = os.path.join(root, "results")
            with open(node, "w", encoding="utf-8") as file:
                file.write('#!/bin/sh\nexec sh "$2"\n')
            os.chmod(node, 0o755)
            for name, text in files.items():
                with open(os.path.join(root, f"{name}.test.mjs"), "w", encoding="utf-8") as file:
                    file.write(text.replace("NAP", self.nap))
            runner = [sys.executable, client_tests.__file__, "--node", node, "--logs", root,
                      "--results", results, "--deadline", str(deadline), "--jobs", "2",
                      *(os.path.join(root, f"{name}.test.mjs") for name in files)]
            code = subprocess.run(runner, stdout=subprocess.DEVNULL, check=False).returncode
            with open(results, encoding="utf-8") as file:
                return code, [line.split("\t")[:3] for line in file]

    def setUp(self):
        self.nap = f"{600 + os.getpid() / 1e7:.7f}"  # nobody else sleeps so long

    def assert_nothing_left(self):
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    self.assertNotIn(self.nap.encode(), file.read())
            except OSError:
                pass  # it has ended meanwhile

    def test_a_file_that_hangs_fails_alone_and_leaves_nothing(self):
        code, rows = self.run_files(
            3, hangs="setsid sleep NAP & sleep NAP", passes="echo '# pass 2'; echo '# fail 0'")
        self.assertEqual((code, rows), (1, [["0", "1", "0"], ["2", "0", "0"]]))
        self.assert_nothing_left()

    def test_a_file_that_leaves_something_fails(self):
        text = "setsid sleep NAP >/dev/null 2>&1 & echo '# pass 2'; echo '# fail 0'"
        self.assertEqual(self.run_files(60, leaves=text), (1, [["2", "1", "0"]]))
        self.assert_nothing_left()


    def test_the_longest_files_begin_first(self):
        seconds = client_tests.read_seconds()
        paths = [os.path.join(HERE, "e2e", f"{name}.test.mjs") for name in sorted(seconds)]
        self.assertEqual([path for path in paths if not os.path.exists(path)], [])
        ordered = client_tests.longest_first(["e2e/unnamed.test.mjs", *paths, "e2e/short.test.mjs"])
        taken = [seconds.get(client_tests.name_of(path), client_tests.SHORT) for path in ordered]
        self.assertEqual(taken, sorted(taken, reverse=True))
        self.assertGreater(taken[0], 2 * client_tests.SHORT)
        self.assertEqual([client_tests.name_of(path) for path in ordered[-2:]], ["unnamed", "short"])


class MovedTree(unittest.TestCase):
    """`dev build-in` with a meson and a ninja that only note how they are called."""

    MESON = """#!/bin/sh
echo "meson $1" >> "$CALLS"
[ "$1" = setup ] || exit 0
mkdir -p "$2/meson-info"
: > "$2/build.ninja"
echo "{\\"build\\": \\"$PWD/$2\\"}" > "$2/meson-info/meson-info.json"
echo '[{"name": "tests", "value": true}]' > "$2/meson-info/intro-buildoptions.json"
"""

    def test_a_build_of_another_path_is_configured_again(self):
        with tempfile.TemporaryDirectory() as root:
            calls = os.path.join(root, "calls")
            tools = os.path.join(root, "tools")
            here = os.path.join(root, "here")
            there = os.path.join(root, "there")
            os.makedirs(tools)
            os.makedirs(here)
            shutil.copy(os.path.join(HERE, "..", "dev"), here)
            for name, text in (("meson", self.MESON), ("ninja", '#!/bin/sh\necho ninja >> "$CALLS"\n')):
                with open(os.path.join(tools, name), "w", encoding="utf-8") as file:
                    file.write(text)
                os.chmod(os.path.join(tools, name), 0o755)
            environment = {**os.environ, "CALLS": calls, "PATH": f"{tools}:{os.environ['PATH']}"}

            def build(tree):
                subprocess.run([os.path.join(tree, "dev"), "build-in", "build"], env=environment,
                               stdout=subprocess.DEVNULL, check=True)
                with open(calls, encoding="utf-8") as file:
                    called = file.read().split("\n")[:-1]
                os.remove(calls)
                return called

            self.assertEqual(build(here), ["meson setup", "ninja"])
            self.assertEqual(build(here), ["ninja"])
            os.rename(here, there)
            self.assertEqual(build(there), ["meson setup", "ninja"])
            self.assertEqual(build(there), ["ninja"])


if __name__ == "__main__":
    unittest.main()
