// The only file that talks to the server. Every failure is a Problem with a title and a detail fit to show.
import { exactNumbers, writeJson } from "./json.js"

export class Problem extends Error {
  constructor(problem) {
    super(problem.detail || problem.title)
    this.problem = { errors: [], ...problem }
  }
}

export const get = (path, options) => request("GET", path, undefined, options)
export const post = (path, body = {}, options) => request("POST", path, body, options)
export const patch = (path, body, options) => request("PATCH", path, body, options)
export const remove = (path, options) => request("DELETE", path, undefined, options)

/** Every item of a list, page after page. */
export async function getAll(path) {
  const items = []
  let cursor = ""
  do {
    const page = await get(withQuery(path, { limit: 500, cursor }))
    items.push(...page.items)
    cursor = page.next
  } while (cursor)
  return items
}

/** The path with those parameters that are not empty. */
export function withQuery(path, parameters) {
  const used = Object.entries(parameters).filter(([, value]) => value !== "" && value != null)
  return used.length ? `${path}?${new URLSearchParams(used)}` : path
}

async function request(method, path, body, { signal, redirect = true } = {}) {
  const response = await reach(method, path, body, signal)
  const answer = await read(response)
  if (response.ok) return answer
  if (response.status === 401 && redirect) location.assign("/sign-in")
  throw new Problem({ status: response.status, title: `The server answered ${response.status}`, ...answer })
}

async function reach(method, path, body, signal) {
  const headers = { Accept: "application/json", "X-Requested-By": "switchboard" }
  if (body !== undefined) headers["Content-Type"] = "application/json"
  try {
    return await fetch(path, { method, headers, signal, body: body === undefined ? undefined : writeJson(body) })
  } catch (error) {
    if (error.name === "AbortError") throw error
    throw new Problem({ title: "Switchboard does not answer", code: "unreachable", detail: "See whether it is still running, then try again." })
  }
}

async function read(response) {
  const text = await response.text()
  if (!/\bjson\b/.test(response.headers.get("Content-Type") ?? "")) return null
  return text ? JSON.parse(text, exactNumbers) : null
}

/**
 * Server-sent events, each kind to its handler: {call, connection, run}. A tab in the background lets go of its line, since
 * a browser has few for one host. `opened` runs each time the line is up (again): what was said in between is to be asked for.
 */
export function listen(handlers, { opened = () => {}, lost = () => {} } = {}) {
  let source = null
  const open = () => {
    source = new EventSource("/api/events")
    source.addEventListener("open", opened)
    source.addEventListener("error", () => { lost(); if (source?.readyState === EventSource.CLOSED) setTimeout(reopen, 3000, source) })
    for (const [kind, handle] of Object.entries(handlers)) {
      source.addEventListener(kind, (event) => handle(JSON.parse(event.data, exactNumbers)))
    }
  }
  const close = () => { source?.close(); source = null }
  const reopen = async (dead) => {
    await get("/api/connections?limit=1").catch(() => {})
    if (source === dead) { close(); open() }
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close()
    else if (!source) open()
  })
  addEventListener("pagehide", close)
  addEventListener("pageshow", () => { if (!source) open() })
  open()
}
