/* SPDX-License-Identifier: Apache-2.0 */
/*
 * torture - lets allocations that may fail do so, as the file says that PEAL_TORTURE names.
 *
 * The file is mapped: what the test writes to it holds at once, and it reads there what became of
 * it.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "codec/base/check.h"
#include "codec/base/mem.h"

/* Little-endian numbers of 64 bits, as tests/e2e/support/torture.mjs has them. */
struct torture {
    _Atomic int64_t left; /* allocations until the first that fails; 0 and below: none does */
    _Atomic int64_t failing; /* how many fail from there on */
};

static struct torture *torture;

__attribute__((constructor)) static void open_file(void)
{
    const char *path = getenv("PEAL_TORTURE");
    if (path == NULL) {
        return;
    }
    int fd = open(path, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
    torture = mmap(NULL, sizeof(*torture), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(torture != MAP_FAILED);
    close(fd);
}

bool mem_torture_fails(void)
{
    if (torture == NULL || atomic_load(&torture->failing) <= 0) {
        return false;
    }
    if (atomic_load(&torture->left) > 1) {
        return atomic_fetch_sub(&torture->left, 1) == 1;
    }
    return atomic_fetch_sub(&torture->failing, 1) > 0;
}
