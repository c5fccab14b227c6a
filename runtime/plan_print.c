/* runtime/plan_print.c — a plan for people: what runs, on what, why. */
#include "runtime/plan_internal.h"
#include <string.h>

static void print_dim_list(StrBuf *b, const Dim *d, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (i)
            strbuf_add(b, ", ");
        if (d[i])
            dim_print(b, d[i]);
        else
            strbuf_char(b, '1');
    }
}

static void print_bytes(StrBuf *b, Dim d)
{
    if (!d) {
        strbuf_add(b, "?");
    } else if (!dim_is_const(d)) {
        dim_print(b, d);
        strbuf_add(b, " B");
    } else {
        static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
        double v = (double)d->value;
        int u = 0;
        for (; v >= 10240 && u < 4; u++)
            v /= 1024;
        strbuf_printf(b, u ? "%.1f %s" : "%.0f %s", v, units[u]);
    }
}

static void print_indented(StrBuf *b, const char *text, const char *indent)
{
    while (text && *text) {
        size_t n = strcspn(text, "\n");
        strbuf_add(b, indent);
        strbuf_add_n(b, text, n);
        strbuf_char(b, '\n');
        text += n + (text[n] == '\n');
    }
}

static void print_buffers(StrBuf *b, const Plan *p, BufferKind kind)
{
    static const char *const heads[] = {"inputs", "outputs", "weights", "workspace"};
    bool any = false;
    for (uint32_t i = 0; i < p->buffers.n; i++) {
        const PlanBuffer *f = &p->buffers.data[i];
        if (f->kind != kind)
            continue;
        if (!any)
            strbuf_printf(b, "  %s\n", heads[kind]);
        any = true;
        strbuf_printf(b, "    %-20s ", f->name);
        buffer_type_print(b, f);
        strbuf_add(b, "  ");
        print_bytes(b, f->bytes);
        if (kind == BUF_WORKSPACE) {
            strbuf_add(b, " at ");
            dim_print(b, f->offset);
        }
        if (kind == BUF_WEIGHT && f->io < p->weights.n && p->weights.data[f->io].recipe)
            strbuf_printf(b, "  # %s", p->weights.data[f->io].recipe);
        strbuf_char(b, '\n');
    }
}

static void print_kernel(StrBuf *b, const Plan *p, const PlanKernel *k)
{
    strbuf_printf(b, "    %s", k->name);
    if (k->kind)
        strbuf_printf(b, "  kind %s", k->kind);
    if (p->target == TARGET_CUDA)
        strbuf_printf(b, "  block(%u, %u, %u)", k->block[0], k->block[1], k->block[2]);
    if (k->cluster > 1)
        strbuf_printf(b, "  cluster %u", k->cluster);
    if (k->shared_bytes)
        strbuf_printf(b, "  shared %u B", k->shared_bytes);
    if (k->schedule)
        strbuf_printf(b, "  schedule \"%s\"", k->schedule);
    if (k->emitter)
        strbuf_printf(b, "  by %s", k->emitter);
    for (uint32_t i = 0; i < k->code.n; i++)
        strbuf_printf(b, "%s%s.%s", i ? ", " : "  code ", k->code.data[i].arch, code_kind_name(k->code.data[i].kind));
    strbuf_char(b, '\n');
    print_indented(b, k->group, "      | ");
}

static const char *buffer_name(const Plan *p, uint32_t i)
{
    return i < p->buffers.n ? p->buffers.data[i].name : "?";
}

/* "; map a f16 [K, M] strides [2*K] box [64, 128] swizzle 128": dims innermost first, strides in bytes */
static void print_map(StrBuf *b, const Plan *p, const PlanTensorMap *m)
{
    strbuf_printf(b, "; map %s %s [", buffer_name(p, m->buffer), dtype_name(m->dtype));
    print_dim_list(b, m->dims, m->rank);
    strbuf_add(b, "] strides [");
    print_dim_list(b, m->strides, m->rank - 1);
    strbuf_add(b, "]");
    if (!dim_is(m->offset, 0)) {
        strbuf_add(b, " at ");
        dim_print(b, m->offset);
    }
    strbuf_add(b, " box [");
    for (uint32_t i = 0; i < m->rank; i++)
        strbuf_printf(b, "%s%u", i ? ", " : "", m->box[i]);
    strbuf_printf(b, "] swizzle %u", m->swizzle);
}

static void print_launch(StrBuf *b, const Plan *p, const PlanStep *s)
{
    const PlanKernel *k = &p->kernels.data[s->kernel];
    strbuf_printf(b, "%s grid(", k->name);
    print_dim_list(b, s->grid, 3);
    strbuf_add(b, ") (");
    for (uint32_t i = 0; i < k->n_buffers; i++)
        strbuf_printf(b, "%s%s", i ? ", " : "", buffer_name(p, s->buffers[i]));
    if (k->n_scalars) {
        strbuf_add(b, "; ");
        print_dim_list(b, s->scalars, k->n_scalars);
    }
    for (uint32_t i = 0; i < k->n_maps; i++)
        print_map(b, p, &s->maps[i]);
    strbuf_char(b, ')');
}

static void print_matmul(StrBuf *b, const Plan *p, const PlanMatmul *m)
{
    strbuf_printf(b, "%s = %s%s @ %s%s", buffer_name(p, m->d), buffer_name(p, m->a), m->trans_a ? "ᵀ" : "", buffer_name(p, m->b),
                  m->trans_b ? "ᵀ" : "");
    if (m->c != UINT32_MAX)
        strbuf_printf(b, " + %s", buffer_name(p, m->c));
    if (m->bias != UINT32_MAX)
        strbuf_printf(b, " + bias %s", buffer_name(p, m->bias));
    strbuf_printf(b, "  [%s -> %s] m, n, k, batch = ", dtype_name(m->dtype), dtype_name(m->out_dtype));
    print_dim_list(b, (Dim[]){m->m, m->n, m->k, m->batch}, 4);
    if (m->epilogue != EPI_NONE)
        strbuf_printf(b, "  epilogue %s", epilogue_name(m->epilogue));
    strbuf_printf(b, "  algorithm %d%s", m->algorithm, m->tf32 ? "  tf32" : "");
}

static void print_step(StrBuf *b, const Plan *p, uint32_t i)
{
    const PlanStep *s = &p->steps.data[i];
    strbuf_printf(b, "    %2u  %-8s ", i, step_kind_name(s->kind));
    switch (s->kind) {
    case STEP_LAUNCH:
        print_launch(b, p, s);
        break;
    case STEP_MATMUL:
        print_matmul(b, p, &s->matmul);
        break;
    case STEP_COPY: case STEP_FILL:
        strbuf_printf(b, "%s = %s, ", buffer_name(p, s->to), s->kind == STEP_COPY ? buffer_name(p, s->from) : "0");
        print_bytes(b, s->bytes);
        break;
    }
    if (s->n_deps) {
        strbuf_add(b, "  after");
        for (uint32_t k = 0; k < s->n_deps; k++)
            strbuf_printf(b, " %u", s->deps[k]);
    }
    if (s->bytes_read && s->bytes_written && !(dim_is(s->bytes_read, 0) && dim_is(s->bytes_written, 0))) {
        strbuf_add(b, "  # reads ");
        print_bytes(b, s->bytes_read);
        strbuf_add(b, ", writes ");
        print_bytes(b, s->bytes_written);
    }
    if (s->flops && !dim_is(s->flops, 0)) {
        strbuf_add(b, ", flops ");
        dim_print(b, s->flops);
    }
    strbuf_char(b, '\n');
}

void plan_print(StrBuf *b, const Plan *p)
{
    strbuf_printf(b, "plan %s", p->name);
    strbuf_printf(b, "  %s%s", p->workload ? "workload " : "any shape", p->workload ? p->workload : "");
    strbuf_printf(b, "  target %s %s  alignment %u  workspace ", target_name(p->target), p->arch, p->alignment);
    print_bytes(b, p->workspace_bytes);
    if (p->n_ranks > 1)
        strbuf_printf(b, "  rank %u of %u", p->rank, p->n_ranks);
    strbuf_char(b, '\n');
    for (uint32_t i = 0; i < p->symbols.n; i++)
        strbuf_printf(b, "%s%s in %lld..%lld%s", i ? ", " : "  where ", p->symbols.data[i].name, (long long)p->symbols.data[i].lo,
                      (long long)p->symbols.data[i].hi, i + 1 == p->symbols.n ? "\n" : "");
    for (int kind = BUF_INPUT; kind <= BUF_WORKSPACE; kind++)
        print_buffers(b, p, (BufferKind)kind);
    if (p->kernels.n)
        strbuf_add(b, "  kernels\n");
    for (uint32_t i = 0; i < p->kernels.n; i++)
        print_kernel(b, p, &p->kernels.data[i]);
    if (p->steps.n)
        strbuf_add(b, "  steps\n");
    for (uint32_t i = 0; i < p->steps.n; i++)
        print_step(b, p, i);
    if (p->decisions.n)
        strbuf_add(b, "  decisions\n");
    for (uint32_t i = 0; i < p->decisions.n; i++) {
        const PlanDecision *d = &p->decisions.data[i];
        strbuf_printf(b, "    %s: %s  %s\n", d->choice ? d->choice : "?", d->picked ? d->picked : "?", d->evidence ? d->evidence : "");
    }
}
