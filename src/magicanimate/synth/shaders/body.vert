in vec3 in_position, in_normal;
in vec4 in_joints, in_weights, in_region0, in_region1, in_region2;
in vec2 in_region3;
in vec3 in_split, in_along;
in vec3 in_misc;            // hair, eyeball, material

out vec3 rest, normal, world;
out vec4 region0, region1, region2;
out vec2 region3;
out vec3 split, along, misc;
#ifdef RICH
out vec3 axis;
#endif

float covered(int region, int kind) {
    if (kind == TOP) return top_thickness * (in_along.z < hem + 0.06 && region == TORSO ? 1.5 : 1.0);
    if (kind == BOTTOM) return bottom_thickness;
    if (kind == SHOE) return 0.008;
    if (kind == HAIR) return hair_thickness * smoothstep(0.0, 0.25, in_misc.x - hair_edge);
    return 0.0;
}

float thickness(int region) {
    if (int(in_misc.z + 0.5) != BODY || in_misc.y > 0.5) return 0.0;
    int kind = cover(region, in_along, in_position, in_split.x, in_misc.x);
    float cloth = covered(region, kind);
#ifdef RICH
    return worn_thickness(cloth, worn(kind, region, in_along, in_position, in_split), region, in_along, in_position);
#else
    return cloth;
#endif
}

void main() {
    mat4x3 m = skinned(in_joints, in_weights);
    int region = strongest(in_region0, in_region1, in_region2, in_region3);
#ifdef RICH
    float side = sign(in_position.x);
    bool limb = int(in_misc.z + 0.5) == BODY;
    axis = mat3(m) * (limb && is_arm(region) ? vec3(0.62 * side, -0.35, -0.7) : limb && is_leg(region) ? vec3(0.1 * side, 0.0, -1.0) : vec3(0, 0, -1));
#endif
    world = m * vec4(in_position + thickness(region) * in_normal, 1.0);
    normal = mat3(m) * in_normal;
    rest = in_position;
    region0 = in_region0; region1 = in_region1; region2 = in_region2; region3 = in_region3;
    split = in_split; along = in_along; misc = in_misc;
    gl_Position = project(world);
}
