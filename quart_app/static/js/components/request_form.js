// The request that is being written: its fields as one plain object, both ways.
import { byId, fill } from "../dom.js"
import { startIdempotency } from "./idempotency.js"
import { pairs } from "./pairs.js"
import { partRows } from "./parts.js"
import { setCount, tabs } from "./tabs.js"

const HEADER_NAMES = ["Accept", "Accept-Language", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Prefer", "Range"]

/** Returns { read, write, tidy }; the object is {connection, method, path, query, headers, key, kind, body, form, parts, file}. */
export function requestForm(changed) {
  const fields = { connection: byId("send-connection"), method: byId("send-method"), path: byId("send-path"), kind: byId("send-kind"), key: byId("send-key"), body: byId("send-body") }
  const rows = {
    query: pairs("Query", { onchange: update }),
    headers: pairs("Header", { onchange: update, names: HEADER_NAMES }),
    form: pairs("Form field", { onchange: update }),
    parts: partRows(update),
  }
  byId("send-query").append(rows.query.element)
  byId("send-headers").append(rows.headers.element)
  byId("send-form-rows").append(rows.form.element)
  byId("send-part-rows").append(rows.parts.element)
  const parts = tabs("Request", [...byId("request-parts").children].map((pane) => [pane.dataset.tab, pane]))
  fill(byId("request-parts"), parts)

  function read() {
    const texts = Object.entries(fields).map(([name, field]) => [name, field.value])
    const lists = Object.entries(rows).map(([name, list]) => [name, list.read()])
    return { ...Object.fromEntries(texts), ...Object.fromEntries(lists), file: byId("send-file").files[0] ?? null }
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
    const { query, headers, key, kind } = read()
    byId("send-body-field").hidden = kind !== "json" && kind !== "text"
    byId("send-form-rows").hidden = kind !== "form"
    byId("send-part-rows").hidden = kind !== "multipart"
    byId("send-file-field").hidden = kind !== "file"
    ;[query.length, headers.length + (key ? 1 : 0), kind === "none" ? "" : "•"].forEach((count, index) => setCount(parts, index, count))
    changed()
  }

  for (const field of [...Object.values(fields), byId("send-file")]) field.addEventListener("input", update)
  startIdempotency(update)
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
