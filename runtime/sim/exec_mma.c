/* runtime/sim/exec_mma.c — mma.sync: D = A B + C over a warp, for f16, bf16, tf32, f64, 8-bit integers and floats.
 *
 * All fragments follow one pattern: lane = 4 * group + t; a register holds e elements; register r of A has row group + 8 * (r & 1)
 * and columns e * t + i + 4 * e * (r >> 1); of B, rows e * t + i + 4 * e * r of column group. Products are exact in double and
 * their sum is rounded once; f64 goes by fused steps in the order of k, as the hardware does. */
#include "runtime/sim/exec.h"
#include "runtime/sim/fp.h"
#include <math.h>

typedef struct { PtxMod mod; uint8_t m; uint16_t k; } Shape;
static const Shape shapes[] = {
    {PM_M8N8K4, 8, 4}, {PM_M8N8K16, 8, 16}, {PM_M16N8K4, 16, 4}, {PM_M16N8K8, 16, 8}, {PM_M16N8K16, 16, 16}, {PM_M16N8K32, 16, 32}};
enum { MAX_M = 16, MAX_K = 32, N = 8 };

static bool shape_of(const PtxInst *i, uint32_t *m, uint32_t *k)
{
    for (uint32_t n = 0; n < sizeof shapes / sizeof *shapes; n++)
        if (inst_has(i, shapes[n].mod)) {
            *m = shapes[n].m;
            *k = shapes[n].k;
            return true;
        }
    return false;
}

static uint32_t elements_of(uint8_t t)   /* in a register; 0: not supported */
{
    switch (t) {
    case PT_F16: case PT_BF16: return 2;
    case PT_TF32: case PT_F64: return 1;
    case PT_S8: case PT_U8: case PT_E4M3: case PT_E5M2: return 4;
    default: return 0;
    }
}

static double element(uint8_t t, uint64_t bits, uint32_t i)
{
    switch (t) {
    case PT_F16:
    case PT_BF16: return fp_of_half(t, (uint16_t)(bits >> 16 * i));
    case PT_TF32: return (double)fp32((uint32_t)bits & 0xffffe000);
    case PT_F64:  return fp64(bits);
    case PT_S8:   return (int8_t)(bits >> 8 * i);
    case PT_U8:   return (uint8_t)(bits >> 8 * i);
    default:      return fp_widen((uint32_t)(bits >> 8 * i) & 0xff, fp_format(t));
    }
}

static const PtxSlot *slots(const PtxOperand *o) { return o->kind == OPERAND_VECTOR ? o->vector : &o->slot; }
static uint32_t count(const PtxOperand *o) { return o->kind == OPERAND_VECTOR ? o->n : 1; }

static void load_a(const SimWarp *w, const PtxInst *inst, uint32_t m, double a[MAX_M][MAX_K])
{
    const PtxOperand *o = &inst->operand[1];
    uint32_t e = elements_of(inst->type[1]);
    for (uint32_t r = 0; r < count(o); r++)
        for (uint32_t l = 0; l < LANES; l++)
            for (uint32_t i = 0; i < e; i++) {
                uint32_t row = l / 4 + (m == 16 ? 8 * (r & 1) : 0), col = e * (l % 4) + i + 4 * e * (m == 16 ? r >> 1 : r);
                a[row][col] = element(inst->type[1], slot_get(w, slots(o)[r], l), i);
            }
}

static void load_b(const SimWarp *w, const PtxInst *inst, double b[N][MAX_K])
{
    const PtxOperand *o = &inst->operand[2];
    uint32_t e = elements_of(inst->type[2]);
    for (uint32_t r = 0; r < count(o); r++)
        for (uint32_t l = 0; l < LANES; l++)
            for (uint32_t i = 0; i < e; i++)
                b[l / 4][e * (l % 4) + i + 4 * e * r] = element(inst->type[2], slot_get(w, slots(o)[r], l), i);
}

static double dot(const double *a, const double *b, uint32_t k)
{
    double s = 0;
    for (uint32_t i = 0; i < k; i++)
        s += a[i] * b[i];
    return s;
}

static uint64_t add_f64(const double *a, const double *b, uint32_t k, uint64_t c)
{
    double s = fp64(c);
    for (uint32_t i = 0; i < k; i++)
        s = fma(a[i], b[i], s);
    return bits64(s);
}

static uint64_t add_int(const PtxInst *inst, double sum, uint64_t c)
{
    int64_t r = (int64_t)sum + (int32_t)c;
    if (inst_has(inst, PM_SATFINITE))
        r = r > INT32_MAX ? INT32_MAX : r < INT32_MIN ? INT32_MIN : r;
    return (uint32_t)r;
}

/* Register r of the result, of one lane: one element, or two halves. */
static uint64_t result(const SimWarp *w, const PtxInst *inst, double a[MAX_M][MAX_K], double b[N][MAX_K], uint32_t k, uint32_t r, uint32_t l)
{
    bool pair = inst->type[0] == PT_F16;
    uint64_t c = slot_get(w, slots(&inst->operand[3])[r], l), out = 0;
    for (uint32_t i = 0; i < (pair ? 2u : 1u); i++) {
        uint32_t row = l / 4 + 8 * (pair ? r : r >> 1), col = l % 4 * 2 + (pair ? i : r & 1);
        switch (inst->type[0]) {
        case PT_F64:
            out = add_f64(a[row], b[col], k, c);
            break;
        case PT_S32:
            out = add_int(inst, dot(a[row], b[col], k), c);
            break;
        case PT_F32:
            out = canonical32((float)(dot(a[row], b[col], k) + (double)fp32((uint32_t)c)));
            break;
        default:
            out |= (uint64_t)fp_round(dot(a[row], b[col], k) + (double)f16_to_f32((uint16_t)(c >> 16 * i)), &format_f16, ROUND_NEAREST, false) << 16 * i;
            break;
        }
    }
    return out;
}

EXEC(exec_mma)
{
    double a[MAX_M][MAX_K], b[N][MAX_K];
    uint64_t d[4][LANES];
    uint32_t m = inst->variant & 0xff, k = inst->variant >> 8, n = count(&inst->operand[0]);
    if (!warp_gather(w, UINT32_MAX, &mask))
        return FLOW_WAIT;
    if (mask != UINT32_MAX)
        return sim_fault(w, FAULT_DIVERGENT, (uint32_t)__builtin_ctz(mask), 0, NULL, true, "the product needs all lanes of the warp, here are %u",
                         (unsigned)__builtin_popcount(mask));
    load_a(w, inst, m, a);
    load_b(w, inst, b);
    for (uint32_t r = 0; r < n; r++)
        for (uint32_t l = 0; l < LANES; l++)
            d[r][l] = result(w, inst, a, b, k, r, l);
    for (uint32_t r = 0; r < n; r++)
        for (uint32_t l = 0; l < LANES; l++)
            slot_set(w, slots(&inst->operand[0])[r], l, d[r][l]);
    return FLOW_NEXT;
}

static bool fragment(Selector *s, const PtxInst *inst, uint32_t at, uint32_t n, uint32_t bytes)
{
    const PtxOperand *o = &inst->operand[at];
    if ((o->kind != OPERAND_VECTOR && o->kind != OPERAND_SLOT) || count(o) != n)
        return select_bad(s, inst, "a fragment has another number of registers");
    for (uint32_t i = 0; i < n; i++)
        if (slots(o)[i].bytes != bytes || (at == 0 && slots(o)[i].base != SLOT_FRAME))
            return select_bad(s, inst, "a fragment has registers of another width");
    return true;
}

bool select_mma(Selector *s, PtxInst *inst)
{
    uint32_t m, k, ea, eb;
    if (inst->n_types != 4 || !shape_of(inst, &m, &k) || inst_has(inst, PM_SP))
        return select_missing(s, inst);
    uint8_t d = inst->type[0], a = inst->type[1], b = inst->type[2];
    ea = elements_of(a);
    eb = elements_of(b);
    bool integers = a == PT_S8 || a == PT_U8, f64 = a == PT_F64;
    if (!ea || ea != eb || inst->type[3] != d || k % (4 * ea) || (integers ? d != PT_S32 : f64 ? d != PT_F64 : d != PT_F32 && d != PT_F16) ||
        (m == 8 && !integers && !f64) || inst_has(inst, PM_XOR) || inst_has(inst, PM_AND))
        return select_missing(s, inst);
    if (inst->n_operands != 4)
        return select_bad(s, inst, "takes four fragments");
    uint32_t per = k / (4 * ea), bytes = f64 ? 8 : 4, out = m * N / LANES / (d == PT_F16 ? 2 : 1);
    inst->variant = m | k << 8;
    inst->exec = exec_mma;
    return fragment(s, inst, 0, out, bytes) && fragment(s, inst, 1, per * (m / 8), bytes) && fragment(s, inst, 2, per, bytes) &&
           fragment(s, inst, 3, out, bytes);
}
