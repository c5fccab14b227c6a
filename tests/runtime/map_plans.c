/* tests/runtime/map_plans.c — see map_plans.h. */
#include "tests/runtime/map_plans.h"
#include "tests/runtime/make_plan.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_ROWS = 4096, BOX_BYTES = MAP_ROWS * MAP_COLUMNS * 4 };

#define CLUSTER "barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;\n"
const char map_ptx[] =
    ".version 8.0\n.target sm_90\n.address_size 64\n"
    ".visible .entry vpair(.param .u64 y, .param .u64 n, .param .align 64 .b8 map[128])\n{\n"
    ".reg .pred %p<4>;\n.reg .b16 %h<2>;\n.reg .b32 %r<16>;\n.reg .f32 %f<4>;\n.reg .b64 %rd<8>;\n"
    ".shared .align 1024 .b8 room[2048];\n.shared .align 8 .b64 bar;\n"
    "griddepcontrol.wait;\ngriddepcontrol.launch_dependents;\n"
    "mov.u32 %r0, %tid.x;\nmov.u32 %r1, %ctaid.x;\nmov.u32 %r2, %cluster_ctarank;\nsetp.eq.u32 %p0, %r0, 0;\n"
    "@%p0 mbarrier.init.shared::cta.b64 [bar], 1;\nfence.mbarrier_init.release.cluster;\n" CLUSTER
    "@!%p0 bra WAIT;\n"
    "mbarrier.arrive.expect_tx.shared::cta.b64 _, [bar], 2048;\n"
    "mov.b64 %rd0, map;\ncvta.param.u64 %rd1, %rd0;\n"
    "mov.u32 %r3, 0;\nshl.b32 %r4, %r1, 3;\nmov.u32 %r5, room;\nmad.lo.u32 %r5, %r2, 1024, %r5;\nmov.b16 %h0, 3;\n"
    "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%r5], [%rd1, {%r3, %r4}], [bar], %h0;\n"
    "WAIT: mbarrier.try_wait.parity.shared::cta.b64 %p1, [bar], 0;\n@!%p1 bra WAIT;\n"
    /* rows of 128 bytes: the 16-byte piece within one by the number of the row */
    "shl.b32 %r6, %r0, 2;\nshr.u32 %r7, %r6, 7;\nand.b32 %r7, %r7, 7;\nshl.b32 %r7, %r7, 4;\nxor.b32 %r6, %r6, %r7;\n"
    "mov.u32 %r8, room;\nadd.u32 %r8, %r8, %r6;\nld.shared.f32 %f0, [%r8];\nld.shared.f32 %f1, [%r8+1024];\n"
    "fma.rn.f32 %f2, %f1, 0f40000000, %f0;\n"
    "mad.lo.u32 %r9, %r1, 256, %r0;\ncvt.u64.u32 %rd2, %r9;\nld.param.u64 %rd3, [n];\nsetp.ge.s64 %p2, %rd2, %rd3;\n@%p2 bra DONE;\n"
    "shl.b64 %rd2, %rd2, 2;\nld.param.u64 %rd4, [y];\nadd.u64 %rd4, %rd4, %rd2;\nst.global.f32 [%rd4], %f2;\n"
    "DONE:\n" CLUSTER "ret;\n}\n";

static void add_step(Maker *m, Dim rows, uint32_t from, uint32_t to)
{
    DimPool *d = m->cx->dims;
    uint32_t i = make_launch(m, "vpair", "w", &to, dim_mul_const(d, rows, MAP_COLUMNS), BOX_BYTES * 2 + 8);
    PlanStep *s = &m->p->steps.data[i];
    PlanKernel *k = &m->p->kernels.data[s->kernel];
    PlanTensorMap map = {.buffer = from, .dtype = DT_F32, .rank = 2, .dims = {make_const(m, MAP_COLUMNS), rows},
                         .strides = {make_const(m, MAP_COLUMNS * 4)}, .offset = make_const(m, 0), .box = {MAP_COLUMNS, MAP_ROWS}, .swizzle = 128};
    k->n_maps = 1;
    k->cluster = 2;
    s->maps = arena_copy(m->cx->arena, &map, sizeof map);
    s->grid[0] = dim_mul_const(d, dim_ceildiv(d, rows, make_const(m, 2 * MAP_ROWS)), 2);
}

Plan *map_plan(Context *cx, MapPlan o)
{
    Maker m = make_plan(cx, "pairs", map_ptx);
    m.p->arch = str_intern(cx->strs, "sm_90");
    Dim rows = o.rows ? make_const(&m, o.rows) : make_symbol(&m, "R", 1, MAX_ROWS), shape[] = {rows, make_const(&m, MAP_COLUMNS)};
    int64_t slot = MAX_ROWS * MAP_COLUMNS * 4;
    uint32_t x = make_buffer(&m, BUF_INPUT, "x", DT_F32, shape, 2, 0), y = make_buffer(&m, BUF_OUTPUT, "y", DT_F32, shape, 2, 0), t[2];
    for (uint32_t i = 0; i < 2 && i + 1 < o.steps; i++)
        t[i] = make_buffer(&m, BUF_WORKSPACE, i ? "t1" : "t0", DT_F32, shape, 2, i * slot);
    for (uint32_t i = 0; i < o.steps; i++)
        add_step(&m, rows, i ? t[(i - 1) % 2] : x, i + 1 < o.steps ? t[i % 2] : y);
    m.p->kernels.data[0].waits = o.waits;
    return make_done(&m, 2 * slot);
}

void map_on_host(const float *x, float *y, int64_t rows, uint32_t steps)
{
    int64_t n = rows * MAP_COLUMNS, box = MAP_ROWS * MAP_COLUMNS;
    float *from = malloc((size_t)n * 4), *to = malloc((size_t)n * 4);
    memcpy(from, x, (size_t)n * 4);
    for (uint32_t s = 0; s < steps; s++) {
        for (int64_t i = 0; i < n; i++) {
            int64_t first = i / (2 * box) * 2 * box + i % box, second = first + box;
            to[i] = 2 * (second < n ? from[second] : 0) + (first < n ? from[first] : 0);
        }
        memcpy(from, to, (size_t)n * 4);
    }
    memcpy(y, from, (size_t)n * 4);
    free(from);
    free(to);
}
