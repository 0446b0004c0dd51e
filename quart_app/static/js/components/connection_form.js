// The dialog that adds or changes a connection.
import { patch, post } from "../api.js"
import { announce, busy, byId, fill } from "../dom.js"
import { authOf, changes, created, differing, proxyOf, tlsOf } from "./connection_change.js"
import { connectionPath } from "./connection_link.js"
import { clearFaults, fillForm, readForm, resetFields, showFaults } from "./form.js"
import { problemNotice } from "./notice.js"
import { oauthFields } from "./oauth_fields.js"
import { pairs } from "./pairs.js"
import { chosenScopes } from "./preset.js"
import { presetChoice } from "./preset_choice.js"
import { isPrivate } from "./private_address.js"

const NAMES = ["Accept", "Accept-Language", "Content-Type", "User-Agent"]

/** Returns open(connection?, field?), which adds one if none is given, and starts at the field of that name; `saved` gets what the server made of it. */
export function connectionForm(saved) {
  const dialog = byId("connection-dialog")
  const form = byId("connection-form")
  const problem = form.querySelector("[data-problem]")
  const headers = pairs("Header", { names: NAMES })
  const oauth = oauthFields(form, show)
  const presets = presetChoice(form, chosen)
  let edited = null
  let before = null
  let parts = null
  let suggested = {}

  const open = (connection = null, field = connection ? "/title" : "preset") => {
    edited = connection
    parts = null
    suggested = {}
    form.reset()
    clearFaults(form)
    fill(problem)
    clearPlaceholders(form)
    oauth.clear()
    fillForm(form, connection ?? {})
    oauth.write(connection?.auth)
    headers.write(Object.entries(connection?.headers ?? {}))
    connection ? presets.show(connection.metadata?.preset) : presets.ask()
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
    oauth.adapt()
    presets.left()
    byId("unverified-notice").hidden = form.elements["/tls/verify"].checked
    byId("private-notice").hidden = !isPrivate(form.elements["/base_url"].value) || form.elements["/policy/allow_private"].checked
  }
  const read = () => {
    const { tls, proxy, auth, variables, ...rest } = readForm(form)
    return { ...rest, auth: authOf(oauth.read(auth)), headers: Object.fromEntries(headers.read()), tls: tlsOf(tls), proxy: proxyOf(proxy) }
  }

  /** A preset takes the place of all that was said of how to sign in. */
  function chosen(preset) {
    clearFaults(form)
    resetFields(form, "/auth/")
    oauth.clear()
    headers.write([])
    parts = {}
    fillForm(form, { auth: { scope: chosenScopes(preset) } })
    suggest("/name", preset.id)
    suggest("/title", preset.title)
    follow()
    adapt()
  }
  /** Unless a person wrote something else there. */
  function suggest(name, value) {
    const field = form.elements[name]
    if (field.value === (suggested[name] ?? "")) field.value = suggested[name] = value
  }
  /** The fields go along with the values of a preset's variables; what they do not touch stays as it is. */
  function follow() {
    const now = presets.parts()
    if (!now || !parts) return
    const auth = differing(parts.auth ?? {}, now.auth)
    fillForm(form, { ...differing(parts, { base_url: now.base_url }), auth })
    oauth.write(auth)
    headers.write(Object.entries({ ...Object.fromEntries(headers.read()), ...differing(parts.headers ?? {}, now.headers) }))
    parts = now
  }

  const save = async () => {
    const now = read()
    if (!edited) return post("/api/connections", created(before, now, parts?.metadata))
    const changed = changes(before, now, edited)
    return Object.keys(changed).length ? patch(`/api/connections/${edited.name}`, changed) : edited
  }
  const submit = async () => {
    clearFaults(form)
    fill(problem)
    if (showFaults(form, presets.faults()).length || form.querySelector("[aria-invalid]")) return
    try {
      const connection = await busy(byId("connection-save"), save)
      if (!edited && connection.state === "needs_sign_in") return location.assign(connectionPath(connection.name))
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
  form.addEventListener("input", () => { follow(); adapt() })
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
