/* The middle of a Mix-FFN in one pass: SiLU, depth-wise 3x3, gate; ../../mix_ffn/README.md has its formula.
 *
 * A task is a strip of channels of one picture, of both halves. It keeps three rows of SiLU(x), with a column of zeros on
 * either side, and moves them down the picture, so that x is read once and nothing but the result is written.
 */
#pragma once

#include "vector.h"

enum { STRIP = 64, TAPS = 9 };

/* What the threads of one call share. */
struct Strips {
    const struct GatedDepthwise *args;
    int64_t across; /* strips of a picture */
    int64_t row;    /* floats of a kept row */
    float *memory;  /* of thread n: three rows, weights and biases, beginning with n * scratch */
    int64_t scratch;
};

/* One row of the picture, from its first pixel and the strip's first channel on. */
static void activate_row(const struct GatedDepthwise *args, const Number *x, int64_t channels, float *row) {
    for (int64_t i = 0; i < args->width; i++)
        for (int half = 0; half < 2; half++) {
            const Number *from = x + (2 * i + half) * args->channels;
            float *to = row + (2 * (i + 1) + half) * STRIP;
            for (int64_t c = 0; c < channels; c += WIDTH) store(to + c, silu(read(from + c)));
        }
}

/* A bias and nine weights of WIDTH channels, which stay in registers along a row of the picture where there are 32. */
struct Taps {
    Vector bias, weights[TAPS];
};

static inline struct Taps taps_of(const float *weights) {
    struct Taps taps = {.bias = load(weights + TAPS * 2 * STRIP)};
#pragma GCC unroll 9
    for (int tap = 0; tap < TAPS; tap++) taps.weights[tap] = load(weights + tap * 2 * STRIP);
    return taps;
}

/* The sum of nine products and a bias, for WIDTH channels of one pixel; row[1] is that of the pixel. */
static inline Vector nine(const float *const row[3], const struct Taps *taps) {
    Vector total = taps->bias;
#pragma GCC unroll 9
    for (int tap = 0; tap < TAPS; tap++) total += load(row[tap / 3] + tap % 3 * 2 * STRIP) * taps->weights[tap];
    return total;
}

/* One row of the result, of WIDTH channels; kept rows above, at and below it. */
static inline void filter_row(const struct GatedDepthwise *args, const float *const kept[3], const float *weights, Number *y) {
    const struct Taps of_value = taps_of(weights), of_gate = taps_of(weights + STRIP);
    for (int64_t j = 0; j < args->width; j++, y += args->channels) {
        const int64_t at = 2 * j * STRIP;
        const float *const value[3] = {kept[0] + at, kept[1] + at, kept[2] + at};
        const float *const gate[3] = {value[0] + STRIP, value[1] + STRIP, value[2] + STRIP};
        write(y, nine(value, &of_value) * silu(nine(gate, &of_gate)));
    }
}

/* Weights and biases of a strip's channels: nine rows (2, STRIP), and one. */
static void gather_weights(const struct GatedDepthwise *args, int64_t first, int64_t channels, float *weights) {
    for (int half = 0; half < 2; half++)
        for (int64_t c = 0; c < channels; c++) {
            const int64_t channel = half * args->channels + first + c;
            for (int tap = 0; tap < TAPS; tap++)
                weights[(2 * tap + half) * STRIP + c] = number(args->weight[channel * TAPS + tap]);
            weights[(2 * TAPS + half) * STRIP + c] = number(args->bias[channel]);
        }
}

static void filter_strip(int64_t task, int thread, void *context) {
    const struct Strips *strips = context;
    const struct GatedDepthwise *args = strips->args;
    const int64_t picture = task / strips->across, first = task % strips->across * STRIP, inner = args->channels;
    const int64_t channels = inner - first < STRIP ? inner - first : STRIP;
    float *rows = strips->memory + thread * strips->scratch, *weights = rows + 3 * strips->row;
    gather_weights(args, first, channels, weights);
    const Number *x = args->x + picture * args->height * args->width * 2 * inner + first;
    Number *y = args->y + picture * args->height * args->width * inner + first;
    memset(rows, 0, 3 * strips->row * sizeof(float));
    activate_row(args, x, channels, rows);
    for (int64_t i = 0; i < args->height; i++) {
        float *next = rows + (i + 1) % 3 * strips->row;
        if (i + 1 < args->height) activate_row(args, x + (i + 1) * args->width * 2 * inner, channels, next);
        else memset(next, 0, strips->row * sizeof(float));
        for (int64_t c = 0; c < channels; c += WIDTH) {
            const float *const kept[3] = {rows + (i + 2) % 3 * strips->row + c, rows + i % 3 * strips->row + c, next + c};
            filter_row(args, kept, weights + c, y + i * args->width * inner + c);
        }
    }
}

static int gated_depthwise(const struct GatedDepthwise *args) {
    struct Strips strips = {.args = args, .across = (args->channels + STRIP - 1) / STRIP};
    const int64_t tasks = args->batch * strips.across;
    const int64_t busy = args->threads < tasks ? args->threads : tasks;
    strips.row = (args->width + 2) * 2 * STRIP;
    strips.scratch = 3 * strips.row + (TAPS + 1) * 2 * STRIP;
    strips.memory = workspace(busy * strips.scratch);
    if (!strips.memory) return 1;
    parallel(tasks, (int)busy, filter_strip, &strips);
    give_back(strips.memory);
    return 0;
}

#ifndef HALVES

/* The backward pass. A task is a strip of channels of all pictures, so that sums over pictures have one order. Of a
 * picture it keeps SiLU(x) and the gradient of what the convolution gave, both with a border of zeros; the former is
 * made again from x, so that nothing has to be kept from the forward pass. */
struct BackwardStrips {
    const struct GatedDepthwiseBackward *args;
    struct GatedDepthwise forward;
    int64_t plane; /* floats of a picture with its border */
    float *memory;
    int64_t scratch;
};

static inline Vector sigmoid(Vector x) {
    return 1.0f / (1.0f + exponential(within(-x, 87.0f)));
}

/* What SiLU makes of a change of x. */
static inline Vector silu_slope(Vector x) {
    const Vector s = sigmoid(x);
    return s + x * s * (1.0f - s);
}

/* The gradients of value and gate of every pixel, from those of y. */
static void gate_backward(const struct GatedDepthwise *args, const float *kept, const float *dy, int64_t channels,
                          const float *weights, float *slopes) {
    const int64_t row = (args->width + 2) * 2 * STRIP, border = row + 2 * STRIP;
    for (int64_t c = 0; c < channels; c += WIDTH) {
        const struct Taps of_value = taps_of(weights + c), of_gate = taps_of(weights + STRIP + c);
        for (int64_t i = 0; i < args->height; i++)
            for (int64_t j = 0; j < args->width; j++) {
                const float *top = kept + i * row + 2 * j * STRIP + c;
                const float *const value[3] = {top, top + row, top + 2 * row};
                const float *const gate[3] = {top + STRIP, top + row + STRIP, top + 2 * row + STRIP};
                const Vector v = nine(value, &of_value), g = nine(gate, &of_gate);
                const Vector s = sigmoid(g), d = load(dy + (i * args->width + j) * args->channels + c);
                float *to = slopes + border + i * row + 2 * j * STRIP + c;
                store(to, d * g * s);
                store(to + STRIP, d * v * (s + g * s * (1.0f - s)));
            }
    }
}

/* Add a picture's part to the gradients of WIDTH channels' weights and biases. */
static void weights_backward(const struct GatedDepthwise *args, const float *kept, const float *slopes, float *sums) {
    const int64_t row = (args->width + 2) * 2 * STRIP, border = row + 2 * STRIP;
    Vector total[TAPS + 1];
    for (int tap = 0; tap <= TAPS; tap++) total[tap] = load(sums + tap * 2 * STRIP);
    for (int64_t i = 0; i < args->height; i++)
        for (int64_t j = 0; j < args->width; j++) {
            const int64_t place = i * row + 2 * j * STRIP;
            const Vector slope = load(slopes + border + place);
#pragma GCC unroll 9
            for (int tap = 0; tap < TAPS; tap++)
                total[tap] += slope * load(kept + place + tap / 3 * row + tap % 3 * 2 * STRIP);
            total[TAPS] += slope;
        }
    for (int tap = 0; tap <= TAPS; tap++) store(sums + tap * 2 * STRIP, total[tap]);
}

/* The gradient of x of every pixel: the convolution's weights turned around, then SiLU's slope. */
static void pixels_backward(const struct GatedDepthwise *args, const float *slopes, const float *x, int64_t channels,
                            const float *weights, float *dx) {
    const int64_t row = (args->width + 2) * 2 * STRIP;
    for (int64_t i = 0; i < args->height; i++)
        for (int64_t j = 0; j < args->width; j++)
            for (int half = 0; half < 2; half++) {
                const int64_t pixel = ((i * args->width + j) * 2 + half) * args->channels;
                const float *place = slopes + i * row + (2 * j + half) * STRIP;
                for (int64_t c = 0; c < channels; c += WIDTH) {
                    Vector total = {0};
#pragma GCC unroll 9
                    for (int tap = 0; tap < TAPS; tap++)
                        total += load(place + tap / 3 * row + tap % 3 * 2 * STRIP + c) *
                                 load(weights + (2 * (TAPS - 1 - tap) + half) * STRIP + c);
                    store(dx + pixel + c, total * silu_slope(load(x + pixel + c)));
                }
            }
}

static void strip_backward(int64_t strip, int thread, void *context) {
    const struct BackwardStrips *strips = context;
    const struct GatedDepthwise *args = &strips->forward;
    const int64_t first = strip * STRIP, inner = args->channels, pixels = args->height * args->width;
    const int64_t channels = inner - first < STRIP ? inner - first : STRIP, row = (args->width + 2) * 2 * STRIP;
    float *kept = strips->memory + thread * strips->scratch, *slopes = kept + strips->plane;
    float *weights = slopes + strips->plane, *sums = weights + (TAPS + 1) * 2 * STRIP;
    memset(kept, 0, strips->scratch * sizeof(float));
    gather_weights(args, first, channels, weights);
    for (int64_t picture = 0; picture < args->batch; picture++) {
        const float *x = args->x + picture * pixels * 2 * inner + first;
        for (int64_t i = 0; i < args->height; i++)
            activate_row(args, x + i * args->width * 2 * inner, channels, kept + (i + 1) * row);
        gate_backward(args, kept, strips->args->dy + picture * pixels * inner + first, channels, weights, slopes);
        for (int half = 0; half < 2; half++)
            for (int64_t c = half * STRIP; c < half * STRIP + channels; c += WIDTH)
                weights_backward(args, kept + c, slopes + c, sums + c);
        pixels_backward(args, slopes, x, channels, weights, strips->args->dx + picture * pixels * 2 * inner + first);
    }
    for (int half = 0; half < 2; half++)
        for (int64_t c = 0; c < channels; c++) {
            const int64_t channel = half * inner + first + c;
            for (int tap = 0; tap < TAPS; tap++)
                strips->args->dweight[channel * TAPS + tap] = sums[(2 * tap + half) * STRIP + c];
            strips->args->dbias[channel] = sums[(2 * TAPS + half) * STRIP + c];
        }
}

static int gated_depthwise_backward(const struct GatedDepthwiseBackward *args) {
    struct BackwardStrips strips = {
        .args = args,
        .forward = {args->x, args->weight, args->bias, NULL, args->batch, args->height, args->width, args->channels, 1},
    };
    const int64_t across = (args->channels + STRIP - 1) / STRIP, busy = args->threads < across ? args->threads : across;
    strips.plane = (args->height + 2) * (args->width + 2) * 2 * STRIP;
    strips.scratch = 2 * strips.plane + 2 * (TAPS + 1) * 2 * STRIP;
    strips.memory = workspace(busy * strips.scratch);
    if (!strips.memory) return 1;
    parallel(across, (int)busy, strip_backward, &strips);
    give_back(strips.memory);
    return 0;
}

#endif
