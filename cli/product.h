/* cli/product.h — what `pawl explain` says of a group that is a matrix product. */
#pragma once
#include "cli/job.h"
#include <jansson.h>

/* {m, n, k, batch, format, class, predicted_tflops} and, where the group was tuned (`t`), {tflops, library, other_tile}: effective
 * (2 M N K / time), and the fastest others in the log of measurements as {schedule, us}. */
json_t *product_json(Job *j, const Group *g, const DbTuning *t);
/* The same in a line; `us`: the measured time, or NaN. NULL is allowed. */
void product_print(FILE *to, const json_t *product, double us);
