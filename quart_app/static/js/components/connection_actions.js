// What can be done with a connection, alike on its card and its page; what came of it stands below.
import { post } from "../api.js"
import { announce, busy, button, el, fill } from "../dom.js"
import { moment, visible } from "../format.js"
import { fixLink } from "./connection_link.js"
import { notice, problemNotice } from "./notice.js"
import { reasonOf } from "./reasons.js"
import { showUses } from "./use_it.js"

/** The row of buttons and the place of their results. */
export function connectionActions(connection, { edit, remove }) {
  const { name, auth } = connection
  const result = el("div", { class: "card__result", role: "status" })
  return [
    el("div", { class: "card__actions" },
      el("a", { class: "button", href: `/send?connection=${name}` }, "Send"),
      el("a", { class: "button", href: `/history?connection=${name}` }, "History"),
      button("Use it", () => showUses(connection)),
      el("div", { class: "card__more" },
        button("Check", (event) => check(event.currentTarget, name, result), { kind: "quiet" }),
        auth.scheme === "oauth2" ? button("Refresh token", (event) => refresh(event.currentTarget, name, result), { kind: "quiet" }) : null,
        button("Edit", () => edit(connection), { kind: "quiet" }),
        button("Delete", () => remove(connection), { kind: "quiet" }))),
    result,
  ]
}

async function check(control, name, result) {
  await report(control, result, "Checking…", async () => {
    const { ok, detail, call } = await post(`/api/connections/${name}/checks`)
    const reason = call && !ok ? reasonOf(call) : null
    announce(ok ? `${name} works` : `${name} does not work`)
    return notice(ok ? "good" : "bad", ok ? "It works." : reason?.says ?? "It does not work.",
      el("p", {}, visible(detail ?? "")),
      reason ? el("p", {}, reason.advice, reason.fix ? [" ", fixLink(name, reason.fix)] : null) : null,
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
