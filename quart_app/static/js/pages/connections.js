// The list of connections.
import { get, getAll, listen, remove } from "../api.js"
import { announce, button, byId, el, enable, fill } from "../dom.js"
import { connectionCard, showHealth } from "../components/connection_card.js"
import { connectionForm } from "../components/connection_form.js"
import { confirm } from "../components/dialog.js"
import { showProblem } from "../components/notice.js"

const list = byId("connections")
const form = connectionForm(async (connection) => {
  await load()
  byId(`connection-${connection.name}`)?.scrollIntoView({ block: "nearest" })
})

export async function start() {
  enable("add", () => open())
  byId("find").addEventListener("input", find)
  form.dialog.addEventListener("close", () => history.replaceState(null, "", "/connections"))
  await load()
  openFromAddress()
  listen({ connection: changed })
}

async function load() {
  try {
    const connections = await getAll("/api/connections")
    show(connections)
    showProblem(null)
    examine(connections)
  } catch (error) {
    showProblem(error)
  }
  list.removeAttribute("aria-busy")
}

function show(connections) {
  const acts = { edit: open, remove: drop }
  fill(list, connections.length ? connections.map((connection) => connectionCard(connection, acts)) : empty())
  byId("find").hidden = connections.length < 7
  find()
}

/** The doctor's word comes onto the cards when it is there. */
async function examine(connections) {
  const healths = await getAll("/api/health").catch(() => [])
  const known = new Map(connections.map((connection) => [connection.name, connection]))
  for (const health of healths) {
    const card = byId(`connection-${health.connection}`)
    if (card && known.has(health.connection)) showHealth(card, known.get(health.connection), health)
  }
}

function empty() {
  return el("li", { class: "empty" },
    el("h2", {}, "Add your first connection"),
    el("p", {}, "A connection is the address of an API and how to sign in to it. You type the secret once; from then on calls go through Switchboard and nobody handles it again."),
    el("p", {}, button("Add your first connection", () => open(), { kind: "primary" })))
}

function find() {
  const text = byId("find").value.trim().toLowerCase()
  for (const card of list.children) card.hidden = Boolean(text) && !card.textContent.toLowerCase().includes(text)
}

function open(connection) {
  history.replaceState(null, "", connection ? `?edit=${connection.name}` : "?add=1")
  form.open(connection)
}

async function openFromAddress() {
  const address = new URLSearchParams(location.search)
  if (address.has("add")) open()
  if (!address.has("edit")) return
  try {
    open(await get(`/api/connections/${encodeURIComponent(address.get("edit"))}`))
  } catch (error) {
    showProblem(error)
  }
}

async function drop({ name }) {
  const sure = await confirm(`Delete ${name}?`, "Its secrets and tokens are destroyed, and nothing can be sent through it any more. Its calls stay in the history.", "Delete connection")
  if (!sure) return
  try {
    await remove(`/api/connections/${name}`)
    announce(`Deleted ${name}`, { shown: true })
    await load()
    byId("add").focus()
  } catch (error) {
    showProblem(error)
  }
}

/** Another page, program or loop changed its state. */
async function changed({ name }) {
  const path = `/api/connections/${encodeURIComponent(name)}`
  const card = byId(`connection-${name}`)
  const [connection, health] = await Promise.all([get(path), get(`${path}/health`)]).catch(() => [])
  if (!card || !connection) return load()
  const fresh = connectionCard(connection, { edit: open, remove: drop })
  for (const part of [".card__header", ".card__facts"]) card.querySelector(part).replaceWith(fresh.querySelector(part))
  showHealth(card, connection, health)
}
