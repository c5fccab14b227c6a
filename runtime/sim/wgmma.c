/* runtime/sim/wgmma.c — products of a warpgroup: shared-memory descriptors, fragments, groups.
 *
 * Each warp computes its own 16 rows of the 64, so a warpgroup needs no meeting. Late, a product reads its operands and writes its
 * accumulators when wgmma.wait_group asks for its group; early, at its instruction. Products of two elements are exact, a step's
 * sum is taken in double, with the accumulator, and rounded once: the tensor core truncates, within the bound of numerics.md.
 *
 * Layouts of shared operands (PTX ISA, "Asynchronous Warpgroup Level Matrix Shared Memory Layout"), in bytes, before the swizzle, i
 * along M or N, k along K, T = 16 / size elements a piece; W the span of the swizzle:
 *   K-major, none:    i/8 * stride + k/T * leading + i%8 * 16 + k%T * size
 *   K-major, W:       i/8 * stride + i%8 * W + k * size
 *   MN-major, none:   i/8 * stride + k/8 * leading + k%8 * 16 + i%8 * 2
 *   MN-major, W:      i/(W/2) * leading + k/8 * stride + k%8 * W + i%(W/2) * 2 */
#include "runtime/sim/async.h"
#include "runtime/sim/select.h"
#include "base/dtype.h"
#include "runtime/sim/tensor_map.h"
#include <math.h>
#include <stdlib.h>

enum { ROWS = 16, MAX_N = 256, MAX_K = 32, PIECE = 16 };

typedef struct Product {
    struct Product *next;
    const PtxInst *inst;
    uint32_t frame;                      /* of the registers, in slots */
    uint64_t a, b;                       /* descriptors */
    bool accumulate;
    uint64_t group;                      /* 0: not committed */
} Product;

typedef struct SimProducts { Product *first, **last; uint64_t commits; } SimProducts;

static uint32_t shape_n(const PtxInst *i) { return i->variant & 0xffff; }
static uint32_t shape_k(const PtxInst *i) { return i->variant >> 16; }
static bool a_in_registers(const PtxInst *i) { return i->operand[1].kind == OPERAND_VECTOR; }

/* ---- elements ---- */

static double fp8_value(uint32_t v, int exponent_bits, int mantissa_bits, bool infinities)
{
    uint32_t e = v >> mantissa_bits & ((1u << exponent_bits) - 1), m = v & ((1u << mantissa_bits) - 1), top = (1u << exponent_bits) - 1;
    int bias = (1 << (exponent_bits - 1)) - 1;
    double r;
    if (infinities && e == top)
        r = m ? NAN : INFINITY;
    else if (!infinities && (v & 0x7f) == 0x7f)
        r = NAN;
    else
        r = e ? ldexp((1u << mantissa_bits) + m, (int)e - bias - mantissa_bits) : ldexp(m, 1 - bias - mantissa_bits);
    return v & 0x80 ? -r : r;
}

/* The bits themselves, as a number, for a domain that has its own products. */
static double raw_bits(uint8_t t, const uint8_t *p)
{
    uint32_t word = 0;
    memcpy(&word, p, ptx_type_bytes((PtxType)t));
    return word;
}

static double element(const SimWarp *w, uint8_t t, const uint8_t *p)
{
    uint16_t half;
    uint32_t word;
    float f;
    if (w->machine->domain && w->machine->domain->dot)
        return raw_bits(t, p);
    switch (t) {
    case PT_F16:  memcpy(&half, p, 2); return f16_to_f32(half);
    case PT_BF16: memcpy(&half, p, 2); return bf16_to_f32(half);
    case PT_S8:   return (int8_t)*p;
    case PT_U8:   return *p;
    case PT_E4M3: return fp8_value(*p, 4, 3, false);
    case PT_E5M2: return fp8_value(*p, 5, 2, true);
    default:                           /* tf32: the low 13 bits do not count */
        memcpy(&word, p, 4);
        word &= 0xffffe000u;
        memcpy(&f, &word, 4);
        return f;
    }
}

/* ---- operands ---- */

typedef struct { uint64_t start, leading, stride; uint32_t swizzle; } Descriptor;

static Descriptor descriptor(uint64_t d)
{
    static const uint32_t swizzles[] = {0, 128, 64, 32};
    return (Descriptor){(d & 0x3fff) << 4, (d >> 16 & 0x3fff) << 4, (d >> 32 & 0x3fff) << 4, swizzles[d >> 62]};
}

/* Address of the piece that holds element (i, k). */
static uint64_t piece_at(const Descriptor *d, bool transposed, uint32_t size, uint32_t i, uint32_t k)
{
    uint64_t a = d->start, w = d->swizzle;
    if (!transposed)
        a += i / 8 * d->stride + (w ? i % 8 * w + k * size / PIECE * PIECE : k * size / PIECE * d->leading + i % 8 * PIECE);
    else if (!w)
        a += i / 8 * d->stride + k / 8 * d->leading + k % 8 * PIECE;
    else
        a += i / (w / 2) * d->leading + k / 8 * d->stride + k % 8 * w + i % (w / 2) / 8 * PIECE;
    return tensor_map_swizzle(a, d->swizzle);
}

/* x[i][k] for i in [first, first + n). False: an access was reported. */
static bool load_shared(SimWarp *w, const PtxInst *inst, uint64_t desc, bool transposed, PtxType t, uint32_t first, uint32_t n, double (*x)[MAX_K])
{
    Descriptor d = descriptor(desc);
    uint32_t size = ptx_type_bytes(t), k_all = shape_k(inst), per = PIECE / size;
    uint32_t lane = (uint32_t)__builtin_ctz(w->lanes);
    for (uint32_t i = 0; i < n; i += transposed ? 8 : 1)
        for (uint32_t k = 0; k < k_all; k += transposed ? 1 : per) {
            uint64_t at = piece_at(&d, transposed, size, first + i, k);
            const uint8_t *p = lane_access(w, inst, lane, SPACE_SHARED, at, PIECE, PIECE, ACCESS_LOAD | ACCESS_ASYNC);
            if (!p)
                return false;
            for (uint32_t e = 0; e < per; e++)
                x[transposed ? i + e : i][transposed ? k : k + e] = element(w, (uint8_t)t, p + e * size);
        }
    return true;
}

static const uint32_t *words(const SimWarp *w, const Product *p, PtxSlot s)
{
    return s.base == SLOT_FRAME ? w->regs + ((size_t)p->frame + s.slot) * SLOT_WORDS : w->base[s.base] + (size_t)s.slot * SLOT_WORDS;
}

/* Register r of lane l holds the elements k0 … of row l / 4 (+ 8 for odd r): 32 bits at column 4 * (l % 4) bytes, r / 2 halves on. */
static void load_registers(SimWarp *w, const Product *p, PtxType t, double (*x)[MAX_K])
{
    const PtxOperand *o = &p->inst->operand[1];
    uint32_t size = ptx_type_bytes(t), per = 4 / size;
    for (uint32_t r = 0; r < 4; r++) {
        const uint32_t *v = words(w, p, o->vector[r]);
        for (uint32_t l = 0; l < LANES; l++)
            for (uint32_t e = 0; e < per; e++)
                x[l / 4 + (r & 1) * 8][(r / 2 * 4 + l % 4) * per + e] = element(w, (uint8_t)t, (const uint8_t *)&v[l] + e * size);
    }
}

/* ---- the product ---- */

static int immediate(const SimWarp *w, const PtxInst *inst, uint32_t operand, int otherwise)
{
    if (operand >= inst->n_operands || inst->operand[operand].kind != OPERAND_SLOT)
        return otherwise;
    return (int)(int32_t)slot_get(w, inst->operand[operand].slot, 0);
}

static double dot(const double *a, const double *b, uint32_t n)
{
    double sum = 0;
    for (uint32_t k = 0; k < n; k++)
        sum += a[k] * b[k];
    return sum;
}

static uint32_t added(PtxType t, uint32_t c, double sum, bool accumulate)
{
    float f;
    if (t == PT_S32)
        return (uint32_t)(int64_t)sum + (accumulate ? c : 0);
    memcpy(&f, &c, 4);
    f = (float)(sum + (accumulate ? f : 0));
    memcpy(&c, &f, 4);
    return c;
}

static uint32_t domain_dot(const SimWarp *w, const Product *p, const double *a, const double *b, double sign, uint32_t c)
{
    const SimDomain *d = w->machine->domain;
    return d->dot(d->arg, p->inst, a, b, shape_k(p->inst), (int)sign, p->accumulate, c);
}

static void store_rows(SimWarp *w, const Product *p, double (*a)[MAX_K], double (*b)[MAX_K], double sign)
{
    const PtxOperand *d = &p->inst->operand[0];
    PtxType t = (PtxType)p->inst->type[0];
    uint32_t k = shape_k(p->inst);
    bool own = w->machine->domain && w->machine->domain->dot;
    for (uint32_t r = 0; r < d->n; r++) {
        if (slot_is_sink(d->vector[r]))
            continue;
        uint32_t *v = (uint32_t *)(uintptr_t)words(w, p, d->vector[r]);
        for (uint32_t l = 0; l < LANES; l++) {
            if (t == PT_F16) {         /* two columns a register */
                uint32_t row = l / 4 + (r & 1) * 8, col = r / 2 * 8 + l % 4 * 2, word = 0;
                for (uint32_t e = 0; e < 2; e++) {
                    if (own) {
                        word |= domain_dot(w, p, a[row], b[col + e], sign, v[l] >> (16 * e) & 0xffff) << (16 * e);
                        continue;
                    }
                    double c = p->accumulate ? f16_to_f32((uint16_t)(v[l] >> (16 * e))) : 0;
                    word |= (uint32_t)f64_to_f16(c + sign * dot(a[row], b[col + e], k)) << (16 * e);
                }
                v[l] = word;
            } else {
                uint32_t row = l / 4 + (r >> 1 & 1) * 8, col = r / 4 * 8 + l % 4 * 2 + (r & 1);
                v[l] = own ? domain_dot(w, p, a[row], b[col], sign, v[l]) : added(t, v[l], sign * dot(a[row], b[col], k), p->accumulate);
            }
        }
    }
}

static void run_product(SimWarp *w, const Product *p)
{
    double a[ROWS][MAX_K], b[MAX_N][MAX_K];
    const PtxInst *inst = p->inst, *running = w->machine->inst;
    PtxType ta = (PtxType)inst->type[1], tb = (PtxType)inst->type[2];
    bool registers = a_in_registers(inst);
    int sign = immediate(w, inst, 4, 1) * immediate(w, inst, 5, 1);
    bool trans_a = !registers && immediate(w, inst, 6, 0), trans_b = immediate(w, inst, registers ? 6 : 7, 0) != 0;
    w->machine->inst = inst;
    bool good = load_shared(w, inst, p->b, trans_b, tb, 0, shape_n(inst), b);
    if (registers)
        load_registers(w, p, ta, a);
    else
        good = good && load_shared(w, inst, p->a, trans_a, ta, w->index % 4 * ROWS, ROWS, a);
    if (good)
        store_rows(w, p, a, b, sign);
    w->machine->inst = running;
}

/* ---- groups ---- */

static SimProducts *products_of(SimWarp *w)
{
    if (!w->products) {
        w->products = arena_new_of(w->machine->arena, SimProducts);
        w->products->last = &w->products->first;
    }
    return w->products;
}

static void drop(SimProducts *q)
{
    Product *p = q->first;
    q->first = p->next;
    if (!q->first)
        q->last = &q->first;
    free(p);
}

void wgmma_warp_exit(SimWarp *w)
{
    const SimProducts *q = w->products;
    const PtxInst *running = w->machine->inst;
    if (!q || !q->first)
        return;
    w->machine->inst = q->first->inst;
    sim_fault(w, FAULT_ASYNC_UNWAITED, UINT32_MAX, 0, NULL, false, "the warp ends while this product is under way: no wgmma.wait_group waited for it");
    w->machine->inst = running;
}

void wgmma_free(SimWarp *w)
{
    while (w->products && w->products->first)
        drop(w->products);
    w->products = NULL;
}

static bool whole_warp(SimWarp *w, uint32_t mask)
{
    if (mask == w->lanes && mask == UINT32_MAX)
        return true;
    sim_fault(w, FAULT_DIVERGENT, UINT32_MAX, 0, NULL, true, "%u of 32 threads of the warp run an aligned wgmma", (unsigned)__builtin_popcount(mask));
    return false;
}

static bool uniform(SimWarp *w, PtxSlot s)
{
    for (uint32_t l = 1; l < LANES; l++)
        if (slot_get(w, s, l) != slot_get(w, s, 0)) {
            sim_fault(w, FAULT_BAD_CALL, l, 0, NULL, true, "a matrix descriptor differs between the threads of a warp");
            return false;
        }
    return true;
}

static SimFlow exec_product(SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    const PtxOperand *o = inst->operand;
    SimProducts *q = products_of(w);
    if (!whole_warp(w, mask) || !uniform(w, o[2].slot) || (!a_in_registers(inst) && !uniform(w, o[1].slot)))
        return FLOW_STOP;
    Product p = {.inst = inst, .frame = w->now->frame, .a = a_in_registers(inst) ? 0 : slot_get(w, o[1].slot, 0), .b = slot_get(w, o[2].slot, 0),
                 .accumulate = inst->n_operands < 4 || slot_get(w, o[3].slot, 0) != 0};
    if (!async_is_late(w->machine))
        run_product(w, &p);
    Product *one = malloc(sizeof *one);
    if (!one)
        exit(PAWL_EXIT_DEVICE);
    *one = p;
    *q->last = one;
    q->last = &one->next;
    return w->machine->stop ? FLOW_STOP : FLOW_NEXT;
}

static SimFlow exec_commit(SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    SimProducts *q = products_of(w);
    (void)inst;
    if (!whole_warp(w, mask))
        return FLOW_STOP;
    q->commits++;
    for (Product *p = q->first; p; p = p->next)
        if (!p->group)
            p->group = q->commits;
    return FLOW_NEXT;
}

static SimFlow exec_wait(SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    SimProducts *q = products_of(w);
    uint64_t n = (uint64_t)(uint32_t)immediate(w, inst, 0, 0);
    if (!whole_warp(w, mask))
        return FLOW_STOP;
    while (q->first && q->first->group && q->first->group + n <= q->commits) {
        if (async_is_late(w->machine))
            run_product(w, q->first);
        drop(q);
    }
    if (w->machine->check)
        check_warp_sync(w->machine->check, w, mask);                   /* what was read in lane 0's name, all know to be read */
    return w->machine->stop ? FLOW_STOP : FLOW_NEXT;
}

static SimFlow exec_fence(SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    (void)inst;
    return whole_warp(w, mask) ? FLOW_NEXT : FLOW_STOP;
}

/* ---- selection ---- */

static bool types_fit(const PtxInst *i)
{
    uint8_t d = i->type[0], a = i->type[1], b = i->type[2];
    uint32_t k = shape_k(i);
    if (i->n_types != 3)
        return false;
    if (a == PT_F16)
        return b == a && (d == PT_F32 || d == PT_F16) && k == 16;
    if (a == PT_BF16)
        return b == a && d == PT_F32 && k == 16;
    if (a == PT_TF32)
        return b == a && d == PT_F32 && k == 8;
    if (a == PT_S8 || a == PT_U8)
        return (b == PT_S8 || b == PT_U8) && d == PT_S32 && k == 32;
    return (a == PT_E4M3 || a == PT_E5M2) && (b == PT_E4M3 || b == PT_E5M2) && (d == PT_F32 || d == PT_F16) && k == 32;
}

bool select_wgmma(Selector *s, PtxInst *inst)
{
    const PtxOperand *o = inst->operand;
    uint32_t n = shape_n(inst);
    if (inst_has(inst, PM_MMA_ASYNC) && !inst_has(inst, PM_SP)) {
        if (!types_fit(inst) || n == 0 || n % 8 || n > MAX_N)
            return select_bad(s, inst, "there is no such product");
        if (inst->n_operands < 4 || o[0].kind != OPERAND_VECTOR || o[2].kind != OPERAND_SLOT || o[3].kind != OPERAND_SLOT ||
            (o[1].kind == OPERAND_VECTOR ? o[1].n != 4 : o[1].kind != OPERAND_SLOT))
            return select_bad(s, inst, "it takes accumulators, A (a descriptor or four registers), a descriptor of B, a predicate");
        if (o[0].n != (inst->type[0] == PT_F16 ? n / 4 : n / 2))
            return select_bad(s, inst, "the number of accumulators does not fit the shape");
        inst->exec = exec_product;
    } else if (inst_has(inst, PM_COMMIT_GROUP)) {
        inst->exec = exec_commit;
    } else if (inst_has(inst, PM_WAIT_GROUP)) {
        inst->exec = exec_wait;
    } else if (inst_has(inst, PM_FENCE)) {
        inst->exec = exec_fence;
    } else {
        s->missing = true;
        return false;
    }
    return true;
}
