// What can be done with a connection, alike on its card and its page; what came of it stands below.
import { post } from "../api.js"
import { announce, button, el } from "../dom.js"
import { visible } from "../format.js"
import { fixLink } from "./connection_link.js"
import { notice } from "./notice.js"
import { reasonOf } from "./reasons.js"
import { report } from "./report.js"
import { refreshButton } from "./token_actions.js"
import { showUses } from "./use_it.js"

/** The row of buttons and the place of their results; `refreshes` where nothing else on the page does that. */
export function connectionActions(connection, { edit, remove, refreshes = true }) {
  const { name, auth } = connection
  const result = el("div", { class: "card__result", role: "status" })
  return [
    el("div", { class: "card__actions" },
      el("a", { class: "button", href: `/send?connection=${name}` }, "Send"),
      el("a", { class: "button", href: `/history?connection=${name}` }, "History"),
      button("Use it", () => showUses(connection)),
      el("div", { class: "card__more" },
        button("Check", (event) => check(event.currentTarget, name, result), { kind: "quiet" }),
        refreshes && auth.scheme === "oauth2" ? refreshButton("Refresh token", name, result, { kind: "quiet" }) : null,
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
