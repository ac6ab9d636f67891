// a click on a column's head sorts the table by it
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
