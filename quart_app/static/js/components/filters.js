// Which calls are shown. The address of the page holds it; the same words go to the API.
import { byId, el } from "../dom.js"
import { withQuery } from "../api.js"

const form = byId("filters")
const NAMES = ["connection", "method", "status", "origin", "state", "q"]

/** `changed` runs when someone sets another filter, with the list's address already right. */
export function startFilters(connections, changed) {
  form.elements.connection.append(...connections.map(({ name }) => el("option", {}, name)))
  showFilters()
  let timer
  form.addEventListener("input", () => {
    clearTimeout(timer)
    timer = setTimeout(apply, 150, changed)
  })
  form.addEventListener("submit", (event) => { event.preventDefault(); apply(changed) })
  form.addEventListener("reset", () => setTimeout(apply, 0, changed))
}

function apply(changed) {
  const filters = Object.fromEntries(NAMES.map((name) => [name, form.elements[name].value.trim()]))
  if (withQuery("", filters) === withQuery("", readFilters())) return
  history.replaceState(history.state, "", withQuery(location.pathname, filters))
  byId("clear-filters").hidden = !hasFilters()
  changed()
}

export function showFilters() {
  for (const [name, value] of Object.entries(readFilters())) {
    const field = form.elements[name]
    if (field.options && value && ![...field.options].some((option) => option.value === value)) field.add(new Option(value))
    field.value = value
  }
  byId("clear-filters").hidden = !hasFilters()
}

export function readFilters() {
  const address = new URLSearchParams(location.search)
  return Object.fromEntries(NAMES.map((name) => [name, address.get(name) ?? ""]))
}

export const hasFilters = () => Object.values(readFilters()).some(Boolean)

/** Whether a call that was just announced belongs into the list, as far as its words are not asked for. */
export function fits(call) {
  const { status, q, ...same } = readFilters()
  return Object.entries(same).every(([name, value]) => !value || String(call[name]).toLowerCase() === value.toLowerCase())
    && matchesStatus(call.status, status)
}

/** Whether its URL alone has all the words; only the server knows of headers and bodies. */
export function hasWords(call) {
  const words = readFilters().q.toLowerCase().split(/\s+/)
  return words.every((word) => call.url.toLowerCase().includes(word))
}

function matchesStatus(status, wanted) {
  if (!wanted) return true
  return /^\dxx$/i.test(wanted) ? String(status)[0] === wanted[0] : String(status) === wanted
}
