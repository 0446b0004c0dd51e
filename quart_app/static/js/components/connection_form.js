// The dialog that adds or changes a connection.
import { patch, post } from "../api.js"
import { announce, busy, byId, fill } from "../dom.js"
import { changes, created, proxyOf, tlsOf } from "./connection_change.js"
import { clearFaults, fillForm, readForm, showFaults } from "./form.js"
import { problemNotice } from "./notice.js"
import { pairs } from "./pairs.js"
import { isPrivate } from "./private_address.js"

const NAMES = ["Accept", "Accept-Language", "Content-Type", "User-Agent"]

/** Returns open(connection?, field?), which adds one if none is given, and starts at the field of that name; `saved` gets what the server made of it. */
export function connectionForm(saved) {
  const dialog = byId("connection-dialog")
  const form = byId("connection-form")
  const problem = form.querySelector("[data-problem]")
  const headers = pairs("Header", { names: NAMES })
  let edited = null
  let before = null

  const open = (connection = null, field = connection ? "/title" : "/name") => {
    edited = connection
    form.reset()
    clearFaults(form)
    fill(problem)
    clearPlaceholders(form)
    fillForm(form, connection ?? {})
    headers.write(Object.entries(connection?.headers ?? {}))
    form.elements["/name"].readOnly = Boolean(connection)
    byId("connection-dialog-title").textContent = connection ? `Edit ${connection.name}` : "Add a connection"
    for (const part of form.querySelectorAll("details")) part.open = [...part.querySelectorAll("input, textarea")].some(isSet)
    adapt()
    before = read()
    dialog.showModal()
    goTo(form, field)
  }
  const adapt = () => {
    const { value: scheme } = form.elements["/auth/scheme"]
    for (const part of form.querySelectorAll("[data-scheme]")) show(part, part.dataset.scheme === scheme)
    for (const part of form.querySelectorAll("[data-grant]")) show(part, scheme === "oauth2" && part.dataset.grant === form.elements["/auth/grant"].value)
    byId("unverified-notice").hidden = form.elements["/tls/verify"].checked
    byId("private-notice").hidden = !isPrivate(form.elements["/base_url"].value) || form.elements["/policy/allow_private"].checked
  }
  const read = () => {
    const { tls, proxy, ...rest } = readForm(form)
    return { ...rest, headers: Object.fromEntries(headers.read()), tls: tlsOf(tls), proxy: proxyOf(proxy) }
  }
  const save = async () => {
    const now = read()
    if (!edited) return post("/api/connections", created(before, now))
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
  for (const field of part.querySelectorAll("input, select, textarea")) field.disabled = !shown
}

function clearPlaceholders(form) {
  for (const field of form.querySelectorAll("[data-secret]")) field.placeholder = ""
}

const isSet = (field) => (field.type === "checkbox" ? field.checked !== field.defaultChecked : Boolean(field.value || (field.dataset.secret !== undefined && field.placeholder)))

/** The field as it is meant: its part opened, in view, with the caret in it. */
function goTo(form, name) {
  const field = form.elements.namedItem(name) ?? form.elements["/title"]
  field.closest("details")?.setAttribute("open", "")
  field.scrollIntoView({ block: "center" })
  field.focus()
}
