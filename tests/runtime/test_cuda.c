/* tests/runtime/test_cuda.c — the CUDA executor without a GPU: on the fake one. */
#include "tests/runtime/cuda_cases.h"

int main(void) { return cuda_cases_run(false); }
