/* runtime/sim/select.c — what the selectors share, and the names of types, spaces, opcodes. */
#include "runtime/sim/exec.h"

const char *ptx_type_name(PtxType t)
{
    static const char *const names[] = {"",
#define X(e, text, bytes, cls) text,
        PTX_TYPES(X)
#undef X
    };
    return t < PT_COUNT ? names[t] : "";
}

uint32_t ptx_type_bytes(PtxType t)
{
    static const uint8_t bytes_of[] = {0,
#define X(e, text, bytes, cls) bytes,
        PTX_TYPES(X)
#undef X
    };
    return t < PT_COUNT ? bytes_of[t] : 0;
}

char ptx_type_class(PtxType t)
{
    static const char classes[] = {0,
#define X(e, text, bytes, cls) cls,
        PTX_TYPES(X)
#undef X
    };
    return t < PT_COUNT ? classes[t] : 0;
}

const char *ptx_space_name(PtxSpace s)
{
    static const char *const names[] = {"generic", "global", "shared", "const", "local", "param"};
    return s < SPACE_COUNT ? names[s] : "";
}

const char *ptx_op_name(PtxOp o)
{
    static const char *const names[] = {"",
#define OP(e, text, cls, select) text,
#define MOD(e, text)
#include "runtime/sim/ops.def"
#undef OP
#undef MOD
    };
    return o < PO_COUNT ? names[o] : "";
}

PtxClass ptx_op_class(PtxOp o)
{
    static const PtxClass classes[] = {CLASS_OTHER,
#define OP(e, text, cls, select) CLASS_##cls,
#define MOD(e, text)
#include "runtime/sim/ops.def"
#undef OP
#undef MOD
    };
    return o < PO_COUNT ? classes[o] : CLASS_OTHER;
}

const char *ptx_class_name(PtxClass c)
{
    static const char *const names[] = {
#define X(e, t) t,
        PTX_CLASSES(X)
#undef X
    };
    return c < CLASS_COUNT ? names[c] : "";
}

bool select_missing(Selector *s, PtxInst *inst)
{
    (void)inst;
    s->missing = true;
    return false;
}

bool select_bad(Selector *s, const PtxInst *inst, const char *why)
{
    return diag_error(s->diags, PAWL_EXIT_INVALID, inst->loc, NULL, "%s: %s", s->text, why);
}

bool select_operands(Selector *s, const PtxInst *inst, uint32_t n, const uint8_t *bytes)
{
    if (inst->n_operands != n)
        return diag_error(s->diags, PAWL_EXIT_INVALID, inst->loc, NULL, "%s takes %u operands, here are %u", s->text, n, inst->n_operands);
    for (uint32_t i = 0; i < n; i++) {
        const PtxOperand *o = &inst->operand[i];
        if (o->kind != OPERAND_SLOT)
            return diag_error(s->diags, PAWL_EXIT_INVALID, inst->loc, NULL, "%s: operand %u must be a register%s", s->text, i + 1,
                              i ? " or a constant" : "");
        if (i == 0 && o->slot.base != SLOT_FRAME)
            return diag_error(s->diags, PAWL_EXIT_INVALID, inst->loc, NULL, "%s: the result must be a register", s->text);
        if (bytes[i] != ANY_WIDTH && o->slot.bytes != bytes[i])
            return diag_error(s->diags, PAWL_EXIT_INVALID, inst->loc, NULL, "%s: operand %u has %u bits, expected %u", s->text, i + 1,
                              o->slot.bytes ? o->slot.bytes * 8u : 1u, bytes[i] ? bytes[i] * 8u : 1u);
    }
    return true;
}

bool select_same(Selector *s, const PtxInst *inst, uint32_t n)
{
    uint8_t b = (uint8_t)ptx_type_bytes((PtxType)inst->type[0]);
    uint8_t bytes[PTX_MAX_OPERANDS] = {b, b, b, b, b, b, b, b, b};
    return select_operands(s, inst, n, bytes);
}

static SimFlow exec_nothing(SimWarp *w, const PtxInst *inst, uint32_t mask)
{
    (void)w, (void)inst, (void)mask;
    return FLOW_NEXT;
}

bool select_nothing(Selector *s, PtxInst *inst)
{
    (void)s;
    inst->exec = exec_nothing;
    return true;
}
