/* tests/runtime/cuda_maps.h — the CUDA runtime with tensor maps and clusters: cases for cuda_cases.c. Skipped below sm_90. */
#pragma once

void maps_install(void);               /* the kernel, on the fake GPU */
void test_maps(void **state);          /* addresses and shapes that change and come back: right results, no map made without need */
void test_maps_captured(void **state); /* in a caller's graph */
void test_maps_refused(void **state);
void test_maps_host_time(void **state);
void test_early_launches(void **state);            /* in a graph, kernels that wait themselves for the one before */
