// One call, whole: what was asked, what was said, and what can be done with it.
import { post } from "../api.js"
import { announce, busy, button, el } from "../dom.js"
import { visible } from "../format.js"
import { answerView } from "./answer.js"
import { copyButton } from "./copy.js"
import { confirm } from "./dialog.js"
import { problemNotice, showProblem } from "./notice.js"
import { curlOfCall, requestView } from "./request.js"

const SAFE = ["GET", "HEAD", "OPTIONS", "TRACE"]

/** A token exchange is Switchboard's own: it is shown, and not sent again by hand. */
export function callDetail(call, { close, open }) {
  return [
    el("header", { class: "call__header" },
      el("h2", { class: "call__title data", id: "call-title", tabindex: -1 }, el("span", { class: "call__method" }, visible(call.method)), " ", visible(call.url)),
      button("✕", close, { kind: "quiet", "aria-label": "Close the call", title: "Close (Esc)" })),
    el("div", { class: "call__actions" },
      call.origin === "token" ? null : [
        button("Replay", (event) => replay(event.currentTarget, call, open), { kind: "primary" }),
        el("a", { class: "button", href: `/send?from=${call.id}` }, "Edit and send"),
      ],
      copyButton("Copy as cURL", () => curlOfCall(call), { class: "button" })),
    el("section", { "aria-labelledby": "call-answer" }, el("h3", { id: "call-answer" }, "Answer"), answerView(call)),
    el("section", { "aria-labelledby": "call-request" }, el("h3", { id: "call-request" }, "Request"), requestView(call)),
    el("section", { "aria-labelledby": "call-facts" }, el("h3", { id: "call-facts" }, "Record"), factsOf(call)),
  ]
}

/** In the place of a call that could not be had. */
export function callProblem(error, close) {
  return [el("h2", { class: "visually-hidden", id: "call-title", tabindex: -1 }, "Call"), problemNotice(error), el("div", {}, button("Back to the list", close))]
}

async function replay(control, call, open) {
  if (!SAFE.includes(call.method) && !await confirm("Send it again?", `${call.method} changes things on the other side, and it may do so twice.`, "Send again")) return
  try {
    const made = await busy(control, () => post(`/api/calls/${call.id}/replays`))
    announce("Replayed", { shown: true })
    open(made)
  } catch (error) {
    showProblem(error)
  }
}

function factsOf(call) {
  const generation = call.attempts?.findLast(({ token_generation }) => token_generation != null)?.token_generation
  const facts = [
    ["Connection", el("a", { href: `/connections#connection-${call.connection}` }, visible(call.connection))],
    ["Origin", visible(call.origin)],
    ["Started", el("time", { datetime: call.started_at }, new Date(call.started_at).toLocaleString())],
    ["State", visible(call.state)],
    generation == null ? null : ["Token generation", String(generation)],
    call.replay_of ? ["Replay of", el("a", { class: "data", href: `/history/${call.replay_of}` }, call.replay_of)] : null,
    call.recorded === false ? ["On disk", "Not yet: the database fails, and the record waits in memory."] : null,
    ["Id", el("span", { class: "data" }, call.id)],
    call.response?.body?.sha256 ? ["SHA-256 of the answer", el("span", { class: "data" }, call.response.body.sha256)] : null,
  ].filter(Boolean)
  return el("dl", { class: "facts" }, facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]))
}
