// The page: what the user does becomes a request, and the answer a new mask.

import { Sliders, choices, press } from "./controls.js";
import { Keys, corners } from "./keys.js";
import { amount, label_row } from "./labels.js";
import { Pointer } from "./pointer.js";
import { bytes, get, local, post, send } from "./server.js";
import { Viewer } from "./viewer.js";

const $ = (id) => document.getElementById(id);
// told apart by people who see red and green alike (Okabe, Ito), brightened for a black ground
const COLOURS = [[86, 180, 233], [240, 200, 60], [0, 190, 140], [230, 120, 40], [214, 140, 190], [70, 120, 230], [190, 230, 120], [170, 140, 110]];
const WHY = {
  grad_cam: "Regions (Grad-CAM)",
  hires_cam: "Regions, sharper (HiResCAM)",
  guided: "Edges (guided back-propagation)",
  integrated_gradients: "Voxels (integrated gradients)",
  entropy: "Where it is unsure",
};

const view = new Viewer($("scan"), $("marks"));
const sliders = new Sliders(view, $("low"), $("high"));
let state = null; // of the server
let session = null;
let chosen = 0; // which label
let tool = "plus";
let hidden = false;
let working = 0;
let channel = "0"; // which one is shown

const session_url = (rest = "") => `/api/sessions/${session.session}${rest}`;
const rgb = (place) => COLOURS[place % COLOURS.length];
const css = (place) => `rgb(${rgb(place).join()})`;
const label = () => session.labels[chosen];

function say(words, good = false) {
  $("message").hidden = !words;
  $("message").textContent = words;
  $("message").classList.toggle("good", good);
}

// one request at a time; what fails is told, and the newest state shown
async function busy(words, act) {
  if (working) return;
  working += 1;
  const timer = setTimeout(() => {
    $("busy-words").textContent = words;
    $("busy").hidden = false;
  }, 150);
  try {
    say("");
    await act();
  } catch (error) {
    say(error.message);
    // where the scan itself was changed, there is no newest state
    if (error.status === 409 && session) await get(session_url()).then(renew, (last) => say(last.message));
  } finally {
    clearTimeout(timer);
    $("busy").hidden = true;
    working -= 1;
  }
}

async function begin() {
  if (!window.WebGL2RenderingContext) {
    say("This browser has no WebGL 2, which the viewer needs; use a current Firefox, Chrome, Edge or Safari.");
    return;
  }
  try {
    await view.attach();
  } catch (error) {
    say(`The viewer cannot start (${error.message}); switch on WebGL 2 in this browser.`);
    return;
  }
  window.view = view;
  await busy("Connecting", async () => {
    state = await get("/api/state");
    choices($("models"), state.models.map((m) => m.name), state.model);
    $("model-row").hidden = state.models.length < 2;
    choices($("method"), state.explain, state.explain[0], (name) => WHY[name] ?? name);
    list_scans();
    model_note();
    const name = location.hash.slice(1);
    if (!name) return;
    try {
      await show(await get(`/api/sessions/${encodeURIComponent(name)}`));
    } catch (error) {
      if (error.status !== 404) throw error;
      history.replaceState(null, "", " ");
      say(error.message);
    }
  });
  document.body.dataset.ready = "yes";
}

function list_scans() {
  const first = new Option(state.scans.length ? "Choose a scan" : "No scans yet", "");
  first.disabled = true;
  choices($("scans"), state.scans, session?.scan);
  $("scans").prepend(first);
  if (!session) $("scans").value = "";
}

const model = () => state.models.find((m) => m.name === (session?.model ?? $("models").value));

function model_note() {
  const of = state.models.find((m) => m.name === $("models").value);
  $("model-note").textContent = of.interactive ? "" : "This model segments by itself; it takes no clicks.";
}

async function open(scan) {
  await show(await post("/api/sessions", { scan, model: $("models").value }));
  history.replaceState(null, "", `#${session.session}`);
}

// what stands in the lists is what is shown, whatever became of a choice
const choose = (words, act) =>
  busy(words, act).then(() => {
    list_scans();
    $("channel").value = channel;
    if (!session) return;
    $("models").value = session.model;
    model_note();
  });

async function show(told) {
  const asked = $("channel").value || "0";
  const image = `/api/scans/${encodeURIComponent(told.scan)}/image.nii.gz?channel=${asked}`;
  // both are there before anything of what is shown goes
  const files = await Promise.all([local(image), local(`/api/sessions/${told.session}/mask.nii.gz`)]);
  try {
    await view.load(...files, told.rank);
  } catch (error) {
    nothing();
    throw new Error(`The viewer cannot show ${told.scan} (${error.message}); choose another scan.`);
  } finally {
    files.forEach((url) => URL.revokeObjectURL(url));
  }
  channel = asked;
  chosen = 0;
  shown(true);
  $("planes").hidden = told.rank === 2;
  press($("planes"), "plane", 0);
  session = told;
  $("models").value = told.model;
  model_note();
  channels();
  sliders.show();
  renew(told, false);
  keys.leave(); // a line or a box that was begun is of another scan
  list_scans();
  $("why-note").textContent = "";
  $("explain").textContent = "Show";
  if (told.note) say(told.note);
  else if (told.others)
    say(`${told.others === 1 ? "Another session is" : `${told.others} other sessions are`} open on this scan; yours is separate from ${told.others === 1 ? "it" : "them"}.`);
  $("viewer").focus();
}

function shown(some) {
  $("empty").hidden = some;
  $("toolbar").hidden = !some;
  for (const id of ["label", "mark", "why", "save"]) $(`${id}-section`).inert = !some;
}

// what is on the screen is of no session: a mark on it would go to another scan
function nothing() {
  if (session) keys.leave();
  session = null;
  view.clear();
  shown(false);
  $("place").textContent = $("answer").textContent = "";
  history.replaceState(null, "", " ");
}

function channels() {
  const names = model().channels;
  $("channel-row").hidden = names.length < 2;
  if ($("channel").options.length !== names.length)
    $("channel").replaceChildren(...names.map((name, i) => new Option(name, i)));
}

// a new state of the session: labels, marks, and the mask if it changed
async function renew(told, repaint = true) {
  // before anything else: where it does not come, the page stays at what its mask shows
  const mask = repaint ? await bytes(session_url("/mask")) : null;
  session = told;
  chosen = Math.min(chosen, told.labels.length - 1);
  if (told.several && told.objects.length > 1) chosen = told.objects.indexOf(told.current);
  if (mask) view.paint(mask);
  view.prompts = told.prompts ?? [];
  view.colour = (prompt) => css(place_of(prompt));
  paint_labels();
  list_labels();
  const on = told.interactive;
  $("undo").disabled = !told.undo;
  $("redo").disabled = !told.redo;
  $("automatic").disabled = !told.undo;
  for (const button of $("tools").children)
    button.disabled = !on || (button.dataset.tool === "box" ? !told.kinds.includes("box") : !told.kinds.some((k) => k !== "box"));
  $("new-label").hidden = !told.several;
  $("tool-note").textContent = note_of_tool();
  if (on && $("tools").querySelector("[aria-checked=true]").disabled) pick_tool(told.kinds.includes("box") ? "box" : "plus");
  const seconds = told.seconds.toFixed(told.seconds < 1 ? 2 : 1);
  $("answer").textContent = `Answered in ${seconds} s`;
  document.body.dataset.changes = told.changes;
  view.draw();
}

function place_of(prompt) {
  if (!prompt.class) return chosen; // not yet sent
  const name = session.several && session.objects.length > 1 ? prompt.object : prompt.class;
  return Math.max(0, session.labels.findIndex((l) => l.name === name));
}

function paint_labels() {
  const colours = [[0, 0, 0, 0], ...session.labels.map((_, i) => [...rgb(i), hidden ? 0 : 1])];
  view.colours(colours, [session.background ?? "background", ...session.labels.map((l) => l.name)]);
}

function list_labels() {
  $("labels").replaceChildren(
    ...session.labels.map((of, i) =>
      label_row(of, {
        chosen: i === chosen,
        colour: css(i),
        amount: amount(session, of.voxels),
        pick: () => pick_label(i),
        frozen: session.interactive ? session.frozen.includes(of.name) : null,
        freeze: () => freeze(of.name),
      }),
    ),
  );
}

const step = (name, more = {}) =>
  busy("Computing", async () => renew(await post(session_url("/steps"), { step: name, seen: session.changes, ...more })));

const freeze = (name) => step(session.frozen.includes(name) ? "thaw" : "freeze", { name });

function pick_label(i) {
  if (i >= session.labels.length) return;
  chosen = i;
  if (session.several && session.objects.length > 1 && session.labels[i].name !== session.current)
    step("object", { name: session.labels[i].name });
  else list_labels();
  view.draw();
}

function pick_tool(name) {
  tool = name;
  press($("tools"), "tool", name);
  $("tool-note").textContent = note_of_tool();
}

function note_of_tool() {
  if (!session.interactive) return "This model segments by itself; it takes no clicks.";
  const line = session.kinds.includes("stroke") ? ", or draw a line through it" : "";
  return {
    plus: `Click on what belongs to it${line}.`,
    minus: `Click on what does not belong to it${line}.`,
    box: "Draw a box around it.",
  }[tool];
}

// a mark that is finished: a point, a stroke, or a box, in the file's voxels
function mark(kind, positions, positive) {
  if (!session?.interactive) return;
  if (!session.kinds.includes(kind)) {
    say(`This model was trained without ${kind === "stroke" ? "lines" : `${kind}s`}; use ${session.kinds.join(" or ")}.`);
    return;
  }
  const name = positive ? (session.several ? session.classes[0] : label().name) : session.background;
  const prompt = { class: name, [kind]: kind === "point" ? positions[0] : positions };
  const object = session.several && session.objects.length > 1 ? { object: label().name } : {};
  return busy("Computing", async () =>
    renew(await post(session_url("/prompts"), { prompts: [prompt], seen: session.changes, ...object })),
  );
}

const save = () =>
  busy("Saving", async () => {
    const told = await post(session_url("/save"));
    const link = document.createElement("a");
    link.href = session_url("/label.nii.gz");
    link.download = "";
    link.click();
    say(`Saved as ${told.file} in ${told.folder}, and downloaded.${told.note ? ` ${told.note}` : ""}`, true);
  });

const explain = () =>
  busy("Explaining", async () => {
    if (view.mapped) {
      view.put_away();
      $("explain").textContent = "Show";
      $("why-note").textContent = "";
      return;
    }
    const at = $("at-cursor").checked ? { at: view.toFile(view.cursor) } : {};
    const told = await post(session_url("/explain"), { method: $("method").value, label: label().name, ...at });
    const url = await local(`${session_url("/map.nii.gz")}?${Date.now()}`);
    await view.overlay(url, told.signed).finally(() => URL.revokeObjectURL(url));
    $("explain").textContent = "Put away";
    $("why-note").textContent = `The model alone, without your marks: ${[told.words, ...told.notes].join(" ")}`;
  });

const load_files = (files) =>
  choose("Reading", async () => {
    if (!files.length) return;
    const told = await send(files);
    state.scans = told.scans;
    await open(told.scan);
  });

// where the cursor is, and what is there
view.ondraw = () => {
  if (!session) return;
  const ras = view.cursor;
  const file = view.toFile(ras);
  const [image, mask] = view.nv.volumes.map((volume) => volume.getValue(...ras));
  const name = mask ? session.labels[Math.round(mask) - 1]?.name : (session.background ?? "background");
  const value = Math.abs(image) >= 100 || Number.isInteger(image) ? Math.round(image) : image.toPrecision(3);
  const across = [2, 1, 0][view.turned];
  const slice = session.rank === 3 ? [`Slice ${ras[across] + 1} of ${view.size[across]}`] : [];
  const parts = [...slice, `Voxel ${[...file].reverse().join(", ")}`, `Value ${value}`, name];
  $("place").textContent = parts.join("  \u00b7  ");
};

function plane(number) {
  press($("planes"), "plane", number);
  view.plane(number);
}

$("file").onchange = (event) => load_files([...event.target.files]).then(() => (event.target.value = ""));
$("file-button").onclick = () => $("file").click();
$("scans").onchange = (event) => choose("Segmenting", () => open(event.target.value));
$("models").onchange = () => {
  model_note();
  if (session) choose("Segmenting", () => open(session.scan));
};
$("channel").onchange = () => choose("Reading", async () => show(await get(session_url())));
$("planes").onclick = (event) => event.target.dataset.plane && plane(Number(event.target.dataset.plane));
$("tools").onclick = (event) => {
  const button = event.target.closest("[data-tool]");
  if (button && !button.disabled) pick_tool(button.dataset.tool);
};
$("zoom-in").onclick = () => view.zoom(1.25);
$("zoom-out").onclick = () => view.zoom(0.8);
$("zoom-fit").onclick = () => view.zoom(0);
$("opacity").oninput = (event) => view.setOpacity(event.target.value / 100);
$("keys").onclick = () => $("help").showModal();
$("undo").onclick = () => step("undo");
$("redo").onclick = () => step("redo");
$("automatic").onclick = () => step("automatic");
$("explain").onclick = explain;
$("save").onclick = save;
$("new-label").onsubmit = (event) => {
  event.preventDefault();
  const name = $("new-name").value.trim();
  if (!name) return;
  $("new-name").value = "";
  step("object", { name });
};

const keys = new Keys(view, {
  viewer: $("viewer"),
  help: $("help"),
  session: () => session,
  tool: () => tool,
  note: (words) => ($("tool-note").textContent = words ?? note_of_tool()),
  freeze: () => session.interactive && freeze(label().name),
  hide: () => {
    hidden = !hidden;
    paint_labels();
  },
  mark,
  pick_tool,
  pick_label,
  step,
  plane,
  explain,
  save,
});
new Pointer($("viewer"), view, {
  files: load_files,
  tool: () => (session?.interactive ? tool : null),
  ready: () => session && !working,
  mark,
  corners,
});
begin();
