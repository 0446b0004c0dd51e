// The request in the address of the page, behind the #: a reload keeps it, and no server ever sees it there.
import { isAutomatic } from "./curl.js"
import { textOf } from "./body.js"
import { hasMark } from "./redaction.js"
import { splitPath } from "./request_form.js"

const LISTS = ["query", "headers", "form"]

export function toAddress(request) {
  const kept = Object.entries({ ...request, parts: "", file: "" }).filter(([name, value]) => value.length && !(name === "kind" && value === "none"))
  if (request.parts.length) kept.push(["parts", JSON.stringify(request.parts.map(({ file, ...part }) => part))])
  history.replaceState(null, "", `/send#${new URLSearchParams(kept.map(([name, value]) => [name, LISTS.includes(name) ? JSON.stringify(value) : value]))}`)
}

/** What the address says, of a link (?connection=…) or of an earlier visit (#…). */
export function fromAddress() {
  const found = Object.fromEntries([...new URLSearchParams(location.search), ...new URLSearchParams(location.hash.slice(1))])
  for (const name of LISTS) {
    if (name in found) found[name] = readList(found[name])
  }
  if ("parts" in found) found.parts = readParts(found.parts)
  return found
}

/** The files themselves are not in an address: they are to be chosen anew. */
function readParts(text) {
  try {
    return JSON.parse(text).map(({ name, kind, text: said, media_type }) => ({ name: String(name), kind: kind === "file" ? kind : "text", text: String(said), media_type: String(media_type) }))
  } catch {
    return []
  }
}

function readList(text) {
  try {
    return JSON.parse(text).map(([name, value]) => [String(name), String(value)])
  } catch {
    return []
  }
}

/** A recorded call as a request to edit: without what the connection adds, and without what was taken out of the record. */
export function fromCall(call, connection) {
  const base = connection?.base_url.replace(/\/$/, "") ?? ""
  const rest = base && call.url.startsWith(base) ? call.url.slice(base.length) : new URL(call.url).pathname + new URL(call.url).search
  const { path, query } = splitPath(rest)
  const added = Object.keys(connection?.headers ?? {}).map((name) => name.toLowerCase())
  const headers = call.request.headers.filter(([name, value]) => !isAutomatic(name, value) && !added.includes(name.toLowerCase()) && !hasMark(value) && !isKey(name))
  const [, key = ""] = call.request.headers.find(([name, value]) => isKey(name) && !hasMark(value)) ?? []
  return { connection: call.connection, method: call.method, path, query: query.filter(([, value]) => !hasMark(value)), headers, key, ...bodyOf(call.request.body, headers) }
}

/** The names of what had secrets in it that the connection does not add by itself: they are left out of the request to edit. */
export function leftOut(call, connection) {
  const own = ["authorization", "cookie", connection?.auth.name?.toLowerCase()]
  const parameters = URL.canParse(call.url) ? [...new URL(call.url).searchParams] : []
  const names = [...call.request.headers, ...parameters].filter(([, value]) => hasMark(value)).map(([name]) => name)
  return [...new Set(names)].filter((name) => !own.includes(name.toLowerCase()))
}

const isKey = (name) => name.toLowerCase() === "idempotency-key"

/** Whether what is left to edit still shows a place where a secret was: it would be sent as it stands there. */
export function hasGaps({ path, body = "", form = [] }) {
  return hasMark(path) || hasMark(body) || form.some(([, value]) => hasMark(value))
}

function bodyOf(body, headers) {
  const text = textOf(body)
  if (!body?.size || text === null) return { kind: "none", body: "", form: [] }
  if (body.media_type === "application/x-www-form-urlencoded") return { kind: "form", body: "", form: [...new URLSearchParams(text)] }
  const json = body.media_type === "application/json" && !body.truncated
  if (json) headers.splice(0, headers.length, ...headers.filter(([name]) => name.toLowerCase() !== "content-type"))
  return { kind: json ? "json" : "text", body: text, form: [] }
}
