// The request of a recorded call as it went out, without its secrets.
import { el } from "../dom.js"
import { get } from "../api.js"
import { bodyView, textOf } from "./body.js"
import { curl } from "./curl.js"
import { headersView } from "./headers.js"
import { tabs } from "./tabs.js"

export function requestView(call) {
  const { headers, body } = call.request
  return el("div", { class: "request", dataset: { connection: call.connection } }, tabs("Request", [
    ["Body", bodyView(body, `/api/calls/${call.id}/request-body`, "The request has no body.", call.connection)],
    ["Headers", headersView(headers), headers?.length || null],
  ], { chosen: body ? 0 : 1 }))
}

/** With the placeholders of the connection's scheme, as long as the connection is there. */
export async function curlOfCall({ connection, method, url, request }) {
  const auth = await get(`/api/connections/${connection}`).then((found) => found.auth, () => null)
  return curl({ method, url, headers: request.headers, body: bodyOf(request.body) }, auth)
}

function bodyOf(body) {
  if (!body?.size) return null
  const text = textOf(body)
  return text === null || body.truncated ? { file: "request-body" } : { text }
}
