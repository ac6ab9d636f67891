// The mouse, pen or finger on the scan: a click is a point, a drag a line or a box.

import { simple } from "./viewer.js";

const STILL = 4; // pixels that a hand moves during a click

export class Pointer {
  constructor(element, view, page) {
    Object.assign(this, { element, view, page, down: null });
    element.addEventListener("pointerdown", (event) => this.#start(event));
    element.addEventListener("pointermove", (event) => this.#go(event));
    element.addEventListener("pointerup", (event) => this.#end(event));
    element.addEventListener("pointercancel", () => this.#leave());
    element.addEventListener("wheel", (event) => this.#turn(event), { passive: false });
    element.addEventListener("contextmenu", (event) => event.preventDefault());
    for (const kind of ["dragover", "dragleave", "drop"])
      document.addEventListener(kind, (event) => this.#file(event));
  }

  #start(event) {
    this.element.focus();
    const at = this.page.ready() && this.view.under(event);
    if (!at || event.button === 1) return;
    event.preventDefault();
    this.element.setPointerCapture(event.pointerId);
    this.view.cursor = at.ras;
    const tool = this.page.tool();
    if (!tool) return;
    const positive = tool !== "minus" && event.button !== 2;
    this.down = { tool, positive, plane: at.plane, path: [at.ras], x: event.clientX, y: event.clientY, far: false };
  }

  #go(event) {
    const down = this.down;
    if (!down) return;
    const at = this.view.under(event);
    down.far ||= Math.hypot(event.clientX - down.x, event.clientY - down.y) > STILL;
    if (!at || at.plane !== down.plane || !down.far) return;
    const last = down.path[down.path.length - 1];
    if (at.ras.some((v, a) => v !== last[a])) down.path.push(at.ras);
    this.view.sketch = { kind: this.#kind(), positions: this.#positions(), positive: down.positive };
    this.view.draw();
  }

  #end() {
    const down = this.down;
    if (!down) return;
    const [kind, positions] = [this.#kind(), this.#positions()];
    this.#leave();
    if (kind === "box" && !down.far) return;
    this.page.mark(kind, positions, down.positive);
  }

  #leave() {
    this.down = this.view.sketch = null;
    this.view.draw();
  }

  #kind() {
    if (this.down.tool === "box") return "box";
    return this.down.path.length > 1 ? "stroke" : "point";
  }

  #positions() {
    const file = this.down.path.map((ras) => this.view.toFile(ras));
    if (this.#kind() === "box") return this.page.corners(file[0], file[file.length - 1]);
    return this.#kind() === "point" ? [file[0]] : simple(file);
  }

  #turn(event) {
    if (!this.view.loaded) return;
    event.preventDefault();
    const way = Math.sign(event.deltaY);
    if (event.ctrlKey) return void this.view.zoom(way < 0 ? 1.15 : 1 / 1.15);
    const at = this.view.under(event);
    if (at && way) this.view.move(0, 0, -way, at.plane);
  }

  #file(event) {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    this.element.classList.toggle("over", event.type === "dragover");
    if (event.type === "drop") this.page.files([...event.dataTransfer.files]);
  }
}
