in vec3 in_position, in_normal;
in vec4 in_joints, in_weights, in_region0, in_region1, in_region2;
in vec2 in_region3;
in vec3 in_split, in_along;
in vec3 in_misc;            // hair, eyeball, material

uniform mat4x3 joints[JOINT_COUNT];
uniform vec4 camera;        // centre x, centre z, distance, focal length
uniform bool clothed;       // false: the naked body, for the part map

out vec3 rest, normal, world;
out vec4 region0, region1, region2;
out vec2 region3;
out vec3 split, along, misc;

float thickness() {
    if (int(in_misc.z + 0.5) != BODY || in_misc.y > 0.5) return 0.0;
    int region = strongest(in_region0, in_region1, in_region2, in_region3);
    int kind = cover(region, in_along, in_position, in_split.x, in_misc.x);
    if (kind == TOP) return top_thickness * (in_along.z < hem + 0.06 && region == TORSO ? 1.5 : 1.0);
    if (kind == BOTTOM) return bottom_thickness;
    if (kind == SHOE) return 0.008;
    if (kind == HAIR) return hair_thickness * smoothstep(0.0, 0.25, in_misc.x - hair_edge);
    return 0.0;
}

void main() {
    vec4 p = vec4(in_position + (clothed ? thickness() : 0.0) * in_normal, 1.0);
    mat4x3 m = in_weights.x * joints[int(in_joints.x)] + in_weights.y * joints[int(in_joints.y)]
             + in_weights.z * joints[int(in_joints.z)] + in_weights.w * joints[int(in_joints.w)];
    world = m * p;
    normal = mat3(m) * in_normal;
    rest = in_position;
    region0 = in_region0; region1 = in_region1; region2 = in_region2; region3 = in_region3;
    split = in_split; along = in_along; misc = in_misc;
    float depth = world.y + camera.z;
    // image rows run downwards, so that the buffer can be read without a flip
    // and depth is stored linearly between 0.3 m and 12.3 m
    float linear = (depth - 0.3) / 12.0 * 2.0 - 1.0;
    gl_Position = vec4(camera.w * (world.x - camera.x), -camera.w * (world.z - camera.y), linear * depth, depth);
}
