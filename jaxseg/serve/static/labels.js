// The list of what can be marked: its colour, its size, and whether later answers leave it as it is.

function element(kind, name, text = "") {
  const made = document.createElement(kind);
  made.className = name;
  made.textContent = text;
  if (kind === "button") made.type = "button";
  return made;
}

export function label_row(of, { chosen, colour, amount, pick, frozen, freeze }) {
  const row = element("div", `label${chosen ? " chosen" : ""}`);
  const button = element("button", "pick");
  button.setAttribute("role", "radio");
  button.setAttribute("aria-checked", chosen);
  button.onclick = pick;
  const chip = element("span", "chip");
  chip.style.background = colour;
  button.append(chip, element("span", "name", of.name), element("span", "size", amount));
  row.append(button);
  if (frozen === null) return row;
  const hold = element("button", "hold", frozen ? "Frozen" : "Freeze");
  hold.title = frozen ? "Later answers leave it as it is" : "Leave it as it is from now on (F)";
  hold.setAttribute("aria-pressed", frozen);
  hold.setAttribute("aria-label", `${frozen ? "Frozen" : "Freeze"}: ${of.name}`);
  hold.onclick = freeze;
  row.append(hold);
  return row;
}

// millilitres where the file tells the size of its voxels, else how many there are
export function amount(session, voxels) {
  if (session.unit === "voxels") return `${voxels.toLocaleString("en")} px`;
  const ml = voxels * session.voxel;
  return `${ml >= 100 ? Math.round(ml) : ml.toFixed(ml < 10 ? 2 : 1)} ml`;
}
