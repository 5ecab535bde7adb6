// Shared by the vertex and the fragment stage, after the body's common.glsl: what covers a point of its surface.
uniform vec3 skin, hair_color, lip, iris, shoe, print_color;
uniform float hair_edge, hair_thickness, sleeve, hem, waist, trousers, shoe_top, print_size, wrinkle_seed;
uniform vec3 eye, mouth;   // where they are at rest
uniform vec3 neckline;      // depth below the neck (trunk coordinate), half width in metres, 1 for a V
uniform vec3 top_color, top_second, bottom_color, bottom_second;
uniform int top_pattern, bottom_pattern;
uniform float top_scale, bottom_scale, top_thickness, bottom_thickness;

const int BODY = 0, HANGING_HAIR = 1, SKIRT = 2;
const int SKIN = 0, TOP = 1, BOTTOM = 2, SHOE = 3, HAIR = 4;

bool is_leg(int r) { return r == 8 || r == 9 || r == 11 || r == 12; }
bool is_foot(int r) { return r == 10 || r == 13; }

// along: arm, leg, trunk coordinates; rest: rest position; facing: front/back coordinate
int cover(int region, vec3 along, vec3 rest, float facing, float hair) {
    if (region == HEAD) return hair > hair_edge ? HAIR : SKIN;
    if (is_foot(region)) return shoe_top < 5.0 ? SHOE : SKIN;
    if (is_arm(region)) return along.x < sleeve ? TOP : SKIN;
    if (is_leg(region)) {
        if (along.y > shoe_top) return SHOE;
        return along.y < trousers ? BOTTOM : SKIN;
    }
    if (region != TORSO) return SKIN;
    float across = abs(rest.x) / neckline.y;
    float opening = neckline.x * (neckline.z > 0.5 ? 1.0 - across : sqrt(max(0.0, 1.0 - across * across)));
    bool open = along.z > 0.97 - (facing > 0.0 && across < 1.0 ? opening : 0.0);
    bool strap = sleeve < 0.0 && along.z > 0.8 && (abs(rest.x) > 0.13 || abs(rest.x) < 0.03 && along.z > 0.86);
    if (along.z > hem && !open && !strap) return TOP;
    if (along.z < waist) return BOTTOM;
    return SKIN;
}
