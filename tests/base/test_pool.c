/* tests/base/test_pool.c — every index once, ranges of at least the grain, loops within loops, many short loops, several
 * callers at a time. */
#include "base/pool.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { N = 10007 };

typedef struct {
    ThreadPool *pool;
    int64_t grain;
    _Atomic int seen[N], short_ranges, bad_workers, inner;
} Check;

static void visit(void *arg, int64_t begin, int64_t end, int worker)
{
    Check *c = arg;
    c->short_ranges += end - begin < c->grain;
    c->bad_workers += worker < 0 || worker >= pool_threads(c->pool);
    for (int64_t i = begin; i < end; i++)
        c->seen[i]++;
}

static void every_index_once(void **state)
{
    (void)state;
    Check *c = calloc(1, sizeof *c);
    for (int threads = 1; threads <= 5; threads += 2) {
        c->pool = pool_new(threads);
        assert_in_range(pool_threads(c->pool), 1, threads);
        for (int64_t n = 0; n <= N; n += n < 5 ? 1 : 1667)
            for (c->grain = 1; c->grain < 5000; c->grain *= 7) {
                memset(c->seen, 0, sizeof c->seen);
                pool_for(c->pool, n, c->grain, visit, c);
                for (int64_t i = 0; i < N; i++)
                    assert_int_equal(c->seen[i], i < n);
                if (n >= c->grain)
                    assert_int_equal(c->short_ranges, 0);
                c->short_ranges = 0;
            }
        assert_int_equal(c->bad_workers, 0);
        pool_free(c->pool);
    }
    free(c);
    pool_free(NULL);
}

static void count_inner(void *arg, int64_t begin, int64_t end, int worker)
{
    Check *c = arg;
    (void)worker;
    c->inner += (int)(end - begin);
}

static void nest(void *arg, int64_t begin, int64_t end, int worker)
{
    Check *c = arg;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        pool_for(c->pool, 10, 1, count_inner, c);
}

static void loops_nest(void **state)
{
    (void)state;
    Check *c = calloc(1, sizeof *c);
    c->pool = pool_new(4);
    for (int k = 0; k < 200; k++)
        pool_for(c->pool, 100, 1, nest, c);
    assert_int_equal(c->inner, 200 * 1000);
    pool_free(c->pool);
    free(c);
}

static void *caller(void *arg)
{
    Check *c = arg;
    for (int k = 0; k < 500; k++)
        pool_for(c->pool, 64, 1, count_inner, c);
    return NULL;
}

static void callers_share_a_pool(void **state)
{
    (void)state;
    Check *c = calloc(1, sizeof *c);
    c->pool = pool_new(3);
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, caller, c), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(c->inner, 4 * 500 * 64);
    pool_free(c->pool);
    free(c);
}

static void the_environment_decides(void **state)
{
    (void)state;
    setenv("PAWL_THREADS", "3", 1);
    ThreadPool *p = pool_new(0);
    assert_int_equal(pool_threads(p), 3);
    pool_free(p);
    setenv("PAWL_THREADS", "many", 1);
    p = pool_new(0);
    assert_true(pool_threads(p) >= 1);
    pool_free(p);
    unsetenv("PAWL_THREADS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_index_once), cmocka_unit_test(loops_nest), cmocka_unit_test(callers_share_a_pool),
        cmocka_unit_test(the_environment_decides),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
