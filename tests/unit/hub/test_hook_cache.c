/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of hooks that are kept for a while.
 */
#include <criterion/criterion.h>

#include "hub/hooks/hook_cache.h"

TestSuite(hook_cache, .timeout = 60);

Test(hook_cache, is_bounded_and_forgets)
{
    struct hook_cache cache;
    uint8_t keys[6][HOOK_KEY_LEN] = {{0}};
    bool allow;
    hook_cache_init(&cache, 4);
    for (uint8_t i = 0; i < 6; i++) {
        keys[i][0] = i;
    }
    for (uint8_t i = 0; i < 4; i++) {
        hook_cache_put(&cache, keys[i], i % 2 == 0, 0, 1000);
    }
    cr_expect(hook_cache_get(&cache, keys[0], 999, &allow) && allow);
    cr_expect(hook_cache_get(&cache, keys[1], 999, &allow) && !allow);
    hook_cache_put(&cache, keys[4], true, 0, 1000); /* the third was asked for least */
    cr_expect(!hook_cache_get(&cache, keys[2], 0, &allow));
    cr_expect_eq(cache.evicted, 1);
    hook_cache_put(&cache, keys[0], false, 0, 2000); /* another answer */
    cr_expect(hook_cache_get(&cache, keys[0], 1500, &allow) && !allow);
    cr_expect(!hook_cache_get(&cache, keys[1], 1000, &allow), "its time is over");
    hook_cache_put(&cache, keys[5], true, 1500, 3000); /* those that are over go, not counted */
    cr_expect(!hook_cache_get(&cache, keys[4], 0, &allow));
    cr_expect_eq(cache.evicted, 1);
    hook_cache_finish(&cache);
}
