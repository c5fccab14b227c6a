/* runtime/safetensors.h — the weights' member: u64 header length, JSON header, bytes without holes. */
#pragma once
#include "base/context.h"
#include "base/dtype.h"
#include "base/vec.h"

typedef struct { Str name; DType dtype; uint32_t rank; int64_t dims[TENSOR_MAX_RANK]; const void *data; size_t bytes; } StoredTensor;
typedef struct { Vec(StoredTensor) list; } StoredTensors;
/* Every span is checked: in order, without holes or overlap, as long as its shape says. false: diagnosed. */
bool safetensors_read(Context *cx, const char *where, const void *bytes, size_t len, StoredTensors *out);
const StoredTensor *safetensors_find(const StoredTensors *s, const char *name);
/* The header of these tensors, each padded so that its data starts at a multiple of 64 (padding is tensors named "__pad…"). */
char *safetensors_header(Arena *a, const StoredTensor *t, uint32_t n, size_t *len, size_t *pads);
