in vec3 normal, world;
in vec4 region0, region1, region2;
in vec2 region3;
in vec3 split;

uniform int parts[28];      // two parts per region: negative, positive side of its split
uniform vec3 camera;

layout(location = 0) out vec4 part;
layout(location = 1) out float distance_out;
layout(location = 2) out vec4 facing;

void main() {
    int region = strongest(region0, region1, region2, region3);
    float part_split = region < 2 ? (region == TORSO ? split.x : split.z) : (is_arm(region) ? split.y : split.x);
    part = vec4(float(parts[2 * region + (part_split > 0.0 ? 1 : 0)]) / 255.0);
    distance_out = world.y + camera.z;
    // right, up, towards the camera
    facing = vec4(normalize(normal) * vec3(1.0, -1.0, 1.0) * 0.5 + 0.5, 1.0).xzyw;
}
