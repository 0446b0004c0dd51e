// The answer of a call, or why there is none: alike on Send and in History.
import { el } from "../dom.js"
import { bytes, duration, visible } from "../format.js"
import { attemptsView } from "./attempts.js"
import { callBadge } from "./badge.js"
import { bodyView } from "./body.js"
import { headersView } from "./headers.js"
import { notice } from "./notice.js"
import { reasonOf } from "./reasons.js"
import { tabs } from "./tabs.js"

export function answerView(call) {
  const { response, attempts = [] } = call
  return el("div", { class: "answer", dataset: { call: call.id } },
    answerFacts(call),
    reasonNotice(call),
    tabs("Answer", [
      ["Body", bodyView(response?.body, `/api/calls/${call.id}/response-body`, response ? "The answer has no body." : "No answer came.")],
      ["Headers", headersView(response?.headers, response ? undefined : "No answer came."), response?.headers.length || null],
      ["Attempts", attemptsView(attempts), attempts.length > 1 ? attempts.length : null],
    ], { chosen: response || !attempts.length ? 0 : 2 }))
}

function answerFacts(call) {
  return el("p", { class: "answer__facts" }, callBadge(call),
    el("span", { class: "data", title: "Time" }, duration(call.duration_seconds)),
    call.response?.body ? el("span", { class: "data", title: "Size" }, bytes(call.response.body.size)) : null)
}

function reasonNotice(call) {
  const reason = reasonOf(call)
  if (!reason) return null
  return notice(call.state === "failed" ? "bad" : "warning", reason.says,
    call.detail ? el("p", {}, visible(call.detail)) : null,
    el("p", {}, reason.advice),
    call.reason ? el("p", { class: "notice__small data" }, visible(call.reason)) : null)
}
