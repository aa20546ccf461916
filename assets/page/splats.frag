#version 300 es
precision highp float;
in vec2 place;
flat in vec4 color;
out vec4 pixel;

void main() {
  float alpha = min(color.a * exp(-0.5 * dot(place, place)), 0.999);
  if (alpha < 1.0 / 255.0) discard;
  pixel = vec4(color.rgb * alpha, alpha);
}
