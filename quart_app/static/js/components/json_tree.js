// JSON as it is read: indented, folding by <details>, made as it is opened, so a large answer costs what is looked at.
import { el } from "../dom.js"
import { plural, visible } from "../format.js"
import { marked } from "./secret_mark.js"

const OPEN_DEPTH = 3
const OPEN_ITEMS = 40
const PAGE = 200

export function jsonTree(value) {
  return el("div", { class: "json data", tabindex: 0, role: "group", "aria-label": "JSON" }, node(null, value, 0))
}

function node(key, value, depth) {
  return value !== null && typeof value === "object" ? branch(key, value, depth) : el("div", { class: "json__line" }, label(key), leaf(value))
}

function branch(key, value, depth) {
  const entries = Array.isArray(value) ? value.map((item, index) => [index, item]) : Object.entries(value)
  const [open, close] = Array.isArray(value) ? "[]" : "{}"
  if (!entries.length) return el("div", { class: "json__line" }, label(key), open + close)
  const children = el("div", { class: "json__children" })
  const details = el("details", { class: "json__branch" },
    el("summary", {}, label(key), open, el("span", { class: "json__count" }, ` ${plural(entries.length, open === "[" ? "item" : "member")} ${close}`)),
    children, el("div", { class: "json__close" }, close))
  details.addEventListener("toggle", () => { if (details.open && !children.hasChildNodes()) grow(children, entries, 0, depth) })
  if (depth < OPEN_DEPTH && (depth === 0 || entries.length <= OPEN_ITEMS)) {
    details.open = true
    grow(children, entries, 0, depth)
  }
  return details
}

function grow(children, entries, start, depth) {
  children.append(...entries.slice(start, start + PAGE).map(([key, item]) => node(key, item, depth + 1)))
  const left = entries.length - start - PAGE
  if (left <= 0) return
  const more = el("button", { type: "button", class: "button button--quiet", onclick: () => { more.remove(); grow(children, entries, start + PAGE, depth) } }, `Show ${Math.min(left, PAGE)} more of ${left}`)
  children.append(more)
}

function label(key) {
  if (key === null) return null
  return el("span", { class: typeof key === "number" ? "json__index" : "json__key" }, typeof key === "number" ? `${key}: ` : `${visible(JSON.stringify(key))}: `)
}

function leaf(value) {
  const kind = value === null ? "null" : typeof value
  return el("span", { class: `json__${kind}` }, kind === "string" ? marked(JSON.stringify(value)) : String(value))
}
