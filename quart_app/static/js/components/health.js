// How a connection is, as the doctor says it: one sentence, what to do, and the facts it rests on.
import { el } from "../dom.js"
import { duration, moment, plural, until, visible } from "../format.js"
import { causeWords, stateWords } from "./exchange_words.js"

const TROUBLE = { paused: ["plain", "Paused"], not_signed_in: ["warning", "Needs sign-in"], signed_out: ["warning", "Needs sign-in"], wrong_client: ["bad", "Set-up fault"] }

export function healthBadge({ well, state, failure }) {
  const [kind, label] = well ? ["good", "Well"] : TROUBLE[failure.class] ?? ["bad", "Not well"]
  return el("span", { class: `badge badge--${kind}`, dataset: { well: String(well), state } }, label)
}

/** The sentence, what to do, and the words of who refused. */
export function healthWords(health) {
  const { summary, next, failure } = health
  return [
    el("p", { class: "health__summary" }, visible(summary)),
    next === "Nothing." ? null : el("p", { class: "health__next" }, el("strong", {}, "What to do: "), visible(next)),
    failure?.detail && failure.class !== "refused" ? el("p", { class: "health__detail faint" }, visible(failure.detail)) : null,
  ]
}

export function healthFacts(health) {
  const lines = [
    ["Next try", at(health.retry_at)],
    ["Last exchange", exchangeWords(health.last_exchange)],
    ["Token", tokenWords(health)],
    ["Scope", scopeWords(health.token)],
    ["Sign in again", health.token ? againWords(health.sign_in_again) : null],
    ["Signed in", health.signed_in ? `${moment(health.signed_in.at)} by ${visible(health.signed_in.by)}` : null],
    ["Last used", useWords(health.last_used)],
    ["Latest calls", failingWords(health.calls_failing)],
    ["Clock", clockWords(health.clock_skew_seconds)],
    ["Odd", health.oddities.length ? el("ul", {}, health.oddities.map((said) => el("li", {}, visible(said)))) : null],
  ]
  return el("dl", { class: "health__facts" }, lines.filter(([, says]) => says).map(([name, says]) => el("div", { class: "health__fact" }, el("dt", {}, name), el("dd", {}, says))))
}

const at = (instant) => (instant ? `${moment(instant)}${until(instant) ? ` (${until(instant)})` : ""}` : null)

function exchangeWords(exchange) {
  if (!exchange) return null
  const [kind, word] = stateWords(exchange.state)
  return [el("span", { class: `badge badge--${kind}` }, word), ` ${moment(exchange.claimed_at)}. ${causeWords(exchange.cause)}. `,
    exchange.sent_at ? el("a", { href: `/history/${exchange.id}` }, "See the call") : null]
}

function tokenWords({ token, state }) {
  if (!token) return null
  if (!token.refreshed_at) return "None yet."
  const end = token.expires_at ? `${until(token.expires_at) ? "Good until" : "Ended"} ${at(token.expires_at)}` : "The provider does not say when it ends"
  const ahead = state === "ready" && token.refresh_at && until(token.refresh_at) ? `, refreshed ahead at ${moment(token.refresh_at)}` : ""
  return `Generation ${token.generation}. ${end}${ahead}. ${token.has_refresh_token ? "With a refresh token." : "Without a refresh token."}`
}

function scopeWords(token) {
  if (!token?.scope) return null
  const missing = token.scope_missing.length ? [" ", el("strong", { class: "health__missing" }, `Not granted: ${visible(token.scope_missing.join(", "))}`)] : []
  return [el("span", { class: "data" }, visible(token.scope)), ...missing]
}

function againWords({ when, at: instant, why }) {
  const said = { now: "Now.", never: "Not needed.", unknown: "Not known.", at: `By ${at(instant)}.` }[when]
  return [el("strong", {}, said), ` ${visible(why)}`]
}

function useWords(use) {
  if (!use) return null
  return [`${moment(use.at)} by ${visible(use.actor)}, ${visible(use.origin)}${use.status ? `, answered ${use.status}` : ", without an answer"}. `, el("a", { href: `/history/${use.call}` }, "See the call")]
}

const failingWords = (failing) => (failing ? `${failing.failed} of the last ${plural(failing.of, "call")} failed.` : null)

function clockWords(skew) {
  if (skew == null) return null
  return Math.abs(skew) < 2 ? "As the provider’s." : `${duration(Math.abs(skew))} ${skew > 0 ? "ahead of" : "behind"} the provider’s.`
}
