// One delivery: its state in a line, and on opening it each try and what was sent.
import { busy, button, el } from "../dom.js"
import { duration, moment, plural, visible } from "../format.js"
import { attemptBadge } from "./badge.js"
import { connectionPath } from "./connection_link.js"
import { reasonOf } from "./reasons.js"

export const EVENTS = {
  needs_sign_in: "Needs sign-in",
  recovered: "Recovered",
  refresh_failed: "Refresh failed",
  test: "Test",
}
const STATES = { pending: ["info", "Waiting"], delivered: ["good", "Delivered"], failed: ["bad", "Failed"] }

export function deliveryRow(delivery, { open, again }) {
  const { id, event, connection, created_at } = delivery
  return el("li", {}, el("details", { class: "delivery", open, dataset: { delivery: id, state: delivery.state } },
    el("summary", { class: "delivery__line" },
      el("span", { class: "delivery__state" }, stateBadge(delivery)),
      el("span", { class: "delivery__event" }, EVENTS[event] ?? visible(event), connection ? [": ", el("span", { class: "data" }, visible(connection))] : null),
      el("span", { class: "delivery__outcome faint" }, inShort(delivery)),
      el("time", { class: "delivery__time data faint", datetime: created_at, title: new Date(created_at).toLocaleString() }, moment(created_at))),
    el("div", { class: "delivery__detail" },
      triesList(delivery),
      el("pre", { class: "command data", tabindex: 0, "aria-label": "What is sent" }, visible(JSON.stringify(delivery.body, null, 2))),
      el("p", { class: "delivery__actions" },
        delivery.state === "pending" ? null : button("Send it again", (click) => again(click.currentTarget)),
        connection ? el("a", { href: connectionPath(connection) }, `Go to ${connection}`) : null))))
}

function stateBadge({ state, tries }) {
  const underWay = state === "pending" && tries.at(-1)?.seconds === null && tries.at(-1)?.reason === null
  const [kind, label] = underWay ? ["busy", "Sending"] : STATES[state] ?? ["plain", state]
  return el("span", { class: `badge badge--${kind}` }, visible(label))
}

function inShort({ state, tries, next_at }) {
  if (!tries.length) return "not sent yet"
  const last = tries.at(-1)
  const many = tries.length > 1 ? `, ${plural(tries.length, "try", "tries")}` : ""
  if (state === "pending" && (last.status || last.reason)) return `${shortly(last)}${many}; again at ${moment(next_at)}`
  return `${shortly(last)}${many}`
}

function shortly({ status, reason }) {
  if (status) return `answered ${status}`
  return reason ? visible(reason.replaceAll("_", " ")) : "on its way"
}

function triesList({ tries }) {
  if (!tries.length) return null
  return el("ol", { class: "delivery__tries", "aria-label": "Tries" }, tries.map((one) => el("li", {},
    one.status || one.reason ? attemptBadge(one) : el("span", { class: "badge badge--busy" }, "Sending"),
    el("time", { class: "data faint", datetime: one.at, title: new Date(one.at).toLocaleString() }, moment(one.at)),
    one.seconds === null ? null : el("span", { class: "data faint" }, duration(one.seconds)),
    one.detail ? el("span", {}, visible(one.detail)) : null)))
}

/** {says, advice} of a try that did not deliver. */
export function outcomeOf({ status, reason, detail }) {
  if (status === 410) return { says: "The receiver answered 410: it is gone for good.", advice: "Delete the webhook, or give it another URL." }
  if (status) return { says: `The receiver answered ${status}.`, advice: "Only an answer from 200 to 299 counts as received. See what the receiver has in its log." }
  const known = reasonOf({ state: "failed", reason, detail })
  return { says: known.says, advice: visible(detail ?? "") }
}
