// The request that is being written: its fields as one plain object, both ways.
import { byId, fill } from "../dom.js"
import { pairs } from "./pairs.js"
import { setCount, tabs } from "./tabs.js"

const HEADER_NAMES = ["Accept", "Accept-Language", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Prefer", "Range"]

/** Returns { read, write, tidy }; the object is {connection, method, path, query, headers, kind, body, form}. */
export function requestForm(changed) {
  const fields = { connection: byId("send-connection"), method: byId("send-method"), path: byId("send-path"), kind: byId("send-kind"), body: byId("send-body") }
  const rows = {
    query: pairs("Query", { onchange: update }),
    headers: pairs("Header", { onchange: update, names: HEADER_NAMES }),
    form: pairs("Form field", { onchange: update }),
  }
  byId("send-query").append(rows.query.element)
  byId("send-headers").append(rows.headers.element)
  byId("send-form-rows").append(rows.form.element)
  const parts = tabs("Request", [...byId("request-parts").children].map((pane) => [pane.dataset.tab, pane]))
  fill(byId("request-parts"), parts)

  function read() {
    const texts = Object.entries(fields).map(([name, field]) => [name, field.value])
    return { ...Object.fromEntries(texts), query: rows.query.read(), headers: rows.headers.read(), form: rows.form.read() }
  }
  function write(request) {
    for (const [name, field] of Object.entries(fields)) {
      if (request[name] !== undefined) choose(field, request[name])
    }
    for (const [name, list] of Object.entries(rows)) {
      if (request[name] !== undefined) list.write(request[name])
    }
    update()
  }
  function tidy() {
    const { path, query } = splitPath(fields.path.value.trim())
    write(query.length ? { path, query: [...rows.query.read(), ...query] } : { path })
  }
  function update() {
    const { query, headers, kind } = read()
    byId("send-body-field").hidden = kind !== "json" && kind !== "text"
    byId("send-form-rows").hidden = kind !== "form"
    ;[query.length, headers.length, kind === "none" ? "" : "•"].forEach((count, index) => setCount(parts, index, count))
    changed()
  }

  for (const field of Object.values(fields)) field.addEventListener("input", update)
  fields.path.addEventListener("change", tidy)
  return { read, write, tidy }
}

/** A method, or a connection that is gone, is added to its list rather than lost. */
function choose(field, value) {
  if (field.options && value && ![...field.options].some((option) => option.value === value)) field.add(new Option(value))
  field.value = value
}

/** A query typed into the path moves to its rows; what may not stand in a path as it is gets percent-encoded. */
export function splitPath(text) {
  const start = text.indexOf("?")
  if (start < 0) return { path: encoded(text), query: [] }
  return { path: encoded(text.slice(0, start)), query: [...new URLSearchParams(text.slice(start + 1))] }
}

function encoded(path) {
  return path.toWellFormed().replace(/[^!-~]|["#<>\\`{}]|%(?![0-9a-f]{2})/giu, encodeURIComponent)
}
