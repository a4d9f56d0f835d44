"""GLSL of the ModernGL renderer and of the window.

Pictures are drawn with their first row at window coordinate 0, so a texture's and a read-back's first row is the
picture's top. Depth runs linearly from the camera to ``far_m``: points have one depth each, so nothing needs the
hyperbolic kind, and a comparison within some per cent is a division.
"""

MARGIN = 24
"""Pixels drawn around the picture, so that a splat whose centre lies outside still reaches into it."""

TABLE_WIDTH = 1024
"""Chunks in one row of the chunk table; each has two texels."""

MAX_KEYFRAMES = 3
"""Photos that one picture samples."""

POINT_VERTEX = """
#version 330 core
in uvec4 in_place;   // x, y, z in the chunk (14 bits, on top of x: fresh, on top of y and z: slot bits), low slot bits
in uvec4 in_color;   // red, green, blue, priority

uniform sampler2D chunk_table;  // two texels a slot: origin in the camera's frame and step; spacing and missing share
uniform mat3 camera_R_world;
uniform vec4 intrinsics;        // fx, fy, cx, cy in pixels
uniform vec2 picture_size;      // margin included
uniform float margin;
uniform float near_m;
uniform float far_m;
uniform float depth_scale;      // 1 in the depth pass; 1 / 1.02 lets the colour pass reach 2 % behind the surface
uniform uint min_priority;

flat out vec4 color;            // rgb, missing share
flat out float depth_m;
flat out vec2 origin;           // shares of invented and estimated

void main() {
    uint slot = in_place.w | ((in_place.y >> 14) << 16) | ((in_place.z >> 14) << 18);
    ivec2 texel = ivec2(int(slot % 1024u) * 2, int(slot / 1024u));
    vec4 place = texelFetch(chunk_table, texel, 0);
    vec4 facts = texelFetch(chunk_table, texel + ivec2(1, 0), 0);
    vec3 local = (vec3(in_place.xyz & 16383u) + 0.5) * place.w;
    vec3 p = camera_R_world * local + place.xyz;
    float z = max(p.z, 1e-6);
    vec2 pixel = intrinsics.xy * p.xy / z + intrinsics.zw + margin;
    bool shown = p.z >= near_m && in_color.a >= min_priority;
    gl_Position = vec4(2.0 * pixel / picture_size - 1.0, shown ? 2.0 * z * depth_scale / far_m - 1.0 : -2.0, 1.0);
    gl_PointSize = clamp(1.9 * facts.x * intrinsics.x / z, 2.0, 128.0);
    bool fresh = (in_place.x & 32768u) != 0u;
    uint kind = in_color.a >> 6;
    color = vec4(vec3(in_color.rgb) / 255.0, fresh ? facts.y : 0.0);
    origin = vec2(kind == 1u, kind == 2u);
    depth_m = z;
}
"""

DEPTH_FRAGMENT = """
#version 330 core
void main() {
    vec2 offset = gl_PointCoord * 2.0 - 1.0;
    if (dot(offset, offset) > 1.0) discard;
}
"""

COLOR_FRAGMENT = """
#version 330 core
flat in vec4 color;
flat in float depth_m;
flat in vec2 origin;
layout(location = 0) out vec4 sum_color;  // rgb and 1, weighted
layout(location = 1) out vec4 sum_facts;  // depth, invented, estimated, missing; weighted
void main() {
    vec2 offset = gl_PointCoord * 2.0 - 1.0;
    float square = dot(offset, offset);
    if (square > 1.0) discard;
    float weight = exp(-2.0 * square);
    sum_color = vec4(color.rgb, 1.0) * weight;
    sum_facts = vec4(depth_m, origin, color.a) * weight;
}
"""

SCREEN_VERTEX = """
#version 330 core
void main() {  // one triangle over the whole target
    vec2 corner = vec2((gl_VertexID << 1) & 2, gl_VertexID & 2);
    gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
}
"""

KEYFRAME_SAMPLING = """
uniform sampler2D photo[3];
uniform sampler2D photo_depth[3];    // metres (of the nearest known pixel where unknown); 1 known, 0 not, -1 moves
uniform mat3 photo_R_camera[3];
uniform vec3 photo_t_camera[3];
uniform vec4 photo_intrinsics[3];
uniform float photo_parallax[3];     // pixels by which a surface at 1 m moves between the photo's place and this one
uniform int num_photos;

// Where a camera point falls on a photo: pixel and depth there, z <= 0 when outside.
vec3 onto_photo(vec2 size, int k, vec3 p) {
    vec3 q = photo_R_camera[k] * p + photo_t_camera[k];
    vec2 at = photo_intrinsics[k].xy * q.xy / max(q.z, 0.01) + photo_intrinsics[k].zw;
    bool inside = q.z >= 0.01 && all(greaterThanEqual(at, vec2(0.0))) && all(lessThan(at, size));
    return vec3(at, inside ? q.z : 0.0);
}

// Colour of a photo at depth z along the ray, and how well its own depth agrees. A photo that sees through the drawn
// point tells that only a splat's rim reached this pixel; then z becomes the depth of what the photo sees behind it.
// With where_unknown, z is a guess and pixels whose depth the photo does not know count at any depth.
vec4 sample_photo(sampler2D image, sampler2D depth, int k, vec3 ray, bool where_unknown, inout float z) {
    vec2 size = vec2(textureSize(image, 0));
    vec3 q = onto_photo(size, k, ray * z);
    if (q.z <= 0.0) return vec4(0.0);
    vec2 seen = texelFetch(depth, ivec2(q.xy), 0).rg;
    if (seen.y < 0.0) return vec4(0.0);
    if (where_unknown && seen.y == 0.0) return vec4(texture(image, q.xy / size).rgb, 1.0);
    if (seen.x > q.z * 1.02) {
        vec3 behind = vec3((q.xy - photo_intrinsics[k].zw) / photo_intrinsics[k].xy, 1.0) * seen.x;
        float z_behind = (transpose(photo_R_camera[k]) * (behind - photo_t_camera[k])).z;
        q = onto_photo(size, k, ray * z_behind);
        if (q.z <= 0.0) return vec4(0.0);
        seen = texelFetch(depth, ivec2(q.xy), 0).rg;
        if (seen.y >= 0.0 && abs(seen.x - q.z) < 0.02 * q.z) z = z_behind;
    }
    if (seen.y < 0.0) return vec4(0.0);
    float agrees = 1.0 - smoothstep(0.015, 0.025, abs(seen.x - q.z) / q.z);
    float shift_px = photo_parallax[k] * abs(1.0 / max(seen.x, 1e-3) - 1.0 / q.z);
    agrees = max(agrees, 1.0 - smoothstep(0.5, 1.0, shift_px));  // so near the photo's place that depth hardly matters
    return vec4(texture(image, q.xy / size).rgb, agrees);
}

// Photos in their order, each where the ones before it do not agree. Premultiplied.
vec4 sample_photos(vec3 ray, bool where_unknown, inout float z) {
    vec4 sum = vec4(0.0);
    if (num_photos > 0) { vec4 s = sample_photo(photo[0], photo_depth[0], 0, ray, where_unknown, z);
        sum += (1.0 - sum.a) * s.a * vec4(s.rgb, 1.0); }
    if (num_photos > 1 && sum.a < 0.99) {
        vec4 s = sample_photo(photo[1], photo_depth[1], 1, ray, where_unknown, z);
        sum += (1.0 - sum.a) * s.a * vec4(s.rgb, 1.0); }
    if (num_photos > 2 && sum.a < 0.99) {
        vec4 s = sample_photo(photo[2], photo_depth[2], 2, ray, where_unknown, z);
        sum += (1.0 - sum.a) * s.a * vec4(s.rgb, 1.0); }
    return sum;
}
"""

RESOLVE_FRAGMENT = (
    """
#version 330 core
uniform sampler2D sum_color;
uniform sampler2D sum_facts;
uniform vec4 intrinsics;
uniform int margin;
uniform float tint;
layout(location = 0) out vec4 known;      // rgb, coverage; premultiplied
layout(location = 1) out vec4 known_facts; // depth, coverage, coverage over depth, missing share
"""
    + KEYFRAME_SAMPLING
    + """
const vec3 INVENTED = vec3(1.0, 0.55, 0.2), ESTIMATED = vec3(0.3, 0.6, 1.0), OBSERVED = vec3(0.35, 0.8, 0.45);

void main() {
    ivec2 texel = ivec2(gl_FragCoord.xy) + margin;
    vec4 sum = texelFetch(sum_color, texel, 0);
    if (sum.a < 0.05) {
        known = vec4(0.0);
        known_facts = vec4(0.0);
        return;
    }
    vec4 facts = texelFetch(sum_facts, texel, 0) / sum.a;
    vec3 rgb = sum.rgb / sum.a;
    float z = facts.x;
    vec3 ray = vec3((gl_FragCoord.xy - intrinsics.zw) / intrinsics.xy, 1.0);
    vec4 sampled = sample_photos(ray, false, z);
    rgb = sampled.rgb + (1.0 - sampled.a) * rgb;
    vec3 kind = facts.y * INVENTED + facts.z * ESTIMATED + max(1.0 - facts.y - facts.z, 0.0) * OBSERVED;
    float grey = dot(rgb, vec3(0.299, 0.587, 0.114));
    rgb = mix(rgb, kind * (0.25 + 0.75 * grey), tint);
    float coverage = max(clamp(sum.a / 0.3, 0.0, 1.0), sampled.a);
    known = vec4(rgb * coverage, coverage);
    known_facts = vec4(z, coverage, coverage / z, facts.w);
}
"""
)

FINISH_FRAGMENT = (
    """
#version 330 core
uniform sampler2D known;        // with mip levels
uniform sampler2D known_facts;  // with mip levels
uniform vec4 intrinsics;
uniform int num_levels;
uniform bool fill;
uniform mat3 level_R_camera;    // level axes: x right, y down along gravity, z forward
uniform vec2 position_level;    // camera's x and z on the level plane, metres
uniform float floor_height_m;
layout(location = 0) out vec4 color;  // rgb, coverage
"""
    + KEYFRAME_SAMPLING
    + """
const vec3 BASE = vec3(0.157, 0.165, 0.184);  // of the fog where nothing at all is known

// Known colours near by, finest level first. Premultiplied; how coarse a level was needed goes to `level`.
vec4 spread(sampler2D pyramid, vec2 at, out float level) {
    vec4 sum = vec4(0.0);
    level = 0.0;
    for (int l = 0; l < num_levels; ++l) {
        vec4 s = textureLod(pyramid, at, float(l));
        float share = clamp(s.a, 0.0, 1.0) * (1.0 - sum.a);
        level += share * float(l);
        sum += (1.0 - sum.a) * s;
        if (sum.a > 0.995) break;
    }
    level /= max(sum.a, 1e-4);
    return sum;
}

float nearby_depth(vec2 at) {
    for (int l = 0; l < num_levels; ++l) {
        vec4 s = textureLod(known_facts, at, float(l));
        if (s.y > 0.05) return s.y / max(s.z, 1e-6);
    }
    return 3.0;
}

vec3 fog(vec2 at, vec3 ray) {
    float level;
    vec4 near = spread(known, at, level);
    vec3 nearest = mix(BASE, near.rgb / max(near.a, 1e-4), min(near.a * 1.2, 1.0));
    float far = clamp((level - 1.0) / 6.0, 0.0, 1.0);
    vec3 rgb = 0.25 * BASE + nearest * mix(0.65, 0.42, far);
    vec3 direction = normalize(level_R_camera * ray);
    float down = direction.y;
    rgb *= 1.0 - 0.25 * smoothstep(0.0, 0.35, down);
    rgb += 0.05 * exp(-abs(down) * 30.0);
    if (down > 0.02 && floor_height_m > 0.0) {
        vec2 ground = position_level + direction.xz * (floor_height_m / down);
        vec2 width = max(fwidth(ground), vec2(1e-5));
        vec2 line = 1.0 - smoothstep(0.6 * width, 1.6 * width, abs(fract(ground - 0.5) - 0.5));
        float visible = clamp(1.0 - 2.0 * max(width.x, width.y), 0.0, 1.0);
        rgb += 0.05 * max(line.x, line.y) * visible;
    }
    return rgb;
}

void main() {
    ivec2 texel = ivec2(gl_FragCoord.xy);
    vec4 here = texelFetch(known, texel, 0);
    vec3 rgb = here.rgb / max(here.a, 1e-4);
    vec2 size = vec2(textureSize(known, 0));
    vec3 ray = vec3((gl_FragCoord.xy - intrinsics.zw) / intrinsics.xy, 1.0);
    if (!fill) {
        color = vec4(here.a > 0.0 ? rgb : vec3(0.0), here.a);
        return;
    }
    float missing = texelFetch(known_facts, texel, 0).w;
    vec3 behind = fog(gl_FragCoord.xy / size, ray);  // outside the branch: fwidth needs its neighbours
    float solid = here.a * (1.0 - missing);
    if (here.a < 0.999) {  // a photo's pixels without depth stand where their surroundings do
        float z = nearby_depth(gl_FragCoord.xy / size);
        vec4 sampled = sample_photos(ray, true, z);
        behind = sampled.rgb + (1.0 - sampled.a) * behind;
    }
    color = vec4(mix(behind, rgb, solid), here.a);
}
"""
)

QUAD_VERTEX = """
#version 330 core
in vec4 in_place;   // left, top, width, height in 0..1 of the window
in vec4 in_source;  // the same of the image
out vec2 at;
void main() {
    vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);
    at = in_source.xy + corner * in_source.zw;
    vec2 p = in_place.xy + corner * in_place.zw;
    gl_Position = vec4(p.x * 2.0 - 1.0, 1.0 - p.y * 2.0, 0.0, 1.0);
}
"""

QUAD_FRAGMENT = """
#version 330 core
uniform sampler2D image;
uniform bool opaque;
in vec2 at;
layout(location = 0) out vec4 color;
void main() {
    color = texture(image, at);
    if (opaque) color.a = 1.0;
}
"""
