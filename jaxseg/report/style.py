"""How the page looks, and its one script: sorting a table by a column."""

STYLE = """
:root { --ink: #1f2933; --soft: #5f6c7b; --line: #e3e7ec; --paper: #fff; --blue: #1f5fa8; }
* { box-sizing: border-box; }
body { margin: 0; background: #f4f6f8; color: var(--ink); font: 15px/1.5 system-ui,
  -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 26px; font-weight: 650; margin: 0 0 18px; }
h2 { font-size: 19px; font-weight: 650; margin: 0 0 10px; }
h3 { font-size: 15px; font-weight: 650; margin: 18px 0 6px; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px;
  padding: 20px 24px; margin: 18px 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 14px; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 10px;
  padding: 14px 18px; display: flex; flex-direction: column; }
.card b { font-size: 28px; font-weight: 650; color: var(--blue); line-height: 1.2; }
.card small, .notes, figcaption { color: var(--soft); font-size: 13px; }
.notes p { margin: 6px 0 0; }
.warning { background: #fff4e0; border: 1px solid #f0d090; border-radius: 8px; padding: 10px 14px; }
.wide { overflow-x: auto; }
.tall { max-height: 560px; overflow-y: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
.wide table { width: 100%; }
th { text-align: right; font-weight: 600; color: var(--soft); font-size: 13px; }
td { text-align: right; }
th, td { padding: 5px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
tr.whole td { font-weight: 650; border-bottom: none; }
.sortable th { cursor: pointer; position: sticky; top: 0; background: var(--paper); }
.sortable th:hover { color: var(--blue); }
.sortable tbody tr:hover { background: #f4f8fd; }
.facts { width: 100%; table-layout: fixed; }
.facts th { width: 32%; text-align: left; vertical-align: top; }
.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(380px, 1fr)); gap: 24px; }
.figures { display: flex; flex-wrap: wrap; gap: 12px; }
.figure { max-width: 100%; }
.trio { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 16px; }
figure { margin: 0; }
figure img { width: 100%; border-radius: 6px; display: block; background: #000; }
figcaption b { color: var(--ink); margin-right: 6px; }
.swatch { display: inline-block; width: 11px; height: 11px; border-radius: 3px;
  margin-right: 7px; }
details { margin-top: 14px; }
summary { cursor: pointer; color: var(--blue); }
pre { font-size: 12px; overflow-x: auto; background: #f4f6f8; padding: 12px; border-radius: 8px; }
@media print { body { background: #fff; } section, .card { break-inside: avoid; }
  .tall { max-height: none; } }
"""

SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const value = (row, i) => {
    const cell = row.cells[i];
    return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
  };
  heads.forEach((head, i) => head.addEventListener("click", () => {
    const down = head.dataset.down = head.dataset.down === "1" ? "0" : "1";
    const sign = down === "1" ? 1 : -1;
    const compare = (a, b) => typeof a === "number" ? a - b
      : a.localeCompare(b, undefined, {numeric: true});
    const rows = [...body.rows].sort((a, b) => sign * compare(value(a, i), value(b, i)));
    body.append(...rows);
  }));
}
"""
