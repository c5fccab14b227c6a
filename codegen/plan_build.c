/* codegen/plan_build.c — groups to a plan: schedules chosen, small neighbours launched together, buffers numbered, kernels built,
 * steps written down; plan_code.c has the kernels emitted. */
#include "codegen/group.h"
#include "codegen/kind.h"
#include "codegen/memory.h"
#include "codegen/plan_code.h"

#include <ctype.h>
#include <stdlib.h>

enum { MAX_SPACE = 64, MAX_SECTIONS = 8 };

typedef struct Builder {
    Context *cx;
    DimPool *p;
    Arena *a;
    const Graph *graph;
    const CodegenOptions *o;
    Plan *plan;
    Map *buffer_of;                    /* node -> plan buffer + 1 */
    Map *names;                        /* kernel names taken */
    Map *stands_for_weight;            /* plan buffer + 1 -> 1: an input only because the plan is of one group */
    Vec(Kernel *) kernels;
} Builder;

/* ---- schedules ------------------------------------------------------------------------------------------------------------- */
static KindProblem problem_of(Context *cx, const Group *g, const CodegenOptions *o)
{
    return (KindProblem){cx, g, &o->machine, o};
}

typedef struct { Schedule s; double cost; uint32_t rank; } Ranked;

static int by_cost(const void *a, const void *b)
{
    const Ranked *x = a, *y = b;
    if (x->cost != y->cost)
        return x->cost < y->cost ? -1 : 1;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

static bool kind_allowed(const CodegenOptions *o, const char *kind)
{
    for (uint32_t i = 0; i < o->n_no_kinds; i++)
        if (!strcmp(o->no_kinds[i], kind))
            return false;
    return true;
}

/* The spaces of all kinds that accept the group. Kinds are ranked by their first schedule; within a kind its own order counts. */
Schedule *group_space(Context *cx, const Group *g, const CodegenOptions *o, Arena *a, uint32_t *n)
{
    KindProblem p = problem_of(cx, g, o);
    Ranked all[MAX_SPACE * 4];
    uint32_t total = 0;
    for (uint32_t k = 0; kernel_kinds[k]; k++) {
        const char *why = NULL;
        Schedule s[MAX_SPACE];
        if (!kind_allowed(o, kernel_kinds[k]->name) || (g->members.n && !kernel_kinds[k]->members) || !kernel_kinds[k]->accepts(&p, &why))
            continue;
        uint32_t count = kernel_kinds[k]->space(&p, s, MAX_SPACE);
        double cost = count ? kernel_kinds[k]->cost(&p, &s[0]) : 0;
        for (uint32_t i = 0; i < count && total < MAX_SPACE * 4; i++, total++)
            all[total] = (Ranked){s[i], cost, total};
    }
    qsort(all, total, sizeof *all, by_cost);
    Schedule *out = arena_new_array(a, Schedule, total ? total : 1);
    for (uint32_t i = 0; i < total; i++)
        out[i] = all[i].s;
    *n = total;
    return out;
}

double group_cost(Context *cx, const Group *g, const Schedule *s, const CodegenOptions *o)
{
    KindProblem p = problem_of(cx, g, o);
    return kind_find(s->kind)->cost(&p, s);
}

double codegen_predict(Context *cx, const Graph *g, const CodegenOptions *o)
{
    double seconds = 0;
    Groups *gs = groups_form(cx, g, o);
    for (uint32_t i = 0; i < gs->n; i++) {
        uint32_t n;
        Schedule *space = group_space(cx, gs->g[i], o, cx->scratch, &n);
        if (!n)
            return -1;
        seconds += group_cost(cx, gs->g[i], &space[0], o);
    }
    return seconds;
}

static bool choose_schedule(Builder *b, Group *g)
{
    Schedule s;
    uint32_t n;
    if (b->o->schedules.lookup && b->o->schedules.lookup(b->o->schedules.arg, g, &s) && kind_find(s.kind) && kind_allowed(b->o, s.kind)) {
        g->schedule = s;
        g->schedule_from = "tuned";
    } else {
        Schedule *space = group_space(b->cx, g, b->o, b->a, &n);
        if (!n)
            return diag_error(b->cx->diags, PAWL_EXIT_UNSUPPORTED, g->outputs.data[0].node->loc, NULL,
                              "no kernel kind takes %s", op_name(g->outputs.data[0].node->op));
        g->schedule = space[0];
        g->schedule_from = "default";
    }
    g->predicted_seconds = group_cost(b->cx, g, &g->schedule, b->o);
    return true;
}

/* ---- launches together ------------------------------------------------------------------------------------------------------ */
/* Not what needs the block numbers of a launch as they are, or most of its registers. */
static bool shares_launch(const Schedule *s)
{
    return !kind_find(s->kind)->alone && schedule_get(s, "cluster", 1) == 1 && !schedule_get(s, "hold", 0);
}

static uint32_t group_threads(Builder *b, const Group *g)
{
    const KernelKind *k = kind_find(g->schedule.kind);
    KindProblem p = problem_of(b->cx, g, b->o);
    return k->threads ? k->threads(&p, &g->schedule) : 0;
}

/* The nearest schedule of the same kind whose blocks have `threads` threads. */
static bool adapt_threads(Builder *b, Group *g, uint32_t threads)
{
    if (group_threads(b, g) == threads)
        return true;
    const KernelKind *k = kind_find(g->schedule.kind);
    KindProblem p = problem_of(b->cx, g, b->o);
    Schedule s[MAX_SPACE];
    uint32_t n = k->threads ? k->space(&p, s, MAX_SPACE) : 0;
    for (uint32_t i = 0; i < n; i++)
        if (k->threads(&p, &s[i]) == threads && shares_launch(&s[i])) {
            g->schedule = s[i];
            return true;
        }
    return false;
}

static uint32_t *group_levels(Builder *b, const Groups *gs)
{
    uint32_t *level = arena_new_array(b->a, uint32_t, gs->n + 1);
    Map *home = map_new(b->a);
    for (uint32_t i = 0; i < gs->n; i++) {
        Group *g = gs->g[i];
        for (uint32_t k = 0; k < g->inputs.n; k++) {
            uint64_t from = map_get(home, g->inputs.data[k]->id, 0);
            if (from && level[from - 1] >= level[i])
                level[i] = level[from - 1] + 1;
        }
        for (uint32_t k = 0; k < g->outputs.n; k++)
            map_set(home, g->outputs.data[k].node->id, i + 1);
    }
    return level;
}

typedef struct { Group *g; uint32_t level, rank; } Leveled;

static int by_level(const void *a, const void *b)
{
    const Leveled *x = a, *y = b;
    if (x->level != y->level)
        return x->level < y->level ? -1 : 1;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

/* What a launch costs is seen beside work of this size only; larger kernels are better off with their own registers and schedule. */
static const double small_seconds = 25e-6;

static bool may_share_launch(Builder *b, const Group *g)
{
    return g->launch == g && group_threads(b, g) && shares_launch(&g->schedule) && g->predicted_seconds <= small_seconds;
}

/* Threads that the blocks of `first` and of those that join it should have: those of the group that takes longest keep their schedule. */
static uint32_t common_threads(Builder *b, const Leveled *v, uint32_t n, Group *first)
{
    const Group *longest = first;
    for (uint32_t i = 0; i < n && v[i].level == v[0].level; i++)
        if (may_share_launch(b, v[i].g) && v[i].g->predicted_seconds > longest->predicted_seconds)
            longest = v[i].g;
    uint32_t threads = group_threads(b, longest);
    return adapt_threads(b, first, threads) ? threads : group_threads(b, first);
}

/* Groups of one level do not depend on each other. On a GPU, small kernels of one block size go into one launch. */
static void plan_launches(Builder *b, Groups *gs)
{
    uint32_t *level = group_levels(b, gs);
    Leveled *v = arena_new_array(b->a, Leveled, gs->n + 1);
    for (uint32_t i = 0; i < gs->n; i++)
        v[i] = (Leveled){gs->g[i], level[i], i};
    qsort(v, gs->n, sizeof *v, by_level);
    for (uint32_t i = 0; i < gs->n; i++)
        gs->g[i] = v[i].g;
    if (b->o->machine.target != TARGET_CUDA || !b->o->fuse)
        return;
    for (uint32_t i = 0; i < gs->n; i++) {
        Group *first = gs->g[i];
        uint32_t sections = 1;
        if (!may_share_launch(b, first))
            continue;
        uint32_t threads = common_threads(b, v + i, gs->n - i, first);
        for (uint32_t j = i + 1; j < gs->n && v[j].level == v[i].level && sections < MAX_SECTIONS; j++) {
            Group *g = gs->g[j];
            if (may_share_launch(b, g) && adapt_threads(b, g, threads)) {
                g->launch = first;
                sections++;
            }
        }
    }
}

/* ---- buffers ------------------------------------------------------------------------------------------------------------------ */
static uint32_t add_buffer(Builder *b, BufferKind kind, const char *name, const Type *t, uint32_t io)
{
    PlanBuffer f = {.kind = kind, .name = name ? str_intern(b->cx->strs, name) : NULL, .dtype = t->dtype, .rank = t->shape.rank,
                    .io = io, .offset = dim_const(b->p, 0)};
    memcpy(f.shape, t->shape.d, sizeof(Dim) * t->shape.rank);
    f.bytes = dim_mul_const(b->p, shape_count(b->p, &t->shape), dtype_bytes(t->dtype));
    vec_push(b->cx->arena, &b->plan->buffers, f);
    return b->plan->buffers.n - 1;
}

static void set_buffer(Builder *b, const Node *n, uint32_t buffer) { map_set(b->buffer_of, n->id, buffer + 1); }

static uint32_t buffer_of(void *arg, const Node *n)
{
    Builder *b = arg;
    uint64_t f = map_get(b->buffer_of, n->id, 0);
    pawl_assert(f, "%%%u %s has no buffer", n->id, op_name(n->op));
    return (uint32_t)f - 1;
}

static const char *value_name(Builder *b, const Node *n)
{
    const Attr *a = node_attr(n, ATTR_NAME);
    return a ? a->s : n->name ? n->name : arena_printf(b->cx->arena, "%s_%u", op_name(n->op), n->id);
}

static void add_weight(Builder *b, const Node *n)
{
    uint32_t f = add_buffer(b, BUF_WEIGHT, value_name(b, n), &n->type, b->plan->weights.n);
    set_buffer(b, n, f);
    PlanWeight w = weight_describe(b->cx, b->graph, n);
    w.name = b->plan->buffers.data[f].name;
    w.buffer = f;
    vec_push(b->cx->arena, &b->plan->weights, w);
}

/* Everything that groups store, then everything else that they read: weights. */
static void declare_values(Builder *b, const Groups *gs)
{
    for (uint32_t i = 0; i < gs->n; i++)
        for (uint32_t k = 0; k < gs->g[i]->outputs.n; k++) {
            const Node *n = gs->g[i]->outputs.data[k].node;
            if (!map_get(b->buffer_of, n->id, 0))
                set_buffer(b, n, add_buffer(b, BUF_WORKSPACE, value_name(b, n), &n->type, 0));
        }
    for (uint32_t i = 0; i < gs->n; i++)
        for (uint32_t k = 0; k < gs->g[i]->inputs.n; k++)
            if (!map_get(b->buffer_of, gs->g[i]->inputs.data[k]->id, 0))
                add_weight(b, gs->g[i]->inputs.data[k]);
}

/* ---- kernels -------------------------------------------------------------------------------------------------------------------- */
static const char *kernel_name(Builder *b, Group *const *members, uint32_t n)
{
    StrBuf s = strbuf_new(b->a);
    strbuf_add(&s, members[0]->schedule.kind);
    for (uint32_t i = 0; i < n && i < 4; i++) {
        strbuf_char(&s, '_');
        strbuf_add(&s, value_name(b, members[i]->outputs.data[0].node));
    }
    for (char *c = s.text; *c; c++)
        if (!isalnum((unsigned char)*c))
            *c = '_';
    Str name = str_intern(b->cx->strs, s.text);
    for (uint32_t i = 2; !map_set(b->names, (uint64_t)(uintptr_t)name, 1); i++)
        name = str_format(b->cx->strs, "%s_%u", s.text, i);
    return name;
}

typedef struct { Kernel *k; Map *slot; Vec(uint32_t) plan_buffers; Vec(uint8_t) access; } Arguments;

static uint32_t argument(Builder *b, Arguments *args, uint32_t plan_buffer, uint8_t access)
{
    uint64_t have = map_get(args->slot, plan_buffer, 0);
    if (!have) {
        const PlanBuffer *f = &b->plan->buffers.data[plan_buffer];
        Dim count = dim_floordiv(b->p, f->bytes, dim_const(b->p, dtype_bytes(f->dtype)));
        uint32_t slot = kernel_buffer(args->k, f->name, f->dtype, count, f->kind == BUF_WORKSPACE ? 256 : 16);
        args->k->buffers.data[slot].frozen = f->kind == BUF_WEIGHT || map_has(b->stands_for_weight, plan_buffer + 1);
        vec_push(b->cx->arena, &args->plan_buffers, plan_buffer);
        vec_push(b->cx->arena, &args->access, (uint8_t)0);
        have = slot + 1;
        map_set(args->slot, plan_buffer, have);
    }
    args->access.data[have - 1] |= access;
    KBuffer *kb = &args->k->buffers.data[have - 1];
    kb->read |= (access & ACCESS_READ) != 0;
    kb->written |= (access & ACCESS_WRITE) != 0;
    return (uint32_t)have - 1;
}

typedef struct { Builder *b; Arguments *args; } ScratchRequest;

static uint32_t scratch(void *arg, const char *name, DType t, Dim count, bool zeroed)
{
    ScratchRequest *r = arg;
    Builder *b = r->b;
    Type type = {.dtype = t, .shape = {.rank = 1, .d = {count}}};
    uint32_t f = add_buffer(b, BUF_WORKSPACE, name, &type, 0);
    if (zeroed) {
        Dim zero = dim_const(b->p, 0), bytes = b->plan->buffers.data[f].bytes;
        PlanStep fill = {.kind = STEP_FILL, .label = str_intern(b->cx->strs, name), .to = f, .bytes = bytes, .bytes_read = zero,
                         .bytes_written = bytes, .flops = zero};
        vec_push(b->cx->arena, &b->plan->steps, fill);
    }
    return argument(b, r->args, f, ACCESS_READ | ACCESS_WRITE);
}

/* Half-precision values that are stored beside reductions of them: a later kernel takes one from the other (x - max x), where an
 * element that was reduced in fp32 but is read back rounded shows (passes/tile_reductions.c). */
static void round_what_is_stored(Lower *l, const Group *g)
{
    Group *const *part = g->members.n ? g->members.data : (Group *const[]){(Group *)g};
    uint32_t parts = g->members.n ? g->members.n : 1;
    bool reduced = false;
    for (uint32_t k = 0; k < parts; k++)
        for (uint32_t i = 0; part[k]->reduces.n && i < part[k]->outputs.n && i < 64; i++)
            reduced |= op_class(part[k]->outputs.data[i].node->op) == CLASS_REDUCE && !(group_outputs_along(part[k]) >> i & 1);
    for (uint32_t k = 0; reduced && k < parts; k++)
        for (uint32_t i = 0; i < part[k]->outputs.n && i < 64; i++) {
            const Node *n = part[k]->outputs.data[i].node;
            while (op_class(n->op) == CLASS_MOVEMENT && n->n_in == 1)
                n = n->in[0];
            bool along = !part[k]->reduces.n || group_outputs_along(part[k]) >> i & 1;
            if (along && (n->type.dtype == DT_F16 || n->type.dtype == DT_BF16))
                lower_as_stored(l, n);
        }
}

static bool build_section(Builder *b, Arguments *args, Group *g, Dim block)
{
    ScratchRequest request = {b, args};
    KindBuild kb = {.problem = problem_of(b->cx, g, b->o), .s = &g->schedule, .k = args->k, .block = block,
                    .thread = args->k->thread, .scratch = scratch, .scratch_arg = &request};
    kb.l = lower_new(args->k, b->a);
    round_what_is_stored(kb.l, g);
    for (uint32_t i = 0; i < g->inputs.n; i++)
        lower_buffer(kb.l, g->inputs.data[i], argument(b, args, buffer_of(b, g->inputs.data[i]), ACCESS_READ));
    uint32_t *out = arena_new_array(b->a, uint32_t, g->outputs.n);
    for (uint32_t i = 0; i < g->outputs.n; i++)
        out[i] = argument(b, args, buffer_of(b, g->outputs.data[i].node), ACCESS_WRITE);
    kb.out_buffer = out;
    return kind_find(g->schedule.kind)->build(&kb);
}

static const char *head_comment(Builder *b, Group *const *m, uint32_t n)
{
    StrBuf s = strbuf_new(b->cx->arena);
    for (uint32_t i = 0; i < n; i++) {
        strbuf_add(&s, m[i]->text);
        strbuf_add(&s, "\nschedule: ");
        schedule_print(&s, &m[i]->schedule);
        strbuf_add(&s, "\nbytes: ");
        dim_print(&s, m[i]->bytes_read);
        strbuf_add(&s, " read, ");
        dim_print(&s, m[i]->bytes_written);
        strbuf_add(&s, i + 1 < n ? " written\n\n" : " written");
    }
    return s.text;
}

/* Programmatic dependent launch came with sm_90. */
static bool launches_early(const CodegenOptions *o)
{
    return o->machine.target == TARGET_CUDA && atoi(o->machine.arch + strcspn(o->machine.arch, "0123456789")) >= 90;
}

static bool rounds_to_half(NumClass c) { return c == NUM_BF16 || c == NUM_F16; }

/* Pieces of f32 numbers (passes/split_matmul.c): hi and lo are what two roundings leave, whatever the task's class. */
static bool makes_pieces(Group *const *m, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < m[i]->nodes.n; k++)
            if (m[i]->nodes.data[k]->op == OP_POW2_FLOOR)
                return true;
    return false;
}

/* The kernel's tensor maps, of the plan's buffers. */
static PlanTensorMap *step_maps(Builder *b, const Kernel *k, const Arguments *args)
{
    PlanTensorMap *maps = k->maps.n ? arena_copy(b->cx->arena, k->maps.data, k->maps.n * sizeof *maps) : NULL;
    for (uint32_t i = 0; i < k->maps.n; i++)
        maps[i].buffer = args->plan_buffers.data[maps[i].buffer];
    return maps;
}

/* Where a member's section says itself when it waits, all sections must. */
static bool some_wait(Group *const *m, uint32_t n)
{
    bool some = false;
    for (uint32_t i = 0; i < n; i++)
        some |= kind_find(m[i]->schedule.kind)->waits;
    return some;
}

/* One kernel for the members: each has its own range of blocks. */
static bool build_launch(Builder *b, Group *const *m, uint32_t n)
{
    Plan *plan = b->plan;
    Arena *arena = b->cx->arena;
    uint32_t threads = group_threads(b, m[0]);
    Arguments args = {.slot = map_new(b->a)};
    Kernel *k = args.k = kernel_new(b->cx, arena, kernel_name(b, m, n), b->o->machine.target == TARGET_CPU, threads);
    Dim grid[MAX_SECTIONS], total = dim_const(b->p, 0);
    for (uint32_t i = 0; i < n; i++) {
        KindProblem p = problem_of(b->cx, m[i], b->o);
        grid[i] = kind_find(m[i]->schedule.kind)->grid(&p, &m[i]->schedule);
        total = dim_add(b->p, total, grid[i]);
    }
    k->waits = launches_early(b->o);
    k->approximate = rounds_to_half(b->o->numerics.otherwise) && !makes_pieces(m, n);
    kernel_grid(k, total, dim_const(b->p, 1), dim_const(b->p, 1));
    k->kind = str_intern(b->cx->strs, m[0]->schedule.kind);
    k->head = str_intern(b->cx->strs, head_comment(b, m, n));
    StrBuf schedule = strbuf_new(arena), text = strbuf_new(arena);
    Dim start = dim_const(b->p, 0);
    KInst *branch[MAX_SECTIONS];
    PlanStep step = {.kind = STEP_LAUNCH, .label = k->name, .bytes_read = start, .bytes_written = start, .flops = start};
    for (uint32_t i = 0; i < n; i++) {
        Dim block = k->block[0], end = dim_add(b->p, start, grid[i]);
        if (n > 1) {
            branch[i] = i + 1 < n ? k_if(k, k_test(k, k->block[0], end, 1)) : NULL;
            if (i)
                block = k_bind(k, k_index(k, dim_sub(b->p, k->block[0], start), DT_I64, 1), "part", 0,
                               grid[i]->hi == INT64_MAX ? INT64_MAX : grid[i]->hi > 0 ? grid[i]->hi - 1 : 0);
        }
        if (some_wait(m, n) && !kind_find(m[i]->schedule.kind)->waits) {
            k_wait(k);
            k_launch_next(k);
        }
        if (!build_section(b, &args, m[i], block))
            return false;
        if (n > 1 && i + 1 < n)
            k_else(k, branch[i], NULL, 0);
        start = end;
        strbuf_add(&schedule, i ? "; " : "");
        schedule_print(&schedule, &m[i]->schedule);
        strbuf_printf(&text, "%s%s", i ? "\n" : "", m[i]->text);
        step.bytes_read = dim_add(b->p, step.bytes_read, m[i]->bytes_read);
        step.bytes_written = dim_add(b->p, step.bytes_written, m[i]->bytes_written);
        step.flops = dim_add(b->p, step.flops, m[i]->flops);
    }
    for (uint32_t i = n - 1; i-- > 0; )
        k_if_end(k, branch[i], NULL, 0);
    k->schedule = str_intern(b->cx->strs, schedule.text);
    kernel_collect_scalars(k);
    if (!kernel_verify(k, b->cx->diags))
        return false;
    vec_push(b->a, &b->kernels, k);

    PlanKernel pk = {.name = k->name, .n_buffers = k->buffers.n, .n_scalars = k->scalars.n, .n_maps = k->maps.n,
                     .cluster = k->cluster, .access = args.access.data, .shared_bytes = kernel_shared_bytes(k),
                     .block = {threads, 1, 1}, .waits = k->waits, .kind = k->kind, .schedule = k->schedule,
                     .group = str_intern(b->cx->strs, text.text)};
    vec_push(arena, &plan->kernels, pk);
    step.kernel = plan->kernels.n - 1;
    step.grid[0] = total;
    step.grid[1] = step.grid[2] = dim_const(b->p, 1);
    step.buffers = args.plan_buffers.data;
    step.scalars = k->scalars.data;
    step.maps = step_maps(b, k, &args);
    vec_push(arena, &plan->steps, step);
    return true;
}

/* What a group does with its product, as a group of its own that reads the product from memory. */
static Group *behind_product(Builder *b, const Group *g)
{
    DimPool *p = b->p;
    Group *rest = arena_new_of(b->cx->arena, Group);
    *rest = *g;
    rest->matmul = NULL;
    rest->launch = rest;
    memset(&rest->inputs, 0, sizeof rest->inputs);
    memset(&rest->nodes, 0, sizeof rest->nodes);
    memset(&rest->outputs, 0, sizeof rest->outputs);
    for (uint32_t i = 0; i < g->outputs.n; i++)
        if (g->outputs.data[i].node != g->matmul)                 /* that one is there already */
            vec_push(b->cx->arena, &rest->outputs, g->outputs.data[i]);
    const Node *product = g->matmul;
    const Index *at;                              /* operands of the product alone have no place where the rest reads them */
    for (uint32_t i = 0; i < g->nodes.n; i++)
        if (g->nodes.data[i] != product && group_places(b->cx, g, g->nodes.data[i], &at))
            vec_push(b->cx->arena, &rest->nodes, g->nodes.data[i]);
    vec_push(b->cx->arena, &rest->inputs, g->matmul);
    for (uint32_t i = 0; i < g->inputs.n; i++)
        if (group_places(b->cx, g, g->inputs.data[i], &at))
            vec_push(b->cx->arena, &rest->inputs, g->inputs.data[i]);
    rest->bytes_read = rest->flops = dim_const(p, 0);
    for (uint32_t i = 0; i < rest->inputs.n; i++) {
        const Type *t = &rest->inputs.data[i]->type;
        rest->bytes_read = dim_add(p, rest->bytes_read, dim_mul_const(p, shape_count(p, &t->shape), dtype_bytes(t->dtype)));
    }
    rest->text = arena_printf(b->cx->arena, "behind the product %%%s:\n%s", value_name(b, product), g->text);
    return rest;
}

/* As many of the groups, in their order, as go into one launch with the first. */
static uint32_t launched_together(Builder *b, Group *const *g, uint32_t n)
{
    uint32_t count = 1, threads = group_threads(b, g[0]);
    while (count < n && count < MAX_SECTIONS && shares_launch(&g[0]->schedule) && shares_launch(&g[count]->schedule) && adapt_threads(b, g[count], threads))
        count++;
    return count;
}

static bool build_behind(Builder *b, const Group *g, Group *const *rest, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t count;
        Schedule *space = group_space(b->cx, rest[i], b->o, b->a, &count);
        if (!count)
            return diag_error(b->cx->diags, PAWL_EXIT_UNSUPPORTED, g->outputs.data[0].node->loc, NULL,
                              "no kernel kind takes what stands behind the product %%%s", value_name(b, g->matmul));
        rest[i]->schedule = space[0];
    }
    for (uint32_t i = 0, count; i < n; i += count) {
        count = launched_together(b, rest + i, n - i);
        if (!build_launch(b, rest + i, count))
            return false;
    }
    return true;
}

static bool build_call(Builder *b, Group *g)
{
    KindProblem p = problem_of(b->cx, g, b->o);
    LibraryEpilogue e;
    bool whole = library_epilogue(b->cx, g, &e);
    if (!whole && !map_get(b->buffer_of, g->matmul->id, 0))
        set_buffer(b, g->matmul, add_buffer(b, BUF_WORKSPACE, value_name(b, g->matmul), &g->matmul->type, 0));
    PlanStep step = {.kind = STEP_MATMUL, .label = str_intern(b->cx->strs, value_name(b, g->outputs.data[0].node)),
                     .bytes_read = g->bytes_read, .bytes_written = g->bytes_written, .flops = g->flops};
    if (!kind_find(g->schedule.kind)->call(&p, &g->schedule, &step.matmul, buffer_of, b))
        return false;
    if (whole) {
        vec_push(b->cx->arena, &b->plan->steps, step);
        return true;
    }
    Group **rest = arena_new_array(b->a, Group *, g->members.n + 1);
    uint32_t n = g->members.n ? g->members.n : 1;
    Dim product = dim_mul_const(b->p, shape_count(b->p, &g->matmul->type.shape), dtype_bytes(g->matmul->type.dtype)), others = dim_const(b->p, 0);
    for (uint32_t i = 0; i < n; i++) {
        rest[i] = behind_product(b, g->members.n ? g->members.data[i] : g);
        others = dim_add(b->p, others, dim_sub(b->p, rest[i]->bytes_read, product));
    }
    step.bytes_read = dim_sub(b->p, g->bytes_read, others);
    step.bytes_written = product;
    vec_push(b->cx->arena, &b->plan->steps, step);
    return build_behind(b, g, rest, n);
}

static bool build_steps(Builder *b, Groups *gs)
{
    for (uint32_t i = 0; i < gs->n; i++) {
        Group *g = gs->g[i];
        if (g->launch != g)
            continue;
        if (kind_find(g->schedule.kind)->call) {
            if (!build_call(b, g))
                return false;
            continue;
        }
        Group *members[MAX_SECTIONS] = {g};
        uint32_t n = 1;
        for (uint32_t j = i + 1; j < gs->n; j++)
            if (gs->g[j]->launch == g)
                members[n++] = gs->g[j];
        if (!build_launch(b, members, n))
            return false;
    }
    return true;
}

/* ---- lifetimes --------------------------------------------------------------------------------------------------------------- */
static void plan_memory(Builder *b)
{
    Plan *plan = b->plan;
    uint32_t *first = arena_new_array(b->a, uint32_t, plan->buffers.n + 1), *last = arena_new_array(b->a, uint32_t, plan->buffers.n + 1);
    for (uint32_t f = 0; f < plan->buffers.n; f++)
        first[f] = UINT32_MAX;
    for (uint32_t i = 0; i < plan->steps.n; i++)
        for (uint32_t f = 0; f < plan->buffers.n; f++) {
            bool known;
            if (plan->buffers.data[f].kind != BUF_WORKSPACE || !step_access(plan, &plan->steps.data[i], f, &known))
                continue;
            first[f] = i < first[f] ? i : first[f];
            last[f] = i;
        }
    memory_plan(b->cx, plan, first, last);
}

static void collect_symbols(Builder *b, Dim d)
{
    if (d->kind == DIM_SYM) {
        for (uint32_t i = 0; i < b->plan->symbols.n; i++)
            if (b->plan->symbols.data[i].name == d->name)
                return;
        vec_push(b->cx->arena, &b->plan->symbols, ((PlanSymbol){d->name, d->lo, d->hi}));
    } else if (d->kind == DIM_SUM) {
        for (uint32_t i = 0; i < d->n_terms; i++)
            for (uint32_t k = 0; k < d->terms[i].n_atoms; k++)
                collect_symbols(b, d->terms[i].atoms[k]);
    } else if (d->kind != DIM_CONST) {
        collect_symbols(b, d->a);
        collect_symbols(b, d->b);
    }
}

static Builder *builder_new(Context *cx, const Graph *g, const CodegenOptions *o)
{
    Builder *b = arena_new_of(cx->scratch, Builder);
    b->cx = cx, b->p = cx->dims, b->a = cx->scratch, b->graph = g, b->o = o;
    b->plan = arena_new_of(cx->arena, Plan);
    b->buffer_of = map_new(b->a);
    b->names = map_new(b->a);
    b->stands_for_weight = map_new(b->a);
    Plan *p = b->plan;
    p->name = g->name;
    p->target = o->machine.target;
    p->arch = o->machine.arch;
    p->n_ranks = 1;
    p->alignment = 16;
    return b;
}

static void input_buffer(Builder *b, const Node *n, const char *name)
{
    uint32_t f = add_buffer(b, BUF_INPUT, name, &n->type, b->plan->n_inputs++);
    set_buffer(b, n, f);
    for (uint32_t d = 0; d < node_rank(n); d++)
        collect_symbols(b, n->type.shape.d[d]);
}

static Plan *finish(Builder *b, Groups *gs)
{
    if (b->o->schedules.begin)
        b->o->schedules.begin(b->o->schedules.arg, gs);
    for (uint32_t i = 0; i < gs->n; i++)
        if (!choose_schedule(b, gs->g[i]))
            return NULL;
    plan_launches(b, gs);
    declare_values(b, gs);
    if (!build_steps(b, gs))
        return NULL;
    return b->plan;
}

static Plan *seal(Builder *b)
{
    plan_memory(b);
    if (!plan_emit(b->cx, b->plan, b->kernels.data, b->kernels.n, b->o) || !plan_verify(b->plan, b->cx->diags))
        return NULL;
    return b->plan;
}

Plan *codegen_plan(Context *cx, const Graph *g, Groups *gs, const CodegenOptions *o)
{
    Builder *b = builder_new(cx, g, o);
    Plan *plan = b->plan;
    gs = gs ? gs : groups_form(cx, g, o);
    for (uint32_t i = 0; i < g->inputs.n; i++)
        if (g->inputs.data[i].node->op == OP_INPUT)
            input_buffer(b, g->inputs.data[i].node, g->inputs.data[i].name);
    Map *stored = map_new(b->a);
    for (uint32_t i = 0; i < gs->n; i++)
        for (uint32_t k = 0; k < gs->g[i]->outputs.n; k++)
            map_set(stored, gs->g[i]->outputs.data[k].node->id, 1);
    /* an output that is an input, a weight or another output is copied there at the end */
    typedef struct { Node *from; uint32_t to; } Copy;
    Vec(Copy) copies = {0};
    for (uint32_t i = 0; i < g->outputs.n; i++) {
        Node *n = graph_resolve(g, g->outputs.data[i].node);
        uint32_t f = add_buffer(b, BUF_OUTPUT, g->outputs.data[i].name, &n->type, plan->n_outputs++);
        if (map_get(b->buffer_of, n->id, 0) || !map_has(stored, n->id))
            vec_push(b->a, &copies, ((Copy){n, f}));
        else
            set_buffer(b, n, f);
    }
    if (!finish(b, gs))
        return NULL;
    for (uint32_t i = 0; i < copies.n; i++) {
        Node *n = copies.data[i].from;
        if (!map_get(b->buffer_of, n->id, 0))
            add_weight(b, n);
        uint32_t to = copies.data[i].to;
        Dim zero = dim_const(b->p, 0), bytes = plan->buffers.data[to].bytes;
        PlanStep s = {.kind = STEP_COPY, .label = plan->buffers.data[to].name, .from = buffer_of(b, n), .to = to, .bytes = bytes,
                      .bytes_read = bytes, .bytes_written = bytes, .flops = zero};
        vec_push(cx->arena, &plan->steps, s);
    }
    return seal(b);
}

Plan *group_plan(Context *cx, const Graph *g, const Group *group, const Schedule *s, const CodegenOptions *o)
{
    Builder *b = builder_new(cx, g, o);
    Group *own = arena_copy(cx->arena, group, sizeof *group);
    own->schedule = *s;
    own->schedule_from = "forced";
    own->launch = own;
    const bool *frozen = graph_frozen(g, b->a);
    for (uint32_t i = 0; i < own->inputs.n; i++) {
        input_buffer(b, own->inputs.data[i], arena_printf(cx->arena, "in%u", i));
        if (frozen[own->inputs.data[i]->id])
            map_set(b->stands_for_weight, buffer_of(b, own->inputs.data[i]) + 1, 1);
    }
    for (uint32_t i = 0; i < own->outputs.n; i++) {
        Node *n = own->outputs.data[i].node;
        set_buffer(b, n, add_buffer(b, BUF_OUTPUT, arena_printf(cx->arena, "out%u", i), &n->type, b->plan->n_outputs++));
    }
    if (!kind_find(s->kind)) {
        diag_error(cx->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "no kernel kind is called '%s'", s->kind);
        return NULL;
    }
    Groups one = {&own, 1};
    if (!build_steps(b, &one))
        return NULL;
    return seal(b);
}
