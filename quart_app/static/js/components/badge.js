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

function kindOf(state, status) {
  if (state === "sending") return "busy"
  if (state === "failed") return "bad"
  if (state !== "done") return "warning"
  return ["plain", "plain", "good", "info", "warning", "bad"][Math.floor(status / 100)] ?? "plain"
}
