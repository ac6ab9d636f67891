// The keyboard: everything that the mouse can do, for a cursor that is moved by keys.

export class Keys {
  constructor(view, page) {
    Object.assign(this, { view, page, pen: null });
    const point = (positive) => () => page.mark("point", [this.#here()], positive);
    this.acts = {
      ArrowLeft: (n) => this.#move(-n, 0),
      ArrowRight: (n) => this.#move(n, 0),
      ArrowUp: (n) => this.#move(0, n),
      ArrowDown: (n) => this.#move(0, -n),
      PageUp: () => this.#move(0, 0, 1),
      PageDown: () => this.#move(0, 0, -1),
      Enter: point(true),
      "+": point(true),
      "=": point(true),
      "-": point(false),
      "\u2212": point(false),
      d: () => this.#draw("stroke"),
      b: () => this.#draw("box"),
      p: () => page.pick_tool("plus"),
      m: () => page.pick_tool("minus"),
      f: () => page.freeze(),
      a: () => page.session().undo && page.step("automatic"),
      v: () => page.session().rank === 3 && page.plane((view.planeNumber + 1) % 4),
      h: () => page.hide(),
      e: () => page.explain(),
      s: () => page.save(),
      0: () => view.zoom(0),
      Escape: () => this.leave(),
    };
    document.addEventListener("keydown", (event) => this.#pressed(event));
    for (const group of document.querySelectorAll("[role=radiogroup]")) group.addEventListener("keydown", within);
  }

  #pressed(event) {
    const { page } = this;
    if (page.help.open || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const control = event.ctrlKey || event.metaKey;
    if (key === "?") return void page.help.showModal();
    const session = page.session();
    if (!session || event.altKey) return;
    if (key === "z" || (control && key === "y")) {
      event.preventDefault();
      const what = event.shiftKey || key === "y" ? "redo" : "undo";
      return void (session[what] && page.step(what));
    }
    if (control && key !== "s") return;
    // on a button Enter and the arrows are the button's
    const inside = event.target === page.viewer || event.target === document.body;
    if (!inside && (key === "Enter" || key.startsWith("Arrow"))) return;
    if (/^[1-9]$/.test(key)) page.pick_label(Number(key) - 1);
    else if (this.acts[key]) this.acts[key](event.shiftKey ? 10 : 1);
    else return;
    event.preventDefault();
  }

  #here() {
    return [...this.view.toFile(this.view.cursor)];
  }

  // begins a line or a box at the cursor, or ends it there
  #draw(kind) {
    const { view, page } = this;
    if (!page.session().interactive) return;
    if (this.pen?.kind !== kind) {
      this.pen = { kind, positions: [this.#here()], positive: kind === "box" || page.tool() !== "minus" };
      view.sketch = { ...this.pen };
      page.note(`Move the cursor, then press ${kind === "box" ? "B" : "D"} again.`);
      view.draw();
      return;
    }
    const { positions, positive } = this.pen;
    this.leave();
    page.mark(kind, kind === "box" ? corners(positions[0], this.#here()) : positions, positive);
  }

  leave() {
    this.pen = this.view.sketch = null;
    this.page.note();
    this.view.draw();
  }

  #move(across, up, through = 0) {
    const { view, pen } = this;
    view.move(across, up, through);
    if (!pen) return;
    if (pen.kind === "stroke") pen.positions.push(this.#here());
    const positions = pen.kind === "box" ? corners(pen.positions[0], this.#here()) : pen.positions;
    view.sketch = { ...pen, positions }; // a mark by the mouse took it away
    view.draw();
  }
}

// first and last voxel of a box
export function corners(a, b) {
  return [a.map((v, i) => Math.min(v, b[i])), a.map((v, i) => Math.max(v, b[i]))];
}

// arrows go from one choice of a group to the next, as screen readers expect
function within(event) {
  const way = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!way) return;
  const all = [...event.currentTarget.querySelectorAll("[role=radio]:enabled")];
  all[(all.indexOf(document.activeElement) + way + all.length) % all.length]?.focus();
  event.preventDefault();
  event.stopPropagation();
}
