// Lists, groups of buttons of which one is pressed, and the two sliders of black and white.

const STEPS = 1000;

// a list's entries, and which of them is chosen
export function choices(select, names, value, words = (name) => name) {
  select.replaceChildren(...names.map((name) => new Option(words(name), name, false, name === value)));
}

// presses the button of a group whose data-KEY is the value
export function press(group, key, value) {
  for (const button of group.children) {
    const on = button.dataset[key] === String(value);
    button.setAttribute("aria-checked", on);
  }
}

// intensities that are shown as black and as white
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
