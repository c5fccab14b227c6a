/* runtime/sim/exec_control.c — branches, calls, ends; functions that the simulator itself provides. */
#include "runtime/sim/exec.h"
#include "runtime/sim/fp.h"
#include "runtime/sim/ptx_parse.h"
#include "runtime/sim/run.h"
#include <math.h>

EXEC(exec_bra)
{
    warp_send(w, mask, inst->operand[0].target);
    return FLOW_MOVED;
}

EXEC(exec_brx)
{
    const PtxOperand *table = &inst->operand[1];
    const uint32_t *targets = w->machine->module->targets.data + table->target, *index = COLUMN(const uint32_t, 0);
    uint32_t todo = mask, at = (uint32_t)(w->now - w->group), pc = w->now->pc;
    while (todo) {
        uint32_t i = index[__builtin_ctz(todo)], same = 0;
        for_lanes(l, todo)
            same |= (uint32_t)(index[l] == i) << l;
        if (i >= table->offset)
            return sim_fault(w, FAULT_BAD_CALL, (uint32_t)__builtin_ctz(todo), i, NULL, true, "entry %u of a branch table that has %lld", i,
                             (long long)table->offset);
        todo &= ~same;
        warp_send(w, same, targets[i]);
        w->now = &w->group[at];
        if (todo)
            w->now->pc = pc;
    }
    return FLOW_MOVED;
}

EXEC(exec_ret)
{
    (void)inst;
    warp_return(w, mask);
    return FLOW_MOVED;
}

EXEC(exec_exit)
{
    (void)inst;
    warp_exit(w, mask);
    return FLOW_MOVED;
}

EXEC(exec_trap)
{
    return sim_fault(w, FAULT_TRAP, (uint32_t)__builtin_ctz(mask), 0, NULL, true, "the kernel stops itself (%s)", ptx_op_name((PtxOp)inst->op));
}

EXEC(exec_sleep)
{
    (void)w, (void)inst, (void)mask;
    return FLOW_YIELD;
}

bool select_control(Selector *s, PtxInst *inst)
{
    switch (inst->op) {
    case PO_BRA:
        inst->exec = exec_bra;
        return (inst->n_operands == 1 && inst->operand[0].kind == OPERAND_LABEL) || select_bad(s, inst, "expected a label");
    case PO_BRX:
        inst->exec = exec_brx;
        return (inst->n_operands == 2 && inst->operand[0].kind == OPERAND_SLOT && inst->operand[0].slot.bytes == 4 &&
                inst->operand[1].kind == OPERAND_LABEL) || select_bad(s, inst, "expected an index and a branch table");
    case PO_RET:  inst->exec = exec_ret; break;
    case PO_EXIT: inst->exec = exec_exit; break;
    case PO_TRAP: inst->exec = exec_trap; break;
    case PO_BRKPT: inst->exec = exec_sleep; break;
    default:      inst->exec = exec_sleep; break;
    }
    return true;
}

/* ---- calls ---- */

static uint8_t *frame_bytes(SimWarp *w, uint32_t lane, const PtxVar *v, uint32_t local)
{
    return w->local + (uint64_t)lane * w->local_bytes + local + v->at;
}

static void mark_frame(SimWarp *w, uint32_t lane, const PtxVar *v, uint32_t local)
{
    uint64_t bits = w->local_bytes / 64 + 1;
    for (uint64_t b = local + v->at; b < local + v->at + v->bytes; b++)
        w->local_init[lane * bits + b / 64] |= UINT64_C(1) << (b % 64);
}

static const PtxOperand *call_list(const PtxInst *i, bool results)
{
    bool has_results = i->n_operands && i->operand[0].kind == OPERAND_LIST;
    uint32_t f = has_results ? 1 : 0;
    if (results)
        return has_results ? &i->operand[0] : NULL;
    return i->n_operands > f + 1 && i->operand[f + 1].kind == OPERAND_LIST ? &i->operand[f + 1] : NULL;
}

static const PtxFunction *callee(const PtxInst *i) { return i->operand[i->operand[0].kind == OPERAND_LIST ? 1 : 0].function; }

/* Copies arguments into the callee's parameters (at `to`), or its results out (from `to` back). */
static void move_params(SimWarp *w, uint32_t mask, const PtxOperand *list, PtxVar *const *formal, uint32_t n, uint32_t caller, uint32_t to, bool out)
{
    for (uint32_t i = 0; list && i < n && i < list->n; i++)
        for_lanes(l, mask) {
            uint8_t *f = frame_bytes(w, l, formal[i], to);
            if (list->list) {
                uint8_t *a = frame_bytes(w, l, list->list[i], caller);
                uint64_t bytes = formal[i]->bytes < list->list[i]->bytes ? formal[i]->bytes : list->list[i]->bytes;
                memcpy(out ? a : f, out ? f : a, bytes);
                mark_frame(w, l, out ? list->list[i] : formal[i], out ? caller : to);
            } else {
                uint64_t v = 0, bytes = formal[i]->bytes < 8 ? formal[i]->bytes : 8;
                if (out) {
                    memcpy(&v, f, bytes);
                    slot_set(w, list->vector[i], l, v);
                } else {
                    v = slot_get(w, list->vector[i], l);
                    memcpy(f, &v, bytes);
                    mark_frame(w, l, formal[i], to);
                }
            }
        }
}

static SimFlow call_function(SimWarp *w, const PtxInst *inst, uint32_t mask, const PtxFunction *f)
{
    uint32_t caller = w->now->local, frame = w->now->frame;
    warp_call(w, inst, mask, f);
    if (w->machine->stop)
        return FLOW_STOP;
    w->base[SLOT_FRAME] = w->regs + (size_t)frame * SLOT_WORDS;        /* registers of the list are the caller's */
    move_params(w, mask, call_list(inst, false), f->params.data, f->params.n, caller, w->now->local, false);
    return FLOW_MOVED;
}

EXEC(exec_call) { return call_function(w, inst, mask, callee(inst)); }

/* Through a register: those lanes go first that call the same function as the first lane; the others stay here for now. */
EXEC(exec_call_indirect)
{
    PtxSlot target = inst->operand[inst->operand[0].kind == OPERAND_LIST ? 1 : 0].slot;
    const PtxModule *m = w->machine->module;
    uint32_t first = (uint32_t)__builtin_ctz(mask), same = 0, pc = w->now->pc;
    uint64_t a = slot_get(w, target, first), number = (a & ~WINDOW_MASK) >> 4;
    if ((a & WINDOW_MASK) != WINDOW_CODE || number >= m->functions.n || m->functions.data[number]->is_extern)
        return sim_fault(w, FAULT_BAD_CALL, first, a, NULL, true, "call of address 0x%llx, where no function is", (unsigned long long)a);
    const PtxFunction *f = m->functions.data[number];
    const PtxOperand *in = call_list(inst, false), *out = call_list(inst, true);
    if ((in ? in->n : 0) != f->params.n || (out ? out->n : 0) > f->results.n)
        return sim_fault(w, FAULT_BAD_CALL, first, a, NULL, true, "%s is called with %u arguments", f->name, in ? in->n : 0);
    for_lanes(l, mask)
        same |= (uint32_t)(slot_get(w, target, l) == a) << l;
    if (mask & ~same) {
        uint32_t at = (uint32_t)(w->now - w->group);
        warp_send(w, mask & ~same, pc);
        w->now = &w->group[at];
        w->now->pc = pc;
    }
    return call_function(w, inst, same, f);
}

/* Results come back with the return, which finds the call in front of the place that it returns to. */
void call_results(SimWarp *w, uint32_t mask, uint32_t return_pc, const PtxFunction *f, uint32_t caller, uint32_t callee_local)
{
    const PtxInst *i = &w->machine->module->code.data[return_pc - 1];
    move_params(w, mask, call_list(i, true), f->results.data, f->results.n, caller, callee_local, true);
}

/* ---- functions without a body ---- */

static uint64_t argument(SimWarp *w, const PtxInst *inst, uint32_t l, uint32_t n)
{
    const PtxOperand *list = call_list(inst, false);
    uint64_t v = 0;
    if (!list || n >= list->n)
        return 0;
    if (!list->list)
        return slot_get(w, list->vector[n], l);
    memcpy(&v, frame_bytes(w, l, list->list[n], w->now->local), list->list[n]->bytes < 8 ? list->list[n]->bytes : 8);
    return v;
}

static void give_result(SimWarp *w, const PtxInst *inst, uint32_t l, uint64_t v)
{
    const PtxOperand *list = call_list(inst, true);
    if (!list || !list->n)
        return;
    if (!list->list) {
        slot_set(w, list->vector[0], l, v);
        return;
    }
    memcpy(frame_bytes(w, l, list->list[0], w->now->local), &v, list->list[0]->bytes < 8 ? list->list[0]->bytes : 8);
    mark_frame(w, l, list->list[0], w->now->local);
}

typedef struct { const char *name; float (*one)(float); float (*two)(float, float); } MathRow;
static const MathRow math_rows[] = {
    {"expf", expf}, {"exp2f", exp2f}, {"expm1f", expm1f}, {"logf", logf}, {"log2f", log2f}, {"log10f", log10f}, {"log1pf", log1pf},
    {"sinf", sinf}, {"cosf", cosf}, {"tanf", tanf}, {"asinf", asinf}, {"acosf", acosf}, {"atanf", atanf}, {"sinhf", sinhf}, {"coshf", coshf},
    {"tanhf", tanhf}, {"erff", erff}, {"erfcf", erfcf}, {"sqrtf", sqrtf}, {"cbrtf", cbrtf}, {"floorf", floorf}, {"ceilf", ceilf},
    {"truncf", truncf}, {"rintf", rintf}, {"roundf", roundf}, {"fabsf", fabsf}, {"lgammaf", lgammaf}, {"tgammaf", tgammaf},
    {"powf", NULL, powf}, {"fmodf", NULL, fmodf}, {"atan2f", NULL, atan2f}, {"hypotf", NULL, hypotf}, {"fminf", NULL, fminf},
    {"fmaxf", NULL, fmaxf}, {"copysignf", NULL, copysignf}, {"remainderf", NULL, remainderf}};

/* A lifting header may spell them pawl_NAME or __nv_NAME. */
static const MathRow *find_math(const char *name)
{
    if (strncmp(name, "pawl_", 5) == 0 || strncmp(name, "__nv_", 5) == 0)
        name += 5;
    for (uint32_t i = 0; i < sizeof math_rows / sizeof *math_rows; i++)
        if (strcmp(math_rows[i].name, name) == 0)
            return &math_rows[i];
    return NULL;
}

EXEC(exec_math)
{
    const MathRow *r = &math_rows[inst->variant];
    for_lanes(l, mask) {
        float a = fp32((uint32_t)argument(w, inst, l, 0)), b = r->two ? fp32((uint32_t)argument(w, inst, l, 1)) : 0;
        give_result(w, inst, l, canonical32(r->one ? r->one(a) : r->two(a, b)));
    }
    return FLOW_NEXT;
}

static const uint8_t *text_at(SimWarp *w, const PtxInst *inst, uint32_t l, uint64_t a)
{
    if (address_space(a) == SPACE_LOCAL)
        return (uint32_t)a < w->local_bytes ? w->local + (uint64_t)l * w->local_bytes + (uint32_t)a : NULL;
    (void)inst;
    return sim_memory_data(w->machine->memory, a);
}

/* One conversion of a format, with its argument; the length that it takes in the format, 0 at the end of the room. */
static void print_one(SimWarp *w, FILE *to, const char *spec, size_t n, const uint8_t *args, uint32_t *at)
{
    char fmt[32];
    char kind = spec[n - 1];
    bool wide = memchr(spec, 'l', n) != NULL, is_float = strchr("eEfFgGaA", kind) != NULL;
    uint32_t bytes = is_float || wide || kind == 'p' || kind == 's' ? 8 : 4;
    uint64_t v = 0;
    if (n >= sizeof fmt - 3 || memchr(spec, '*', n) || memchr(spec, 'n', n))
        return;
    *at = (*at + bytes - 1) / bytes * bytes;
    memcpy(&v, args + *at, bytes);
    *at += bytes;
    size_t k = 0;                                                      /* without length modifiers: we have our own */
    for (size_t i = 0; i + 1 < n; i++)
        if (!strchr("lhzjtL", spec[i]))
            fmt[k++] = spec[i];
    if (is_float) {
        fmt[k] = kind, fmt[k + 1] = 0;
        fprintf(to, fmt, fp64(v));
    } else if (kind == 's') {
        const uint8_t *t = text_at(w, NULL, 0, v);
        fmt[k] = 's', fmt[k + 1] = 0;
        fprintf(to, fmt, t ? (const char *)t : "(null)");
    } else if (kind == 'c') {
        fputc((int)v, to);
    } else {
        fmt[k] = 'l', fmt[k + 1] = 'l', fmt[k + 2] = kind == 'p' ? 'x' : kind, fmt[k + 3] = 0;
        bool sign = kind == 'd' || kind == 'i';
        fprintf(to, fmt, wide || bytes == 8 ? (long long)v : sign ? (long long)(int32_t)v : (long long)(uint32_t)v);
    }
}

static void print_format(SimWarp *w, FILE *to, const char *f, const uint8_t *args, uint64_t room)
{
    uint32_t at = 0;
    static const uint8_t none[8];
    for (; *f; f++) {
        if (*f != '%' || f[1] == '%') {
            fputc(*f, to);
            f += *f == '%';
            continue;
        }
        size_t n = 1 + strspn(f + 1, "0123456789.+- #lhzjt*");
        if (!f[n])
            return;
        bool inside = args && at + 16 <= room + 8;
        print_one(w, to, f, n + 1, inside ? args : none, inside ? &at : &(uint32_t){0});
        f += n;
    }
}

EXEC(exec_vprintf)
{
    FILE *to = w->machine->launch->print ? w->machine->launch->print : stdout;
    for_lanes(l, mask) {
        const char *format = (const char *)text_at(w, inst, l, argument(w, inst, l, 0));
        uint64_t args = argument(w, inst, l, 1);
        const uint8_t *p = args ? text_at(w, inst, l, args) : NULL;
        uint64_t room = p && address_space(args) == SPACE_LOCAL ? w->local_bytes - (uint32_t)args : 0;
        if (format)
            print_format(w, to, format, p, room);
        give_result(w, inst, l, 0);
    }
    return FLOW_NEXT;
}

EXEC(exec_assertfail)
{
    const char *text = (const char *)text_at(w, inst, (uint32_t)__builtin_ctz(mask), argument(w, inst, (uint32_t)__builtin_ctz(mask), 0));
    return sim_fault(w, FAULT_TRAP, (uint32_t)__builtin_ctz(mask), 0, NULL, true, "assertion failed: %s", text ? text : "?");
}

static bool select_extern(Selector *s, PtxInst *inst, const PtxFunction *f)
{
    const MathRow *r = find_math(f->name);
    if (r) {
        inst->variant = (uint32_t)(r - math_rows);
        inst->exec = exec_math;
        return true;
    }
    if (strcmp(f->name, "vprintf") == 0)
        inst->exec = exec_vprintf;
    else if (strcmp(f->name, "__assertfail") == 0)
        inst->exec = exec_assertfail;
    else
        inst->exec = exec_call;                                        /* it may get its body later in the module */
    (void)s;
    return true;
}

bool call_has_body(const PtxInst *i) { return i->exec != exec_call || !callee(i)->is_extern; }

static bool select_indirect(Selector *s, PtxInst *inst, const PtxOperand *target)
{
    const PtxOperand *out = call_list(inst, true), *in = call_list(inst, false);
    if (target->kind == OPERAND_LABEL)
        return select_bad(s, inst, "names no function");
    if (target->kind != OPERAND_SLOT || target->slot.bytes != 8 || (out && !out->list && out->n) || (in && !in->list && in->n))
        return select_missing(s, inst);
    inst->exec = exec_call_indirect;
    return true;
}

bool select_call(Selector *s, PtxInst *inst)
{
    if (!inst->n_operands)
        return select_bad(s, inst, "names no function");
    uint32_t at = inst->operand[0].kind == OPERAND_LIST ? 1 : 0;
    if (at >= inst->n_operands)
        return select_bad(s, inst, "names no function");
    if (inst->operand[at].kind != OPERAND_FUNCTION)
        return select_indirect(s, inst, &inst->operand[at]);
    const PtxFunction *f = inst->operand[at].function;
    const PtxOperand *out = call_list(inst, true), *in = call_list(inst, false);
    if ((out ? out->n : 0) > f->results.n || (in ? in->n : 0) != f->params.n)
        return select_bad(s, inst, "the arguments are not as many as the function takes");
    for (uint32_t i = 0; out && !out->list && i < out->n; i++)
        if (out->vector[i].base != SLOT_FRAME)
            return select_bad(s, inst, "a result is not a register");
    for (uint32_t k = 0; k < 2; k++)
        for (uint32_t i = 0; (k ? in : out) && (k ? in : out)->list && i < (k ? in : out)->n; i++)
            if ((k ? in : out)->list[i]->is_kernel_param)
                return select_bad(s, inst, "a parameter of the kernel cannot be passed on by name");
    if (f->is_extern)
        return select_extern(s, inst, f);
    inst->exec = exec_call;
    return true;
}
