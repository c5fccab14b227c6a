/* cli/product.c — see product.h. */
#include "cli/product.h"
#include "cli/table.h"
#include "codegen/group.h"
#include <math.h>
#include <string.h>

/* ---- as JSON -------------------------------------------------------------------------------- */

/* "3xf16": what the units multiply. */
static const char *format_of(const Job *j, const Group *g)
{
    const Node *n = g->matmul;
    DType t = n->in[0]->type.dtype;
    bool three = node_int(n, ATTR_TERMS, 1) == 3;
    if (n->op == OP_SPLIT_MATMUL)
        return t == DT_F16 ? (three ? "3xf16" : "f16-scaled") : three ? "3xtf32" : "tf32";
    bool library = g->schedule.kind && !strcmp(g->schedule.kind, "library");
    return t == DT_F32 && library && j->task->numerics.matmul == NUM_TF32 ? "tf32" : dtype_name(t);
}

static bool of_kind(const char *schedule, const char *kind)
{
    size_t n = strlen(kind);
    return !strncmp(schedule, kind, n) && (schedule[n] == ' ' || !schedule[n]);
}

static bool same_tuning(const DbMeasurement *m, const DbTuning *t)
{
    return !strcmp(m->key.device, t->key.device) && !strcmp(m->key.environment, t->key.environment);
}

/* The fastest of the kind, but the winner itself, that was measured where `t` was; of several measurements of a schedule the last
 * counts. NULL: there is none. */
static const DbMeasurement *best_other(const DbMeasurement *log, uint32_t n, const DbTuning *t, const char *kind)
{
    const DbMeasurement *best = NULL;
    for (uint32_t i = 0; i < n; i++) {
        const DbMeasurement *m = &log[i];
        bool counts = m->samples && !strcmp(m->outcome, "ok") && of_kind(m->what, kind) && strcmp(m->what, t->schedule) != 0 &&
                      same_tuning(m, t);
        for (uint32_t k = i + 1; k < n && counts; k++)
            counts = strcmp(log[k].what, m->what) != 0 || !same_tuning(&log[k], t);
        if (counts && (!best || m->us.value < best->us.value))
            best = m;
    }
    return best;
}

static json_t *rival_json(const DbMeasurement *m)
{
    return m ? json_pack("{s:s, s:f}", "schedule", m->what, "us", m->us.value) : json_null();
}

static double value_of(Dim d) { return dim_is_const(d) ? (double)d->value : NAN; }

json_t *product_json(Job *j, const Group *g, const DbTuning *t)
{
    Dim m, n, k, batch;
    json_t *p = json_object();
    matmul_extents(j->cx->dims, g->matmul, &m, &n, &k, &batch);
    double flops = 2 * value_of(m) * value_of(n) * value_of(k) * value_of(batch);
    json_object_set_new(p, "m", json_number(value_of(m)));
    json_object_set_new(p, "n", json_number(value_of(n)));
    json_object_set_new(p, "k", json_number(value_of(k)));
    json_object_set_new(p, "batch", json_number(value_of(batch)));
    if (g->matmul->op == OP_GROUPED_MATMUL)
        json_object_set_new(p, "groups", json_number(value_of(g->matmul->in[2]->type.shape.d[0])));
    json_object_set_new(p, "format", json_text(format_of(j, g)));
    json_object_set_new(p, "class", json_text(numclass_name(j->task->numerics.matmul)));
    json_object_set_new(p, "predicted_tflops", json_number(flops / g->predicted_seconds * 1e-12));
    if (t) {
        uint32_t rows;
        DbMeasurement *log = db_list_measurements(j->db, t->problem, &rows);
        json_object_set_new(p, "tflops", json_number(flops / t->us.value * 1e-6));
        json_object_set_new(p, "library", rival_json(best_other(log, rows, t, "library")));
        json_object_set_new(p, "other_tile", rival_json(best_other(log, rows, t, "gemm")));
    }
    return p;
}

/* ---- as text -------------------------------------------------------------------------------- */

static double number(const json_t *j, const char *key)
{
    const json_t *v = json_object_get(j, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

static const char *text(const json_t *j, const char *key) { return json_string_value(json_object_get(j, key)); }

static void print_rival(FILE *to, const json_t *product, const char *key, const char *title, double us)
{
    const json_t *r = json_object_get(product, key);
    if (json_is_object(r))
        fprintf(to, "\n         %s %.2f us, %.2fx \"%s\"", title, number(r, "us"), number(r, "us") / us, text(r, "schedule"));
}

void product_print(FILE *to, const json_t *product, double us)
{
    if (!product)
        return;
    fputs("       product ", to);
    if (isnan(number(product, "m") + number(product, "n") + number(product, "k") + number(product, "batch")))
        fputs("by shape", to);
    else if (number(product, "batch") != 1)
        fprintf(to, "%g of %gx%gx%g", number(product, "batch"), number(product, "m"), number(product, "n"), number(product, "k"));
    else
        fprintf(to, "%gx%gx%g", number(product, "m"), number(product, "n"), number(product, "k"));
    if (number(product, "groups") > 0)
        fprintf(to, " in %g groups", number(product, "groups"));
    fprintf(to, ", %s, class %s", text(product, "format"), text(product, "class"));
    if (number(product, "tflops") > 0)
        fprintf(to, ", %.3g TFLOP/s", number(product, "tflops"));
    else if (number(product, "predicted_tflops") > 0)
        fprintf(to, ", predicted %.3g TFLOP/s", number(product, "predicted_tflops"));
    print_rival(to, product, "library", "the library's best:", us);
    print_rival(to, product, "other_tile", "the next tile:", us);
    fputc('\n', to);
}
