// Text and lines of axes have the page's colours, by its style.
const config = {
  background: null, font: getComputedStyle(document.body).fontFamily, view: { stroke: null }, point: { filled: true },
  title: { anchor: "start", fontSize: 13 }, axisBand: { grid: false, domain: false, ticks: false },
  axis: { labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", tickCount: 5 },
};
for (const place of document.querySelectorAll(".chart")) {
  const chart = JSON.parse(place.querySelector("script").textContent);
  vegaEmbed(place, chart, { mode: "vega-lite", renderer: "svg", actions: false, config })
    // A layer without data would be a picture without a name to screen readers.
    .then(() => place.querySelectorAll(".role-mark:empty").forEach((layer) => layer.removeAttribute("role")));
}

// A click on a column's head sorts by it: numbers by value, largest first, and what has none last.
for (const head of document.querySelectorAll("th")) {
  head.innerHTML = `<button>${head.innerHTML}</button>`;
  head.firstChild.addEventListener("click", () => {
    const table = head.closest("table"), body = table.tBodies[0];
    const text = (row) => row.cells[head.cellIndex].textContent;
    const number = (row) => parseFloat(text(row).replace("−", "-"));
    const [numbers, others] = [[], []];
    for (const row of body.rows) (isNaN(number(row)) ? others : numbers).push(row);
    const ascending = head.ariaSort ? head.ariaSort === "descending" : !numbers.length;
    const turned = ascending ? 1 : -1;
    numbers.sort((one, other) => (number(one) - number(other)) * turned);
    if (!numbers.length) others.sort((one, other) => text(one).localeCompare(text(other), "en") * turned);
    body.append(...numbers, ...others);
    table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    head.ariaSort = ascending ? "ascending" : "descending";
  });
}

for (const viewer of document.querySelectorAll(".viewer")) {
  const form = viewer.querySelector("form"), view = viewer.querySelector(".window");
  const show = () => {
    for (const layer of viewer.querySelectorAll("img")) {
      const [kind, row] = layer.dataset.layer.split(" ");
      layer.hidden = kind !== "image" && (!form[kind].checked || (row && row !== form.row.value));
    }
    // What is in the middle stays there.
    const { clientWidth: width, clientHeight: height, scrollWidth: before } = view;
    const [x, y] = [view.scrollLeft + width / 2, view.scrollTop + height / 2];
    view.firstElementChild.style.width = `${100 * form.zoom.value}%`;
    const scale = view.scrollWidth / before;
    view.scrollTo(x * scale - width / 2, y * scale - view.clientHeight / 2);
  };
  form.addEventListener("input", show);
  show();
}
