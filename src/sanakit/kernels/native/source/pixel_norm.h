/* y = act(x / rms(x) * weight + bias), over the channels of every pixel; y may be x. */
#pragma once

#include "vector.h"

enum { SHARE = 256 }; /* pixels of a task */

static void normalise_pixel(const Number *x, const struct PixelNorm *args, Number *y) {
    Vector squares = {0};
    for (int64_t c = 0; c < args->channels; c += WIDTH) squares += read(x + c) * read(x + c);
    const float scale = 1.0f / __builtin_sqrtf(sum(squares) / (float)args->channels + args->eps);
    for (int64_t c = 0; c < args->channels; c += WIDTH) {
        const Vector value = read(x + c) * scale * read(args->weight + c) + read(args->bias + c);
        write(y + c, activated(value, args->activation));
    }
}

static void normalise_share(int64_t share, int thread, void *context) {
    const struct PixelNorm *args = context;
    const int64_t first = share * SHARE, end = first + SHARE < args->pixels ? first + SHARE : args->pixels;
    (void)thread;
    for (int64_t i = first * args->channels; i < end * args->channels; i += args->channels)
        normalise_pixel(args->x + i, args, args->y + i);
}

static int pixel_norm(const struct PixelNorm *args) {
    large_pages(args->y, args->pixels * args->channels * sizeof(Number));
    parallel((args->pixels + SHARE - 1) / SHARE, args->threads, normalise_share, (void *)args);
    return 0;
}
