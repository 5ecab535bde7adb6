in vec3 rest, normal, world;
in vec4 region0, region1, region2;
in vec2 region3;
in vec3 split, along, misc;

uniform vec3 light, light_color, ambient;

layout(location = 0) out vec4 color;

#ifdef RICH
vec3 rich_surface(int kind, int over, int region, int material);
vec3 rich_cloth(int pattern, vec2 q, vec3 a, vec3 b);
vec3 folded(vec3 n, int over, int region, int material, out float crease);
float corners(int region);
vec3 further_light(vec3 base, vec3 n);
#endif

float hash(vec3 p) { p = fract(p * 0.3183099 + 0.1); p *= 17.0; return fract(p.x * p.y * p.z * (p.x + p.y + p.z)); }

float noise(vec3 x) {
    vec3 i = floor(x), f = fract(x);
    f = f * f * (3.0 - 2.0 * f);
    return mix(mix(mix(hash(i), hash(i + vec3(1, 0, 0)), f.x), mix(hash(i + vec3(0, 1, 0)), hash(i + vec3(1, 1, 0)), f.x), f.y),
               mix(mix(hash(i + vec3(0, 0, 1)), hash(i + vec3(1, 0, 1)), f.x), mix(hash(i + vec3(0, 1, 1)), hash(i + vec3(1, 1, 1)), f.x), f.y), f.z);
}

vec3 cloth(int pattern, float scale, vec3 a, vec3 b, int region) {
    vec2 p = is_arm(region) ? vec2(split.y * 0.07, along.x * 0.28) : rest.xz;
    vec2 q = p / scale;
#ifdef RICH
    if (pattern > 7) return rich_cloth(pattern, q, a, b);
#endif
    float mask = 0.0;
    if (pattern == 1) mask = step(0.5, fract(q.y));
    else if (pattern == 2) mask = step(0.5, fract(q.x));
    else if (pattern == 3) mask = 0.5 * (step(0.5, fract(q.x * 0.7)) + step(0.5, fract(q.y * 0.7)));
    else if (pattern == 4) mask = 1.0 - step(0.3, length(fract(q * 0.9) - 0.5));
    else if (pattern == 5) mask = step(0.5, noise(vec3(q * 1.3, wrinkle_seed)));
    else if (pattern == 6) mask = step(0.0, is_arm(region) ? 1.0 : along.z - 0.62);
    else if (pattern == 7) mask = smoothstep(-0.5, 0.55, rest.z * 1.3);
    return mix(a, b, mask);
}

vec3 face(vec3 base) {
    vec2 d = vec2(abs(rest.x) - eye.x, rest.z - eye.z);
    if (misc.y > 0.5) {
        float r = length(d);
        return r < 0.004 ? vec3(0.03) : r < 0.0085 ? iris : vec3(0.88);
    }
    if (rest.y > eye.y + 0.03) return base;
    if (abs(length(d / vec2(0.021, 0.011)) - 1.0) < 0.22 && d.y > -0.004) return base * 0.25;
    if (abs(d.y - 0.022 + 6.0 * d.x * d.x) < 0.0042 && abs(d.x) < 0.02) return mix(hair_color, vec3(0.08), 0.4);
    vec2 m = vec2(rest.x, rest.z - mouth.z + 0.003) / vec2(0.026, 0.0095);
    if (dot(m, m) < 1.0) return abs(m.y + 0.1) < 0.14 ? lip * 0.5 : lip;
    return base;
}

vec3 surface(int region, int material) {
    if (material == HANGING_HAIR) return hair_color * (0.75 + 0.4 * noise(vec3(rest.x * 160.0, rest.z * 4.0, 3.0)));
    int kind = material == SKIRT ? BOTTOM : cover(region, along, rest, split.x, misc.x);
    if (region == HEAD && kind == SKIN) return face(skin);
    if (kind == HAIR) return hair_color * (0.75 + 0.4 * noise(vec3(rest.x * 120.0, rest.y * 20.0, rest.z * 30.0)));
    if (kind == SHOE) return rest.z < -0.79 ? shoe * 0.5 + 0.25 : shoe;
    if (kind == BOTTOM) return cloth(bottom_pattern, bottom_scale, bottom_color, bottom_second, material == SKIRT ? TORSO : region);
    if (kind == TOP) {
        vec3 c = cloth(top_pattern, top_scale, top_color, top_second, region);
        vec2 chest = vec2(rest.x, rest.z - 0.30);
        return region == TORSO && split.x > 0.1 && max(abs(chest.x), abs(chest.y)) < print_size ? print_color : c;
    }
    return skin;
}

void main() {
    int region = strongest(region0, region1, region2, region3);
    int material = int(misc.z + 0.5);
    vec3 n = normalize(normal);
    int kind = material != BODY ? BOTTOM : cover(region, along, rest, split.x, misc.x);
#ifdef RICH
    int over = material != BODY ? kind : worn(kind, region, along, rest, split);
    float crease;
    vec3 base = rich_surface(kind, over, region, material);
    n = folded(n, over, region, material, crease);
    crease *= material == BODY ? corners(region) : 1.0;
#else
    vec3 base = surface(region, material);
    if (kind == TOP || kind == BOTTOM) {
        vec3 q = vec3(rest.xz * vec2(14.0, 9.0), wrinkle_seed);
        n = normalize(n + 0.55 * (vec3(noise(q), noise(q + 7.0), noise(q + 19.0)) - 0.5));
    }
#endif
    if (material != BODY && dot(n, vec3(-world.x, -1.0, 0.0)) < 0.0) n = -n;
    float lambert = max(0.0, 0.25 + 0.75 * dot(n, light));
    vec3 half_way = normalize(light + vec3(0, -1, 0));
    float shine = (kind == HAIR ? 0.10 : kind == SKIN ? 0.05 : 0.02) * pow(max(0.0, dot(n, half_way)), 16.0);
    float occlusion = 0.82 + 0.18 * n.z;
#ifdef RICH
    base *= crease;
    color = vec4(clamp(base * (ambient * occlusion + light_color * lambert) + further_light(base, n) + shine, 0.0, 1.0), 1.0);
#else
    color = vec4(clamp(base * (ambient * occlusion + light_color * lambert) + shine, 0.0, 1.0), 1.0);
#endif
}
