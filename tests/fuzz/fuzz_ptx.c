/* tests/fuzz/fuzz_ptx.c — the PTX parser under libFuzzer (see scripts/fuzz). Whatever the bytes are, reading them ends, with a
 * module or with diagnostics. */
#include "runtime/sim/ptx.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Arena *a = arena_new();
    char *text = arena_strndup(a, (const char *)data, size);
    Diags *d = diags_new(a);
    if (!ptx_read(a, d, source_from_text(a, "fuzz.ptx", text)) && !diags_failed(d))
        abort();                                     /* refused without a word */
    arena_free(a);
    return 0;
}
