/* tests/runtime/cuda_cases.h — what must hold of the CUDA runtime, on a real GPU and on the fake one. */
#pragma once
#include <stdbool.h>

int cuda_cases_run(bool real);                      /* exit status: 0, or the number of failed cases */
