// The list of calls, newest first: pages from the server, and events as they come. Ids are UUIDv7, so their order is that of time.
import { byId } from "../dom.js"
import { callRow } from "./call_row.js"

const list = byId("calls")

export const callCount = () => list.children.length
export const rowOf = (id) => list.querySelector(`[data-call="${CSS.escape(id)}"]`)

/** Puts each call into its place, or in the place of its earlier row. */
export function put(calls, { fresh = false } = {}) {
  for (const call of calls) {
    const row = callRow(call)
    const old = rowOf(call.id)
    if (old) keepMarks(old, row)
    else placeOf(call.id, row)
    if (fresh && !old) row.classList.add("calls__item--fresh")
  }
}

function keepMarks(old, row) {
  const focused = old.contains(document.activeElement)
  if (old.querySelector("[aria-current]")) row.firstElementChild.setAttribute("aria-current", "true")
  old.replaceWith(row)
  if (focused) row.firstElementChild.focus()
}

function placeOf(id, row) {
  let before = list.firstElementChild
  if (before && list.lastElementChild.dataset.call > id) before = null
  while (before && before.dataset.call > id) before = before.nextElementSibling
  list.insertBefore(row, before)
}

export function clear() {
  list.replaceChildren()
}

export function markOpen(id) {
  for (const link of list.querySelectorAll("[aria-current]")) link.removeAttribute("aria-current")
  if (id) rowOf(id)?.firstElementChild.setAttribute("aria-current", "true")
}
