/* All kernels, compiled once for every instruction set.
 *
 * The compiler is told VARIANT, the name; WIDTH, the floats of a vector; and ROWS and COLUMNS, the block of the matrix
 * product that its registers hold (ROWS x COLUMNS vectors). With HALVES it compiles those that also know bfloat16,
 * with DOTS beside it for processors that multiply pairs of halves.
 */
#include "vector.h"

#include "attention.h"
#include "conv3x3.h"
#ifdef __AVX2__
#include "int8_linear.h"
#endif
#include "mix_ffn.h"
#include "norms.h"
#include "pixel_norm.h"
#if !defined(HALVES) || defined(DOTS)
#include "linear.h"
#endif
#ifndef HALVES
#include "dit_block.h"
#include "newton_schulz.h"
#endif

#define JOIN(a, b) a##b
#define NAMED(name) JOIN(variant_, name)
#define QUOTED(name) #name
#define TEXT(name) QUOTED(name)

const struct Variant NAMED(VARIANT) = {
    .name = TEXT(VARIANT),
    .conv3x3 = conv3x3,
    .gated_depthwise = gated_depthwise,
    .linear_attention = linear_attention,
#ifdef __AVX2__
    .int8_linear = int8_linear,
#endif
    .modulated_norm = modulated_norm,
    .pixel_norm = pixel_norm,
    .rms_norm = rms_norm,
#if !defined(HALVES) || defined(DOTS)
    .linear = linear,
#endif
#ifndef HALVES
    .dit_blocks = dit_blocks,
    .gated_depthwise_backward = gated_depthwise_backward,
    .linear_attention_backward = linear_attention_backward,
    .modulated_norm_backward = modulated_norm_backward,
    .newton_schulz = newton_schulz,
    .rms_norm_backward = rms_norm_backward,
    .text_attention = text_attention,
    .text_attention_backward = text_attention_backward,
#endif
};
