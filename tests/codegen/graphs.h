/* tests/codegen/graphs.h — hand-picked graphs: every way in which groups form. */
#pragma once

static const char *const graphs[] = {
    "graph add { input %x : f32[7, 33]\n %y = add(%x, 1.5)\n return %y }",
    "graph scalar { input %x : f32[]\n %y = exp(%x)\n return %y }",
    "graph one { input %x : f32[1, 1, 1]\n %y = tanh(%x)\n return %y }",
    "graph magnitude { input %x : f32[3, 37]\n %y = relu(abs(%x))\n %z = minimum(neg(abs(%x)), 0.0)\n return %y, %z }",
    "graph bcast { input %x : f32[5, 1, 7]\n input %y : f32[3, 1]\n %z = mul(%x, %y)\n return %z }",
    "graph residual { input %x : bf16[3, 5, 256]\n input %r : bf16[3, 5, 256]\n param %w : bf16[256]\n"
    " %h = add(%x, %r)\n %y = rms_norm_rounded(%h, %w)\n return %h, %y }",
    "graph norm_prime { input %x : f32[3, 127]\n param %w : f32[127]\n param %b : f32[127]\n %y = layer_norm(%x, %w, %b)\n return %y }",
    "graph softmax { input %x : f32[4, 3, 50]\n %y = softmax(%x)\n return %y }",
    "graph softmax_axis { input %x : f32[4, 50, 6]\n %y = softmax(%x, axis=1)\n return %y }",
    "graph softmax_all { input %x : f16[4, 1000]\n %y = softmax(%x)\n %z = logsumexp(%x)\n return %y, %z }",
    "graph sums { input %x : f32[13, 17, 19]\n %a = sum(%x, axes=[0])\n %b = sum(%x, axes=[1])\n %c = sum(%x, axes=[2])\n"
    " %d = sum(%x)\n %e = max(%x, axes=[0, 2])\n return %a, %b, %c, %d, %e }",
    "graph long_sum { input %x : f32[3, 70001]\n %a = sum(%x, axes=[1])\n %b = mean(%x)\n return %a, %b }",
    "graph tall_sum { input %x : f32[9001, 37]\n %a = sum(%x, axes=[0])\n %m = max(%x, axes=[0])\n return %a, %m }",
    "graph tall_sum16 { input %x : f32[9001, 64]\n %a = sum(%x, axes=[0])\n %s = sqrt(mean(mul(%x, %x), axes=[0]))\n return %a, %s }",
    "graph transpose { input %x : f32[33, 65]\n %y = permute(%x, perm=[1, 0])\n %z = mul(%y, 2.0)\n return %z }",
    "graph shuffle { input %x : f32[4, 6, 10]\n %y = permute(%x, perm=[2, 0, 1])\n %z = reshape(%y, shape=[5, 48])\n return %z }",
    "graph concat { input %x : f32[4, 7]\n input %y : f32[4, 9]\n %z = concat(%x, exp(%y), %x, axis=1)\n return %z }",
    "graph slices { input %x : f32[12, 30]\n %a = slice(%x, axis=1, start=3, size=9, step=2)\n %b = slice(%x, axis=0, start=4, size=5)\n"
    " %p = pad(%b, axis=1, low=2, high=3, fill=-1)\n return %a, %p }",
    "graph flips { input %x : f32[5, 9]\n %y = add(flip(%x, axes=[1]), flip(%x, axes=[0]))\n return %y }",
    "graph table { input %i : i64[3, 5] ~ randint(0, 11)\n param %t : f32[11, 24]\n %y = embedding(%i, %t)\n return %y }",
    "graph negative_index { input %i : i64[6] ~ randint(-11, 11)\n param %t : f32[2, 11, 3]\n %y = gather(%t, %i, axis=1)\n return %y }",
    "graph iota { input %x : f32[6, 20]\n %y = add(%x, iota(shape=[6, 20], axis=1, dtype=f32))\n return %y }",
    "graph causal { input %x : f32[2, 9, 9]\n %y = softmax(tril(%x))\n return %y }",
    "graph scan { input %x : f32[5, 33, 3]\n %a = cumsum(%x, axis=1)\n %b = cumprod(%x, axis=2)\n %c = cummax(%x, axis=0)\n return %a, %b, %c }",
    "graph argmax { input %x : f32[7, 29]\n %a = argmax(%x, axes=[1])\n %b = argmin(%x, axes=[0])\n return %a, %b }",
    "graph matmul { input %a : f32[17, 23]\n input %b : f32[23, 31]\n %y = matmul(%a, %b)\n return %y }",
    "graph linear { input %x : bf16[3, 5, 64]\n param %w : bf16[48, 64]\n param %b : bf16[48]\n %y = gelu(linear(%x, %w, %b))\n return %y }",
    "graph batched { input %a : f32[2, 3, 7, 11]\n input %b : f32[3, 13, 11]\n %y = matmul(%a, %b, trans_b=1)\n return %y }",
    "graph trans_a { input %a : f32[3, 11, 7]\n input %b : f32[1, 11, 5]\n %y = matmul(%a, %b, trans_a=1)\n return %y }",
    "graph mlp { input %x : bf16[2, 3, 64]\n param %g : bf16[96, 64]\n param %u : bf16[96, 64]\n param %d : bf16[64, 96]\n"
    " %y = linear(swiglu(linear(%x, %g), linear(%x, %u)), %d)\n return %y }",
    "graph attention { input %q : f32[2, 2, 9, 16]\n input %k : f32[2, 2, 9, 16]\n input %v : f32[2, 2, 9, 16]\n"
    " %y = sdpa(%q, %k, %v, causal=1)\n return %y }",
    "graph prelude { input %x : bf16[2, 5, 64]\n input %cos : bf16[2, 5, 16]\n input %sin : bf16[2, 5, 16]\n param %w : bf16[64]\n"
    " param %wq : bf16[64, 64]\n param %wv : bf16[32, 64]\n param %n : bf16[16]\n %h = rms_norm_rounded(%x, %w)\n"
    " %q0 = permute(rms_norm_rounded(reshape(linear(%h, %wq), shape=[2, 5, 4, 16]), %n), perm=[0, 2, 1, 3])\n"
    " %q = rope(%q0, unsqueeze(%cos, axis=1), unsqueeze(%sin, axis=1))\n"
    " %v = permute(reshape(linear(%h, %wv), shape=[2, 5, 2, 16]), perm=[0, 2, 1, 3])\n return %q, %v }",
    "graph group { input %x : f32[2, 12, 5, 7]\n param %w : f32[12]\n param %b : f32[12]\n %y = group_norm(%x, %w, %b, groups=3)\n return %y }",
    "graph twice { input %x : f32[6, 40]\n %y = exp(%x)\n %z = exp(%x)\n return %y, %z, %x }",
    "graph weight_out { input %x : f32[4]\n param %w : f32[4]\n %y = add(%x, mul(%w, %w))\n %z = permute(reshape(%w, shape=[2, 2]), perm=[1, 0])\n return %y, %w, %z }",
    "graph integers { input %x : i32[5, 9] ~ randint(-50, 50)\n input %y : i32[5, 9] ~ randint(1, 9)\n %a = div(cast(%x, dtype=f32), cast(%y, dtype=f32))\n"
    " %b = add(mul(%x, %y), %x)\n %c = sum(%x, axes=[1])\n return %a, %b, %c }",
    "graph bools { input %x : f32[5, 9]\n %m = gt(%x, 0.0)\n %y = where(%m, %x, neg(%x))\n %a = any(%m, axes=[1])\n %n = logical_not(%m)\n return %y, %a, %n }",
    "graph doubles { input %x : f64[5, 9]\n %y = softmax(%x)\n return %y }",
    "graph empty { input %x : f32[0, 9]\n %y = exp(%x)\n return %y }",
    "graph mean_then { input %x : f32[6, 40]\n %m = mean(%x, axes=[1], keepdims=1)\n %y = sub(%x, %m)\n %z = mul(%m, 2.0)\n return %y, %z }",
    "graph mean_of_columns_then { input %x : f32[3, 9, 3001]\n %m = mean(%x, axes=[1], keepdims=1)\n %y = sub(%x, %m)\n %z = exp(%m)\n return %y, %z }",
    "graph several_a_row { input %x : f16[70, 96]\n %m = max(%x, axes=[1])\n %y = softmax(%x)\n %l = logsumexp(%x, axes=1, keepdims=1)\n"
    " %n = rms_norm(%x)\n return %m, %y, %l, %n }",
    "graph diamond { input %x : f32[6, 40]\n %a = exp(%x)\n %b = sum(%a, axes=[1], keepdims=1)\n %c = sum(mul(%a, %a), axes=[0], keepdims=1)\n"
    " %y = add(div(%a, %b), %c)\n return %y }",
    /* found by test_random_graphs.c */
    "graph reduce_beside_padding { input %x : i32[4, 8, 3] ~ randint(-5, 5)\n %a = pad(reduce_sum(%x, axes=[1]), axis=1, low=1, high=2, fill=7)\n"
    " %b = concat(reduce_max(%x, axes=[1]), reduce_min(%x, axes=[1]), axis=0)\n return %a, %b }",
    "graph only_padding { input %x : bf16[1]\n %y = softmax(slice(pad(%x, axis=0, low=1, high=1, fill=-0.125), axis=0, start=0, size=1))\n return %y }",
    "graph mostly_padding { input %x : i32[1] ~ randint(-3, 3)\n %y = min(pad(%x, axis=0, low=2, high=0, fill=3), axes=[0])\n return %y }",
    "graph padded_one { input %x : bool[1, 1]\n %y = all(pad(flip(%x, axes=[1]), axis=1, low=1, high=1, fill=1), axes=[1], keepdims=1)\n return %y }",
    "graph short_concat { input %x : f32[1]\n %y = mean(concat(%x, %x, axis=0), axes=[0], keepdims=1)\n return %y }",
    "graph early_beside_rows { input %x : f32[1, 1, 32]\n %s = reduce_sum(%x, axes=[1])\n %a = add(%s, -0.5)\n"
    " %v = var(%s, axes=[0], correction=0, keepdims=1)\n return %v, %a }",
    "graph gather_of_one { input %x : f32[]\n input %i : i64[] ~ randint(-1, 1)\n %r = reshape(%x, shape=[1, 1])\n %y = gather(%r, %i, axis=1)\n return %y, %r }",
    "graph scalar_weight { param %w : f32[]\n %y = exp(expand(%w, shape=[]))\n return %y }",
    "graph short_column { input %x : f32[5, 1, 13, 13]\n %y = logsumexp(%x, axes=[1], keepdims=1)\n return %y }",
    "graph weight_names { input %x : f32[4]\n param %weight : f32[4]\n param %t1 : f32[4]\n %y = add(%x, mul(add(%weight, %t1), %t1))\n return %y }",
    "graph empty_linear { input %x : bf16[0, 64]\n param %w : bf16[32, 64]\n %y = linear(%x, %w)\n return %y }",
    "graph empty_depth { input %x : f32[5, 0]\n input %w : f32[0, 9]\n %y = softmax(matmul(%x, %w))\n %z = matmul(%x, %x, trans_a=1)\n return %y, %z }",
    "graph empty_views { input %x : f32[3, 0]\n %y = exp(reshape(%x, shape=[0, 7]))\n %z = permute(reshape(%x, shape=[2, 0, 5]), perm=[2, 0, 1])\n"
    " %a = reduce_sum(%z, axes=[1])\n return %y, %z, %a }",
    "graph empty_columns { input %x : f32[5, 0]\n %y = reduce_sum(%x, axes=[0])\n %z = argmax(%x, axes=[0])\n return %y, %z }",
    "graph empty_rows { input %x : f32[2, 0, 16]\n param %w : f32[16]\n %y = rms_norm(%x, %w)\n %q = mul(permute(%y, perm=[0, 2, 1]), 2.0)\n return %y, %q }",
    "graph empty_scans { input %x : f32[3, 0]\n %y = cumsum(%x, axis=1)\n %z = cumsum(%x, axis=0)\n %m = mean(%x, axes=[1])\n return %y, %z, %m }",
    "graph empty_attention { input %q : f32[2, 0, 8]\n input %k : f32[2, 5, 8]\n %y = sdpa(%q, %k, %k)\n return %y }",
    "graph empty_index { input %x : f32[7, 4]\n input %i : i64[0] ~ randint(0, 7)\n %y = gather(%x, %i, axis=0)\n %z = reduce_sum(%y, axes=[0])\n return %y, %z }",
    "graph integer_product { input %a : i64[2, 5, 7] ~ randint(-9, 9)\n param %b : i64[7, 16] ~ randint(-9, 9)\n %y = add(matmul(%a, %b), 1)\n return %y }",
    "graph bytes { input %x : u8[4, 9] ~ randint(0, 255)\n %a = cumsum(%x, axis=1)\n %b = reduce_sum(%x, axes=[1])\n %c = reduce_max(%x, axes=[0])\n"
    " %d = add(%x, %x)\n %e = argmin(%x, axes=[1])\n %f = cast(%d, dtype=i32)\n return %a, %b, %c, %d, %e, %f }",
    "graph wraps { input %x : i8[4, 9] ~ randint(-128, 127)\n %a = cumprod(%x, axis=1)\n %b = reduce_prod(%x, axes=[1])\n %d = mul(%x, %x)\n"
    " %f = cast(%d, dtype=i32)\n %h = gt(add(%x, %x), 0)\n %k = shift_right(cast(shift_left(%x, 1), dtype=i32), 2)\n return %a, %b, %d, %f, %h, %k }",
    "graph gather_in_concat { input %x : i32[5] ~ randint(-9, 9)\n input %i : i64[3] ~ randint(0, 5)\n input %a : i32[2] ~ randint(-9, 9)\n"
    " input %b : i32[5] ~ randint(-9, 9)\n %c = concat(%a, gather(%x, %i, axis=0), %b, axis=0)\n %y = reduce_sum(%c, axes=[0], keepdims=1)\n return %y }",
    /* decode: products of few rows, one after the other and beside a norm in one launch; more row tiles than blocks at once */
    "graph decode_norm { input %x : bf16[5, 1, 256]\n param %g : bf16[256]\n param %w : bf16[96, 256]\n param %v : bf16[40, 96]\n"
    " %h = rms_norm(%x, %g)\n %a = silu(linear(%h, %w))\n %y = linear(%a, %v)\n return %y }",
    "graph decode_beside { input %x : bf16[5, 256]\n param %g : bf16[256]\n param %w : bf16[96, 256]\n param %v : bf16[40, 256]\n"
    " %y = linear(%x, %w)\n %z = linear(%x, %v)\n %h = rms_norm(%x, %g)\n return %y, %z, %h }",
    "graph decode_rounds { input %x : f16[3, 96]\n param %w : f16[4300, 96]\n %y = linear(%x, %w)\n return %y }",
};
