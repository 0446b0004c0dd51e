// The ledger of a connection: every exchange with its token endpoint, newest first, as a table that stacks where it is narrow.
import { get, withQuery } from "../api.js"
import { button, el, fill } from "../dom.js"
import { duration, moment, secondsOf, visible } from "../format.js"
import { causeWords, classWords, IN_DOUBT, stateWords } from "./exchange_words.js"

const PAGE = 10
const TITLES = ["When", "Why", "What happened", "Generation", "Took"]

/** An event "refresh" on it asks anew; it holds as many rows as a person asked for. */
export function exchangesView(name) {
  const rows = el("tbody", {})
  const older = button("Show older ones", () => load(PAGE), { hidden: true })
  const none = el("p", { class: "faint", hidden: true }, "No token was asked for yet.")
  const table = el("table", { class: "ledger", hidden: true }, el("caption", { class: "visually-hidden" }, "Token exchanges, newest first"),
    el("thead", {}, el("tr", {}, TITLES.map((title) => el("th", { scope: "col" }, title)))), rows)
  let shown = PAGE
  const load = async (more) => {
    const limit = Math.min(500, shown + more)
    const page = await get(withQuery(`/api/connections/${encodeURIComponent(name)}/token-exchanges`, { limit })).catch(() => null)
    if (!page) return
    shown = limit
    fill(rows, page.items.map(rowOf))
    table.hidden = !page.items.length
    none.hidden = Boolean(page.items.length)
    older.hidden = !page.next || limit === 500
  }
  const view = el("div", { class: "ledger__frame" }, table, none, older)
  view.addEventListener("refresh", () => load(0))
  load(0)
  return view
}

function rowOf(exchange) {
  const { id, cause, generation, claimed_at: claimed, sent_at: sent, ended_at: ended } = exchange
  const when = el("time", { class: "data", datetime: claimed, title: new Date(claimed).toLocaleString() }, moment(claimed))
  return el("tr", { dataset: { exchange: id, state: exchange.state } },
    el("th", { scope: "row" }, sent ? el("a", { href: `/history/${id}`, "aria-label": `The exchange of ${moment(claimed)} on record` }, when) : when),
    el("td", {}, causeWords(cause)),
    el("td", { class: "ledger__outcome" }, steps(exchange), trouble(exchange), oddities(exchange)),
    el("td", { class: "data", dataset: { title: "Generation" } }, generationWords(exchange, generation)),
    el("td", { class: "data", dataset: { title: "Took" } }, ended ? duration(secondsOf(ended) - secondsOf(claimed)) : "–"))
}

/** claimed → sent → stored: the way it went, the last step as a badge. */
function steps({ state, sent_at: sent }) {
  const [kind, word] = stateWords(state)
  const before = [state === "claimed" ? null : "claimed", sent && state !== "sent" ? "sent" : null].filter(Boolean)
  return el("p", { class: "ledger__steps" }, el("span", { class: "faint" }, before.map((step) => `${step} → `).join("")), el("span", { class: `badge badge--${kind}` }, word))
}

function trouble({ state, failure, reason, detail }) {
  if (state === "stored" || (!failure && !detail)) return null
  const code = failure && reason && reason !== failure && !detail?.includes(`(${reason})`) ? ` (${reason})` : ""
  const kind = failure ? el("strong", {}, visible(`${classWords(failure)}${code}${detail ? ": " : ""}`)) : null
  return [el("p", { class: "ledger__trouble" }, kind, visible(detail ?? "")), state === "in_doubt" ? el("p", { class: "faint" }, IN_DOUBT) : null]
}

function oddities({ oddities: said, skew_seconds: skew }) {
  const clock = Math.abs(skew ?? 0) > 30 ? [`This machine’s clock was ${duration(Math.abs(skew))} ${skew > 0 ? "ahead" : "behind"}.`] : []
  return [...said, ...clock].map((text) => el("p", { class: "faint" }, `Odd: ${visible(text)}`))
}

function generationWords({ state }, generation) {
  return state === "stored" ? `${generation} → ${generation + 1}` : String(generation)
}
