/* runtime/sim/exec_half.c — f16, bf16 and their pairs: computed in double, rounded once. */
#include "runtime/sim/exec.h"
#include "runtime/sim/fp.h"
#include <math.h>

static double flush16(double v) { return fabs(v) < 0x1p-14 ? copysign(0, v) : v; }

static uint16_t canonical16(uint8_t type, double v) { return (uint16_t)fp_round(v, type == PT_F16 ? &format_f16 : &format_bf16, ROUND_NEAREST, false); }

static uint16_t minmax16(const PtxInst *i, uint8_t type, uint16_t x, uint16_t y)
{
    bool min = i->op == PO_MIN;
    double a = fp_of_half(type, x), b = fp_of_half(type, y);
    if (inst_has(i, PM_FTZ)) {
        a = flush16(a);
        b = flush16(b);
        x = canonical16(type, a);
        y = canonical16(type, b);
    }
    uint16_t sign = inst_has(i, PM_XORSIGN) ? (x ^ y) & 0x8000 : 0;
    if (inst_has(i, PM_XORSIGN)) {
        x &= 0x7fff, y &= 0x7fff;
        a = fabs(a), b = fabs(b);
    }
    if (a != a || b != b)
        return inst_has(i, PM_NAN) || (a != a && b != b) ? NAN16 : a != a ? (y | sign) : (x | sign);
    if (a == 0 && b == 0)
        return (uint16_t)((x >> 15) == min ? x : y) | sign;
    return (uint16_t)((min ? a < b : a > b) ? x : y) | sign;
}

static uint16_t arith16(const PtxInst *i, uint8_t type, uint16_t xa, uint16_t xb, uint16_t xc)
{
    double a = fp_of_half(type, xa), b = fp_of_half(type, xb), c = fp_of_half(type, xc), r;
    bool ftz = inst_has(i, PM_FTZ);
    if (ftz)
        a = flush16(a), b = flush16(b), c = flush16(c);
    switch (i->op) {
    case PO_ADD:  r = fp_fma_odd(a, 1.0, b); break;
    case PO_SUB:  r = fp_fma_odd(a, 1.0, -b); break;
    case PO_MUL:  r = a * b; break;
    case PO_FMA:  r = fp_fma_odd(a, b, c); break;
    case PO_MIN:
    case PO_MAX:  return minmax16(i, type, xa, xb);
    case PO_NEG:  return a != a ? NAN16 : (ftz ? canonical16(type, a) : xa) ^ 0x8000;
    case PO_ABS:  return a != a ? NAN16 : (ftz ? canonical16(type, a) : xa) & 0x7fff;
    case PO_EX2:  r = exp2(a); break;
    case PO_TANH: r = tanh(a); break;
    default:      r = NAN; break;
    }
    if (inst_has(i, PM_SAT))
        r = r != r || r <= 0 ? 0 : r > 1 ? 1 : r;
    if (inst_has(i, PM_RELU) && (r < 0 || r == 0))
        r = 0;
    uint16_t out = canonical16(type, r);
    if (ftz && (out & 0x7c00) == 0)
        out &= 0x8000;
    return out;
}

EXEC(exec_half_op)
{
    uint8_t type = inst->type[0];
    uint32_t n = inst->n_operands;
    uint16_t *d = COLUMN(uint16_t, 0);
    const uint16_t *a = COLUMN(uint16_t, 1), *b = n > 2 ? COLUMN(uint16_t, 2) : a, *c = n > 3 ? COLUMN(uint16_t, 3) : a;
    for_lanes(l, mask)
        d[l] = arith16(inst, type, a[l], b[l], c[l]);
    return FLOW_NEXT;
}

EXEC(exec_half_pair)
{
    uint8_t type = inst->type[0] == PT_F16X2 ? PT_F16 : PT_BF16;
    uint32_t n = inst->n_operands;
    uint32_t *d = COLUMN(uint32_t, 0);
    const uint32_t *a = COLUMN(uint32_t, 1), *b = n > 2 ? COLUMN(uint32_t, 2) : a, *c = n > 3 ? COLUMN(uint32_t, 3) : a;
    for_lanes(l, mask) {
        uint32_t lo = arith16(inst, type, (uint16_t)a[l], (uint16_t)b[l], (uint16_t)c[l]);
        uint32_t hi = arith16(inst, type, (uint16_t)(a[l] >> 16), (uint16_t)(b[l] >> 16), (uint16_t)(c[l] >> 16));
        d[l] = lo | hi << 16;
    }
    return FLOW_NEXT;
}

bool select_half(Selector *s, PtxInst *inst)
{
    uint8_t t = inst->type[0];
    uint32_t n = inst->op == PO_FMA ? 4 : inst->op == PO_NEG || inst->op == PO_ABS || inst->op == PO_EX2 || inst->op == PO_TANH ? 2 : 3;
    switch (inst->op) {
    case PO_ADD: case PO_SUB: case PO_MUL: case PO_FMA: case PO_MIN: case PO_MAX: case PO_NEG: case PO_ABS: case PO_EX2: case PO_TANH: break;
    default: return select_missing(s, inst);
    }
    if (inst_has(inst, PM_OOB) || inst->n_types > 1 || (t != PT_F16 && t != PT_BF16 && t != PT_F16X2 && t != PT_BF16X2))
        return select_missing(s, inst);
    inst->exec = t == PT_F16 || t == PT_BF16 ? exec_half_op : exec_half_pair;
    return select_same(s, inst, n);
}
