in vec3 in_position, in_normal;
in vec4 in_joints, in_weights, in_region0, in_region1, in_region2;
in vec2 in_region3;
in vec3 in_split;

out vec3 normal, world;
out vec4 region0, region1, region2;
out vec2 region3;
out vec3 split;

void main() {
    mat4x3 m = skinned(in_joints, in_weights);
    world = m * vec4(in_position, 1.0);
    normal = mat3(m) * in_normal;
    region0 = in_region0; region1 = in_region1; region2 = in_region2; region3 = in_region3;
    split = in_split;
    gl_Position = project(world);
}
