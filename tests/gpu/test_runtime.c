/* tests/gpu/test_runtime.c — the CUDA executor on a real GPU; exits 77 with the reason where there is none. */
#include "tests/runtime/cuda_cases.h"

int main(void) { return cuda_cases_run(true); }
