// What the search says of itself: that it is at work, how much it found, or why it cannot.
import { announce, byId, el, fill } from "../dom.js"
import { notice, showProblem } from "./notice.js"

export function searching(on) {
  byId("found").dataset.busy = String(on)
  if (on) byId("found").textContent = "Searching…"
}

export function showFound(count, { more, filtered }) {
  byId("found").textContent = filtered ? said(count, more) : ""
}

function said(count, more) {
  if (!count) return "Nothing found"
  return count === 1 && !more ? "1 call" : `${more ? "The newest " : ""}${count} calls`
}

/** A search that is too broad is no fault: it wants one word more. */
export function showSearchProblem(error) {
  if (error.problem?.code !== "search_too_broad") {
    byId("found").textContent = ""
    return showProblem(error)
  }
  showProblem(null)
  byId("found").textContent = "Took too long"
  fill(byId("no-calls"), notice("warning", "This search takes too long.", el("p", {}, "Too many calls could fit. Add a word that fewer of them have, or choose a connection, a status or an origin.")))
  announce("This search takes too long. Narrow it.")
}
