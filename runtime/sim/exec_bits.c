/* runtime/sim/exec_bits.c — shifts, bit fields, lop3, prmt. */
#include "runtime/sim/exec.h"

/* ---- shifts: amounts above the width shift everything out ---- */

#define SHIFT(name, T, ...)                                                                                            \
    EXEC(name) {                                                                                                      \
        T *d = COLUMN(T, 0);                                                                                          \
        const T *a = COLUMN(const T, 1);                                                                              \
        const uint32_t *b = COLUMN(const uint32_t, 2);                                                                \
        LANEWISE(d[l] = (T)(__VA_ARGS__))                                                                             \
        return FLOW_NEXT;                                                                                             \
    }
SHIFT(shl_16, uint16_t, b[l] > 15 ? 0 : (uint32_t)a[l] << b[l])
SHIFT(shl_32, uint32_t, b[l] > 31 ? 0 : a[l] << (b[l] & 31))
SHIFT(shl_64, uint64_t, b[l] > 63 ? 0 : a[l] << (b[l] & 63))
SHIFT(shr_u16, uint16_t, b[l] > 15 ? 0 : a[l] >> b[l])
SHIFT(shr_u32, uint32_t, b[l] > 31 ? 0 : a[l] >> (b[l] & 31))
SHIFT(shr_u64, uint64_t, b[l] > 63 ? 0 : a[l] >> (b[l] & 63))
SHIFT(shr_s16, int16_t, a[l] >> (b[l] > 15 ? 15 : b[l]))
SHIFT(shr_s32, int32_t, a[l] >> (b[l] > 31 ? 31 : b[l]))
SHIFT(shr_s64, int64_t, a[l] >> (b[l] > 63 ? 63 : b[l]))

EXEC(exec_shf)
{
    bool clamp = inst_has(inst, PM_CLAMP), left = inst_has(inst, PM_LEFT);
    uint32_t *d = COLUMN(uint32_t, 0), *a = COLUMN(uint32_t, 1), *b = COLUMN(uint32_t, 2), *c = COLUMN(uint32_t, 3);
    for_lanes(l, mask) {
        uint32_t n = clamp ? (c[l] > 32 ? 32 : c[l]) : c[l] & 31;
        uint64_t both = (uint64_t)b[l] << 32 | a[l];
        d[l] = left ? (uint32_t)(both << n >> 32) : (uint32_t)(n == 32 ? both >> 32 : both >> n);
        if (left && n == 32)
            d[l] = a[l];
    }
    return FLOW_NEXT;
}

bool select_shift(Selector *s, PtxInst *inst)
{
    static SimExec *const left[] = {shl_16, shl_16, shl_32, shl_32, shl_64, shl_64};
    static SimExec *const right[] = {shr_u16, shr_s16, shr_u32, shr_s32, shr_u64, shr_s64};
    int t = int_index(inst->type[0]);
    uint8_t b = (uint8_t)ptx_type_bytes((PtxType)inst->type[0]);
    if (inst->op == PO_SHF) {
        inst->exec = exec_shf;
        return select_operands(s, inst, 4, (const uint8_t[]){4, 4, 4, 4});
    }
    if (t < 0)
        return select_missing(s, inst);
    inst->exec = inst->op == PO_SHL ? left[t] : right[t];
    return select_operands(s, inst, 3, (const uint8_t[]){b, b, 4});
}

/* ---- bit fields ---- */

static uint64_t reverse(uint64_t v, uint32_t bits)
{
    uint64_t r = 0;
    for (uint32_t i = 0; i < bits; i++)
        r |= (v >> i & 1) << (bits - 1 - i);
    return r;
}

static uint64_t extract(uint64_t a, uint32_t pos, uint32_t len, uint32_t bits, bool sign)
{
    if (bits == 32) {
        pos &= 0xff;
        len &= 0xff;
    } else {                                                           /* the hardware (H200) takes all of them */
        pos = pos > 255 ? 255 : pos;
        len = len > 255 ? 255 : len;
    }
    uint32_t top = pos + len - 1 < bits - 1 ? pos + len - 1 : bits - 1;
    uint64_t fill = sign && len ? a >> top & 1 : 0, r = 0;
    for (uint32_t i = 0; i < bits; i++)
        r |= (i < len && pos + i < bits ? a >> (pos + i) & 1 : fill) << i;
    return r;
}

static uint64_t insert(uint64_t a, uint64_t b, uint32_t pos, uint32_t len, uint32_t bits)
{
    pos &= 0xff;
    len &= 0xff;
    for (uint32_t i = 0; i < len && pos + i < bits; i++)
        b = (b & ~(UINT64_C(1) << (pos + i))) | (a >> i & 1) << (pos + i);
    return b;
}

static uint32_t find_top(uint64_t a, uint32_t bits, bool sign, bool amount)
{
    if (sign && a >> (bits - 1) & 1)
        a = ~a & (bits == 64 ? UINT64_MAX : UINT32_MAX);
    if (!a)
        return UINT32_MAX;
    uint32_t top = 63 - (uint32_t)__builtin_clzll(a);
    return amount ? bits - 1 - top : top;
}

/* The position of the n-th set bit from `base`, downwards for negative n. */
static uint32_t find_nth(uint32_t v, uint32_t base, int32_t n)
{
    if (n == 0)
        return v >> (base & 31) & 1 ? base & 31 : UINT32_MAX;
    int32_t step = n > 0 ? 1 : -1, left = n > 0 ? n : -n;
    for (int32_t i = (int32_t)(base & 31); i >= 0 && i < 32; i += step)
        if (v >> i & 1 && --left == 0)
            return (uint32_t)i;
    return UINT32_MAX;
}

static uint64_t bits_of(const SimWarp *w, const PtxInst *inst, uint32_t l)
{
    uint32_t bits = ptx_type_bytes((PtxType)inst->type[0]) * 8;
    bool sign = ptx_type_class((PtxType)inst->type[0]) == 's';
    uint64_t x[5] = {0};
    for (uint32_t i = 1; i < inst->n_operands; i++)
        x[i] = slot_get(w, inst->operand[i].slot, l);
    switch (inst->op) {
    case PO_POPC:  return (uint64_t)__builtin_popcountll(x[1]);
    case PO_CLZ:   return x[1] ? (uint64_t)__builtin_clzll(x[1]) - (64 - bits) : bits;
    case PO_BFIND: return find_top(x[1], bits, sign, inst_has(inst, PM_SHIFTAMT));
    case PO_FNS:   return find_nth((uint32_t)x[1], (uint32_t)x[2], (int32_t)x[3]);
    case PO_BREV:  return reverse(x[1], bits);
    case PO_BFE:   return extract(x[1], (uint32_t)x[2], (uint32_t)x[3], bits, sign);
    case PO_BFI:   return insert(x[1], x[2], (uint32_t)x[3], (uint32_t)x[4], bits);
    default: break;
    }
    uint32_t a = (uint32_t)x[1], b = (uint32_t)x[2];
    bool wrap = inst_has(inst, PM_WRAP);
    if (inst->op == PO_BMSK) {
        if (wrap)
            a &= 31, b &= 31;
        uint64_t field = b > 31 ? UINT32_MAX : (UINT64_C(1) << b) - 1;
        return a > 31 ? 0 : (uint32_t)(field << a);
    }
    b = wrap ? b & 31 : b > 32 ? 32 : b;                               /* szext */
    if (b == 0 || b == 32)
        return b ? a : 0;
    a &= (1u << b) - 1;
    return sign && a >> (b - 1) & 1 ? a | ~((1u << b) - 1) : a;
}

EXEC(exec_bits_op)
{
    for_lanes(l, mask)
        slot_set(w, inst->operand[0].slot, l, bits_of(w, inst, l));
    return FLOW_NEXT;
}

EXEC1(popc_32, uint32_t, uint32_t, __builtin_popcount(a[l]))

bool select_bits(Selector *s, PtxInst *inst)
{
    uint8_t b = (uint8_t)ptx_type_bytes((PtxType)inst->type[0]);
    inst->exec = inst->op == PO_POPC && b == 4 ? popc_32 : exec_bits_op;
    if (b != 4 && b != 8)
        return select_missing(s, inst);
    switch (inst->op) {
    case PO_POPC:
    case PO_CLZ:
    case PO_BFIND: return select_operands(s, inst, 2, (const uint8_t[]){4, b});
    case PO_BREV:  return select_operands(s, inst, 2, (const uint8_t[]){b, b});
    case PO_BFE:   return select_operands(s, inst, 4, (const uint8_t[]){b, b, 4, 4});
    case PO_BFI:   return select_operands(s, inst, 5, (const uint8_t[]){b, b, b, 4, 4});
    case PO_FNS:   return select_operands(s, inst, 4, (const uint8_t[]){4, 4, 4, 4});
    default:       return select_operands(s, inst, 3, (const uint8_t[]){4, 4, 4});
    }
}

/* ---- lop3, prmt ---- */

static uint32_t lop3(uint32_t a, uint32_t b, uint32_t c, uint32_t table)
{
    uint32_t r = 0;
    for (uint32_t i = 0; i < 8; i++)
        if (table >> i & 1)
            r |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
    return r;
}

EXEC(exec_lop3)
{
    bool or_predicate = inst_has(inst, PM_OR), and_predicate = inst_has(inst, PM_AND);
    uint32_t table = COLUMN(uint32_t, 4)[0], set = 0;
    uint32_t *d = COLUMN(uint32_t, 0), *a = COLUMN(uint32_t, 1), *b = COLUMN(uint32_t, 2), *c = COLUMN(uint32_t, 3);
    bool sink = inst->operand[0].kind == OPERAND_NONE;
    for_lanes(l, mask) {
        uint32_t r = lop3(a[l], b[l], c[l], table);
        set |= (uint32_t)(r != 0) << l;
        if (!sink)
            d[l] = r;
    }
    if (or_predicate || and_predicate) {
        uint32_t q = slot_pred(w, inst->operand[5].slot);
        slot_set_pred(w, inst->operand[0].second, mask, or_predicate ? set | q : set & q);
    }
    return FLOW_NEXT;
}

bool select_lop3(Selector *s, PtxInst *inst)
{
    inst->exec = exec_lop3;
    if (inst_has(inst, PM_OR) || inst_has(inst, PM_AND))
        return (inst->n_operands == 6 && inst->operand[0].has_second) || select_bad(s, inst, "expected d|p, a, b, c, table, q");
    return select_operands(s, inst, 5, (const uint8_t[]){4, 4, 4, 4, 4});
}

static uint32_t prmt_byte(uint64_t both, uint32_t selector)
{
    uint32_t b = (uint32_t)(both >> 8 * (selector & 7)) & 0xff;
    return selector & 8 ? (b & 0x80 ? 0xff : 0) : b;
}

/* Selectors of the special modes, four nibbles by the low bits of c. */
static uint32_t prmt_selectors(const PtxInst *inst, uint32_t c)
{
    static const uint16_t f4e[] = {0x3210, 0x4321, 0x5432, 0x6543}, b4e[] = {0x5670, 0x6701, 0x7012, 0x0123};
    static const uint16_t rc8[] = {0x0000, 0x1111, 0x2222, 0x3333}, ecl[] = {0x3210, 0x3211, 0x3222, 0x3333};
    static const uint16_t ecr[] = {0x0000, 0x1110, 0x2210, 0x3210}, rc16[] = {0x1010, 0x3232, 0x1010, 0x3232};
    c &= 3;
    return inst_has(inst, PM_F4E) ? f4e[c] : inst_has(inst, PM_B4E) ? b4e[c] : inst_has(inst, PM_RC8) ? rc8[c] : inst_has(inst, PM_ECL) ? ecl[c]
         : inst_has(inst, PM_ECR) ? ecr[c] : rc16[c];
}

EXEC(exec_prmt)
{
    uint32_t *d = COLUMN(uint32_t, 0), *a = COLUMN(uint32_t, 1), *b = COLUMN(uint32_t, 2), *c = COLUMN(uint32_t, 3);
    for_lanes(l, mask) {
        uint64_t both = (uint64_t)b[l] << 32 | a[l];
        uint32_t sel = inst->variant ? prmt_selectors(inst, c[l]) : c[l], r = 0;
        for (uint32_t i = 0; i < 4; i++)
            r |= prmt_byte(both, inst->variant ? sel >> 4 * i & 7 : sel >> 4 * i & 15) << 8 * i;
        d[l] = r;
    }
    return FLOW_NEXT;
}

bool select_prmt(Selector *s, PtxInst *inst)
{
    inst->exec = exec_prmt;
    inst->variant = inst_has(inst, PM_F4E) || inst_has(inst, PM_B4E) || inst_has(inst, PM_RC8) || inst_has(inst, PM_ECL) || inst_has(inst, PM_ECR) ||
                    inst_has(inst, PM_RC16);
    return select_operands(s, inst, 4, (const uint8_t[]){4, 4, 4, 4});
}
