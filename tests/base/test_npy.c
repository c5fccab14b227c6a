/* tests/base/test_npy.c — every dtype and rank round-trips; NumPy's own bytes are read; cut off, corrupt and absurd files are
 * diagnosed, whatever the damage. */
#include "base/file.h"
#include "base/npy.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

typedef struct { Arena *a; Diags *d; const char *path; } Fixture;

static int setup(void **state)
{
    Arena *a = arena_new();
    Fixture *f = arena_new_of(a, Fixture);
    const char *tmp = getenv("TEST_TMP");
    *f = (Fixture){a, diags_new(a), arena_printf(a, "%s/test_npy.%d.npy", tmp ? tmp : "/tmp", (int)getpid())};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    unlink(f->path);
    arena_free(f->a);
    return 0;
}

static void tensors_round_trip(void **state)
{
    Fixture *f = *state;
    for (int t = 0; t < DT_COUNT; t++)
        for (int rank = 0; rank <= TENSOR_MAX_RANK; rank++) {
            static const int64_t dims[TENSOR_MAX_RANK] = {3, 1, 2, 5, 1, 2, 1, 2};
            Tensor *x = tensor_new(f->a, (DType)t, rank, dims);
            for (size_t i = 0; i < tensor_bytes(x); i++)
                ((uint8_t *)x->data)[i] = t == DT_BOOL ? i % 2 : (uint8_t)(i * 31);
            assert_true(npy_write(f->d, f->path, x));
            Tensor *y = npy_read(f->a, f->d, f->path);
            assert_non_null(y);
            assert_int_equal(y->dtype, x->dtype);
            assert_int_equal(y->rank, x->rank);
            assert_memory_equal(y->dims, x->dims, sizeof x->dims);
            assert_memory_equal(y->data, x->data, tensor_bytes(x));
        }
    Tensor *empty = tensor_new(f->a, DT_F32, 2, (int64_t[]){0, 4});
    assert_true(npy_write(f->d, f->path, empty));
    assert_int_equal(tensor_count(npy_read(f->a, f->d, f->path)), 0);
}

/* A file of version 1 to 3 with this header and `bytes` of 0, 1, 2 … */
static Tensor *read_made(Fixture *f, int version, const char *header, size_t bytes)
{
    StrBuf b = strbuf_new(f->a);
    size_t len = strlen(header);
    strbuf_add_n(&b, "\x93NUMPY", 6);
    strbuf_char(&b, (char)version);
    strbuf_char(&b, 0);
    for (int i = 0; i < (version == 1 ? 2 : 4); i++)
        strbuf_char(&b, (char)(len >> 8 * i));
    strbuf_add_n(&b, header, len);
    for (size_t i = 0; i < bytes; i++)
        strbuf_char(&b, (char)i);
    diags_clear(f->d);
    Diags *quiet = diags_new(f->a);
    assert_true(file_write(quiet, f->path, b.text, b.len));
    return npy_read(f->a, f->d, f->path);
}

static void headers_of_numpy_are_read(void **state)
{
    Fixture *f = *state;
    Tensor *t = read_made(f, 1, "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }      \n", 6);
    assert_non_null(t);
    assert_memory_equal(t->data, ((uint8_t[]){0, 2, 4, 1, 3, 5}), 6);
    t = read_made(f, 2, "{\"shape\":(3L,),\"descr\":\"<i4\",\"fortran_order\":False}", 12);
    assert_true(t && t->rank == 1 && t->dims[0] == 3 && ((int32_t *)t->data)[1] == 0x07060504);
    t = read_made(f, 3, "{'descr': '|b1', 'fortran_order': False, 'shape': (3,), }\n", 3);
    assert_memory_equal(t->data, ((uint8_t[]){0, 1, 1}), 3);
    t = read_made(f, 1, "{'descr': '<V2', 'fortran_order': False, 'shape': (), }\n", 2);
    assert_true(t && t->dtype == DT_BF16 && t->rank == 0);
    t = read_made(f, 1, "{'descr': 'bfloat16', 'fortran_order': False, 'shape': (1,), }\n", 9);
    assert_true(t && t->dtype == DT_BF16);
    t = read_made(f, 1, "{'descr': '<f2', 'fortran_order': True, 'shape': (2, 2, 2), }\n", 16);
    assert_memory_equal(t->data, ((uint16_t[]){0x0100, 0x0908, 0x0504, 0x0d0c, 0x0302, 0x0b0a, 0x0706, 0x0f0e}), 16);
}

static void wrong_headers_are_diagnosed(void **state)
{
    Fixture *f = *state;
    static const char *const wrong[] = {
        "", "{}", "{'descr': '<f4'}", "{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,)}", "{'descr': '<f4', 'fortran_order': False, 'shape': 3}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 0)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2305843009213693951,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x", "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}",
        "{'descr': '<f4', 'descr': '<f4', 'shape': (1,)}", "{'descr': '<f4', 'fortran_order': False, 'shape': (1,",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1 2)}", "{'descr': '<f4', 'fortran_order': False, 'shape': (9,)}",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (read_made(f, 1, wrong[i], 32))
            fail_msg("accepted: %s", wrong[i]);
        assert_int_equal(diags_exit_code(f->d), PAWL_EXIT_INVALID);
        assert_int_equal(diags_count(f->d), 1);
    }
    assert_null(read_made(f, 4, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", 4));
    diags_clear(f->d);
    assert_null(npy_read(f->a, f->d, "/nonexistent/x.npy"));
    assert_int_equal(diags_exit_code(f->d), PAWL_EXIT_IO);
}

static void damaged_files_do_not_crash(void **state)
{
    Fixture *f = *state;
    Tensor *x = tensor_new(f->a, DT_F32, 2, (int64_t[]){3, 4});
    assert_true(npy_write(f->d, f->path, x));
    size_t len;
    char *good = file_read(f->a, f->d, f->path, &len);
    srand(9);
    for (int round = 0; round < 3000; round++) {
        ArenaMark m = arena_mark(f->a);
        Diags *d = diags_new(f->a);
        char *bytes = arena_copy(f->a, good, len);
        bool cut = round < (int)len;
        for (int k = cut ? 0 : rand() % 4 + 1; k > 0; k--)
            bytes[(size_t)rand() % 80] ^= (char)(1 << rand() % 8);
        assert_true(file_write(d, f->path, bytes, cut ? (size_t)round : len));
        Tensor *t = npy_read(f->a, d, f->path);
        assert_true((t != NULL) != diags_failed(d));
        assert_false(cut && t);
        arena_reset(f->a, m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tensors_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(headers_of_numpy_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_headers_are_diagnosed, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_files_do_not_crash, setup, teardown),
    };
    return cmocka_run_group_tests_name("npy", tests, NULL, NULL);
}
