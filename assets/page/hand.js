"use strict";
// A camera in the hand: three angles around the scene's upward direction keep the horizon level.
// The first view is adopted exactly, tilt included; the tilt fades as the hand moves on.

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const scaled = (a, s) => a.map(value => value * s);
const sum = (...vectors) => [0, 1, 2].map(k => vectors.reduce((total, v) => total + v[k], 0));
const unit = a => scaled(a, 1 / (Math.hypot(...a) || 1));

class Hand {
  constructor({camera, pivot, up, radius}) {
    Object.assign(this, {first: camera, firstPivot: pivot, radius});
    this.up = unit(up);
    const least = this.up.map(Math.abs);
    const axis = [0, 1, 2].map(k => (k === least.indexOf(Math.min(...least)) ? 1 : 0));
    this.east = unit(sum(axis, scaled(this.up, -dot(axis, this.up))));
    this.north = cross(this.up, this.east);
    this.reset();
  }

  reset() {
    const [right, down, forward] = this.first.axes;
    this.center = this.first.center.slice();
    this.pivot = this.firstPivot.slice();
    const rise = Math.min(1, Math.max(-1, dot(forward, this.up)));
    const ahead = sum(forward, scaled(this.up, -rise));
    const length = Math.hypot(...ahead);
    this.elevation = Math.atan2(rise, length);
    this.azimuth = length < 1e-6 ? Math.atan2(dot(right, this.east), -dot(right, this.north))
      : Math.atan2(dot(ahead, this.north), dot(ahead, this.east));
    this.roll = 0;
    const level = this.axes()[0];
    this.roll = Math.atan2(dot(right, cross(forward, level)), dot(right, level));
  }

  axes() {  // right, down, forward
    const [sin, cos] = [Math.sin(this.azimuth), Math.cos(this.azimuth)];
    const ahead = sum(scaled(this.east, cos), scaled(this.north, sin));
    const right = sum(scaled(this.east, sin), scaled(this.north, -cos));
    const forward = sum(scaled(ahead, Math.cos(this.elevation)), scaled(this.up, Math.sin(this.elevation)));
    const down = cross(forward, right);
    const [s, c] = [Math.sin(this.roll), Math.cos(this.roll)];
    return [sum(scaled(right, c), scaled(down, s)), sum(scaled(down, c), scaled(right, -s)), forward];
  }

  orbit(dx, dy) {
    const before = this.axes(), offset = sum(this.center, scaled(this.pivot, -1));
    const steepest = Math.max(1.553, Math.abs(this.elevation));
    this.azimuth -= dx * 0.0052;
    this.elevation = Math.min(steepest, Math.max(-steepest, this.elevation - dy * 0.0052));
    this.roll *= Math.exp(-Math.hypot(dx, dy) / 120);
    const after = this.axes();  // the pivot keeps its place in the picture
    this.center = sum(this.pivot, ...[0, 1, 2].map(k => scaled(after[k], dot(before[k], offset))));
  }

  pan(dx, dy, focal) {
    const [right, down, forward] = this.axes();
    const depth = Math.abs(dot(sum(this.pivot, scaled(this.center, -1)), forward)) || this.radius;
    this.move(sum(scaled(right, -dx * depth / focal), scaled(down, -dy * depth / focal)));
  }

  zoom(notches) {
    const offset = sum(this.center, scaled(this.pivot, -1)), distance = Math.hypot(...offset) || this.radius;
    const wanted = Math.min(1e4, Math.max(1e-3, distance * 0.88 ** notches / this.radius)) * this.radius;
    this.center = sum(this.pivot, scaled(offset, wanted / distance));
  }

  fly(right, up, forward, seconds) {
    const axes = this.axes(), step = 0.6 * this.radius * seconds;
    this.move(sum(scaled(axes[0], right * step), scaled(this.up, up * step), scaled(axes[2], forward * step)));
  }

  move(shift) {
    this.center = sum(this.center, shift);
    this.pivot = sum(this.pivot, shift);
  }

  lens(width, height) {  // shows at least what the first view shows
    const {fx, fy, cx, cy, width: w, height: h} = this.first, scale = Math.min(width / w, height / h);
    return {focal: [fx * scale, fy * scale],
            principal: [(cx - w / 2) * scale + width / 2, (cy - h / 2) * scale + height / 2]};
  }
}
