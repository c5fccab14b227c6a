/* ir/identity.c — identity testing over residues: shapes, trials, verdict. */
#include "ir/identity.h"
#include "base/file.h"
#include <stdio.h>
#include <string.h>

enum { OFTEN_ENOUGH = 8, MAX_SYMBOLS = 32 };
static const int64_t sizes[] = {2, 3, 5, 7};
#define N_SIZES (sizeof sizes / sizeof *sizes)

/* One side at one shape. */
typedef struct {
    Graph *own;                            /* specialised; NULL: there were no symbols */
    const Graph *g;
    Tensor **inputs;
    Node **decides; uint32_t n_decides;
} Side;

typedef struct {
    const IdentityOptions *o;
    Arena *arena;
    IdentityReport *r;
    uint64_t *agreed, *looked;             /* by output */
    Vec(IdentityGuard) tally[2];           /* comparisons of each side, in order */
    DimValue *dims; uint32_t n_dims;
} Compare;

/* ---- symbols and shapes -------------------------------------------------------------------------------------------------- */
typedef struct { Dim sym[MAX_SYMBOLS]; uint32_t n; } Symbols;

static void add_symbols(Symbols *s, Dim d)
{
    switch (d->kind) {
    case DIM_CONST:
        return;
    case DIM_SYM:
        for (uint32_t i = 0; i < s->n; i++)
            if (s->sym[i]->name == d->name)
                return;
        if (s->n < MAX_SYMBOLS)
            s->sym[s->n++] = d;
        return;
    case DIM_SUM:
        for (uint32_t i = 0; i < d->n_terms; i++)
            for (uint32_t k = 0; k < d->terms[i].n_atoms; k++)
                add_symbols(s, d->terms[i].atoms[k]);
        return;
    case DIM_FLOORDIV: case DIM_MOD: case DIM_MIN: case DIM_MAX:
        add_symbols(s, d->a);
        add_symbols(s, d->b);
        return;
    }
}

static void graph_symbols(Symbols *s, const Graph *g)
{
    for (uint32_t i = 0; i < g->inputs.n; i++)
        for (uint32_t k = 0; k < node_rank(g->inputs.data[i].node); k++)
            add_symbols(s, g->inputs.data[i].node->type.shape.d[k]);
}

static int64_t within(Dim sym, int64_t v) { return v < sym->lo ? sym->lo + v - sizes[0] : v > sym->hi ? sym->hi : v; }

/* The graph at these sizes, quietly; NULL: it does not take them. */
static Graph *specialised(const Graph *g, const DimValue *v, uint32_t n)
{
    Diags *diags = g->cx->diags;
    Arena *scratch = arena_new();
    g->cx->diags = diags_new(scratch);
    Graph *out = graph_specialise(g, v, n);
    g->cx->diags = diags;
    arena_free(scratch);
    return out;
}

/* ---- inputs -------------------------------------------------------------------------------------------------------------- */
static Tensor *new_tensor(const Node *n, Arena *a)
{
    int64_t dims[MAX_RANK];
    for (uint32_t k = 0; k < node_rank(n); k++)
        dims[k] = n->type.shape.d[k]->value;
    return tensor_new(a, n->type.dtype, (int)node_rank(n), dims);
}

static void draw_integers(const GraphInput *in, Tensor *t, uint64_t seed)
{
    if (dtype_is_float(t->dtype))
        return;
    Dist dist = {DIST_RANDINT, 0, 2};
    if (in->live_hi > in->live_lo)
        dist = (Dist){DIST_RANDINT, (double)in->live_lo, (double)in->live_hi};
    else if (in->dist_stated)
        dist = in->dist;
    philox_fill(t->dtype, t->data, 0, tensor_count(t), philox_key(seed, in->name), dist);
}

static int32_t input_named(const Graph *g, Str name)
{
    for (uint32_t i = 0; i < g->inputs.n; i++)
        if (strcmp(g->inputs.data[i].name, name) == 0)
            return (int32_t)i;
    return -1;
}

static bool same_dims(const Node *x, const Node *y)
{
    bool same = node_rank(x) == node_rank(y);
    for (uint32_t i = 0; same && i < node_rank(x); i++)
        same = x->type.shape.d[i]->value == y->type.shape.d[i]->value;
    return same;
}

static bool side_inputs(Side *s, const Side *like, const IdentityOptions *o, Arena *a)
{
    s->inputs = arena_new_array(a, Tensor *, s->g->inputs.n + 1);
    for (uint32_t i = 0; i < s->g->inputs.n; i++) {
        const GraphInput *in = &s->g->inputs.data[i];
        int32_t k = like ? input_named(like->g, in->name) : -1;
        if (k >= 0 && (!same_dims(in->node, like->g->inputs.data[k].node) || in->node->type.dtype != like->g->inputs.data[k].node->type.dtype))
            return diag_error(like->g->cx->diags, PAWL_EXIT_INVALID, in->node->loc, NULL, "input '%s' has another type in the other graph", in->name);
        s->inputs[i] = k >= 0 ? like->inputs[k] : o->inputs && !like && !s->own ? o->inputs[i] : new_tensor(in->node, a);
    }
    return true;
}

static void redraw(const Side *s, const IdentityOptions *o, uint64_t seed)
{
    for (uint32_t i = 0; i < s->g->inputs.n; i++)
        if (!o->inputs || s->inputs[i] != o->inputs[i])
            draw_integers(&s->g->inputs.data[i], s->inputs[i], seed);
}

/* ---- one shape ------------------------------------------------------------------------------------------------------------ */
static void find_decisions(Compare *c, Side *s, uint32_t which, Arena *a)
{
    uint32_t n;
    Node **order = graph_order(s->g, a, &n);
    s->decides = order;
    for (uint32_t i = 0; i < n; i++)
        if (residue_domain_decides(order[i]))
            s->decides[s->n_decides++] = order[i];
    for (uint32_t i = c->tally[which].n; i < s->n_decides; i++) {
        const Node *d = s->decides[i];
        vec_push(c->arena, &c->tally[which], ((IdentityGuard){.in_b = which, .op = d->op, .name = d->name, .loc = d->loc}));
    }
}

static void add_decisions(Compare *c, const Side *s, uint32_t which, const ResidueDomain *d)
{
    for (uint32_t i = 0; i < s->n_decides; i++) {
        Decisions *x = &d->decisions[s->decides[i]->id];
        c->tally[which].data[i].is_true += atomic_load(&x->is_true);
        c->tally[which].data[i].is_false += atomic_load(&x->is_false);
    }
    c->r->ties += atomic_load(&d->ties);
}

static int64_t count_of(const Node *n)
{
    int64_t count = 1;
    for (uint32_t i = 0; i < node_rank(n); i++)
        count *= n->type.shape.d[i]->value;
    return count;
}

static void look(Compare *c, uint32_t k, const Node *n, const Value *a, const Value *b, uint32_t pair, uint32_t trial)
{
    DType t = n->type.dtype;
    for (int64_t i = 0, count = count_of(n); i < count; i++) {
        ResidueVerdict v = value_compare(t, a[i], b[i]);
        c->looked[k]++;
        c->agreed[k] += v == RESIDUE_EQUAL;
        if (v == RESIDUE_DIFFERENT && !c->r->different++) {
            c->r->witness = (IdentityWitness){k, trial, pair, i, dtype_is_float(t), a[i], b[i], NULL, c->n_dims};
            c->r->witness.dims = c->n_dims ? arena_copy(c->arena, c->dims, c->n_dims * sizeof *c->dims) : NULL;
        }
    }
}

static void try_once(Compare *c, const Side *a, const Side *b, const ResidueField *f, uint32_t pair, uint32_t trial, uint64_t seed)
{
    Arena *scratch = arena_new();
    redraw(a, c->o, seed);
    ResidueDomain *da = residue_domain_new(a->g, f, a->inputs, seed, scratch), *db = da;
    Evaluator *ea = eval_new(a->g, &da->domain, a->inputs, scratch), *eb = ea;
    if (b != a) {
        if (a->g != b->g)
            redraw(b, c->o, seed);
        db = residue_domain_new(b->g, f, b->inputs, seed, scratch);
        eb = eval_new(b->g, &db->domain, b->inputs, scratch);
    }
    for (uint32_t k = 0; k < c->r->n; k++)
        look(c, k, a->g->outputs.data[k].node, eval_all(ea, k), eval_all(eb, c->o->first_b + k), pair, trial);
    add_decisions(c, a, 0, da);
    if (b != a)
        add_decisions(c, b, 1, db);
    c->r->trials++;
    arena_free(scratch);
}

static bool outputs_fit(const Compare *c, const Side *a, const Side *b)
{
    for (uint32_t k = 0; k < c->r->n; k++) {
        const Node *x = a->g->outputs.data[k].node, *y = b->g->outputs.data[c->o->first_b + k].node;
        if (!same_dims(x, y) || dtype_is_float(x->type.dtype) != dtype_is_float(y->type.dtype))
            return diag_error(a->g->cx->diags, PAWL_EXIT_INVALID, y->loc, NULL, "output '%s' has another type in the other graph",
                              a->g->outputs.data[k].name);
    }
    return true;
}

static uint32_t trials_of(const Compare *c, const Side *a, const Side *b, uint32_t shapes, uint32_t pairs)
{
    double work = c->o->work > 0 ? c->o->work : 2e8, one = eval_flops(a->g) + (a == b ? 0 : eval_flops(b->g)) + 1;
    double most = work / one / shapes / pairs;
    uint32_t want = c->o->trials ? c->o->trials : 32;
    return most < 1 ? 1 : most < want ? (uint32_t)most : want;
}

static bool try_shape(Compare *c, Side *a, Side *b, ResidueField *const *f, uint32_t shape, uint32_t shapes, uint32_t pairs, Arena *scratch)
{
    if (!side_inputs(a, NULL, c->o, scratch) || (b != a && !side_inputs(b, a, c->o, scratch)) || !outputs_fit(c, a, b))
        return false;
    find_decisions(c, a, 0, scratch);
    if (b != a)
        find_decisions(c, b, 1, scratch);
    uint32_t trials = trials_of(c, a, b, shapes, pairs);
    for (uint32_t p = 0; p < pairs; p++)
        for (uint32_t t = 0; t < trials; t++)
            try_once(c, a, b, f[p], p, t, c->o->seed * 1000003 + shape * 1009 + t + 1);
    return true;
}

/* ---- all shapes ------------------------------------------------------------------------------------------------------------- */
static bool at_shape(Compare *c, const Graph *ga, const Graph *gb, const Symbols *s, ResidueField *const *f, uint32_t shape, uint32_t shapes,
                     uint32_t pairs, bool *taken)
{
    DimValue dims[MAX_SYMBOLS];
    for (uint32_t i = 0; i < s->n; i++)
        dims[i] = (DimValue){s->sym[i]->name, within(s->sym[i], sizes[(i + shape) % N_SIZES])};
    Side a = {.g = ga}, b = {.g = gb};
    if (s->n) {
        a.g = a.own = specialised(ga, dims, s->n);
        b.g = b.own = ga == gb ? a.own : specialised(gb, dims, s->n);
    }
    bool ok = true;
    if (a.g && b.g) {
        Arena *scratch = arena_new();
        *taken = true;
        c->dims = dims;
        c->n_dims = s->n;
        ok = try_shape(c, &a, ga == gb ? &a : &b, f, shape, shapes, pairs, scratch);
        arena_free(scratch);
    }
    if (b.own && b.own != a.own)
        graph_free(b.own);
    if (a.own)
        graph_free(a.own);
    return ok;
}

static void conclude(Compare *c)
{
    IdentityReport *r = c->r;
    double least = c->o->min_coverage > 0 ? c->o->min_coverage : 0.3;
    r->least_coverage = 1;
    for (uint32_t k = 0; k < r->n; k++) {
        r->elements += c->looked[k];
        r->coverage[k] = c->looked[k] ? (double)c->agreed[k] / (double)c->looked[k] : 1;
        r->least_coverage = r->coverage[k] < r->least_coverage ? r->coverage[k] : r->least_coverage;
    }
    r->verdict = r->different ? IDENTITY_DIFFERENT : r->least_coverage < least ? IDENTITY_UNDEFINED : IDENTITY_EQUAL;
    r->guards = arena_new_array(c->arena, IdentityGuard, c->tally[0].n + c->tally[1].n + 1);
    for (uint32_t side = 0; side < 2; side++)
        for (uint32_t i = 0; i < c->tally[side].n; i++) {
            const IdentityGuard *g = &c->tally[side].data[i];
            if (g->is_true < OFTEN_ENOUGH || g->is_false < OFTEN_ENOUGH)
                r->guards[r->n_guards++] = *g;
        }
}

bool residue_compare_graphs(const Graph *a, const Graph *b, const IdentityOptions *o, Arena *arena, IdentityReport *r)
{
    double start = clock_seconds();
    IdentityOptions none = {0};
    o = o ? o : &none;
    *r = (IdentityReport){.n = o->n ? o->n : a->outputs.n};
    if (r->n > a->outputs.n || o->first_b + r->n > b->outputs.n)
        return diag_error(a->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "the graphs have %u and %u outputs", a->outputs.n, b->outputs.n);
    r->coverage = arena_new_array(arena, double, r->n + 1);
    Compare c = {.o = o, .arena = arena, .r = r, .agreed = arena_new_array(arena, uint64_t, r->n + 1), .looked = arena_new_array(arena, uint64_t, r->n + 1)};
    Symbols symbols = {.n = 0};
    graph_symbols(&symbols, a);
    graph_symbols(&symbols, b);
    Arena *tables = arena_new();
    ResidueField *f[RESIDUE_PAIRS];
    uint32_t pairs = o->pairs && o->pairs < RESIDUE_PAIRS ? o->pairs : RESIDUE_PAIRS, shapes = symbols.n ? o->shapes ? o->shapes : 4 : 1;
    for (uint32_t i = 0; i < pairs; i++)
        f[i] = residue_field_new(i, o->seed + 1, tables);
    bool ok = true, taken = false;
    for (uint32_t s = 0; ok && s < shapes; s++)
        ok = at_shape(&c, a, b, &symbols, f, s, shapes, pairs, &taken);
    arena_free(tables);
    if (ok && !taken)
        return diag_error(a->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "no small shape fits both graphs");
    if (ok)
        conclude(&c);
    r->seconds = clock_seconds() - start;
    return ok;
}

/* ---- text -------------------------------------------------------------------------------------------------------------------- */
static void add_witness(StrBuf *b, const IdentityReport *r)
{
    const IdentityWitness *w = &r->witness;
    if (w->is_float)
        strbuf_printf(b, ": output %u[%lld] is %.9g and %.9g", w->output, (long long)w->at, w->a.v, w->b.v);
    else
        strbuf_printf(b, ": output %u[%lld] is %lld and %lld", w->output, (long long)w->at, (long long)w->a.i, (long long)w->b.i);
    for (uint32_t i = 0; i < w->n_dims; i++)
        strbuf_printf(b, "%s%s=%lld", i ? ", " : " at ", w->dims[i].name, (long long)w->dims[i].value);
    strbuf_printf(b, "; %llu of %llu elements differ", (unsigned long long)r->different, (unsigned long long)r->elements);
}

char *identity_text(Arena *a, const IdentityReport *r)
{
    static const char *const names[] = {"equal", "different", "undefined"};
    StrBuf b = strbuf_new(a);
    strbuf_add(&b, names[r->verdict]);
    if (r->verdict == IDENTITY_DIFFERENT)
        add_witness(&b, r);
    else
        strbuf_printf(&b, ": %.0f %% of %llu elements compared, %llu trials", 100 * r->least_coverage, (unsigned long long)r->elements,
                    (unsigned long long)r->trials);
    for (uint32_t i = 0; i < r->n_guards; i++) {
        const IdentityGuard *g = &r->guards[i];
        uint32_t line = 0, col = 0;
        if (g->loc.source)
            loc_line_col(g->loc, &line, &col);
        strbuf_printf(&b, "\nrange guard: %s%s%s of the %s graph", op_name(g->op), g->name ? " " : "", g->name ? g->name : "", g->in_b ? "second" : "first");
        if (line)
            strbuf_printf(&b, " (line %u)", line);
        strbuf_printf(&b, " was %s %llu times, %s %llu times", g->op == OP_MAXIMUM || g->op == OP_MINIMUM ? "the first operand" : "true",
                    (unsigned long long)g->is_true, g->op == OP_MAXIMUM || g->op == OP_MINIMUM ? "the second" : "false", (unsigned long long)g->is_false);
    }
    return b.text;
}
