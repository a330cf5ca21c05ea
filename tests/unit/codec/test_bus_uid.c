/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uids of nodes: there and back, and told from those of stock servers.
 */
#include <criterion/criterion.h>

#include "codec/bus_uid.h"
#include "codec/bus_version.h"

TestSuite(bus_uid, .timeout = 60);

Test(bus_uid, comes_back_as_it_was_written)
{
    const struct bus_uid uid = {
        .epoch = BYTES("0193-e"), .version = UINT32_MAX, .node = BYTES("a1b2c3d4e5f6")};
    struct builder out = {0};
    struct bus_uid read;
    bus_uid_write(&uid, &out);
    cr_assert(bus_uid_read(builder_bytes(&out), &read));
    cr_expect(bytes_eq(read.epoch, uid.epoch) && bytes_eq(read.node, uid.node));
    cr_expect_eq(read.version, uid.version);
    builder_reset(&out);
}

Test(bus_uid, of_stock_servers_and_emitters_is_none_of_ours)
{
    static const char *const others[] = {"", "r695z", "emitter", ".", "..", "...", "a.1.", ".1.n",
        "a..n", "a.1", "a.1.n.", "a.1.n.m", "a.x.n", "a.-1.n", "a.01.n", "a.4294967296.n"};
    struct bus_uid read;
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        cr_expect_not(bus_uid_read(bytes_str(others[i]), &read), "%s", others[i]);
    }
}

Test(bus_uid, versions_work_together_when_they_are_next_to_each_other)
{
    cr_expect(bus_version_is_near(bus_version));
    cr_expect(bus_version_is_near(bus_version + 1));
    cr_expect(bus_version_is_near(bus_version - 1));
    cr_expect_not(bus_version_is_near(bus_version + 2));
    cr_expect_not(bus_version_is_near(UINT32_MAX));
}
