// Rich people, after body.frag: prints, folds, details of clothes and faces, further light.
in vec3 axis;               // along the limb, in the world

uniform vec3 hat_color, band_color, belt_color, strap_color, glove_color, mask_color, sock_color;
uniform vec3 third, trim_color, highlight, blush_color;
uniform vec3 fold;          // strength, creases per metre, vertical folds
uniform vec4 trim;          // widths of cuffs, hem, collar; sleeve stripes
uniform vec4 logo;          // kind (0: none), x, z, half size
uniform vec3 logo_first, logo_second;
uniform int closure, denim, sock_stripes, leg_stripes;  // closure: 0 none, 1 buttons, 2 zip, 3 open jacket, 4 tie
uniform float pocket, necklace, brow, freckles, ageing, blush, parting, mottle;
uniform vec3 fill_light, fill_color, rim_color;

// A software rasteriser runs every branch for every pixel: noise is dear, so what is painted shares two values of it.
vec2 grain;

float line(float d, float half_width) { return 1.0 - smoothstep(half_width, half_width + fwidth(d), abs(d)); }
float rect(vec2 p, vec2 half_size) { vec2 d = abs(p) - half_size; return max(d.x, d.y); }

vec3 rich_cloth(int pattern, vec2 q, vec3 a, vec3 b) {
    if (pattern == 8 || pattern == 9) {     // flowers, or large leaves
        vec2 cell = floor(q * 1.6), at = fract(q * 1.6) - 0.5;
        float turn = 6.28 * hash(vec3(cell, 2.0)), angle = atan(at.y, at.x) + turn;
        float r = length(at), petals = 0.28 + 0.1 * cos((pattern == 8 ? 5.0 : 2.0) * angle);
        vec3 petal = hash(vec3(cell, 5.0)) < 0.5 ? b : third;
        return r < 0.1 ? mix(third, b, 0.5) : r < petals ? petal : a;
    }
    if (pattern == 10) {                    // plaid
        vec2 wide = step(0.55, fract(q * 0.6)), thin = step(0.9, fract(q * 0.6 + 0.35));
        return mix(mix(a, b, 0.5 * (wide.x + wide.y)), third, 0.5 * (thin.x + thin.y));
    }
    if (pattern == 11) {                    // marbled in three colors
        float n = grain.x + 0.5 * grain.y;
        return n < 0.6 ? a : n < 0.85 ? b : third;
    }
    if (pattern == 12) return mix(a, b, step(0.5, fract(q.y + 0.6 * abs(fract(q.x) - 0.5))));     // zigzag
    if (pattern == 13) return grain.y > 0.7 ? third : grain.y > 0.54 ? b : a;     // leopard
    return mix(a, b, step(0.8, fract(q.x * 1.6)));     // pinstripes
}

vec3 logo_paint(vec3 base, vec2 p) {
    vec2 q = (p - logo.yz) / logo.w;
    if (max(abs(q.x), abs(q.y)) > 1.0) return base;
    int kind = int(logo.x + 0.5);
    if (kind == 1) return length(q) < 1.0 ? (length(q) < 0.7 ? logo_second : logo_first) : base;
    if (kind == 2) return fract(q.y * 1.5) < 0.6 ? (q.y > 0.3 ? logo_second : logo_first) : base;
    if (kind == 3) {                        // bars like letters, in two lines
        vec2 grid = vec2(q.x * 12.0, q.y * 4.5), cell = floor(grid);
        if (abs(fract(q.y * 0.9) - 0.5) > 0.36 || mod(cell.x, 4.0) > 2.5) return base;
        return hash(vec3(cell, wrinkle_seed)) > 0.38 ? logo_first : base;
    }
    if (kind == 4) {                        // like a picture
        float n = grain.x + 0.4 * grain.y;
        return n < 0.55 ? logo_first : n < 0.8 ? logo_second : third;
    }
    if (kind == 5) return abs(length(q) - 0.75) < 0.22 ? logo_first : base;
    float star = length(q) * (1.0 + 0.35 * cos(5.0 * atan(q.x, q.y)));
    return star < 0.7 ? logo_first : base;
}

vec3 top_details(vec3 c, int region) {
    if (is_arm(region)) {
        if (trim.x > 0.0 && along.x > min(sleeve, 1.93) - trim.x) return trim_color;
        bool stripes = trim.w > 0.5 && split.y > -0.1 && split.y < 0.5 && fract(split.y * 5.0) < 0.5;
        return stripes ? trim_color : c;
    }
    bool front = split.x > 0.0;
    if (logo.x > 0.5 && (logo.y > 5.0 ? !front : front)) c = logo_paint(c, vec2(rest.x + (logo.y > 5.0 ? 10.0 : 0.0), rest.z));
    if (along.z < hem + trim.y || along.z > 0.97 - neckline.x - trim.z && abs(rest.x) < neckline.y + 0.01 && front && trim.z > 0.0) return trim_color;
    if (collar > 0.5 && along.z > 0.92 && abs(rest.x) < 0.09) c = mix(c, trim_color, 0.5) * 0.93;
    if (!front) return c;
    float x = abs(rest.x);
    if (closure == 1) {
        c *= 1.0 - 0.3 * line(rest.x - 0.016, 0.001);
        float d = length(vec2(rest.x, (fract(rest.z / 0.075) - 0.5) * 0.075));
        c = mix(c, trim_color, 1.0 - smoothstep(0.005, 0.009, d));
    } else if (closure == 2) {
        c = mix(c * (1.0 - 0.35 * line(rest.x, 0.007)), vec3(0.72), 0.8 * line(rest.x, 0.0025));
    } else if (closure == 3) {
        float opening = 0.028 + 0.05 * abs(along.z - 0.45);
        c = x < opening ? third : c * (1.0 - 0.35 * line(x - opening - 0.004, 0.004));
    } else if (closure == 4 && along.z > 0.4) {
        float width = along.z > 0.9 ? 0.017 : mix(0.033, 0.016, smoothstep(0.45, 0.9, along.z));
        c = x < width ? mix(third, third * 0.7, step(0.5, fract((rest.x + rest.z) * 30.0))) : c;
    }
    if (pocket > 0.5) c *= 1.0 - 0.3 * line(rect(vec2(rest.x - 0.075, rest.z - 0.37), vec2(0.034, 0.04)), 0.0018);
    return c;
}

vec3 bottom_details(vec3 c, int region) {
    float x = abs(rest.x), outer = x - (is_leg(region) ? 0.102 + (0.039 - rest.z) * 0.095 : 0.0);
    if (denim > 0) {
        c *= 0.9 + 0.2 * grain.y + 0.2 * exp(-pow((along.y - 0.5) / 0.35, 2.0)) * step(0.0, split.x);
        vec3 stitch = mix(c, vec3(0.78, 0.58, 0.3), 0.55);
        if (is_leg(region)) c = mix(c, stitch, line(rest.y - 0.012, 0.0022) * step(0.0, outer));
        else if (split.x > 0.0) c = mix(c, stitch, max(line(x - 0.07 - 0.5 * (waist * 0.55 - rest.z), 0.0022), line(rest.x - 0.02, 0.0018)));
    }
    if (pocket > 0.5 && split.x < 0.0) c *= 1.0 - 0.35 * line(rect(vec2(x - 0.075, rest.z - 0.02), vec2(0.042, 0.045)), 0.002);
    if (leg_stripes > 0 && is_leg(region) && outer > 0.0 && abs(rest.y - 0.005) < 0.012 * float(leg_stripes))
        c = leg_stripes == 1 || abs(rest.y - 0.005) > 0.006 ? trim_color : c;
    return c;
}

vec3 rich_face(vec3 c) {
    if (rest.y > eye.y + 0.07) return c;
    float x = abs(rest.x);
    vec2 d = vec2(x - eye.x, rest.z - eye.z), m = vec2(rest.x, rest.z - mouth.z);
    vec2 cheek = vec2(x - 0.042, m.y - 0.03) / vec2(0.024, 0.02);
    c = mix(c, blush_color, blush * exp(-dot(cheek, cheek)));
    c *= 1.0 - 0.10 * exp(-dot(d / vec2(0.024, 0.014), d / vec2(0.024, 0.014)));
    if (freckles > 0.0 && m.y > 0.012 && m.y < 0.07) c *= 1.0 - 0.2 * freckles * smoothstep(0.66, 0.74, grain.y);
    if (abs(d.y - 0.022 + 6.0 * d.x * d.x) < 0.0042 * brow && abs(d.x) < 0.022) c = mix(c, mix(hair_color, vec3(0.08), 0.4), 0.85);
    vec2 nostril = vec2(x - 0.0085, m.y - 0.0215) / vec2(0.0045, 0.003);
    c *= 1.0 - 0.55 * exp(-dot(nostril, nostril));
    c *= 1.0 - 0.14 * exp(-pow((x - 0.015) / 0.006, 2.0)) * smoothstep(0.015, 0.025, m.y) * (1.0 - smoothstep(0.03, 0.06, m.y));
    c *= 1.0 - 0.22 * exp(-pow((m.y + 0.017) / 0.005, 2.0) - pow(rest.x / 0.02, 2.0));      // under the lower lip
    if (ageing > 0.0) {
        float smile = line(x - 0.02 - 0.5 * (0.028 - m.y), 0.0015) * step(-0.01, m.y) * step(m.y, 0.028);
        float forehead = line(fract((rest.z - eye.z) / 0.014) - 0.5, 0.09) * step(0.042, d.y) * step(d.y, 0.075) * step(x, 0.045);
        float bags = exp(-pow((d.y + 0.016) / 0.003, 2.0) - pow(d.x / 0.015, 2.0));
        c *= 1.0 - ageing * (0.3 * smile + 0.2 * forehead + 0.25 * bags);
    }
    if (beard > 0.0) {
        vec2 lips = m / vec2(0.028, 0.011);
        float hairs = beard * bearded(rest) * (0.75 + 0.5 * grain.y) * step(1.0, dot(lips, lips));
        c = mix(c, hair_color * 0.85, clamp(hairs, 0.0, 1.0));
    }
    return c;
}

vec3 rich_hair(vec3 c) {
    c = mix(c * (0.75 + 0.4 * grain.x), highlight, 0.75 * smoothstep(0.55, 0.75, grain.y));
    bool top = misc.z < 0.5 && parting > -0.9 && hair_thickness > 0.01 && rest.z > eye.z + 0.06 && rest.y < eye.y + 0.14;
    return top ? mix(c, skin * 0.6, 0.75 * line(rest.x - parting, 0.0016)) : c;
}

// Sets `grain`. p: cloth coordinates over their scale.
void make_grain(int kind, int material, vec2 p) {
    vec3 coarse = vec3(p * 1.1, wrinkle_seed), fine = vec3(p * 3.2, wrinkle_seed);
    if (material == HANGING_HAIR || kind == HAIR) {
        coarse = vec3(rest.x * 140.0, rest.y * 20.0, rest.z * 12.0);
        fine = vec3(rest.x * 90.0, rest.y * 12.0, rest.z * 5.0);
    } else if (kind == SKIN) {
        coarse = rest * 30.0;
        fine = rest * 340.0;
    } else if (kind == BOTTOM && denim > 0) fine = vec3(rest.xz * 400.0, 1.0);
    grain = vec2(noise(coarse), noise(fine));
}

vec3 jewel(vec3 base) {
    float dip = along.z - 0.98 + necklace * sqrt(max(0.0, 1.0 - rest.x * rest.x / 0.0057));
    float pendant = length(vec2(rest.x, (along.z - 0.975 + necklace) * 0.55));
    return mix(base, vec3(0.86, 0.76, 0.45), max(line(dip * 0.55, 0.0022), 1.0 - smoothstep(0.006, 0.01, pendant)));
}

vec3 accessory(int over) {
    if (over == HAT) return hat_color * (hat.z > 0.014 ? 0.85 + 0.15 * sin(rest.z * 700.0) * sin(atan(rest.x, rest.y) * 60.0) : 1.0);
    if (over == BELT) return split.x > 0.0 && abs(rest.x) < 0.022 ? vec3(0.75, 0.7, 0.55) * (0.7 + 0.3 * step(0.013, abs(rest.x))) : belt_color;
    if (over == BAND) return wrist.z - wrist.y < 0.13 && split.y > 0.45 ? vec3(0.1, 0.11, 0.13) : band_color;
    if (over == STRAP) return strap_color;
    if (over == GLOVE) return glove_color;
    if (over == MASK) return mask_color * (0.94 + 0.06 * sin(rest.z * 800.0));
    return sock_stripes > 0 && fract((along.y - sock_top) * 12.0) < 0.45 && along.y < sock_top + 0.2 ? trim_color : sock_color;
}

vec3 rich_surface(int kind, int over, int region, int material) {
    if (material == WORN) return along;     // loose accessories carry their color
    bool lower = kind == BOTTOM;
    vec2 p = is_arm(region) ? vec2(split.y * 0.07, along.x * 0.28) : rest.xz;
    float scale = lower ? bottom_scale : top_scale;
    make_grain(kind, material, p / scale);
    vec3 c = cloth(lower ? bottom_pattern : top_pattern, scale, lower ? bottom_color : top_color,
                   lower ? bottom_second : top_second, material == SKIRT ? TORSO : region);
    if (material == HANGING_HAIR || kind == HAIR) c = rich_hair(hair_color);
    else if (kind == SHOE) c = rest.z < -0.79 ? shoe * 0.5 + 0.25 : shoe;
    else if (kind == TOP) c = top_details(c, region);
    else if (lower) c = bottom_details(c, region);
    else {
        c = skin * (1.0 + mottle * (grain.x - 0.5));
        if (region == HEAD) c = misc.y > 0.5 ? face(c) : rich_face(face(c));
    }
    if (over > HAIR) c = accessory(over);
    return necklace > 0.0 && region == TORSO && split.x > 0.0 && abs(rest.x) < 0.075 ? jewel(c) : c;
}

vec3 folded(vec3 n, int over, int region, int material, out float crease) {
    crease = 1.0;
    if (material == HANGING_HAIR || material == WORN || over > BOTTOM && over != SOCK || over == SKIN) return n;
    vec3 q = vec3(rest.xz * vec2(14.0, 9.0), wrinkle_seed);
    float slow = noise(q * 0.4 + 7.0) - 0.5, broad = noise(q) - 0.5;    // slow: creases bend with it, but never curl up
    float u, v, strength, hang = 0.0, turn = 0.0;
    if (material == SKIRT) {
        turn = atan(rest.y, rest.x); hang = smoothstep(0.25, -0.25, rest.z);
        u = rest.z; v = turn * 0.15; strength = 0.1;
    } else if (is_arm(region)) {
        u = along.x * 0.28; v = split.y * 0.06;
        strength = 0.2 + exp(-pow((along.x - 1.0) * 4.0, 2.0)) + 0.6 * smoothstep(1.5, 1.9, along.x);
    } else if (is_leg(region)) {
        float center = 0.102 + (0.039 - rest.z) * 0.095;
        u = along.y * 0.4; v = abs(rest.x) - center;
        turn = atan(rest.y, v); hang = smoothstep(0.0, 0.025, flare) * smoothstep(0.3, 1.0, along.y);
        strength = 0.2 + exp(-pow((along.y - 1.0) * 4.5, 2.0)) + 0.9 * smoothstep(1.55, 1.9, along.y) + 0.8 * exp(-pow(along.y * 4.0, 2.0));
    } else {
        u = rest.z; v = rest.x;
        strength = 0.25 + exp(-pow((along.z - hem - 0.1) * 7.0, 2.0)) + 0.7 * smoothstep(0.09, 0.15, abs(rest.x)) * smoothstep(0.6, 0.8, along.z);
    }
    float slant = v * (is_arm(region) || is_leg(region) ? 0.7 : 2.5 * slow);
    float phase = 6.283 * ((u + slant) * fold.y + 1.5 * slow);
    float amount = fold.x * min(strength, 1.1) * smoothstep(-0.3, 0.25, broad);
    float falls = turn * fold.z + 5.0 * slow, drape = 0.8 * hang * min(1.0, fold.x * 2.0);
    vec3 across = normalize(cross(axis, n) + vec3(1e-5));
    crease = 1.0 - 0.45 * amount * max(0.0, -sin(phase)) - 0.35 * drape * max(0.0, -sin(falls));
    return normalize(n - amount * cos(phase) * axis - drape * cos(falls) * across + 0.5 * broad * vec3(1.0, 0.0, -1.0));
}

// Darker where little light comes: under the chin, in the armpits, between the legs.
float corners(int region) {
    if (region == HEAD) return 1.0 - 0.3 * smoothstep(-0.045, -0.075, rest.z - mouth.z) * step(rest.y, 0.0);
    if (region == TORSO) return (1.0 - 0.28 * smoothstep(0.95, 1.03, along.z)) * (1.0 - 0.25 * smoothstep(0.12, 0.16, abs(rest.x)) * smoothstep(0.5, 0.7, along.z) * smoothstep(0.9, 0.8, along.z));
    if (is_arm(region)) return 1.0 - 0.25 * smoothstep(0.2, -0.5, split.y) * smoothstep(0.6, 0.1, along.x);
    if (is_leg(region)) return 1.0 - 0.25 * smoothstep(0.06, 0.02, abs(rest.x)) * smoothstep(0.5, 0.0, along.y);
    return 1.0;
}

vec3 further_light(vec3 base, vec3 n) {
    float edge = 1.0 - clamp(-n.y, 0.0, 1.0);
    return base * fill_color * max(0.0, dot(n, fill_light)) + rim_color * edge * edge * edge * max(0.0, 0.3 + 0.7 * n.z);
}
