// One call, whole: what was asked, what was said, and what can be done with it.
import { post } from "../api.js"
import { announce, busy, button, el } from "../dom.js"
import { visible } from "../format.js"
import { answerView } from "./answer.js"
import { attemptsView } from "./attempts.js"
import { connectionPath } from "./connection_link.js"
import { copyButton } from "./copy.js"
import { confirm } from "./dialog.js"
import { problemNotice, showProblem } from "./notice.js"
import { curlOfCall, requestView } from "./request.js"
import { marked } from "./secret_mark.js"

const SAFE = ["GET", "HEAD", "OPTIONS", "TRACE"]

/** A token exchange is Switchboard's own, and a WebSocket a talk: they are shown, and not sent again by hand. */
export function callDetail(call, { close, open, compare }) {
  const problem = el("div", { role: "alert", class: "call__problem" })
  return el("div", { class: "call", dataset: { connection: call.connection } },
    el("header", { class: "call__header" },
      el("h2", { class: "call__title data", id: "call-title", tabindex: -1 }, el("span", { class: "call__method" }, visible(call.method)), " ", marked(call.url)),
      button("✕", close, { kind: "quiet", "aria-label": "Close the call", title: "Close (Esc)" })),
    el("div", { class: "call__actions" },
      call.origin === "token" || call.websocket ? null : [
        button("Replay", (event) => replay(event.currentTarget, call, open, problem), { kind: "primary" }),
        el("a", { class: "button", href: `/send?from=${call.id}` }, "Edit and send"),
      ],
      copyButton("Copy as cURL", () => curlOfCall(call), { class: "button" }),
      call.replay_of ? el("a", { class: "button", href: `/history/${call.replay_of}/diffs/${call.id}` }, "Compare with the original") : null,
      button(call.replay_of ? "Compare with another" : "Compare", () => compare(call), { title: "Choose another call; both are shown side by side" })),
    problem,
    el("section", { "aria-labelledby": "call-answer" }, el("h3", { id: "call-answer" }, "Answer"), answerView(call, { attempts: false })),
    el("section", { "aria-labelledby": "call-attempts" }, el("h3", { id: "call-attempts" }, "Where the time went"), attemptsView(call)),
    el("section", { "aria-labelledby": "call-request" }, el("h3", { id: "call-request" }, "Request"), requestView(call)),
    el("section", { "aria-labelledby": "call-facts" }, el("h3", { id: "call-facts" }, "Record"), factsOf(call)))
}

/** In the place of a call that could not be had. */
export function callProblem(error, close) {
  return [el("h2", { class: "visually-hidden", id: "call-title", tabindex: -1 }, "Call"), problemNotice(error), el("div", {}, button("Back to the list", close))]
}

/** A replay of a call with secrets in it gets the live ones from the server, or its refusal says what is missing. */
async function replay(control, call, open, problem) {
  if (!SAFE.includes(call.method) && !await confirm("Send it again?", `${call.method} changes things on the other side, and it may do so twice.`, "Send again")) return
  try {
    const made = await busy(control, () => post(`/api/calls/${call.id}/replays`))
    announce("Replayed", { shown: true })
    open(made)
  } catch (error) {
    showProblem(error, problem)
  }
}

function factsOf(call) {
  const generation = call.attempts?.findLast(({ token_generation }) => token_generation != null)?.token_generation
  const facts = [
    ["Connection", el("a", { href: connectionPath(call.connection) }, visible(call.connection))],
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
