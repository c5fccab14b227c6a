/* Small graphs with concrete shapes, tensors of plain doubles, and both ways to evaluate them. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "ir/eval.h"

typedef struct { Context *cx; Graph *g; Arena *a; Tensor *in[16]; uint32_t n_in; uint64_t random; } Fixture;

static inline Fixture fixture_new(void)
{
    Fixture f = {.cx = context_new(), .a = arena_new(), .random = 1};
    f.g = graph_new(f.cx, str_intern(f.cx->strs, "test"));
    return f;
}

static inline void fixture_free(Fixture *f)
{
    graph_free(f->g);
    context_free(f->cx);
    arena_free(f->a);
}

static inline double uniform(Fixture *f, double lo, double hi)
{
    uint64_t z = f->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return lo + (hi - lo) * (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

static inline Shape shape_of(Fixture *f, uint32_t rank, const int64_t *d)
{
    Shape s = {.rank = rank};
    for (uint32_t i = 0; i < rank; i++)
        s.d[i] = dim_const(f->cx->dims, d[i]);
    return s;
}
#define DIMS(...) (int64_t[]){__VA_ARGS__}
#define RANK(...) (sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

/* A new input with its tensor; elements uniform in [lo, hi), rounded to t. */
static inline Node *input_in(Fixture *f, DType t, uint32_t rank, const int64_t *d, double lo, double hi)
{
    char name[8] = {'x', (char)('a' + f->n_in), 0};
    Node *n = graph_input(f->g, OP_INPUT, name, (Type){t, shape_of(f, rank, d)}, LOC_NONE);
    Tensor *x = tensor_new(f->a, t, (int)rank, d);
    for (int64_t i = 0; i < tensor_count(x); i++)
        dtype_store(t, (char *)x->data + i * dtype_bytes(t), uniform(f, lo, hi));
    f->in[f->n_in++] = x;
    return n;
}
#define INPUT(f, t, lo, hi, ...) input_in(f, t, RANK(__VA_ARGS__), DIMS(__VA_ARGS__), lo, hi)

static inline double at(const Tensor *x, int64_t i) { return dtype_load(x->dtype, (char *)x->data + i * dtype_bytes(x->dtype)); }
static inline void put(Tensor *x, int64_t i, double v) { dtype_store(x->dtype, (char *)x->data + i * dtype_bytes(x->dtype), v); }

static inline Attr attr_int(AttrKey k, int64_t i) { return (Attr){.key = k, .i = i}; }
static inline Attr attr_ints(AttrKey k, const int64_t *v, uint32_t n) { return (Attr){.key = k, .n = n, .ints = v}; }
static inline Node *add_node(Fixture *f, Op op, Node *const *in, uint32_t n_in, const Attr *attrs, uint32_t n_attrs)
{
    Node *n = graph_add(f->g, op, in, n_in, attrs, n_attrs, LOC_NONE);
    if (!n)
        diags_print(f->cx->diags, stderr, false);
    assert_non_null(n);
    return n;
}

/* Output `k` in a domain; also checks that every coordinate, asked for alone or in odd order, gives the same. */
static inline const Value *evaluate(Fixture *f, const Domain *d, uint32_t k)
{
    Evaluator *e = eval_new(f->g, d, f->in, f->a);
    return eval_all(e, k);
}

static inline int64_t node_count(const Node *n)
{
    int64_t c = 1;
    for (uint32_t i = 0; i < n->type.shape.rank; i++)
        c *= n->type.shape.d[i]->value;
    return c;
}

static inline bool same_value(const Domain *d, DType t, Value a, Value b)
{
    if (!dtype_is_float(t))
        return a.i == b.i && a.v == b.v;
    bool v = a.v == b.v || (isnan(a.v) && isnan(b.v));
    return v && (d != &domain_error || a.e == b.e);
}

static inline void points_equal_all(Fixture *f, const Domain *d)
{
    for (uint32_t k = 0; k < f->g->outputs.n; k++) {
        Node *n = f->g->outputs.data[k].node;
        int64_t count = node_count(n);
        Evaluator *e = eval_new(f->g, d, f->in, f->a);
        const Value *all = eval_all(e, k);
        for (int round = 0; round < 4 && count > 0; round++) {
            size_t want = round == 0 ? 1 : round == 3 ? (size_t)count : 1 + (size_t)(uniform(f, 0, 1) * (double)count / 2);
            int64_t *flat = arena_new_array(f->a, int64_t, want);
            Value *out = arena_new_array(f->a, Value, want);
            for (size_t i = 0; i < want; i++)
                flat[i] = (int64_t)(uniform(f, 0, 1) * (double)count);
            assert_true(eval_points(e, k, flat, want, out));
            for (size_t i = 0; i < want; i++)
                assert_true(same_value(d, n->type.dtype, out[i], all[flat[i]]));
        }
    }
}

static inline void assert_near(double got, double want, double relative)
{
    if (isnan(want) ? isnan(got) : got == want || fabs(got - want) <= relative * fabs(want))
        return;
    fail_msg("got %.17g, want %.17g", got, want);
}
