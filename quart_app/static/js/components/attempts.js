// What happened on the wire: the time of all attempts on one axis, and where each of them went.
import { el } from "../dom.js"
import { visible } from "../format.js"
import { marked } from "./secret_mark.js"
import { waterfall } from "./waterfall.js"

export function attemptsView(call) {
  const { attempts = [] } = call
  return el("div", { class: "attempts" },
    waterfall(call),
    attempts.length ? el("ul", { class: "attempts__facts", "aria-label": "Where each attempt went" }, attempts.map((attempt) => factsOf(attempt, attempts.length))) : el("p", { class: "faint" }, "Nothing was sent."))
}

function factsOf({ number, url, remote_address, token_generation }, count) {
  const facts = [
    url ? marked(url) : null,
    remote_address ? [visible(remote_address)] : null,
    token_generation == null ? null : [`token generation ${token_generation}`],
  ].filter(Boolean)
  if (!facts.length) return null
  return el("li", {}, count > 1 ? `Attempt ${number}: ` : "", facts.flatMap((fact, index) => (index ? [" · ", ...fact] : fact)))
}
