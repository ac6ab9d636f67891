// Two sliders for the intensities that are shown as black and as white.

const STEPS = 1000;

export class Sliders {
  constructor(view, low, high) {
    Object.assign(this, { view, low, high });
    low.oninput = high.oninput = () => view.window(this.#value(low), this.#value(high));
  }

  // where they stand for the scan that is on the screen
  show() {
    const [low, high] = this.view.limits;
    const at = (value) => Math.round((STEPS * (value - low)) / (high - low || 1));
    this.low.value = at(this.view.range[0]);
    this.high.value = at(this.view.range[1]);
  }

  #value(slider) {
    const [low, high] = this.view.limits;
    return low + ((high - low) * slider.value) / STEPS;
  }
}
