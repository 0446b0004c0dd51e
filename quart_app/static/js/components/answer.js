// The answer of a call, or why there is none: alike on Send and in History.
import { el } from "../dom.js"
import { bytes, duration, visible } from "../format.js"
import { attemptsView } from "./attempts.js"
import { callBadge } from "./badge.js"
import { bodyView } from "./body.js"
import { headersView } from "./headers.js"
import { notice } from "./notice.js"
import { budgetNote } from "./budget.js"
import { fixLink } from "./connection_link.js"
import { PASSING, reasonOf } from "./reasons.js"
import { inShort, storyView } from "./story.js"
import { tabs } from "./tabs.js"
import { websocketView } from "./websocket.js"

/** `attempts` false leaves them out, where they stand in a section of their own. */
export function answerView(call, { attempts: shown = true } = {}) {
  const { response, attempts = [] } = call
  const parts = [
    ["Body", bodyView(response?.body, `/api/calls/${call.id}/response-body`, nothing(call), call.connection)],
    ["Headers", headersView(response?.headers, response ? undefined : "No answer came."), response?.headers.length || null],
  ]
  if (shown) parts.push(["Attempts", attemptsView(call), attempts.length > 1 ? attempts.length : null])
  return el("div", { class: "answer", dataset: { call: call.id, connection: call.connection } },
    answerFacts(call),
    reasonNotice(call),
    storyView(call),
    call.websocket ? websocketView(call.websocket) : null,
    tabs("Answer", parts, { chosen: response || !attempts.length || !shown ? 0 : 2 }))
}

function nothing({ response, websocket }) {
  if (websocket) return "A WebSocket’s frames are counted, not kept."
  return response ? "The answer has no body." : "No answer came."
}

function answerFacts(call) {
  return el("p", { class: "answer__facts" }, callBadge(call),
    el("span", { class: "data", title: "Time" }, duration(call.duration_seconds)),
    call.response?.body ? el("span", { class: "data", title: "Size" }, bytes(call.response.body.size)) : null,
    inShort(call).map((words) => el("span", { class: "data" }, words)))
}

function reasonNotice(call) {
  const reason = reasonOf(call)
  if (!reason) return null
  return notice(call.state === "failed" ? "bad" : "warning", reason.says,
    call.detail ? el("p", {}, visible(call.detail)) : null,
    el("p", {}, reason.advice, reason.fix ? [" ", fixLink(call.connection, reason.fix)] : null),
    PASSING[call.reason] ? budgetNote(call.connection, PASSING[call.reason]) : null,
    call.reason ? el("p", { class: "notice__small data" }, visible(call.reason)) : null)
}
