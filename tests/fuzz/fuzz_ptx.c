/* The PTX parser under libFuzzer: any text must end in a module or in diagnostics. Not part of the tests:
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -I. tests/fuzz/fuzz_ptx.c runtime/sim/[a-z]*.c base/[!y]*.c \
 *         -ljansson -lz -lzstd -lxxhash -lm -ldl -lpthread -o fuzz_ptx && ./fuzz_ptx -max_total_time=1800 corpus tests/sim/ptx */
#include "runtime/sim/sim.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (size > 1 << 20 || memchr(data, 0, size))
        return 0;
    Arena *a = arena_new();
    ptx_read(a, diags_new(a), source_from_text(a, "fuzz.ptx", arena_strndup(a, (const char *)data, size)));
    arena_free(a);
    return 0;
}
