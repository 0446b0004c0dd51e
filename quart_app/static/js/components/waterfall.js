// Where the time of a call went: a table whose bars stand on one time axis. Each span has its own row and its words, so no
// colour is needed to read it, and a screen reader gets the same as numbers.
import { button, el } from "../dom.js"
import { duration, plural } from "../format.js"
import { attemptBadge } from "./badge.js"
import { spansOf } from "./spans.js"

const MOST_OPEN = 3

export function waterfall(call) {
  const { whole, groups } = spansOf(call)
  if (!groups.length) return null
  const axis = ticksOf(whole)
  const table = el("table", { class: "waterfall" },
    el("caption", { class: "visually-hidden" }, `Where ${duration(whole)} went, in ${plural(groups.length, "step")}`),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, el("span", { class: "visually-hidden" }, "What")), axisCell(axis, whole), el("th", { scope: "col", class: "waterfall__took" }, "Took"))),
    groups.map((group) => el("tbody", {}, group.spans.map((span) => row(span, group, whole)))))
  table.style.setProperty("--tick", axis[1] / whole)
  return el("div", { class: "waterfall__frame" }, groups.length > MOST_OPEN ? folding(table) : null, table)
}

/** 0 and up to five round steps. */
function ticksOf(whole) {
  const rough = whole / 4
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough)
  return Array.from({ length: Math.floor(whole / step) + 1 }, (_none, index) => index * step).concat(whole < step ? [step] : [])
}

function axisCell(ticks, whole) {
  return el("th", { scope: "col", class: "waterfall__axis" }, el("span", { class: "visually-hidden" }, "When"),
    ticks.filter((tick) => tick <= whole * 0.94).map((tick) => {
      const mark = el("span", { class: "waterfall__tick data", "aria-hidden": "true" }, tick ? duration(tick) : "0")
      mark.style.setProperty("--start", tick / whole)
      return mark
    }))
}

/** An attempt's own row has its phases in small. */
function row(span, { attempt, spans }, whole) {
  const { kind, label, start, seconds } = span
  const phases = spans.filter((other) => rowKind(other.kind) === "phase")
  const inside = kind === "attempt" ? phases.map((phase) => barOf(phase, whole, "within")) : []
  const name = kind === "attempt" ? [el("strong", {}, `Attempt ${attempt.number}`), " ", attemptBadge(attempt)] : kind === "wait" ? ["Waited: ", label] : label
  return el("tr", { class: `waterfall__row waterfall__row--${rowKind(kind)}` },
    el("th", { scope: "row" }, name),
    el("td", {}, el("span", { class: "visually-hidden" }, `from ${duration(start)} on`), el("span", { class: "waterfall__track", "aria-hidden": "true" }, barOf(span, whole), inside)),
    el("td", { class: "waterfall__took data" }, duration(seconds)))
}

function barOf({ kind, start, seconds }, whole, extra = kind) {
  const bar = el("span", { class: `waterfall__bar waterfall__bar--${kind} waterfall__bar--${extra}` })
  bar.style.setProperty("--start", start / whole)
  bar.style.setProperty("--share", seconds / whole)
  return bar
}

const rowKind = (kind) => (kind === "attempt" || kind === "wait" ? kind : "phase")

function folding(table) {
  table.classList.add("waterfall--folded")
  const control = button("Show the phases", () => {
    const folded = table.classList.toggle("waterfall--folded")
    control.setAttribute("aria-expanded", String(!folded))
    control.textContent = folded ? "Show the phases" : "Hide the phases"
  }, { kind: "quiet", "aria-expanded": "false" })
  return control
}
