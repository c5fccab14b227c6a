/* cli/sim.c — `pawl sim`: any PTX without a GPU, checked and counted. The launch is a YAML file. */
#include "base/file.h"
#include "base/npy.h"
#include "base/philox.h"
#include "base/yaml.h"
#include "cli/cli.h"
#include "cli/sim_residue.h"
#include "cli/table.h"
#include "runtime/sim/sim.h"
#include <string.h>

#define FIELD(f) offsetof(Options, f)

static const Option rows[] = {
    {'l', "launch", OPT_TEXT, FIELD(launch), "FILE.yaml", "Entry, grid, block and arguments.",
     COMPLETE_FILE},
    {'o', "output", OPT_LIST, FIELD(out), "NAME=FILE.npy",
     "Where a buffer goes after the run. May be repeated.", COMPLETE_FILE},
    {0, "ctas", OPT_TEXT, FIELD(ctas), "LIST",
     "Run these CTAs only, by number: 0,5-8. Buffers are filled where they are touched."},
    {0, "check", OPT_FLAG, FIELD(check), NULL, "Report what is wrong, print nothing else."},
    {0, "early", OPT_FLAG, FIELD(early), NULL,
     "Asynchronous copies and products take effect at once, not at their wait."},
    {0, "domain", OPT_ENUM, FIELD(domain), "f32|residue", "Floats as they are, or as residues: algebra without rounding."},
    {0, "reference", OPT_TEXT, FIELD(reference), "TASK.yaml",
     "With residues: the task whose outputs the buffers of their names must be.", COMPLETE_FILE},
    {0, "order", OPT_INT, FIELD(order), "SEED", "Run CTAs and warps in another order.", COMPLETE_NONE,
     0, 1e15},
    {0, "max-steps", OPT_INT, FIELD(max_steps), "N", "End after so many instructions of warps.",
     COMPLETE_NONE, 0, 9e15},
};
static const OptionGroup own = OPTION_GROUP("Simulator", rows);

typedef struct { const char *name; Tensor *tensor; DType dtype; uint64_t address, bytes, key; Dist dist; } Buffer;
typedef struct {
    Cli *c;
    Context *cx;
    SimMemory *memory;
    PtxModule *module;
    SimLaunch launch;
    Vec(Buffer *) buffers;
    Vec(const void *) args;
    Vec(uint64_t) ctas;
    SimResult result;
    ResidueLaunch *residues;             /* --domain residue; else NULL */
} Sim;

/* ---- the launch ----------------------------------------------------------------------------- */

static const Source *read_text(Sim *s, const char *path)
{
    size_t len;
    char *text = file_read(s->cx->arena, s->cx->diags, path, &len);
    Source *source = arena_new_of(s->cx->arena, Source);
    *source = (Source){arena_strdup(s->cx->arena, path), text, len, 1, 1, 0};
    if (text)
        vec_push(s->c->cx->arena, &s->c->inputs, source);
    return text ? source : NULL;
}

static bool read_triple(Sim *s, const YamlNode *map, const char *key, uint32_t out[3], uint32_t other)
{
    const YamlNode *n = yaml_get(map, key);
    int64_t v = 0;
    for (int i = 0; i < 3; i++)
        out[i] = other;
    if (!n)
        return true;
    if (n->kind == YAML_SEQUENCE && n->n > 3)
        return diag_error(s->cx->diags, PAWL_EXIT_INVALID, n->loc, NULL, "%s has at most 3 sizes", key);
    for (uint32_t i = 0; i < (n->kind == YAML_SEQUENCE ? n->n : 1); i++) {
        if (!yaml_i64(s->cx->diags, n->kind == YAML_SEQUENCE ? n->items[i] : n, &v, key))
            return false;
        if (v < 1 || v > INT32_MAX)
            return diag_error(s->cx->diags, PAWL_EXIT_INVALID, n->loc, NULL, "%s: not a size", key);
        out[i] = (uint32_t)v;
    }
    return true;
}

static void fill_pages(void *arg, uint64_t offset, void *to, uint64_t bytes)
{
    const Buffer *b = arg;
    uint32_t size = dtype_bytes(b->dtype);
    philox_fill(b->dtype, to, (int64_t)(offset / size), (int64_t)(bytes / size), b->key, b->dist);
}

static bool buffer_shape(Sim *s, const YamlNode *n, Buffer *b)
{
    const YamlNode *shape = yaml_get(n, "shape");
    const char *dtype = NULL;
    b->bytes = 1;
    if (!yaml_string(s->cx->diags, yaml_get(n, "dtype"), &dtype, "dtype"))
        return false;
    if (!dtype_parse(dtype, &b->dtype))
        return diag_error(s->cx->diags, PAWL_EXIT_INVALID, n->loc, NULL, "unknown dtype \"%s\"", dtype);
    int64_t dims[TENSOR_MAX_RANK];
    uint32_t rank = shape && shape->kind == YAML_SEQUENCE ? shape->n : 0;
    if (!shape || shape->kind != YAML_SEQUENCE || rank > TENSOR_MAX_RANK)
        return diag_error(s->cx->diags, PAWL_EXIT_INVALID, n->loc, NULL, "a buffer needs a shape, as in [4, 33]");
    for (uint32_t i = 0; i < rank; i++) {
        if (!yaml_i64(s->cx->diags, shape->items[i], &dims[i], "shape"))
            return false;
        if (dims[i] < 0 || (dims[i] && b->bytes > (UINT64_C(1) << 40) / (uint64_t)dims[i]))
            return diag_error(s->cx->diags, PAWL_EXIT_INVALID, shape->loc, NULL, "the buffer is too large");
        b->bytes *= (uint64_t)dims[i];
    }
    b->bytes *= dtype_bytes(b->dtype);
    if (!s->c->o.ctas)
        b->tensor = tensor_new(s->cx->arena, b->dtype, (int)rank, dims);
    return true;
}

/* {buffer: x, dtype: f32, shape: [4, 33], init: "normal(0, 1)" | none, file: x.npy, read_only: true} */
static bool add_buffer(Sim *s, const YamlNode *n, const char *name)
{
    static const char *const known[] = {"buffer", "dtype", "shape", "init", "file", "read_only"};
    Diags *d = s->cx->diags;
    Buffer *b = arena_new_of(s->cx->arena, Buffer);
    const char *init = NULL, *file = NULL, *error, *read_only = NULL;
    const YamlNode *in = yaml_get(n, "init"), *from = yaml_get(n, "file"), *ro = yaml_get(n, "read_only");
    if (!yaml_check_keys(d, n, known, sizeof known / sizeof *known, "a buffer") ||
        (in && !yaml_string(d, in, &init, "init")) || (from && !yaml_string(d, from, &file, "file")) ||
        (ro && !yaml_string(d, ro, &read_only, "read_only")))
        return false;
    b->name = name;
    b->key = philox_key((uint64_t)s->c->o.seed, name);
    b->dist = (Dist){DIST_NORMAL, 0, 1};
    if (file) {
        b->tensor = npy_read(s->cx->arena, d, file);
        if (!b->tensor)
            return false;
        b->dtype = b->tensor->dtype;
        b->bytes = tensor_bytes(b->tensor);
    } else if (!buffer_shape(s, n, b)) {
        return false;
    }
    bool none = init && !strcmp(init, "none");
    if (init && !none && !dist_parse(init, &b->dist, &error))
        return diag_error(d, PAWL_EXIT_INVALID, in->loc, NULL, "init: %s", error);
    if (s->residues && !file)
        residue_launch_buffer(s->residues, &(ResidueBuffer){name, b->tensor, !none, !none && b->dist.kind == DIST_UNIFORM && b->dist.a >= 0});
    if (b->tensor && !file && !none && !(s->residues && dtype_is_float(b->dtype)))
        philox_fill(b->dtype, b->tensor->data, 0, tensor_count(b->tensor), b->key, b->dist);
    SimBuffer one = {.name = name, .data = b->tensor ? b->tensor->data : NULL, .bytes = b->bytes, .initialised = !none,
                     .read_only = read_only && !strcmp(read_only, "true")};
    if (!b->tensor && !none) {
        one.fill = fill_pages;
        one.fill_arg = b;
    }
    b->address = sim_memory_add(s->memory, &one);
    vec_push(s->cx->arena, &s->buffers, b);
    vec_push(s->cx->arena, &s->args, (const void *)&b->address);
    return true;
}

static bool add_pointer(Sim *s, const YamlNode *n, const char *name)
{
    int64_t offset = 0;
    const YamlNode *o = yaml_get(n, "offset");
    if (o && !yaml_i64(s->cx->diags, o, &offset, "offset"))
        return false;
    for (uint32_t i = 0; i < s->buffers.n; i++)
        if (!strcmp(s->buffers.data[i]->name, name)) {
            uint64_t *p = arena_new_of(s->cx->arena, uint64_t);
            *p = s->buffers.data[i]->address + (uint64_t)offset;
            vec_push(s->cx->arena, &s->args, (const void *)p);
            return true;
        }
    return diag_error(s->cx->diags, PAWL_EXIT_INVALID, n->loc, NULL, "there is no buffer \"%s\" before this pointer", name);
}

static bool add_scalar(Sim *s, const YamlNode *n, const char *type)
{
    DType t;
    int64_t *p = arena_new_array(s->cx->arena, int64_t, 2);
    const YamlNode *v = yaml_get(n, "value");
    double real = 0;
    if (!dtype_parse(type, &t) || !v)
        return diag_error(s->cx->diags, PAWL_EXIT_INVALID, n->loc, NULL, "a scalar is {scalar: i32, value: 5}");
    if (dtype_is_float(t) ? !yaml_double(s->cx->diags, v, &real, "value") : !yaml_i64(s->cx->diags, v, p, "value"))
        return false;
    if (dtype_is_float(t))
        dtype_store(t, p, real);
    vec_push(s->cx->arena, &s->args, (const void *)p);
    return true;
}

static bool add_argument(Sim *s, const YamlNode *n)
{
    static const struct { const char *key; bool (*add)(Sim *, const YamlNode *, const char *); } kinds[] = {
        {"buffer", add_buffer}, {"pointer", add_pointer}, {"scalar", add_scalar}};
    const char *value;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (yaml_get(n, kinds[i].key))
            return yaml_string(s->cx->diags, yaml_get(n, kinds[i].key), &value, kinds[i].key) && kinds[i].add(s, n, value);
    return diag_error(s->cx->diags, PAWL_EXIT_INVALID, n->loc, NULL, "an argument is a buffer, a pointer or a scalar");
}

static bool read_launch(Sim *s)
{
    static const char *const known[] = {"entry", "grid", "block", "cluster", "shared", "args"};
    Diags *d = s->cx->diags;
    if (!s->c->o.launch)
        return diag_error(d, PAWL_EXIT_INVALID, LOC_NONE, "--launch FILE.yaml", "no launch is given");
    const Source *text = read_text(s, s->c->o.launch);
    YamlNode *n = text ? yaml_parse(s->cx->arena, d, text) : NULL;
    int64_t shared = 0;
    if (!n || !yaml_check_keys(d, n, known, sizeof known / sizeof *known, "a launch"))
        return false;
    const YamlNode *entry = yaml_get(n, "entry"), *sh = yaml_get(n, "shared"), *args = yaml_get(n, "args");
    if ((entry && !yaml_string(d, entry, &s->launch.entry, "entry")) || !read_triple(s, n, "grid", s->launch.grid, 1) ||
        !read_triple(s, n, "block", s->launch.block, 1) || !read_triple(s, n, "cluster", s->launch.cluster, 0) ||
        (sh && !yaml_i64(d, sh, &shared, "shared")))
        return false;
    for (int i = 1; i < 3 && s->launch.cluster[0]; i++)
        s->launch.cluster[i] = s->launch.cluster[i] ? s->launch.cluster[i] : 1;
    s->launch.dynamic_shared = (uint32_t)shared;
    for (uint32_t i = 0; args && args->kind == YAML_SEQUENCE && i < args->n; i++)
        if (!add_argument(s, args->items[i]))
            return false;
    s->launch.args = s->args.data;
    s->launch.n_args = s->args.n;
    return true;
}

/* "0,5-8" */
static bool read_ctas(Sim *s)
{
    const char *p = s->c->o.ctas;
    while (p && *p) {
        unsigned long long lo, hi;
        int used = 0;
        if (sscanf(p, "%llu-%llu%n", &lo, &hi, &used) < 2 || !used) {
            used = 0;
            if (sscanf(p, "%llu%n", &lo, &used) < 1)
                return diag_error(s->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "--ctas: expected numbers, as in 0,5-8");
            hi = lo;
        }
        for (unsigned long long i = lo; i <= hi && s->ctas.n < 1u << 20; i++)
            vec_push(s->cx->arena, &s->ctas, (uint64_t)i);
        p += used;
        p += *p == ',';
    }
    s->launch.ctas = s->c->o.ctas ? s->ctas.data : NULL;
    s->launch.n_ctas = s->ctas.n;
    return true;
}

/* ---- results -------------------------------------------------------------------------------- */

static void print_counts(Sim *s)
{
    static const Column columns[] = {{"what", "instructions", COL_TEXT}, {"warps", "warps", COL_INT}, {"threads", "threads", COL_INT}};
    Table *t = table_new(s->cx->arena, columns, 3);
    uint64_t warps[CLASS_COUNT] = {0}, threads[CLASS_COUNT] = {0};
    for (uint32_t i = 0; i < s->module->code.n; i++) {
        PtxClass k = ptx_op_class((PtxOp)s->module->code.data[i].op);
        warps[k] += s->result.counts[i].warps;
        threads[k] += s->result.counts[i].threads;
    }
    for (int k = 0; k < CLASS_COUNT; k++)
        if (warps[k]) {
            table_text(t, ptx_class_name((PtxClass)k));
            table_int(t, (int64_t)warps[k]);
            table_int(t, (int64_t)threads[k]);
        }
    table_print(t, s->c->out, (Format)s->c->o.format);
}

static void print_memory(Sim *s)
{
    static const Column columns[] = {{"space", "memory", COL_TEXT}, {"bytes_loaded", "loaded", COL_INT}, {"bytes_stored", "stored", COL_INT}};
    Table *t = table_new(s->cx->arena, columns, 3);
    for (int k = 0; k < SPACE_COUNT; k++)
        if (s->result.bytes_loaded[k] || s->result.bytes_stored[k]) {
            table_text(t, ptx_space_name((PtxSpace)k));
            table_int(t, (int64_t)s->result.bytes_loaded[k]);
            table_int(t, (int64_t)s->result.bytes_stored[k]);
        }
    table_print(t, s->c->out, (Format)s->c->o.format);
}

/* Instructions whose addresses cost more than they must. */
static void print_access(Sim *s)
{
    static const Column columns[] = {{"line", "line", COL_INT}, {"instruction", "instruction", COL_TEXT}, {"warps", "warps", COL_INT},
                                     {"sectors", "sectors", COL_INT}, {"ideal_sectors", "ideal", COL_INT},
                                     {"wavefronts", "bank passes", COL_INT}, {"ideal_wavefronts", "ideal", COL_INT}};
    Table *t = table_new(s->cx->arena, columns, 7);
    for (uint32_t i = 0; i < s->module->code.n; i++) {
        const SimCount *n = &s->result.counts[i];
        const PtxInst *inst = &s->module->code.data[i];
        if (n->sectors <= n->ideal_sectors && n->wavefronts <= n->ideal_wavefronts)
            continue;
        table_int(t, inst->line);
        table_text(t, arena_strndup(s->cx->arena, s->module->source->text + inst->loc.offset, inst->loc.len));
        table_int(t, (int64_t)n->warps);
        table_int(t, (int64_t)n->sectors);
        table_int(t, (int64_t)n->ideal_sectors);
        table_int(t, (int64_t)n->wavefronts);
        table_int(t, (int64_t)n->ideal_wavefronts);
    }
    if (table_rows(t))
        table_print(t, s->c->out, (Format)s->c->o.format);
}

static bool write_outputs(Sim *s)
{
    for (uint32_t i = 0; i < s->c->o.out.n; i++) {
        const char *text = s->c->o.out.data[i], *eq = strchr(text, '=');
        const Buffer *found = NULL;
        for (uint32_t k = 0; eq && k < s->buffers.n; k++)
            if (strlen(s->buffers.data[k]->name) == (size_t)(eq - text) && !strncmp(s->buffers.data[k]->name, text, (size_t)(eq - text)))
                found = s->buffers.data[k];
        if (!found || !found->tensor)
            return diag_error(s->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "--output %s: no such buffer in the launch", text);
        if (!npy_write(s->cx->diags, eq + 1, found->tensor))
            return false;
    }
    return true;
}

/* Arguments are of 8 bytes here; a kernel that takes more by value would read past them. */
static bool check_arguments(Sim *s)
{
    const PtxFunction *f = ptx_entry(s->module, s->launch.entry);
    for (uint32_t i = 0; f && i < f->params.n; i++)
        if (f->params.data[i]->bytes > 8)
            return diag_error(s->cx->diags, PAWL_EXIT_UNSUPPORTED, f->params.data[i]->loc, NULL,
                              "parameter %u takes %llu bytes; a launch can give 8", i + 1,
                              (unsigned long long)f->params.data[i]->bytes);
    return true;
}

static bool simulate(Sim *s)
{
    const Source *text = read_text(s, s->c->args[0].text);
    s->module = text ? ptx_read(s->cx->arena, s->cx->diags, text) : NULL;
    if (s->c->o.reference && !s->c->o.domain)
        return diag_error(s->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, "--domain residue", "--reference needs residues");
    if (s->c->o.domain && s->c->o.ctas)
        return diag_error(s->cx->diags, PAWL_EXIT_INVALID, LOC_NONE, NULL, "over residues all CTAs run: --ctas does not go with them");
    if (s->c->o.domain) {
        s->residues = residue_launch_new(s->c, s->cx, (uint64_t)s->c->o.seed);
        s->launch.domain = sim_residues_domain(s->residues->residues);
    }
    s->launch.print = s->c->out;
    s->launch.profile = !s->c->o.check;
    s->launch.async = s->c->o.early ? SIM_EARLY : SIM_LATE;
    s->launch.max_steps = (uint64_t)s->c->o.max_steps;
    s->launch.schedule = (uint64_t)s->c->o.order;
    if (!s->module || !read_launch(s) || !check_arguments(s) || !read_ctas(s) ||
        !sim_run(s->memory, s->module, &s->launch, s->cx->arena, s->cx->diags, &s->result))
        return false;
    for (uint32_t i = 0; i < s->result.n_faults; i++)
        sim_fault_diagnose(s->module, &s->result.faults[i], s->cx->diags);
    if (!s->c->o.check) {
        print_counts(s);
        print_memory(s);
        print_access(s);
        cli_say(s->c, "%llu instructions of warps, %llu of threads, %llu barriers, %u bytes of shared memory a CTA; %.3g million a second",
                (unsigned long long)s->result.warp_steps, (unsigned long long)s->result.thread_steps, (unsigned long long)s->result.barriers,
                s->result.shared_bytes, (double)s->result.thread_steps / s->result.seconds / 1e6);
    }
    bool same = !s->residues || residue_launch_end(s->residues, s->module, s->c->o.reference);
    return write_outputs(s) && same;
}

static ExitCode run_sim(Cli *c)
{
    Context *cx = context_new();
    Sim s = {.c = c, .cx = cx, .memory = sim_memory_new()};
    simulate(&s);
    cli_flush(c, cx);
    sim_memory_free(s.memory);
    c->inputs.n = 0;                    /* they lived in cx */
    context_free(cx);
    return c->code;
}

static const OptionGroup *const groups[] = {&own, &options_seed, &options_general, NULL};
const Command command_sim = {
    .name = "sim",
    .args = "KERNEL.ptx --launch FILE.yaml",
    .about = "Run a kernel's PTX without a GPU, checked and counted.",
    .more = "Prints instruction counts by class, bytes by memory, and accesses that cost more than they must;\n"
            "reports what is out of bounds, not initialised, misaligned, or not ordered by a barrier.\n"
            "The launch:\n\n"
            "  entry: saxpy\n"
            "  grid: [4]\n"
            "  block: [128]\n"
            "  args:\n"
            "    - {buffer: x, dtype: f32, shape: [500], init: \"normal(0, 1)\"}\n"
            "    - {buffer: y, dtype: f32, shape: [500], init: none}\n"
            "    - {scalar: i32, value: 500}\n\n"
            "  pawl sim saxpy.ptx --launch saxpy.yaml -o y=y.npy",
    .min_args = 1,
    .max_args = 1,
    .groups = groups,
    .run = run_sim,
};
