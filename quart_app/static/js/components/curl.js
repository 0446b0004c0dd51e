// A call as a cURL command. Where a secret belongs stands a placeholder; the secret itself never reaches the page.
import { everyMark, hasMark } from "./redaction.js"

const AUTOMATIC = new Set(["host", "content-length", "connection", "transfer-encoding", "accept-encoding", "user-agent"])
/** Headers that every client sets by itself. */
export const isAutomatic = (name, value) => AUTOMATIC.has(name.toLowerCase()) || (name.toLowerCase() === "accept" && value === "*/*")

/** request: {method, url, headers, body: {text} | {form} | {parts} | {file} | null}; auth as the API shows it, or null. */
export function curl({ method, url, headers = [], body = null }, auth = null) {
  const credential = credentialOf(auth)
  const shown = headers.filter(([name, value]) => !isAutomatic(name, value) && name.toLowerCase() !== credential.header)
  return ["curl " + [...methodOptions(method, body), address(url, credential.query)].join(" "),
    ...shown.map(header), ...(credential.option ? [credential.option] : []), ...bodyOptions(body)].join(" \\\n  ")
}

/** What the scheme adds: an option, and the header or the parameter that it stands for. */
function credentialOf(auth) {
  switch (auth?.scheme) {
    case "bearer":
    case "oauth2": return { option: `-H "Authorization: Bearer $TOKEN"`, header: "authorization" }
    case "basic": return { option: `-u "$USERNAME:$PASSWORD"`, header: "authorization" }
    case "api_key": return keyCredential(auth)
    default: return {}
  }
}

function keyCredential({ in: place, name }) {
  if (place === "query") return { query: encodeURIComponent(name) }
  if (place === "cookie") return { option: `-b "${harmless(name)}=$API_KEY"`, header: "cookie" }
  return { option: `-H "${harmless(name)}: $API_KEY"`, header: name.toLowerCase() }
}

function methodOptions(method, body) {
  if (method === "HEAD") return ["--head"]
  return method === (body ? "POST" : "GET") ? [] : ["-X", method]
}

function address(url, parameter) {
  let plain = url
  if (parameter && !url.includes(`${parameter}=[redacted`)) plain += `${url.includes("?") ? "&" : "?"}${parameter}=[redacted]`
  const named = new RegExp(`([^?&=']*)=${everyMark().source}`, "g")
  const quoted = quote(plain).replace(named, (_all, name) => `${name}='"${name === parameter ? "$API_KEY" : variable(name)}"'`)
  return `${/[[\]{}]/.test(quoted) ? "--globoff " : ""}${quoted.replace(/''$/, "")}`
}

function header([name, value]) {
  return hasMark(value) ? `-H "${harmless(name)}: ${variable(name)}"` : `-H ${quote(`${name}: ${value}`)}`
}

function bodyOptions(body) {
  if (!body) return []
  if (body.file) return [`--data-binary @${/^[\w.-]+$/.test(body.file) ? body.file : quote(body.file)}`]
  if (body.parts) return body.parts.map(partOption)
  if (body.form) return body.form.map(([name, value]) => `--data-urlencode ${quote(`${encodeURIComponent(name)}=${value}`)}`)
  return [`--data-raw ${quote(body.text)}`]
}

function partOption({ name, kind, text, file, media_type }) {
  const type = media_type ? `;type=${media_type}` : ""
  if (kind === "file") return `-F ${quote(`${name}=@${file?.name ?? "FILE"}${type}`)}`
  return type ? `-F ${quote(`${name}="${text.replace(/[\\"]/g, "\\$&")}"${type}`)}` : `--form-string ${quote(`${name}=${text}`)}`
}

export const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`
const harmless = (text) => text.replace(/["$`\\!]/g, "")
const variable = (name) => `$${name.toUpperCase().replace(/[^A-Z0-9]/g, "_")}`
