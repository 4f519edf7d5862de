// Colours are the page's own: SVG takes them from the element that holds the chart.
const ink = { labelColor: "currentColor", titleColor: "currentColor", labelFontSize: 12, titleFontSize: 12 };
const config = {
  background: null, font: getComputedStyle(document.body).fontFamily, view: { stroke: null }, point: { filled: true },
  title: { color: "currentColor", anchor: "start", fontSize: 13 },
  axis: { ...ink, titleFontWeight: "normal", domainColor: "currentColor", domainOpacity: 0.4, tickColor: "currentColor",
    tickOpacity: 0.4, gridColor: "currentColor", gridOpacity: 0.12, tickCount: 5 },
  axisBand: { grid: false, domain: false, ticks: false },
};
for (const place of document.querySelectorAll(".chart")) {
  const chart = JSON.parse(place.querySelector("script").textContent);
  vegaEmbed(place, chart, { mode: "vega-lite", renderer: "svg", actions: false, config })
    // A layer without data would be a picture without a name to screen readers.
    .then(() => place.querySelectorAll(".role-mark:empty").forEach((layer) => layer.removeAttribute("role")));
}

// A click on a column's head sorts by it: numbers by value, largest first, and what has none last.
const numeric = (text) => parseFloat(text.replace("−", "-"));
for (const head of document.querySelectorAll("th")) {
  head.innerHTML = `<button>${head.innerHTML}</button>`;
  head.firstChild.addEventListener("click", () => {
    const table = head.closest("table");
    const text = (row) => row.cells[head.cellIndex].textContent;
    const numbers = [...table.tBodies[0].rows].some((row) => !isNaN(numeric(text(row))));
    const descending = head.ariaSort ? head.ariaSort === "ascending" : numbers;
    const compare = (one, other) => numbers
      ? isNaN(numeric(one)) - isNaN(numeric(other)) || (numeric(one) - numeric(other)) * (descending ? -1 : 1) || 0
      : one.localeCompare(other, "en") * (descending ? -1 : 1);
    table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    head.ariaSort = descending ? "descending" : "ascending";
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort((a, b) => compare(text(a), text(b))));
  });
}

for (const viewer of document.querySelectorAll(".viewer")) {
  const form = viewer.querySelector("form"), view = viewer.querySelector(".window");
  const show = () => {
    for (const layer of viewer.querySelectorAll("img")) {
      const [kind, row] = layer.dataset.layer.split(" ");
      layer.hidden = kind !== "image" && (!form[kind].checked || (row && row !== form.row.value));
    }
    const [x, y] = [view.scrollLeft, view.scrollTop].map((at, i) => (at + [view.clientWidth, view.clientHeight][i] / 2)
      / [view.scrollWidth, view.scrollHeight][i]);
    view.firstElementChild.style.width = `${100 * form.zoom.value}%`;
    view.scrollTo(x * view.scrollWidth - view.clientWidth / 2, y * view.scrollHeight - view.clientHeight / 2);
  };
  form.addEventListener("input", show);
  show();
}
