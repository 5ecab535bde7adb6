in vec2 at;
uniform sampler2D picture;
uniform vec4 shadow[2];     // per person: center x, y in [0,1], half width, darkness
layout(location = 0) out vec4 color;

void main() {
    float shade = 1.0;
    for (int i = 0; i < 2; i++) {
        vec2 d = (at - shadow[i].xy) / vec2(shadow[i].z, shadow[i].z * 0.22);
        shade *= 1.0 - shadow[i].w * exp(-dot(d, d));
    }
    color = vec4(texture(picture, at).rgb * shade, 0.0);  // alpha: how much of a pixel is somebody
}
