"""The style sheet of all pages, and the script that sorts their tables."""

STYLE = """
:root {
  color-scheme: light dark;
  --bg: #fff; --fg: #1c1e21; --muted: #5c6470; --line: #d9dde3; --soft: #f4f6f8;
  --mark: #fff1b8; --truth: #8b929c; --shadow: rgb(0 0 0 / .28);
  --c0: #1f6fb2; --c1: #c4501b; --c2: #2b8a5a; --c3: #8a4fbf;
  --c4: #a8790a; --c5: #c2407f; --c6: #287f8f; --c7: #6a6f78;
}
@media (prefers-color-scheme: dark) {
  :root {
    --bg: #15181c; --fg: #e6e8eb; --muted: #9aa3ae; --line: #353b44; --soft: #1e2329;
    --mark: #5a4a10; --truth: #7d8690; --shadow: rgb(255 255 255 / .35);
    --c0: #64b1f2; --c1: #f0894f; --c2: #5cc48d; --c3: #bd90ee;
    --c4: #d9ad45; --c5: #ee85b5; --c6: #62c0d1; --c7: #a9afb8;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 1800px; padding: 1rem clamp(.8rem, 2vw, 2rem) 4rem;
  background: var(--bg); color: var(--fg); font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere;
}
h1 { font-size: 1.5rem; margin: .4rem 0; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; padding-top: .6rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
p, ul { max-width: 90ch; margin: .5rem 0; }
p.lead { font-size: 1.2rem; max-width: 110ch; }
abbr { text-decoration: underline dotted var(--muted); text-underline-offset: .15em; cursor: help; }

/* Overview */
.facts { display: flex; flex-wrap: wrap; gap: .3rem 1.8rem; margin: .8rem 0; }
.facts dt, .number dt { color: var(--muted); font-size: .8rem; }
.facts dd, .number dd { margin: 0; }
.numbers {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(15rem, 100%), 1fr));
  gap: .8rem; margin: 1rem 0;
}
.number { background: var(--soft); border-radius: 6px; margin: 0; padding: .7rem .9rem; }
.number .value { font-size: 1.7rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.number .interval { font-size: .95rem; color: var(--muted); white-space: nowrap; }
.number .note { font-size: .8rem; color: var(--muted); margin-top: .2rem; }
.meanings {
  display: grid; grid-template-columns: fit-content(40%) 1fr; gap: .2rem 1rem; margin: .4rem 0;
  font-size: .9rem;
}
.meanings dt { font-weight: 500; } .meanings dd { margin: 0; max-width: 75ch; }
pre { overflow-x: auto; font-size: .87rem; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: .8rem 0; }
a { color: var(--c0); }
details { margin: .6rem 0; }
summary { cursor: pointer; color: var(--c0); }
.folded { margin: 1.4rem 0 0; border-top: 1px solid var(--line); padding-top: .5rem; }
.folded > summary h2 { display: inline; border: 0; margin: 0; padding: 0; color: var(--fg); }

/* Tables */
/* A shadow at the side where more columns are hidden. */
.scroll {
  overflow: auto; max-width: 100%; max-height: 38rem; margin: .8rem 0;
  background:
    linear-gradient(to right, var(--bg) 40%, transparent) left / 2.5rem 100% local,
    linear-gradient(to left, var(--bg) 40%, transparent) right / 2.5rem 100% local,
    linear-gradient(to right, var(--shadow), transparent) left / .9rem 100% scroll,
    linear-gradient(to left, var(--shadow), transparent) right / .9rem 100% scroll;
  background-repeat: no-repeat;
}
.tables { display: flex; flex-wrap: wrap; gap: 0 3rem; }
.tables .scroll { min-width: 0; }
table {
  border-collapse: separate; border-spacing: 0; width: max-content;
  font-variant-numeric: tabular-nums; font-size: .87rem; overflow-wrap: normal;
}
caption {
  text-align: left; color: var(--muted); padding: .2rem 0; position: sticky; left: 0; white-space: nowrap;
}
th, td {
  padding: .25rem .7rem .25rem 0; text-align: left; border-bottom: 1px solid var(--line);
  vertical-align: top; max-width: 34rem;
}
thead th {
  max-width: 9rem; vertical-align: bottom; border-bottom-color: var(--muted);
  position: sticky; top: 0; background: var(--bg); z-index: 1;
}
thead th:first-child { left: 0; z-index: 2; }
tbody th {
  font-weight: 500; position: sticky; left: 0; background: var(--bg); white-space: nowrap;
  overflow: hidden; text-overflow: ellipsis; max-width: min(26rem, 52vw);
}
.n { text-align: right; }
td.n { white-space: nowrap; }
.pad::before { content: attr(data-end); visibility: hidden; }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible { outline: 2px solid var(--c0); }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
mark { background: var(--mark); color: inherit; padding: 0 .25em; border-radius: 3px; }

/* Figures */
.figures {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr));
  gap: 1rem; margin: .6rem 0;
}
figure { margin: 0; max-width: 470px; background: var(--soft); border-radius: 6px; padding: .6rem; }
figure.plot { max-width: 60rem; background: white; }
figcaption { font-weight: 600; font-size: .9rem; margin-bottom: .3rem; }
svg { display: block; width: 100%; height: auto; }
svg text { font: 11px system-ui, sans-serif; fill: var(--muted); }
svg text.on { fill: var(--fg); }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); } .c3 { --c: var(--c3); }
.c4 { --c: var(--c4); } .c5 { --c: var(--c5); } .c6 { --c: var(--c6); } .c7 { --c: var(--c7); }
.line { fill: none; stroke: var(--c); stroke-width: 1.8; }
.line.again { stroke-dasharray: 5 3; }
circle, .bar { fill: var(--c); }
.grid { stroke: var(--line); }
.axis { fill: none; stroke: var(--muted); }
.level { stroke: var(--c); stroke-dasharray: 5 4; opacity: .7; }
.even { stroke: var(--muted); stroke-dasharray: 3 4; }
.cell { fill: var(--c0); stroke: var(--line); }
.band { fill: var(--c1); fill-opacity: .28; }
.median { fill: none; stroke: var(--c1); stroke-width: 1.2; }
.truth { fill: none; stroke: var(--truth); stroke-width: 1.5; }
.seen { fill: none; stroke: var(--fg); }
circle.median { fill: var(--c1); }
circle.truth { fill: var(--truth); }
circle.seen { fill: var(--fg); }

/* Legends */
.legend { font-size: .8rem; color: var(--muted); margin: .3rem 0 0; line-height: 1.6; }
.legend span { white-space: nowrap; margin-right: .8em; }
.key {
  display: inline-block; width: 1.1em; height: .3em; margin: 0 .35em .2em 0; vertical-align: middle;
  background: var(--c);
}
.key.again { background: repeating-linear-gradient(90deg, var(--c) 0 4px, transparent 4px 7px); }
.key.seen { --c: var(--fg); }
.key.truth { --c: var(--truth); }
.key.median { --c: var(--c1); }
.key.band { --c: var(--c1); opacity: .35; height: .7em; }

@media (max-width: 600px) { tbody th { white-space: normal; overflow-wrap: anywhere; } }
@media print { nav { display: none; } .scroll { max-height: none; } figure { break-inside: avoid; } }
"""

SCRIPT = """
for (const button of document.querySelectorAll("thead button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), body = head.closest("table").tBodies[0], column = head.cellIndex;
    const ascending = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const number = row => row.cells[column].dataset.value;
    const text = row => row.cells[column].textContent;
    const sign = ascending ? 1 : -1;
    const order = (a, b) => number(a) !== undefined && number(b) !== undefined
      ? (number(a) - number(b)) * sign
      : (number(a) === undefined) - (number(b) === undefined)
        || text(a).localeCompare(text(b), undefined, {numeric: true}) * sign;
    body.append(...[...body.rows].sort(order));
  });
}
for (const link of document.querySelectorAll("nav a")) {
  link.addEventListener("click", () => {
    const folded = document.querySelector(link.getAttribute("href") + " > details.folded");
    if (folded) folded.open = true;
  });
}
"""
