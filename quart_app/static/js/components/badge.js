// The small coloured words: a call's outcome, a connection's state.
import { el } from "../dom.js"
import { visible } from "../format.js"

const STATES = {
  ready: ["good", "Ready"],
  needs_sign_in: ["warning", "Needs sign-in"],
  config_error: ["bad", "Set-up fault"],
  paused: ["plain", "Paused"],
}

export function connectionBadge({ state }) {
  const [kind, label] = STATES[state] ?? ["plain", state]
  return el("span", { class: `badge badge--${kind}`, dataset: { state } }, visible(label))
}

/** The status of the answer or, without one, how the call ended. */
export function callBadge({ state, status, reason }) {
  const label = state === "done" ? String(status) : state
  return el("span", { class: `badge badge--${kindOf(state, status)}`, dataset: { state, status: status ?? "" }, title: reason ? visible(reason) : null }, visible(label))
}

/** How one attempt ended. */
export function attemptBadge({ status, reason }) {
  return el("span", { class: `badge badge--${status ? kindOf("done", status) : "bad"}` }, status ? String(status) : visible((reason ?? "no answer").replaceAll("_", " ")))
}

/** Said in red wherever the connection shows: whom it talks to is not checked. */
export function unverifiedBadge({ tls }) {
  if (tls?.verify !== false) return null
  return el("span", { class: "badge badge--bad", dataset: { unverified: "" }, title: "Certificates are not checked: anyone on the way can read and change its calls, secrets included." }, "TLS not verified")
}

function kindOf(state, status) {
  if (state === "sending") return "busy"
  if (state === "failed") return "bad"
  if (state !== "done") return "warning"
  return ["plain", "plain", "good", "info", "warning", "bad"][Math.floor(status / 100)] ?? "plain"
}
