// One connection in the list: what it is, how it is, and what can be done with it.
import { el, fill } from "../dom.js"
import { visible } from "../format.js"
import { connectionBadge, unverifiedBadge } from "./badge.js"
import { budgetLine } from "./budget.js"
import { connectionActions } from "./connection_actions.js"
import { connectionPath } from "./connection_link.js"
import { healthBadge } from "./health.js"
import { signInButton, signsIn } from "./token_actions.js"

const SCHEMES = { none: "no sign-in", api_key: "API key", basic: "Basic", bearer: "bearer token", oauth2: "OAuth 2" }

export function connectionCard(connection, acts) {
  const { name, title } = connection
  return el("li", { class: "card", id: `connection-${name}`, dataset: { connection: name }, "aria-labelledby": `connection-${name}-name` },
    el("header", { class: "card__header" },
      el("h2", { class: "card__name data", id: `connection-${name}-name` }, el("a", { href: connectionPath(name) }, name)),
      title && title !== name ? el("span", { class: "card__title" }, visible(title)) : null,
      el("span", { class: "card__state" }, unverifiedBadge(connection), connectionBadge(connection))),
    factsLine(connection, budgetLine(name)),
    el("div", { class: "card__health" }, el("p", {}, waitingFor(connection))),
    connectionActions(connection, acts))
}

export function factsLine({ base_url, auth, proxy }, more = null) {
  return el("p", { class: "card__facts" }, el("span", { class: "data" }, visible(base_url)), el("span", { class: "faint" }, schemeOf(auth)),
    proxy?.url ? el("span", { class: "faint" }, "by way of ", el("span", { class: "data" }, visible(proxy.url))) : null,
    more)
}

function schemeOf({ scheme, grant, in: place, name }) {
  if (scheme === "oauth2") return `${SCHEMES.oauth2}, ${grant.replaceAll("_", " ")}`
  if (scheme === "api_key") return `API key in ${place} ${visible(name)}`
  return SCHEMES[scheme] ?? visible(scheme)
}

/** Until the doctor has spoken: why it is not ready, or nothing yet. */
function waitingFor({ state, state_reason }) {
  return state === "ready" ? "" : visible(state_reason ?? "")
}

/** What the doctor says of it, on its card: a badge, one sentence, and the way back where a person is needed. */
export function showHealth(card, connection, health) {
  fill(card.querySelector(".card__state"), unverifiedBadge(connection), healthBadge(health))
  const place = el("div", { class: "card__result", role: "status" })
  const needsSignIn = health.sign_in_again.when === "now" && signsIn(connection.auth)
  const line = fill(card.querySelector(".card__health"), el("p", {}, visible(health.summary)), needsSignIn ? signInButton(connection.name, place, { kind: "primary" }) : null, place)
  line.dataset.well = String(health.well)
}
