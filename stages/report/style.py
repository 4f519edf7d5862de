"""The page's style sheet, light, dark and on paper."""

CSS = """
:root { --ink: #1d2329; --soft: #5b6570; --rule: #d6dbe0; --faint: #eceff2; --paper: #ffffff;
  --link: #0b57a4; --band: #f4f6f8; --warn: #fdf3d7; --warn-rule: #c98a00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7eb; --soft: #a2abb5; --rule: #3d454e; --faint: #2a3037; --paper: #16191d;
    --link: #7fb8f5; --band: #1f242a; --warn: #362c12; --warn-rule: #d9a21b; }
}
* { box-sizing: border-box; }
html { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial,
  "DejaVu Sans", sans-serif; color: var(--ink); background: var(--paper); }
body { max-width: 68rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .6rem; font-weight: 650; }
h2 { font-size: 1.25rem; margin: 3rem 0 .8rem; padding-top: 1rem; font-weight: 650;
  border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; font-weight: 400; margin: 0 0 .5rem; }
p, ul { max-width: 46rem; margin: 0 0 .9rem; }
.lead { color: var(--soft); }
li { margin-bottom: .3rem; }
a { color: var(--link); text-decoration-thickness: 1px; text-underline-offset: .15em; }
nav ol { list-style: none; padding: 0; margin: 1rem 0 0; display: flex; flex-wrap: wrap;
  gap: .2rem 1.3rem; font-size: .9rem; }
code { font: .88em/1 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.notice { background: var(--warn); border-left: 4px solid var(--warn-rule); padding: .8rem 1rem; }
.wide { overflow-x: auto; margin: 1.4rem 0 .6rem; }
table { border-collapse: collapse; font-size: .9rem; min-width: 60%; }
caption { text-align: left; font-weight: 600; padding-bottom: .4rem; }
th, td { padding: .34rem 1.1rem .34rem 0; text-align: left; vertical-align: baseline; }
th { font-weight: 500; color: var(--soft); border-bottom: 1.5px solid var(--ink);
  white-space: nowrap; }
th.figures, td.figures { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; padding: .34rem .6rem; }
th:last-child, td:last-child { padding-right: .4rem; }
th:first-child, td:first-child { padding-left: .4rem; }
td { border-top: 1px solid var(--faint); }
td a { white-space: nowrap; }
.wide + ul { margin-top: 1.2rem; }
tr.group td { border-top-color: var(--rule); }
tbody { border-bottom: 1.5px solid var(--ink); }
tbody tr:first-child td { border-top: 0; }
tr.baseline td { background: var(--band); }
tr.muted td:not(:first-child) { color: var(--soft); }
tr.ours td:first-child { font-weight: 600; }
.interval { display: block; font-size: .76rem; line-height: 1.2; color: var(--soft); }
.remark, figcaption { font-size: .85rem; color: var(--soft); margin-bottom: .4rem; }
figure { margin: 1.4rem 0; }
figure svg { max-width: 100%; height: auto; display: block; }
.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1.4rem;
  font-size: .85rem; }
.swatch { display: inline-block; width: .95em; height: .95em; margin-right: .45em;
  vertical-align: -.1em; border: 1px solid var(--rule); }
.gallery { margin: 1.4rem 0 2rem; }
.columns { display: flex; flex-wrap: wrap; gap: .8rem; }
.column { flex: 1 1 18rem; max-width: 22rem; }
.column p { font-size: .85rem; color: var(--soft); margin: 0 0 .25rem; }
.column img { display: block; width: 100%; height: auto; margin-bottom: .4rem; }
.sharp { image-rendering: pixelated; border: 1px solid var(--rule); }
@media print {
  :root { --ink: #000; --soft: #444; --rule: #bbb; --faint: #ddd; --paper: #fff; --link: #000;
    --band: #f2f2f2; --warn: #fff; --warn-rule: #000; }
  html { font-size: 10pt; }
  body { max-width: none; padding: 0; }
  nav { display: none; }
  h2 { break-after: avoid; }
  table, figure, .columns, .notice { break-inside: avoid; }
  .wide { overflow: visible; }
}
"""
