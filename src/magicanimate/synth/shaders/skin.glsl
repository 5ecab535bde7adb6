// Vertex stage: from the rest shape to the picture.
uniform mat4x3 joints[JOINT_COUNT];
uniform vec3 camera;        // center x, center z, distance
uniform vec2 focal;         // half picture widths and heights at distance 1
uniform vec2 span;          // metres: the nearest distance that is drawn, and how far from it the farthest is

mat4x3 skinned(vec4 which, vec4 weights) {
    return weights.x * joints[int(which.x)] + weights.y * joints[int(which.y)]
         + weights.z * joints[int(which.z)] + weights.w * joints[int(which.w)];
}

vec4 project(vec3 world) {
    float depth = world.y + camera.z;
    // image rows run downwards, so that the buffer can be read without a flip, and depth is stored linearly
    float linear = (depth - span.x) / span.y * 2.0 - 1.0;
    return vec4(focal.x * (world.x - camera.x), -focal.y * (world.z - camera.y), linear * depth, depth);
}
