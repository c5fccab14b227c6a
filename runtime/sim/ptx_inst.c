/* runtime/sim/ptx_inst.c — one instruction: guard, opcode with modifiers, operands; immediates become constant slots. */
#include "runtime/sim/ptx_parse.h"
#include <stdlib.h>

enum { MAX_VECTOR = 255, MAX_LIST = 64 };

static SelectFn *const selectors[PO_COUNT] = {
#define OP(e, text, cls, select) [PO_##e] = select_##select,
#define MOD(e, text)
#include "runtime/sim/ops.def"
#undef OP
#undef MOD
};

typedef struct { bool is_immediate; TokenKind kind; uint64_t value; } Immediate;
typedef struct {                       /* an instruction while its operands are read */
    PtxInst inst;
    PtxOperand operand[PTX_MAX_OPERANDS];
    Str text;                          /* the opcode as written */
    Loc loc;
    bool missing;
} Draft;

/* ---- opcodes ---- */

static PtxSpace space_of(PtxMod m)
{
    if (m == PM_GLOBAL)
        return SPACE_GLOBAL;
    if (m == PM_SHARED || m == PM_SHARED_CTA || m == PM_SHARED_CLUSTER)
        return SPACE_SHARED;
    if (m == PM_CONST)
        return SPACE_CONST;
    if (m == PM_LOCAL)
        return SPACE_LOCAL;
    return m == PM_PARAM || m == PM_PARAM_ENTRY || m == PM_PARAM_FUNC ? SPACE_PARAM : SPACE_GENERIC;
}

/* m64nNkK */
static bool wgmma_shape(const char *word, uint32_t *variant)
{
    unsigned n, k;
    char rest;
    if (sscanf(word, "m64n%3uk%3u%c", &n, &k, &rest) != 2)
        return false;
    *variant = n | k << 16;
    return true;
}

static bool add_word(Parser *p, PtxInst *i, const char *word, size_t len)
{
    Str s = str_intern_n(p->strs, word, len);
    uint64_t w = map_get(p->words, (uint64_t)(uintptr_t)s, 0);
    uint32_t value = (uint32_t)w;
    if (w >> 32 == WORD_TYPE) {
        if (i->n_types < 4)
            i->type[i->n_types++] = (uint8_t)value;
        return true;
    }
    if (len == 2 && s[0] == 'v' && (s[1] == '2' || s[1] == '4' || s[1] == '8')) {
        i->vector = (uint8_t)(s[1] - '0');
        return true;
    }
    if (i->op == PO_WGMMA && wgmma_shape(s, &i->variant))
        value = PM_WGMMA_SHAPE;
    else if (w >> 32 != WORD_MOD)
        return false;
    i->mods[value / 64] |= UINT64_C(1) << (value % 64);
    if (i->space == SPACE_GENERIC)
        i->space = (uint8_t)space_of((PtxMod)value);
    return true;
}

static void read_opcode(Parser *p, Draft *d)
{
    const char *word = d->text;
    size_t n = strcspn(word, ".");
    d->inst.vector = 1;
    uint64_t op = map_get(p->ops, (uint64_t)(uintptr_t)str_intern_n(p->strs, word, n), 0);
    d->missing = op >> 32 != WORD_OP;
    d->inst.op = (uint16_t)op;
    for (word += n; *word && !d->missing; word += n) {
        n = strcspn(++word, ".");
        d->missing = !add_word(p, &d->inst, word, n);
    }
}

/* ---- immediates ---- */

enum { WIDTH_TYPE = 1, WIDTH_LAST, WIDTH_32, WIDTH_64, WIDTH_PREDICATE };
typedef struct { PtxOp op; uint8_t width[5]; } ImmediateRow;           /* by operand number; later ones as the last */

static const ImmediateRow immediate_rows[] = {
    {PO_SHL, {WIDTH_TYPE, WIDTH_TYPE, WIDTH_32}}, {PO_SHR, {WIDTH_TYPE, WIDTH_TYPE, WIDTH_32}},
    {PO_SHF, {WIDTH_32, WIDTH_32, WIDTH_32, WIDTH_32}}, {PO_BFE, {WIDTH_TYPE, WIDTH_TYPE, WIDTH_32, WIDTH_32}},
    {PO_BFI, {WIDTH_TYPE, WIDTH_TYPE, WIDTH_TYPE, WIDTH_32, WIDTH_32}}, {PO_SETP, {WIDTH_PREDICATE, WIDTH_LAST, WIDTH_LAST, WIDTH_PREDICATE}},
    {PO_SET, {WIDTH_TYPE, WIDTH_LAST, WIDTH_LAST, WIDTH_PREDICATE}}, {PO_SELP, {WIDTH_TYPE, WIDTH_TYPE, WIDTH_TYPE, WIDTH_PREDICATE}},
    {PO_SLCT, {WIDTH_TYPE, WIDTH_TYPE, WIDTH_TYPE, WIDTH_LAST}}, {PO_CVT, {WIDTH_TYPE, WIDTH_LAST, WIDTH_LAST, WIDTH_32}},
    {PO_LOP3, {WIDTH_TYPE, WIDTH_TYPE, WIDTH_TYPE, WIDTH_TYPE, WIDTH_32}}, {PO_PRMT, {WIDTH_32, WIDTH_32}},
    {PO_BAR, {WIDTH_32, WIDTH_32}}, {PO_BARRIER, {WIDTH_32, WIDTH_32}}, {PO_SHFL, {WIDTH_32, WIDTH_32}},
    {PO_VOTE, {WIDTH_TYPE, WIDTH_PREDICATE, WIDTH_32}}, {PO_MATCH, {WIDTH_32, WIDTH_TYPE, WIDTH_32}}, {PO_REDUX, {WIDTH_TYPE, WIDTH_TYPE, WIDTH_32}},
    {PO_ELECT, {WIDTH_32, WIDTH_32}}, {PO_NANOSLEEP, {WIDTH_32}}, {PO_BRX, {WIDTH_32}}, {PO_MBARRIER, {WIDTH_32, WIDTH_32}},
    {PO_CP, {WIDTH_32, WIDTH_32}}, {PO_DP4A, {WIDTH_32, WIDTH_32}}, {PO_DP2A, {WIDTH_32, WIDTH_32}}, {PO_MMA, {WIDTH_32, WIDTH_32}},
    {PO_ISSPACEP, {WIDTH_64, WIDTH_64}}, {PO_CREATEPOLICY, {WIDTH_64, WIDTH_32}}, {PO_SETMAXNREG, {WIDTH_32}}, {PO_WGMMA, {WIDTH_32, WIDTH_32}},
    {PO_BMSK, {WIDTH_32, WIDTH_32}}, {PO_SZEXT, {WIDTH_32, WIDTH_32}}, {PO_FNS, {WIDTH_32, WIDTH_32}}, {PO_PMEVENT, {WIDTH_32}},
    {PO_CALL, {WIDTH_32, WIDTH_32}}, {PO_GRIDDEPCONTROL, {WIDTH_32}}, {PO_MAPA, {WIDTH_64, WIDTH_64, WIDTH_32}},
};

static uint32_t immediate_width(const PtxInst *i, uint32_t operand, PtxType *type)
{
    uint8_t width = WIDTH_TYPE;
    for (uint32_t r = 0; r < sizeof immediate_rows / sizeof *immediate_rows; r++)
        if ((uint32_t)immediate_rows[r].op == i->op)
            for (uint32_t k = 0; k <= operand && k < 5 && (k == 0 || immediate_rows[r].width[k]); k++)
                width = immediate_rows[r].width[k];
    *type = PT_NONE;
    switch (width) {
    case WIDTH_32:        return 4;
    case WIDTH_64:        return 8;
    case WIDTH_PREDICATE: return 0;
    default: break;
    }
    *type = i->n_types ? (PtxType)(width == WIDTH_LAST ? i->type[i->n_types - 1] : i->type[0]) : PT_B32;
    if (*type == PT_PRED)
        return 0;
    uint32_t bytes = ptx_type_bytes(*type);
    if ((i->op == PO_MUL || i->op == PO_MAD) && inst_has(i, PM_WIDE) && operand == 3)
        bytes *= 2;
    return bytes < 2 ? 2 : bytes;
}

static PtxSlot immediate_slot(Parser *p, TokenKind kind, uint64_t value, uint32_t bytes)
{
    if (kind == TOKEN_F64 && bytes == 4) {
        double d;
        memcpy(&d, &value, sizeof d);
        float f = (float)d;
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        value = bits;
    } else if (kind == TOKEN_F32 && bytes == 8) {
        uint32_t bits = (uint32_t)value;
        float f;
        memcpy(&f, &bits, sizeof f);
        double d = f;
        memcpy(&value, &d, sizeof d);
    }
    if (bytes == 0)
        value = value ? UINT32_MAX : 0;
    else if (bytes < 8)
        value &= (UINT64_C(1) << (8 * bytes)) - 1;
    return (PtxSlot){constant_slot(p, value, bytes > 8 ? 8 : bytes), SLOT_CONST, (uint8_t)(bytes > 8 ? 8 : bytes), false};
}

static PtxSlot sink_slot(Parser *p) { return (PtxSlot){constant_slot(p, 0, 8), SLOT_CONST, 255, false}; }

/* ---- operands ---- */

static bool parse_special(Parser *p, Str name, PtxOperand *o, bool *found)
{
    uint64_t w = map_get(p->specials, (uint64_t)(uintptr_t)name, 0);
    *found = w >> 32 != 0;
    if (!*found)
        return true;
    uint32_t r = (uint32_t)w;
    if (r < SR_FIXED_COUNT) {
        o->kind = OPERAND_SLOT;
        o->slot = (PtxSlot){r, SLOT_WARP, 4, false};
    } else {
        o->kind = OPERAND_SPECIAL;
        o->special = (uint16_t)r;
    }
    return true;
}

/* A name at the token, with .x and the like where it is a special register. */
static bool operand_name(Parser *p, Str *name)
{
    uint32_t end = p->tok.offset + p->tok.len;
    if (!token_name(p, name))
        return false;
    if ((*name)[0] == '%' && p->tok.kind == TOKEN_DIRECTIVE && p->tok.offset == end) {
        *name = str_format(p->strs, "%s%s", *name, p->tok.text);
        return token_next(p);
    }
    return true;
}

static void use_variable(Parser *p, const PtxVar *v)
{
    if (v->space == SPACE_SHARED)
        map_set_ptr(p->function->shared, v, v);
}

/* A register or constant for the middle of a vector, list or address. */
static bool parse_slot(Parser *p, Draft *d, uint32_t bytes, PtxSlot *out)
{
    bool negated = token_take(p, '!');
    if (p->tok.kind != TOKEN_NAME) {
        TokenKind kind;
        uint64_t value;
        if (!parse_constant(p, &kind, &value))
            return false;
        *out = immediate_slot(p, kind, value, bytes);
        return true;
    }
    Str name;
    PtxOperand o = {0};
    bool special;
    if (!operand_name(p, &name) || !parse_special(p, name, &o, &special))
        return false;
    if (special) {
        *out = o.slot;
        return o.kind == OPERAND_SLOT || parse_error(p, "%s cannot stand here", name);
    }
    if (strcmp(name, "_") == 0) {
        *out = sink_slot(p);
        return true;
    }
    Symbol *s = scope_find(p, name);
    (void)d;
    if (s && s->kind == SYMBOL_VAR && !s->var->is_kernel_param && s->var->space != SPACE_LOCAL && s->var->space != SPACE_PARAM) {
        use_variable(p, s->var);
        *out = (PtxSlot){address_slot(p, s->var, 0, bytes == 4 ? 4 : 8), SLOT_CONST, bytes == 4 ? 4 : 8, false};
        return true;
    }
    if (!s || s->kind != SYMBOL_REGISTER)
        return parse_error(p, "%s is not a register", name);
    *out = s->slot;
    out->negated = negated;
    return true;
}

static bool parse_vector(Parser *p, Draft *d, PtxOperand *o, uint32_t bytes)
{
    PtxSlot slots[MAX_VECTOR];
    uint32_t n = 0;
    if (!token_expect(p, '{'))
        return false;
    while (!token_is(p, '}')) {
        if (n == MAX_VECTOR)
            return parse_error(p, "a vector of so many elements is not supported");
        if (!parse_slot(p, d, bytes, &slots[n++]) || (!token_is(p, '}') && !token_expect(p, ',')))
            return false;
    }
    o->kind = OPERAND_VECTOR;
    o->n = (uint8_t)n;
    o->vector = arena_copy(p->arena, slots, sizeof *slots * (n + 1));
    return token_expect(p, '}');
}

static bool parse_offset(Parser *p, int64_t *offset)
{
    while (token_is(p, '+') || token_is(p, '-')) {
        bool minus = token_is(p, '-');
        int64_t v;
        if (!token_next(p) || !parse_integer(p, &v))
            return false;
        *offset = (int64_t)((uint64_t)*offset + (minus ? -(uint64_t)v : (uint64_t)v));
    }
    return true;
}

static bool memory_variable(Parser *p, PtxOperand *o, const PtxVar *v)
{
    o->var = v;
    use_variable(p, v);
    if (v->is_kernel_param)
        o->in_params = true;
    else if (v->space == SPACE_LOCAL || v->space == SPACE_PARAM)
        o->in_frame = true;
    else
        o->slot = (PtxSlot){address_slot(p, v, 0, 8), SLOT_CONST, 8, false};
    if (o->in_params || o->in_frame)
        o->offset += (int64_t)v->at;
    return true;
}

static bool parse_memory(Parser *p, Draft *d, PtxOperand *o)
{
    o->kind = OPERAND_MEMORY;
    if (!token_expect(p, '['))
        return false;
    if (p->tok.kind == TOKEN_NAME) {
        Str name;
        if (!token_name(p, &name))
            return false;
        Symbol *s = scope_find(p, name);
        if (!s || (s->kind != SYMBOL_REGISTER && s->kind != SYMBOL_VAR))
            return parse_error(p, "%s is neither a register nor a variable", name);
        if (s->kind == SYMBOL_VAR)
            memory_variable(p, o, s->var);
        else
            o->slot = s->slot;
        if (s->kind == SYMBOL_REGISTER && o->slot.bytes != 4 && o->slot.bytes != 8)
            return parse_error(p, "%s is too narrow for an address", name);
    } else {
        int64_t at;
        if (!parse_integer(p, &at))
            return false;
        o->slot = immediate_slot(p, TOKEN_INT, (uint64_t)at, 8);
    }
    if (!parse_offset(p, &o->offset))
        return false;
    if (token_take(p, ',')) {                                          /* coordinates of a tensor */
        PtxOperand c = {0};
        if (!parse_vector(p, d, &c, 4))
            return false;
        o->vector = c.vector;
        o->n = c.n;
    }
    return token_expect(p, ']');
}

static bool parse_list(Parser *p, Draft *d, PtxOperand *o)
{
    PtxSlot slots[MAX_LIST];
    const PtxVar *vars[MAX_LIST];
    uint32_t n = 0, n_vars = 0;
    if (!token_expect(p, '('))
        return false;
    while (!token_is(p, ')')) {
        if (n == MAX_LIST)
            return parse_error(p, "so many arguments are not supported");
        Symbol *s = p->tok.kind == TOKEN_NAME ? scope_find(p, p->tok.text) : NULL;
        if (s && s->kind == SYMBOL_VAR && s->var->space == SPACE_PARAM) {
            vars[n] = s->var;
            n_vars++;
            slots[n++] = (PtxSlot){0};
            token_next(p);
        } else {
            vars[n] = NULL;
            if (!parse_slot(p, d, 4, &slots[n++]))
                return false;
        }
        if (!token_is(p, ')') && !token_expect(p, ','))
            return false;
    }
    if (n_vars && n_vars != n)
        return parse_error(p, "registers and .param variables are mixed");
    o->kind = OPERAND_LIST;
    o->n = (uint8_t)n;
    o->vector = arena_copy(p->arena, slots, sizeof *slots * (n + 1));
    o->list = n_vars || n == 0 ? arena_copy(p->arena, (const void *)vars, sizeof *vars * (n + 1)) : NULL;
    return token_expect(p, ')');
}

static bool symbol_operand(Parser *p, Draft *d, PtxOperand *o, Symbol *s, uint32_t bytes)
{
    int64_t add = 0;
    switch (s->kind) {
    case SYMBOL_REGISTER:
        o->kind = OPERAND_SLOT;
        o->slot = s->slot;
        return true;
    case SYMBOL_FUNCTION:
        o->kind = OPERAND_FUNCTION;
        o->function = s->function;
        vec_push(p->arena, &p->function->callees, s->function);
        return true;
    case SYMBOL_VAR:
        if (!parse_offset(p, &add))
            return false;
        use_variable(p, s->var);
        o->kind = OPERAND_SLOT;
        o->var = s->var;
        o->in_frame = !s->var->is_kernel_param && (s->var->space == SPACE_LOCAL || s->var->space == SPACE_PARAM);
        bytes = bytes == 4 ? 4 : 8;
        o->slot = o->in_frame || s->var->is_kernel_param ? immediate_slot(p, TOKEN_INT, s->var->at + (uint64_t)add, bytes)
                : (PtxSlot){address_slot(p, s->var, add, bytes), SLOT_CONST, (uint8_t)bytes, false};
        return true;
    case SYMBOL_LABEL:
    case SYMBOL_TABLE:
    case SYMBOL_PROTOTYPE:
    case SYMBOL_RANGE:
        break;
    }
    (void)d;
    return parse_error(p, "cannot stand here");
}

static bool name_operand(Parser *p, Draft *d, PtxOperand *o, uint32_t number, uint32_t bytes)
{
    Str name;
    bool special;
    Loc loc = token_loc(p);
    if (!operand_name(p, &name))
        return false;
    Symbol *s = scope_find(p, name);
    if (s && s->kind <= SYMBOL_FUNCTION)
        return symbol_operand(p, d, o, s, bytes);
    if (strcmp(name, "_") == 0) {
        o->kind = OPERAND_NONE;
        o->slot = sink_slot(p);
        return true;
    }
    if (!parse_special(p, name, o, &special) || special)
        return !p->failed;
    if (d->inst.op != PO_BRA && d->inst.op != PO_BRX && d->inst.op != PO_CALL)
        return parse_error(p, "%s is not declared", name);
    o->kind = OPERAND_LABEL;
    vec_push(p->arena, &p->uses, ((LabelUse){p->scope, name, loc, p->module->code.n, number}));
    return true;
}

static bool parse_operand(Parser *p, Draft *d, uint32_t number)
{
    PtxOperand *o = &d->operand[number];
    PtxType type;
    uint32_t bytes = immediate_width(&d->inst, number, &type);
    if (token_is(p, '['))
        return parse_memory(p, d, o);
    if (token_is(p, '(') && d->inst.op == PO_CALL)
        return parse_list(p, d, o);
    if (token_is(p, '{')) {
        if (d->inst.op == PO_MOV)                                      /* elements of a packed register */
            bytes = bytes >= 8 ? 4 : 2;
        return parse_vector(p, d, o, bytes);
    }
    bool negated = token_take(p, '!');
    if (p->tok.kind == TOKEN_NAME && !token_word(p, "WARP_SZ")) {
        if (!name_operand(p, d, o, number, bytes))
            return false;
    } else {
        TokenKind kind;
        uint64_t value;
        if (!parse_constant(p, &kind, &value))
            return false;
        o->kind = OPERAND_SLOT;
        o->slot = immediate_slot(p, kind, value, bytes);
        o->offset = (int64_t)value;
    }
    o->slot.negated = negated;
    if (!token_take(p, '|'))
        return true;
    o->has_second = true;
    return parse_slot(p, d, 0, &o->second);
}

/* ---- the instruction ---- */

static bool parse_guard(Parser *p, PtxInst *i)
{
    Str name;
    if (!token_take(p, '@'))
        return true;
    i->guarded = true;
    i->guard_negated = token_take(p, '!');
    if (!token_name(p, &name))
        return false;
    Symbol *s = scope_find(p, name);
    if (!s || s->kind != SYMBOL_REGISTER || s->slot.bytes != 0)
        return parse_error(p, "%s is not a predicate", name);
    i->guard = s->slot.slot;
    return true;
}

static bool skip_missing(Parser *p, const Draft *d)
{
    bool known = false;
    vec_foreach(Missing, m, &p->missing)
        if (m->text == d->text) {
            m->uses++;
            known = true;
        }
    if (!known)
        vec_push(p->arena, &p->missing, ((Missing){d->text, d->loc, 1}));
    while (!token_is(p, ';') && p->tok.kind != TOKEN_END)
        if (!token_next(p))
            return false;
    return token_expect(p, ';');
}

static bool parse_operands(Parser *p, Draft *d)
{
    while (!token_is(p, ';')) {
        if (d->inst.n_operands == PTX_MAX_OPERANDS)
            return parse_error(p, "too many operands");
        if (!parse_operand(p, d, d->inst.n_operands))
            return false;
        d->inst.n_operands++;
        if (!token_is(p, ';') && !token_expect(p, ','))
            return false;
    }
    return true;
}

static bool bind(Parser *p, Draft *d)
{
    Selector s = {p->module, p->function, p->diags, d->text, false};
    if (selectors[d->inst.op](&s, &d->inst))
        return true;
    d->missing = s.missing;
    p->failed |= !s.missing;
    return false;
}

bool parse_instruction(Parser *p)
{
    Draft d = {.inst = {.loc = token_loc(p)}};
    if (!parse_guard(p, &d.inst))
        return false;
    if (p->tok.kind != TOKEN_NAME)
        return parse_error(p, "expected an instruction");
    uint32_t start = p->tok.offset;
    d.text = opcode_scan(p);
    d.loc = d.inst.loc = (Loc){p->source, start, (uint32_t)strlen(d.text)};
    d.inst.line = line_of(p, start);
    d.inst.file = p->file;
    d.inst.file_line = p->file_line;
    read_opcode(p, &d);
    if (d.missing)
        return skip_missing(p, &d);
    if (!parse_operands(p, &d))
        return false;
    d.inst.operand = arena_copy(p->arena, d.operand, sizeof *d.operand * (d.inst.n_operands + 1u > PTX_MAX_OPERANDS ? PTX_MAX_OPERANDS : d.inst.n_operands + 1u));
    if (!bind(p, &d)) {
        if (!d.missing)
            return false;
        while (p->uses.n && vec_last(&p->uses).inst == p->module->code.n && vec_last(&p->uses).operand != UINT32_MAX)
            p->uses.n--;
        return skip_missing(p, &d);
    }
    vec_push(p->arena, &p->module->code, d.inst);
    return token_expect(p, ';');
}
