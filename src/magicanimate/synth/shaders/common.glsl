// Shared by every program that draws bodies: regions of the surface, skinning and projection.
const int TORSO = 0, HEAD = 1;

// Index of the region with the largest weight.
int strongest(vec4 a, vec4 b, vec4 c, vec2 d) {
    float all[14] = float[14](a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w, c.x, c.y, c.z, c.w, d.x, d.y);
    float best = -1.0;
    int index = 0;
    for (int i = 0; i < 14; i++) if (all[i] > best) { best = all[i]; index = i; }
    return index;
}

bool is_arm(int r) { return r == 2 || r == 3 || r == 5 || r == 6; }
