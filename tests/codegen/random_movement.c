/* tests/codegen/random_movement.c — one more node that only moves elements, or names some. */
#include "tests/codegen/random_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void op_reshape(Gen *g)
{
    int x = pick(g);
    Val v = g->v[x];
    switch (below(g, 4)) {
    case 0:                                                        /* two neighbours become one */
        if (v.rank >= 2) {
            int i = below(g, v.rank - 1);
            RDim p = v.d[i], q = v.d[i + 1];
            if ((p.a && (q.a || p.b)) || (q.a && q.b))
                return;
            v.d[i] = (RDim){p.a * q.b + q.a * p.b, p.b * q.b};
            for (int k = i + 1; k + 1 < v.rank; k++)
                v.d[k] = v.d[k + 1];
            v.rank--;
            break;
        }
        return;
    case 1:                                                        /* one becomes two */
        if (v.rank && v.rank < 4) {
            int i = below(g, v.rank), f = 2 + below(g, 4);
            if (v.d[i].a % f || v.d[i].b % f)
                return;
            for (int k = v.rank++; k > i + 1; k--)
                v.d[k] = v.d[k - 1];
            v.d[i + 1] = (RDim){v.d[i].a / f, v.d[i].b / f};
            v.d[i] = rdim(f);
            if (percent(g, 50)) {
                RDim t = v.d[i];
                v.d[i] = v.d[i + 1], v.d[i + 1] = t;
            }
            break;
        }
        return;
    case 2: {                                                      /* other factors of the same count */
        int n = 1;
        for (int i = 0; i < v.rank; i++) {
            if (v.d[i].a)
                return;
            n *= v.d[i].b;
        }
        v.rank = 1 + below(g, 3);
        for (int i = 0; i + 1 < v.rank; i++) {
            int f = 1 + below(g, 16);
            while (n % f)
                f--;
            v.d[i] = rdim(f);
            n /= f;
        }
        v.d[v.rank - 1] = rdim(n);
        break;
    }
    default: {                                                     /* a 1 more */
        if (v.rank == 4)
            return;
        int i = below(g, v.rank + 1);
        for (int k = v.rank++; k > i; k--)
            v.d[k] = v.d[k - 1];
        v.d[i] = rdim(1);
        emit(g, v, "unsqueeze(%s, axis=%d)", NAME(x), i);
        return;
    }
    }
    emit(g, v, "reshape(%s, shape=%s)", NAME(x), shape_text_of(g, v.d, v.rank));
}

void op_permute(Gen *g)
{
    int x = pick(g), perm[4] = {0, 1, 2, 3};
    Val v = g->v[x];
    if (v.rank < 2)
        return;
    for (int i = v.rank; i-- > 1; ) {
        int j = below(g, i + 1), t = perm[i];
        perm[i] = perm[j], perm[j] = t;
    }
    char text[32] = "";
    for (int i = 0; i < v.rank; i++) {
        v.d[i] = g->v[x].d[perm[i]];
        sprintf(text + strlen(text), "%s%d", i ? ", " : "", perm[i]);
    }
    emit(g, v, "permute(%s, perm=[%s])", NAME(x), text);
}

void op_expand(Gen *g)
{
    int x = pick(g);
    Val v = g->v[x];
    if (v.rank < 4 && percent(g, 30)) {
        memmove(v.d + 1, v.d, sizeof v.d - sizeof *v.d);
        v.d[0] = any_dim(g);
        v.rank++;
    }
    for (int i = 0; i < v.rank; i++)
        if (rdim_is(v.d[i], 1) && percent(g, 60))
            v.d[i] = any_dim(g);
    if (shape_most(g, &v) <= MOST)
        emit(g, v, "expand(%s, shape=%s)", NAME(x), shape_text_of(g, v.d, v.rank));
}

void op_slice(Gen *g)
{
    int x = pick(g);
    Val v = g->v[x];
    if (!v.rank)
        return;
    int axis = below(g, v.rank), step = percent(g, 30) ? 2 + below(g, 2) : 1;
    RDim d = v.d[axis];
    int least = d.a * (int)g->out->lo + d.b;
    if (least < 2)
        return;
    int start = below(g, least);
    if (d.a) {                                                     /* to the end, or a constant number */
        step = 1;
        v.d[axis] = percent(g, 50) ? (RDim){d.a, d.b - start} : rdim(1 + below(g, least - start));
    } else {
        v.d[axis] = rdim(1 + below(g, (least - start - 1) / step + 1));
    }
    const char *size = rdim_text(g, v.d[axis]);
    if (step > 1)
        emit(g, v, "slice(%s, axis=%d, start=%d, size=%s, step=%d)", NAME(x), axis, start, size, step);
    else
        emit(g, v, "slice(%s, axis=%d, start=%d, size=%s)", NAME(x), axis, start, size);
}

void op_pad(Gen *g)
{
    int x = pick(g);
    Val v = g->v[x];
    if (!v.rank)
        return;
    int axis = below(g, v.rank), low = below(g, 4), high = below(g, 4);
    double fill = v.t == DT_BOOL ? below(g, 2) : is_float(&v) ? literal(g, -2, 2) : below(g, 4);
    fill = percent(g, 40) ? 0 : fill;
    v.d[axis].b += low + high;
    v.lo = fmin(v.lo, fill), v.hi = fmax(v.hi, fill);
    v.whole &= fill == floor(fill);
    if (shape_most(g, &v) <= MOST)
        emit(g, v, "pad(%s, axis=%d, low=%d, high=%d, fill=%.10g)", NAME(x), axis, low, high, fill);
}

void op_flip(Gen *g)
{
    int x = pick(g);
    Val v = g->v[x];
    if (!v.rank)
        return;
    int a = below(g, v.rank), b = below(g, v.rank);
    if (a < b)
        emit(g, v, "flip(%s, axes=[%d, %d])", NAME(x), a, b);
    else
        emit(g, v, "flip(%s, axes=[%d])", NAME(x), a);
}

void op_concat(Gen *g)
{
    int x = pick(g), part[4], n = 0, want = 2 + below(g, 3);
    Val v = g->v[x];
    if (!v.rank)
        return;
    int axis = below(g, v.rank);
    part[n++] = x;
    for (int tries = 0; n < want && tries < 30; tries++) {
        int y = tries > 25 ? x : pick(g);
        const Val *o = &g->v[y];
        bool fits = o->t == v.t && o->rank == v.rank;
        for (int i = 0; i < v.rank; i++)
            fits &= i == axis || rdim_same(o->d[i], v.d[i]);
        if (!fits)
            continue;
        part[n++] = y;
        v.d[axis].a += o->d[axis].a, v.d[axis].b += o->d[axis].b;
        v.lo = fmin(v.lo, o->lo), v.hi = fmax(v.hi, o->hi);
        v.exact &= o->exact, v.whole &= o->whole;
        v.narrow = v.narrow > o->narrow ? v.narrow : o->narrow;
    }
    if (n < 2 || shape_most(g, &v) > MOST)
        return;
    char text[64] = "";
    for (int i = 0; i < n; i++)
        sprintf(text + strlen(text), "%s, ", NAME(part[i]));
    emit(g, v, "concat(%saxis=%d)", text, axis);
}

void op_repeat(Gen *g)
{
    int x = pick(g);
    Val v = g->v[x];
    if (!v.rank || v.rank == 4)
        return;
    int axis = below(g, v.rank), times = 2 + below(g, 3);
    v.d[axis].a *= times, v.d[axis].b *= times;
    if (shape_most(g, &v) <= MOST)
        emit(g, v, "repeat_interleave(%s, repeats=%d, axis=%d)", NAME(x), times, axis);
}

void op_gather(Gen *g)
{
    int x = pick(g);
    Val v = g->v[x];
    if (!v.rank)
        return;
    int axis = below(g, v.rank);
    if (v.d[axis].a)
        return;
    int n = v.d[axis].b, y = -1;
    for (int tries = 0; tries < 10 && y < 0; tries++) {
        int i = pick(g);
        if ((g->v[i].t == DT_I32 || g->v[i].t == DT_I64) && g->v[i].rank + v.rank - 1 <= 4)
            y = i;
    }
    if (y < 0) {
        Val i = {.t = percent(g, 50) ? DT_I64 : DT_I32, .rank = below(g, 6 - v.rank), .lo = percent(g, 50) ? -n : 0, .hi = n - 1, .whole = true};
        for (int k = 0; k < i.rank; k++)
            i.d[k] = any_dim(g);
        if (shape_most(g, &i) > MOST)
            return;
        y = declare(g, i, false);
    }
    Val out = v;
    out.rank = 0;
    for (int i = 0; i < axis; i++)
        out.d[out.rank++] = v.d[i];
    for (int i = 0; i < g->v[y].rank && out.rank < 4; i++)
        out.d[out.rank++] = g->v[y].d[i];
    for (int i = axis + 1; i < v.rank && out.rank < 4; i++)
        out.d[out.rank++] = v.d[i];
    if (out.rank != v.rank - 1 + g->v[y].rank || shape_most(g, &out) > MOST)
        return;
    y = fit(g, y, -n, n - 1);
    emit(g, out, "gather(%s, %s, axis=%d)", NAME(x), NAME(y), axis);
}

void op_source(Gen *g)
{
    int x = pick(g);
    Val v = g->v[x];
    if (v.rank >= 2 && v.t != DT_BOOL && percent(g, 50)) {
        v.lo = fmin(v.lo, 0), v.hi = fmax(v.hi, 0);
        emit(g, v, percent(g, 50) ? "tril(%s)" : "triu(%s)", NAME(x));
        return;
    }
    if (!v.rank)
        return;
    static const DType types[] = {DT_F32, DT_I64, DT_I32, DT_BF16, DT_F64};
    int axis = below(g, v.rank);
    v.t = types[below(g, 5)];
    v.exact = v.whole = true, v.narrow = 0;
    v.lo = 0, v.hi = rdim_most(g, v.d[axis]) - 1;
    if (v.hi <= 200)
        emit(g, v, "iota(shape=%s, axis=%d, dtype=%s)", shape_text_of(g, v.d, v.rank), axis, dtype_name(v.t));
}
