#version 300 es
// One Gaussian as a quad around its ellipse on screen, with the colour seen from the camera.
precision highp float;
precision highp int;
precision highp usampler2D;

uniform usampler2D placed, shaped, harmonics;  // (x, y, z, rgba), (scales, quat), coefficients
uniform mat3 worldToCamera;
uniform vec3 center;
uniform vec2 focal, principal, size;  // pixels
uniform float near;
uniform bool isAntialiased;
uniform int degree;
uniform vec2 shapeRanges[7], colorRanges[4], harmonicRanges[45];  // low, high of a byte's column
in uint row;
out vec2 place;  // standard deviations from the centre
flat out vec4 color;

const float BLUR = 0.3, CUT = 1.0 / 255.0;

float column(uint word, int index, vec2 range) {
  return mix(range.x, range.y, float(word >> (8 * index) & 255u) / 255.0);
}

ivec2 texel(uint index, usampler2D table) {
  uint width = uint(textureSize(table, 0).x);
  return ivec2(index % width, index / width);
}

mat3 rotation(vec4 q) {  // (w, x, y, z), columns
  float w = q.x, x = q.y, y = q.z, z = q.w;
  return mat3(1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),
              2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),
              2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y));
}

uvec4 words[3];

vec3 coefficient(int k) {  // k from 0: the first one above the constant
  vec3 found;
  for (int c = 0; c < 3; c++) {
    int at = 3 * k + c;
    found[c] = column(words[at / 16][at % 16 / 4], at % 4, harmonicRanges[at]);
  }
  return found;
}

vec3 harmonicColor(uint row, vec3 d) {
  uint texels = degree == 3 ? 3u : uint(degree);
  for (uint k = 0u; k < texels; k++) words[k] = texelFetch(harmonics, texel(row * texels + k, harmonics), 0);
  float x = d.x, y = d.y, z = d.z, xx = x * x, yy = y * y, zz = z * z;
  vec3 sum = 0.4886025119 * (-y * coefficient(0) + z * coefficient(1) - x * coefficient(2));
  if (degree > 1) {
    sum += 1.0925484306 * (x * y * coefficient(3) - y * z * coefficient(4) - x * z * coefficient(6))
         + 0.3153915653 * (2.0 * zz - xx - yy) * coefficient(5) + 0.5462742153 * (xx - yy) * coefficient(7);
  }
  if (degree > 2) {
    sum += -0.5900435899 * (y * (3.0 * xx - yy) * coefficient(8) + x * (xx - 3.0 * yy) * coefficient(14))
         + 2.8906114426 * x * y * z * coefficient(9)
         - 0.4570457995 * (4.0 * zz - xx - yy) * (y * coefficient(10) + x * coefficient(12))
         + 0.3731763326 * z * (2.0 * zz - 3.0 * xx - 3.0 * yy) * coefficient(11)
         + 1.4453057213 * z * (xx - yy) * coefficient(13);
  }
  return sum;
}

void main() {
  gl_Position = vec4(0.0, 0.0, 2.0, 1.0);  // outside, unless it turns out to be seen
  uvec4 held = texelFetch(placed, texel(row, placed), 0);
  uvec2 shape = texelFetch(shaped, texel(row, shaped), 0).xy;
  vec3 offset = uintBitsToFloat(held.xyz) - center;
  vec3 p = worldToCamera * offset;
  if (!(p.z > near)) return;

  vec3 scales;
  vec4 quat;
  for (int k = 0; k < 3; k++) scales[k] = exp(column(shape.x, k, shapeRanges[k]));
  for (int k = 0; k < 4; k++) quat[k] = column(shape.y, k, shapeRanges[3 + k]);
  vec2 slack = 0.15 * size / focal;
  vec2 ratio = clamp(p.xy / p.z, -principal / focal - slack, (size - principal) / focal + slack);
  mat3 turned = worldToCamera * rotation(normalize(quat));
  vec3 depthRow = vec3(turned[0].z, turned[1].z, turned[2].z);
  vec3 a = focal.x / p.z * (vec3(turned[0].x, turned[1].x, turned[2].x) - ratio.x * depthRow) * scales;
  vec3 b = focal.y / p.z * (vec3(turned[0].y, turned[1].y, turned[2].y) - ratio.y * depthRow) * scales;
  vec3 across = cross(a, b);
  float sharp = dot(across, across);
  float xx = dot(a, a), yy = dot(b, b), xy = dot(a, b);
  float det = sharp + BLUR * (xx + yy) + BLUR * BLUR;
  xx += BLUR;
  yy += BLUR;
  color.a = column(held.w, 3, colorRanges[3]);
  if (isAntialiased) color.a *= sqrt(sharp / det);
  if (!(color.a > CUT)) return;

  float cut = sqrt(2.0 * log(color.a / CUT));
  vec2 at = focal * p.xy / p.z + principal;
  vec2 reach = cut * sqrt(vec2(xx, yy));
  if (any(lessThan(at + reach, vec2(0.0))) || any(greaterThan(at - reach, size))) return;

  float half_ = 0.5 * (xx - yy), spread = sqrt(half_ * half_ + xy * xy);
  float longer = 0.5 * (xx + yy) + spread;
  vec2 axis = half_ > 0.0 ? vec2(spread + half_, xy) : vec2(xy, spread - half_);
  axis = spread > 1e-9 * longer ? normalize(axis) : vec2(1.0, 0.0);
  place = cut * (2.0 * vec2(gl_VertexID & 1, gl_VertexID >> 1) - 1.0);
  vec2 corner = at + place.x * sqrt(longer) * axis + place.y * sqrt(det / longer) * vec2(-axis.y, axis.x);
  gl_Position = vec4(2.0 * corner.x / size.x - 1.0, 1.0 - 2.0 * corner.y / size.y, 0.0, 1.0);

  for (int c = 0; c < 3; c++) color[c] = column(held.w, c, colorRanges[c]);
  if (degree > 0) color.rgb += harmonicColor(row, normalize(offset));
  color.rgb = max(color.rgb, 0.0);
}
