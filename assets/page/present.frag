#version 300 es
// The Gaussians over what lies behind them: an all-round picture, or black.
precision highp float;
uniform sampler2D seen, behind;
uniform mat3 worldToCamera;
uniform vec2 focal, principal, size;
uniform bool hasBackground;
out vec4 pixel;

void main() {
  vec4 front = texelFetch(seen, ivec2(gl_FragCoord.xy), 0);
  vec3 color = front.rgb;
  if (hasBackground) {
    vec2 at = vec2(gl_FragCoord.x, size.y - gl_FragCoord.y);
    vec3 ray = normalize(vec3((at - principal) / focal, 1.0)) * worldToCamera;  // transposed: into the world
    vec2 place = vec2(0.5 + atan(ray.x, ray.z) / 6.283185307, 0.5 + asin(clamp(ray.y, -1.0, 1.0)) / 3.141592654);
    color += (1.0 - front.a) * textureLod(behind, place, 0.0).rgb;
  }
  pixel = vec4(color, 1.0);
}
