// A connection's budget as it is: places, rates, what the API said, the breaker. It keeps itself up to date while it is seen.
import { get } from "../api.js"
import { el, fill } from "../dom.js"
import { budgetInShort, budgetLines } from "./budget_words.js"
import { meter } from "./meter.js"
import { whileSeen } from "./poll.js"

/** All of it, for the connection's page. An event "refresh" on it asks at once, as on all of these. */
export function budgetView(name, seconds = 2) {
  return live(el("dl", { class: "budget", "aria-label": "Budget" }), name, seconds, (limits) => budgetLines(limits).map(lineView))
}

/** One line, for a card; empty where there is nothing to ask. */
export function budgetLine(name, seconds = 5) {
  return live(el("span", { class: "budget-line" }), name, seconds, (limits) => {
    const { trouble, says } = budgetInShort(limits)
    return [el("span", { class: "faint data" }, says), ...trouble.map(troubleBadge)]
  })
}

function troubleBadge({ name, word, kind, says }) {
  return el("span", { class: `badge badge--${kind}`, title: says }, name === word ? word : `${name} ${word.toLowerCase()}`)
}

/** How it is just now, beside a call that was not sent for it; `kinds` are the keys of the lines that matter. */
export function budgetNote(name, kinds) {
  return live(el("div", { class: "budget-note" }), name, 2, (limits) => {
    const trouble = budgetLines(limits).filter(({ key, kind }) => kinds.includes(key) && kind !== "good")
    return trouble.length ? trouble.map(({ name: of, says }) => el("p", {}, el("strong", {}, `${of} now: `), says)) : el("p", {}, el("strong", {}, "Now: "), "nothing holds calls back any more. Send it again.")
  })
}

function live(element, name, seconds, view) {
  const refresh = whileSeen(element, seconds, async () => {
    try {
      fill(element, view(await get(`/api/connections/${encodeURIComponent(name)}/limits`)))
    } catch (error) {
      if (error.problem?.status === 404 || error.problem?.status === 405) { element.remove(); return false }
    }
  })
  element.addEventListener("refresh", refresh)
  return element
}

function lineView({ name, says, kind, word, share }) {
  return el("div", { class: `budget__line budget__line--${kind}` },
    el("dt", {}, name),
    el("dd", {}, share === undefined ? null : meter(share, name), word ? el("span", { class: `badge badge--${kind}` }, word) : null, el("span", {}, says)))
}
