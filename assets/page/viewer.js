"use strict";
// Draw the scene that this page carries: order in a worker, Gaussians into a float picture, then over the background.

const element = id => document.getElementById(id);
const text = id => element(id).textContent.trim();
const canvas = element("picture"), TEXTURE_WIDTH = 4096;

function say(sentence, isError = false) {
  element("message").textContent = sentence;
  element("message").className = isError ? "error" : "";
  if (isError) canvas.dataset.state = "failed";
}

async function unpacked() {
  if (!("DecompressionStream" in window)) throw new Error("This browser cannot unpack the scene. Update it, please.");
  const packed = Uint8Array.from(atob(text("splats")), letter => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// planes: all first bytes, all second bytes ...; -> rows of `stride` bytes, padded to whole texture lines
function rowsOf(planes, count, columns, stride, texelBytes) {
  const lines = Math.ceil(count * stride / texelBytes / TEXTURE_WIDTH);
  const rows = new Uint8Array(lines * TEXTURE_WIDTH * texelBytes);
  columns.forEach((plane, at) => {
    for (let n = 0; n < count; n++) rows[n * stride + at] = planes[plane * count + n];
  });
  return rows;
}

const range = (start, count) => Array.from({length: count}, (_, k) => start + k);

function table(gl, unit, rows, format, internal, words) {
  const height = rows.length / (4 * words * TEXTURE_WIDTH);
  const most = gl.getParameter(gl.MAX_TEXTURE_SIZE);
  if (Math.max(height, TEXTURE_WIDTH) > most) {
    throw new Error(`The scene needs textures of ${TEXTURE_WIDTH} x ${height}, this graphics device has at most ${most}.`);
  }
  texture(gl, unit, gl.NEAREST);
  gl.texImage2D(gl.TEXTURE_2D, 0, internal, TEXTURE_WIDTH, height, 0, format, gl.UNSIGNED_INT, new Uint32Array(rows.buffer));
}

function texture(gl, unit, filter) {
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, filter);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
}

function program(gl, name) {
  const made = gl.createProgram();
  for (const [kind, part] of [[gl.VERTEX_SHADER, "vertex"], [gl.FRAGMENT_SHADER, "fragment"]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text(`${name}-${part}`));
    gl.compileShader(shader);
    gl.attachShader(made, shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(`The graphics device refused the page's shader: ${gl.getShaderInfoLog(shader)}`);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(`The graphics device refused the page's shader: ${gl.getProgramInfoLog(made)}`);
  return {made, at: uniform => gl.getUniformLocation(made, uniform)};
}

async function picture() {
  const image = new Image();
  image.src = `data:image/jpeg;base64,${text("background")}`;
  await image.decode();
  return image;
}

class Viewer {
  constructor(gl, facts, bytes, background) {
    Object.assign(this, {gl, facts, serial: 0, drawn: 0, isDue: true, isSorting: false, count: 0});
    this.hand = new Hand(facts);
    this.hasBackground = Boolean(background);
    this.splats = program(gl, "splats");
    this.present = program(gl, "present");
    this.upload(bytes, background);
    this.rows = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.rows);
    const row = gl.getAttribLocation(this.splats.made, "row");
    gl.enableVertexAttribArray(row);
    gl.vertexAttribIPointer(row, 1, gl.UNSIGNED_INT, 0, 0);
    gl.vertexAttribDivisor(row, 1);
    this.target = gl.createFramebuffer();
    // half floats keep faint layers that 8 bits would round away
    this.isFloat = Boolean(gl.getExtension("EXT_color_buffer_float") || gl.getExtension("EXT_color_buffer_half_float"));
    this.worker = new Worker(URL.createObjectURL(new Blob([text("sorter")], {type: "text/javascript"})));
    this.worker.onerror = () => say("The page's worker failed; the scene cannot be sorted. Reload the page.", true);
    this.worker.onmessage = ({data}) => this.sorted(data);
    this.worker.postMessage({means: this.means}, [this.means.buffer]);
  }

  upload(bytes, background) {
    const {gl, facts} = this, {count, degree} = facts, wide = 3 * ((degree + 1) ** 2 - 1);
    // bytes of a row: 12 of the position, 3 scales, 4 of the rotation, 4 of colour and opacity, harmonics
    const placed = rowsOf(bytes, count, [...range(0, 12), ...range(19, 4)], 16, 16);
    this.means = new Float32Array(3 * count);
    const floats = new Float32Array(placed.buffer);
    for (let n = 0; n < count; n++) for (let k = 0; k < 3; k++) this.means[3 * n + k] = floats[4 * n + k];
    table(gl, 0, placed, gl.RGBA_INTEGER, gl.RGBA32UI, 4);
    const shape = rowsOf(bytes.subarray(12 * count), count, [0, 1, 2, 0, 3, 4, 5, 6], 8, 8);
    table(gl, 1, shape, gl.RG_INTEGER, gl.RG32UI, 2);
    const rest = rowsOf(bytes.subarray(23 * count), count, range(0, wide), 16 * Math.max(degree, 1), 16);
    table(gl, 2, rest, gl.RGBA_INTEGER, gl.RGBA32UI, 4);
    texture(gl, 3, gl.NEAREST);
    texture(gl, 4, gl.LINEAR);
    gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
    if (background) gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, background);
    else gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 1, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));

    const {splats, present} = this;
    gl.useProgram(splats.made);
    ["placed", "shaped", "harmonics"].forEach((name, unit) => gl.uniform1i(splats.at(name), unit));
    gl.uniform1i(splats.at("degree"), degree);
    gl.uniform1i(splats.at("isAntialiased"), facts.isAntialiased);
    gl.uniform1f(splats.at("near"), facts.near);
    gl.uniform2fv(splats.at("shapeRanges"), facts.ranges.slice(0, 7).flat());
    gl.uniform2fv(splats.at("colorRanges"), facts.ranges.slice(7, 11).flat());
    if (wide) gl.uniform2fv(splats.at("harmonicRanges"), facts.ranges.slice(11).flat());
    gl.useProgram(present.made);
    gl.uniform1i(present.at("seen"), 3);
    gl.uniform1i(present.at("behind"), 4);
  }

  resize() {
    const {gl} = this, ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    if (canvas.width === width && canvas.height === height && this.isSized) return;
    [canvas.width, canvas.height, this.isSized] = [width, height, true];
    gl.activeTexture(gl.TEXTURE3);
    if (this.isFloat) gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA16F, width, height, 0, gl.RGBA, gl.HALF_FLOAT, null);
    else gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
    const seen = gl.getParameter(gl.TEXTURE_BINDING_2D);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, seen, 0);
  }

  changed() {  // the camera moved, or the window
    this.serial++;
    this.isDue = true;
    canvas.dataset.state = "moving";
    this.sort();
  }

  sort() {
    if (this.isSorting) return;
    this.isSorting = true;
    this.worker.postMessage({forward: this.hand.axes()[2], center: this.hand.center, near: this.facts.near, serial: this.serial});
  }

  sorted({order, serial}) {
    const {gl} = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.rows);
    gl.bufferData(gl.ARRAY_BUFFER, order, gl.DYNAMIC_DRAW);
    Object.assign(this, {count: order.length, isSorting: false, isDue: true, order: serial});
    if (serial !== this.serial) this.sort();
  }

  draw() {
    this.isDue = false;
    this.resize();
    const {gl, hand} = this, {width, height} = canvas, axes = hand.axes(), lens = hand.lens(width, height);
    const matrix = range(0, 9).map(k => axes[k % 3][Math.floor(k / 3)]);  // columns of world-to-camera
    const aim = ({made, at}) => {
      gl.useProgram(made);
      gl.uniformMatrix3fv(at("worldToCamera"), false, matrix);
      gl.uniform2fv(at("focal"), lens.focal);
      gl.uniform2fv(at("principal"), lens.principal);
      gl.uniform2f(at("size"), width, height);
    };
    gl.viewport(0, 0, width, height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.target);
    gl.activeTexture(gl.TEXTURE3);
    const seen = gl.getParameter(gl.TEXTURE_BINDING_2D);
    gl.bindTexture(gl.TEXTURE_2D, null);  // what is drawn into must not be bound
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    aim(this.splats);
    gl.uniform3fv(this.splats.at("center"), hand.center);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, this.count);
    gl.disable(gl.BLEND);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.bindTexture(gl.TEXTURE_2D, seen);
    aim(this.present);
    gl.uniform1i(this.present.at("hasBackground"), this.hasBackground);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    if (this.order === this.serial) canvas.dataset.state = "settled";
  }
}

function follow(viewer) {
  const {hand} = viewer, held = new Map(), keys = new Set(), flying = {KeyD: [1, 0, 0], KeyA: [-1, 0, 0],
    KeyE: [0, 1, 0], KeyQ: [0, -1, 0], KeyW: [0, 0, 1], KeyS: [0, 0, -1]};
  const turning = {ArrowLeft: [-30, 0], ArrowRight: [30, 0], ArrowUp: [0, -30], ArrowDown: [0, 30]};
  const middle = () => scaled([...held.values()].reduce((a, b) => [a[0] + b[0], a[1] + b[1]]), 1 / held.size);
  const apart = () => { const [a, b] = [...held.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]) || 1; };
  canvas.addEventListener("contextmenu", event => event.preventDefault());
  canvas.addEventListener("pointerdown", event => {
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({focusVisible: false});
    canvas.classList.add("held");
    held.set(event.pointerId, [event.clientX, event.clientY]);
  });
  canvas.addEventListener("pointermove", event => {
    if (!held.has(event.pointerId)) return;
    const before = middle(), width = held.size === 2 ? apart() : 0;
    held.set(event.pointerId, [event.clientX, event.clientY]);
    const now = middle(), dx = now[0] - before[0], dy = now[1] - before[1];
    const isPan = held.size > 1 || event.buttons & 6 || event.shiftKey;
    if (isPan) hand.pan(dx, dy, hand.lens(canvas.clientWidth, canvas.clientHeight).focal[0]);
    else hand.orbit(dx, dy);
    if (held.size === 2) hand.zoom(Math.log(width / apart()) / Math.log(0.88));
    viewer.changed();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, event => { held.delete(event.pointerId); canvas.classList.toggle("held", held.size > 0); });
  }
  canvas.addEventListener("wheel", event => {
    event.preventDefault();
    hand.zoom(-event.deltaY / (event.deltaMode ? 3 : 100));
    viewer.changed();
  }, {passive: false});
  addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.code in flying) keys.add(event.code);
    else if (event.key in turning) hand.orbit(...turning[event.key]);
    else if (event.key === "+" || event.key === "-") hand.zoom(event.key === "+" ? 1 : -1);
    else if (event.key === "r" || event.key === "R") hand.reset();
    else if (event.key === "b" || event.key === "B") viewer.hasBackground = viewer.canBackground && !viewer.hasBackground;
    else if (event.key === "h" || event.key === "H") for (const id of ["heading", "help"]) element(id).classList.toggle("hidden");
    else if (event.key === "f" || event.key === "F") document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen();
    else return;
    event.preventDefault();
    viewer.changed();
  });
  addEventListener("keyup", event => keys.delete(event.code));
  addEventListener("blur", () => keys.clear());
  new ResizeObserver(() => viewer.changed()).observe(canvas);
  let last = 0;
  const frame = now => {
    const seconds = Math.min((now - last) / 1000, 0.1);  // a stall must not become a leap
    last = now;
    if (keys.size) {
      for (const code of keys) hand.fly(...flying[code], seconds);
      viewer.changed();
    }
    if (viewer.isDue) viewer.draw();
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}

async function start() {
  const facts = JSON.parse(text("facts"));
  const gl = canvas.getContext("webgl2", {alpha: false, antialias: false, depth: false, powerPreference: "high-performance"});
  if (!gl) throw new Error("This browser offers no WebGL 2, with which the page draws. Switch on hardware acceleration, or use another browser.");
  canvas.addEventListener("webglcontextlost", () => say("The graphics device was lost. Reload the page.", true));
  const background = text("background") ? await picture() : null;
  const viewer = new Viewer(gl, facts, await unpacked(), background);
  viewer.canBackground = viewer.hasBackground;
  element("about").innerHTML = `<span class="gaussians"></span><span class="neural"></span>`;
  element("about").firstChild.textContent = `${facts.count.toLocaleString("en")} Gaussians`;
  element("about").lastChild.textContent = background ? " + neural background" : "";
  element("behind").classList.toggle("hidden", !background);
  follow(viewer);
  viewer.changed();
  say("");
}

start().catch(error => say(error.message, true));
