// Choosing the second of two calls to compare: a bar says so until one is chosen from the list, or it is called off.
import { announce, button, byId, el, fill } from "../dom.js"
import { moment, pathOf, visible } from "../format.js"

let first = null

export const comparing = () => first !== null

export function startComparing(call) {
  first = call
  const name = `${call.method} ${pathOf(call.url)}, ${moment(call.started_at)}`
  fill(byId("comparing"),
    el("p", {}, el("strong", {}, "Compare "), el("span", { class: "data" }, visible(name)), el("strong", {}, " with which call?"), " Choose it in the list."),
    button("Cancel", stopComparing)).hidden = false
  announce("Choose the other call in the list")
}

export function stopComparing() {
  first = null
  fill(byId("comparing")).hidden = true
}

/** Opens both side by side, the earlier one on the left: ids are in order of time. */
export function compareWith(id) {
  if (id === first.id) return announce("That is the same call. Choose another one.", { shown: true })
  const [before, after] = [first.id, id].sort()
  location.assign(`/history/${before}/diffs/${after}`)
}
