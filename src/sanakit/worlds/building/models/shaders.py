"""The programs of the renderer, in GLSL."""

VERTEX = """
#version 330
uniform mat4 matrix;
in vec3 position; in vec3 normal; in vec2 uv;
out vec3 place; out vec3 facing; out vec2 at;
void main() { gl_Position = matrix * vec4(position, 1.0); place = position; facing = normal; at = uv; }
"""

# Colours are made linear, lit and made ready for the screen again. The sky is brighter than the ground; the lamp throws
# shadows, softened over nine samples; glass shows more of itself where it is seen at a slant.
FRAGMENT = """
#version 330
uniform sampler2D picture; uniform sampler2D shadow_map;
uniform mat4 light; uniform vec3 lamp; uniform vec3 eye; uniform vec3 back;
uniform vec3 colour; uniform float alpha; uniform float gloss; uniform float shine; uniform float flag;
uniform float near; uniform float far;
in vec3 place; in vec3 facing; in vec2 at;
layout(location = 0) out vec4 shown; layout(location = 1) out vec4 extra;

float lit(vec3 n) {
    vec3 p = (light * vec4(place, 1.0)).xyz * 0.5 + 0.5;
    float slack = 0.004 + 0.012 * (1.0 - max(dot(n, lamp), 0.0)), sum = 0.0;
    for (int x = -1; x <= 1; x++) for (int y = -1; y <= 1; y++)
        sum += texture(shadow_map, p.xy + vec2(x, y) * 0.004).r + slack > p.z ? 1.0 : 0.0;
    return sum / 9.0;
}

void main() {
    vec4 texel = texture(picture, at);
    if (texel.a < 0.4) discard;
    vec3 own = pow(texel.rgb * colour, vec3(2.2));
    vec3 view = normalize(eye - place), n = normalize(facing);
    if (dot(n, view) < 0.0) n = -n;
    float slant = pow(1.0 - max(dot(n, view), 0.0), 4.0);
    vec3 sky = mix(vec3(0.30, 0.29, 0.28), vec3(0.62, 0.64, 0.66), n.y * 0.5 + 0.5);
    float sun = max(dot(n, lamp), 0.0) * lit(n);
    float fill = max(dot(n, back), 0.0) * 0.16;
    vec3 light_sum = sky + fill + vec3(0.76, 0.74, 0.70) * sun;
    float spark = gloss * pow(max(dot(n, normalize(lamp + view)), 0.0), shine) * sun * 0.5;
    vec3 glow = own * light_sum + spark + gloss * slant * 0.18 * sky;
    glow = mix(glow, 1.0 - 0.25 * exp(-(glow - 0.75) / 0.25), step(0.75, glow));
    float a = clamp(alpha + (alpha < 1.0 ? 0.5 * slant + spark : 0.0), 0.0, 1.0);
    shown = vec4(pow(glow, vec3(1.0 / 2.2)) * a, a);
    float away = dot(eye - place, back);
    float depth = 1.0 - clamp((away - near) / max(far - near, 1e-6), 0.0, 1.0);
    extra = vec4(flag, (1.0 + 254.0 * depth) / 255.0, 0.0, 1.0);
}
"""

SHADOW_VERTEX = """
#version 330
uniform mat4 light;
in vec3 position; in vec2 uv;
out vec2 at;
void main() { gl_Position = light * vec4(position, 1.0); at = uv; }
"""

SHADOW_FRAGMENT = """
#version 330
uniform sampler2D picture;
in vec2 at;
void main() { if (texture(picture, at).a < 0.4) discard; }
"""
