"use strict";
// Order Gaussians from far to near, exactly: two counting sorts over the 16-bit halves of their depths.
// The bits of positive floats are in the order of their values.
let means;
onmessage = ({data}) => {
  if (data.means) { means = data.means; return; }
  const {forward, center, near, serial} = data;
  const offset = forward[0] * center[0] + forward[1] * center[1] + forward[2] * center[2];
  const total = means.length / 3;
  const depths = new Float32Array(total), rows = new Uint32Array(total);
  let count = 0;
  for (let n = 0; n < total; n++) {
    const depth = forward[0] * means[3 * n] + forward[1] * means[3 * n + 1] + forward[2] * means[3 * n + 2] - offset;
    if (depth > near) { depths[count] = depth; rows[count++] = n; }
  }
  const keys = new Uint32Array(depths.buffer, 0, count);
  const half = new Uint32Array(count), order = new Uint32Array(count);
  pass(count, k => k, half, keys, 0);
  pass(count, k => half[k], order, keys, 16);
  for (let k = 0; k < count; k++) order[k] = rows[order[k]];
  postMessage({order, serial}, [order.buffer]);
};

function pass(count, source, target, keys, shift) {
  const starts = new Uint32Array(65537);
  for (let k = 0; k < count; k++) starts[65536 - (keys[k] >>> shift & 65535)]++;  // large depths first
  for (let d = 0, sum = 0; d <= 65536; d++) { const many = starts[d]; starts[d] = sum; sum += many; }
  for (let k = 0; k < count; k++) {
    const row = source(k);
    target[starts[65536 - (keys[row] >>> shift & 65535)]++] = row;
  }
}
