/* runtime/sim/profile.c — how well the lanes' addresses fit memory: 32-byte sectors of global memory, passes over the 32 banks of
 * shared memory. Wide accesses go in as many passes as there are 128 bytes. */
#include "runtime/sim/run.h"

static uint32_t count_distinct(uint64_t *v, uint32_t n)
{
    uint32_t distinct = 0;
    for (uint32_t i = 0; i < n; i++) {
        bool seen = false;
        for (uint32_t k = 0; k < distinct && !seen; k++)
            seen = v[k] == v[i];
        if (!seen)
            v[distinct++] = v[i];
    }
    return distinct;
}

static void count_sectors(SimCount *c, uint32_t mask, const uint64_t *address, uint32_t bytes)
{
    uint64_t sector[LANES * 2];
    uint32_t n = 0, lanes = (uint32_t)__builtin_popcount(mask);
    for_lanes(l, mask) {
        sector[n++] = address[l] / 32;
        if ((address[l] + bytes - 1) / 32 != address[l] / 32)
            sector[n++] = (address[l] + bytes - 1) / 32;
    }
    c->sectors += count_distinct(sector, n);
    c->ideal_sectors += (lanes * bytes + 31) / 32;
}

/* Lanes of one pass: as many as make 128 bytes. Within it, a bank serves one word. */
static void count_wavefronts(SimCount *c, uint32_t mask, const uint64_t *address, uint32_t bytes)
{
    uint32_t group = bytes <= 4 ? 32 : bytes == 8 ? 16 : 8, words = bytes < 4 ? 1 : bytes / 4;
    for (uint32_t first = 0; first < LANES; first += group) {
        uint32_t part = mask & (group == 32 ? UINT32_MAX : ((1u << group) - 1) << first), most = 0;
        for (uint32_t bank = 0; bank < 32 && part; bank++) {
            uint64_t word[LANES];
            uint32_t n = 0;
            for_lanes(l, part)
                for (uint32_t k = 0; k < words; k++)
                    if ((address[l] / 4 + k) % 32 == bank && n < LANES)
                        word[n++] = address[l] / 4 + k;
            uint32_t passes = count_distinct(word, n);
            most = passes > most ? passes : most;
        }
        c->wavefronts += most;
        c->ideal_wavefronts += part != 0;
    }
}

void profile_access(SimWarp *w, const PtxInst *inst, PtxSpace space, uint32_t mask, const uint64_t *address, uint32_t bytes)
{
    SimCount *c = &w->machine->counts[inst - w->machine->module->code.data];
    if (!mask)
        return;
    if (space == SPACE_GENERIC)
        space = address_space(address[__builtin_ctz(mask)]);
    if (space == SPACE_SHARED)
        count_wavefronts(c, mask, address, bytes);
    else if (space == SPACE_GLOBAL)
        count_sectors(c, mask, address, bytes);
}
