/* runtime/sim/residue.c — handles: which bits they are, and the table behind them. */
#include "runtime/sim/fp.h"
#include "runtime/sim/residue_table.h"
#include <math.h>

/* The upper half of an f32 handle, without its sign: from HIGH on, below infinity; the lower half is never 0. A 16-bit handle is such
 * an upper half, f16 or bf16, counted down from 0x7bfe (below f16's greatest number), so that 512, 1024 … come last. */
enum { HIGH = 0x6000, HIGH_END = 0x7f80, HALF_TOP = 0x7bfe, HALVES = 2 * (HALF_TOP - HIGH + 1), LOWS = 0xffff };
#define HANDLE64 UINT64_C(0xfff4000000000000)

/* ---- bits of an index, and back ---------------------------------------------------------------------------------------------- */
static uint32_t bits_of_index(uint32_t i)
{
    uint32_t high = i / LOWS, low = i % LOWS + 1;
    return (high & 1) << 31 | (HIGH + (high >> 1)) << 16 | low;
}

static uint16_t bits_of_half(uint32_t slot) { return (uint16_t)((slot & 1) << 15 | (HALF_TOP - (slot >> 1))); }

static bool half_index(const SimResidues *s, uint32_t bits, uint32_t *index)
{
    uint32_t magnitude = bits & 0x7fff;
    if (magnitude < HIGH || magnitude > HALF_TOP)
        return false;
    uint32_t slot = (HALF_TOP - magnitude) * 2 + (bits >> 15 & 1);
    if (slot >= s->halves.n)
        return false;
    *index = s->halves.data[slot];
    return true;
}

static bool index_of_bits(const SimResidues *s, uint8_t type, uint64_t bits, uint32_t *index)
{
    if (type == PT_F64) {
        *index = (uint32_t)bits;
        return (bits & ~UINT64_C(0xffffffff)) == HANDLE64 && *index < s->table.n;
    }
    if (type == PT_F16 || type == PT_BF16)
        return half_index(s, (uint32_t)bits, index);
    uint32_t u = (uint32_t)bits, high = u >> 16 & 0x7fff, low = u & 0xffff;
    if (high < HIGH || high >= HIGH_END)
        return false;
    if (!low)
        return half_index(s, u >> 16, index);
    uint64_t i = ((uint64_t)(high - HIGH) * 2 + (u >> 31)) * LOWS + low - 1;
    *index = (uint32_t)i;
    return i < s->table.n;
}

bool residue_is_handle(const SimResidues *s, uint8_t type, uint64_t bits)
{
    uint32_t index;
    return index_of_bits(s, type, bits, &index);
}

/* ---- literals ------------------------------------------------------------------------------------------------------------------ */
static double literal_value(uint8_t type, uint64_t bits)
{
    switch (type) {
    case PT_F64:  return fp64(bits);
    case PT_F16:  return (double)f16_to_f32((uint16_t)bits);
    case PT_BF16: return (double)bf16_to_f32((uint16_t)bits);
    default:      return (double)fp32((uint32_t)bits);
    }
}

uint64_t literal_bits(uint8_t type, double v)
{
    switch (type) {
    case PT_F64:  return bits64(v);
    case PT_F16:  return f64_to_f16(v);
    case PT_BF16: return f64_to_bf16(v);
    default:      return canonical32((float)v);
    }
}

/* What is left of a constant behind its f32, where the f32 stands for all of it. */
static bool is_rest(uint8_t type, uint64_t bits)
{
    return type == PT_F32 && (bits & 0x7fffffff) == 0x32a57060;      /* log2 e - (float)log2 e */
}

static Residue literal(SimResidues *s, uint8_t type, uint64_t bits)
{
    uint32_t slot = (uint32_t)((bits * 0x9e3779b97f4a7c15u + type) >> 32) % LITERAL_CACHE;
    if (!s->cache[slot].known || s->cache[slot].bits != bits || s->cache[slot].type != type) {
        s->cache[slot].known = true;
        s->cache[slot].bits = bits;
        s->cache[slot].type = type;
        s->cache[slot].r = residue_constant(s->f, is_rest(type, bits) ? 0 : literal_value(type, bits));
    }
    return s->cache[slot].r;
}

/* Numbers that stay bits: infinities, NaN without a residue, integers that the format holds. */
static bool stays_literal(const SimResidues *s, uint8_t type, Residue r)
{
    if (r.v - r.v != 0)
        return (r.p & r.q & RESIDUE_NONE) != 0;
    double most = type == PT_F64 ? 0x1p53 : type == PT_F32 || type == PT_TF32 ? 0x1p24 : 256;
    if (r.v != trunc(r.v) || fabs(r.v) > most)
        return false;
    Residue i = residue_integer(s->f, (int64_t)r.v);
    return i.p == r.p && i.q == r.q;
}

/* ---- the table -------------------------------------------------------------------------------------------------------------------- */
static uint32_t hash_of(Residue r)
{
    uint64_t h = (r.p ^ r.q * 0x9e3779b97f4a7c15u ^ bits64(r.v) * 0xbf58476d1ce4e5b9u) * 0x94d049bb133111ebu;
    return (uint32_t)(h >> 32);
}

static void grow(SimResidues *s)
{
    s->hash_size *= 2;
    s->hash = arena_new_array(s->arena, uint32_t, s->hash_size);
    for (uint32_t i = 0; i < s->table.n; i++) {
        uint32_t at = hash_of(s->table.data[i]) % s->hash_size;
        while (s->hash[at])
            at = (at + 1) % s->hash_size;
        s->hash[at] = i + 1;
    }
}

static uint32_t index_of(SimResidues *s, Residue r)
{
    if (s->table.n * 2 >= s->hash_size)
        grow(s);
    uint32_t at = hash_of(r) % s->hash_size;
    for (; s->hash[at]; at = (at + 1) % s->hash_size) {
        const Residue *x = &s->table.data[s->hash[at] - 1];
        if (x->p == r.p && x->q == r.q && bits64(x->v) == bits64(r.v))
            return s->hash[at] - 1;
    }
    s->hash[at] = s->table.n + 1;
    vec_push(s->arena, &s->table, r);
    return s->table.n - 1;
}

static uint16_t half_handle(SimResidues *s, uint32_t index)
{
    if (index >= s->half_cap) {
        uint32_t cap = s->half_cap ? s->half_cap : 1024;
        while (cap <= index)
            cap *= 2;
        uint32_t *more = arena_new_array(s->arena, uint32_t, cap);
        if (s->half_cap)
            memcpy(more, s->half_of, s->half_cap * sizeof *more);
        s->half_of = more;
        s->half_cap = cap;
    }
    if (!s->half_of[index]) {
        if (s->halves.n >= HALVES) {
            s->full = true;
            return NAN16;
        }
        vec_push(s->arena, &s->halves, index);
        s->half_of[index] = s->halves.n;
    }
    return bits_of_half(s->half_of[index] - 1);
}

Residue residue_of_bits(SimResidues *s, uint8_t type, uint64_t bits)
{
    uint32_t index;
    return index_of_bits(s, type, bits, &index) ? s->table.data[index] : literal(s, type, bits);
}

uint64_t residue_to_bits(SimResidues *s, uint8_t type, Residue r)
{
    if (stays_literal(s, type, r))
        return literal_bits(type, r.v);
    uint32_t index = index_of(s, r);
    if (type == PT_F64)
        return HANDLE64 | index;
    return type == PT_F16 || type == PT_BF16 ? half_handle(s, index) : bits_of_index(index);
}

/* ---- the domain -------------------------------------------------------------------------------------------------------------------- */
SimResidues *sim_residues_new(const ResidueField *f, Arena *a)
{
    SimResidues *s = arena_new_of(a, SimResidues);
    s->f = f;
    s->arena = a;
    s->hash_size = 1 << 12;
    s->hash = arena_new_array(a, uint32_t, s->hash_size);
    s->domain = (SimDomain){.arg = s, .step = residue_step, .dot = residue_dot};
    return s;
}

SimDomain *sim_residues_domain(SimResidues *s) { return &s->domain; }
const SimDecision *sim_residue_decisions(const SimResidues *s) { return s->decisions; }
uint64_t sim_residue_ties(const SimResidues *s) { return s->ties; }
const PtxInst *sim_residue_taken_apart(const SimResidues *s) { return s->taken_apart; }

static uint8_t type_of(DType t) { return t == DT_F64 ? PT_F64 : t == DT_F16 ? PT_F16 : t == DT_BF16 ? PT_BF16 : PT_F32; }

void sim_residue_store(SimResidues *s, DType t, void *element, Residue r)
{
    uint64_t bits = residue_to_bits(s, type_of(t), r);
    memcpy(element, &bits, dtype_bytes(t));
}

Residue sim_residue_load(SimResidues *s, DType t, const void *element)
{
    uint64_t bits = 0;
    memcpy(&bits, element, dtype_bytes(t));
    return residue_of_bits(s, type_of(t), bits);
}
