// The written request as the API takes it, as a URL, and as a cURL command.
import { readJson } from "../json.js"
import { base64Of } from "./base64.js"
import { curl } from "./curl.js"

/** Throws a SyntaxError if the body should be JSON and is not, an Error if a file is missing or cannot be read. */
export async function callOf({ connection, method, path, query, headers, key, ...body }) {
  const call = { connection, method, path, query, headers, ...(key ? { idempotency_key: key } : {}) }
  return { ...call, ...(await bodyOf(body, call)) }
}

async function bodyOf({ kind, body, form, parts, file }, { headers }) {
  switch (kind) {
    case "json": return { json: readJson(body) }
    case "text": return { text: body }
    case "form": return { form }
    case "multipart": return { multipart: await Promise.all(parts.map(partOf)) }
    case "file": return wholeFile(file, headers)
    default: return {}
  }
}

async function wholeFile(file, headers) {
  if (!file) throw new Error("Choose the file to send.")
  const typed = headers.some(([name]) => name.toLowerCase() === "content-type")
  const base64 = await base64Of(file)
  return { base64, headers: file.type && !typed ? [...headers, ["Content-Type", file.type]] : headers }
}

async function partOf({ name, kind, text, file, media_type }) {
  const part = { name, media_type: media_type || file?.type || null }
  if (kind === "text") return { ...part, text }
  if (!file) throw new Error(`Choose the file of the part ${name || "without a name"}.`)
  return { ...part, filename: file.name, base64: await base64Of(file) }
}

/** `connection` as the API shows it; without one, the path alone. */
export function urlOf({ path, query }, connection) {
  const base = connection?.base_url.replace(/\/$/, "") ?? ""
  const search = query.length ? `?${new URLSearchParams(query).toString().replaceAll("+", "%20")}` : ""
  return `${base}${path && !path.startsWith("/") ? "/" : ""}${path}${search}`
}

export function curlOf(request, connection) {
  const { method, kind, headers, form, parts, file, key, body: text } = request
  const typed = headers.some(([name]) => name.toLowerCase() === "content-type")
  const body = { json: { text }, text: { text }, form: { form }, multipart: { parts }, file: { file: file?.name ?? "FILE" }, none: null }[kind]
  const added = [key ? ["Idempotency-Key", key] : null, typed ? null : { json: ["Content-Type", "application/json"], file: ["Content-Type", file?.type || "application/octet-stream"] }[kind]]
  return curl({ method, url: urlOf(request, connection), headers: [...headers, ...added.filter(Boolean)], body }, connection?.auth)
}
