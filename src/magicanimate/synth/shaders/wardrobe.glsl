// Shared by the vertex and the fragment stage of rich people, after cover.glsl: what is worn over skin, hair and cloth.
#define RICH
uniform vec3 hat;           // 1 over the whole skull or 2 a band, front edge above the eyes, thickness
uniform vec3 wrist;         // side of the body (0: none), and between which arm coordinates
uniform vec2 belt;          // trunk coordinate, half width (0: none)
uniform vec2 strap;         // side of the shoulder (0: none; 2: both, a backpack), half width
uniform float mask, gloves, sock_top, beard, collar, flare;

const int HAT = 5, SOCK = 6, BELT = 7, BAND = 8, STRAP = 9, GLOVE = 10, MASK = 11, WORN = 3;

float hat_depth(vec3 rest) { return rest.z - eye.z - hat.y + 0.2 * (rest.y - eye.y); }

float bearded(vec3 rest) {
    vec2 p = vec2(abs(rest.x), rest.z - mouth.z);
    float jaw = step(rest.y, eye.y + 0.085) * smoothstep(-0.065, -0.055, p.y) * (1.0 - smoothstep(-0.012, 0.03, p.y - 0.8 * p.x + 0.022));
    float moustache = step(p.x, 0.03) * step(0.005, p.y) * step(p.y, 0.017);
    return max(jaw, moustache);
}

bool on_strap(vec3 along, vec3 rest, float facing) {
    if (strap.x > 1.5) return abs(abs(rest.x) - 0.1) < strap.y && (along.z > 0.86 || facing > 0.0 && along.z > 0.45);
    return abs(0.9 * (rest.x * strap.x + 0.1) + 0.434 * (rest.z - 0.5)) < strap.y && along.z > 0.05;
}

int worn(int kind, int region, vec3 along, vec3 rest, vec3 split) {
    if (region == HEAD) {
        float depth = hat_depth(rest);
        if (hat.x > 0.5 && depth > 0.0 && (hat.x < 1.5 || depth < 0.035)) return HAT;
        bool lower = rest.z < mix(mouth.z, eye.z, 0.62) && rest.z > mouth.z - 0.055 && rest.y < eye.y + 0.055;
        return mask > 0.5 && lower ? MASK : kind;
    }
    if (region == 4 || region == 7) return gloves > 0.5 ? GLOVE : kind;
    if (is_arm(region)) {
        if (gloves > 0.5 && along.x > 1.88) return GLOVE;
        return rest.x * wrist.x > 0.0 && along.x > wrist.y && along.x < wrist.z ? BAND : kind;
    }
    if (is_leg(region) || is_foot(region)) return kind == SKIN && (along.y > sock_top || is_foot(region) && sock_top < 5.0) ? SOCK : kind;
    if (region != TORSO) return kind;
    if (strap.x != 0.0 && on_strap(along, rest, split.x)) return STRAP;
    return abs(along.z - belt.x) < belt.y ? BELT : kind;
}

float worn_thickness(float cloth, int kind, int region, vec3 along, vec3 rest) {
    if (kind == HAT) return hat.z;
    if (kind == BELT || kind == BAND) return cloth + 0.006;
    if (kind == STRAP) return cloth + 0.007;
    if (kind == SOCK || kind == GLOVE) return 0.004;
    if (kind == MASK) return 0.008;
    if (kind == SKIN && region == HEAD && beard > 0.6) return 0.007 * bearded(rest);
    if (kind == TOP && region == TORSO) return cloth + 0.008 * collar * smoothstep(0.9, 0.95, along.z) * smoothstep(0.1, 0.08, abs(rest.x));
    if (kind == BOTTOM && is_leg(region)) return cloth + flare * smoothstep(0.2, 1.8, along.y);
    return cloth;
}
