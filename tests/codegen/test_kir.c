/* The kernel IR: what the builder simplifies, how accesses are classified, what the verifier rejects, the printed form. */
#include "codegen/kir.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

typedef struct { Context *cx; Kernel *k; DimPool *p; uint32_t x, y; } Fixture;

static Fixture fixture(bool host)
{
    Fixture f = {.cx = context_new()};
    f.p = f.cx->dims;
    f.k = kernel_new(f.cx, f.cx->arena, "k", host, host ? 1 : 128);
    kernel_grid(f.k, dim_const(f.p, 10), dim_const(f.p, 1), dim_const(f.p, 1));
    f.x = kernel_buffer(f.k, str_intern(f.cx->strs, "x"), DT_BF16, dim_const(f.p, 1 << 20), 16);
    f.y = kernel_buffer(f.k, str_intern(f.cx->strs, "y"), DT_BF16, dim_const(f.p, 1 << 20), 16);
    return f;
}

static Dim lanes_at(const Fixture *f, Dim base, uint32_t lanes) { return dim_add(f->p, base, kernel_lane(f->p, lanes)); }

static void decides_tests(void **state)
{
    (void)state;
    Fixture f = fixture(false);
    Dim at = lanes_at(&f, dim_mul_const(f.p, f.k->thread, 8), 8);
    assert_int_equal(k_test(f.k, at, dim_const(f.p, 1024), 8)->kind, K_CONST);
    assert_int_equal(k_test(f.k, at, dim_const(f.p, 1024), 8)->i, 1);
    assert_int_equal(k_test(f.k, dim_const(f.p, 9), f.k->block[0], 1)->i, 0);
    KInst *whole = k_test(f.k, at, dim_const(f.p, 1000), 8);      /* 1000 and every base are multiples of 8 */
    assert_int_equal(whole->type.lanes, 1);
    assert_ptr_equal(whole->index, dim_mul_const(f.p, f.k->thread, 8));
    assert_int_equal(k_test(f.k, at, dim_const(f.p, 1001), 8)->type.lanes, 8);
    context_free(f.cx);
}

static void simplifies(void **state)
{
    (void)state;
    Fixture f = fixture(false);
    Dim at = lanes_at(&f, dim_mul_const(f.p, f.k->thread, 8), 8);
    KInst *yes = k_const(f.k, (KType){DT_BOOL, 1}, 1), *no = k_const(f.k, (KType){DT_BOOL, 1}, 0);
    KInst *v = k_load(f.k, f.x, at, 8, yes, 0);
    assert_int_equal(v->n_args, 0);
    assert_int_equal(k_load(f.k, f.x, at, 8, no, 3)->kind, K_CONST);
    assert_ptr_equal(k_cast(f.k, v, DT_BF16), v);
    assert_ptr_equal(k_splat(f.k, v, 8), v);
    KInst *one = k_const(f.k, (KType){DT_F32, 1}, 1);
    assert_int_equal(k_splat(f.k, one, 4)->kind, K_CONST);
    KInst *s = k_load(f.k, f.x, f.k->thread, 1, NULL, 0), *wide = k_splat(f.k, s, 4);
    assert_int_equal(wide->kind, K_SPLAT);
    assert_ptr_equal(k_lane(f.k, wide, 2), s);
    assert_ptr_equal(k_select(f.k, yes, s, one), s);
    assert_int_equal(k_op2(f.k, OP_LT, s, s)->type.dtype, DT_BOOL);
    KInst *sum = k_op2(f.k, OP_ADD, v, k_cast(f.k, one, DT_BF16));
    assert_int_equal(sum->type.lanes, 8);
    assert_true(k_const(f.k, (KType){DT_BF16, 1}, 1.001)->f == 1.0);
    uint32_t before = f.k->body.n;
    k_store(f.k, f.y, at, v, no);
    assert_int_equal(f.k->body.n, before);
    context_free(f.cx);
}

static void classifies(void **state)
{
    (void)state;
    Fixture f = fixture(false);
    Dim lane = kernel_lane(f.p, 8), base = dim_mul_const(f.p, f.k->thread, 8), seven = dim_const(f.p, 7), eight = dim_const(f.p, 8);
    Access a = k_access(f.k, dim_add(f.p, base, lane), 8, DT_BF16, 16);
    assert_int_equal(a.kind, ACCESS_CONTIGUOUS);
    assert_int_equal(a.align, 16);
    a = k_access(f.k, dim_add_const(f.p, dim_add(f.p, base, lane), 4), 8, DT_BF16, 16);
    assert_int_equal(a.align, 8);
    a = k_access(f.k, dim_add_const(f.p, dim_add(f.p, base, lane), 1), 8, DT_BF16, 16);
    assert_int_equal(a.align, 2);
    a = k_access(f.k, base, 8, DT_F32, 16);
    assert_int_equal(a.kind, ACCESS_UNIFORM);
    a = k_access(f.k, dim_add(f.p, f.k->thread, dim_mul_const(f.p, lane, 100)), 8, DT_F32, 16);
    assert_int_equal(a.kind, ACCESS_STRIDED);
    assert_true(dim_is(a.stride, 100));
    a = k_access(f.k, dim_mod(f.p, dim_add(f.p, f.k->thread, lane), seven), 8, DT_F32, 16);
    assert_int_equal(a.kind, ACCESS_GATHER);
    a = k_access(f.k, dim_floordiv(f.p, dim_add(f.p, base, lane), eight), 8, DT_F32, 16);
    assert_int_equal(a.kind, ACCESS_UNIFORM);
    a = k_access(f.k, f.k->thread, 1, DT_I64, 16);
    assert_int_equal(a.kind, ACCESS_UNIFORM);
    assert_int_equal(a.align, 8);
    context_free(f.cx);
}

static void accepts(void **state)
{
    (void)state;
    Fixture f = fixture(false);
    KInst *zero = k_const(f.k, (KType){DT_F32, 1}, 0);
    KInst *loop = k_loop(f.k, "i", f.k->thread, dim_const(f.p, 1000), 128, &zero, 1, 0);
    KInst *v = k_cast(f.k, k_load(f.k, f.x, loop->var, 1, NULL, 0), DT_F32);
    KInst *sum = k_op2(f.k, OP_ADD, k_carry(f.k, loop, 0), v);
    k_loop_end(f.k, loop, &sum);
    KInst *r = k_op2(f.k, OP_ADD, k_result(f.k, loop, 0), k_shuffle_xor(f.k, k_result(f.k, loop, 0), 16));
    k_barrier(f.k);
    KInst *branch = k_if(f.k, k_test(f.k, f.k->thread, dim_const(f.p, 1), 1));
    k_store(f.k, f.y, f.k->block[0], r, NULL);
    k_if_end(f.k, branch, NULL, 0);
    kernel_collect_scalars(f.k);
    assert_true(kernel_verify(f.k, f.cx->diags));
    assert_int_equal(f.k->scalars.n, 0);
    assert_false(kernel_needs_index64(f.k));
    context_free(f.cx);
}

static void rejected(Fixture *f, const char *why)
{
    assert_false(kernel_verify(f->k, f->cx->diags));
    if (!strstr(diags_at(f->cx->diags, 0)->text, why))
        fail_msg("rejected for another reason: %s", diags_at(f->cx->diags, 0)->text);
    context_free(f->cx);
}

static void rejects_divergent_barrier(void **state)
{
    (void)state;
    Fixture f = fixture(false);
    KInst *branch = k_if(f.k, k_test(f.k, f.k->thread, dim_const(f.p, 5), 1));
    k_barrier(f.k);
    k_if_end(f.k, branch, NULL, 0);
    rejected(&f, "barrier");
}

/* Uniform in the first turn, not in the second. */
static void rejects_barrier_after_divergent_carry(void **state)
{
    (void)state;
    Fixture f = fixture(false);
    KInst *go = k_test(f.k, dim_const(f.p, 3), f.k->block[0], 1);
    KInst *loop = k_loop(f.k, "i", dim_const(f.p, 0), dim_const(f.p, 4), 1, &go, 1, 0);
    KInst *branch = k_if(f.k, k_carry(f.k, loop, 0));
    k_barrier(f.k);
    k_if_end(f.k, branch, NULL, 0);
    KInst *next = k_test(f.k, f.k->thread, dim_const(f.p, 9), 1);
    k_loop_end(f.k, loop, &next);
    rejected(&f, "barrier");
}

static void rejects_invisible_value(void **state)
{
    (void)state;
    Fixture f = fixture(false);
    KInst *loop = k_loop(f.k, "i", dim_const(f.p, 0), dim_const(f.p, 4), 1, NULL, 0, 0);
    KInst *inner = k_load(f.k, f.x, loop->var, 1, NULL, 0);
    k_loop_end(f.k, loop, NULL);
    k_store(f.k, f.y, f.k->thread, inner, NULL);
    rejected(&f, "visible");
}

static void rejects_symbol_out_of_scope(void **state)
{
    (void)state;
    Fixture f = fixture(false);
    KInst *loop = k_loop(f.k, "i", dim_const(f.p, 0), dim_const(f.p, 4), 1, NULL, 0, 0);
    k_loop_end(f.k, loop, NULL);
    k_store(f.k, f.y, f.k->thread, k_load(f.k, f.x, loop->var, 1, NULL, 0), NULL);
    rejected(&f, "scope");
}

static void rejects_past_the_end(void **state)
{
    (void)state;
    Fixture f = fixture(false);
    k_store(f.k, f.y, f.k->thread, k_load(f.k, f.x, dim_add_const(f.p, f.k->thread, 1 << 20), 1, NULL, 0), NULL);
    rejected(&f, "past the end");
}

/* Before its wait a kernel reads weights and writes nothing, and it does not end without one. */
static void knows_when_to_wait(void **state)
{
    (void)state;
    Fixture f = fixture(false);
    f.k->buffers.data[f.x].frozen = true;
    KInst *v = k_load(f.k, f.x, f.k->thread, 1, NULL, 0);
    k_wait(f.k);
    k_launch_next(f.k);
    k_store(f.k, f.y, f.k->thread, v, NULL);
    assert_true(kernel_verify(f.k, f.cx->diags));
    assert_true(kernel_places_wait(f.k));
    context_free(f.cx);
}

static void rejects_read_before_wait(void **state)
{
    (void)state;
    Fixture f = fixture(false);
    KInst *v = k_load(f.k, f.x, f.k->thread, 1, NULL, 0);
    k_wait(f.k);
    k_store(f.k, f.y, f.k->thread, v, NULL);
    rejected(&f, "reads what the kernels before it may write");
}

static void rejects_write_before_wait(void **state)
{
    (void)state;
    Fixture f = fixture(false);
    k_store(f.k, f.y, f.k->thread, k_const(f.k, (KType){DT_BF16, 1}, 1), NULL);
    k_wait(f.k);
    rejected(&f, "writes before it waits");
}

static void rejects_branch_without_wait(void **state)
{
    (void)state;
    Fixture f = fixture(false);
    KInst *branch = k_if(f.k, k_test(f.k, f.k->block[0], dim_const(f.p, 5), 1));
    k_wait(f.k);
    k_if_end(f.k, branch, NULL, 0);
    rejected(&f, "without having waited");
}

static void rejects_unaligned_copy(void **state)
{
    (void)state;
    Fixture f = fixture(false);
    uint32_t s = kernel_shared(f.k, "ring", DT_I32, 1024);
    k_copy_async(f.k, s, dim_mul_const(f.p, f.k->thread, 4), f.x, dim_mul_const(f.p, f.k->thread, 8), NULL);
    k_copy_async(f.k, s, dim_mul_const(f.p, f.k->thread, 4), f.x, dim_mul_const(f.p, f.k->thread, 4), NULL);
    rejected(&f, "aligned");
}

static void rejects_too_much_shared(void **state)
{
    (void)state;
    Fixture f = fixture(false);
    kernel_shared(f.k, "s", DT_F32, 60000);
    rejected(&f, "shared memory");
}

static void prints(void **state)
{
    (void)state;
    Fixture f = fixture(true);
    Dim rows = dim_sym(f.p, "R", 1, 1 << 20);
    KInst *loop = k_loop(f.k, "i", dim_const(f.p, 0), rows, 4, NULL, 0, -1);
    Dim at = lanes_at(&f, loop->var, 4);
    KInst *in = k_test(f.k, at, rows, 4);
    k_store(f.k, f.y, at, k_load(f.k, f.x, at, 4, in, -1), in);
    k_loop_end(f.k, loop, NULL);
    kernel_collect_scalars(f.k);
    StrBuf b = strbuf_new(f.cx->arena);
    kernel_print(&b, f.k);
    assert_string_equal(b.text,
        "kernel k  grid(10) block(1) host\n"
        "  in x: bf16[1048576] align 16\n"
        "  out y: bf16[1048576] align 16\n"
        "  scalars R\n"
        "  %0 = for i in 0 .. R step 4 unroll {\n"
        "    %1 = test i + lane4 < R  : boolx4\n"
        "    %2 = load.4 x[i + lane4] mask %1 fill -1  : bf16x4\n"
        "    store.4 y[i + lane4] = %2 mask %1\n"
        "  }\n");
    context_free(f.cx);
}

static void wants_wide_indices(void **state)
{
    (void)state;
    Fixture f = fixture(false);
    Dim huge = dim_sym(f.p, "N", 1, (int64_t)1 << 33);
    uint32_t z = kernel_buffer(f.k, str_intern(f.cx->strs, "z"), DT_F32, huge, 16);
    k_store(f.k, z, dim_sub(f.p, huge, dim_const(f.p, 1)), k_const(f.k, (KType){DT_F32, 1}, 0), NULL);
    assert_true(kernel_needs_index64(f.k));
    context_free(f.cx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decides_tests), cmocka_unit_test(simplifies), cmocka_unit_test(classifies), cmocka_unit_test(accepts),
        cmocka_unit_test(rejects_divergent_barrier), cmocka_unit_test(rejects_barrier_after_divergent_carry),
        cmocka_unit_test(rejects_invisible_value), cmocka_unit_test(rejects_symbol_out_of_scope), cmocka_unit_test(rejects_past_the_end),
        cmocka_unit_test(rejects_too_much_shared), cmocka_unit_test(knows_when_to_wait),
        cmocka_unit_test(rejects_read_before_wait), cmocka_unit_test(rejects_write_before_wait),
        cmocka_unit_test(rejects_branch_without_wait), cmocka_unit_test(rejects_unaligned_copy), cmocka_unit_test(prints), cmocka_unit_test(wants_wide_indices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
