// What a connection may still send just now, in plain words: lines of {key, name, says, kind, share} from GET …/limits.
import { moment, plural, until } from "../format.js"

const BREAKER_SECONDS = 30

export function budgetLines(limits) {
  return [gate(limits.breaker), places(limits), rate(limits), learned(limits.learned), held(limits.held_until), retries(limits.retries)].filter(Boolean)
}

/** `kind` is good, warning or bad; `share` is how full it is, 0 to 1. */
function gate({ state, calls, failures, probes_at, opened_count: opened }) {
  const often = opened ? ` It has opened ${plural(opened, "time")} since the start.` : ""
  const lately = calls ? `${failures} of ${plural(calls, "call")} failed in the last ${BREAKER_SECONDS} s.` : `No calls in the last ${BREAKER_SECONDS} s.`
  if (state === "open") return { key: "breaker", name: "Breaker", word: "Open", kind: "bad", says: `Nothing is sent: ${lately} One call is tried ${at(probes_at)}; when it is answered, all go on.${often}` }
  if (state === "half_open") return { key: "breaker", name: "Breaker", word: "Half open", kind: "warning", says: `One call at a time is let through, to see whether the API is well again.${often}` }
  return { key: "breaker", name: "Breaker", word: "Closed", kind: "good", says: `Calls go through. ${lately}${often}` }
}

function places({ in_flight: used, concurrency: all, waiting }) {
  const queue = waiting ? ` ${plural(waiting, "call")} ${waiting === 1 ? "waits" : "wait"} for one.` : ""
  return { key: "places", name: "Calls at once", says: `${used} of ${plural(all, "place")} taken.${queue}`, kind: waiting ? "warning" : "good", share: used / all }
}

function rate({ per_minute: most, sent_last_minute: sent }) {
  if (most == null) return { key: "rate", name: "Calls per minute", says: "No limit is set.", kind: "good" }
  return { key: "rate", name: "Calls per minute", says: `${sent} of ${most} in the last minute.${sent >= most ? " Further calls wait." : ""}`, kind: sent >= most ? "warning" : "good", share: sent / most }
}

function learned(told) {
  if (!told || (told.limit == null && told.remaining == null)) return { key: "learned", name: "What the API allows", says: "It has said nothing of a limit.", kind: "good" }
  const { limit, remaining, resets_at: resets } = told
  const left = remaining == null ? `It allows ${plural(limit, "call")} at a time.` : `It says that ${plural(remaining, "call")}${limit == null ? "" : ` of ${limit}`} ${remaining === 1 ? "is" : "are"} left.`
  const share = limit && remaining != null ? Math.min(1, (limit - remaining) / limit) : undefined
  return { key: "learned", name: "What the API allows", says: `${left}${resets && until(resets) ? ` New ones ${at(resets)}.` : ""}`, kind: remaining === 0 ? "warning" : "good", share }
}

function held(instant) {
  if (!instant || !until(instant)) return null
  return { key: "held", name: "Held", word: "Held", kind: "warning", says: `The API said to wait. Calls go on ${at(instant)}.` }
}

function retries({ calls, retries, left }) {
  return { key: "retries", name: "Retries", says: `${retries} for ${plural(calls, "call")} in the last ${BREAKER_SECONDS} s; ${left} more may be made.`, kind: left ? "good" : "warning" }
}

function at(instant) {
  if (!instant) return "soon"
  const left = until(instant)
  return left ? `at ${moment(instant)} (${left})` : "with the next call"
}

/** The same in one line, for a list: only the places, and what is not as it should be. */
export function budgetInShort(limits) {
  const trouble = budgetLines(limits).filter(({ kind, word }) => kind !== "good" && word)
  const { in_flight: used, concurrency: all, waiting } = limits
  const queue = waiting ? `, ${waiting} waiting` : ""
  return { trouble, says: `${used} of ${all} in flight${queue}` }
}
