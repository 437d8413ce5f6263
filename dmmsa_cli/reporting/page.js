"use strict";
document.documentElement.classList.add("js");

// --- contents: opened by a button on a small screen; the section in view is marked ---------------------------------

const toggle = document.querySelector(".toggle");
const contents = document.getElementById("contents");

function openContents(open) {
  contents.classList.toggle("open", open);
  toggle.setAttribute("aria-expanded", String(open));
}
toggle.addEventListener("click", () => openContents(!contents.classList.contains("open")));
contents.addEventListener("click", (event) => event.target.closest("a") && openContents(false));
document.addEventListener("keydown", (event) => event.key === "Escape" && openContents(false));

const inView = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const link = contents.querySelector(`a[href="#${target.id}"]`);
    if (isIntersecting) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}, { rootMargin: "-30% 0px -69% 0px" }); // one line across the window, so that one section is current
document.querySelectorAll("[data-section]").forEach((section) => inView.observe(section));

// A link to a run opens it.
function openTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target || !target.closest("details")) return;
  target.closest("details").open = true;
  target.scrollIntoView();
}
window.addEventListener("hashchange", openTarget);
openTarget();

// --- tables: the first click brings the best on top, the second turns the order, the third restores it --------------

function sortKey(row, column, kind) {
  const cell = row.cells[column];
  if (kind === "text") return cell.textContent.trim();
  return "value" in cell.dataset ? Number(cell.dataset.value) : null;
}

function compare(first, second, sign) {
  if (first === null || second === null) return (first === null) - (second === null); // dashes last, either way
  const order = typeof first === "string" ? first.localeCompare(second, undefined, { numeric: true }) : first - second;
  return sign * order;
}

function nextOrder(now, first) {
  const other = first === "ascending" ? "descending" : "ascending";
  return { none: first, [first]: other, [other]: "none" }[now];
}

function makeSortable(table) {
  const body = table.tBodies[0];
  const printed = [...body.rows];
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = header.querySelector("button");
    button.addEventListener("click", () => {
      const order = nextOrder(header.getAttribute("aria-sort"), button.dataset.first);
      headers.forEach((other) => other.setAttribute("aria-sort", "none"));
      header.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const key = (row) => sortKey(row, column, header.dataset.kind);
      const rows = order === "none" ? printed : [...printed].sort((a, b) => compare(key(a), key(b), sign));
      body.append(...rows);
    });
  });
}
document.querySelectorAll("table.sortable").forEach(makeSortable);

// --- figures: drawn when they come near the window, in the colours of the page --------------------------------------

const specs = JSON.parse(document.getElementById("specs")?.textContent ?? "null");
const darkScheme = matchMedia("(prefers-color-scheme: dark)");
const fingers = matchMedia("(pointer: coarse)");
const drawn = new Set();

function theme() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = {
    automargin: true, gridcolor: colour("--line"), zerolinecolor: colour("--strong-line"), zerolinewidth: 1,
    linecolor: colour("--strong-line"), showline: true, tickcolor: colour("--strong-line"), title: { standoff: 10 },
  };
  return { layout: {
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("--ink") },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    xaxis: axis, yaxis: axis,
    hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--strong-line"), font: { color: colour("--ink"), size: 12 }, align: "left" },
    shapedefaults: { line: { color: colour("--muted") } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--muted"), activecolor: colour("--accent") },
  } };
}

function layoutOf(panel) {
  return {
    template: theme(), autosize: true, margin: { l: 12, r: 12, t: 26, b: 12 },
    legend: { orientation: "h", x: 0, xanchor: "left", y: -0.22, yanchor: "top", font: { size: 12 } },
    dragmode: fingers.matches ? false : "zoom", // a finger scrolls the page
    ...panel.layout,
  };
}

function draw(figure) {
  const { figure: name } = figure.dataset;
  const chosen = Number(figure.querySelector("select")?.value ?? 0);
  const place = figure.querySelector(".panels");
  place.querySelectorAll(".plot").forEach((plot) => Plotly.purge(plot));
  place.replaceChildren();
  for (const panel of specs.figures[name][chosen]) {
    const box = place.appendChild(document.createElement("div"));
    box.className = "panel";
    if (panel.title) box.appendChild(document.createElement("h5")).textContent = panel.title;
    const plot = box.appendChild(document.createElement("div"));
    plot.className = "plot";
    const data = panel.data.map((trace) => "customdata" in trace ? { ...trace, customdata: specs.clips[trace.customdata] } : trace);
    Plotly.newPlot(plot, data, structuredClone(layoutOf(panel)), {
      responsive: true, displaylogo: false, displayModeBar: fingers.matches ? false : "hover",
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d", "pan2d", "zoom2d"],
      toImageButtonOptions: { filename: name, scale: 2 },
    });
  }
  drawn.add(figure);
}

const figures = [...document.querySelectorAll("figure[data-figure]")];
const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    draw(target);
  }
}, { rootMargin: "600px 0px" });
for (const figure of figures) {
  near.observe(figure);
  figure.querySelector("select")?.addEventListener("change", () => draw(figure));
}
darkScheme.addEventListener("change", () => drawn.forEach(draw));

// Paper is white, and has no "near the window".
window.addEventListener("beforeprint", () => {
  document.documentElement.dataset.scheme = "light";
  figures.forEach((figure) => (drawn.has(figure) && !darkScheme.matches) || draw(figure));
});
window.addEventListener("afterprint", () => {
  delete document.documentElement.dataset.scheme;
  if (darkScheme.matches) drawn.forEach(draw);
});
