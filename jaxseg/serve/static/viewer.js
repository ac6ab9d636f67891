// The scan on the screen: NiiVue draws slices, a canvas above it the marks; voxels are the file's.

const AXIS_OF_PLANE = [2, 1, 0]; // axial, coronal, sagittal: the axis across the slice
const ALL = 3;

export class Viewer {
  constructor(canvas, marks) {
    this.canvas = canvas;
    this.marks = marks;
    this.prompts = [];
    this.sketch = null;
    this.colour = () => "#fff";
    this.rank = 3;
  }

  async attach() {
    this.nv = new niivue.Niivue({
      backColor: [0, 0, 0, 1],
      crosshairWidth: 0, // its lines are as wide as voxels; ours are drawn above it
      fontColor: [0.75, 0.8, 0.87, 1],
      show3Dcrosshair: false,
      interactive: false,
      dragAndDropEnabled: false,
      isNearestInterpolation: false,
      isRadiologicalConvention: true,
      multiplanarShowRender: niivue.SHOW_RENDER ? niivue.SHOW_RENDER.NEVER : 0,
      loadingText: "",
      logLevel: "error",
      sliceType: 0,
    });
    await this.nv.attachToCanvas(this.canvas, false);
    new ResizeObserver(() => requestAnimationFrame(() => this.draw())).observe(this.canvas.parentElement);
  }

  get loaded() {
    return this.nv.volumes.length > 0;
  }

  async load(image, mask, rank) {
    this.rank = rank;
    this.prompts = [];
    this.sketch = null;
    this.nv.opts.isRadiologicalConvention = rank === 3;
    this.nv.opts.isOrientationTextVisible = rank === 3;
    this.nv.opts.sliceType = 0;
    this.nv.scene.pan2Dxyzmm = [0, 0, 0, 1];
    await this.nv.loadVolumes([
      { url: image, name: "scan.nii.gz", colormap: "gray" },
      { url: mask, name: "mask.nii.gz", colormap: "gray", opacity: this.opacity ?? 0.45 },
    ]);
    const volume = this.nv.volumes[0];
    this.range = [volume.robust_min ?? volume.cal_min, volume.robust_max ?? volume.cal_max];
    this.limits = [volume.global_min ?? this.range[0], volume.global_max ?? this.range[1]];
    this.nv.scene.crosshairPos = this.nv.vox2frac([0, 1, 2].map((a) => Math.floor(volume.dimsRAS[a + 1] / 2)));
    this.draw();
  }

  clear() {
    this.prompts = [];
    this.sketch = null;
    for (const volume of [...this.nv.volumes]) this.nv.removeVolume(volume);
    this.marks.width = this.marks.width; // which empties a canvas
  }

  // the label colours: [[r, g, b, visible], ...], the background first
  colours(colours, names) {
    const mask = this.nv.volumes[1];
    mask.setColormapLabel({
      R: colours.map((c) => c[0]),
      G: colours.map((c) => c[1]),
      B: colours.map((c) => c[2]),
      A: colours.map((c) => (c[3] ? 255 : 0)),
      I: colours.map((_, i) => i),
      labels: names,
    });
    this.nv.updateGLVolume();
    this.draw();
  }

  // bytes of the mask, x fastest, as the file has them
  paint(bytes) {
    const mask = this.nv.volumes[1];
    if (bytes.length !== mask.img.length) throw new Error("The mask is not of this scan.");
    mask.img = bytes;
    this.nv.updateGLVolume();
    this.draw();
  }

  async overlay(url, signed) {
    this.put_away();
    await this.nv.addVolumeFromUrl({ url, name: "map.nii.gz", colormap: signed ? "warm" : "inferno", opacity: 0.6 });
    const map = this.nv.volumes[2];
    const most = Math.max(map.global_max, signed ? -map.global_min : 0) || 1;
    map.cal_max = most;
    map.cal_min = most * 0.15;
    if (signed) this.nv.setColormapNegative(map.id, "winter");
    this.nv.updateGLVolume();
    this.draw();
  }

  put_away() {
    if (this.nv.volumes.length > 2) this.nv.removeVolumeByIndex(2);
    if (this.loaded) this.draw();
  }

  get mapped() {
    return this.nv.volumes.length > 2;
  }

  setOpacity(share) {
    this.opacity = share;
    if (this.loaded) this.nv.setOpacity(1, share);
    this.draw();
  }

  window(low, high) {
    const volume = this.nv.volumes[0];
    [volume.cal_min, volume.cal_max] = [low, Math.max(high, low + 1e-6)];
    this.nv.updateGLVolume();
    this.draw();
  }

  plane(number) {
    this.nv.setSliceType(number);
    this.draw();
  }

  get planeNumber() {
    return this.nv.opts.sliceType;
  }

  zoom(factor) {
    const [x, y, z, old] = this.nv.scene.pan2Dxyzmm;
    const next = factor === 0 ? 1 : Math.min(16, Math.max(0.5, old * factor));
    const mm = this.nv.frac2mm(this.nv.scene.crosshairPos);
    const moved = factor === 0 ? [0, 0, 0] : [x + (old - next) * mm[0], y + (old - next) * mm[1], z + (old - next) * mm[2]];
    this.nv.setPan2Dxyzmm([...moved, next]);
    this.draw();
  }

  // coordinates: RAS voxels are NiiVue's; the file's are what the server knows, (z, y, x) or (y, x)

  toFile(ras) {
    const volume = this.nv.volumes[0];
    const file = [0, 0, 0];
    volume.permRAS.forEach((to, axis) => {
      const size = volume.dimsRAS[axis + 1];
      file[Math.abs(to) - 1] = to > 0 ? ras[axis] : size - 1 - ras[axis];
    });
    return this.rank === 2 ? [file[1], file[0]] : [file[2], file[1], file[0]];
  }

  toRas(position) {
    const volume = this.nv.volumes[0];
    const file = this.rank === 2 ? [position[1], position[0], 0] : [position[2], position[1], position[0]];
    return volume.permRAS.map((to, axis) => {
      const at = file[Math.abs(to) - 1];
      return to > 0 ? at : volume.dimsRAS[axis + 1] - 1 - at;
    });
  }

  get size() {
    const [, ...ras] = this.nv.volumes[0].dimsRAS;
    return ras.slice(0, 3);
  }

  get cursor() {
    const ras = this.nv.frac2vox(this.nv.scene.crosshairPos);
    return Array.from(ras, (v, a) => Math.min(this.size[a] - 1, Math.max(0, Math.round(v))));
  }

  set cursor(ras) {
    this.nv.scene.crosshairPos = this.nv.vox2frac(ras.map((v, a) => Math.min(this.size[a] - 1, Math.max(0, v))));
    this.draw();
  }

  // the plane whose slices Page Up turns: that of the view, or the axial one
  get turned() {
    return this.planeNumber === ALL ? 0 : this.planeNumber;
  }

  // moves the cursor: across and up on the screen, and through the slices
  move(across, up, through, plane = this.turned) {
    const ras = this.cursor;
    const mirrored = this.nv.opts.isRadiologicalConvention && plane !== 2 ? -1 : 1;
    const axes = [[0, 1, 2], [0, 2, 1], [1, 2, 0]][plane];
    ras[axes[0]] += across * mirrored;
    ras[axes[1]] += up;
    ras[axes[2]] += through;
    this.cursor = ras;
  }

  // the voxel under a pointer and the plane it lies in, or null beside the image
  under(event) {
    if (!this.loaded) return null;
    const box = this.canvas.getBoundingClientRect();
    const scale = this.canvas.width / box.width;
    const at = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    const tile = this.nv.tileIndex(...at);
    const frac = this.nv.canvasPos2frac(at);
    if (tile < 0 || frac[0] < 0) return null;
    const plane = this.nv.screenSlices[tile].axCorSag;
    if (plane > 2) return null;
    const ras = Array.from(this.nv.frac2vox(frac), (v, a) => Math.min(this.size[a] - 1, Math.max(0, Math.round(v))));
    const across = AXIS_OF_PLANE[plane];
    ras[across] = this.cursor[across]; // what is on the screen
    return { ras, plane };
  }

  // where on the screen a voxel of the shown slices is: [[x, y], ...] in pixels of the page
  places(ras, any = false) {
    const scale = this.canvas.width / this.canvas.getBoundingClientRect().width;
    const here = this.cursor;
    const found = [];
    for (const slice of this.nv.screenSlices) {
      const across = AXIS_OF_PLANE[slice.axCorSag];
      if (across === undefined || (!any && Math.round(ras[across]) !== here[across])) continue;
      const frac = this.nv.vox2frac(ras);
      frac[across] = this.nv.scene.crosshairPos[across];
      const at = this.nv.frac2canvasPosWithTile(frac, slice.axCorSag);
      if (at) found.push({ at: at.pos.map((v) => v / scale), plane: slice.axCorSag });
    }
    return found;
  }

  draw() {
    if (!this.loaded) return;
    this.nv.drawScene();
    const box = this.canvas.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    this.marks.width = box.width * ratio;
    this.marks.height = box.height * ratio;
    const pen = this.marks.getContext("2d");
    pen.scale(ratio, ratio);
    this.#cross(pen, box);
    for (const prompt of this.prompts) this.#mark(pen, prompt);
    if (this.sketch) this.#mark(pen, this.sketch);
    this.ondraw?.();
  }

  // where the cursor is: thin lines that leave what they point at free
  #cross(pen, { width, height }) {
    const scale = this.canvas.width / width;
    for (const { at, plane } of this.places(this.cursor)) {
      const tile = this.nv.screenSlices.find((slice) => slice.axCorSag === plane).leftTopWidthHeight;
      const [left, top, wide, high] = tile.map((v) => Math.abs(v) / scale);
      const [x, y] = at.map((v) => Math.round(v) + 0.5);
      pen.beginPath();
      for (const [a, b, c, d] of [
        [left, y, x - 16, y], [x + 16, y, Math.min(left + wide, width), y],
        [x, top, x, y - 16], [x, y + 16, x, Math.min(top + high, height)],
      ]) {
        pen.moveTo(a, b);
        pen.lineTo(c, d);
      }
      pen.lineWidth = 1;
      pen.strokeStyle = "rgba(255, 214, 110, 0.6)";
      pen.stroke();
    }
  }

  #mark(pen, prompt) {
    const plus = prompt.positive;
    const colour = plus ? this.colour(prompt) : "#ff6b5e";
    pen.lineJoin = pen.lineCap = "round";
    if (prompt.kind === "point") {
      for (const { at } of this.places(this.toRas(prompt.positions[0]))) this.#sign(pen, at, plus, colour);
      return;
    }
    const ras = prompt.positions.map((position) => this.toRas(position));
    for (const slice of this.nv.screenSlices) {
      if (slice.axCorSag > 2) continue;
      const across = AXIS_OF_PLANE[slice.axCorSag];
      const here = this.cursor[across];
      const depths = ras.map((r) => r[across]);
      const box = prompt.kind === "box";
      if (box ? here < Math.min(...depths) || here > Math.max(...depths) : !depths.some((d) => Math.round(d) === here)) continue;
      const corners = box ? this.#corners(ras, across) : ras.filter((r) => Math.round(r[across]) === here);
      const path = corners.map((r) => this.places(r, true).find((p) => p.plane === slice.axCorSag)?.at).filter(Boolean);
      this.#line(pen, path, colour, box);
      if (!box && path.length) this.#sign(pen, path[0], plus, colour);
    }
  }

  #corners([low, high], across) {
    const [a, b] = [0, 1, 2].filter((axis) => axis !== across);
    return [[low, low], [high, low], [high, high], [low, high]].map(([i, j]) => {
      const corner = [...low];
      corner[a] = i[a];
      corner[b] = j[b];
      return corner;
    });
  }

  #line(pen, path, colour, closed) {
    for (const [width, style] of [[5, "#000b"], [2.5, colour]]) {
      pen.beginPath();
      path.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
      if (closed) pen.closePath();
      pen.lineWidth = width;
      pen.strokeStyle = style;
      pen.stroke();
    }
  }

  #sign(pen, [x, y], plus, colour) {
    pen.beginPath();
    pen.arc(x, y, 8, 0, 2 * Math.PI);
    pen.fillStyle = "#000c";
    pen.fill();
    pen.lineWidth = 2;
    pen.strokeStyle = colour;
    pen.stroke();
    pen.beginPath();
    pen.moveTo(x - 4, y);
    pen.lineTo(x + 4, y);
    if (plus) {
      pen.moveTo(x, y - 4);
      pen.lineTo(x, y + 4);
    }
    pen.strokeStyle = "#fff";
    pen.stroke();
  }
}

// a drawn line with as few positions as show it to half a voxel (Ramer, Douglas, Peucker)
export function simple(path, tolerance = 0.5) {
  if (path.length < 3) return path;
  const [first, last] = [path[0], path[path.length - 1]];
  let [far, at] = [0, 0];
  for (let i = 1; i < path.length - 1; i++) {
    const distance = fromLine(path[i], first, last);
    if (distance > far) [far, at] = [distance, i];
  }
  if (far <= tolerance) return [first, last];
  return [...simple(path.slice(0, at + 1), tolerance).slice(0, -1), ...simple(path.slice(at), tolerance)];
}

function fromLine(point, first, last) {
  const along = last.map((v, a) => v - first[a]);
  const way = point.map((v, a) => v - first[a]);
  const length = along.reduce((sum, v) => sum + v * v, 0);
  const share = length ? Math.min(1, Math.max(0, along.reduce((sum, v, a) => sum + v * way[a], 0) / length)) : 0;
  return Math.hypot(...way.map((v, a) => v - share * along[a]));
}
