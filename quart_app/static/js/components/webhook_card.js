// One webhook in the list: where to, what it is told, what can be done with it, and what was sent to it last.
import { get, post, withQuery } from "../api.js"
import { announce, busy, button, el, fill } from "../dom.js"
import { duration, moment, visible } from "../format.js"
import { confirm } from "./dialog.js"
import { deliveryRow, EVENTS, outcomeOf } from "./delivery_row.js"
import { notice, problemNotice } from "./notice.js"
import { showSecret } from "./webhook_secret.js"

const SHOWN = 5
const MORE = 50
const LOOK_EVERY = 400
const LOOK_FOR = 20_000

/** It looks for new deliveries whenever it gets an event `delivery`. */
export function webhookCard(webhook, acts) {
  const result = el("div", { class: "card__result", role: "status" })
  const deliveries = el("div", { class: "deliveries" })
  const state = { webhook, result, deliveries, limit: SHOWN }
  const card = el("li", { class: "card", id: `webhook-${webhook.id}`, "aria-labelledby": `webhook-${webhook.id}-name` },
    el("header", { class: "card__header" }, el("h2", { class: "card__name data", id: `webhook-${webhook.id}-name` }, visible(webhook.url))),
    facts(webhook),
    actions(state, acts),
    result,
    deliveries)
  card.addEventListener("delivery", () => show(state))
  show(state)
  return card
}

function facts({ events, allow_private, created_at, secret }) {
  return el("p", { class: "card__facts" },
    el("span", {}, events.map((event) => EVENTS[event] ?? visible(event)).join(" · ")),
    allow_private ? el("span", { class: "faint" }, "private addresses allowed") : null,
    el("span", { class: "faint" }, "secret ", el("span", { class: "data" }, secret.fingerprint)),
    el("span", { class: "faint" }, `added ${moment(created_at)}`))
}

function actions(state, { edit, remove }) {
  return el("div", { class: "card__actions" },
    button("Send a test", (event) => test(event.currentTarget, state)),
    el("div", { class: "card__more" },
      button("New secret", (event) => renew(event.currentTarget, state), { kind: "quiet" }),
      button("Edit", () => edit(state.webhook), { kind: "quiet" }),
      button("Delete", () => remove(state.webhook), { kind: "quiet" })))
}

async function show(state) {
  const { webhook, deliveries, limit } = state
  try {
    const page = await get(withQuery(`/api/webhooks/${webhook.id}/deliveries`, { limit }))
    const open = new Set([...deliveries.querySelectorAll("details[open]")].map((row) => row.dataset.delivery))
    fill(deliveries, page.items.length ? rows(state, page.items, open) : el("p", { class: "faint" }, "Nothing was sent yet."),
      page.next && limit < MORE ? button("Show more", () => { state.limit = MORE; show(state) }, { kind: "quiet" }) : null)
  } catch (error) {
    fill(deliveries, problemNotice(error))
  }
}

function rows(state, items, open) {
  return el("ol", { class: "deliveries__list", "aria-label": "Deliveries" }, items.map((item) => deliveryRow(item, { open: open.has(item.id), again: (control) => again(control, state, item) })))
}

async function test(control, state) {
  await report(control, state, "Sending a test…", async () => {
    const asked = await post(`/api/webhooks/${state.webhook.id}/deliveries`)
    show(state)
    return said(await ended(state.webhook.id, asked))
  })
}

async function again(control, state, { id }) {
  await report(control, state, "Sending it again…", async () => said(await ended(state.webhook.id, await post(`/api/webhooks/${state.webhook.id}/deliveries`, { of: id }))))
}

async function renew(control, state) {
  const sure = await confirm("Make a new secret?", "What is sent is signed with it from now on. For a day the secret before signs as well, so that receivers can be changed without losing anything.", "Make it")
  if (!sure) return
  await report(control, state, "", async () => {
    const secret = await post(`/api/webhooks/${state.webhook.id}/secrets`)
    await showSecret(secret.value)
    state.webhook.secret = secret
    return notice("good", "There is a new secret.", el("p", {}, "Its fingerprint is ", el("span", { class: "data" }, secret.fingerprint), "."))
  })
}

/** The delivery once its first try has ended; as it is then if that takes too long. */
async function ended(webhook, delivery) {
  const until = Date.now() + LOOK_FOR
  let found = delivery
  while (found.state === "pending" && found.tries.every(({ seconds }) => seconds === null) && Date.now() < until) {
    await new Promise((resolve) => { setTimeout(resolve, LOOK_EVERY) })
    const { items } = await get(`/api/webhooks/${webhook}/deliveries?limit=20`)
    found = items.find(({ id }) => id === delivery.id) ?? found
  }
  return found
}

function said({ state, tries }) {
  const last = tries.at(-1)
  if (state === "delivered") return notice("good", "It arrived.", el("p", {}, `The receiver answered ${last.status} after ${duration(last.seconds)}.`))
  if (last?.seconds == null) return notice("warning", "There is no outcome yet.", el("p", {}, "It shows below when there is one."))
  const { says, advice } = outcomeOf(last)
  return notice("bad", "It did not arrive.", el("p", {}, says), advice ? el("p", {}, advice) : null)
}

async function report(control, state, meanwhile, work) {
  fill(state.result, meanwhile ? el("p", { class: "faint" }, meanwhile) : null)
  try {
    fill(state.result, await busy(control, work))
  } catch (error) {
    fill(state.result, problemNotice(error))
    announce(error.message)
  }
  show(state)
}
