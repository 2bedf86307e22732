/* A vector of WIDTH floats, and the few functions of it that the kernels need. Arithmetic is written as on numbers. */
#pragma once

#include "sanakit.h"

#if WIDTH > 4
#include <immintrin.h>
#endif
#include <stdlib.h>
#include <string.h>

typedef float Vector __attribute__((vector_size(4 * WIDTH)));
typedef int32_t Integers __attribute__((vector_size(4 * WIDTH)));
typedef float Stored __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias)); /* in memory, at any float */

static inline Vector load(const float *p) { return *(const Stored *)p; }
static inline void store(float *p, Vector v) { *(Stored *)p = v; }

/* Numbers of a tensor, and one of them. */
#ifdef HALVES
typedef uint16_t Halves __attribute__((vector_size(2 * WIDTH), aligned(2), may_alias));
typedef uint32_t Bits __attribute__((vector_size(4 * WIDTH)));

static inline Vector read(const Number *p) { return (Vector)(__builtin_convertvector(*(const Halves *)p, Bits) << 16); }
static inline float number(Number half) {
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
/* The nearest, of two the even one. What is no number stays none: arithmetic leaves its lower half empty. */
static inline void write(Number *p, Vector v) {
    const Bits bits = (Bits)v;
    *(Halves *)p = __builtin_convertvector((bits + 0x7fff + (bits >> 16 & 1)) >> 16, Halves);
}
#else
static inline Vector read(const Number *p) { return load(p); }
static inline float number(Number value) { return value; }
static inline void write(Number *p, Vector v) { store(p, v); }
#endif

static inline Vector all(float value) { return value - (Vector){0}; }
static inline Vector choose(Integers mask, Vector yes, Vector no) {
    return (Vector)((mask & (Integers)yes) | (~mask & (Integers)no));
}

/* x, or the nearest end of -most to most; what is no number stays none, which the order of arguments decides. */
static inline Vector within(Vector x, float most) {
#if WIDTH == 16
    return (Vector)_mm512_max_ps((__m512)all(-most), _mm512_min_ps((__m512)all(most), (__m512)x));
#elif WIDTH == 8
    return (Vector)_mm256_max_ps((__m256)all(-most), _mm256_min_ps((__m256)all(most), (__m256)x));
#else
    x = choose(x > most, all(most), x);
    return choose(x < -most, all(-most), x);
#endif
}

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLED(a, b, ...) __builtin_shuffle(a, b, (Integers){__VA_ARGS__})
#endif
#if WIDTH == 4
#define LOW_HALVES 0, 4, 1, 5
#define HIGH_HALVES 2, 6, 3, 7
#elif WIDTH == 8
#define LOW_HALVES 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH_HALVES 4, 12, 5, 13, 6, 14, 7, 15
#else
#define LOW_HALVES 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH_HALVES 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#endif

/* Rows of a square become its columns: every round takes rows half a square apart and mixes them element by element, and
 * after log2(WIDTH) rounds each element has moved to where its row and column have changed places. */
static inline void transpose(Vector square[WIDTH]) {
#pragma GCC unroll 4
    for (int round = 1; round < WIDTH; round *= 2) {
        Vector mixed[WIDTH];
#pragma GCC unroll 8
        for (int i = 0; i < WIDTH / 2; i++) {
            mixed[2 * i] = SHUFFLED(square[i], square[i + WIDTH / 2], LOW_HALVES);
            mixed[2 * i + 1] = SHUFFLED(square[i], square[i + WIDTH / 2], HIGH_HALVES);
        }
#pragma GCC unroll 16
        for (int i = 0; i < WIDTH; i++) square[i] = mixed[i];
    }
}

static inline float sum(Vector v) {
    float total = 0;
    for (int i = 0; i < WIDTH; i++) total += v[i];
    return total;
}

/* e^x for |x| <= 87, within 2e-7: 2^n e^r with r within half of ln 2, whose polynomial is Taylor's. */
static inline Vector exponential(Vector x) {
    const Vector rounding = all(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number, held in the low bits */
    const Vector shifted = x * 1.44269504f + rounding;
    const Vector n = shifted - rounding;
    const Vector r = x - n * 0.693145752f - n * 1.42860677e-6f;
    Vector p = all(1.0f / 5040);
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return (Vector)((Integers)p + (((Integers)shifted - (Integers)rounding) << 23));
}

/* x / (1 + e^-x) */
static inline Vector silu(Vector x) {
    return x / (1.0f + exponential(within(-x, 87.0f)));
}

static inline Vector activated(Vector x, int activation) {
    if (activation == SILU) return silu(x);
    return activation == RELU ? choose(x < 0.0f, all(0.0f), x) : x;
}
