/* What the parts of the library share. Plain C11 with the vector extension of GCC and Clang; no header of torch.
 *
 * Every kernel is written once, in kernels.c, and compiled once for every instruction set (a "variant"); library.c
 * finds out which of them the processor runs.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define MAX_THREADS 256

/* What tensors hold: floats or, where kernels are compiled with HALVES, their upper halves (bfloat16). Arithmetic is of
 * floats either way. */
#ifdef HALVES
typedef uint16_t Number;
#else
typedef float Number;
#endif

enum Activation { NONE, SILU, RELU };

/* A 3x3 convolution of stride 1 and padding 1, with what follows it. Pictures are (batch, height, width, channels),
 * contiguous; `in` and `out` are numbers of channels and multiples of 16.
 *
 *     y   = act(conv(x) + bias)
 *     out = y / rms(y) * norm_weight + norm_bias + residual
 *
 * Pointers that are NULL leave their part out. With `upsample` x is (batch, height / 2, width / 2, in) and every pixel of
 * it is read four times; with `shortcut` the residual has the shape of x, and its channels are repeated until there are
 * 4 * out, those of four pixels.
 */
struct Conv3x3 {
    const Number *x, *weight, *bias; /* weight (out, in, 3, 3) */
    const Number *norm_weight, *norm_bias, *residual;
    Number *y;
    int64_t batch, height, width, in, out;
    float eps;
    int32_t activation, upsample, shortcut, threads;
};

/* y = x @ weight^T + bias of x (rows, in), weight (out, in), bias (out) or NULL; `out` is a multiple of 16. */
struct Linear {
    const Number *x, *weight, *bias;
    Number *y;
    int64_t rows, in, out;
    int32_t threads;
};

/* The same with weight times weight_scale (out) in place of the weight, and rows of x that are rounded to whole numbers from
 * -127 to 127 times their scale; `in` and `out` are multiples of 16, `in` is at most 2^16. */
struct Int8Linear {
    const Number *x;
    const int8_t *weight;
    const float *weight_scale;
    const Number *bias;
    Number *y;
    int64_t rows, in, out;
    int32_t threads;
};

/* y = act(x / rms(x) * weight + bias) over the channels of a pixel, a multiple of 16; y may be x. */
struct PixelNorm {
    const Number *x, *weight, *bias;
    Number *y;
    int64_t pixels, channels;
    float eps;
    int32_t activation, threads;
};

/* SiLU, a depth-wise 3x3 convolution of padding 1, and a gate, on pictures (batch, height, width, 2 * channels), of which
 * the second half of the channels are the gate: y = value * SiLU(gate), (batch, height, width, channels). */
struct GatedDepthwise {
    const Number *x, *weight, *bias; /* weight (2 * channels, 9), bias (2 * channels) */
    Number *y;
    int64_t batch, height, width, channels; /* a multiple of 16 */
    int32_t threads;
};

/* Its gradients, from that of y. */
struct GatedDepthwiseBackward {
    const float *x, *weight, *bias, *dy;
    float *dx, *dweight, *dbias;
    int64_t batch, height, width, channels;
    int32_t threads;
};

/* Tokens of pictures, (batch, tokens, heads, size); size is a multiple of 16, and a head's channels lie together. */
struct Tokens {
    const Number *at;
    int64_t picture, token, head; /* numbers from one to the next */
};

/* y = relu(q) S / (relu(q) . z + eps) with the sums S = relu(k)^T v and z = relu(k) over all tokens of a head; y and the
 * gradients are contiguous. */
struct LinearAttention {
    struct Tokens q, k, v;
    Number *y;
    const float *dy;
    float *dq, *dk, *dv;
    int64_t batch, heads, tokens, size;
    float eps;
    int32_t threads;
};

/* y = softmax(q k^T / sqrt(size)) v over those of the `length` keys that are seen, (batch, length). */
struct TextAttention {
    struct Tokens q, k, v;
    const uint8_t *seen;
    float *y;
    const float *dy;
    float *dq, *dk, *dv;
    int64_t batch, heads, tokens, length, size;
    int32_t threads;
};

/* y = x / rms(x) * weight, of tokens `row` floats apart. Sums for dweight are taken over 256 tokens at a time. */
struct RmsNorm {
    const Number *x, *weight;
    Number *y;
    const float *dy;
    float *dx, *dweight; /* dweight (shares, channels) */
    int64_t tokens, channels, row;
    float eps;
    int32_t threads;
};

/* y = (x - mean(x)) / deviation(x) * (1 + scale) + shift, with a row of scale and shift for each picture. */
struct ModulatedNorm {
    const Number *x, *shift, *scale;
    Number *y;
    const float *dy;
    float *dx, *dshift, *dscale;
    int64_t batch, tokens, channels, shift_row, scale_row;
    float eps;
    int32_t threads;
};

/* y = p(x x^T) x / |x|, where p is what `iterations` of s <- a s + b s^3 + c s^5 make of a singular value over itself.
 * Rows and columns are multiples of 16. */
struct NewtonSchulz {
    const float *x;
    float *y;
    int64_t rows, columns;
    float coefficients[3];
    int32_t iterations;
};

/* A layer's weight (out, in) and bias (out) or NULL; of a depth-wise convolution (channels, 9) and (channels). */
struct Projection {
    const float *weight, *bias;
};

/* What a block of the linear diffusion transformer has learnt; norms that are NULL are left out. */
struct BlockWeights {
    const float *table, *norm_q, *norm_k, *norm_text; /* (6, channels), and (channels) each */
    struct Projection qkv, out, query, text_out, expand, depthwise, project;
    int64_t channels, inner, head, text_head; /* inner channels of the Mix-FFN are those behind its gate */
    float attention_eps, norm_eps, layer_eps;
};

/* Tokens (batch, height * width, channels) to y of the same shape, which may be x. The `length` tokens of texts are seen
 * where `seen` (batch, length) is not 0; a picture whose `same` is not NULL gets that (channels) in place of what it would
 * see. */
struct DitBlock {
    const struct BlockWeights *weights;
    const float *x, *modulation; /* modulation (batch, 6, channels) */
    const uint8_t *seen;
    const float *const *same;
    float *y;
    struct Tokens keys, values;
    int64_t batch, height, width, length;
    int32_t threads;
};

/* Several, one after the other, of one size. */
struct DitBlocks {
    const struct DitBlock *blocks;
    int64_t count;
};

/* The kernels of one instruction set, of halves some of them. They give 0, or 1 where there was no memory for what they
 * need. */
struct Variant {
    const char *name;
    int (*conv3x3)(const struct Conv3x3 *);
    int (*dit_blocks)(const struct DitBlocks *);
    int (*gated_depthwise)(const struct GatedDepthwise *);
    int (*gated_depthwise_backward)(const struct GatedDepthwiseBackward *);
    int (*int8_linear)(const struct Int8Linear *);
    int (*linear)(const struct Linear *);
    int (*linear_attention)(const struct LinearAttention *);
    int (*linear_attention_backward)(const struct LinearAttention *);
    int (*modulated_norm)(const struct ModulatedNorm *);
    int (*modulated_norm_backward)(const struct ModulatedNorm *);
    int (*newton_schulz)(const struct NewtonSchulz *);
    int (*pixel_norm)(const struct PixelNorm *);
    int (*rms_norm)(const struct RmsNorm *);
    int (*rms_norm_backward)(const struct RmsNorm *);
    int (*text_attention)(const struct TextAttention *);
    int (*text_attention_backward)(const struct TextAttention *);
};

extern const struct Variant variant_portable, variant_portable_halves;
extern const struct Variant variant_avx2, variant_avx2_halves;
extern const struct Variant variant_avx512, variant_avx512_halves, variant_avx512_dots;

/* Calls work(task, number of the thread, context) for every task below `tasks`, each once, in any order. */
void parallel(int64_t tasks, int threads, void (*work)(int64_t, int, void *), void *context);

/* Ask for large pages of memory that nobody wrote to yet, where the system has them: they spare page faults. */
void large_pages(void *memory, size_t bytes);

/* Memory of that kind for one call, NULL where there is none. */
float *workspace(size_t floats);
void give_back(float *memory);
