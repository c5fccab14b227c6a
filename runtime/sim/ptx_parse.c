/* runtime/sim/ptx_parse.c — modules: directives, variables, signatures of functions. */
#include "runtime/sim/ptx_parse.h"
#include <stdlib.h>

enum { INITIALISER_DEPTH = 16, MAX_PARAMS = 4096 };
#define MAX_VARIABLE_BYTES (UINT64_C(256) << 20)

/* ---- scopes ---- */

void scope_open(Parser *p)
{
    Scope *s = arena_new_of(p->arena, Scope);
    s->outer = p->scope;
    s->names = map_new(p->arena);
    p->scope = s;
}

void scope_close(Parser *p) { p->scope = p->scope->outer; }

bool scope_add(Parser *p, Str name, Symbol *s)
{
    Symbol *old = map_get_ptr(p->scope->names, name);
    if (old && !(old->kind == SYMBOL_VAR && old->var->is_extern))
        return parse_error(p, "%s is declared twice", name);
    map_set_ptr(p->scope->names, name, s);
    return true;
}

/* A register of a range: %r12 of `.reg .b32 %r<20>`, entered under its own name when first met. */
static Symbol *find_in_range(Parser *p, Scope *s, Str name)
{
    size_t n = strlen(name), digits = n;
    while (digits > 1 && name[digits - 1] >= '0' && name[digits - 1] <= '9')
        digits--;
    if (digits == n || n - digits > 9 || (name[digits] == '0' && n - digits > 1))
        return NULL;
    Symbol *range = map_get_ptr(s->names, str_format(p->strs, "%.*s<", (int)digits, name));
    uint32_t number = (uint32_t)strtoul(name + digits, NULL, 10);
    if (!range || number >= range->count)
        return NULL;
    Symbol *one = arena_new_of(p->arena, Symbol);
    *one = (Symbol){.kind = SYMBOL_REGISTER, .slot = range->slot};
    one->slot.slot += number * (range->slot.bytes == 16 ? 4 : range->slot.bytes == 8 ? 2 : 1);
    map_set_ptr(s->names, name, one);
    return one;
}

Symbol *scope_find(Parser *p, Str name)
{
    for (Scope *s = p->scope; s; s = s->outer) {
        Symbol *found = map_get_ptr(s->names, name);
        if (!found)
            found = find_in_range(p, s, name);
        if (found)
            return found;
    }
    return NULL;
}

/* ---- constants ---- */

uint32_t constant_slot(Parser *p, uint64_t value, uint32_t bytes)
{
    PtxModule *m = p->module;
    uint64_t key = hash_mix(value, bytes);
    uint32_t at = (uint32_t)map_get(p->constants, key, UINT32_MAX);
    if (at != UINT32_MAX && m->constants.data[at] == (uint32_t)value && m->constant_bytes.data[at] == bytes &&
        (bytes < 8 || m->constants.data[at + 1] == value >> 32))
        return at;
    at = m->constants.n;
    vec_push(p->arena, &m->constants, (uint32_t)value);
    vec_push(p->arena, &m->constant_bytes, (uint8_t)bytes);
    if (bytes >= 8) {
        vec_push(p->arena, &m->constants, (uint32_t)(value >> 32));
        vec_push(p->arena, &m->constant_bytes, (uint8_t)255);
    }
    map_set(p->constants, key, at);
    return at;
}

uint32_t address_slot(Parser *p, const PtxVar *v, int64_t add, uint32_t bytes)
{
    PtxModule *m = p->module;
    vec_foreach(PtxAddress, a, &m->addresses)
        if (a->var == v && a->add == add && a->bytes == bytes)
            return a->slot;
    uint32_t at = m->constants.n;
    for (uint32_t i = 0; i < bytes / 4; i++) {
        vec_push(p->arena, &m->constants, 0);
        vec_push(p->arena, &m->constant_bytes, (uint8_t)(i ? 255 : bytes));
    }
    vec_push(p->arena, &m->addresses, ((PtxAddress){at, bytes, v, add}));
    return at;
}

/* ---- variables ---- */

typedef struct { uint64_t at; Vec(PtxFixup) fixups; } Filled;

static bool store_number(Parser *p, PtxVar *v, Filled *f, TokenKind kind, uint64_t value)
{
    uint32_t bytes = ptx_type_bytes(v->type);
    if (v->type == PT_F32 && kind == TOKEN_F64) {
        double d;
        memcpy(&d, &value, sizeof d);
        float s = (float)d;
        uint32_t bits;
        memcpy(&bits, &s, sizeof bits);
        value = bits;
    } else if (v->type == PT_F64 && kind == TOKEN_F32) {
        uint32_t bits = (uint32_t)value;
        float s;
        memcpy(&s, &bits, sizeof s);
        double d = s;
        memcpy(&value, &d, sizeof d);
    }
    if (f->at + bytes > v->bytes)
        return parse_error(p, "more initial values than %s has room for", v->name);
    memcpy(v->data + f->at, &value, bytes > 8 ? 8 : bytes);
    f->at += bytes;
    return true;
}

static bool store_address(Parser *p, PtxVar *v, Filled *f, bool generic)
{
    Str name;
    int64_t add = 0;
    if (!token_name(p, &name))
        return false;
    Symbol *s = scope_find(p, name);
    if (s && s->kind == SYMBOL_FUNCTION)
        return store_number(p, v, f, TOKEN_INT, 0);                    /* nobody calls through a table: it only must be read */
    if (!s || s->kind != SYMBOL_VAR)
        return parse_error(p, "%s is not a variable", name);
    if ((token_is(p, '+') || token_is(p, '-')) && !parse_integer(p, &add))
        return false;
    uint32_t bytes = ptx_type_bytes(v->type);
    if (f->at + bytes > v->bytes || bytes > 8)
        return parse_error(p, "an address does not fit into %s", v->name);
    vec_push(p->arena, &f->fixups, ((PtxFixup){f->at, bytes, s->var, add, generic}));
    f->at += bytes;
    return true;
}

/* generic(name) + 4 */
static bool add_to_address(Parser *p, Filled *f)
{
    int64_t add = 0;
    if ((token_is(p, '+') || token_is(p, '-')) && !parse_integer(p, &add))
        return false;
    if (f->fixups.n)
        vec_last(&f->fixups).add += add;
    return true;
}

static bool parse_initialiser(Parser *p, PtxVar *v, Filled *f, uint32_t depth)
{
    TokenKind kind;
    uint64_t value;
    if (depth > INITIALISER_DEPTH)
        return parse_error(p, "an initialiser is nested too deeply");
    if (token_take(p, '{')) {
        while (!token_is(p, '}'))
            if (!parse_initialiser(p, v, f, depth + 1) || (!token_is(p, '}') && !token_expect(p, ',')))
                return false;
        return token_expect(p, '}');
    }
    if (token_word(p, "generic"))
        return token_next(p) && token_expect(p, '(') && store_address(p, v, f, true) && token_expect(p, ')') && add_to_address(p, f);
    if (p->tok.kind == TOKEN_NAME)
        return store_address(p, v, f, false);
    if (!parse_constant(p, &kind, &value))
        return false;
    if (kind == TOKEN_INT && token_take(p, '('))                       /* 0xFF00(name): a byte of an address */
        return parse_error(p, "masked addresses in initialisers are not supported");
    return store_number(p, v, f, kind, value);
}

static bool parse_dims(Parser *p, uint64_t *count, bool *open)
{
    *count = 1;
    *open = false;
    while (token_take(p, '[')) {
        int64_t n = 0;
        if (token_is(p, ']'))
            *open = true;
        else if (!parse_integer(p, &n))
            return false;
        if (n < 0 || (uint64_t)n > MAX_VARIABLE_BYTES || *count * (uint64_t)(n ? n : 1) > MAX_VARIABLE_BYTES)
            return parse_error(p, "an array of that size is not supported");
        *count *= *open ? 1 : (uint64_t)n;
        if (!token_expect(p, ']'))
            return false;
    }
    return true;
}

/* Where a variable lies among its like. */
static void place_variable(Parser *p, PtxVar *v)
{
    PtxModule *m = p->module;
    switch (v->space) {
    case SPACE_GLOBAL:
    case SPACE_CONST:
        v->at = m->globals.n;
        vec_push(p->arena, &m->globals, v);
        break;
    case SPACE_SHARED:
        v->at = m->shared.n;
        vec_push(p->arena, &m->shared, v);
        break;
    case SPACE_LOCAL:
    case SPACE_PARAM:
    case SPACE_GENERIC:
    case SPACE_COUNT:
        v->at = ((uint64_t)p->function->frame_bytes + v->align - 1) / v->align * v->align;
        p->function->frame_bytes = (uint32_t)(v->at + v->bytes);
        break;
    }
}

static bool check_align(Parser *p, int64_t align)
{
    return (align >= 1 && align <= 4096 && (align & (align - 1)) == 0) || parse_error(p, "not an alignment");
}

static bool parse_attributes(Parser *p, int64_t *align, uint32_t *vector)
{
    bool pointer = false;                                              /* then .align is of what it points to */
    for (;;) {
        if (token_word(p, ".align")) {
            int64_t a;
            if (!token_next(p) || !parse_integer(p, &a) || !check_align(p, a))
                return false;
            *align = pointer ? *align : a;
        } else if (token_word(p, ".ptr") || token_word(p, ".global") || token_word(p, ".const") || token_word(p, ".shared") ||
                   token_word(p, ".local") || token_word(p, ".generic")) {
            pointer |= token_word(p, ".ptr");
            if (!token_next(p))
                return false;
        } else if (token_word(p, ".attribute")) {
            if (!token_next(p) || !token_expect(p, '('))
                return false;
            while (!token_is(p, ')') && p->tok.kind != TOKEN_END)
                token_next(p);
            if (!token_expect(p, ')'))
                return false;
        } else if (token_word(p, ".v2") || token_word(p, ".v4")) {
            *vector = p->tok.text[2] == '2' ? 2 : 4;
            if (!token_next(p))
                return false;
        } else {
            return true;
        }
    }
}

static bool one_variable(Parser *p, PtxSpace space, PtxType type, int64_t align, uint32_t vector, bool is_extern)
{
    PtxVar *v = arena_new_of(p->arena, PtxVar);
    uint64_t count;
    bool open;
    *v = (PtxVar){.space = space, .type = type, .is_extern = is_extern, .loc = token_loc(p)};
    if (!token_name(p, &v->name) || !parse_dims(p, &count, &open))
        return false;
    uint32_t element = ptx_type_bytes(type) * vector;
    v->bytes = open ? 0 : count * element;
    v->align = (uint32_t)(align ? align : element ? element : 1);
    p->var_bytes += v->bytes;
    if (p->var_bytes > MAX_VARIABLE_BYTES)
        return parse_error(p, "the variables of the module are larger than %llu bytes", (unsigned long long)MAX_VARIABLE_BYTES);
    if (token_take(p, '=')) {
        Filled f = {0};
        v->data = arena_alloc(p->arena, v->bytes + 8);
        if (!parse_initialiser(p, v, &f, 0))
            return false;
        v->fixups = f.fixups.data;
        v->n_fixups = f.fixups.n;
    }
    if (open && !is_extern && space != SPACE_SHARED)
        return parse_error(p, "%s has no size", v->name);
    Symbol *s = arena_new_of(p->arena, Symbol);
    *s = (Symbol){.kind = SYMBOL_VAR, .var = v};
    place_variable(p, v);
    return scope_add(p, v->name, s);
}

bool parse_variable(Parser *p, PtxSpace space, bool is_extern)
{
    int64_t align = 0;
    uint32_t vector = 1;
    PtxType type;
    if (!parse_attributes(p, &align, &vector) || !parse_type(p, &type) || !parse_attributes(p, &align, &vector))
        return false;
    do {
        if (!one_variable(p, space, type, align, vector, is_extern))
            return false;
    } while (token_take(p, ','));
    return token_expect(p, ';');
}

/* ---- functions ---- */

/* .param .align 8 .b8 name[24], in a signature. */
bool parse_param(Parser *p, PtxFunction *f, bool result)
{
    int64_t align = 0;
    uint32_t vector = 1;
    uint64_t count;
    bool open;
    PtxVar *v = arena_new_of(p->arena, PtxVar);
    *v = (PtxVar){.space = SPACE_PARAM, .loc = token_loc(p), .is_kernel_param = f->is_entry};
    if (!token_word(p, ".param"))
        return parse_error(p, "expected .param");
    if (!token_next(p) || !parse_attributes(p, &align, &vector) || !parse_type(p, &v->type) || !parse_attributes(p, &align, &vector) ||
        !token_name(p, &v->name) || !parse_dims(p, &count, &open))
        return false;
    uint32_t element = ptx_type_bytes(v->type) * vector;
    v->bytes = open ? 0 : count * element;
    v->align = (uint32_t)(align ? align : element);
    uint32_t *end = f->is_entry ? &f->param_bytes : &f->frame_bytes;
    v->at = ((uint64_t)*end + v->align - 1) / v->align * v->align;
    if (v->at + v->bytes > 65536 || f->params.n >= MAX_PARAMS)
        return parse_error(p, "the parameters of %s are too large", f->name);
    *end = (uint32_t)(v->at + v->bytes);
    if (result)
        vec_push(p->arena, &f->results, v);
    else
        vec_push(p->arena, &f->params, v);
    Symbol *s = arena_new_of(p->arena, Symbol);
    *s = (Symbol){.kind = SYMBOL_VAR, .var = v};
    if (strcmp(v->name, "_") == 0)
        return true;
    return scope_add(p, v->name, s);
}

static bool parse_params(Parser *p, PtxFunction *f, bool result)
{
    if (!token_expect(p, '('))
        return false;
    while (!token_is(p, ')'))
        if (!parse_param(p, f, result) || (!token_is(p, ')') && !token_expect(p, ',')))
            return false;
    return token_expect(p, ')');
}

static bool parse_triple(Parser *p, uint32_t out[3])
{
    for (uint32_t i = 0; i < 3; i++)
        out[i] = 1;
    for (uint32_t i = 0; i < 3; i++) {
        int64_t v;
        if (!parse_integer(p, &v))
            return false;
        if (v < 0 || v > INT32_MAX)
            return parse_error(p, "not a size");
        out[i] = (uint32_t)v;
        if (!token_is(p, ','))
            return true;
        if (i < 2 && !token_next(p))
            return false;
    }
    return true;
}

static bool skip_numbers(Parser *p)
{
    while (p->tok.kind == TOKEN_INT || p->tok.kind == TOKEN_STRING || token_is(p, ','))
        if (!token_next(p))
            return false;
    return true;
}

/* Directives between a signature and its body. */
static bool parse_tuning(Parser *p, PtxFunction *f)
{
    while (p->tok.kind == TOKEN_DIRECTIVE) {
        Str d = p->tok.text;
        bool good = token_next(p);
        if (strcmp(d, ".maxntid") == 0)
            good = good && parse_triple(p, f->max_threads);
        else if (strcmp(d, ".reqntid") == 0)
            good = good && parse_triple(p, f->req_threads);
        else if (strcmp(d, ".reqnctapercluster") == 0)
            good = good && parse_triple(p, f->req_cluster);
        else if (strcmp(d, ".pragma") == 0)
            good = good && skip_numbers(p) && token_expect(p, ';');
        else
            good = good && skip_numbers(p);
        if (!good)
            return false;
    }
    return true;
}

/* The function of that name: a declaration seen before, or a new one. */
static PtxFunction *declare(Parser *p, Str name, bool is_entry)
{
    Symbol *s = map_get_ptr(p->scope->names, name);
    if (s && (s->kind != SYMBOL_FUNCTION || !s->function->is_extern)) {
        parse_error(p, "%s is declared twice", name);
        return NULL;
    }
    PtxFunction *f = s ? s->function : arena_new_of(p->arena, PtxFunction);
    *f = (PtxFunction){.name = name, .is_entry = is_entry, .is_extern = true, .loc = token_loc(p), .shared = map_new(p->arena)};
    if (s)
        return f;
    s = arena_new_of(p->arena, Symbol);
    *s = (Symbol){.kind = SYMBOL_FUNCTION, .function = f};
    map_set_ptr(p->scope->names, name, s);
    vec_push(p->arena, &p->module->functions, f);
    return f;
}

static bool parse_function(Parser *p, bool is_entry)
{
    Str name;
    PtxFunction head = {.is_entry = is_entry, .name = "?"};
    Scope *outer = p->scope;
    scope_open(p);
    if (!is_entry && token_is(p, '(') && !parse_params(p, &head, true))
        return false;
    Scope *inner = p->scope;
    p->scope = outer;
    PtxFunction *f = token_name(p, &name) ? declare(p, name, is_entry) : NULL;
    if (!f)
        return false;
    p->scope = inner;
    head.name = name;
    if (token_is(p, '(') && !parse_params(p, &head, false))
        return false;
    head.loc = f->loc;
    head.shared = f->shared;
    head.is_extern = true;
    head.first = p->module->code.n;
    *f = head;
    if (!parse_tuning(p, f))
        return false;
    bool good;
    if (token_take(p, ';')) {
        good = true;
    } else {
        f->is_extern = false;
        good = token_expect(p, '{') && parse_body(p, f);
    }
    p->scope = outer;
    return good;
}

/* ---- module directives ---- */

static bool skip_section(Parser *p)
{
    while (!token_is(p, '{') && p->tok.kind != TOKEN_END)
        if (!token_next(p))
            return false;
    if (!token_expect(p, '{'))
        return false;
    while (!token_is(p, '}') && p->tok.kind != TOKEN_END)
        if (!token_next(p))
            return false;
    return token_expect(p, '}');
}

static bool parse_version(Parser *p)
{
    double v;
    if (p->tok.kind != TOKEN_F64)
        return parse_error(p, "expected a version, such as 8.0");
    memcpy(&v, &p->tok.value, sizeof v);
    p->module->version = v > 0 && v < 1000 ? (uint32_t)(v * 10 + 0.5) : 0;
    return token_next(p);
}

static bool parse_target(Parser *p)
{
    Str name;
    do {
        if (!token_name(p, &name))
            return false;
        if (strncmp(name, "sm_", 3) == 0) {
            snprintf(p->module->target, sizeof p->module->target, "%s", name);
            p->module->sm = (uint32_t)strtoul(name + 3, NULL, 10);
        }
    } while (token_take(p, ','));
    return true;
}

static bool parse_file(Parser *p)
{
    int64_t n = (int64_t)p->tok.value;
    if (p->tok.kind != TOKEN_INT || n < 0 || n > 65535)
        return parse_error(p, "expected a number of a file");
    if (!token_next(p) || p->tok.kind != TOKEN_STRING)
        return parse_error(p, "expected a file name");
    while (p->module->files.n <= (uint32_t)n)
        vec_push(p->arena, &p->module->files, (Str)NULL);
    p->module->files.data[n] = p->tok.text;
    return token_next(p) && skip_numbers(p);
}

static bool parse_directive(Parser *p, bool *is_extern)
{
    static const struct { const char *text; PtxSpace space; } spaces[] = {
        {".global", SPACE_GLOBAL}, {".const", SPACE_CONST}, {".shared", SPACE_SHARED}};
    Str d = p->tok.text;
    for (uint32_t i = 0; i < sizeof spaces / sizeof *spaces; i++)
        if (strcmp(d, spaces[i].text) == 0)
            return token_next(p) && parse_variable(p, spaces[i].space, *is_extern);
    if (strcmp(d, ".version") == 0)
        return token_next(p) && parse_version(p);
    if (strcmp(d, ".target") == 0)
        return token_next(p) && parse_target(p);
    if (strcmp(d, ".address_size") == 0) {
        int64_t bits;
        return token_next(p) && parse_integer(p, &bits) && (bits == 64 || parse_error(p, "only 64-bit addresses are supported"));
    }
    if (strcmp(d, ".file") == 0)
        return token_next(p) && parse_file(p);
    if (strcmp(d, ".section") == 0)
        return token_next(p) && skip_section(p);
    if (strcmp(d, ".entry") == 0 || strcmp(d, ".func") == 0)
        return token_next(p) && parse_function(p, d[1] == 'e');
    if (strcmp(d, ".pragma") == 0)
        return token_next(p) && skip_numbers(p) && token_expect(p, ';');
    if (strcmp(d, ".alias") == 0)
        return parse_error(p, ".alias is not supported");
    return parse_error(p, "unknown directive %s", d);
}

static bool parse_module(Parser *p)
{
    bool is_extern = false;
    if (!token_next(p))
        return false;
    while (p->tok.kind != TOKEN_END) {
        if (token_word(p, ".visible") || token_word(p, ".weak") || token_word(p, ".common") || token_word(p, ".extern")) {
            is_extern = token_word(p, ".extern");
            if (!token_next(p))
                return false;
            continue;
        }
        if (p->tok.kind != TOKEN_DIRECTIVE)
            return parse_error(p, "expected a directive, such as .entry");
        if (!parse_directive(p, &is_extern))
            return false;
        is_extern = false;
    }
    return !p->failed;
}

/* What functions call, they use as well: shared variables travel from callees to callers until nothing changes. */
static void spread_shared(PtxModule *m)
{
    for (bool again = true; again; ) {
        again = false;
        for (uint32_t i = 0; i < m->functions.n; i++)
            for (uint32_t c = 0; c < m->functions.data[i]->callees.n; c++) {
                uint64_t k, v;
                const Map *from = m->functions.data[i]->callees.data[c]->shared;
                for (uint32_t e = 0; map_entry(from, e, &k, &v); e++)
                    again |= !map_has(m->functions.data[i]->shared, k) && map_set(m->functions.data[i]->shared, k, v);
            }
    }
}

/* Functions that are called, but that neither the module nor the simulator has; and whose instruction is whose. */
static void finish_code(Parser *p)
{
    for (uint32_t f = 0; f < p->module->functions.n; f++) {
        const PtxFunction *one = p->module->functions.data[f];
        for (uint32_t i = one->first; i < one->first + one->n; i++)
            p->module->code.data[i].function = f;
    }
    vec_foreach(PtxInst, i, &p->module->code)
        if (i->op == PO_CALL && !call_has_body(i))
            vec_push(p->arena, &p->missing, ((Missing){"call of a function without a body", i->loc, 1}));
}

static bool report_missing(Parser *p)
{
    finish_code(p);
    vec_foreach(Missing, x, &p->missing)
        diag_error(p->diags, PAWL_EXIT_UNSUPPORTED, x->loc, NULL, "the simulator has no instruction %s (used %u time%s)", x->text, x->uses,
                   x->uses == 1 ? "" : "s");
    return p->missing.n == 0;
}

PtxModule *ptx_read(Arena *a, Diags *d, const Source *text)
{
    Parser p;
    parser_init(&p, a, d, text);
    PtxModule *m = arena_new_of(a, PtxModule);
    *m = (PtxModule){.arena = a, .source = text};
    p.module = m;
    if (text->len > UINT32_MAX / 2) {
        parse_error(&p, "the text is too large");
        return NULL;
    }
    scope_open(&p);
    if (!parse_module(&p) || !report_missing(&p))
        return NULL;
    spread_shared(m);
    for (uint32_t i = 0; i < m->functions.n; i++)
        if (!m->functions.data[i]->is_extern && !flow_analyse(m, m->functions.data[i], a))
            return NULL;
    return m;
}

const PtxFunction *ptx_entry(const PtxModule *m, const char *name)
{
    const PtxFunction *found = NULL;
    for (uint32_t i = 0; i < m->functions.n; i++) {
        const PtxFunction *f = m->functions.data[i];
        if (!f->is_entry || f->is_extern || (name && strcmp(f->name, name) != 0))
            continue;
        if (found)
            return NULL;
        found = f;
    }
    return found;
}
