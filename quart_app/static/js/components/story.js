// What happened to a call, sentence by sentence, for someone who knows none of it. Silent where it simply went and came back.
import { el } from "../dom.js"
import { duration, plural, visible } from "../format.js"
import { fixLink } from "./connection_link.js"
import { nextOf } from "./next_reasons.js"
import { reasonOf } from "./reasons.js"
import { marked } from "./secret_mark.js"
import { waitOf } from "./waits.js"

const WORTH_TELLING_SECONDS = 0.05
const REDIRECTS = [301, 302, 303, 307, 308]

export function storyView(call) {
  const { attempts = [] } = call
  const told = new Set()
  const lines = [...attempts.flatMap((attempt, index) => linesOf(attempt, call, attempts[index - 1], told)), ...leftUndone(call)]
  const waitedInVain = !attempts.length && call.waited_seconds > WORTH_TELLING_SECONDS
  if (waitedInVain) lines.unshift(line("wait", `It waited ${duration(call.waited_seconds)}.`))
  if (attempts.length < 2 && !lines.some(({ dataset }) => dataset.kind !== "attempt")) return null
  return el("ol", { class: "story", "aria-label": "What happened" }, lines)
}

/** `told` are the reasons that were explained already: the second time a word is enough. */
function linesOf(attempt, call, before, told) {
  const next = nextOf(attempt.next_reason)
  const followed = next && !next.ended ? ` ${next.says}${once(told, attempt.next_reason) ? `: ${next.because}` : ""}.` : ""
  return [waitLine(attempt, call, told), el("li", { class: "story__line", dataset: { kind: "attempt" } }, attemptWords(attempt, call, before, told), followed),
    next?.ended ? line("stop", next.says, fixLink(call.connection, next.fix)) : null].filter(Boolean)
}

const once = (told, reason) => !told.has(reason) && told.add(reason)

function waitLine({ waited_seconds: waited, wait_reason: reason }, { connection }, told) {
  if (!(waited > WORTH_TELLING_SECONDS)) return null
  const { because, fix } = waitOf(reason)
  if (!once(told, reason)) return line("wait", `It waited ${duration(waited)} once more.`)
  return line("wait", `It waited ${duration(waited)}. ${because}`, fixLink(connection, fix))
}

function attemptWords(attempt, call, before, told) {
  const came = attempt.status ? `was answered ${attempt.status} after ${duration(attempt.duration_seconds)}` : `got no answer in ${duration(attempt.duration_seconds)}`
  const failure = attempt.status ? null : reasonOf({ state: "failed", reason: attempt.reason })
  const why = failure && once(told, attempt.reason) ? ` ${failure.says}` : ""
  return [`Attempt ${attempt.number} `, attempt.url ? ["went to ", el("span", { class: "data" }, marked(attempt.url)), otherOrigin(attempt, call, before), " and "] : "",
    `${came}${failure && !why ? ", as before" : ""}.`, why].flat()
}

function otherOrigin(attempt, call, before) {
  const crossed = originOf(attempt.url) !== originOf(before?.url ?? call.url)
  return crossed ? ", which is another origin, so without the credentials," : ""
}

function originOf(url) {
  try {
    return new URL(url).origin
  } catch {
    return url
  }
}

/** A redirect that was only passed on. */
function leftUndone({ status, state, connection, response, attempts = [] }) {
  if (state !== "done" || !REDIRECTS.includes(status) || attempts.at(-1)?.next_reason) return []
  const place = response?.headers.find(([name]) => name.toLowerCase() === "location")?.[1]
  if (!place) return []
  return [line("stop", ["The API points to ", el("span", { class: "data" }, marked(place)), ". It was not followed: this connection does not follow redirects."],
    fixLink(connection, { field: "/policy/follow_redirects", label: "Follow redirects" }))]
}

function line(kind, says, link = null) {
  return el("li", { class: "story__line", dataset: { kind } }, typeof says === "string" ? visible(says) : says, link ? [" ", link] : null)
}

/** In a few words, for beside the badge: attempts and waits. */
export function inShort({ attempts = [], waited_seconds: waited }) {
  return [attempts.length > 1 ? plural(attempts.length, "attempt") : null, waited > WORTH_TELLING_SECONDS ? `waited ${duration(waited)}` : null].filter(Boolean)
}
