/* runtime/sim/ptx_body.c — bodies of functions: scopes, registers, labels, branch tables, .loc; instructions are ptx_inst.c's. */
#include "runtime/sim/ptx_parse.h"

enum { MAX_SLOTS = 1 << 20, SCOPE_DEPTH = 64 };

static uint32_t slots_of(uint32_t bytes) { return bytes == 16 ? 4 : bytes == 8 ? 2 : 1; }

/* ---- registers ---- */

static bool one_register(Parser *p, uint8_t bytes)
{
    Str name;
    int64_t count = 1;
    Symbol *s = arena_new_of(p->arena, Symbol);
    if (!token_name(p, &name))
        return false;
    bool range = token_take(p, '<');
    if (range && (!parse_integer(p, &count) || !token_expect(p, '>')))
        return false;
    if (count < 0 || count > MAX_SLOTS || p->function->n_slots + (uint64_t)count * slots_of(bytes) > MAX_SLOTS)
        return parse_error(p, "too many registers");
    *s = (Symbol){.kind = range ? SYMBOL_RANGE : SYMBOL_REGISTER, .slot = {p->function->n_slots, SLOT_FRAME, bytes, false},
                  .count = (uint32_t)count};
    p->function->n_slots += (uint32_t)count * slots_of(bytes);
    return scope_add(p, range ? str_format(p->strs, "%s<", name) : name, s);
}

static bool parse_registers(Parser *p)
{
    PtxType type;
    uint8_t bytes;
    if (!parse_type(p, &type))
        return false;
    bytes = (uint8_t)(type == PT_PRED ? 0 : ptx_type_bytes(type) == 1 ? 2 : ptx_type_bytes(type));
    do {
        if (!one_register(p, bytes))
            return false;
    } while (token_take(p, ','));
    return token_expect(p, ';');
}

/* ---- labels ---- */

/* `name: .branchtargets a, b;` */
static bool parse_table(Parser *p, Symbol *s)
{
    s->kind = SYMBOL_TABLE;
    s->target = p->module->targets.n;
    do {
        Loc loc = token_loc(p);
        Str name;
        if (!token_name(p, &name))
            return false;
        vec_push(p->arena, &p->uses, ((LabelUse){p->scope, name, loc, p->module->targets.n, UINT32_MAX}));
        vec_push(p->arena, &p->module->targets, 0u);
        s->n_targets++;
    } while (token_take(p, ','));
    return token_expect(p, ';');
}

static bool skip_statement(Parser *p)
{
    while (!token_is(p, ';') && p->tok.kind != TOKEN_END)
        if (!token_next(p))
            return false;
    return token_expect(p, ';');
}

static bool parse_label(Parser *p, Str name)
{
    Symbol *s = arena_new_of(p->arena, Symbol);
    *s = (Symbol){.kind = SYMBOL_LABEL, .target = p->module->code.n};
    if (!scope_add(p, name, s))
        return false;
    if (token_word(p, ".branchtargets"))
        return token_next(p) && parse_table(p, s);
    if (token_word(p, ".callprototype") || token_word(p, ".calltargets")) {
        s->kind = SYMBOL_PROTOTYPE;
        return skip_statement(p);
    }
    return true;
}

static Symbol *find_label(const LabelUse *u)
{
    for (Scope *s = u->scope; s; s = s->outer) {
        Symbol *found = map_get_ptr(s->names, u->name);
        if (found)
            return found;
    }
    return NULL;
}

static bool resolve_labels(Parser *p)
{
    vec_foreach(LabelUse, u, &p->uses) {
        Symbol *s = find_label(u);
        if (!s || (s->kind != SYMBOL_LABEL && s->kind != SYMBOL_TABLE && s->kind != SYMBOL_PROTOTYPE)) {
            p->failed = true;
            return diag_error(p->diags, PAWL_EXIT_INVALID, u->loc, NULL, "%s is not declared", u->name);
        }
        if (u->operand == UINT32_MAX) {
            p->module->targets.data[u->inst] = s->target;
            continue;
        }
        PtxOperand *o = &p->module->code.data[u->inst].operand[u->operand];
        o->target = s->target;
        o->kind = s->kind == SYMBOL_LABEL ? OPERAND_LABEL : s->kind == SYMBOL_TABLE ? OPERAND_TABLE : OPERAND_NONE;
        o->offset = s->n_targets;
    }
    p->uses.n = 0;
    return true;
}

/* ---- statements ---- */

/* .loc file line column [, function_name label, inlined_at file line column] */
static bool parse_loc(Parser *p)
{
    uint32_t line = line_of(p, p->tok.offset);
    int64_t v[3] = {0};
    for (int i = 0; i < 3 && p->tok.kind == TOKEN_INT; i++)
        if (!parse_integer(p, &v[i]))
            return false;
    if (v[0] > 0 && v[1] > 0) {
        p->file = (uint32_t)v[0];
        p->file_line = (uint32_t)v[1];
    }
    while (p->tok.kind != TOKEN_END && line_of(p, p->tok.offset) == line)
        if (!token_next(p))
            return false;
    return true;
}

static bool skip_line(Parser *p)
{
    uint32_t line = line_of(p, p->tok.offset);
    while (p->tok.kind != TOKEN_END && line_of(p, p->tok.offset) == line)
        if (!token_next(p))
            return false;
    return true;
}

static bool parse_inner_directive(Parser *p)
{
    static const struct { const char *text; PtxSpace space; } spaces[] = {
        {".local", SPACE_LOCAL}, {".param", SPACE_PARAM}, {".shared", SPACE_SHARED}, {".const", SPACE_CONST}, {".global", SPACE_GLOBAL}};
    Str d = p->tok.text;
    if (strcmp(d, ".reg") == 0)
        return token_next(p) && parse_registers(p);
    for (uint32_t i = 0; i < sizeof spaces / sizeof *spaces; i++)
        if (strcmp(d, spaces[i].text) == 0)
            return token_next(p) && parse_variable(p, spaces[i].space, false);
    if (strcmp(d, ".loc") == 0)
        return token_next(p) && parse_loc(p);
    if (strcmp(d, ".pragma") == 0)
        return skip_statement(p);
    if (strcmp(d, ".extern") == 0 || strcmp(d, ".weak") == 0 || strcmp(d, ".visible") == 0)
        return token_next(p);
    if (strcmp(d, ".file") == 0)
        return skip_line(p);
    return parse_error(p, "unknown directive %s in a function", d);
}

static bool is_label(const Parser *p)
{
    size_t at = p->at;
    const char *t = p->source->text;
    while (t[at] == ' ' || t[at] == '\t')
        at++;
    return t[at] == ':' && t[at + 1] != ':';
}

static bool parse_statement(Parser *p)
{
    if (p->tok.kind == TOKEN_DIRECTIVE)
        return parse_inner_directive(p);
    if (p->tok.kind == TOKEN_NAME && is_label(p)) {
        Str name = p->tok.text;
        return token_next(p) && token_expect(p, ':') && parse_label(p, name);
    }
    if (token_take(p, ';'))
        return true;
    if (p->tok.kind == TOKEN_NAME || token_is(p, '@'))
        return parse_instruction(p);
    return parse_error(p, "expected an instruction");
}

/* Every function ends: a fall off its end returns. */
static void push_return(Parser *p, const PtxFunction *f)
{
    PtxInst i = {.op = f->is_entry ? PO_EXIT : PO_RET, .line = line_of(p, p->tok.offset), .loc = token_loc(p), .vector = 1,
                 .function = p->module->functions.n};
    Selector s = {p->module, f, p->diags, "ret", false};
    select_control(&s, &i);
    vec_push(p->arena, &p->module->code, i);
}

bool parse_body(Parser *p, PtxFunction *f)
{
    uint32_t depth = 1;
    p->function = f;
    p->file = p->file_line = 0;
    f->first = p->module->code.n;
    while (depth) {
        if (token_is(p, '{')) {
            if (++depth > SCOPE_DEPTH)
                return parse_error(p, "scopes are nested too deeply");
            scope_open(p);
            token_next(p);
        } else if (token_is(p, '}')) {
            /* the outermost scope is the caller's to close */
            if (--depth) {
                scope_close(p);
                token_next(p);
            }
        } else if (p->tok.kind == TOKEN_END) {
            return parse_error(p, "%s ends without }", f->name);
        } else if (!parse_statement(p)) {
            return false;
        }
    }
    push_return(p, f);
    f->n = p->module->code.n - f->first;
    bool good = resolve_labels(p);
    p->function = NULL;
    return good && token_next(p);
}
