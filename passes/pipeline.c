/* passes/pipeline.c — the driver, and the one place that lists the passes in their order.
 *
 * Between passes the forwards are applied and dead nodes dropped, so every pass starts from a clean graph. Each run of a pass
 * is timed, printed on request and verified; --no-pass=NAME switches it off. */
#include "passes/pass.h"
#include "base/file.h"
#include "passes/rules/rule.h"
#include <string.h>

#define MAX_ROUNDS 8    /* of the fixpoint; three do for every task so far, and stopping early is sound */

typedef struct { const char *name; bool (*run)(PassContext *); } Pass;

static const Pass dead_code    = {"dead_code", pass_dead_code};
static const Pass canonicalise = {"canonicalise", pass_canonicalise};
static const Pass fold         = {"fold", pass_fold};
static const Pass rules        = {"rules", pass_rules};
static const Pass choices      = {"choices", pass_choices};
static const Pass fold_norm    = {"fold_norm", pass_fold_norm};
static const Pass split_matmul = {"split_matmul", pass_split_matmul};
static const Pass tile_reductions = {"tile_reductions", pass_tile_reductions};
static const Pass split_k      = {"split_k", pass_split_k};

const char *const *pipeline_pass_names(uint32_t *n)
{
    static const char *const names[] = {"dead_code", "canonicalise", "fold", "rules", "choices", "fold_norm", "split_matmul",
                                        "tile_reductions", "split_k"};

    *n = sizeof names / sizeof names[0];
    return names;
}

static bool listed(const char *const *names, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static bool dump(const PassContext *cx, const char *name)
{
    const PassOptions *o = cx->opt;
    bool to_stream = o->dump_after && o->dump &&
                     (strcmp(o->dump_after, "all") == 0 || strcmp(o->dump_after, name) == 0);
    if (!to_stream && !o->dump_dir)
        return true;
    char *text = graph_text(cx->scratch, cx->graph);
    if (to_stream)
        fprintf(o->dump, "# after %s\n%s", name, text);
    if (!o->dump_dir)
        return true;
    char *path = arena_printf(cx->scratch, "%s/%02u-%s.graph", o->dump_dir, cx->report->passes.n, name);
    return file_write(cx->cx->diags, path, text, strlen(text));
}

static void verify(const PassContext *cx, const char *name)
{
    if (cx->opt->verify && !graph_verify(cx->graph, cx->cx->diags)) {
        diags_print(cx->cx->diags, stderr, false);
        pawl_assert(false, "the graph does not verify after the pass %s:\n%s", name,
                    graph_text(cx->scratch, cx->graph));
    }
}

/* True when the pass changed the graph. */
static bool run_pass(PassContext *cx, const Pass *p)
{
    if (listed(cx->opt->disabled, cx->opt->n_disabled, p->name))
        return false;
    ArenaMark mark = arena_mark(cx->scratch);
    PassStat s = {.pass = p->name, .nodes_before = cx->graph->nodes.n};
    double start = clock_seconds();

    s.changed = p->run(cx);
    s.changed |= graph_rebuild(cx->graph);
    s.changed |= graph_compact(cx->graph);
    s.seconds = clock_seconds() - start;
    s.nodes_after = cx->graph->nodes.n;
    vec_push(cx->cx->arena, &cx->report->passes, s);
    verify(cx, p->name);
    dump(cx, p->name);
    arena_reset(cx->scratch, mark);
    return s.changed;
}

void pass_stop(PassContext *cx, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    const char *text = arena_vprintf(cx->cx->arena, fmt, args);
    va_end(args);
    vec_push(cx->cx->arena, &cx->report->warnings, text);
    cx->stopped = true;
}

static void simplify(PassContext *cx)
{
    bool changed = true;

    for (cx->round = 0; changed && !cx->stopped; cx->round++) {
        if (cx->round == MAX_ROUNDS) {
            pass_stop(cx, "stopped after %d rounds of canonicalise, fold and rules, in the last of which the graph still changed",
                      MAX_ROUNDS);
            return;
        }
        changed = run_pass(cx, &canonicalise);
        changed |= run_pass(cx, &fold);
        changed |= run_pass(cx, &rules);
    }
}

static bool check_names(const PassContext *cx)
{
    uint32_t n;
    const char *const *names = pipeline_pass_names(&n);
    Diags *d = cx->cx->diags;
    const PassOptions *o = cx->opt;

    for (uint32_t i = 0; i < o->n_disabled; i++)
        if (!listed(names, n, o->disabled[i])) {
            const char *near = str_nearest(o->disabled[i], names, n);
            return diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, near ? near : "pawl opt --list-passes names them",
                              "there is no pass '%s'", o->disabled[i]);
        }
    return rules_check_names(cx->rules, o->disabled_rules, o->n_disabled_rules, d);
}

static const RuleSet *choose_rules(PassContext *cx)
{
    return cx->opt->rules_dir ? rules_load(cx->cx, cx->opt->rules_dir) : rules_generated(cx->cx->arena);
}

bool pipeline_run(Graph *g, const PassOptions *opt, PassReport *report)
{
    PassReport unwanted = {0};
    PassContext cx = {.cx = g->cx, .graph = g, .scratch = arena_new(), .opt = opt, .report = report ? report : &unwanted};
    uint32_t errors = diags_failed(g->cx->diags);

    cx.rules = choose_rules(&cx);
    bool ok = cx.rules && check_names(&cx) && (!opt->dump_dir || dir_make(g->cx->diags, opt->dump_dir));
    if (ok) {
        run_pass(&cx, &dead_code);
        simplify(&cx);
        if (run_pass(&cx, &choices))
            simplify(&cx);
        run_pass(&cx, &fold_norm);
        run_pass(&cx, &split_matmul);
        run_pass(&cx, &tile_reductions);
        run_pass(&cx, &split_k);
        run_pass(&cx, &dead_code);
        ok = errors || !diags_failed(g->cx->diags);     /* a dump that could not be written */
    }
    arena_free(cx.scratch);
    return ok;
}
