/* The model of products with wgmma against times measured on an NVIDIA H200 (a row-major store as the epilogue): the tuner measures a
 * few tiles, so the fastest must be among the model's first; untuned compiles take the model's first. */
#include "codegen/kinds/gemm_model.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

enum { MOST = 12, FIRST = 8 };
typedef struct { uint32_t bm, bn, bk, cluster; double us; } Tile;
typedef struct { const char *name; GemmFormat format; double m, n, k; bool aligned; Tile tiles[MOST]; } Measured;

static const Measured measured[] = {
    {"4096x4096x4096", GEMM_3XF16, 4096, 4096, 4096, true,
     {{128, 128, 32, 1, 550.1}, {128, 128, 32, 2, 554.5}, {128, 128, 64, 1, 551.3}, {128, 128, 64, 2, 573}, {128, 96, 32, 1,
      678.5}, {128, 64, 32, 1, 853.4}, {192, 64, 32, 1, 769.5}, {64, 128, 32, 1, 817.3}}},
    {"1024x8192x8192", GEMM_3XF16, 1024, 8192, 8192, true,
     {{128, 128, 32, 1, 537.9}, {128, 128, 32, 2, 540.6}, {128, 128, 64, 1, 534.6}, {128, 128, 64, 2, 553.1}, {128, 96, 32, 1,
      765.3}, {128, 64, 32, 1, 957.3}, {192, 64, 32, 1, 991.7}, {64, 128, 32, 1, 843.5}}},
    {"8205x2949x5921", GEMM_3XF16, 8205, 2949, 5921, false,
     {{128, 128, 32, 1, 2602.5}, {128, 128, 32, 2, 1884.7}, {128, 128, 64, 1, 1654.4}, {128, 128, 64, 2, 1411.1}, {128, 96, 32,
      1, 3020.3}, {128, 64, 32, 1, 3887.5}, {192, 64, 32, 1, 3509.7}, {64, 128, 32, 1, 3909.5}}},
    {"1024x1024x1024", GEMM_3XF16, 1024, 1024, 1024, true,
     {{128, 128, 32, 1, 21.5}, {128, 128, 32, 2, 22.4}, {128, 128, 64, 1, 22.5}, {128, 128, 64, 2, 24.6}, {128, 96, 32, 1, 18.3},
      {128, 64, 32, 1, 16.9}, {192, 64, 32, 1, 18.7}, {64, 128, 32, 1, 16.6}}},
    {"8192x8192x8192", GEMM_3XF16, 8192, 8192, 8192, true,
     {{128, 128, 32, 1, 4491.6}, {128, 128, 32, 2, 4900.1}, {128, 128, 64, 1, 4394.1}, {128, 128, 64, 2, 4496.6}, {128, 96, 32,
      1, 6411.4}, {128, 64, 32, 1, 8867.9}, {192, 64, 32, 1, 7233.7}, {64, 128, 32, 1, 8399.2}}},
    {"4096x4096x4096", GEMM_BF16, 4096, 4096, 4096, true,
     {{128, 256, 64, 1, 181.7}, {128, 256, 64, 2, 183.2}, {128, 256, 32, 2, 184.1}, {128, 192, 64, 1, 202.6}, {128, 192, 64, 2,
      206.1}, {192, 192, 64, 1, 199.5}, {192, 128, 64, 1, 208.4}, {128, 128, 64, 1, 189.3}, {128, 128, 64, 2, 191.8}, {64, 256, 64, 1,
      197.2}}},
    {"8192x8192x8192", GEMM_BF16, 8192, 8192, 8192, true,
     {{128, 256, 64, 1, 1399.6}, {128, 256, 64, 2, 1409.9}, {128, 256, 32, 2, 1439.7}, {128, 192, 64, 1, 1399.4}, {128, 192, 64,
      2, 1411.3}, {192, 192, 64, 1, 1463.1}, {192, 128, 64, 1, 1438.7}, {128, 128, 64, 1, 1501.4}, {128, 128, 64, 2, 1516.7}, {64, 256,
      64, 1, 1531.6}}},
    {"2048x12288x2048", GEMM_BF16, 2048, 12288, 2048, true,
     {{128, 256, 64, 1, 146.6}, {128, 256, 64, 2, 148.5}, {128, 256, 32, 2, 146.6}, {128, 192, 64, 1, 145.3}, {128, 192, 64, 2,
      147.3}, {192, 192, 64, 1, 162.6}, {192, 128, 64, 1, 152.1}, {128, 128, 64, 1, 152.3}, {128, 128, 64, 2, 154.3}, {64, 256, 64, 1,
      162.2}}},
    {"2048x2048x6144", GEMM_BF16, 2048, 2048, 6144, true,
     {{128, 256, 64, 1, 69.1}, {128, 256, 64, 2, 69.8}, {128, 256, 32, 2, 69.7}, {128, 192, 64, 1, 99.7}, {128, 192, 64, 2,
      100.7}, {192, 192, 64, 1, 75.1}, {192, 128, 64, 1, 101.7}, {128, 128, 64, 1, 71.6}, {128, 128, 64, 2, 72.3}, {64, 256, 64, 1,
      73.9}}},
    {"8192x4096x1024", GEMM_BF16, 8192, 4096, 1024, true,
     {{128, 256, 64, 1, 111.3}, {128, 256, 64, 2, 108.9}, {128, 256, 32, 2, 108.7}, {128, 192, 64, 1, 111.1}, {128, 192, 64, 2,
      112.4}, {192, 192, 64, 1, 121.2}, {192, 128, 64, 1, 116.9}, {128, 128, 64, 1, 116.3}, {128, 128, 64, 2, 118.6}, {64, 256, 64, 1,
      124.7}}},
    {"384x520x328", GEMM_BF16, 384, 520, 328, false,
     {{128, 256, 64, 1, 11}, {128, 256, 64, 2, 11.9}, {128, 256, 32, 2, 11.3}, {128, 192, 64, 1, 9.3}, {128, 192, 64, 2, 10.4},
      {192, 192, 64, 1, 11.7}, {192, 128, 64, 1, 9.7}, {128, 128, 64, 1, 8.2}, {128, 128, 64, 2, 9}, {64, 256, 64, 1, 9}}},
};

static void near_what_was_measured(void **state)
      {
    Context *cx = context_new();
    Machine h200;
    assert_true(machine_cuda(cx, "sm_90a", &h200));
    for (size_t i = 0; i < sizeof measured / sizeof *measured; i++) {
        const Measured *m = &measured[i];
        double seconds[MOST], bytes = (m->m * m->k + m->n * m->k + m->m * m->n) * (m->format == GEMM_BF16 ? 2 : 4);
        uint32_t n = 0, best = 0, first = 0, before = 0;
        for (; n < MOST && m->tiles[n].bm; n++) {
            const Tile *t = &m->tiles[n];
            KGemm g = {.format = m->format, .wgmma = true, .bm = t->bm, .bn = t->bn, .bk = t->bk, .cluster = t->cluster, .parts = 1};
            seconds[n] = gemm_wgmma_seconds(&g, &(GemmSize){m->m, m->n, m->k, 1, bytes, m->aligned}, &h200);
            assert_true(seconds[n] * 1e6 > 0.75 * t->us && seconds[n] * 1e6 < 1.35 * t->us);
            best = t->us < m->tiles[best].us ? n : best;
            first = seconds[n] < seconds[first] ? n : first;
        }
        for (uint32_t k = 0; k < n; k++)
            before += seconds[k] < seconds[best];
        double lost = m->tiles[first].us / m->tiles[best].us;
        printf("%s: the model's first is %.3f of the fastest, which it has as number %u\n", m->name, lost, before + 1);
        assert_true(before < FIRST && lost <= 1.05);
    }
    context_free(cx);
}

int main(void)
      {
    const struct CMUnitTest tests[] = {cmocka_unit_test(near_what_was_measured)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
