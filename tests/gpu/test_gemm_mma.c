/* Products on a GPU: by cuBLASLt, by the template on wgmma where there is one, by the template on mma.sync (schedule mma=1), held against sums in
 * double on the host and timed side by side. Exits with 77 where there is no GPU. */
#include "autotune/measure.h"
#include "autotune/stats.h"
#include "codegen/codegen.h"
#include "ir/text.h"
#include "passes/pass.h"
#include "runtime/executor.h"
#include "tests/passes/picks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 4000, BLOCKS = 24, MOST = 8 };

typedef struct {
    const char *name;
    DType type;
    bool pieces, along_n;                /* f32 as products of f16 pieces; B's columns along memory */
    int64_t m, n, k;
    const char *schedules[MOST];         /* the first: what the others are compared with */
} Case;

#define MMA " cluster=1 raster=8 mma=1"
static const Case cases[] = {
    {"bf16", DT_BF16, false, false, 4096, 4096, 4096,
     {"library algorithm=0", "gemm bm=128 bn=256 bk=64 stages=4 cluster=2 raster=8 width=32",
      "gemm bm=128 bn=256 bk=32 stages=6 width=32" MMA, "gemm bm=128 bn=256 bk=64 stages=4 width=32" MMA,
      "gemm bm=128 bn=128 bk=64 stages=3 width=32 warps=4 resident=2" MMA, "gemm bm=128 bn=128 bk=32 stages=5 width=32 warps=4 resident=2" MMA}},
    {"bf16, B along n", DT_BF16, false, true, 4096, 4096, 4096,
     {"library algorithm=0", "gemm bm=128 bn=256 bk=64 stages=4 cluster=2 raster=8 width=32",
      "gemm bm=128 bn=256 bk=64 stages=4 width=32" MMA, "gemm bm=128 bn=128 bk=64 stages=3 width=32 warps=4 resident=2" MMA}},
    {"f16, ragged", DT_F16, false, false, 1000, 1304, 776,
     {"library algorithm=0", "gemm bm=128 bn=128 bk=64 stages=5 width=32" MMA, "gemm bm=64 bn=64 bk=32 stages=6 width=32" MMA}},
    {"f32 by pieces", DT_F32, true, false, 2048, 2048, 2048,
     {"library algorithm=0", "gemm bm=128 bn=128 bk=32 stages=5 cluster=1 raster=8 width=32",
      "gemm bm=128 bn=128 bk=32 stages=5 width=32" MMA, "gemm bm=128 bn=128 bk=64 stages=3 width=32" MMA,
      "gemm bm=64 bn=128 bk=32 stages=4 width=32 warps=4 resident=2" MMA}},
    {"f32 by pieces, ragged", DT_F32, true, true, 500, 717, 333,
     {"library algorithm=0", "gemm bm=64 bn=64 bk=32 stages=6 width=32" MMA}},
};

/* ---- plans ----------------------------------------------------------------------------------------------------------------- */

typedef struct { Context *cx; const char *schedule; bool found; } Forced;

static bool forced(void *arg, const Group *g, Schedule *out)
{
    Forced *f = arg;
    if (!g->matmul)
        return false;
    f->found = true;
    return schedule_parse(f->cx->strs, f->schedule, out);
}

/* With every choice taken. */
static Graph *in_pieces(Context *cx, Graph *g)
{
    PassOptions po = {.f16_products = true, .split_work = 1, .numerics = {NUM_FP32, NUM_FP32, NUM_FP32, 0}};
    return pipeline_run(g, &po, NULL) ? last_alternatives(cx, g, NULL) : NULL;
}

static Plan *plan_of(Context *cx, const Case *c, const char *schedule, const char *arch)
{
    char text[512];
    const char *t = dtype_name(c->type);
    bool library = strncmp(schedule, "library", 7) == 0;
    snprintf(text, sizeof text, "graph g { input %%a : %s[%lld, %lld]\ninput %%b : %s[%lld, %lld]\n%%c = matmul(%%a, %%b, trans_b=%d)\n"
             "%%y = relu(%%c)\nreturn %%y }", t, (long long)c->m, (long long)c->k, t, (long long)(c->along_n ? c->k : c->n),
             (long long)(c->along_n ? c->n : c->k), !c->along_n);
    Forced f = {.cx = cx, .schedule = schedule};
    CodegenOptions o = {.fuse = true, .use_library = library, .emitter = EMITTER_NVRTC, .schedules = {forced, &f},
                        .numerics = {NUM_FP32, NUM_FP32, NUM_FP32, 0}};
    Graph *g = graph_parse(cx, source_from_text(cx->arena, "test", text));
    if (g && c->pieces && !library)
        g = in_pieces(cx, g);
    Plan *p = g && machine_cuda(cx, arch, &o.machine) ? codegen_plan(cx, g, NULL, &o) : NULL;
    return f.found ? p : NULL;
}

/* ---- results ----------------------------------------------------------------------------------------------------------------- */

typedef struct { DType type; int64_t count; void *data; } Matrix;

static Matrix matrix(Arena *a, const char *name, DType t, int64_t rows, int64_t columns)
{
    Matrix x = {t, rows * columns, arena_alloc(a, (size_t)(rows * columns) * dtype_bytes(t))};
    philox_fill(t, x.data, 0, (size_t)x.count, philox_key(7, name), (Dist){.kind = DIST_NORMAL, .a = 0, .b = 1});
    return x;
}

static double at(const Matrix *x, int64_t i) { return dtype_load(x->type, (const char *)x->data + i * dtype_bytes(x->type)); }

/* Elements drawn anywhere, against sums in double: within the output's rounding and 2^-20 of the sum of |a b|. */
static bool near(const Case *c, const Matrix *a, const Matrix *b, const Matrix *y)
{
    uint64_t random = 5;
    double unit = c->type == DT_BF16 ? 0x1p-8 : c->type == DT_F16 ? 0x1p-11 : 0;
    for (int s = 0; s < SAMPLES; s++) {
        int64_t i = (int64_t)(stats_random(&random) % (uint64_t)c->m), j = (int64_t)(stats_random(&random) % (uint64_t)c->n);
        double sum = 0, size = 0;
        for (int64_t k = 0; k < c->k; k++) {
            double term = at(a, i * c->k + k) * at(b, c->along_n ? k * c->n + j : j * c->k + k);
            sum += term;
            size += fabs(term);
        }
        sum = sum > 0 ? sum : 0;
        double got = at(y, i * c->n + j);
        if (!(fabs(got - sum) <= unit * sum + 0x1p-20 * size)) {
            printf("  [%lld, %lld] is %.9g, not %.9g\n", (long long)i, (long long)j, got, sum);
            return false;
        }
    }
    return true;
}

static bool right(Context *cx, const Case *c, Plan *p, const Matrix *a, const Matrix *b)
{
    const ExecutorOps *x = &executor_cuda;
    pawl_session_options so = {.size = sizeof so, .device = "cuda"};
    Matrix y = {c->type, c->m * c->n, arena_alloc(cx->arena, (size_t)(c->m * c->n) * dtype_bytes(c->type))};
    size_t bytes[3] = {(size_t)a->count * dtype_bytes(a->type), (size_t)b->count * dtype_bytes(b->type), (size_t)y.count * dtype_bytes(y.type)};
    ExecDevice *v = x->device_open(cx, &so);
    Executor *e = v ? x->open_on(v, cx, p) : NULL;
    void *m[3] = {0};
    bool ok = e != NULL;
    for (int i = 0; ok && i < 3; i++)
        ok = (m[i] = x->alloc(v, bytes[i], cx->diags)) != NULL;
    memset(y.data, 0xff, bytes[2]);
    ok = ok && x->upload(v, m[0], a->data, bytes[0], NULL, cx->diags) && x->upload(v, m[1], b->data, bytes[1], NULL, cx->diags) &&
         x->upload(v, m[2], y.data, bytes[2], NULL, cx->diags) && x->run(e, m, &m[2], NULL, NULL, cx->diags) &&
         x->download(v, y.data, m[2], bytes[2], NULL, cx->diags);
    for (int i = 0; i < 3; i++)
        if (m[i])
            x->release(v, m[i]);
    if (e)
        x->close(e);
    if (v)
        x->device_close(v);
    return ok && near(c, a, b, &y);
}

/* ---- times ------------------------------------------------------------------------------------------------------------------- */

static void print_times(Context *cx, const Case *c, MeasureItem *items, uint32_t n, const TuneDevice *d)
{
    static const Dist dists[2] = {{.kind = DIST_NORMAL, .a = 0, .b = 1}, {.kind = DIST_NORMAL, .a = 0, .b = 1}};
    MeasureOptions o = {.numerics = {NUM_FP32, NUM_FP32, NUM_FP32, 0}, .dists = dists, .seed = 3};
    Measurer *m = measurer_new(d);
    MeasureSession *s = m->open(m, items, n, &o);
    uint32_t which[MOST];
    uint64_t random = 11;
    Samples samples[MOST] = {0};
    for (uint32_t i = 0; i < n; i++)
        which[i] = i;
    if (s && measure_blocks(m, s, items, which, n, BLOCKS, false, &random, samples, cx->arena)) {
        double first = stats_median(samples[0].x, samples[0].n), flops = 2.0 * (double)c->m * (double)c->n * (double)c->k;
        for (uint32_t i = 0; i < n; i++) {
            double t = stats_median(samples[i].x, samples[i].n);
            printf("  %9.1f us %7.1f TFLOP/s %5.2fx  %s%s%s\n", t * 1e6, flops / t * 1e-12, first / t, c->schedules[i],
                   items[i].outcome ? ": " : "", items[i].outcome ? items[i].outcome : "");
        }
    }
    if (s)
        m->close(s);
    measurer_free(m);
}

static int check(const Case *c, const TuneDevice *d)
{
    Context *cx = context_new();
    MeasureItem items[MOST];
    Matrix a = matrix(cx->arena, "a", c->type, c->m, c->k), b = matrix(cx->arena, "b", c->type, c->n, c->k);
    uint32_t n = 0;
    int failed = 0;
    printf("%s %lld x %lld x %lld\n", c->name, (long long)c->m, (long long)c->n, (long long)c->k);
    for (; n < MOST && c->schedules[n]; n++) {
        Plan *p = plan_of(cx, c, c->schedules[n], d->arch);
        bool ok = p && right(cx, c, p, &a, &b);
        items[n] = (MeasureItem){.cx = cx, .plan = p};
        if (!ok)
            printf("  FAILED %s\n", c->schedules[n]);
        failed += !ok;
    }
    if (failed)
        diags_print(cx->diags, stdout, false);
    else
        print_times(cx, c, items, n, d);
    context_free(cx);
    return failed;
}

int main(void)
{
    Context *cx = context_new();
    TuneDevice d;
    int failed = 0;
    if (!tune_device(cx, "cuda", true, &d)) {
        printf("SKIP: %s\n", diag_format(cx->arena, diags_at(cx->diags, 0)));
        context_free(cx);
        return 77;
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        failed += check(&cases[i], &d);
    context_free(cx);
    return failed != 0;
}
