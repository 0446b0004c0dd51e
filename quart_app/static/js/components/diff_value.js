// The two sides of a change. In texts, what differs is marked; objects unfold.
import { el } from "../dom.js"
import { writeJson } from "../json.js"
import { jsonTree } from "./json_tree.js"
import { marked } from "./secret_mark.js"

/** [before, after] as nodes. */
export function sidesOf({ kind, before, after }) {
  if (kind === "added") return [absent(), side(after)]
  if (kind === "removed") return [side(before), absent()]
  if (typeof before === "string" && typeof after === "string") return texts(before, after)
  return [side(before), side(after)]
}

const absent = () => el("p", { class: "faint" }, "not there")

function side(value) {
  if (value !== null && typeof value === "object") return jsonTree(value)
  return el("pre", { class: "change__text data", tabindex: 0 }, typeof value === "string" ? marked(value || '""') : writeJson(value))
}

function texts(before, after) {
  const start = sameStart(before, after)
  const end = sameEnd(before.slice(start), after.slice(start))
  return [before, after].map((text) => {
    const middle = text.slice(start, text.length - end)
    return el("pre", { class: "change__text data", tabindex: 0 }, marked(text.slice(0, start)), middle ? el("mark", { class: "change__mark" }, marked(middle)) : null, marked(text.slice(text.length - end)))
  })
}

/** Up to the start of a word, or of a redaction mark, so that no half of one is marked. */
function sameStart(one, other) {
  let length = 0
  while (length < one.length && length < other.length && one[length] === other[length]) length++
  while (length > 0 && /[\w:[\]-]/.test(one[length - 1])) length--
  return length
}

function sameEnd(one, other) {
  let length = 0
  while (length < one.length && length < other.length && one[one.length - 1 - length] === other[other.length - 1 - length]) length++
  while (length > 0 && /[\w:[\]-]/.test(one[one.length - length])) length--
  return length
}
