/* cli/compile.c — `pawl compile`: every workload of a task, and one plan for its whole range, into a package. */
#include "base/file.h"
#include "cli/job.h"
#include "cli/table.h"
#include "runtime/package.h"
#include <string.h>

#define FIELD(f) offsetof(Options, f)

static const Option rows[] = {
    {'o', "output", OPT_LIST, FIELD(out), "FILE.pawl",
     "Where the package goes. Default: TASK.pawl here.", COMPLETE_FILE},
    {0, "no-generic", OPT_FLAG, FIELD(no_generic), NULL,
     "Only the workloads, without a plan for all other shapes."},
    {0, "emit", OPT_WORDS, FIELD(emit), "cuda|ptx|cubin|llvm|object|kir|plan|graph",
     "Also write these to --emit-dir; kir and llvm go into a folder a workload."},
    {0, "emit-dir", OPT_TEXT, FIELD(emit_dir), "DIR", "Folder of --emit. Default: TASK.emit here.",
     COMPLETE_DIR},
};
static const OptionGroup own = OPTION_GROUP("Output", rows);

/* "qwen3/swiglu" + ".pawl" -> "swiglu.pawl" */
static const char *default_name(Arena *a, const Task *t, const char *suffix)
{
    const char *slash = strrchr(t->name, '/');
    return arena_printf(a, "%s%s", slash ? slash + 1 : t->name, suffix);
}

static bool wants(const Cli *c, const char *what)
{
    for (uint32_t i = 0; i < c->o.emit.n; i++)
        if (!strcmp(c->o.emit.data[i], what))
            return true;
    return false;
}

/* ---- --emit --------------------------------------------------------------------------------- */

static bool emit_text(Job *j, const char *dir, const Compiled *k, const char *suffix,
                      const char *text)
{
    const char *path =
        arena_printf(j->cx->arena, "%s/%s.%s", dir, workload_name(k->workload), suffix);
    return file_write(j->cx->diags, path, text, strlen(text));
}

static const struct {
    const char *word, *suffix;
} code_kinds[] = {
    [CODE_OBJECT] = {"object", "o"},
    [CODE_CUBIN] = {"cubin", "cubin"},
    [CODE_PTX] = {"ptx", "ptx"},
    [CODE_CUDA_SOURCE] = {"cuda", "cu"},
};

/* WORKLOAD.ARCH.cu: the kernels of a plan are one module. Where they are several, the others bear the name of their first
 * kernel, too. */
static const char *code_path(Job *j, const char *dir, const Compiled *k, const PlanKernel *kernel,
                             const PlanCode *code, bool first)
{
    return arena_printf(j->cx->arena, "%s/%s%s%s.%s.%s", dir, workload_name(k->workload),
                        first ? "" : ".", first ? "" : kernel->name, code->arch,
                        code_kinds[code->kind].suffix);
}

static bool emit_code(Job *j, const char *dir, const Compiled *k, uint32_t *n_files)
{
    Map *written = map_new(j->cx->arena), *seen = map_new(j->cx->arena);
    vec_foreach (PlanKernel, kernel, &k->plan->kernels)
        vec_foreach (PlanCode, code, &kernel->code) {
            if (!wants(j->cli, code_kinds[code->kind].word) ||
                !map_set_ptr(written, code->bytes, kernel))
                continue;
            bool first = map_set(seen, hash_mix(hash_str(code->arch), code->kind), 1);
            size_t len = code->len;
            if ((code->kind == CODE_PTX || code->kind == CODE_CUDA_SOURCE) && len &&
                !((const char *)code->bytes)[len - 1])
                len--; /* text goes without its NUL */
            if (!file_write(j->cx->diags, code_path(j, dir, k, kernel, code, first), code->bytes,
                            len))
                return false;
            ++*n_files;
        }
    return true;
}

static bool emit_all(Job *j, const Compiled *list, uint32_t n)
{
    Cli *c = j->cli;
    if (!c->o.emit.n)
        return true;
    const char *dir = c->o.emit_dir ? c->o.emit_dir : default_name(j->cx->arena, j->task, ".emit");
    uint32_t files = 0;
    if (!dir_make(j->cx->diags, dir))
        return false;
    for (uint32_t i = 0; i < n; i++) {
        const Compiled *k = &list[i];
        StrBuf plan = strbuf_new(j->cx->arena);
        plan_print(&plan, k->plan);
        if ((wants(c, "plan") && !emit_text(j, dir, k, "plan", plan.text)) ||
            (wants(c, "graph") &&
             (!emit_text(j, dir, k, "graph", graph_text(j->cx->arena, k->graph)) ||
              !emit_text(j, dir, k, "opt.graph", graph_text(j->cx->arena, k->resolved)))) ||
            !emit_code(j, dir, k, &files))
            return false;
        files += (wants(c, "plan") ? 1 : 0) + (wants(c, "graph") ? 2 : 0);
    }
    if (files)
        cli_say(c, "wrote %u files to %s/", files, dir);
    if (wants(c, "kir") || wants(c, "llvm"))
        cli_say(c, "wrote the kernels' IR to %s/", j->options.codegen.dump_dir);
    static const char *const words[] = {"cuda", "ptx", "cubin", "object"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        bool found = !wants(c, words[i]);
        for (uint32_t w = 0; w < n && !found; w++)
            vec_foreach (PlanKernel, kernel, &list[w].plan->kernels)
                vec_foreach (PlanCode, code, &kernel->code)
                    found |= !strcmp(code_kinds[code->kind].word, words[i]);
        if (!found)
            cli_say(c, "no %s was made for %s%s", words[i], j->device.arch,
                    !strcmp(words[i], "cubin") ? ": see `pawl doctor` for NVRTC and the assembler"
                                               : "");
    }
    return true;
}

/* ---- the command ---------------------------------------------------------------------------- */

static const Column columns[] = {
    {"workload", "workload", COL_TEXT},
    {"kernels", "kernels", COL_INT},
    {"library_calls", "library", COL_INT},
    {"workspace_bytes", NULL, COL_INT},
    {"passes_seconds", "passes ms", COL_REAL, 1},
    {"codegen_seconds", "code ms", COL_REAL, 1},
    {"weights_seconds", "weights ms", COL_REAL, 1},
    {"decisions", "decisions", COL_TEXT},
};

static void add_row(Table *t, Arena *a, const Compiled *k, Format f)
{
    double unit = f == FORMAT_TEXT ? 1e3 : 1;
    uint32_t launches = 0, calls = 0;
    for (uint32_t i = 0; i < k->plan->steps.n; i++) {
        launches += k->plan->steps.data[i].kind == STEP_LAUNCH;
        calls += k->plan->steps.data[i].kind == STEP_MATMUL;
    }
    StrBuf b = strbuf_new(a);
    for (uint32_t i = 0; i < k->plan->decisions.n; i++)
        strbuf_printf(&b, "%s%s: %s", i ? "; " : "", k->plan->decisions.data[i].choice,
                      k->plan->decisions.data[i].picked);
    table_text(t, workload_name(k->workload));
    table_int(t, launches);
    table_int(t, calls);
    Dim w = k->plan->workspace_bytes;
    table_int(t, w && dim_is_const(w) ? w->value : -1);
    table_real(t, k->seconds_passes * unit);
    table_real(t, k->seconds_codegen * unit);
    table_real(t, k->seconds_weights * unit);
    table_text(t, b.text ? b.text : "");
}

static bool write_package(Job *j, const Compiled *list, uint32_t n)
{
    Cli *c = j->cli;
    Plan **plans = arena_new_array(j->cx->arena, Plan *, n);
    for (uint32_t i = 0; i < n; i++)
        plans[i] = list[i].plan;
    const char *path = c->o.out.n ? c->o.out.data[0] : default_name(j->cx->arena, j->task, ".pawl");
    char *manifest = compile_manifest(j->cx->arena, j->task, list, n, &j->options);
    double start = clock_seconds();
    if (!package_write(j->cx->diags, path, plans, n, manifest))
        return false;
    cli_say(c, "wrote %s in %s", path, human_seconds(j->cx->arena, clock_seconds() - start));
    return true;
}

static bool compile_all(Job *j, Compiled *list, uint32_t n)
{
    Cli *c = j->cli;
    for (uint32_t i = 0; i < n; i++) {
        const Workload *w = i < j->n_workloads ? j->workloads[i] : NULL;
        cli_progress(c, "compiling %s for %s …", workload_name(w), j->device.arch);
        if (cli_stopped(c) || !job_compile(j, w, &list[i]))
            return false;
    }
    cli_progress(c, "weights …");
    bool ok = job_check_picks(j) && job_weights(j, list, n);
    cli_progress_end(c);
    return ok;
}

static ExitCode run_compile(Cli *c)
{
    Job j;
    double start = clock_seconds();
    if (job_open(c, &c->args[0], DB_READ, &j)) {
        if ((wants(c, "kir") || wants(c, "llvm")) && !j.options.codegen.dump_dir)
            j.options.codegen.dump_dir =
                c->o.emit_dir ? c->o.emit_dir : default_name(j.cx->arena, j.task, ".emit");
        uint32_t n = j.n_workloads + !c->o.no_generic;
        Compiled *list = arena_new_array(j.cx->arena, Compiled, n + 1);
        bool ok = !j.options.codegen.dump_dir || dir_make(j.cx->diags, j.options.codegen.dump_dir);
        ok = ok && compile_all(&j, list, n) && emit_all(&j, list, n) && write_package(&j, list, n);
        if (ok) {
            Table *t = table_new(j.cx->arena, columns, sizeof columns / sizeof columns[0]);
            for (uint32_t i = 0; i < n; i++)
                add_row(t, j.cx->arena, &list[i], (Format)c->o.format);
            if (c->o.format != FORMAT_TEXT || !c->o.quiet)
                table_print(t, c->o.format == FORMAT_TEXT ? c->err : c->out, (Format)c->o.format);
            cli_say(c, "%s for %s (%s): %s", j.task->name, j.device.name, j.device.arch,
                    human_seconds(j.cx->arena, clock_seconds() - start));
        }
    }
    job_close(&j);
    return cli_end(c);
}

static const OptionGroup *const groups[] = {
    &own,
    &options_workload,
    &options_device,
    &options_compile,
    &options_passes,
    &options_database,
    &options_seed,
    &options_general,
    NULL,
};
const Command command_compile = {
    .name = "compile",
    .args = "TASK [-o FILE.pawl]",
    .about = "Compile a task into a package.",
    .more = "A package holds one plan for each workload, one for all other shapes in the declared "
            "range,\n"
            "their code and the weights. It runs through pawl.h, or `pawl run`.\n\n"
            "  pawl compile tasks/qwen3/swiglu.yaml -o swiglu.pawl\n"
            "  pawl compile tasks/qwen3/swiglu.yaml --device sm_90a --emit cuda,ptx,cubin "
            "--emit-dir out",
    .min_args = 1,
    .max_args = 1,
    .groups = groups,
    .run = run_compile,
};
