// The health of one connection on its page, kept up to date while it is seen, and the way back where it is not well.
import { get } from "../api.js"
import { el, fill } from "../dom.js"
import { healthFacts, healthWords } from "./health.js"
import { whileSeen } from "./poll.js"
import { refreshButton, signInButton, signsIn } from "./token_actions.js"

const EVERY_SECONDS = 15

/** `told` gets each answer. An event "refresh" on it asks at once. */
export function healthPanel({ name, auth }, told) {
  const result = el("div", { class: "card__result", role: "status" })
  const signIn = signsIn(auth) ? signInButton(name, result) : null
  const refresh = auth.scheme === "oauth2" ? refreshButton("Refresh now", name, result) : null
  const words = el("div", { class: "health__words" })
  const facts = el("div", {})
  const panel = el("div", { class: "health" }, words, el("div", { class: "health__actions" }, signIn, refresh), result, facts)
  const show = (health) => {
    panel.dataset.well = String(health.well)
    panel.dataset.class = health.failure?.class ?? ""
    fill(words, healthWords(health))
    fill(facts, healthFacts(health))
    const now = health.sign_in_again.when === "now"
    signIn?.classList.toggle("button--primary", now)
    if (signIn) signIn.textContent = health.signed_in && !now ? "Sign in again" : "Sign in"
    refresh?.classList.toggle("button--quiet", now)
    told(health)
  }
  const ask = whileSeen(panel, EVERY_SECONDS, async () => {
    const health = await get(`/api/connections/${encodeURIComponent(name)}/health`).catch(() => null)
    if (health) show(health)
  })
  panel.addEventListener("refresh", ask)
  return panel
}
