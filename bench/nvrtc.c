/* bench/nvrtc.c — time to compile kernels of kind gemm with NVRTC, which takes a toolkit but no GPU: products with what may stand
 * behind them, each at the first schedules of its space. From CUDA C to PTX, and to a cubin (PTX, then ptxas): processor time, which
 * other programs disturb less, and wall clock; the least of several runs.
 *     bench/nvrtc [--arch sm_90a] [--schedules 2] [--runs 3] [--only NAME] [--emit DIR]
 * Marked: SLOW over 100 ms of processor time, SPILLS, SERIAL (products that ptxas made to wait for each other).
 * Exit code: 0; 1 where a kernel is SERIAL or does not compile. */
#include "base/file.h"
#include "codegen/codegen.h"
#include "codegen/emit/emit.h"
#include "ir/text.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

enum { LIMIT_MS = 100 };

#define BF16(rest) NUM_BF16, "graph g { input %x : bf16[" rest "return %y }"
#define F32(class, rest) class, "graph g { input %x : f32[" rest "return %y }"
static const struct { const char *name; NumClass class; const char *text; } products[] = {
    {"bf16", BF16("4096, 4096]\nparam %w : bf16[4096, 4096]\n%y = linear(%x, %w)\n")},
    {"bf16 bias gelu", BF16("2048, 2048]\nparam %w : bf16[6144, 2048]\nparam %b : bf16[6144]\n%y = gelu(linear(%x, %w, %b))\n")},
    {"bf16 residual", BF16("8192, 1024]\nparam %w : bf16[4096, 1024]\ninput %r : bf16[8192, 4096]\n"
                           "%y = add(linear(%x, %w), %r)\n")},
    {"bf16 gate up", BF16("2048, 2048]\nparam %w : bf16[12288, 2048]\n%h = linear(%x, %w)\n"
                          "%g = slice(%h, axis=1, start=0, size=6144)\n%u = slice(%h, axis=1, start=6144, size=6144)\n"
                          "%y = mul(silu(%g), %u)\n")},
    {"bf16 head norm", BF16("2048, 2048]\nparam %w : bf16[4096, 2048]\nparam %g : bf16[128]\n"
                            "%h = reshape(linear(%x, %w), shape=[2048, 32, 128])\n%y = rms_norm(%h, %g, eps=1e-6)\n")},
    {"bf16 along m, n", BF16("4096, 2048]\ninput %z : bf16[4096, 4096]\n%y = relu(matmul(%x, %z, trans_a=1))\n")},
    {"bf16 any rows", NUM_BF16, "graph g { dim S in [1, 65536]\ninput %x : bf16[S, 2048]\nparam %w : bf16[6144, 2048]\n"
                                "param %b : bf16[6144]\n%y = gelu(linear(%x, %w, %b))\nreturn %y }"},
    {"f16-scaled", F32(NUM_TF32, "4096, 4096]\ninput %z : f32[4096, 4096]\n%y = matmul(%x, %z, trans_b=1)\n")},
    {"3xf16", F32(NUM_FP32, "4096, 4096]\ninput %z : f32[4096, 4096]\n%y = matmul(%x, %z, trans_b=1)\n")},
    {"3xf16 frozen", F32(NUM_FP32, "1024, 8192]\nparam %w : f32[8192, 8192]\nparam %b : f32[8192]\n"
                                   "%y = gelu(linear(%x, %w, %b))\n")},
    {"3xf16 along m, n", F32(NUM_FP32, "4096, 2048]\ninput %z : f32[4096, 4096]\n%y = matmul(%x, %z, trans_a=1)\n")},
    {"3xf16 batches", F32(NUM_FP32, "128, 512, 1024]\ninput %z : f32[128, 2048, 1024]\n%y = matmul(%x, %z, trans_b=1)\n")},
};
enum { N_PRODUCTS = sizeof products / sizeof *products };

typedef struct { const char *arch, *only, *emit; uint32_t schedules, runs; } Options;
typedef struct { double processor, wall; } Seconds;
typedef struct { const char *name, *schedule; Seconds ptx, cubin; uint32_t registers, spills; bool serial; } Row;

static Seconds now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (Seconds){(double)t.tv_sec + 1e-9 * (double)t.tv_nsec, clock_seconds()};
}

static void keep_least(Seconds *least, Seconds start)
{
    Seconds end = now();
    least->processor = fmin(least->processor, end.processor - start.processor);
    least->wall = fmin(least->wall, end.wall - start.wall);
}

/* As the compiler gives it to kind gemm: f32 products in pieces. */
static Graph *with_pieces(Context *cx, const char *text, NumClass class)
{
    Graph *g = graph_parse(cx, source_from_text(cx->arena, "product", text));
    PassOptions o = {.numerics = {class, class, class, 0}, .f16_products = true};
    if (!g || !pipeline_run(g, &o, NULL))
        return NULL;
    uint32_t n;
    ChoiceInfo *list = choices_list(g, cx->arena, &n);
    ChoicePick *pick = arena_new_array(cx->arena, ChoicePick, n + 1);
    for (uint32_t i = 0; i < n; i++)
        pick[i] = (ChoicePick){list[i].id, strcmp(list[i].rule, "split_matmul") == 0 ? list[i].n_alternatives - 1 : 0};
    return choices_resolve(g, pick, n);
}

static const Group *product_group(const Groups *all)
{
    for (uint32_t i = 0; all && i < all->n; i++)
        if (all->g[i]->matmul)
            return all->g[i];
    return NULL;
}

static const char *source_of(const Plan *p)
{
    for (uint32_t i = 0; p && i < p->kernels.n; i++)
        for (uint32_t j = 0; j < p->kernels.data[i].code.n; j++)
            if (p->kernels.data[i].code.data[j].kind == CODE_CUDA_SOURCE)
                return p->kernels.data[i].code.data[j].bytes;
    return NULL;
}

static bool emit(Context *cx, const Options *o, const Row *r, const char *source)
{
    char *file = arena_printf(cx->arena, "%s/%s, %s.cu", o->emit, r->name, r->schedule);
    for (char *c = file + strlen(o->emit) + 1; *c; c++)
        if (*c == ' ')
            *c = '_';
    return dir_make(cx->diags, o->emit) && file_write(cx->diags, file, source, strlen(source));
}

static bool measure(Context *cx, const Options *o, const char *source, Row *r)
{
    r->ptx = r->cubin = (Seconds){INFINITY, INFINITY};
    for (uint32_t i = 0; i < o->runs; i++) {
        char *ptx;
        Cubin c;
        Seconds start = now();
        if (!nvrtc_ptx(cx->arena, cx->diags, source, "product", o->arch, &ptx))
            return false;
        keep_least(&r->ptx, start);
        start = now();
        if (!nvrtc_compile(cx->arena, cx->diags, source, "product", o->arch, &c))
            return false;
        keep_least(&r->cubin, start);
        r->registers = c.registers, r->spills = c.spill_bytes, r->serial = strstr(c.log, "C7510") != NULL;
    }
    return true;
}

static bool slow(const Row *r) { return r->cubin.processor * 1e3 > LIMIT_MS; }

static void print(const Row *r)
{
    printf("%-16s %6.0f %6.0f", r->name, r->ptx.processor * 1e3, r->cubin.processor * 1e3);
    printf(" %6.0f %6.0f %5u  %s", r->ptx.wall * 1e3, r->cubin.wall * 1e3, r->registers, r->schedule);
    printf("%s%s%s\n", r->spills ? "  SPILLS" : "", r->serial ? "  SERIAL" : "", slow(r) ? "  SLOW" : "");
    fflush(stdout);
}

typedef struct { uint32_t kernels, slow, spilling, serial, failed; } Tally;

/* One product at its first schedules. */
static void run(uint32_t product, const Options *o, Tally *t)
{
    Context *cx = context_new();
    CodegenOptions co = {.emitter = EMITTER_NVRTC, .keep_source = true, .simulated = true, .fuse = true};
    co.numerics = (Numerics){products[product].class, products[product].class, products[product].class, 0};
    Graph *g = machine_cuda(cx, o->arch, &co.machine) ? with_pieces(cx, products[product].text, products[product].class) : NULL;
    const Group *group = g ? product_group(groups_form(cx, g, &co)) : NULL;
    uint32_t n = 0, done = 0;
    Schedule *space = group ? group_space(cx, group, &co, cx->arena, &n) : NULL;
    bool ok = space != NULL;
    for (uint32_t i = 0; ok && i < n && done < o->schedules; i++) {
        if (strcmp(space[i].kind, "gemm"))
            continue;
        StrBuf text = strbuf_new(cx->arena);
        schedule_print(&text, &space[i]);
        Row r = {.name = products[product].name, .schedule = text.text};
        const char *source = source_of(group_plan(cx, g, group, &space[i], &co));
        ok = source && (!o->emit || emit(cx, o, &r, source)) && measure(cx, o, source, &r);
        if (!ok)
            break;
        print(&r);
        t->slow += slow(&r), t->spilling += r.spills != 0, t->serial += r.serial;
        done++;
    }
    if (!ok || !done)
        fprintf(stderr, "%s: no kernel of kind gemm\n", products[product].name);
    t->kernels += done, t->failed += !ok || !done;
    diags_print(cx->diags, stderr, false);
    context_free(cx);
}

static bool parse(int argc, char **argv, Options *o)
{
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!value)
            return false;
        else if (!strcmp(argv[i], "--arch"))
            o->arch = value;
        else if (!strcmp(argv[i], "--only"))
            o->only = value;
        else if (!strcmp(argv[i], "--emit"))
            o->emit = value;
        else if (!strcmp(argv[i], "--schedules"))
            o->schedules = (uint32_t)atoi(value);
        else if (!strcmp(argv[i], "--runs"))
            o->runs = (uint32_t)atoi(value);
        else
            return false;
    }
    return o->schedules && o->runs;
}

int main(int argc, char **argv)
{
    Options o = {.arch = "sm_90a", .schedules = 2, .runs = 3};
    Tally t = {0};
    const char *why;
    if (!parse(argc, argv, &o)) {
        fprintf(stderr, "usage: %s [--arch sm_90a] [--schedules 2] [--runs 3] [--only NAME] [--emit DIR]\n", argv[0]);
        return 2;
    }
    bool there = nvrtc_available(&why);
    printf("%s\n", why);
    if (!there)
        return 0;
    printf("%-16s %13s %13s\n", "", "processor ms", "wall ms");
    printf("%-16s %6s %6s %6s %6s %5s\n", "product", "PTX", "cubin", "PTX", "cubin", "regs");
    for (uint32_t i = 0; i < N_PRODUCTS; i++)
        if (!o.only || !strcmp(o.only, products[i].name))
            run(i, &o, &t);
    printf("%u kernels: %u over %d ms of processor time, %u spill, %u serial\n", t.kernels, t.slow, LIMIT_MS, t.spilling, t.serial);
    return t.serial || t.failed;
}
