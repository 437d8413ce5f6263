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

// A phone shows the first table and the titles of all: else the last is some forty screens away.
const narrow = matchMedia("(max-width: 600px)");
if (narrow.matches) document.querySelectorAll("#tables details[open]").forEach((one, place) => { one.open = place === 0; });

// A link to a table or a run opens it.
function openTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target || !target.closest("details")) return;
  target.closest("details").open = true;
  target.scrollIntoView();
}
window.addEventListener("hashchange", openTarget);
openTarget();

// --- tables: the first click brings the best on top, the second turns the order, the last restores it ---------------

// What a row is sorted by: the number of this part, and where it has none, the other one, behind all that have it.
function sortKey(row, column, kind, part) {
  const cell = row.cells[column];
  if (kind === "text") return [0, cell.textContent.trim()];
  const values = JSON.parse(cell.dataset.values);
  const rest = values.filter((value) => value !== null);
  return values[part] !== null ? [0, values[part]] : rest.length ? [1, rest[0]] : [2, 0];
}

function compare([rank, first], [otherRank, second], sign) {
  if (rank !== otherRank) return rank - otherRank; // dashes last, either way
  const order = typeof first === "string" ? first.localeCompare(second, undefined, { numeric: true }) : first - second;
  return sign * order;
}

// The orders of a header's clicks: by each part of its cells, the best on top and then turned; at last as printed.
function orders({ first, parts }) {
  const other = first === "ascending" ? "descending" : "ascending";
  const found = [];
  for (let part = 0; part < Number(parts); part += 1) found.push([first, part], [other, part]);
  return [...found, ["none", 0]];
}

function makeSortable(table) {
  const body = table.tBodies[0];
  const printed = [...body.rows];
  const headers = [...table.tHead.rows[0].cells];
  for (const header of headers) {
    const button = header.querySelector("button");
    const turns = orders(button.dataset);
    button.addEventListener("click", () => {
      const now = turns.findIndex(([order, part]) =>
        order === header.getAttribute("aria-sort") && String(part + 1) === button.dataset.sorted);
      const [order, part] = turns[(now + 1) % turns.length];
      for (const other of headers) {
        other.setAttribute("aria-sort", "none");
        delete other.querySelector("button").dataset.sorted;
      }
      header.setAttribute("aria-sort", order);
      delete table.dataset.sorted;
      if (order !== "none") table.dataset.sorted = button.dataset.sorted = part + 1;
      const sign = order === "ascending" ? 1 : -1;
      const key = (row) => sortKey(row, header.cellIndex, header.dataset.kind, part);
      body.append(...(order === "none" ? printed : [...printed].sort((a, b) => compare(key(a), key(b), sign))));
    });
  }
}
document.querySelectorAll("table.sortable").forEach(makeSortable);

// A phone has room for a label and two numbers: the main ones come first there.
function arrange(table) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, place) => { header.dataset.place ??= place; });
  const rank = (header) => Number(header.dataset.place) - (narrow.matches && "main" in header.dataset ? headers.length : 0);
  const [label, ...others] = headers.map((header, now) => [now, rank(header)]);
  const order = [label, ...others.sort((a, b) => a[1] - b[1])].map(([now]) => now);
  for (const row of [...table.rows]) {
    const cells = [...row.cells];
    row.append(...order.map((now) => cells[now]));
  }
}
const arranged = [...document.querySelectorAll("table:has([data-main])")];
arranged.forEach(arrange);
narrow.addEventListener("change", () => arranged.forEach(arrange));

// A table that is wider than its box says so.
function watchWidth(box) {
  const cue = document.createElement("p");
  cue.className = "cue";
  cue.textContent = "scrolls sideways →";
  box.before(cue);
  const look = () => {
    const more = box.scrollWidth - box.clientWidth;
    cue.hidden = more <= 1;
    box.classList.toggle("overflows", more > 1);
    box.classList.toggle("at-end", box.scrollLeft >= more - 1);
  };
  box.addEventListener("scroll", look, { passive: true });
  new ResizeObserver(look).observe(box); // also when what is around it is opened
}
document.querySelectorAll(".scroll").forEach(watchWidth);

// --- figures: drawn when they come near the window, in the colours of the page --------------------------------------

const specs = JSON.parse(document.getElementById("specs")?.textContent ?? "null");
const darkScheme = matchMedia("(prefers-color-scheme: dark)");
const fingers = matchMedia("(pointer: coarse)");
const drawn = new Set();

// The darker of the figures' colours, made readable on a dark ground.
const ON_DARK = { "#0072B2": "#4da6e0", "#D55E00": "#f5873a", "#009E73": "#2fbf95", "#56B4E9": "#f0e442" };

function isDark() {
  return darkScheme.matches && document.documentElement.dataset.scheme !== "light";
}

function coloured(panel) {
  const colours = isDark() ? ON_DARK : {};
  const lines = (key, value) => (key === "color" && colours[value]) || value;
  return JSON.parse(JSON.stringify(panel), lines);
}

function theme() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const family = getComputedStyle(document.body).fontFamily;
  const axis = {
    automargin: true, gridcolor: colour("--line"), zerolinecolor: colour("--strong-line"), zerolinewidth: 1,
    linecolor: colour("--strong-line"), showline: true, tickcolor: colour("--strong-line"), spikecolor: colour("--muted"), spikethickness: 1, spikedash: "dot",
    title: { standoff: 8, font: { size: 13 } },
  };
  return { layout: {
    font: { family, size: 13, color: colour("--ink") },
    // Not see-through: a saved picture needs a ground, and plotly picks colours that show on it.
    paper_bgcolor: colour("--card"), plot_bgcolor: colour("--card"),
    xaxis: axis, yaxis: axis,
    hoverlabel: {
      bgcolor: colour("--card"), bordercolor: colour("--strong-line"), align: "left",
      font: { family, color: colour("--ink"), size: 12 },
    },
    shapedefaults: { line: { color: colour("--muted") } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--muted"), activecolor: colour("--accent") },
  } };
}

function layoutOf(panel) {
  return {
    template: theme(), autosize: true, margin: { l: 12, r: 12, t: 26, b: 12 },
    legend: { orientation: "h", x: 0.5, xanchor: "center", y: 0, yref: "container", yanchor: "bottom", font: { size: 12 } },
    dragmode: fingers.matches ? false : "zoom", // a finger scrolls the page
    ...panel.layout,
  };
}

const CONFIG = {
  responsive: true, displaylogo: false, displayModeBar: fingers.matches ? false : "hover",
  modeBarButtons: [["toImage", "resetScale2d"]],
  showSendToCloud: false, plotlyServerURL: "", // else plotly offers to send the plot to its own server
  typesetMath: false, // a price in a transcript is no formula
};

function draw(figure) {
  const { figure: name } = figure.dataset;
  const chosen = Number(figure.querySelector("select")?.value ?? 0);
  const place = figure.querySelector(".panels");
  place.querySelectorAll(".drawing").forEach((plot) => Plotly.purge(plot));
  place.replaceChildren();
  const plots = specs.figures[name][chosen].map(coloured).map((panel) => {
    const box = place.appendChild(document.createElement("div"));
    box.className = "panel";
    if (panel.title) box.appendChild(document.createElement("h5")).textContent = panel.title;
    const plot = box.appendChild(document.createElement("div"));
    plot.className = "drawing";
    if (panel.layout.height) plot.style.height = `${panel.layout.height}px`; // as many rows as it has
    const data = panel.data.map((trace) => "customdata" in trace ? { ...trace, customdata: specs.clips[trace.customdata] } : trace);
    return [plot, data, layoutOf(panel)];
  });
  // All places stand before the first plot measures its own.
  for (const [plot, data, layout] of plots) {
    Plotly.newPlot(plot, data, layout, { ...CONFIG, toImageButtonOptions: { filename: name, scale: 2 } });
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

// Paper is white, of its own width, and has no "near the window".
function scaled(plot) {
  const { width, height } = plot.getBoundingClientRect();
  plot.style.setProperty("--shape", `${width} / ${height}`);
  plot.querySelectorAll("svg.main-svg").forEach((svg) => svg.setAttribute("viewBox", `0 0 ${width} ${height}`));
}
window.addEventListener("beforeprint", () => {
  document.documentElement.dataset.scheme = "light";
  document.documentElement.dataset.printing = "";
  figures.forEach(draw);
  document.querySelectorAll(".drawing").forEach(scaled);
});
window.addEventListener("afterprint", () => {
  delete document.documentElement.dataset.scheme;
  delete document.documentElement.dataset.printing;
  drawn.forEach(draw);
});
