// The written request as the API takes it, as a URL, and as a cURL command.
import { readJson } from "../json.js"
import { curl } from "./curl.js"

/** Throws a SyntaxError if the body should be JSON and is not. */
export function callOf({ connection, method, path, query, headers, kind, body, form }) {
  const call = { connection, method, path, query, headers }
  if (kind === "json") return { ...call, json: readJson(body) }
  if (kind === "text") return { ...call, text: body }
  return kind === "form" ? { ...call, form } : call
}

/** `connection` as the API shows it; without one, the path alone. */
export function urlOf({ path, query }, connection) {
  const base = connection?.base_url.replace(/\/$/, "") ?? ""
  const search = query.length ? `?${new URLSearchParams(query).toString().replaceAll("+", "%20")}` : ""
  return `${base}${path && !path.startsWith("/") ? "/" : ""}${path}${search}`
}

export function curlOf(request, connection) {
  const { method, kind, headers, form, body: text } = request
  const typed = headers.some(([name]) => name.toLowerCase() === "content-type")
  const body = { json: { text }, text: { text }, form: { form }, none: null }[kind]
  return curl({ method, url: urlOf(request, connection), headers: kind === "json" && !typed ? [...headers, ["Content-Type", "application/json"]] : headers, body }, connection?.auth)
}
