// One connection in the list: what it is, how it is, and what can be done with it.
import { post } from "../api.js"
import { announce, busy, button, el, fill } from "../dom.js"
import { moment, visible } from "../format.js"
import { connectionBadge } from "./badge.js"
import { notice, problemNotice } from "./notice.js"
import { reasonOf } from "./reasons.js"
import { showUses } from "./use_it.js"

const SCHEMES = { none: "no sign-in", api_key: "API key", basic: "Basic", bearer: "bearer token", oauth2: "OAuth 2" }

export function connectionCard(connection, { edit, remove }) {
  const { name, title, base_url, auth } = connection
  const result = el("div", { class: "card__result", role: "status" })
  return el("li", { class: "card", id: `connection-${name}`, dataset: { connection: name }, "aria-labelledby": `connection-${name}-name` },
    el("header", { class: "card__header" },
      el("h2", { class: "card__name data", id: `connection-${name}-name` }, name),
      title && title !== name ? el("span", { class: "card__title" }, visible(title)) : null,
      el("span", { class: "card__state" }, connectionBadge(connection))),
    el("p", { class: "card__facts" }, el("span", { class: "data" }, visible(base_url)), el("span", { class: "faint" }, schemeOf(auth))),
    reasonLine(connection),
    el("div", { class: "card__actions" },
      el("a", { class: "button", href: `/send?connection=${name}` }, "Send"),
      el("a", { class: "button", href: `/history?connection=${name}` }, "History"),
      button("Use it", () => showUses(connection)),
      el("div", { class: "card__more" },
        button("Check", (event) => check(event.currentTarget, name, result), { kind: "quiet" }),
        auth.scheme === "oauth2" ? button("Refresh token", (event) => refresh(event.currentTarget, name, result), { kind: "quiet" }) : null,
        button("Edit", () => edit(connection), { kind: "quiet" }),
        button("Delete", () => remove(connection), { kind: "quiet" }))),
    result)
}

function schemeOf({ scheme, grant, in: place, name }) {
  if (scheme === "oauth2") return `${SCHEMES.oauth2}, ${grant.replaceAll("_", " ")}`
  if (scheme === "api_key") return `API key in ${place} ${visible(name)}`
  return SCHEMES[scheme] ?? visible(scheme)
}

function reasonLine({ state, state_reason }) {
  if (!state_reason || state === "ready") return null
  return el("p", { class: "card__reason" }, visible(state_reason))
}

async function check(control, name, result) {
  await report(control, result, "Checking…", async () => {
    const { ok, detail, call } = await post(`/api/connections/${name}/checks`)
    const reason = call && !ok ? reasonOf(call) : null
    announce(ok ? `${name} works` : `${name} does not work`)
    return notice(ok ? "good" : "bad", ok ? "It works." : reason?.says ?? "It does not work.",
      el("p", {}, visible(detail ?? "")),
      reason ? el("p", {}, reason.advice) : null,
      call?.id ? el("p", {}, el("a", { href: `/history/${call.id}` }, "See the call")) : null)
  })
}

async function refresh(control, name, result) {
  await report(control, result, "Refreshing the token…", async () => {
    const { state, expires_at, generation } = await post(`/api/connections/${name}/token-refreshes`)
    const until = expires_at ? ` It is good until ${moment(expires_at)}.` : ""
    return notice(state === "ready" ? "good" : "bad", state === "ready" ? "There is a new token." : "There is no new token.",
      el("p", {}, `Generation ${generation}.${until}`))
  })
}

async function report(control, result, meanwhile, work) {
  fill(result, el("p", { class: "faint" }, meanwhile))
  try {
    fill(result, await busy(control, work))
  } catch (error) {
    fill(result, problemNotice(error))
    announce(error.message)
  }
}
