// One connection: whether it is well and what to do, how it is just now, how it is set, its token exchanges and its latest calls.
import { get, listen, remove, withQuery } from "../api.js"
import { byId, el, fill } from "../dom.js"
import { visible } from "../format.js"
import { connectionBadge, unverifiedBadge } from "../components/badge.js"
import { budgetView } from "../components/budget.js"
import { callRow } from "../components/call_row.js"
import { connectionActions } from "../components/connection_actions.js"
import { factsLine } from "../components/connection_card.js"
import { connectionForm } from "../components/connection_form.js"
import { confirm } from "../components/dialog.js"
import { exchangesView } from "../components/exchanges.js"
import { healthBadge } from "../components/health.js"
import { healthPanel } from "../components/health_panel.js"
import { showProblem } from "../components/notice.js"
import { setupView } from "../components/setup_view.js"

const LATEST = 8
const name = decodeURIComponent(location.pathname.split("/")[2])
const form = connectionForm(show)
const budget = budgetView(name)
let connection = null
let health = null
let panel = null
let ledger = null

export async function start() {
  try {
    show(await get(`/api/connections/${encodeURIComponent(name)}`))
  } catch (error) {
    return showProblem(error)
  }
  byId("connection").hidden = false
  byId("budget").prepend(budget)
  form.dialog.addEventListener("close", () => history.replaceState(null, "", location.pathname))
  await latest()
  const field = new URLSearchParams(location.search).get("field")
  if (field) form.open(connection, field)
  listen({ connection: changed, call: called })
}

function show(found) {
  showFacts(found)
  fill(byId("connection-actions"), connectionActions(found, { edit: () => form.open(connection), remove: drop, refreshes: false }))
}

/** All but the actions, below which stands what came of them. */
function showFacts(found) {
  if (!sameSignIn(connection, found)) placePanels(found)
  connection = found
  byId("connection-title").textContent = found.title && found.title !== found.name ? visible(found.title) : ""
  showBadges()
  fill(byId("connection-facts"), factsLine(found))
  fill(byId("setup"), setupView(found, (field) => form.open(connection, field)))
}

const sameSignIn = (before, { auth }) => before?.auth.scheme === auth.scheme && before.auth.grant === auth.grant

/** What depends on how it signs in: a connection without tokens has no ledger. */
function placePanels(found) {
  panel = healthPanel(found, (told) => { health = told; showBadges() })
  ledger = found.auth.scheme === "oauth2" ? exchangesView(name) : null
  fill(byId("health"), panel)
  fill(byId("ledger"), ledger)
  byId("ledger-section").hidden = !ledger
}

function showBadges() {
  fill(byId("connection-state"), unverifiedBadge(connection), health ? healthBadge(health) : connectionBadge(connection))
}

async function latest() {
  const page = await get(withQuery("/api/calls", { connection: name, limit: LATEST })).catch(() => ({ items: [] }))
  fill(byId("latest"), page.items.length ? page.items.map((call) => callRow(call, "")) : el("li", { class: "calls__none faint" }, "No calls yet."))
}

async function drop() {
  const sure = await confirm(`Delete ${name}?`, "Its secrets and tokens are destroyed, and nothing can be sent through it any more. Its calls stay in the history.", "Delete connection")
  if (!sure) return
  try {
    await remove(`/api/connections/${encodeURIComponent(name)}`)
    location.assign("/connections")
  } catch (error) {
    showProblem(error)
  }
}

async function changed(event) {
  if (event.name !== name) return
  refresh(budget, panel, ledger)
  const found = await get(`/api/connections/${encodeURIComponent(name)}`).catch(() => null)
  if (found) showFacts(found)
}

/** Calls come in bursts: what they change follows at most once a second. */
function called(call) {
  if (call.connection !== name) return
  called.timer ??= setTimeout(() => { called.timer = null; latest(); refresh(budget, panel, ledger) }, 1000)
}

const refresh = (...views) => views.forEach((view) => view?.dispatchEvent(new Event("refresh")))
