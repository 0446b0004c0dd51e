// What happened on the wire: one block an attempt, its phases as bars on one time line.
import { el } from "../dom.js"
import { duration, plural, visible } from "../format.js"
import { reasonOf } from "./reasons.js"

const PHASES = [["dns", "DNS"], ["connect", "Connect"], ["tls", "TLS"], ["first_byte", "First byte"], ["transfer", "Transfer"]]

export function attemptsView(attempts) {
  if (!attempts?.length) return el("p", { class: "faint" }, "Nothing was sent.")
  return el("ol", { class: "attempts", "aria-label": "Attempts" }, attempts.map(attemptView))
}

function attemptView(attempt) {
  const reason = attempt.reason ? reasonOf({ state: "failed", reason: attempt.reason }) : null
  const facts = [
    attempt.waited_seconds ? `waited ${duration(attempt.waited_seconds)}` : null,
    attempt.remote_address ? visible(attempt.remote_address) : null,
    attempt.token_generation != null ? `token generation ${attempt.token_generation}` : null,
  ].filter(Boolean)
  return el("li", { class: "attempt" },
    el("p", { class: "attempt__head" },
      el("strong", {}, `Attempt ${attempt.number}`),
      el("span", {}, attempt.status ? `answered ${attempt.status}` : reason?.says ?? "no answer"),
      el("span", { class: "attempt__time data" }, duration(attempt.duration_seconds))),
    timingBar(attempt.timings ?? {}),
    facts.length ? el("p", { class: "attempt__facts data" }, facts.join(" · ")) : null)
}

function timingBar(timings) {
  const known = PHASES.filter(([key]) => timings[key] != null)
  const whole = known.reduce((sum, [key]) => sum + timings[key], 0)
  if (!whole) return null
  let start = 0
  return el("dl", { class: "timing", "aria-label": plural(known.length, "phase") }, known.map(([key, label]) => {
    const bar = el("span", { class: `timing__bar timing__bar--${key}` })
    bar.style.setProperty("--start", start / whole)
    bar.style.setProperty("--share", timings[key] / whole)
    start += timings[key]
    return el("div", { class: "timing__phase" }, el("dt", {}, label), el("dd", {}, el("span", { class: "timing__track", "aria-hidden": "true" }, bar), el("span", { class: "data" }, duration(timings[key]))))
  }))
}
