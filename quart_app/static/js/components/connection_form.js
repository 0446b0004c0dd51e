// The dialog that adds or changes a connection.
import { patch, post } from "../api.js"
import { announce, busy, byId, fill } from "../dom.js"
import { clearFaults, fillForm, readForm, showFaults } from "./form.js"
import { problemNotice } from "./notice.js"
import { pairs } from "./pairs.js"
import { isPrivate } from "./private_address.js"

const NAMES = ["Accept", "Accept-Language", "Content-Type", "User-Agent"]

/** Returns open(connection?), which adds one if none is given; `saved` gets what the server made of it. */
export function connectionForm(saved) {
  const dialog = byId("connection-dialog")
  const form = byId("connection-form")
  const problem = form.querySelector("[data-problem]")
  const headers = pairs("Header", { names: NAMES })
  let edited = null
  let before = null

  const open = (connection = null) => {
    edited = connection
    form.reset()
    clearFaults(form)
    fill(problem)
    clearPlaceholders(form)
    fillForm(form, connection ?? {})
    headers.write(Object.entries(connection?.headers ?? {}))
    form.elements["/name"].readOnly = Boolean(connection)
    byId("connection-dialog-title").textContent = connection ? `Edit ${connection.name}` : "Add a connection"
    adapt()
    before = read()
    dialog.showModal()
    form.elements[connection ? "/title" : "/name"].focus()
  }
  const adapt = () => {
    const { value: scheme } = form.elements["/auth/scheme"]
    for (const part of form.querySelectorAll("[data-scheme]")) show(part, part.dataset.scheme === scheme)
    for (const part of form.querySelectorAll("[data-grant]")) show(part, scheme === "oauth2" && part.dataset.grant === form.elements["/auth/grant"].value)
    byId("private-notice").hidden = !isPrivate(form.elements["/base_url"].value) || form.elements["/policy/allow_private"].checked
  }
  const read = () => ({ ...readForm(form), headers: Object.fromEntries(headers.read()) })
  const save = async () => {
    const now = read()
    if (!edited) return post("/api/connections", { ...now, policy: differing(before.policy, now.policy) })
    const changed = changes(before, now, edited)
    return Object.keys(changed).length ? patch(`/api/connections/${edited.name}`, changed) : edited
  }
  const submit = async () => {
    clearFaults(form)
    fill(problem)
    try {
      const connection = await busy(byId("connection-save"), save)
      dialog.close()
      announce(`Saved ${connection.name}`, { shown: true })
      saved(connection)
    } catch (error) {
      const rest = showFaults(form, error.problem?.errors ?? [])
      if (error.problem) error.problem.errors = rest
      fill(problem, problemNotice(error)).scrollIntoView({ block: "nearest" })
    }
  }

  byId("connection-headers").append(headers.element)
  form.addEventListener("input", adapt)
  form.addEventListener("submit", (event) => { event.preventDefault(); submit() })
  dialog.addEventListener("click", (event) => { if (event.target.closest("[data-close]")) dialog.close() })
  return { open, dialog }
}

function show(part, shown) {
  part.hidden = !shown
  for (const field of part.querySelectorAll("input, select")) field.disabled = !shown
}

function clearPlaceholders(form) {
  for (const field of form.querySelectorAll("[data-secret]")) field.placeholder = ""
}

/** Only what was changed; `auth` goes whole, with what the form does not show of it. */
function changes(before, now, { auth }) {
  const changed = differing(before, now)
  if (changed.policy) changed.policy = differing(before.policy, now.policy)
  if (changed.auth && auth.scheme === now.auth.scheme) changed.auth = { ...unseen(auth, before.auth), ...now.auth }
  if (before.title && !now.title) changed.title = ""
  return changed
}

function differing(before, now) {
  return Object.fromEntries(Object.entries(now).filter(([key, value]) => JSON.stringify(before[key]) !== JSON.stringify(value)))
}

function unseen(auth, seen) {
  return Object.fromEntries(Object.entries(auth).filter(([key, value]) => !(key in seen) && value !== null && !value.set))
}
